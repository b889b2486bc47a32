/* settings_table.h -- private to cli/settings*.c: how a setting is declared. */
#ifndef NOVABEAT_CLI_SETTINGS_TABLE_H
#define NOVABEAT_CLI_SETTINGS_TABLE_H

#include <stddef.h>

#include "cli/settings.h"

enum setting_kind {
    SETTING_DURATION, /* int64_t, ms */
    SETTING_INTEGER,  /* uint64_t */
    SETTING_BYTES,    /* uint64_t */
    SETTING_CHOICE,   /* an enum: index into choices */
    SETTING_TEXT,     /* const char * */
    SETTING_FLAG,     /* bool */
};

#define COMMAND_BIT(command) (1u << (command))

struct setting {
    const char *name; /* lower case, words joined by '-' */
    enum setting_kind kind;
    size_t offset;            /* of its field in struct settings */
    unsigned commands;        /* that have it, as COMMAND_BITs */
    const char *initial;      /* the default, as one would write it */
    uint64_t lowest, highest; /* duration, integer, bytes */
    const char *choices;      /* "sync|interval|os" */
    const char *hint;         /* what to write for a text, in help: "HOST:PORT" */
    /* Text: takes it apart into further fields; false with the reason (what comes after the
     * setting's name in the error).  NULL: any text will do. */
    bool (*take)(struct settings *settings, const char *text, char *why, size_t why_bytes);
    const char *prose; /* sentences; a trade-off ends in "If unsure, …" */
};

extern const struct setting settings_table[];
extern const size_t settings_count;

/* A relation between two values of one kind: lesser <= greater. */
struct setting_relation {
    const char *lesser, *greater;
    const char *because;
};

extern const struct setting_relation settings_relations[];
extern const size_t settings_relations_count;

/* Relations of another form; false with the whole line in why. */
bool settings_take_serve(const struct settings *settings, enum command command, char *why,
                         size_t why_bytes);

/* NULL: there is none. */
const struct setting *settings_find(const char *name, size_t len);
uint64_t settings_number(const struct settings *settings, const struct setting *setting);

/* "1ms to 1d", "jwt or none", …: what may be written; empty for a text.  Returns text. */
#define SETTING_RANGE_BYTES 128
const char *settings_range(const struct setting *setting, char text[SETTING_RANGE_BYTES]);

/* "NOVABEAT_ALIVE_WINDOW" for "alive-window".  Returns out. */
#define SETTING_VARIABLE_BYTES 64
const char *settings_variable(const char *name, char out[SETTING_VARIABLE_BYTES]);

#endif
