/* test_viewer_key.c -- ids stay exact: only what comes back byte for byte is kept as a UUID. */
#include "tap.h"

#include "core/viewer_key.h"

static const char uuid[] = "01234567-89ab-cdef-fedc-ba9876543210";

/* There and back; says whether it is kept in 16 bytes. */
static bool round_trip(struct slice id)
{
    struct viewer_key key;
    viewer_key_make(&key, id);
    char stored[1 + VIEWER_ID_BYTES_MAX], text[36];
    viewer_key_store(&key, stored);
    assert_int_equal(viewer_key_stored_bytes(&key), 1 + key.bytes.len);
    assert_true(viewer_key_is(&key, stored));
    assert_true(slice_equal(viewer_key_text(stored, text), id));
    return key.tag == VIEWER_KEY_UUID;
}

static void test_lengths(void **state)
{
    (void)state;
    char bytes[VIEWER_ID_BYTES_MAX];
    for (size_t len = 1; len <= sizeof bytes; len++) {
        memset(bytes, '0', sizeof bytes);
        assert_false(round_trip(slice_of(bytes, len)));
        if (len >= 36) { /* a UUID and what follows */
            memcpy(bytes, uuid, 36);
            assert_int_equal(round_trip(slice_of(bytes, len)), len == 36);
        }
    }
    assert_false(round_trip(slice_of(uuid, 35)));
}

/* Each byte of the 36 takes each value: a UUID only if it is of the same kind. */
static void test_every_byte(void **state)
{
    (void)state;
    for (size_t at = 0; at < 36; at++) {
        bool hyphen = at == 8 || at == 13 || at == 18 || at == 23;
        for (int value = 0; value < 256; value++) {
            char bytes[36];
            memcpy(bytes, uuid, 36);
            bytes[at] = (char)value;
            bool digit = (value >= '0' && value <= '9') || (value >= 'a' && value <= 'f');
            assert_int_equal(round_trip(slice_of(bytes, 36)), hyphen ? value == '-' : digit);
        }
    }
}

static void test_different(void **state)
{
    (void)state;
    char upper[36], stored[37];
    memcpy(upper, uuid, 36);
    upper[10] = 'A';
    struct viewer_key lower_key, upper_key, short_key;
    viewer_key_make(&lower_key, slice_of(uuid, 36));
    viewer_key_make(&upper_key, slice_of(upper, 36));
    viewer_key_store(&lower_key, stored);
    assert_false(viewer_key_is(&upper_key, stored));
    /* An id whose bytes are a UUID's 16 is another viewer. */
    viewer_key_make(&short_key, slice_of(stored + 1, 16));
    assert_false(viewer_key_is(&short_key, stored));
    viewer_key_store(&short_key, stored);
    assert_false(viewer_key_is(&lower_key, stored));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_different),
    };
    return tap_run(tests);
}
