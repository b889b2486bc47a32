/* main.c -- finds the command, reads its settings, runs it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"

extern char **environ;

static int usage(const char *text)
{
    fprintf(stderr, "novabeat: %s\n", text);
    return EXIT_USAGE;
}

static int usage_unknown(const char *name)
{
    char text[256];
    const char *nearest = command_nearest(name);
    if (nearest != NULL) {
        snprintf(text, sizeof text, "there is no command %.80s; did you mean %s?", name, nearest);
    } else {
        snprintf(text, sizeof text, "there is no command %.80s; novabeat help lists them", name);
    }
    return usage(text);
}

/* novabeat help [COMMAND | --markdown] */
static int command_help(int argc, char **argv)
{
    enum command command;
    if (argc == 0) {
        settings_print_commands(stdout);
        return EXIT_WELL;
    }
    if (argc > 1) {
        return usage("help takes one command");
    }
    if (strcmp(argv[0], "--markdown") == 0) {
        settings_print_markdown(stdout);
    } else if (strcmp(argv[0], "--help") == 0) {
        settings_print_commands(stdout);
    } else if (command_find(argv[0], &command)) {
        settings_print_help(stdout, command);
    } else {
        return usage_unknown(argv[0]);
    }
    return EXIT_WELL;
}

static int run(enum command command, const struct settings *settings, int argc, char **argv)
{
    switch (command) {
    case COMMAND_SERVE:
        return command_serve(settings, argc, argv);
    case COMMAND_REPLAY:
        return command_replay(settings, argc, argv);
    case COMMAND_SIMULATE:
        return command_simulate(settings, argc, argv);
    case COMMAND_VIEWERS:
        return command_viewers(settings, argc, argv);
    case COMMAND_CHECK:
        return command_check(settings, argc, argv);
    case COMMAND_VERSION:
        return command_version(settings, argc, argv);
    case COMMAND_KEYS:
        return command_keys(settings, argc, argv);
    case COMMAND_TOKEN:
        return command_token(settings, argc, argv);
    case COMMAND_BACKUP:
        return command_backup(settings, argc, argv);
    case COMMAND_HELP:
        return command_help(argc, argv);
    case COMMANDS:
        break;
    }
    return EXIT_USAGE;
}

static void set_log_level(enum settings_log_level level)
{
    static const enum log_level levels[] = {
        [SETTING_LOG_LEVEL_DEBUG] = LOG_DEBUG,
        [SETTING_LOG_LEVEL_INFO] = LOG_INFO,
        [SETTING_LOG_LEVEL_WARN] = LOG_WARN,
        [SETTING_LOG_LEVEL_ERROR] = LOG_ERROR,
    };
    log_level_set(levels[level]);
}

/* What is printed for people must have been printed: a full disk behind "export -" is a failure. */
static int end(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "novabeat: the output could not be written\n");
        return code == EXIT_WELL ? EXIT_FAILED : code;
    }
    return code;
}

int main(int argc, char **argv)
{
    enum command command;
    if (argc < 2) {
        settings_print_commands(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    if (!command_find(name, &command)) {
        return usage_unknown(name);
    }
    argc -= 2;
    argv += 2;
    if (command == COMMAND_HELP) {
        return end(command_help(argc, argv));
    }
    struct settings settings;
    char why[SETTINGS_WHY_BYTES];
    int code = EXIT_USAGE;
    switch (settings_read(&settings, command, &argc, argv, (const char *const *)environ, why)) {
    case SETTINGS_OK:
        set_log_level(settings.log_level);
        code = run(command, &settings, argc, argv);
        break;
    case SETTINGS_HELP:
        settings_print_help(stdout, command);
        code = EXIT_WELL;
        break;
    case SETTINGS_WRONG:
        fprintf(stderr, "novabeat: %s\n(novabeat %s --help prints the settings)\n", why, name);
        break;
    }
    settings_fini(&settings);
    return end(code);
}
