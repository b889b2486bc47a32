/* backup.c -- novabeat backup: a copy of a data folder, also while a server uses it.
 *
 * live/backup.h says how.  Exit 0: the copy is whole and on the disk; 1: it is not, and nothing is
 * left of it. */
#include "live/backup.h"

#include "cli/commands.h"

#include <stdio.h>
#include <unistd.h>

int command_backup(const struct settings *settings, int argc, char **argv)
{
    if (argc != 1) {
        fprintf(stderr, "novabeat backup: takes one argument, the folder to copy to\n");
        return EXIT_USAGE;
    }
    char why[512] = "";
    if (access(settings->data, F_OK) != 0) {
        fprintf(stderr, "novabeat backup: data: there is no folder %s\n", settings->data);
        return EXIT_FAILED;
    }
    enum err err = store_backup(settings->data, settings->records, argv[0], why, sizeof why);
    if (err != ERR_NONE) {
        fprintf(stderr, "novabeat backup: %s: %s\n", err_text(err), why);
        return EXIT_FAILED;
    }
    printf("%s: copied to %s\n", settings->data, argv[0]);
    return EXIT_WELL;
}
