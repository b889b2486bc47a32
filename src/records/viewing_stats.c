/* viewing_stats.c -- sums over viewings, kept so that no viewing has to be kept.
 *
 * A curve (how many at each moment) is an array of differences: a viewing adds one where it begins
 * and takes one away after its end; the running sum is the number. */
#include "records/viewing_stats.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

#define MINUTE_MS INT64_C(60000)

const int64_t viewing_stats_bins[VIEWING_STATS_BINS] = {
    0,
    1 * MINUTE_MS,
    5 * MINUTE_MS,
    10 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    45 * MINUTE_MS,
    60 * MINUTE_MS,
    90 * MINUTE_MS,
    120 * MINUTE_MS,
    180 * MINUTE_MS,
    240 * MINUTE_MS,
};

/* A growing array; its bytes may pass what 32 bits count. */
struct numbers {
    int64_t *at;
    size_t count, max;
};

static void numbers_add(struct numbers *numbers, int64_t number)
{
    if (numbers->count == numbers->max) {
        numbers->max = numbers->max == 0 ? 1024 : numbers->max * 2;
        numbers->at = memory_resize(numbers->at, numbers->max * sizeof *numbers->at);
    }
    numbers->at[numbers->count++] = number;
}

/* Rounded down, also below zero. */
static int64_t floor_divide(int64_t number, int64_t by)
{
    return number / by - (number % by < 0);
}

/* The end of a viewing as somebody watching sees it. */
static int64_t seen_end_ms(const struct records_member *member, uint32_t i, int64_t now_ms)
{
    int64_t end_ms = member->viewings[i].end_ms;
    bool latest = i + 1 == member->viewings_count;
    return latest && member->expiry_ms >= now_ms && end_ms < now_ms ? now_ms : end_ms;
}

/* ---- statistics ---- */

struct viewing_stats_builder {
    int64_t start_ms, now_ms; /* start_ms 0: known at the end only */
    struct numbers totals;    /* of each viewer */
    uint64_t viewings;
    int64_t total_ms;
    /* Differences of the curve; one more than minutes. */
    int64_t curve[VIEWING_STATS_MINUTES_MAX + 1];
    uint32_t minutes; /* the curve's length so far */
    /* While the start is not known: per viewing start and seen end; the first of a viewer's has its
     * start marked by a negative sign (minus one, because of 0). */
    struct numbers waiting;
    int64_t first_ms;
};

struct viewing_stats_builder *viewing_stats_new(int64_t start_ms, int64_t now_ms)
{
    struct viewing_stats_builder *builder = memory_zalloc(sizeof *builder);
    builder->start_ms = start_ms;
    builder->now_ms = now_ms;
    builder->first_ms = INT64_MAX;
    return builder;
}

/* Counts the minutes of one viewing that the viewer's earlier ones have not counted; `counted` is
 * the newest of those. */
static void add_minutes(struct viewing_stats_builder *builder, int64_t begin_ms, int64_t end_ms,
                        int64_t *counted)
{
    int64_t first = floor_divide(begin_ms - builder->start_ms, MINUTE_MS);
    int64_t last = floor_divide(end_ms - builder->start_ms, MINUTE_MS);
    first = first <= *counted ? *counted + 1 : first;
    last = last >= VIEWING_STATS_MINUTES_MAX ? VIEWING_STATS_MINUTES_MAX - 1 : last;
    if (first > last) {
        return;
    }
    builder->curve[first]++;
    builder->curve[last + 1]--;
    *counted = last;
    builder->minutes = last >= builder->minutes ? (uint32_t)last + 1 : builder->minutes;
}

void viewing_stats_add(struct viewing_stats_builder *builder, const struct records_member *member)
{
    ASSERT(member->viewings_count > 0);
    int64_t total_ms = 0, counted = -1;
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        const struct records_viewing_span *span = &member->viewings[i];
        const int64_t end_ms = seen_end_ms(member, i, builder->now_ms);
        ASSERT(span->start_ms >= 0 && span->start_ms <= span->end_ms);
        total_ms += span->end_ms - span->start_ms;
        if (builder->start_ms != 0) {
            add_minutes(builder, span->start_ms, end_ms, &counted);
            continue;
        }
        numbers_add(&builder->waiting, i == 0 ? -1 - span->start_ms : span->start_ms);
        numbers_add(&builder->waiting, end_ms);
        builder->first_ms = span->start_ms < builder->first_ms ? span->start_ms : builder->first_ms;
    }
    numbers_add(&builder->totals, total_ms);
    builder->viewings += member->viewings_count;
    builder->total_ms += total_ms;
}

/* Now that the first viewing's start is known. */
static void add_waiting(struct viewing_stats_builder *builder)
{
    int64_t counted = -1;
    builder->start_ms = builder->first_ms;
    for (size_t i = 0; i < builder->waiting.count; i += 2) {
        int64_t begin_ms = builder->waiting.at[i];
        if (begin_ms < 0) {
            begin_ms = -1 - begin_ms;
            counted = -1;
        }
        add_minutes(builder, begin_ms, builder->waiting.at[i + 1], &counted);
    }
}

static int compare_numbers(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Type 7 of sorted numbers: at (count - 1) * tenths / 10. */
static int64_t percentile(const struct numbers *sorted, uint64_t tenths)
{
    const uint64_t rank = (sorted->count - 1) * tenths;
    const int64_t low = sorted->at[rank / 10], rest = (int64_t)(rank % 10);
    const int64_t step = rest == 0 ? 0 : sorted->at[rank / 10 + 1] - low;
    return low + step / 10 * rest + (step % 10 * rest + 5) / 10;
}

static void sum_up(struct viewing_stats_builder *builder, struct viewing_stats *stats)
{
    struct numbers *totals = &builder->totals;
    qsort(totals->at, totals->count, sizeof *totals->at, compare_numbers);
    stats->average_ms = (builder->total_ms + (int64_t)totals->count / 2) / (int64_t)totals->count;
    stats->median_ms = percentile(totals, 5);
    stats->p90_ms = percentile(totals, 9);
    size_t bin = 0;
    for (size_t i = 0; i < totals->count; i++) {
        while (bin + 1 < VIEWING_STATS_BINS && totals->at[i] >= viewing_stats_bins[bin + 1]) {
            bin++;
        }
        stats->histogram[bin]++;
    }
}

void viewing_stats_finish(struct viewing_stats_builder *builder, struct viewing_stats *stats)
{
    if (builder->start_ms == 0 && builder->totals.count > 0) {
        add_waiting(builder);
    }
    *stats = (struct viewing_stats){
        .viewers = builder->totals.count,
        .viewings = builder->viewings,
        .total_ms = builder->total_ms,
        .start_ms = builder->start_ms,
        .retention = memory_alloc((builder->minutes + 1u) * sizeof *stats->retention),
        .retention_count = builder->minutes,
    };
    if (builder->totals.count > 0) {
        sum_up(builder, stats);
    }
    int64_t watching = 0;
    for (uint32_t i = 0; i < builder->minutes; i++) {
        watching += builder->curve[i];
        stats->retention[i] = (uint64_t)watching;
    }
    viewing_stats_free(builder);
}

void viewing_stats_free(struct viewing_stats_builder *builder)
{
    if (builder != NULL) {
        free(builder->totals.at);
        free(builder->waiting.at);
        free(builder);
    }
}

void viewing_stats_fini(struct viewing_stats *stats)
{
    free(stats->retention);
    *stats = (struct viewing_stats){0};
}

/* ---- concurrent ---- */

struct concurrent {
    int64_t from_ms, step_ms, now_ms;
    uint32_t count;    /* of points */
    bool summed;       /* differences have become numbers */
    uint64_t points[]; /* one more than count */
};

struct concurrent *concurrent_new(int64_t from_ms, int64_t to_ms, int64_t step_ms, int64_t now_ms)
{
    ASSERT(step_ms > 0);
    const int64_t last_ms = to_ms < now_ms ? to_ms : now_ms;
    const int64_t count = last_ms < from_ms ? 0 : (last_ms - from_ms) / step_ms + 1;
    ASSERT(count <= CONCURRENT_POINTS_MAX);
    struct concurrent *concurrent =
        memory_zalloc(sizeof *concurrent + ((size_t)count + 1) * sizeof concurrent->points[0]);
    concurrent->from_ms = from_ms;
    concurrent->step_ms = step_ms;
    concurrent->now_ms = now_ms;
    concurrent->count = (uint32_t)count;
    return concurrent;
}

void concurrent_add(struct concurrent *concurrent, const struct records_member *member)
{
    ASSERT(!concurrent->summed);
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        const int64_t end_ms = seen_end_ms(member, i, concurrent->now_ms);
        /* The first point at or after the start; the last one at or before the end. */
        int64_t first = floor_divide(member->viewings[i].start_ms - concurrent->from_ms - 1,
                                     concurrent->step_ms) +
                        1;
        int64_t last = floor_divide(end_ms - concurrent->from_ms, concurrent->step_ms);
        first = first < 0 ? 0 : first;
        last = last >= concurrent->count ? (int64_t)concurrent->count - 1 : last;
        if (first <= last) {
            concurrent->points[first]++;
            concurrent->points[last + 1]--; /* modulo 2^64, as the sum is */
        }
    }
}

const uint64_t *concurrent_counts(struct concurrent *concurrent, uint32_t *count)
{
    for (uint32_t i = 1; i < concurrent->count && !concurrent->summed; i++) {
        concurrent->points[i] += concurrent->points[i - 1];
    }
    concurrent->summed = true;
    *count = concurrent->count;
    return concurrent->points;
}

void concurrent_free(struct concurrent *concurrent)
{
    free(concurrent);
}
