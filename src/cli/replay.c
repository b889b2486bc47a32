/* replay.c -- novabeat replay FILE: the engine over a sorted trace, offline and at full speed.
 *
 * One heartbeat a line, as NDJSON: {"ts":1637661623070,"event":"E","session":"S","viewer":"V",
 * "country":"HK","groups":["g1"]}; session, country, groups, hidden and leaving may be absent. "ts"
 * never decreases and is not in the future: a server that opens the folder goes on from there.  The
 * first bad line ends the replay with its number; what came before is kept.  FILE may be "-":
 * standard input.
 *
 * Exit 0: every line was counted.  1: not so; what hit a bound is counted in the result. */
#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"
#include "live/offline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define READ_BYTES     (1024 * 1024)
#define LINE_BYTES_MAX 8192
/* What a line may take of the scratch: all its text unescaped, and its groups packed. */
#define LINE_SCRATCH_BYTES (LINE_BYTES_MAX + GROUPS_PACKED_BYTES_MAX)
#define FUTURE_MS_MAX      60000 /* another machine's clock */

enum field { TS, EVENT, SESSION, VIEWER, COUNTRY, GROUPS, HIDDEN, LEAVING, FIELDS };

static const struct json_field fields[FIELDS] = {
    [TS] = JSON_FIELD("ts", JSON_IS_NUMBER, JSON_REQUIRED),
    [EVENT] = JSON_FIELD("event", JSON_IS_STRING, JSON_REQUIRED),
    [SESSION] = JSON_FIELD("session", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [VIEWER] = JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
    [COUNTRY] = JSON_FIELD("country", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [GROUPS] = JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    [HIDDEN] = JSON_FIELD("hidden", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [LEAVING] = JSON_FIELD("leaving", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
};

struct replay {
    struct offline *offline;
    int fd;
    char *buffer; /* READ_BYTES */
    size_t filled;
    uint64_t line;
    struct offline_result result;
    int64_t last_ms, newest_ms; /* "ts" may be from the one to the other */
    struct offline_beat beats[OFFLINE_BATCH_MAX];
    /* Unescaped text and packed groups of the batch. */
    char scratch[64 * LINE_SCRATCH_BYTES];
    size_t scratch_used;
    char why[512];
};

static bool refuse(struct replay *replay, const char *what)
{
    (void)snprintf(replay->why, sizeof replay->why, "line %llu: %s",
                   (unsigned long long)replay->line, what);
    return false;
}

static bool text_of(struct replay *replay, const struct json_value *value, struct slice *text)
{
    if (!value->escaped) {
        *text = value->raw;
        return true;
    }
    size_t room = sizeof replay->scratch - replay->scratch_used; /* enough: see count_lines */
    if (!json_text(value, replay->scratch + replay->scratch_used, room, text)) {
        return false;
    }
    replay->scratch_used += text->len;
    return true;
}

static bool groups_of(struct replay *replay, const struct json_value *value,
                      struct heartbeat *heartbeat)
{
    struct slice ids[GROUPS_PER_VIEWER_MAX * 4];
    size_t count = 0;
    struct json_value item;
    for (struct slice rest = value->raw; json_array_next(&rest, &item);) {
        if (item.kind != JSON_IS_STRING || count == sizeof ids / sizeof ids[0] ||
            !text_of(replay, &item, &ids[count++])) {
            return refuse(replay, "\"groups\" must be a list of at most 32 texts");
        }
    }
    size_t len;
    char *out = replay->scratch + replay->scratch_used;
    if (groups_pack(ids, count, out, &len) != GROUPS_OK) {
        return refuse(replay, "\"groups\" must be at most 32 texts of 1 to 64 bytes");
    }
    replay->scratch_used += len;
    heartbeat->groups = slice_of(out, len);
    heartbeat->flags |= HEARTBEAT_GROUPS;
    return true;
}

static bool parse(struct replay *replay, struct slice line, struct offline_beat *beat)
{
    struct json_value values[FIELDS];
    struct json_fault fault;
    if (json_object_read(line, fields, FIELDS, values, &fault) != JSON_OK) {
        char text[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, text);
        return refuse(replay, text);
    }
    struct heartbeat *heartbeat = &beat->heartbeat;
    *heartbeat = (struct heartbeat){0};
    if (!json_i64(&values[TS], &beat->time_ms) || beat->time_ms < 0) {
        return refuse(replay, "\"ts\" must be ms since the epoch");
    }
    if (beat->time_ms > replay->newest_ms) {
        return refuse(replay, "\"ts\" is in the future");
    }
    if (beat->time_ms < replay->last_ms) {
        return refuse(replay, "\"ts\" goes back: the trace must be sorted, and later than what the "
                              "data folder holds");
    }
    if (!text_of(replay, &values[EVENT], &heartbeat->event) || !id_event_valid(heartbeat->event)) {
        return refuse(replay, "\"event\" must be 1 to 64 of A-Z a-z 0-9 . _ ~ -");
    }
    if (values[SESSION].kind == JSON_IS_STRING &&
        (!text_of(replay, &values[SESSION], &heartbeat->session) ||
         !id_session_valid(heartbeat->session))) {
        return refuse(replay, "\"session\" must be 1 to 64 of A-Z a-z 0-9 . _ ~ -");
    }
    if (!text_of(replay, &values[VIEWER], &heartbeat->viewer) ||
        !id_viewer_valid(heartbeat->viewer)) {
        return refuse(replay, "\"viewer\" must be 1 to 128 bytes without control characters");
    }
    struct slice country;
    if (values[COUNTRY].kind == JSON_IS_STRING && (!text_of(replay, &values[COUNTRY], &country) ||
                                                   !country_pack(country, &heartbeat->country))) {
        return refuse(replay, "\"country\" must be two of A-Z 0-9");
    }
    heartbeat->flags = (uint8_t)((values[HIDDEN].truth ? HEARTBEAT_HIDDEN : 0) |
                                 (values[LEAVING].truth ? HEARTBEAT_LEAVING : 0));
    if (values[GROUPS].kind == JSON_IS_ARRAY && !groups_of(replay, &values[GROUPS], heartbeat)) {
        return false;
    }
    replay->last_ms = beat->time_ms;
    return true;
}

static bool count_batch(struct replay *replay, size_t *count)
{
    if (*count == 0) {
        return true;
    }
    char why[sizeof replay->why - 64] = "";
    enum err err =
        offline_count(replay->offline, replay->beats, *count, &replay->result, why, sizeof why);
    replay->scratch_used = 0;
    *count = 0;
    if (err != ERR_NONE) {
        (void)snprintf(replay->why, sizeof replay->why, "at line %llu or some before it: %s",
                       (unsigned long long)replay->line, why);
    }
    return err == ERR_NONE;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* One line, without its end. */
static bool take_line(struct replay *replay, struct slice line, size_t *count)
{
    replay->line++;
    while (line.len > 0 && is_blank(line.ptr[line.len - 1])) {
        line.len--; /* blank lines are passed over, as in a batch over HTTP */
    }
    if (line.len == 0) {
        return true;
    }
    if (line.len > LINE_BYTES_MAX) {
        return refuse(replay, "the line is too long");
    }
    if (!parse(replay, line, &replay->beats[*count])) {
        return false;
    }
    ++*count;
    bool room = sizeof replay->scratch - replay->scratch_used >= LINE_SCRATCH_BYTES;
    return (*count < OFFLINE_BATCH_MAX && room) || count_batch(replay, count);
}

/* Counts the whole lines in the buffer and moves the rest to its front. */
static bool count_lines(struct replay *replay, bool end)
{
    char *at = replay->buffer, *stop = replay->buffer + replay->filled;
    size_t count = 0;
    bool well = true;
    while (well && at < stop) {
        char *newline = memchr(at, '\n', (size_t)(stop - at));
        if (newline == NULL && !end) {
            break;
        }
        struct slice line = slice_of(at, (size_t)((newline != NULL ? newline : stop) - at));
        at = newline != NULL ? newline + 1 : stop;
        well = take_line(replay, line, &count);
    }
    if (!well) {
        char why[sizeof replay->why];
        memcpy(why, replay->why, sizeof why);
        if (count_batch(replay, &count)) { /* what came before is kept */
            memcpy(replay->why, why, sizeof why);
        }
        return false;
    }
    if (!count_batch(replay, &count)) {
        return false;
    }
    replay->filled = (size_t)(stop - at);
    memmove(replay->buffer, at, replay->filled);
    if (replay->filled > LINE_BYTES_MAX) {
        replay->line++;
        return refuse(replay, "the line is too long");
    }
    return true;
}

static bool run(struct replay *replay)
{
    for (;;) {
        ssize_t got =
            read(replay->fd, replay->buffer + replay->filled, READ_BYTES - replay->filled);
        if (got < 0) {
            (void)snprintf(replay->why, sizeof replay->why, "reading: %s", strerror(errno));
            return false;
        }
        replay->filled += (size_t)got;
        if (!count_lines(replay, got == 0)) {
            return false;
        }
        if (got == 0) {
            return true;
        }
    }
}

static void say_result(const struct replay *replay, int64_t begin_ms)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double wall = (double)(clock_mono_ms() - begin_ms) / 1000;
    printf("%llu heartbeats counted, %llu refused; %.2f s, %.2f s of CPU: %.0f heartbeats a CPU "
           "second; %ld MiB at most\n",
           (unsigned long long)replay->result.counted, (unsigned long long)replay->result.refused,
           wall, cpu, cpu > 0 ? (double)replay->result.counted / cpu : 0.0, usage.ru_maxrss / 1024);
}

static void complain(const char *why)
{
    fprintf(stderr, "novabeat replay: %s\n", why);
}

/* The trace in replay->fd into the folder. */
static bool replay_file(struct replay *replay, const struct settings *settings)
{
    int64_t begin_ms = clock_mono_ms();
    struct store_options options = settings_store_options(settings);
    if (offline_open(&options, settings->records_interval_ms, &replay->offline, replay->why,
                     sizeof replay->why) != ERR_NONE) {
        complain(replay->why);
        return false;
    }
    replay->buffer = memory_alloc(READ_BYTES);
    replay->last_ms = offline_last_ms(replay->offline);
    replay->newest_ms = clock_wall_us() / 1000 + FUTURE_MS_MAX;
    bool well = run(replay);
    if (!well) {
        complain(replay->why);
    }
    if (offline_close(replay->offline, replay->why, sizeof replay->why) != ERR_NONE) {
        complain(replay->why);
        well = false;
    }
    say_result(replay, begin_ms);
    if (replay->result.refused > 0) {
        complain("what hit a bound (sessions-max, viewers-max) is missing in the figures");
    }
    free(replay->buffer);
    return well && replay->result.refused == 0;
}

int command_replay(const struct settings *settings, int argc, char **argv)
{
    if (argc != 1) {
        complain("give one FILE.ndjson (or - for standard input)");
        return EXIT_USAGE;
    }
    memory_init();
    struct replay *replay = memory_zalloc(sizeof *replay);
    replay->fd = strcmp(argv[0], "-") == 0 ? STDIN_FILENO : open(argv[0], O_RDONLY | O_CLOEXEC);
    bool well = false;
    if (replay->fd < 0) {
        fprintf(stderr, "novabeat replay: %s: %s\n", argv[0], strerror(errno));
    } else {
        well = replay_file(replay, settings);
        close(replay->fd);
    }
    free(replay);
    return well ? EXIT_WELL : EXIT_FAILED;
}
