/* bench_engine.c -- memory per viewer and time per heartbeat of the engine alone.
 *
 *     bench_engine [viewers]        1000000
 *
 * One event, viewers named by UUIDs, each beating every 30 s in random order.  The ids lie in the
 * order in which they come, as in read buffers, so the misses of the caches are the engine's own.
 * Time is CPU time of the process, the median of three; memory is resident memory. */
#include "base/memory.h"
#include "core/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define UUID_BYTES    36
#define BATCH_MAX     64
#define HEARTBEATS    2000000u
#define MEDIAN_OF     3
#define START_MS      1637661600000
#define EVERY_MS      30000
#define VIEWERS_SMALL 4000u

static uint64_t random_state = 42;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu %lu", &size, &resident) != 2) {
        perror("/proc/self/statm");
        exit(1);
    }
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The same ids for every run, in another order each time. */
static char *make_ids(uint32_t viewers)
{
    static const char digits[] = "0123456789abcdef";
    char *ids = memory_alloc((size_t)viewers * UUID_BYTES);
    for (uint32_t i = 0; i < viewers; i++) {
        uint64_t bits = 0;
        for (int at = 0; at < UUID_BYTES; at++) {
            bits = at % 16 == 0 ? next_random() : bits >> 4;
            bool hyphen = at == 8 || at == 13 || at == 18 || at == 23;
            ids[(size_t)i * UUID_BYTES + (size_t)at] = hyphen ? '-' : digits[bits & 15];
        }
    }
    return ids;
}

static void shuffle(char *ids, uint32_t viewers)
{
    for (uint32_t i = viewers - 1; i > 0; i--) {
        char swapped[UUID_BYTES];
        char *a = ids + (size_t)i * UUID_BYTES;
        char *b = ids + (size_t)(next_random() % (i + 1)) * UUID_BYTES;
        memcpy(swapped, a, UUID_BYTES);
        memmove(a, b, UUID_BYTES);
        memcpy(b, swapped, UUID_BYTES);
    }
}

struct bench {
    struct engine *engine;
    char *ids;
    uint32_t viewers;
    struct slice session;
    uint64_t seq, sent;
};

/* `count` heartbeats in batches; the time moves so that each viewer beats every 30 s. */
static void send(struct bench *bench, uint32_t count, uint32_t batch)
{
    struct heartbeat heartbeats[BATCH_MAX];
    const struct heartbeat *pointers[BATCH_MAX];
    struct place places[BATCH_MAX];
    for (uint32_t done = 0; done < count; done += batch) {
        int64_t now_ms = START_MS + (int64_t)(bench->sent * EVERY_MS / bench->viewers);
        engine_begin(bench->engine, ++bench->seq, now_ms);
        for (uint32_t i = 0; i < batch; i++) {
            uint64_t viewer = bench->sent++ % bench->viewers;
            heartbeats[i] =
                (struct heartbeat){.event = SLICE_LIT("launch-2026"),
                                   .session = bench->session,
                                   .viewer = slice_of(bench->ids + viewer * UUID_BYTES, UUID_BYTES),
                                   .flags = HEARTBEAT_GROUPS,
                                   .groups = SLICE_LIT("\5staff\3vip"),
                                   .country = (country_t)(viewer % 20)};
            pointers[i] = &heartbeats[i];
        }
        engine_place(bench->engine, pointers, places, batch);
        for (uint32_t i = 0; i < batch; i++) {
            engine_apply(bench->engine, &heartbeats[i], &places[i]);
        }
    }
}

static void bench_init(struct bench *bench, uint32_t viewers, struct slice session)
{
    struct engine_config cfg = {.windows = {65000, 125000, 35000, 150000, 300000},
                                .profile_ttl_ms = 600000,
                                .event_idle_ms = 600000,
                                .events_max = 10,
                                .sessions_max = 10,
                                .viewers_max = VIEWERS_PER_EVENT_MAX,
                                .backlog_max = UINT32_MAX,
                                .hash_key = {1, 2}};
    *bench = (struct bench){.viewers = viewers, .session = session, .ids = make_ids(viewers)};
    bench->engine = engine_new(&cfg);
    engine_begin(bench->engine, 0, START_MS);
    if (!engine_add_event(bench->engine, SLICE_LIT("launch-2026"))) {
        abort();
    }
}

static void bench_fini(struct bench *bench)
{
    engine_free(bench->engine);
    free(bench->ids);
}

/* Resident bytes a viewer once all have come. */
static double memory_of(uint32_t viewers, struct slice session)
{
    struct bench bench;
    bench_init(&bench, viewers, session);
    uint64_t before = resident_bytes();
    send(&bench, viewers / BATCH_MAX * BATCH_MAX, BATCH_MAX);
    double bytes = (double)(resident_bytes() - before) / viewers;
    bench_fini(&bench);
    return bytes;
}

static int order(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double ns_of(struct bench *bench, uint32_t batch)
{
    double ns[MEDIAN_OF];
    for (int i = 0; i < MEDIAN_OF; i++) {
        shuffle(bench->ids, bench->viewers);
        uint64_t from = cpu_ns();
        send(bench, HEARTBEATS / batch * batch, batch);
        ns[i] = (double)(cpu_ns() - from) / HEARTBEATS;
    }
    qsort(ns, MEDIAN_OF, sizeof *ns, order);
    return ns[MEDIAN_OF / 2];
}

static void time_of(uint32_t viewers, struct slice session, uint32_t batch, double *ns)
{
    struct bench bench;
    bench_init(&bench, viewers, session);
    send(&bench, viewers / BATCH_MAX * BATCH_MAX, BATCH_MAX);
    *ns = ns_of(&bench, batch);
    bench_fini(&bench);
}

int main(int argc, char **argv)
{
    memory_init();
    uint32_t viewers = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    const struct slice sessions[] = {SLICE_EMPTY, SLICE_LIT("keynote")};
    for (int s = 0; s < 2; s++) {
        printf("%s: %.1f bytes a viewer at %u\n", s == 0 ? "event alone" : "event and session",
               memory_of(viewers, sessions[s]), viewers);
        fflush(stdout);
        for (uint32_t batch = BATCH_MAX; batch > 0; batch = batch == 1 ? 0 : 1) {
            double few, many;
            time_of(VIEWERS_SMALL, sessions[s], batch, &few);
            time_of(viewers, sessions[s], batch, &many);
            printf("  batches of %2u: %4.0f ns a heartbeat at %u, %4.0f ns at %u: %.2fx\n", batch,
                   few, VIEWERS_SMALL, many, viewers, many / few);
            fflush(stdout);
        }
    }
    return 0;
}
