/* test_country.c -- all 1,296 countries there and back. */
#include "tap.h"

#include "core/country.h"

static void test_all(void **state)
{
    (void)state;
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static uint8_t seen[COUNTRY_COUNT];
    for (int high = 0; high < 36; high++) {
        for (int low = 0; low < 36; low++) {
            char text[2] = {digits[high], digits[low]}, back[2];
            country_t country;
            assert_true(country_pack(slice_of(text, 2), &country));
            assert_true(country < COUNTRY_COUNT && !seen[country]);
            seen[country] = 1;
            country_text(country, back);
            assert_memory_equal(back, text, 2);
        }
    }
}

static void test_special(void **state)
{
    (void)state;
    country_t country = 9, lower;
    assert_true(country_pack(SLICE_LIT("ZZ"), &country));
    assert_int_equal(country, 0);
    assert_true(country_pack(SLICE_LIT("HK"), &country));
    assert_true(country_pack(SLICE_LIT("hk"), &lower));
    assert_int_equal(country, lower);
    assert_int_not_equal(country, 0);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        {"", 0},   {"H", 1},  {"HKG", 3}, {"H-", 2}, {"\0H", 2}, {" H", 2}, {"\xc3\xa9", 2},
        {"[A", 2}, {"@A", 2}, {"A`", 2},  {"A{", 2}, {"/0", 2},  {"0:", 2},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        country_t country = 9;
        assert_false(country_pack(bad[i], &country));
        assert_int_equal(country, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_refused),
    };
    return tap_run(tests);
}
