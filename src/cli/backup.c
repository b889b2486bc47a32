/* backup.c -- novabeat backup: a copy of a data folder, also while a server uses it.
 *
 * live/backup.h says how records and journal are copied.  The secret that the server made itself
 * (secret.h) goes with them: without it no token that is out would hold where the copy is used.
 * Exit 0: the copy is whole and on the disk; 1: it is not, and nothing is left of it, or the secret
 * alone is missing, which is said. */
#include "live/backup.h"

#include "cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES (4096 + 32)

/* The secret of the data folder; *fd -1: there is none. */
static bool open_secret(const char *data, int *fd)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/token-secret", data);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 && errno != ENOENT) {
        fprintf(stderr, "novabeat backup: %s: %s\n", path, strerror(errno));
        return false;
    }
    return true;
}

static bool copy_bytes(int from, int to)
{
    char bytes[4096];
    ssize_t len;
    while ((len = read(from, bytes, sizeof bytes)) > 0) {
        errno = ENOSPC; /* what a short write means */
        if (write(to, bytes, (size_t)len) != len) {
            return false;
        }
    }
    return len == 0 && fsync(to) == 0;
}

static bool sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return synced;
}

/* For its owner only, as the first one is. */
static bool copy_secret(int from, const char *dest)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/token-secret", dest);
    int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool copied = to >= 0 && copy_bytes(from, to) && sync_folder(dest);
    if (!copied) {
        fprintf(stderr,
                "novabeat backup: %s: %s.  The rest is copied: copy token-secret by hand, or begin "
                "again in a new folder\n",
                path, strerror(errno));
    }
    if (to >= 0) {
        close(to);
        if (!copied) {
            (void)unlink(path);
        }
    }
    return copied;
}

int command_backup(const struct settings *settings, int argc, char **argv)
{
    if (argc != 1) {
        fprintf(stderr, "novabeat backup: takes one argument, the folder to copy to\n");
        return EXIT_USAGE;
    }
    char why[512] = "";
    int secret;
    if (access(settings->data, F_OK) != 0) {
        fprintf(stderr, "novabeat backup: data: there is no folder %s\n", settings->data);
        return EXIT_FAILED;
    }
    if (!open_secret(settings->data, &secret)) {
        return EXIT_FAILED;
    }
    enum err err = store_backup(settings->data, settings->records, argv[0], why, sizeof why);
    if (err != ERR_NONE) {
        fprintf(stderr, "novabeat backup: %s: %s\n", err_text(err), why);
    }
    bool copied = err == ERR_NONE && (secret < 0 || copy_secret(secret, argv[0]));
    if (secret >= 0) {
        close(secret);
    }
    if (!copied) {
        return EXIT_FAILED;
    }
    printf("%s: copied to %s\n", settings->data, argv[0]);
    return EXIT_WELL;
}
