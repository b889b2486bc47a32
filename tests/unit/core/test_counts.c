/* test_counts.c -- the small table of counts against an array. */
#include "tap.h"

#include "core/counts.h"

#define KEYS 1500

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    static uint32_t live[KEYS], frame[KEYS];
    static uint8_t seen[KEYS], walked[KEYS];
    struct counts counts;
    counts_init(&counts);
    for (int step = 0; step < 30000; step++) {
        uint32_t key = (uint32_t)(tap_random(&seed) % (1 + (uint64_t)step % KEYS));
        struct counts_entry *entry = counts_at(&counts, key);
        assert_int_equal(entry->live, live[key]);
        assert_int_equal(entry->frame, frame[key]);
        entry->live = ++live[key];
        entry->frame = frame[key] = (uint32_t)tap_random(&seed);
        seen[key] = 1;
    }
    struct counts_entry *entry;
    uint32_t used = 0;
    for (uint32_t i = 0; (entry = counts_each(&counts, &i)) != NULL;) {
        uint32_t key = entry->key - 1;
        assert_true(key < KEYS && seen[key] && !walked[key]);
        assert_int_equal(entry->live, live[key]);
        assert_int_equal(entry->frame, frame[key]);
        walked[key] = 1;
        used++;
    }
    assert_int_equal(used, counts.used);
    assert_memory_equal(seen, walked, KEYS);
    counts_fini(&counts);
}

static void test_empty_and_greatest_key(void **state)
{
    (void)state;
    struct counts counts;
    counts_init(&counts);
    uint32_t position = 0;
    assert_null(counts_each(&counts, &position));
    counts_at(&counts, UINT32_MAX - 1)->live = 3;
    counts_at(&counts, 0)->live = 4;
    assert_int_equal(counts_at(&counts, UINT32_MAX - 1)->live, 3);
    assert_int_equal(counts.used, 2);
    counts_fini(&counts);
    counts_fini(&counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_empty_and_greatest_key),
    };
    return tap_run(tests);
}
