/* viewing_stats.h -- what a session's viewings say: time per viewer, percentiles, histogram,
 * retention curve, and how many were watching at past moments.
 *
 * Pure: fed with members (records_members_each) in any order, then read.  Exact: no sampling.
 * Watching at T: a viewing with start <= T <= end; of a viewer who is alive at now_ms (expiry_ms >=
 * now_ms) the latest viewing reaches to now_ms.  Times of viewings are never stretched: the total
 * is the sum of end - start.
 * Percentiles: of the total per viewer, linear between the closest ranks (Hyndman and Fan's type 7;
 * PostgreSQL's percentile_cont), rounded to the nearest ms.
 * Retention curve: minute m is [start + m min, start + (m + 1) min); it counts each viewer with a
 * viewing that overlaps it once.  It ends with the last minute that anybody watched, or with
 * VIEWING_STATS_MINUTES_MAX; what was before its start is left out of the curve only.
 * Memory: 8 bytes per viewer and 8 per minute or point; with start_ms = 0 also 16 per viewing,
 * because the first one may come last.  Threads: one. */
#ifndef NOVABEAT_RECORDS_VIEWING_STATS_H
#define NOVABEAT_RECORDS_VIEWING_STATS_H

#include "records/records.h"

#define VIEWING_STATS_BINS        12    /* 0, 1, 5, 10, 15, 30, 45, 60, 90, 120, 180, 240 min … */
#define VIEWING_STATS_MINUTES_MAX 10080 /* of the retention curve: a week */
#define CONCURRENT_POINTS_MAX     10000

/* Lower bounds of the histogram's bins in ms; the last one is open above. */
extern const int64_t viewing_stats_bins[VIEWING_STATS_BINS];

struct viewing_stats {
    uint64_t viewers, viewings;
    int64_t total_ms, average_ms, median_ms, p90_ms; /* average per viewer, rounded; 0: nobody */
    int64_t start_ms;                                /* of the curve */
    uint64_t histogram[VIEWING_STATS_BINS];
    uint64_t *retention; /* viewers watching in minute i; retention_count of them */
    uint32_t retention_count;
};

struct viewing_stats_builder;
/* start_ms 0: the first viewing's. */
struct viewing_stats_builder *viewing_stats_new(int64_t start_ms, int64_t now_ms);
void viewing_stats_add(struct viewing_stats_builder *builder, const struct records_member *member);
/* Takes the builder; viewing_stats_fini frees what the result holds. */
void viewing_stats_finish(struct viewing_stats_builder *builder, struct viewing_stats *stats);
void viewing_stats_free(struct viewing_stats_builder *builder); /* without finishing */
void viewing_stats_fini(struct viewing_stats *stats);

/* The number watching at from_ms, from_ms + step_ms, … up to to_ms (and up to now_ms). */
struct concurrent;
struct concurrent *concurrent_new(int64_t from_ms, int64_t to_ms, int64_t step_ms, int64_t now_ms);
void concurrent_add(struct concurrent *concurrent, const struct records_member *member);
/* Sums up; counts[i] is the number at from_ms + i * step_ms; good until concurrent_free. */
const uint64_t *concurrent_counts(struct concurrent *concurrent, uint32_t *count);
void concurrent_free(struct concurrent *concurrent);

#endif
