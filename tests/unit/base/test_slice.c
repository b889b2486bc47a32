/* test_slice.c -- slices compare by bytes. */
#include "tap.h"

#include "base/slice.h"

static void test_compare(void **state)
{
    (void)state;
    assert_true(slice_equal(SLICE_LIT("a"), slice_str("a")));
    assert_true(slice_equal(SLICE_EMPTY, SLICE_LIT("")));
    assert_false(slice_equal(SLICE_LIT("a"), SLICE_LIT("ab")));
    assert_true(slice_compare(SLICE_LIT("a"), SLICE_LIT("ab")) < 0);
    assert_true(slice_compare(SLICE_LIT("b"), SLICE_LIT("ab")) > 0);
    assert_int_equal(slice_compare(SLICE_EMPTY, SLICE_EMPTY), 0);
    assert_true(slice_has_prefix(SLICE_LIT("abc"), SLICE_LIT("ab")));
    assert_false(slice_has_prefix(SLICE_LIT("a"), SLICE_LIT("ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_compare)};
    return tap_run(tests);
}
