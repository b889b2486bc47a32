/* test_viewing_stats.c -- statistics of viewings against a naive reference: loops over every minute
 * and every moment, that anyone can check. */
#include "tap.h"

#include "records/viewing_stats.h"

#include <math.h>

#define MEMBERS_MAX  200
#define VIEWINGS_MAX 8
#define MINUTE_MS    60000

struct reference {
    struct records_member members[MEMBERS_MAX];
    struct records_viewing_span viewings[MEMBERS_MAX][VIEWINGS_MAX];
    uint32_t count;
    int64_t now_ms;
};

/* Members whose viewings touch the edges of minutes often, and who are alive sometimes. */
static void make(struct reference *reference, uint64_t *seed, int64_t base_ms)
{
    *reference = (struct reference){.count = (uint32_t)(tap_random(seed) % MEMBERS_MAX)};
    const int64_t unit_ms = tap_random(seed) % 2 ? 15000 : 7; /* many on an edge, or few */
    for (uint32_t i = 0; i < reference->count; i++) {
        struct records_member *member = &reference->members[i];
        int64_t at_ms = base_ms + (int64_t)(tap_random(seed) % 600) * unit_ms;
        member->viewings_count = 1 + (uint32_t)(tap_random(seed) % VIEWINGS_MAX);
        for (uint32_t j = 0; j < member->viewings_count; j++) {
            reference->viewings[i][j].start_ms = at_ms;
            at_ms += tap_random(seed) % 4 ? (int64_t)(tap_random(seed) % 80) * unit_ms : 0;
            reference->viewings[i][j].end_ms = at_ms;
            at_ms += unit_ms + (int64_t)(tap_random(seed) % 30) * unit_ms;
        }
        member->viewings = reference->viewings[i];
        member->expiry_ms = reference->viewings[i][member->viewings_count - 1].end_ms + 65000;
        reference->now_ms = at_ms > reference->now_ms ? at_ms : reference->now_ms;
    }
    reference->now_ms -= (int64_t)(tap_random(seed) % 40) * unit_ms;
    /* Nobody has been seen later than now. */
    for (uint32_t i = 0; i < reference->count; i++) {
        for (uint32_t j = 0; j < reference->members[i].viewings_count; j++) {
            struct records_viewing_span *span = &reference->viewings[i][j];
            reference->now_ms = span->end_ms > reference->now_ms ? span->end_ms : reference->now_ms;
        }
    }
}

/* Was the member watching at some moment of [from, to]? */
static bool watched(const struct reference *reference, uint32_t i, int64_t from_ms, int64_t to_ms)
{
    const struct records_member *member = &reference->members[i];
    for (uint32_t j = 0; j < member->viewings_count; j++) {
        int64_t end_ms = member->viewings[j].end_ms;
        if (j + 1 == member->viewings_count && member->expiry_ms >= reference->now_ms) {
            end_ms = reference->now_ms;
        }
        if (member->viewings[j].start_ms <= to_ms && end_ms >= from_ms) {
            return true;
        }
    }
    return false;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* numpy.percentile and percentile_cont: x[floor(h)] + (h - floor(h)) * (x[floor(h) + 1] - …). */
static int64_t percentile(double *sorted, size_t count, int hundredths)
{
    double h = (double)(count - 1) * hundredths / 100;
    size_t low = (size_t)h;
    double rest = h - (double)low, step = low + 1 < count ? sorted[low + 1] - sorted[low] : 0;
    return (int64_t)floor(sorted[low] + rest * step + 0.5 + 1e-6);
}

static void compare_stats(const struct reference *reference, const struct viewing_stats *stats,
                          int64_t start_ms)
{
    double totals[MEMBERS_MAX];
    uint64_t viewings = 0, bins[VIEWING_STATS_BINS] = {0};
    int64_t total_ms = 0, first_ms = INT64_MAX;
    for (uint32_t i = 0; i < reference->count; i++) {
        int64_t own_ms = 0;
        for (uint32_t j = 0; j < reference->members[i].viewings_count; j++) {
            const struct records_viewing_span *span = &reference->viewings[i][j];
            own_ms += span->end_ms - span->start_ms;
            viewings++;
            first_ms = span->start_ms < first_ms ? span->start_ms : first_ms;
        }
        totals[i] = (double)own_ms;
        total_ms += own_ms;
        int bin = 0;
        for (int j = 0; j < VIEWING_STATS_BINS; j++) {
            bin = own_ms >= viewing_stats_bins[j] ? j : bin;
        }
        bins[bin]++;
    }
    qsort(totals, reference->count, sizeof totals[0], compare_doubles);
    assert_int_equal(stats->viewers, reference->count);
    assert_int_equal(stats->viewings, viewings);
    assert_int_equal(stats->total_ms, total_ms);
    assert_memory_equal(stats->histogram, bins, sizeof bins);
    if (reference->count == 0) {
        assert_int_equal(stats->average_ms + stats->median_ms + stats->p90_ms, 0);
        assert_int_equal(stats->retention_count, 0);
        return;
    }
    assert_int_equal(stats->average_ms, (int64_t)floor((double)total_ms / reference->count + 0.5));
    assert_int_equal(stats->median_ms, percentile(totals, reference->count, 50));
    assert_int_equal(stats->p90_ms, percentile(totals, reference->count, 90));

    start_ms = start_ms == 0 ? first_ms : start_ms;
    assert_int_equal(stats->start_ms, start_ms);
    uint64_t last = 0;
    for (uint32_t minute = 0; minute < stats->retention_count + 100; minute++) {
        uint64_t want = 0;
        for (uint32_t i = 0; i < reference->count; i++) {
            want += watched(reference, i, start_ms + (int64_t)minute * MINUTE_MS,
                            start_ms + ((int64_t)minute + 1) * MINUTE_MS - 1);
        }
        if (minute < stats->retention_count) {
            assert_int_equal(stats->retention[minute], want);
            last = want;
        } else {
            assert_int_equal(want, 0);
        }
    }
    assert_true(stats->retention_count == 0 || last > 0);
}

static void test_stats(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct reference *reference = calloc(1, sizeof *reference);
    for (int round = 0; round < 300; round++) {
        make(reference, &seed, round % 2 ? 1700000000000 : 1700000012345);
        int64_t start_ms = 0;
        if (round % 3 != 0) { /* declared: before or after the first viewing */
            start_ms = 1700000000000 + ((int64_t)(tap_random(&seed) % 41) - 20) * 30000;
        }
        struct viewing_stats_builder *builder = viewing_stats_new(start_ms, reference->now_ms);
        /* In any order. */
        uint32_t turn = reference->count == 0 ? 0 : (uint32_t)tap_random(&seed) % reference->count;
        for (uint32_t i = 0; i < reference->count; i++) {
            viewing_stats_add(builder, &reference->members[(i + turn) % reference->count]);
        }
        struct viewing_stats stats;
        viewing_stats_finish(builder, &stats);
        compare_stats(reference, &stats, start_ms);
        viewing_stats_fini(&stats);
    }
    viewing_stats_free(viewing_stats_new(0, 1));
    viewing_stats_free(NULL);
    free(reference);
}

static void test_concurrent(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct reference *reference = calloc(1, sizeof *reference);
    static const int64_t steps[] = {1000, 60000, 7777, 15000, 300000};
    for (int round = 0; round < 200; round++) {
        make(reference, &seed, 1700000000000);
        int64_t step_ms = steps[tap_random(&seed) % 5];
        int64_t from_ms = 1700000000000 + ((int64_t)(tap_random(&seed) % 200) - 50) * 15000;
        int64_t to_ms = from_ms + (int64_t)(tap_random(&seed) % 1000) * step_ms -
                        (tap_random(&seed) % 2 ? 1 : 0);
        struct concurrent *concurrent = concurrent_new(from_ms, to_ms, step_ms, reference->now_ms);
        for (uint32_t i = 0; i < reference->count; i++) {
            concurrent_add(concurrent, &reference->members[i]);
        }
        uint32_t count, points = 0;
        const uint64_t *counts = concurrent_counts(concurrent, &count);
        for (int64_t at_ms = from_ms; at_ms <= to_ms && at_ms <= reference->now_ms;
             at_ms += step_ms, points++) {
            uint64_t want = 0;
            for (uint32_t i = 0; i < reference->count; i++) {
                want += watched(reference, i, at_ms, at_ms);
            }
            assert_true(points < count);
            assert_int_equal(counts[points], want);
        }
        assert_int_equal(points, count);
        assert_ptr_equal(concurrent_counts(concurrent, &count), counts); /* and once more */
        assert_int_equal(points, count);
        concurrent_free(concurrent);
    }
    free(reference);
}

static struct records_member one(const struct records_viewing_span *span, int64_t expiry_ms)
{
    return (struct records_member){.viewings = span, .viewings_count = 1, .expiry_ms = expiry_ms};
}

/* The rules, by hand. */
static void test_rules(void **state)
{
    (void)state;
    const struct records_viewing_span spans[] = {{60000, 119999}, {60000, 120000}};
    struct records_member members[] = {one(&spans[0], 0), one(&spans[1], 300000)};
    struct viewing_stats stats;
    struct viewing_stats_builder *builder = viewing_stats_new(1, 300001); /* nobody is alive */
    viewing_stats_add(builder, &members[0]);
    viewing_stats_add(builder, &members[1]);
    viewing_stats_finish(builder, &stats);
    assert_int_equal(stats.retention_count, 2);
    assert_int_equal(stats.retention[0], 2); /* [1, 60001) holds the start */
    assert_int_equal(stats.retention[1], 2);
    assert_int_equal(stats.median_ms, 60000); /* 59999.5, rounded */
    assert_int_equal(stats.p90_ms, 60000);
    assert_int_equal(stats.histogram[0], 1);
    assert_int_equal(stats.histogram[1], 1);
    viewing_stats_fini(&stats);

    builder = viewing_stats_new(60000, 300000); /* the second one is, until now */
    viewing_stats_add(builder, &members[0]);
    viewing_stats_add(builder, &members[1]);
    viewing_stats_finish(builder, &stats);
    assert_int_equal(stats.retention_count, 5);
    assert_int_equal(stats.retention[0], 2);
    assert_int_equal(stats.retention[4], 1);
    assert_int_equal(stats.total_ms, 119999); /* but is not stretched */
    viewing_stats_fini(&stats);

    struct concurrent *concurrent = concurrent_new(119999, 400000, 1, 120001);
    uint32_t count;
    concurrent_add(concurrent, &members[0]);
    concurrent_add(concurrent, &members[1]);
    const uint64_t *counts = concurrent_counts(concurrent, &count);
    assert_int_equal(count, 3); /* up to now */
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[2], 1);
    concurrent_free(concurrent);
    concurrent = concurrent_new(10, 9, 1, 100);
    assert_non_null(concurrent_counts(concurrent, &count));
    assert_int_equal(count, 0);
    concurrent_free(concurrent);

    /* A curve has an end, however long somebody watches. */
    const struct records_viewing_span month = {60000, 60000 + INT64_C(30) * 86400000};
    const struct records_member lasting = one(&month, 0);
    builder = viewing_stats_new(0, month.end_ms + 1);
    viewing_stats_add(builder, &lasting);
    viewing_stats_finish(builder, &stats);
    assert_int_equal(stats.retention_count, VIEWING_STATS_MINUTES_MAX);
    assert_int_equal(stats.retention[VIEWING_STATS_MINUTES_MAX - 1], 1);
    assert_int_equal(stats.median_ms, INT64_C(30) * 86400000);
    assert_int_equal(stats.histogram[VIEWING_STATS_BINS - 1], 1);
    viewing_stats_fini(&stats);
    /* What is all after that end, or all before the start, is in no minute. */
    builder = viewing_stats_new(month.end_ms + 60000, month.end_ms + 1);
    viewing_stats_add(builder, &lasting);
    viewing_stats_finish(builder, &stats);
    assert_int_equal(stats.retention_count, 0);
    assert_int_equal(stats.viewers, 1);
    viewing_stats_fini(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_concurrent),
        cmocka_unit_test(test_rules),
    };
    return tap_run(tests);
}
