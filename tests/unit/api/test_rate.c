/* test_rate.c -- heartbeats a second of one viewer: against a naive bucket for each viewer that
 * ever was, and what a flood does to others. */
#include "api/rate.h"

#include "tap.h"

#define SETS 16384 /* the low bits of a viewer choose its set */

static unsigned allowed_of(struct rate *rate, uint64_t viewer, int64_t mono_ms, unsigned beats)
{
    unsigned allowed = 0;
    for (unsigned i = 0; i < beats; i++) {
        uint32_t retry_after_s = 0;
        if (rate_allow(rate, viewer, mono_ms, &retry_after_s)) {
            allowed++;
        } else {
            assert_int_equal(retry_after_s, 1);
        }
    }
    return allowed;
}

static void test_bucket(void **state)
{
    (void)state;
    struct rate *rate = rate_new(5);
    assert_int_equal(allowed_of(rate, 7, 1000, 9), 5);
    assert_int_equal(allowed_of(rate, 7, 1199, 9), 0);
    assert_int_equal(allowed_of(rate, 7, 1200, 9), 1); /* one comes in 200 ms */
    assert_int_equal(allowed_of(rate, 7, 1799, 9), 2);
    assert_int_equal(allowed_of(rate, 7, 1800, 9), 1); /* the rest of a token was kept */
    assert_int_equal(allowed_of(rate, 7, 60000, 9), 5);
    /* What was refused takes nothing: a second later the bucket is full again. */
    assert_int_equal(allowed_of(rate, 7, 60000, 10000), 0);
    assert_int_equal(allowed_of(rate, 7, 61000, 9), 5);
    rate_free(rate);
    rate_free(NULL);
}

static void test_from_slow_to_fast(void **state)
{
    (void)state;
    static const uint32_t rates[] = {1, 2, 3, 7, 999, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct rate *rate = rate_new(rates[i]);
        unsigned allowed = 0;
        /* At time 0 and in the 10 s that follow, one try a ms. */
        for (int64_t ms = 0; ms <= 10000; ms++) {
            allowed += allowed_of(rate, 1, ms, 1);
        }
        /* A full bucket and what comes in 10 s, but no more than the tries. */
        unsigned expected = 11 * rates[i] < 10001 ? 11 * rates[i] : 10001;
        assert_int_equal(allowed, expected);
        rate_free(rate);
    }
}

/* The hashes that look like a free place. */
static void test_odd_hashes(void **state)
{
    (void)state;
    struct rate *rate = rate_new(2);
    static const uint64_t viewers[] = {0, SETS, UINT64_MAX, (uint64_t)1 << 63};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(allowed_of(rate, viewers[i], 5, 3), round == 0 ? 2 : 0);
        }
    }
    rate_free(rate);
}

/* Five viewers in the four places of one set: the one with the fullest bucket goes, and who is over
 * the rate stays. */
static void test_place_is_made(void **state)
{
    (void)state;
    struct rate *rate = rate_new(5);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(allowed_of(rate, i * SETS, 1000, 9), 5);
    }
    assert_int_equal(allowed_of(rate, 3 * SETS, 1000, 1), 1);
    assert_int_equal(allowed_of(rate, 4 * SETS, 1000, 9), 5); /* takes the place of 3 */
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(allowed_of(rate, i * SETS, 1000, 9), 0);
    }
    /* Another one finds all four empty, and is not refused for that. */
    assert_int_equal(allowed_of(rate, 5 * SETS, 1000, 9), 5);
    rate_free(rate);
}

static void test_nobody_suffers_from_others(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct rate *rate = rate_new(5);
    for (int64_t ms = 0; ms < 20000; ms += 200) {
        for (int i = 0; i < 3000; i++) {
            /* A crowd in every set, and floods in the sets of the honest. */
            uint64_t other = tap_random(&random);
            allowed_of(rate, i % 2 == 0 ? other : (other & ~(uint64_t)(SETS - 1)) | other % 8, ms,
                       2);
        }
        for (uint64_t honest = 0; honest < 8; honest++) {
            assert_int_equal(allowed_of(rate, ((uint64_t)77 << 40) | honest, ms, 1), 1);
        }
    }
    rate_free(rate);
}

/* ---- against a naive reference ---- */

struct naive {
    uint64_t viewer;
    int64_t at_ms;
    int64_t thousandths;
};

static bool naive_allow(struct naive *naive, int64_t per_second, int64_t mono_ms)
{
    naive->thousandths += (mono_ms - naive->at_ms) * per_second;
    if (naive->thousandths > 1000 * per_second) {
        naive->thousandths = 1000 * per_second;
    }
    naive->at_ms = mono_ms;
    if (naive->thousandths < 1000) {
        return false;
    }
    naive->thousandths -= 1000;
    return true;
}

/* As many viewers as all sets hold: the same answers, all of them. */
static void test_as_naive(void **state)
{
    (void)state;
    enum { VIEWERS = 4000, STEPS = 1000000 };
    uint64_t random = tap_seed();
    static struct naive naives[VIEWERS];
    uint32_t per_second = (uint32_t)(tap_random(&random) % 20 + 1);
    struct rate *rate = rate_new(per_second);
    for (unsigned i = 0; i < VIEWERS; i++) {
        /* Four in each of a thousand sets. */
        uint64_t high = tap_random(&random) & ~(uint64_t)(SETS - 1);
        naives[i] = (struct naive){.viewer = high | i / 4, .thousandths = 1000 * per_second};
    }
    int64_t mono_ms = (int64_t)(tap_random(&random) % ((uint64_t)1 << 40));
    unsigned refused = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        /* A few are busy, most are not; now and then nothing happens for long. */
        unsigned who = (unsigned)(tap_random(&random) % (step % 2 == 0 ? 40 : VIEWERS));
        mono_ms += tap_random(&random) % 4 == 0;
        mono_ms += tap_random(&random) % 10000 == 0 ? 3000 : 0;
        uint32_t retry_after_s;
        bool allowed = rate_allow(rate, naives[who].viewer, mono_ms, &retry_after_s);
        assert_int_equal(allowed, naive_allow(&naives[who], per_second, mono_ms));
        refused += !allowed;
    }
    printf("# %u a second: %u of %d refused\n", per_second, refused, STEPS);
    assert_in_range(refused, 1, STEPS - 1);
    rate_free(rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),
        cmocka_unit_test(test_from_slow_to_fast),
        cmocka_unit_test(test_odd_hashes),
        cmocka_unit_test(test_place_is_made),
        cmocka_unit_test(test_nobody_suffers_from_others),
        cmocka_unit_test(test_as_naive),
    };
    return tap_run(tests);
}
