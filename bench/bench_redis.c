/* bench_redis.c -- memory per viewer and cost per heartbeat of the scripts in one Redis.
 *
 *     bench_redis [viewers]        100000
 *
 * One event, viewers named by UUIDs, 40 countries, 8 sets of groups; the time is Redis's own.  A
 * redis-server is started for it (and stopped); one plain client, one connection (a UNIX socket),
 * 256 calls in flight.  Memory is used_memory; CPU is that of Redis (INFO cpu) and of this client.
 */
#include "base/memory.h"
#include "model/model_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define UUID_BYTES 36
#define IN_FLIGHT  256
#define ROUNDS     5
#define FRAME_MS   300000

static uint64_t random_state = 42;
static struct redis_server server;
static uint64_t frames_refused;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double redis_cpu(void)
{
    return redis_info(&server, "used_cpu_user") + redis_info(&server, "used_cpu_sys");
}

static char *make_ids(uint32_t viewers)
{
    static const char digits[] = "0123456789abcdef";
    char *ids = memory_alloc((size_t)viewers * UUID_BYTES);
    for (size_t i = 0; i < (size_t)viewers * UUID_BYTES; i++) {
        size_t at = i % UUID_BYTES;
        bool hyphen = at == 8 || at == 13 || at == 18 || at == 23;
        ids[i] = hyphen ? '-' : digits[next_random() % 16];
    }
    return ids;
}

static void append(enum redis_script script, const struct redis_audience *audience,
                   struct slice viewer, int64_t frame_ms)
{
    static const char *const labels[8] = {"",           "\nguests",      "\nstaff",
                                          "\npress",    "\nguests\nvip", "\nspeakers",
                                          "\npartners", "\nstaff\nvip"};
    char keys[REDIS_KEYS][REDIS_KEY_BYTES_MAX], count[8], frame[24], label[32];
    /* The same for each heartbeat of a viewer. */
    unsigned kind = (unsigned char)viewer.ptr[0] * 31u + (unsigned char)viewer.ptr[1];
    struct slice args[4] = {viewer, SLICE_EMPTY};
    size_t args_count = 1;
    if (script == REDIS_SCRIPT_HEARTBEAT) {
        int len = snprintf(frame, sizeof frame, "%lld", (long long)frame_ms);
        args[2] = slice_of(frame, (size_t)len);
        len = snprintf(label, sizeof label, "%c%c%s", 'A' + (int)(kind % 5),
                       'A' + (int)(kind / 5 % 8), labels[kind / 40 % 8]);
        args[3] = slice_of(label, (size_t)len);
        args_count = 4;
    }
    struct slice parts[REDIS_ARGV_MAX];
    const char *argv[REDIS_ARGV_MAX];
    size_t lens[REDIS_ARGV_MAX];
    size_t argc =
        redis_call_make(&server, script, audience, frame_ms, args, args_count, keys, count, parts);
    for (size_t i = 0; i < argc; i++) {
        argv[i] = parts[i].len == 0 ? "" : parts[i].ptr;
        lens[i] = parts[i].len;
    }
    if (redisAppendCommandArgv(server.link, (int)argc, argv, lens) != REDIS_OK) {
        abort();
    }
}

static void collect(int64_t *frame_ms)
{
    void *got;
    if (redisGetReply(server.link, &got) != REDIS_OK) {
        abort();
    }
    redisReply *reply = got;
    if (reply->type == REDIS_REPLY_ARRAY) { /* five minutes are over: the next ones are right */
        *frame_ms = reply->element[1]->integer;
        frames_refused++;
    } else if (reply->type != REDIS_REPLY_INTEGER) {
        printf("redis: %s\n", reply->str);
        abort();
    }
    freeReplyObject(reply);
}

/* One call per viewer and audience, in another order each time. */
static void beat_all(enum redis_script script, const char *ids, uint32_t viewers,
                     const struct redis_audience *audiences, size_t audiences_count,
                     int64_t *frame_ms)
{
    uint64_t step = (next_random() % viewers) | 1, at = next_random() % viewers, in_flight = 0;
    while (viewers % 3 == 0 && step % 3 == 0) { /* coprime for the numbers that are asked for */
        step += 2;
    }
    step = step % 5 == 0 ? step + 2 : step;
    for (uint32_t i = 0; i < viewers; i++, at = (at + step) % viewers) {
        for (size_t a = 0; a < audiences_count; a++, in_flight++) {
            if (in_flight >= IN_FLIGHT) {
                collect(frame_ms);
                in_flight--;
            }
            append(script, &audiences[a], slice_of(ids + at * UUID_BYTES, UUID_BYTES), *frame_ms);
        }
    }
    for (; in_flight > 0; in_flight--) {
        collect(frame_ms);
    }
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void measure(const char *what, enum redis_script script, const char *ids, uint32_t viewers,
                    const struct redis_audience *audiences, size_t audiences_count,
                    int64_t *frame_ms)
{
    double wall[ROUNDS], redis[ROUNDS], client[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        double cpu = redis_cpu(), own = seconds(CLOCK_PROCESS_CPUTIME_ID);
        double start = seconds(CLOCK_MONOTONIC);
        beat_all(script, ids, viewers, audiences, audiences_count, frame_ms);
        wall[i] = seconds(CLOCK_MONOTONIC) - start;
        client[i] = seconds(CLOCK_PROCESS_CPUTIME_ID) - own;
        redis[i] = redis_cpu() - cpu;
    }
    qsort(wall, ROUNDS, sizeof *wall, by_value);
    qsort(redis, ROUNDS, sizeof *redis, by_value);
    qsort(client, ROUNDS, sizeof *client, by_value);
    printf("%s: %.0f heartbeats/s, CPU in Redis %.1f us, client %.1f us\n", what,
           viewers / wall[ROUNDS / 2], redis[ROUNDS / 2] * 1e6 / viewers,
           client[ROUNDS / 2] * 1e6 / viewers);
}

static void memory_of(const struct redis_audience *audience, uint32_t viewers, int64_t frame_ms)
{
    for (enum redis_key key = 0; key < REDIS_KEYS; key++) {
        redisReply *reply =
            redis_command(&server, "MEMORY USAGE %s SAMPLES 0", redis_key(audience, key, frame_ms));
        if (reply->type == REDIS_REPLY_INTEGER) {
            printf("    %-50s %8.1f bytes a viewer\n", redis_key(audience, key, frame_ms),
                   (double)reply->integer / viewers);
        }
        freeReplyObject(reply);
    }
}

/* One page of sweep.lua after the other, 1,000 rows each, told with swept.lua. */
static void measure_sweep(const struct redis_audience *audience, uint32_t viewers)
{
    char from[2][24] = {"", ""}, none[] = "";
    double cpu = redis_cpu(), start = seconds(CLOCK_MONOTONIC), longest = 0;
    unsigned pages = 0;
    for (bool more = true; more; pages++) {
        struct slice args[] = {SLICE_LIT("bench"), SLICE_LIT("1000"), slice_str(from[0]),
                               slice_str(from[1]), SLICE_LIT("1000")};
        double asked = seconds(CLOCK_MONOTONIC);
        redisReply *page = redis_call(&server, REDIS_SCRIPT_SWEEP, audience, 0, args, 5);
        double took = seconds(CLOCK_MONOTONIC) - asked;
        longest = took > longest ? took : longest;
        more = page->element[1]->integer == 1;
        (void)snprintf(from[0], sizeof from[0], "%lld", page->element[2]->integer);
        (void)snprintf(from[1], sizeof from[1], "%lld", page->element[3]->integer);
        freeReplyObject(page);
        args[0] = slice_str(from[0]);
        args[1] = slice_str(from[1]);
        args[2] = slice_str(none);
        freeReplyObject(redis_call(&server, REDIS_SCRIPT_SWEPT, audience, 0, args, 3));
    }
    printf(
        "sweep of all: %u pages, CPU in Redis %.2f us a row; mean page %.2f ms, longest %.2f ms\n",
        pages, (redis_cpu() - cpu) * 1e6 / viewers,
        (seconds(CLOCK_MONOTONIC) - start) * 1e3 / pages, longest * 1e3);
}

/* All leases end at once, as if all pages had been cut off a while ago; 1,000 a call. */
static void measure_live(const struct redis_audience *audience, uint32_t viewers)
{
    char now[24];
    (void)snprintf(now, sizeof now, "%lld", ((long long)time(NULL) + 70) * 1000);
    struct slice args[] = {SLICE_LIT("1000"), slice_str(now)};
    double cpu = redis_cpu(), start = seconds(CLOCK_MONOTONIC), longest = 0;
    unsigned calls = 0;
    for (bool more = true; more; calls++) {
        double asked = seconds(CLOCK_MONOTONIC);
        redisReply *reply = redis_call(&server, REDIS_SCRIPT_LIVE, audience, 0, args, 2);
        double took = seconds(CLOCK_MONOTONIC) - asked;
        longest = took > longest ? took : longest;
        more = reply->elements == 1;
        freeReplyObject(reply);
    }
    printf("live counts, all leases over: %u calls, CPU in Redis %.2f us a lease; mean %.2f ms, "
           "longest %.2f ms\n",
           calls, (redis_cpu() - cpu) * 1e6 / viewers,
           (seconds(CLOCK_MONOTONIC) - start) * 1e3 / calls, longest * 1e3);
    cpu = redis_cpu();
    for (int i = 0; i < 1000; i++) {
        freeReplyObject(redis_call(&server, REDIS_SCRIPT_LIVE, audience, 0, args, 2));
    }
    printf("live counts when nothing ended: CPU in Redis %.0f us\n", (redis_cpu() - cpu) * 1e3);
}

int main(int argc, char **argv)
{
    uint32_t viewers = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    if (viewers == 0 || !redis_server_start(&server)) {
        fprintf(stderr, "bench_redis: needs redis-server, and viewers\n");
        return 1;
    }
    struct redis_script_settings settings = {.alive_ms = 65000,
                                             .hidden_ms = 125000,
                                             .leaving_ms = 35000,
                                             .gap_ms = 150000,
                                             .frame_ms = FRAME_MS,
                                             .keep_ms = 604800000,
                                             .viewers_max = 10000000,
                                             .backlog_max = 1000000};
    redis_server_load(&server, &settings);
    char *ids = make_ids(viewers);
    struct redis_audience both[2] = {
        {SLICE_LIT("event-2021"), SLICE_EMPTY, 0, 1},
        {SLICE_LIT("event-2021"), SLICE_LIT("keynote"), 0, 1},
    };
    int64_t frame_ms = (int64_t)time(NULL) * 1000 / FRAME_MS * FRAME_MS;

    redis_open_new(&server, &both[0]);
    redis_open_new(&server, &both[1]);
    double before = redis_info(&server, "used_memory");
    beat_all(REDIS_SCRIPT_HEARTBEAT, ids, viewers, both, 1, &frame_ms);
    double of_event = redis_info(&server, "used_memory");
    printf("%u viewers of the event: %.1f bytes a viewer\n", viewers,
           (of_event - before) / viewers);
    memory_of(&both[0], viewers, frame_ms);
    measure("known viewers, the event", REDIS_SCRIPT_HEARTBEAT, ids, viewers, both, 1, &frame_ms);
    printf("after that: %.1f bytes a viewer\n",
           (redis_info(&server, "used_memory") - before) / viewers);
    double again = redis_info(&server, "used_memory");
    beat_all(REDIS_SCRIPT_HEARTBEAT, ids, viewers, &both[1], 1, &frame_ms);
    printf("one session more: %.1f bytes a viewer\n",
           (redis_info(&server, "used_memory") - again) / viewers);
    measure("known viewers, the event and a session", REDIS_SCRIPT_HEARTBEAT, ids, viewers, both, 2,
            &frame_ms);
    measure("leaves, the event", REDIS_SCRIPT_LEAVE, ids, viewers, both, 1, &frame_ms);
    beat_all(REDIS_SCRIPT_HEARTBEAT, ids, viewers, both, 1, &frame_ms);
    measure_sweep(&both[0], viewers);
    measure_live(&both[0], viewers);
    printf("refused for their frame: %llu\n", (unsigned long long)frames_refused);
    free(ids);
    redis_server_stop(&server);
    return 0;
}
