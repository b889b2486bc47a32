/* settings.h -- everything an operator can set, as one plain struct.
 *
 * Model: each setting is declared once, in settings_table.c: name, kind, default, range, commands
 * and prose.  Its value comes from, later wins: the default, the config file (--config FILE, lines
 * "alive-window = 65s"), the environment (NOVABEAT_ALIVE_WINDOW), the flag (--alive-window 65s or
 * --alive-window=65s).  Help, docs/SETTINGS.md and errors come from the same table.
 *
 * An unknown name in any source is an error (but for the variables that Kubernetes makes of a
 * service called novabeat), and so is a value out of range or two values that contradict each
 * other.  The file and the environment may hold settings of other commands; these are left unread.
 *
 * Memory:  text values borrow from argv, the environment and the table, or belong to the settings
 *          (config file): settings_fini frees those.  Not to be copied: some point into it.
 * Threads: written by settings_read, then constant. */
#ifndef NOVABEAT_CLI_SETTINGS_H
#define NOVABEAT_CLI_SETTINGS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/network.h"

/* The commands, in the order of the help: name, arguments, what it does. */
#define COMMAND_LIST(X)                                                                            \
    X(COMMAND_SERVE, "serve", "", "receive heartbeats and answer with figures, over HTTP")         \
    X(COMMAND_REPLAY, "replay", "FILE.ndjson",                                                     \
      "run the engine over a sorted trace, offline and at full speed")                             \
    X(COMMAND_SIMULATE, "simulate", "", "send real heartbeats and check the server's figures")     \
    X(COMMAND_VIEWERS, "viewers", "import|export FILE",                                            \
      "read viewers' profiles from, or write them to, CSV or NDJSON")                              \
    X(COMMAND_KEYS, "keys", "create|list|revoke [ID]",                                             \
      "API keys of back ends and dashboards: roles read, ingest, admin")                           \
    X(COMMAND_TOKEN, "token", "", "print a signed viewer token, for trying things out")            \
    X(COMMAND_BACKUP, "backup", "FOLDER", "copy a data folder, also while a server uses it")       \
    X(COMMAND_CHECK, "check", "", "say whether a data folder is whole")                            \
    X(COMMAND_VERSION, "version", "", "print the versions of this program and its libraries")      \
    X(COMMAND_HELP, "help", "[COMMAND]", "print this, or the settings of one command")

enum command {
#define COMMAND_ENUM(id, name, arguments, summary) id,
    COMMAND_LIST(COMMAND_ENUM)
#undef COMMAND_ENUM
        COMMANDS
};

/* In the order of the choices in the table. */
enum settings_auth { SETTING_AUTH_JWT, SETTING_AUTH_NONE };
enum settings_token_rsa { SETTING_TOKEN_RS256, SETTING_TOKEN_PS256 };
enum settings_durability {
    SETTING_DURABILITY_SYNC,
    SETTING_DURABILITY_INTERVAL,
    SETTING_DURABILITY_OS
};
enum settings_unknown_viewer { SETTING_UNKNOWN_VIEWER_ACCEPT, SETTING_UNKNOWN_VIEWER_REJECT };
enum settings_events { SETTING_EVENTS_OPEN, SETTING_EVENTS_DECLARED };
enum settings_format { SETTING_FORMAT_AUTO, SETTING_FORMAT_CSV, SETTING_FORMAT_NDJSON };
enum settings_log_level {
    SETTING_LOG_LEVEL_DEBUG,
    SETTING_LOG_LEVEL_INFO,
    SETTING_LOG_LEVEL_WARN,
    SETTING_LOG_LEVEL_ERROR
};

#define TRUSTED_PROXIES_MAX   32
#define COUNTRY_HEADERS_MAX   4
#define SETTINGS_OWNED_MAX    64
#define SETTINGS_WHY_BYTES    512
#define SETTINGS_TEXT_BYTES   4096 /* of one text value, with its NUL */
#define COUNTRY_HEADERS_BYTES 256

struct settings {
    /* every command */
    const char *config; /* "" when there is none */
    enum settings_log_level log_level;

    /* where things are */
    const char *data;
    const char *live;    /* "memory" */
    const char *records; /* "sqlite" */

    /* who may talk */
    const char *listen;                 /* as written; its parts are the next three */
    char listen_host[INET6_ADDRSTRLEN]; /* without brackets */
    uint16_t listen_port;               /* 0: any free one */
    bool listen_loopback;
    enum settings_auth auth;
    bool auth_none_anywhere;
    const char *trusted_proxies; /* as written; parsed: */
    struct network trusted_proxies_networks[TRUSTED_PROXIES_MAX];
    size_t trusted_proxies_count;
    const char *country_header; /* as written; its names, in order of preference: */
    const char *country_headers[COUNTRY_HEADERS_MAX + 1]; /* NULL-ended */
    char country_headers_text[COUNTRY_HEADERS_BYTES];     /* private: holds those names */
    const char *session_pattern;                          /* what stands before the session's id */
    const char *country_db;                               /* a file; "": none */
    const char *cors_origins;
    int64_t cors_max_age_ms;
    uint64_t viewer_rate; /* heartbeats a second of one viewer; 0: no bound */

    /* viewer tokens; texts are "" when not given */
    const char *token_secret, *token_secret_file, *token_pem, *token_jwks;
    enum settings_token_rsa token_rsa;
    const char *token_issuer, *token_audience;
    const char *token_viewer_claim, *token_event_claim, *token_groups_claim;
    int64_t token_leeway_ms;
    uint64_t token_bytes_max, token_cache_max;

    /* what counts (DESIGN, semantics) */
    int64_t alive_window_ms, hidden_window_ms, leaving_window_ms, viewing_gap_ms, frame_ms;
    int64_t interval_ms; /* what viewers are told */
    enum settings_unknown_viewer unknown_viewer;
    enum settings_events events;

    /* what is safe when */
    enum settings_durability durability;
    int64_t sync_gather_ms;
    uint64_t journal_segment_bytes, journal_max_bytes;
    int64_t records_flush_ms, records_interval_ms;
    int64_t event_idle_ms;
    int64_t profile_ttl_ms, profile_timeout_ms;
    const char *profiles_database, *profiles_query, *profiles_count_query; /* "": the own table */
    int64_t retain_events_ms, retain_viewers_ms, retain_viewings_ms, retain_frames_ms;

    /* bounds */
    uint64_t io_threads;
    uint64_t connections_max;
    uint64_t events_max, sessions_max, viewers_max, backlog_max;
    uint64_t all_sessions_max, all_viewers_max;
    uint64_t batch_bytes_max;
    int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    int64_t drain_timeout_ms;

    /* simulate */
    const char *target;
    uint64_t viewers, sessions, connections, seed, sample;
    int64_t duration_ms;
    const char *plan_state, *verify; /* "" when not given */
    bool json;
    const char *event; /* also of viewers, keys, token; "" when not given */

    /* keys, token */
    const char *role, *name;     /* "" when not given */
    const char *viewer, *groups; /* likewise */
    int64_t expires_ms;

    /* check, viewers */
    bool repair;
    enum settings_format format;
    bool skip_bad;

    /* private */
    uint64_t given[2]; /* by place in the table: settings_given */
    char *owned[SETTINGS_OWNED_MAX];
    size_t owned_count;
};

enum settings_outcome {
    SETTINGS_OK,
    SETTINGS_HELP,  /* --help or -h was given */
    SETTINGS_WRONG, /* why says what and where */
};

/* All defaults; then settings_fini may be called. */
void settings_init(struct settings *settings);
void settings_fini(struct settings *settings);

/* Reads all sources for one command into settings (which it initialises first).  argv holds *argc
 * arguments after the command's name; the positional ones are moved to its front and *argc becomes
 * their number.  environment: like environ.  On SETTINGS_WRONG why holds one line without newline
 * that names the setting, the value and the source. */
enum settings_outcome settings_read(struct settings *settings, enum command command, int *argc,
                                    char **argv, const char *const *environment,
                                    char why[SETTINGS_WHY_BYTES]);

/* Whether a file, the environment or a flag said something about a setting of the table, even if it
 * is the default. */
bool settings_given(const struct settings *settings, const char *name);

/* "serve" for COMMAND_SERVE; and back: false when there is no such command. */
const char *command_name(enum command command);
bool command_find(const char *name, enum command *command);

/* The nearest command's name, or NULL when none is near: for "did you mean". */
const char *command_nearest(const char *name);

/* What `novabeat help`, `novabeat serve --help` and `novabeat help --markdown` print. */
void settings_print_commands(FILE *out);
void settings_print_help(FILE *out, enum command command);
void settings_print_markdown(FILE *out);

#endif
