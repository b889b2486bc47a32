/* test_duration.c -- what is a duration, what is not, and that texts come back as they went. */
#include "base/duration.h"

#include "tap.h"

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"0ms", 0},
                {"500ms", 500},
                {"30s", 30000},
                {"5m", 300000},
                {"2h", 7200000},
                {"7d", 604800000},
                {"007s", 7000},
                {"36500d", DURATION_MS_MAX},
                {"3153600000000ms", DURATION_MS_MAX}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -1;
        assert_true(duration_parse(slice_str(good[i].text), &ms));
        assert_true(ms == good[i].ms);
    }
    static const char *const bad[] = {"",
                                      "s",
                                      "30",
                                      "30 s",
                                      " 30s",
                                      "30s ",
                                      "-5s",
                                      "+5s",
                                      "1.5s",
                                      "1e3s",
                                      "30S",
                                      "30sec",
                                      "1h30m",
                                      "5mss",
                                      "36501d",
                                      "3153600000001ms",
                                      "99999999999999999999s",
                                      "1w",
                                      "18446744073709551616ms",
                                      "0x10s",
                                      "m5",
                                      "5\0s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = -1;
        assert_false(duration_parse(slice_str(bad[i]), &ms));
        assert_true(ms == -1);
    }
    int64_t ms = -1;
    assert_false(duration_parse(SLICE_LIT("5s\0"), &ms));
    assert_false(duration_parse(SLICE_EMPTY, &ms));
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"17", 17},
                {"64k", 65536},
                {"256m", 268435456},
                {"8g", 8589934592},
                {"2T", (uint64_t)2 << 40},
                {"1K", 1024},
                {"18446744073709551615", UINT64_MAX},
                {"16777215t", (uint64_t)16777215 << 40}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 1;
        assert_true(bytes_parse(slice_str(good[i].text), &bytes));
        assert_true(bytes == good[i].bytes);
    }
    static const char *const bad[] = {"",     "k",    "64kb",  "64 k",      "-1",
                                      "1.5m", "64x",  "1\x0b", "16777216t", "18446744073709551616",
                                      "0x1",  "64kk", "1K "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes = 1;
        assert_false(bytes_parse(slice_str(bad[i]), &bytes));
        assert_true(bytes == 1);
    }
}

static void test_integers(void **state)
{
    (void)state;
    uint64_t number;
    assert_true(integer_parse(SLICE_LIT("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
    assert_true(integer_parse(SLICE_LIT("0"), &number));
    assert_true(number == 0);
    assert_false(integer_parse(SLICE_LIT("18446744073709551616"), &number));
    assert_false(integer_parse(SLICE_LIT("1k"), &number));
    assert_false(integer_parse(SLICE_LIT("-1"), &number));
    assert_false(integer_parse(SLICE_LIT(""), &number));
}

static void test_format(void **state)
{
    (void)state;
    char text[DURATION_TEXT_BYTES];
    assert_string_equal(duration_format(0, text), "0");
    assert_string_equal(duration_format(1, text), "1ms");
    assert_string_equal(duration_format(65000, text), "65s");
    assert_string_equal(duration_format(65001, text), "65001ms");
    assert_string_equal(duration_format(120000, text), "2m");
    assert_string_equal(duration_format(DURATION_MS_MAX, text), "36500d");
    assert_string_equal(bytes_format(0, text), "0");
    assert_string_equal(bytes_format(1536, text), "1536");
    assert_string_equal(bytes_format(65536, text), "64k");
    assert_string_equal(bytes_format(UINT64_MAX, text), "18446744073709551615");
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    for (int round = 0; round < 100000; round++) {
        char text[DURATION_TEXT_BYTES];
        int64_t ms = (int64_t)(tap_random(&seed) >> (tap_random(&seed) % 64)) % DURATION_MS_MAX;
        ms = ms < 0 ? -ms : ms;
        int64_t ms_back = -1;
        assert_true(duration_parse(slice_str(duration_format(ms, text)), &ms_back));
        assert_true(ms_back == ms);
        uint64_t bytes = tap_random(&seed) >> (tap_random(&seed) % 64);
        bytes <<= tap_random(&seed) % 41;
        uint64_t bytes_back = 0;
        assert_true(bytes_parse(slice_str(bytes_format(bytes, text)), &bytes_back));
        assert_true(bytes_back == bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),      cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_integers),       cmocka_unit_test(test_format),
        cmocka_unit_test(test_there_and_back),
    };
    return tap_run(tests);
}
