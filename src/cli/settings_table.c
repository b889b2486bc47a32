/* settings_table.c -- every setting, declared once.
 *
 * To add one: a field in struct settings (settings.h), an entry here, and docs/SETTINGS.md from
 * `novabeat help --markdown`. */
#include "cli/settings_table.h"

#include <stdio.h>

#include "base/duration.h"
#include "base/limits.h"

#define SERVE    COMMAND_BIT(COMMAND_SERVE)
#define REPLAY   COMMAND_BIT(COMMAND_REPLAY)
#define SIMULATE COMMAND_BIT(COMMAND_SIMULATE)
#define VIEWERS  COMMAND_BIT(COMMAND_VIEWERS)
#define CHECK    COMMAND_BIT(COMMAND_CHECK)

#define SECOND ((uint64_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define KIB    ((uint64_t)1 << 10)
#define MIB    ((uint64_t)1 << 20)
#define GIB    ((uint64_t)1 << 30)

/* The field's offset; compiles only when the field is of the type that the kind writes. */
#define FIELD(type, field)                                                                         \
    (offsetof(struct settings, field) * _Generic(((struct settings *)0)->field, type : 1))

#define DURATION(field_, initial_, lowest_, highest_)                                              \
    .kind = SETTING_DURATION, .offset = FIELD(int64_t, field_), .initial = initial_,               \
    .lowest = lowest_, .highest = highest_
#define INTEGER(field_, initial_, lowest_, highest_)                                               \
    .kind = SETTING_INTEGER, .offset = FIELD(uint64_t, field_), .initial = initial_,               \
    .lowest = lowest_, .highest = highest_
#define BYTES(field_, initial_, lowest_, highest_)                                                 \
    .kind = SETTING_BYTES, .offset = FIELD(uint64_t, field_), .initial = initial_,                 \
    .lowest = lowest_, .highest = highest_
#define CHOICE(type_, field_, initial_, choices_)                                                  \
    .kind = SETTING_CHOICE, .offset = FIELD(type_, field_), .initial = initial_, .choices = choices_
#define TEXT(field_, initial_, hint_)                                                              \
    .kind = SETTING_TEXT, .offset = FIELD(const char *, field_), .initial = initial_, .hint = hint_
#define FLAG(field_) .kind = SETTING_FLAG, .offset = FIELD(bool, field_), .initial = "false"

/* ---- texts that have parts ---- */

static bool refuse(char *why, size_t why_bytes, const char *text, const char *reason)
{
    snprintf(why, why_bytes, "%.80s %s", text, reason);
    return false;
}

/* "127.0.0.1:8080", "[::1]:8080". */
static bool take_listen(struct settings *settings, const char *text, char *why, size_t why_bytes)
{
    static const char expected[] =
        "is not an address in numbers and a port; write 127.0.0.1:8080 or [::1]:8080";
    struct slice whole = slice_str(text);
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return refuse(why, why_bytes, text, expected);
    }
    struct slice host = slice_of(text, (size_t)(colon - text));
    bool brackets = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (brackets) {
        host = slice_of(host.ptr + 1, host.len - 2);
    }
    bool v6 = host.len > 0 && memchr(host.ptr, ':', host.len) != NULL;
    struct address address;
    uint64_t port;
    if (v6 != brackets || !address_parse(host, &address) ||
        !integer_parse(slice_of(colon + 1, (size_t)(whole.ptr + whole.len - colon) - 1), &port) ||
        port > 65535) {
        return refuse(why, why_bytes, text, expected);
    }
    memcpy(settings->listen_host, host.ptr, host.len); /* address_parse: < INET6_ADDRSTRLEN */
    settings->listen_host[host.len] = '\0';
    settings->listen_port = (uint16_t)port;
    settings->listen_loopback = address_is_loopback(&address);
    return true;
}

static bool take_live(struct settings *settings, const char *text, char *why, size_t why_bytes)
{
    (void)settings;
    if (strncmp(text, "redis://", 8) == 0 || strncmp(text, "rediss://", 9) == 0) {
        return refuse(why, why_bytes, text, "is not built in yet; write memory");
    }
    return strcmp(text, "memory") == 0 ||
           refuse(why, why_bytes, text, "is neither memory nor redis://HOST:PORT");
}

static bool take_records(struct settings *settings, const char *text, char *why, size_t why_bytes)
{
    (void)settings;
    if (strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0) {
        return refuse(why, why_bytes, text, "is not built in yet; write sqlite");
    }
    return strcmp(text, "sqlite") == 0 ||
           refuse(why, why_bytes, text, "is neither sqlite nor postgresql://…");
}

/* The next item of a list "a, b": without the spaces around it; false at the end. */
static bool next_item(struct slice *rest, struct slice *item)
{
    if (rest->ptr == NULL) {
        return false;
    }
    const char *comma = rest->len == 0 ? NULL : memchr(rest->ptr, ',', rest->len);
    size_t len = comma == NULL ? rest->len : (size_t)(comma - rest->ptr);
    *item = slice_of(rest->ptr, len);
    *rest = comma == NULL ? SLICE_EMPTY : slice_of(comma + 1, rest->len - len - 1);
    while (item->len > 0 && item->ptr[0] == ' ') {
        *item = slice_of(item->ptr + 1, item->len - 1);
    }
    while (item->len > 0 && item->ptr[item->len - 1] == ' ') {
        item->len--;
    }
    return true;
}

static bool take_trusted_proxies(struct settings *settings, const char *text, char *why,
                                 size_t why_bytes)
{
    settings->trusted_proxies_count = 0;
    struct slice item;
    for (struct slice rest = slice_str(text); text[0] != '\0' && next_item(&rest, &item);) {
        if (settings->trusted_proxies_count == TRUSTED_PROXIES_MAX) {
            snprintf(why, why_bytes, "holds more than %d networks", TRUSTED_PROXIES_MAX);
            return false;
        }
        struct network *network =
            &settings->trusted_proxies_networks[settings->trusted_proxies_count];
        if (!network_parse(item, network)) {
            snprintf(why, why_bytes,
                     "\"%.60s\" is not a network; write 10.0.0.0/8, ::1/128 or one address",
                     item.len == 0 ? "" : text + (item.ptr - text));
            return false;
        }
        settings->trusted_proxies_count++;
    }
    return true;
}

/* RFC 9110, section 5.6.2: a field name is a token. */
static bool is_token(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.ptr[i];
        bool letter = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        bool digit = byte >= '0' && byte <= '9';
        if (byte == '\0' || (!letter && !digit && strchr("!#$%&'*+-.^_`|~", byte) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

static bool take_country_header(struct settings *settings, const char *text, char *why,
                                size_t why_bytes)
{
    size_t count = 0;
    size_t used = 0;
    struct slice item;
    for (struct slice rest = slice_str(text); text[0] != '\0' && next_item(&rest, &item);) {
        if (!is_token(item)) {
            return refuse(why, why_bytes, text, "is not a list of header names");
        }
        if (count == COUNTRY_HEADERS_MAX || item.len + 1 > COUNTRY_HEADERS_BYTES - used) {
            snprintf(why, why_bytes, "holds more than %d header names or %d bytes",
                     COUNTRY_HEADERS_MAX, COUNTRY_HEADERS_BYTES);
            return false;
        }
        char *copy = settings->country_headers_text + used;
        memcpy(copy, item.ptr, item.len);
        copy[item.len] = '\0';
        settings->country_headers[count++] = copy;
        used += item.len + 1;
    }
    settings->country_headers[count] = NULL;
    return true;
}

static bool take_session_pattern(struct settings *settings, const char *text, char *why,
                                 size_t why_bytes)
{
    (void)settings;
    return text[0] != '\0' || refuse(why, why_bytes, text, "must not be empty");
}

/* ---- the table ---- */

const struct setting settings_table[] = {
    {.name = "config",
     TEXT(config, "", "FILE"),
     .commands = SERVE | REPLAY | SIMULATE | VIEWERS | CHECK,
     .prose = "A file of lines \"name = value\"; # and ; begin comments, [sections] may be there "
              "and mean nothing.  One file may serve all commands."},
    {.name = "log-level",
     CHOICE(enum settings_log_level, log_level, "info", "debug|info|warn|error"),
     .commands = SERVE | REPLAY | SIMULATE | VIEWERS | CHECK,
     .prose = "Lines below this level are not written.  Logs go to stderr."},
    {.name = "data",
     TEXT(data, "./novabeat-data", "DIR"),
     .commands = SERVE | REPLAY | VIEWERS | CHECK,
     .prose = "The folder that holds the journal and the records.  One process at a time."},

    /* serve: who may talk */
    {.name = "listen",
     TEXT(listen, "127.0.0.1:8080", "HOST:PORT"),
     .take = take_listen,
     .commands = SERVE,
     .prose = "The address to serve on, in numbers; an IPv6 address stands in brackets.  Port 0 "
              "takes a free one and logs it."},
    {.name = "auth",
     CHOICE(enum settings_auth, auth, "jwt", "jwt|none"),
     .commands = SERVE,
     .prose = "Who may send heartbeats and read figures.  none opens everything and takes the "
              "viewer from the body: for development.  jwt comes with a later version."},
    {.name = "auth-none-anywhere",
     FLAG(auth_none_anywhere),
     .commands = SERVE,
     .prose = "Lets auth none listen on an address that others can reach.  Whoever reaches it can "
              "then send heartbeats for anybody.  If unsure, leave it."},
    {.name = "trusted-proxies",
     TEXT(trusted_proxies, "127.0.0.0/8, ::1/128", "NETWORK, …"),
     .take = take_trusted_proxies,
     .commands = SERVE,
     .prose = "Networks of your own proxies.  Only what comes from them may say, by header, which "
              "country and address a viewer has.  Empty trusts none."},
    {.name = "country-header",
     TEXT(country_header, "CloudFront-Viewer-Country, CF-IPCountry", "NAME, …"),
     .take = take_country_header,
     .commands = SERVE,
     .prose = "Headers in which a trusted proxy says the viewer's country, the first one present "
              "counts.  Empty: none."},
    {.name = "session-pattern",
     TEXT(session_pattern, "/sessions/", "TEXT"),
     .take = take_session_pattern,
     .commands = SERVE,
     .prose = "The session of a heartbeat is what follows this text in its \"path\" or Referer."},

    /* what counts */
    {.name = "alive-window",
     DURATION(alive_window_ms, "65s", 1, DAY),
     .commands = SERVE | REPLAY | SIMULATE,
     .prose = "How long after a heartbeat a viewer counts as watching.  A little more than two "
              "intervals forgives one lost heartbeat.  If unsure, two intervals and five seconds."},
    {.name = "hidden-window",
     DURATION(hidden_window_ms, "125s", 1, DAY),
     .commands = SERVE | REPLAY | SIMULATE,
     .prose = "The same after a heartbeat from a hidden tab.  Browsers slow a hidden tab's timers "
              "to one a minute, so it is a little more than two minutes.  If unsure, leave it."},
    {.name = "leaving-window",
     DURATION(leaving_window_ms, "35s", 1, DAY),
     .commands = SERVE | REPLAY | SIMULATE,
     .prose = "How long a viewer still counts after a page said that it is leaving: an interval "
              "and a little, so that another open tab keeps its viewer alive."},
    {.name = "viewing-gap",
     DURATION(viewing_gap_ms, "150s", 1, DAY),
     .commands = SERVE | REPLAY | SIMULATE,
     .prose = "A viewer who comes back within this time continues the same viewing; later, a new "
              "one starts.  If unsure, a little more than the hidden window."},
    {.name = "frame",
     DURATION(frame_ms, "5m", 100, DAY),
     .commands = SERVE | REPLAY | SIMULATE,
     .prose = "The length of one frame of statistics, aligned to the epoch.  Frames that are "
              "already written keep theirs.  If unsure, leave it."},
    {.name = "interval",
     DURATION(interval_ms, "30s", 1, DAY),
     .commands = SERVE | SIMULATE,
     .prose = "When a viewer is told to send the next heartbeat.  Longer means less load and a "
              "count that lags more; move alive-window and leaving-window with it.  simulate does "
              "what the server tells unless it is given."},
    {.name = "unknown-viewer",
     CHOICE(enum settings_unknown_viewer, unknown_viewer, "accept", "accept|reject"),
     .commands = SERVE,
     .prose = "A viewer without a profile counts without groups, or is answered 403."},
    {.name = "events",
     CHOICE(enum settings_events, events, "open", "open|declared"),
     .commands = SERVE,
     .prose = "open: the first heartbeat for an event begins it.  declared: only events that the "
              "records hold are accepted, others are answered 404.  Declaring one over HTTP comes "
              "with a later version; until then, those that were begun under open or by replay."},

    /* what is safe when */
    {.name = "durability",
     CHOICE(enum settings_durability, durability, "sync", "sync|interval|os"),
     .commands = SERVE,
     .prose = "When a heartbeat is acknowledged.  sync: when it is on the disk; a power cut loses "
              "nothing.  interval: when it is written; a power cut loses at most a second.  os: "
              "the same, and the disk is the system's business.  A killed process loses nothing "
              "in any of them.  If unsure, sync."},
    {.name = "sync-gather",
     DURATION(sync_gather_ms, "5ms", 0, 50),
     .commands = SERVE,
     .prose = "Under load, how long a sync waits to gather more heartbeats.  Viewers never notice; "
              "fewer syncs leave more of the disk.  If unsure, leave it."},
    {.name = "journal-segment",
     BYTES(journal_segment_bytes, "64m", 4 * KIB, 4 * GIB),
     .commands = SERVE | REPLAY,
     .prose = "The journal begins a new file at this size; files that the records cover go."},
    {.name = "journal-max",
     BYTES(journal_max_bytes, "8g", 64 * KIB, 1024 * GIB),
     .commands = SERVE | REPLAY,
     .prose = "While the journal is larger, which takes a record store that stopped working, "
              "heartbeats are answered 503."},
    {.name = "records",
     TEXT(records, "sqlite", "sqlite|postgresql://…"),
     .take = take_records,
     .commands = SERVE | REPLAY | VIEWERS | CHECK,
     .prose = "Where profiles, viewings and statistics are kept.  sqlite: a file in the data "
              "folder.  PostgreSQL comes with a later version."},
    {.name = "records-flush",
     DURATION(records_flush_ms, "1s", 1, HOUR),
     .commands = SERVE | REPLAY,
     .prose = "How often new viewings and finished frames are written to the records."},
    {.name = "records-interval",
     DURATION(records_interval_ms, "60s", 1, HOUR),
     .commands = SERVE | REPLAY,
     .prose = "How often viewings that only grew longer are written too.  Longer writes less and "
              "keeps more journal.  If unsure, leave it."},
    {.name = "live",
     TEXT(live, "memory", "memory|redis://…"),
     .take = take_live,
     .commands = SERVE,
     .prose = "Where the live figures are counted.  memory: in this process.  Redis, for more than "
              "one node, comes with a later version."},
    {.name = "event-idle",
     DURATION(event_idle_ms, "10m", 1, 30 * DAY),
     .commands = SERVE | REPLAY,
     .prose = "An event without a heartbeat for so long leaves memory; it comes back on demand."},
    {.name = "profile-ttl",
     DURATION(profile_ttl_ms, "10m", 1, 30 * DAY),
     .commands = SERVE | REPLAY,
     .prose = "How old a cached profile may be before it is looked up again, in the background."},
    {.name = "profile-timeout",
     DURATION(profile_timeout_ms, "2s", 1, MINUTE),
     .commands = SERVE,
     .prose = "How long a viewer's first heartbeat waits for the profile.  Then it counts without "
              "groups."},

    /* bounds */
    {.name = "io-threads",
     INTEGER(io_threads, "1", 1, 64),
     .commands = SERVE,
     .prose = "Threads that speak HTTP.  One carries tens of thousands of heartbeats a second.  If "
              "unsure, one; then half of the cores."},
    {.name = "connections-max",
     INTEGER(connections_max, "100000", 1, 10000000),
     .commands = SERVE,
     .prose = "Open connections; above it a new one is answered 503 and closed."},
    {.name = "events-max",
     INTEGER(events_max, "10000", 1, 10000000),
     .commands = SERVE | REPLAY,
     .prose = "Events in memory at one time."},
    {.name = "sessions-max",
     INTEGER(sessions_max, "10000", 1, 10000000),
     .commands = SERVE | REPLAY,
     .prose = "Sessions of one event."},
    {.name = "viewers-max",
     INTEGER(viewers_max, "10000000", 1, VIEWERS_PER_EVENT_MAX),
     .commands = SERVE | REPLAY,
     .prose = "Viewers of one event; each takes about 100 bytes of memory, and again half of it "
              "per session watched."},
    {.name = "backlog-max",
     INTEGER(backlog_max, "1000000", 1000, 100000000),
     .commands = SERVE | REPLAY,
     .prose = "Ended viewings and frames that may wait for the record store; above it heartbeats "
              "are answered 503."},
    {.name = "batch-bytes-max",
     BYTES(batch_bytes_max, "1m", KIB, 64 * MIB),
     .commands = SERVE,
     .prose = "The largest NDJSON body of POST /analytics/heartbeats."},
    {.name = "header-timeout",
     DURATION(header_timeout_ms, "10s", 1, HOUR),
     .commands = SERVE,
     .prose = "How long a request's head may take from its first byte on."},
    {.name = "body-timeout",
     DURATION(body_timeout_ms, "10s", 1, HOUR),
     .commands = SERVE,
     .prose = "How long a request's body may take."},
    {.name = "idle-timeout",
     DURATION(idle_timeout_ms, "75s", 1, DAY),
     .commands = SERVE,
     .prose = "How long a connection may stay open without a request.  Longer than the interval "
              "spares viewers a new connection per heartbeat."},
    {.name = "write-timeout",
     DURATION(write_timeout_ms, "10s", 1, HOUR),
     .commands = SERVE,
     .prose = "How long a client may take to read an answer."},
    {.name = "drain-timeout",
     DURATION(drain_timeout_ms, "10s", 1, HOUR),
     .commands = SERVE,
     .prose = "After SIGTERM, how long open requests may take before they are cut off.  Nothing "
              "that was acknowledged is lost either way."},

    /* simulate */
    {.name = "target",
     TEXT(target, "http://127.0.0.1:8080", "URL"),
     .commands = SIMULATE,
     .prose = "The server to send to."},
    {.name = "event",
     TEXT(event, "", "EVENT"),
     .commands = SIMULATE | VIEWERS,
     .prose = "The event's id.  simulate makes a fresh one when none is given; viewers takes all "
              "events when exporting, and needs it when importing a file without an event column."},
    {.name = "viewers",
     INTEGER(viewers, "1000", 1, 10000000),
     .commands = SIMULATE,
     .prose = "How many viewers are played."},
    {.name = "sessions",
     INTEGER(sessions, "3", 0, 1000),
     .commands = SIMULATE,
     .prose = "How many sessions they watch."},
    {.name = "duration",
     DURATION(duration_ms, "60s", 100, 7 * DAY),
     .commands = SIMULATE,
     .prose = "How long heartbeats are sent."},
    {.name = "connections",
     INTEGER(connections, "0", 0, 1000000),
     .commands = SIMULATE,
     .prose = "Connections that the viewers share; 0 leaves the number to the simulation."},
    {.name = "seed",
     INTEGER(seed, "0", 0, UINT64_MAX),
     .commands = SIMULATE,
     .prose = "The same seed plays the same viewers; 0 takes one from the clock and prints it."},
    {.name = "sample",
     INTEGER(sample, "20", 0, 10000),
     .commands = SIMULATE,
     .prose = "Of how many viewers each viewing is compared too."},
    {.name = "plan-state",
     TEXT(plan_state, "", "FILE"),
     .commands = SIMULATE,
     .prose = "At the end, write the figures that must last to this file, for --verify."},
    {.name = "verify",
     TEXT(verify, "", "FILE"),
     .commands = SIMULATE,
     .prose = "Send nothing: compare the server's figures with what an earlier run wrote with "
              "--plan-state, for instance after a restart."},
    {.name = "json",
     FLAG(json),
     .commands = SIMULATE,
     .prose = "Print the outcome as one JSON object, and no progress."},

    /* check, viewers */
    {.name = "repair",
     FLAG(repair),
     .commands = CHECK,
     .prose =
         "Also make a journal with a bad place start again: it ends before that place, and what "
         "came after is lost to the figures, acknowledged or not.  What is cut is kept beside "
         "it (….journal.damaged).  Copy the folder first."},
    {.name = "format",
     CHOICE(enum settings_format, format, "auto", "auto|csv|ndjson"),
     .commands = VIEWERS,
     .prose = "What the file is; auto goes by its name (.csv, .ndjson, .jsonl)."},
    {.name = "skip-bad",
     FLAG(skip_bad),
     .commands = VIEWERS,
     .prose = "Import the good lines and report the bad ones, instead of importing nothing when "
              "one is bad."},
};

const size_t settings_count = sizeof settings_table / sizeof settings_table[0];

/* ---- relations ---- */

const struct setting_relation settings_relations[] = {
    {"leaving-window", "alive-window", "leaving must not make a viewer stay longer"},
    {"alive-window", "hidden-window", "a hidden tab beats more rarely"},
    {"hidden-window", "viewing-gap", "a viewer who is watching must not start a new viewing"},
    {"records-flush", "records-interval", "new viewings are written at least as often"},
    {"journal-segment", "journal-max", "the journal is at least one file"},
};

const size_t settings_relations_count = sizeof settings_relations / sizeof settings_relations[0];

bool settings_take_auth(const struct settings *settings, enum command command, char *why,
                        size_t why_bytes)
{
    if (command != COMMAND_SERVE) {
        return true;
    }
    if (settings->auth == SETTING_AUTH_JWT) {
        snprintf(why, why_bytes,
                 "auth: jwt comes with a later version; say --auth none for now (development: "
                 "whoever reaches the server can send heartbeats for anybody)");
        return false;
    }
    if (!settings->listen_loopback && !settings->auth_none_anywhere) {
        snprintf(why, why_bytes,
                 "auth: none serves on loopback addresses only, and listen is %.80s; say "
                 "--auth-none-anywhere if everybody who reaches it may send for anybody",
                 settings->listen);
        return false;
    }
    return true;
}
