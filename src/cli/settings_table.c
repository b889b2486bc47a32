/* settings_table.c -- every setting, declared once.
 *
 * To add one: a field in struct settings (settings.h), an entry here, and docs/SETTINGS.md from
 * `novabeat help --markdown`. */
#include "cli/settings_table.h"

#include <stdio.h>

#include "base/duration.h"
#include "base/limits.h"
#include "api/cors.h"
#include "identity/api_key.h"
#include "identity/token.h"

#define SERVE    COMMAND_BIT(COMMAND_SERVE)
#define REPLAY   COMMAND_BIT(COMMAND_REPLAY)
#define SIMULATE COMMAND_BIT(COMMAND_SIMULATE)
#define VIEWERS  COMMAND_BIT(COMMAND_VIEWERS)
#define CHECK    COMMAND_BIT(COMMAND_CHECK)
#define KEYS     COMMAND_BIT(COMMAND_KEYS)
#define TOKEN    COMMAND_BIT(COMMAND_TOKEN)
#define BACKUP   COMMAND_BIT(COMMAND_BACKUP)

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
    return strcmp(text, "sqlite") == 0 || strncmp(text, "postgresql://", 13) == 0 ||
           strncmp(text, "postgres://", 11) == 0 ||
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

static bool take_cors_origins(struct settings *settings, const char *text, char *why,
                              size_t why_bytes)
{
    (void)settings;
    struct cors *cors = cors_new(text, 0, why, why_bytes);
    cors_free(cors);
    return cors != NULL;
}

static bool take_token_secret(struct settings *settings, const char *text, char *why,
                              size_t why_bytes)
{
    (void)settings;
    if (text[0] == '\0' || strlen(text) >= TOKEN_SECRET_BYTES_MIN) {
        return true;
    }
    snprintf(why, why_bytes, "must have at least %d bytes (RFC 7518, 3.2)", TOKEN_SECRET_BYTES_MIN);
    return false; /* without showing it */
}

static bool take_claim(struct settings *settings, const char *text, char *why, size_t why_bytes)
{
    (void)settings;
    return text[0] != '\0' || refuse(why, why_bytes, text, "must not be empty");
}

static bool take_role(struct settings *settings, const char *text, char *why, size_t why_bytes)
{
    (void)settings;
    unsigned roles;
    return text[0] == '\0' || api_roles_parse(slice_str(text), &roles) ||
           refuse(why, why_bytes, text, "is not a list of read, ingest and admin");
}

/* ---- the table ---- */

const struct setting settings_table[] = {
    {.name = "config",
     TEXT(config, "", "FILE"),
     .commands = SERVE | REPLAY | SIMULATE | VIEWERS | CHECK | KEYS | TOKEN | BACKUP,
     .prose =
         "A file of lines \"name = value\"; lines that begin with # or ; are comments, [sections] "
         "may be there and mean nothing.  It is read at start only.  One file may serve all "
         "commands."},
    {.name = "log-level",
     CHOICE(enum settings_log_level, log_level, "info", "debug|info|warn|error"),
     .commands = SERVE | REPLAY | SIMULATE | VIEWERS | CHECK | KEYS | TOKEN | BACKUP,
     .prose = "Lines below this level are not written.  Logs go to stderr."},
    {.name = "data",
     TEXT(data, "./novabeat-data", "DIR"),
     .commands = SERVE | REPLAY | VIEWERS | CHECK | KEYS | TOKEN | BACKUP,
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
     .prose = "Who may send heartbeats and read figures.  jwt: viewers show a signed token "
              "(token-*), back ends and dashboards an API key (novabeat keys).  none opens "
              "everything and takes the viewer from the body: for development."},
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

    {.name = "country-db",
     TEXT(country_db, "", "FILE"),
     .commands = SERVE,
     .prose = "A MaxMind DB file (GeoIP2, GeoLite2 or with a flat country_code) that gives the "
              "country of the client's address where no header did.  Read again when it changes.  "
              "Empty: none, such viewers are of ZZ.  Addresses are never stored."},
    {.name = "cors-origins",
     TEXT(cors_origins, "", "ORIGIN, …"),
     .take = take_cors_origins,
     .commands = SERVE,
     .prose = "Pages of which origins may call from a browser, such as https://app.example.com or "
              "https://*.example.com; * is any.  Empty: none but those of the server's own."},
    {.name = "cors-max-age",
     DURATION(cors_max_age_ms, "1d", 0, 7 * DAY),
     .commands = SERVE,
     .prose = "How long a browser may keep the answer to its preflight.  Browsers have bounds of "
              "their own, some of two hours."},
    {.name = "viewer-rate",
     INTEGER(viewer_rate, "5", 0, 1000),
     .commands = SERVE,
     .prose =
         "Heartbeats a second of one viewer of one event, per I/O thread; more are answered 429 "
         "and not counted.  A page sends one in 30 s and one more when it is shown, hidden or "
         "left.  Batches of a back end are not bounded by it.  0: no bound."},

    /* serve: viewer tokens */
    {.name = "token-secret",
     TEXT(token_secret, "", "TEXT"),
     .take = take_token_secret,
     .commands = SERVE | TOKEN,
     .prose = "The secret of HS256 tokens, at least 32 bytes.  Others on the machine can read a "
              "flag: better NOVABEAT_TOKEN_SECRET or token-secret-file.  Without any token key, "
              "serve makes a secret of its own, in the file token-secret of the data folder, which "
              "novabeat token then signs with."},
    {.name = "token-secret-file",
     TEXT(token_secret_file, "", "FILE"),
     .commands = SERVE | TOKEN,
     .prose = "The same from a file; line ends at its end do not count.  Read at start."},
    {.name = "token-pem",
     TEXT(token_pem, "", "FILE"),
     .commands = SERVE,
     .prose = "A public key or certificate in PEM: RSA of 2048 bits or more, EC P-256 (ES256) or "
              "Ed25519 (EdDSA).  Read again on SIGHUP and when the file changes."},
    {.name = "token-jwks",
     TEXT(token_jwks, "", "FILE"),
     .commands = SERVE,
     .prose = "A JSON Web Key Set (RFC 7517); tokens name their key by kid.  Read again on SIGHUP "
              "and when the file changes: fetch it with what you have and put it here."},
    {.name = "token-rsa",
     CHOICE(enum settings_token_rsa, token_rsa, "RS256", "RS256|PS256"),
     .commands = SERVE,
     .prose = "The algorithm of RSA keys that do not say theirs.  It is never taken from the "
              "token."},
    {.name = "token-issuer",
     TEXT(token_issuer, "", "TEXT"),
     .commands = SERVE,
     .prose = "What a token's iss must be.  Empty: it is not checked."},
    {.name = "token-audience",
     TEXT(token_audience, "", "TEXT"),
     .commands = SERVE,
     .prose = "What a token's aud must be or hold.  Empty: it is not checked."},
    {.name = "token-viewer-claim",
     TEXT(token_viewer_claim, "sub", "NAME"),
     .take = take_claim,
     .commands = SERVE,
     .prose = "The claim that names the viewer."},
    {.name = "token-event-claim",
     TEXT(token_event_claim, "event", "NAME"),
     .take = take_claim,
     .commands = SERVE,
     .prose = "The claim that binds a token to one event; a token without it is good for all."},
    {.name = "token-groups-claim",
     TEXT(token_groups_claim, "groups", "NAME"),
     .take = take_claim,
     .commands = SERVE,
     .prose = "The claim with the viewer's groups, an array of texts; with it no profile is looked "
              "up."},
    {.name = "token-leeway",
     DURATION(token_leeway_ms, "60s", 0, HOUR),
     .commands = SERVE,
     .prose = "How far the clock of who signs tokens may be off: for exp, nbf and iat."},
    {.name = "token-bytes-max",
     BYTES(token_bytes_max, "4k", 64, 12 * KIB),
     .commands = SERVE,
     .prose = "The largest token that is looked at."},
    {.name = "token-cache-max",
     INTEGER(token_cache_max, "1000000", 0, 100000000),
     .commands = SERVE,
     .prose = "Verified tokens that are remembered, so that a viewer's next heartbeat costs no "
              "signature check; each takes about 150 bytes.  If unsure, as many as viewers at one "
              "time."},

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
              "records hold or the directory declares (PUT /analytics/events/{eventId}) are "
              "accepted, others are answered 404."},

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
     .commands = SERVE | REPLAY | VIEWERS | CHECK | KEYS | BACKUP,
     .prose =
         "Where profiles, viewings and statistics are kept.  sqlite: a file in the data "
         "folder.  postgresql://USER@HOST:PORT/DATABASE: tables in that database's schema "
         "novabeat, made at the first start.  A password is better in the environment "
         "(NOVABEAT_RECORDS, PGPASSWORD) or in ~/.pgpass than on the command line.  If unsure, "
         "sqlite."},
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

    {.name = "profiles-database",
     TEXT(profiles_database, "", "FILE|postgresql://…"),
     .commands = SERVE,
     .prose = "The platform's own user database, from which profiles come instead of from the "
              "records: an SQLite file, or a PostgreSQL database, only read.  Needs "
              "profiles-query."},
    {.name = "profiles-query",
     TEXT(profiles_query, "", "SELECT …"),
     .commands = SERVE,
     .prose = "One SELECT with the parameters :event and :viewer that gives a viewer's name and "
              "groups (a JSON array, or texts with commas): SELECT name, roles AS groups FROM "
              "users WHERE id = :viewer."},
    {.name = "profiles-count-query",
     TEXT(profiles_count_query, "", "SELECT …"),
     .commands = SERVE,
     .prose = "One SELECT with the parameter :event that gives the number of registered viewers, "
              "for viewers/count.  Empty: that is answered 404."},
    {.name = "retain-events",
     DURATION(retain_events_ms, "0", 0, 3650 * DAY),
     .commands = SERVE,
     .prose =
         "An event without a heartbeat for so long, and that the directory does not declare to "
         "start later (nor a session of it), is purged, with all that is stored of it.  0: "
         "never."},
    {.name = "retain-viewers",
     DURATION(retain_viewers_ms, "0", 0, 3650 * DAY),
     .commands = SERVE,
     .prose =
         "Who attended an event that had no heartbeat for so long, and that the directory does "
         "not declare to start later (nor a session of it), is forgotten: ids, viewings and "
         "profiles; counts, peaks and statistics stay.  0: never."},
    {.name = "retain-viewings",
     DURATION(retain_viewings_ms, "0", 0, 3650 * DAY),
     .commands = SERVE,
     .prose = "Viewings that ended so long ago are deleted (each viewer's latest stays, and so do "
              "the sums).  0: never."},
    {.name = "retain-frames",
     DURATION(retain_frames_ms, "0", 0, 3650 * DAY),
     .commands = SERVE,
     .prose = "Five-minute statistics that are so old are deleted.  0: never."},

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
    {.name = "all-sessions-max",
     INTEGER(all_sessions_max, "1000000", 1, 100000000),
     .commands = SERVE | REPLAY,
     .prose = "Events and sessions in memory together."},
    {.name = "all-viewers-max",
     INTEGER(all_viewers_max, "50000000", 1, 1000000000),
     .commands = SERVE | REPLAY,
     .prose = "Viewers of all events in memory together."},
    {.name = "backlog-max",
     INTEGER(backlog_max, "1000000", 1000, 100000000),
     .commands = SERVE | REPLAY,
     .prose = "Ended viewings and frames that may wait for the record store; above it heartbeats "
              "are answered 503."},
    {.name = "batch-bytes-max",
     BYTES(batch_bytes_max, "1m", KIB, 64 * MIB),
     .commands = SERVE,
     .prose = "The largest body of POST /analytics/heartbeats and of an import of profiles."},
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
     .commands = SIMULATE | VIEWERS | KEYS | TOKEN,
     .prose = "The event's id.  keys create and token bind to it what they make.  simulate makes a "
              "fresh one when none is given; viewers takes all "
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

    /* keys, token */
    {.name = "role",
     TEXT(role, "", "ROLE, …"),
     .take = take_role,
     .commands = KEYS,
     .prose = "What the key may do, one or more of: read (figures, reports, the directory), ingest "
              "(heartbeats in batches), admin (everything)."},
    {.name = "name",
     TEXT(name, "", "TEXT"),
     .commands = KEYS,
     .prose = "What the key is for; for those who read the list."},
    {.name = "viewer",
     TEXT(viewer, "", "VIEWER"),
     .commands = TOKEN,
     .prose = "The viewer's id, the token's sub."},
    {.name = "groups",
     TEXT(groups, "", "GROUP, …"),
     .commands = TOKEN,
     .prose = "The viewer's groups; without them the profile says."},
    {.name = "expires",
     DURATION(expires_ms, "1h", 1000, 365 * DAY),
     .commands = TOKEN,
     .prose = "How long the token is good."},

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

bool settings_take_serve(const struct settings *settings, enum command command, char *why,
                         size_t why_bytes)
{
    if (command != COMMAND_SERVE) {
        return true;
    }
    if (settings->profiles_query[0] != '\0' && settings->profiles_database[0] == '\0') {
        snprintf(why, why_bytes, "profiles-query: needs profiles-database");
        return false;
    }
    if (settings->profiles_database[0] != '\0' && settings->profiles_query[0] == '\0') {
        snprintf(why, why_bytes, "profiles-database: needs profiles-query");
        return false;
    }
    if (settings->auth == SETTING_AUTH_JWT) {
        return true;
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
