/* test_ids.c -- which ids are valid: every byte, every length. */
#include "tap.h"

#include "base/limits.h"
#include "core/ids.h"

static void test_event_and_session(void **state)
{
    (void)state;
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
    char bytes[EVENT_ID_BYTES_MAX + 2];
    for (int value = 0; value < 256; value++) {
        bytes[0] = 'x';
        bytes[1] = (char)value;
        bool want = value != 0 && strchr(allowed, value) != NULL;
        assert_int_equal(id_event_valid(slice_of(bytes, 2)), want);
        assert_int_equal(id_session_valid(slice_of(bytes + 1, 1)), want);
    }
    memset(bytes, 'a', sizeof bytes);
    for (size_t len = 0; len < sizeof bytes; len++) {
        assert_int_equal(id_event_valid(slice_of(bytes, len)), len >= 1 && len <= 64);
        assert_int_equal(id_session_valid(slice_of(bytes, len)), len >= 1 && len <= 64);
    }
}

static void test_viewer(void **state)
{
    (void)state;
    char bytes[NAME_BYTES_MAX + 2];
    memset(bytes, 'a', sizeof bytes);
    for (size_t len = 0; len < sizeof bytes; len++) {
        assert_int_equal(id_viewer_valid(slice_of(bytes, len)), len >= 1 && len <= 128);
        assert_int_equal(id_group_valid(slice_of(bytes, len)), len >= 1 && len <= 64);
        assert_int_equal(name_valid(slice_of(bytes, len)), len <= 256);
    }
    for (int value = 0; value < 128; value++) {
        char c = (char)value;
        assert_int_equal(id_viewer_valid(slice_of(&c, 1)), value >= 0x20 && value != 0x7f);
    }
    for (int value = 0x80; value < 0xc0; value++) { /* U+0080 to U+00BF; C1 controls to U+009F */
        char two[2] = {(char)0xc2, (char)value};
        assert_int_equal(id_viewer_valid(slice_of(two, 2)), value >= 0xa0);
    }
    assert_true(id_viewer_valid(SLICE_LIT("Zo\xc3\xab / \xf0\x9f\x8e\xa5")));
    assert_false(id_viewer_valid(SLICE_LIT("a\xc0\xaf")));        /* overlong */
    assert_false(id_viewer_valid(SLICE_LIT("\xed\xa0\x80")));     /* surrogate */
    assert_false(id_viewer_valid(SLICE_LIT("\xf4\x90\x80\x80"))); /* above U+10FFFF */
    assert_false(id_viewer_valid(SLICE_LIT("a\xe2\x82")));        /* cut */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_and_session),
        cmocka_unit_test(test_viewer),
    };
    return tap_run(tests);
}
