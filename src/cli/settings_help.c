/* settings_help.c -- the table of settings as help for a terminal and as a page of reference. */
#include "base/assert.h"
#include "base/slice.h"
#include "cli/settings.h"
#include "cli/settings_table.h"

#define WIDTH        90
#define INDENT       8
#define COMMAND_PAD  10
#define DOCS_COMMAND "novabeat help --markdown"

struct command_help {
    const char *name, *arguments, *summary;
};

static const struct command_help commands[] = {
#define COMMAND_HELP_ENTRY(id, name, arguments, summary) {name, arguments, summary},
    COMMAND_LIST(COMMAND_HELP_ENTRY)
#undef COMMAND_HELP_ENTRY
};

/* What stands after the name: "DURATION", "jwt|none", "FILE"; nothing for a flag. */
static const char *hint_of(const struct setting *setting)
{
    switch (setting->kind) {
    case SETTING_DURATION:
        return "DURATION";
    case SETTING_INTEGER:
        return "NUMBER";
    case SETTING_BYTES:
        return "SIZE";
    case SETTING_CHOICE:
        return setting->choices;
    case SETTING_TEXT:
        return setting->hint;
    case SETTING_FLAG:
        return "";
    }
    ASSERT(!"a kind of the list");
    return "";
}

/* Words of text, broken before WIDTH, each line after `indent` spaces. */
static void print_wrapped(FILE *out, const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        int len = (int)strcspn(text, " ");
        if (column > 0 && column + 1 + len > WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column == 0) {
            fprintf(out, "%*s", indent, "");
            column = indent;
        } else {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static bool has_settings(enum command command)
{
    for (size_t i = 0; i < settings_count; i++) {
        if ((settings_table[i].commands & COMMAND_BIT(command)) != 0) {
            return true;
        }
    }
    return false;
}

static void print_setting(FILE *out, const struct setting *setting)
{
    char range[SETTING_RANGE_BYTES];
    const char *hint = hint_of(setting);
    fprintf(out, "  --%s%s%s\n", setting->name, hint[0] != '\0' ? " " : "", hint);
    print_wrapped(out, setting->prose, INDENT);
    if (setting->kind == SETTING_FLAG) {
        return;
    }
    fprintf(out, "%*sdefault: %s", INDENT, "",
            setting->initial[0] != '\0' ? setting->initial : "none");
    if (setting->kind != SETTING_TEXT && setting->kind != SETTING_CHOICE) {
        fprintf(out, "; range: %s", settings_range(setting, range));
    }
    fputc('\n', out);
}

void settings_print_help(FILE *out, enum command command)
{
    const struct command_help *help = &commands[command];
    fprintf(out, "novabeat %s: %s\n\nusage: novabeat %s%s%s%s\n", help->name, help->summary,
            help->name, has_settings(command) ? " [--setting value …]" : "",
            help->arguments[0] != '\0' ? " " : "", help->arguments);
    if (!has_settings(command)) {
        return;
    }
    fprintf(out, "\n"
                 "A setting comes from the config file (name = value), the environment\n"
                 "(NOVABEAT_NAME) or a flag (--name value); a later one wins.  Durations are\n"
                 "written 500ms, 30s, 5m, 2h, 7d; sizes 4096, 64k, 256m, 8g.\n\n");
    for (size_t i = 0; i < settings_count; i++) {
        if ((settings_table[i].commands & COMMAND_BIT(command)) != 0) {
            print_setting(out, &settings_table[i]);
        }
    }
}

void settings_print_commands(FILE *out)
{
    fprintf(out, "novabeat: who is watching a live event, from heartbeats\n\n"
                 "usage: novabeat COMMAND [--setting value …] [ARGUMENT …]\n\n");
    for (unsigned i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-*s %s\n", COMMAND_PAD, commands[i].name, commands[i].summary);
    }
    fprintf(out, "\nnovabeat COMMAND --help prints the settings of a command.\n");
}

/* ---- the page ---- */

static const char *kind_text(enum setting_kind kind)
{
    switch (kind) {
    case SETTING_DURATION:
        return "duration";
    case SETTING_INTEGER:
        return "whole number";
    case SETTING_BYTES:
        return "size in bytes";
    case SETTING_CHOICE:
        return "choice";
    case SETTING_TEXT:
        return "text";
    case SETTING_FLAG:
        return "flag";
    }
    ASSERT(!"a kind of the list");
    return "";
}

static void print_entry(FILE *out, const struct setting *setting)
{
    char range[SETTING_RANGE_BYTES];
    char variable[SETTING_VARIABLE_BYTES];
    fprintf(out, "\n### %s\n\n", setting->name);
    print_wrapped(out, setting->prose, 0);
    fprintf(out, "\n- kind: %s", kind_text(setting->kind));
    settings_range(setting, range);
    if (range[0] != '\0') {
        fprintf(out, ", %s", range);
    } else {
        fprintf(out, ", `%s`", setting->hint);
    }
    if (setting->initial[0] != '\0') {
        fprintf(out, "\n- default: `%s`\n", setting->initial);
    } else {
        fprintf(out, "\n- default: none\n");
    }
    fprintf(out, "- flag: `--%s`, environment: `%s`\n- commands:", setting->name,
            settings_variable(setting->name, variable));
    const char *separator = " ";
    for (unsigned i = 0; i < COMMANDS; i++) {
        if ((setting->commands & COMMAND_BIT(i)) != 0) {
            fprintf(out, "%s%s", separator, commands[i].name);
            separator = ", ";
        }
    }
    fputc('\n', out);
}

void settings_print_markdown(FILE *out)
{
    fprintf(out,
            "# Settings\n\n"
            "<!-- Printed by `" DOCS_COMMAND "`; edit src/cli/settings_table.c instead. -->\n\n");
    print_wrapped(out,
                  "Every setting of every command.  A value comes from, later wins: the default; "
                  "the config file (`--config FILE`, lines `name = value`); the environment "
                  "(`NOVABEAT_NAME`); the flag (`--name value` or `--name=value`).  An unknown "
                  "name in any of them is an error.  The config file and the environment may hold "
                  "settings of other commands; these are left unread.",
                  0);
    fputc('\n', out);
    print_wrapped(out,
                  "Durations are a whole number and a unit: `500ms`, `30s`, `5m`, `2h`, `7d`.  "
                  "Sizes are bytes, or with `k`, `m`, `g`, `t` in powers of 1024: `64k`, `8g`.",
                  0);
    fprintf(out, "\nThese relations must hold:\n\n");
    for (size_t i = 0; i < settings_relations_count; i++) {
        const struct setting_relation *relation = &settings_relations[i];
        fprintf(out, "- `%s` is at most `%s`: %s.\n", relation->lesser, relation->greater,
                relation->because);
    }
    fprintf(out, "- `auth none` needs a loopback `listen` address, or `auth-none-anywhere`.\n"
                 "\n## The settings\n");
    for (size_t i = 0; i < settings_count; i++) {
        print_entry(out, &settings_table[i]);
    }
}
