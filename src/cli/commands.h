/* commands.h -- the commands of novabeat, one per file.
 *
 * Each gets its settings, read and checked, and the positional arguments that are left (argv[0] is
 * the first of them).  It returns the program's exit code and prints what people ask for to stdout,
 * logs and complaints to stderr. */
#ifndef NOVABEAT_CLI_COMMANDS_H
#define NOVABEAT_CLI_COMMANDS_H

#include "cli/settings.h"

enum exit_code {
    EXIT_WELL = 0,   /* all went well */
    EXIT_FAILED = 1, /* something failed, or figures differ */
    EXIT_USAGE = 2,  /* the command was given wrongly */
};

int command_serve(const struct settings *settings, int argc, char **argv);
int command_replay(const struct settings *settings, int argc, char **argv);
int command_simulate(const struct settings *settings, int argc, char **argv);
int command_viewers(const struct settings *settings, int argc, char **argv);
int command_keys(const struct settings *settings, int argc, char **argv);
int command_token(const struct settings *settings, int argc, char **argv);
int command_backup(const struct settings *settings, int argc, char **argv);
int command_check(const struct settings *settings, int argc, char **argv);
int command_version(const struct settings *settings, int argc, char **argv);

#endif
