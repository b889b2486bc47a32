/* replay.c -- novabeat replay FILE: the engine over a sorted trace, offline and at full speed.
 *
 * One heartbeat a line, as NDJSON: {"ts":1637661623070,"event":"E","session":"S","viewer":"V",
 * "country":"HK","groups":["g1"]}; session, country, groups, hidden and leaving may be absent. "ts"
 * never decreases.  The first bad line ends the replay with its number; what came before is kept.
 * FILE may be "-": standard input. */
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

enum field { TS, EVENT, SESSION, VIEWER, COUNTRY, GROUPS, HIDDEN, LEAVING, FIELDS };

static const struct json_field fields[FIELDS] = {
    [TS] = JSON_FIELD("ts", JSON_IS_NUMBER, JSON_REQUIRED),
    [EVENT] = JSON_FIELD("event", JSON_IS_STRING, JSON_REQUIRED),
    [SESSION] = JSON_FIELD("session", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [VIEWER] = JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
    [COUNTRY] = JSON_FIELD("country", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [GROUPS] = JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    [HIDDEN] = JSON_FIELD("hidden", JSON_IS_BOOL, JSON_OPTIONAL),
    [LEAVING] = JSON_FIELD("leaving", JSON_IS_BOOL, JSON_OPTIONAL),
};

struct replay {
    struct offline *offline;
    int fd;
    char *buffer; /* READ_BYTES, then what text had to be unescaped into */
    size_t filled;
    uint64_t line, counted, refused;
    int64_t last_ms;
    struct offline_beat beats[OFFLINE_BATCH_MAX];
    /* Unescaped text and packed groups of the batch. */
    char scratch[OFFLINE_BATCH_MAX * (GROUPS_PACKED_BYTES_MAX + 512)];
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
    size_t room = sizeof replay->scratch - replay->scratch_used;
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
    if (values[COUNTRY].kind == JSON_IS_STRING &&
        !country_pack(values[COUNTRY].raw, &heartbeat->country)) {
        return refuse(replay, "\"country\" must be two letters");
    }
    heartbeat->flags = (uint8_t)((values[HIDDEN].truth ? HEARTBEAT_HIDDEN : 0) |
                                 (values[LEAVING].truth ? HEARTBEAT_LEAVING : 0));
    replay->last_ms = beat->time_ms;
    return values[GROUPS].kind != JSON_IS_ARRAY || groups_of(replay, &values[GROUPS], heartbeat);
}

static bool count_batch(struct replay *replay, size_t count)
{
    if (count == 0) {
        return true;
    }
    uint64_t refused = 0;
    enum err err = offline_count(replay->offline, replay->beats, count, &refused, replay->why,
                                 sizeof replay->why);
    replay->counted += count - refused;
    replay->refused += refused;
    replay->scratch_used = 0;
    return err == ERR_NONE;
}

/* Counts the whole lines in the buffer and moves the rest to its front. */
static bool count_lines(struct replay *replay, bool end)
{
    char *at = replay->buffer, *stop = replay->buffer + replay->filled;
    size_t count = 0;
    while (at < stop) {
        char *newline = memchr(at, '\n', (size_t)(stop - at));
        if (newline == NULL && !end) {
            break;
        }
        struct slice line = slice_of(at, (size_t)((newline != NULL ? newline : stop) - at));
        at = newline != NULL ? newline + 1 : stop;
        replay->line++;
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        if (line.len == 0) {
            continue;
        }
        if (!parse(replay, line, &replay->beats[count])) {
            char why[sizeof replay->why];
            memcpy(why, replay->why, sizeof why);
            bool counted = count_batch(replay, count); /* what came before is kept */
            if (counted) {
                memcpy(replay->why, why, sizeof why);
            }
            return false;
        }
        if (++count == OFFLINE_BATCH_MAX) {
            if (!count_batch(replay, count)) {
                return false;
            }
            count = 0;
        }
    }
    if (!count_batch(replay, count)) {
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
           (unsigned long long)replay->counted, (unsigned long long)replay->refused, wall, cpu,
           cpu > 0 ? (double)replay->counted / cpu : 0.0, usage.ru_maxrss / 1024);
}

int command_replay(const struct settings *settings, int argc, char **argv)
{
    if (argc != 1) {
        fprintf(stderr, "novabeat replay: give one FILE.ndjson (or - for standard input)\n");
        return EXIT_USAGE;
    }
    memory_init();
    struct replay *replay = memory_zalloc(sizeof *replay);
    int64_t begin_ms = clock_mono_ms();
    replay->fd = strcmp(argv[0], "-") == 0 ? STDIN_FILENO : open(argv[0], O_RDONLY | O_CLOEXEC);
    if (replay->fd < 0) {
        fprintf(stderr, "novabeat replay: %s: %s\n", argv[0], strerror(errno));
        free(replay);
        return EXIT_FAILED;
    }
    struct store_options options = settings_store_options(settings);
    bool well = offline_open(&options, settings->records_interval_ms, &replay->offline, replay->why,
                             sizeof replay->why) == ERR_NONE;
    if (well) {
        replay->buffer = memory_alloc(READ_BYTES);
        replay->last_ms = offline_last_ms(replay->offline);
        well = run(replay);
        char why[sizeof replay->why];
        if (offline_close(replay->offline, why, sizeof why) != ERR_NONE) {
            fprintf(stderr, "novabeat replay: %s\n", why);
            well = well && false;
        }
    }
    if (!well && replay->why[0] != '\0') {
        fprintf(stderr, "novabeat replay: %s\n", replay->why);
    }
    say_result(replay, begin_ms);
    free(replay->buffer);
    close(replay->fd);
    free(replay);
    return well ? EXIT_WELL : EXIT_FAILED;
}
