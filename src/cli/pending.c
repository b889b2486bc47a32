/* pending.c -- stands in for commands whose file is not there yet; goes when the last one is. */
#include <stdio.h>

#include "cli/commands.h"

#define PENDING(command)                                                                           \
    __attribute__((weak)) int command(const struct settings *settings, int argc, char **argv)      \
    {                                                                                              \
        (void)settings;                                                                            \
        (void)argc;                                                                                \
        (void)argv;                                                                                \
        fprintf(stderr, "novabeat: not there yet\n");                                              \
        return EXIT_FAILED;                                                                        \
    }

#if !__has_include("serve.c")
PENDING(command_serve)
#endif
#if !__has_include("replay.c")
PENDING(command_replay)
#endif
#if !__has_include("simulate.c")
PENDING(command_simulate)
#endif
#if !__has_include("viewers_command.c")
PENDING(command_viewers)
#endif
#if !__has_include("check.c")
PENDING(command_check)
#endif
