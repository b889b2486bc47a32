/* test_clock.c -- the engine's clock: never back, never frozen, at most 1 % off its pace. */
#include "base/clock.h"

#include "tap.h"

#define SECOND ((int64_t)1000000)

static void test_starts_at_the_wall_clock(void **state)
{
    (void)state;
    struct clock clock;
    clock_init(&clock, 5 * SECOND, 1637661623070999, 0);
    assert_int_equal(clock_step(&clock, 5 * SECOND, 1637661623070999), 1637661623070);
}

static void test_starts_no_earlier_than_the_floor(void **state)
{
    (void)state;
    struct clock clock;
    clock_init(&clock, 0, 1000 * SECOND, 2000000);
    assert_int_equal(clock_step(&clock, 0, 1000 * SECOND), 2000000);
    clock_init(&clock, 0, 1000 * SECOND, 999999);
    assert_int_equal(clock_step(&clock, 0, 1000 * SECOND), 1000000);
}

/* Both clocks go alike: the engine's time is the wall clock, to the ms. */
static void test_follows_when_nothing_is_wrong(void **state)
{
    (void)state;
    struct clock clock;
    int64_t wall_us = 1637661623000000;
    clock_init(&clock, 0, wall_us, 0);
    for (int64_t us = 0; us < 100 * SECOND; us += 333) {
        assert_int_equal(clock_step(&clock, us, wall_us + us), (wall_us + us) / 1000);
    }
}

static void test_no_time_passed(void **state)
{
    (void)state;
    struct clock clock;
    clock_init(&clock, 7, 1000 * SECOND, 0);
    /* However often it is asked, and whatever the wall clock does meanwhile. */
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(clock_step(&clock, 7, (i % 2 == 0 ? 5000 : 1) * SECOND), 1000000);
    }
}

/* The wall clock steps an hour; in a second of real time the engine's moves one second and 10 ms
 * at most, and in 100 hours it has caught up. */
static void step_of(int64_t step_us, int64_t pace_us)
{
    struct clock clock;
    int64_t wall_us = 1637661623000000;
    clock_init(&clock, 0, wall_us, 0);
    int64_t before_ms = clock_step(&clock, 0, wall_us);
    for (int64_t i = 1; i <= 60; i++) {
        int64_t now_ms = clock_step(&clock, i * SECOND, wall_us + step_us + i * SECOND);
        assert_int_equal(now_ms - before_ms, pace_us / 1000);
        before_ms = now_ms;
    }
    int64_t hours_us = 101 * 3600 * SECOND;
    int64_t now_ms = clock_step(&clock, hours_us, wall_us + step_us + hours_us);
    assert_int_equal(now_ms, (wall_us + step_us + hours_us) / 1000);
}

static void test_steps_of_the_wall_clock(void **state)
{
    (void)state;
    step_of(3600 * SECOND, SECOND + SECOND / 100);
    step_of(-3600 * SECOND, SECOND - SECOND / 100);
}

/* Whatever the wall clock shows: the time never falls, and keeps its pace within 1 %. */
static void test_any_wall_clock(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct clock clock;
    int64_t mono_us = 0, wall_us = 1637661623000000;
    clock_init(&clock, mono_us, wall_us, 0);
    int64_t before_us = clock.now_us, before_ms = clock_step(&clock, mono_us, wall_us);
    for (int i = 0; i < 100000; i++) {
        int64_t elapsed_us = (int64_t)(tap_random(&seed) % 2000);
        mono_us += elapsed_us;
        wall_us += elapsed_us;
        if (tap_random(&seed) % 64 == 0) {
            wall_us += (int64_t)(tap_random(&seed) % (20 * (uint64_t)SECOND)) - 10 * SECOND;
        }
        int64_t now_ms = clock_step(&clock, mono_us, wall_us);
        int64_t moved_us = clock.now_us - before_us;
        assert_true(now_ms >= before_ms);
        assert_true(moved_us >= elapsed_us - elapsed_us / 100);
        assert_true(moved_us <= elapsed_us + elapsed_us / 100);
        before_us = clock.now_us;
        before_ms = now_ms;
    }
}

static void test_reads_the_clocks(void **state)
{
    (void)state;
    int64_t mono_us = clock_mono_us();
    assert_true(clock_mono_ms() >= mono_us / 1000);
    struct clock clock;
    int64_t wall_us = clock_wall_us();
    clock_init(&clock, mono_us, wall_us, 0);
    int64_t now_ms = clock_now_ms(&clock);
    assert_true(now_ms >= wall_us / 1000);
    assert_true(now_ms < wall_us / 1000 + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_at_the_wall_clock),
        cmocka_unit_test(test_starts_no_earlier_than_the_floor),
        cmocka_unit_test(test_follows_when_nothing_is_wrong),
        cmocka_unit_test(test_no_time_passed),
        cmocka_unit_test(test_steps_of_the_wall_clock),
        cmocka_unit_test(test_any_wall_clock),
        cmocka_unit_test(test_reads_the_clocks),
    };
    return tap_run(tests);
}
