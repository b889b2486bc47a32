/* bench_journal.c -- what a heartbeat costs in the journal: encoded and appended, in batches.
 *
 *     bench_journal [FOLDER]      (default: a new folder under /tmp, removed afterwards)
 *
 * One line per size of batch: median over the rounds of CPU and wall nanoseconds per heartbeat.
 * Then the scan: what recovery pays to read them back. */
#define _GNU_SOURCE
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "core/country.h"
#include "journal/entry.h"
#include "journal/journal.h"

#define ROUNDS     7
#define HEARTBEATS (1 << 18) /* per round */
#define VIEWERS    4096
#define BATCH_MAX  1024

static struct heartbeat heartbeats[VIEWERS];
static char viewer_ids[VIEWERS][24];

static double clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof values[0], by_value);
    return values[count / 2];
}

static void heartbeats_make(void)
{
    country_t country;
    ASSERT(country_pack(SLICE_LIT("HK"), &country));
    for (int i = 0; i < VIEWERS; i++) {
        int len = snprintf(viewer_ids[i], sizeof viewer_ids[i], "viewer-%08d", i * 7919);
        heartbeats[i] = (struct heartbeat){.event = SLICE_LIT("launch-2026"),
                                           .session = SLICE_LIT("keynote"),
                                           .viewer = slice_of(viewer_ids[i], (size_t)len),
                                           .country = country};
    }
}

static void append_batches(struct journal *journal, int batch, int *next)
{
    static char payload[BATCH_MAX * 256];
    for (int done = 0; done < HEARTBEATS; done += batch) {
        size_t len = 0;
        for (int i = 0; i < batch; i++) {
            const struct heartbeat *heartbeat = &heartbeats[(*next)++ % VIEWERS];
            len += entry_heartbeat_encode(heartbeat, payload + len);
        }
        uint64_t seq;
        enum err err = journal_append(journal, 1637661623070, slice_of(payload, len), &seq);
        ASSERT(err == ERR_NONE);
    }
}

static enum err count_entries(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    (void)seq, (void)time_ms;
    struct entry entry;
    enum err err;
    while ((err = entry_next(&payload, &entry)) == ERR_NONE) {
        ++*(uint64_t *)ctx;
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static void measure(const char *folder, int batch)
{
    double cpu[ROUNDS], wall[ROUNDS];
    struct journal_options options = {.folder = folder, .segment_bytes = UINT64_C(64) << 20};
    struct journal_report report;
    struct journal *journal;
    uint64_t durable_seq;
    int next = 0;
    enum err err = journal_open(&options, 0, &report, &journal);
    ASSERT(err == ERR_NONE);
    for (int round = 0; round < ROUNDS; round++) {
        double cpu_from = clock_ns(CLOCK_PROCESS_CPUTIME_ID), from = clock_ns(CLOCK_MONOTONIC);
        append_batches(journal, batch, &next);
        cpu[round] = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_from) / HEARTBEATS;
        wall[round] = (clock_ns(CLOCK_MONOTONIC) - from) / HEARTBEATS;
        err = journal_sync(journal, &durable_seq); /* not timed: it is another thread's */
        ASSERT(err == ERR_NONE);
    }
    uint64_t bytes = journal_bytes(journal), entries = 0;
    journal_close(journal);
    double from = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    err = journal_scan(folder, 1, count_entries, &entries, &report);
    ASSERT(err == ERR_NONE && entries == (uint64_t)ROUNDS * HEARTBEATS);
    double scan = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - from) / (double)entries;
    double cpu_median = median(cpu, ROUNDS);
    printf("batch %5d: %7.1f ns CPU, %7.1f ns wall per heartbeat (%.2f million/s); %.1f bytes; "
           "scan and decode %.1f ns\n",
           batch, cpu_median, median(wall, ROUNDS), 1e3 / cpu_median,
           (double)bytes / (double)entries, scan);
}

static void folder_remove(const char *folder)
{
    DIR *stream = opendir(folder);
    for (struct dirent *found; stream != NULL && (found = readdir(stream)) != NULL;) {
        if (strstr(found->d_name, ".journal") != NULL) {
            unlinkat(dirfd(stream), found->d_name, 0);
        }
    }
    if (stream != NULL) {
        closedir(stream);
    }
    rmdir(folder);
}

int main(int argc, char **argv)
{
    char top[] = "/tmp/novabeat-bench-XXXXXX";
    if (argc < 2 && mkdtemp(top) == NULL) {
        perror("mkdtemp");
        return 1;
    }
    heartbeats_make();
    static const int batches[] = {1, 64, BATCH_MAX};
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/batch-%d", argc < 2 ? top : argv[1], batches[i]);
        measure(folder, batches[i]);
        folder_remove(folder);
    }
    if (argc < 2) {
        rmdir(top);
    }
    return 0;
}
