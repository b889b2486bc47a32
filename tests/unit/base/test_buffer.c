/* test_buffer.c -- a buffer keeps its bound, and what it escapes any JSON reader reads back. */
#include "base/buffer.h"

#include <inttypes.h>
#include <jansson.h>

#include "tap.h"

static void assert_text(const struct buffer *buffer, const char *expected)
{
    struct slice text = buffer_slice(buffer);
    if (!slice_equal(text, slice_str(expected))) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_ARG(text), expected);
    }
}

static void test_puts(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    assert_int_equal(buffer_slice(&buffer).len, 0);
    buffer_put_lit(&buffer, "a=");
    buffer_put_i64(&buffer, INT64_MIN);
    buffer_put_char(&buffer, ' ');
    buffer_put_u64(&buffer, UINT64_MAX);
    buffer_put(&buffer, SLICE_EMPTY);
    buffer_printf(&buffer, " %d%%", 5);
    buffer_put_i64(&buffer, 0);
    assert_text(&buffer, "a=-9223372036854775808 18446744073709551615 5%0");
    buffer_reset(&buffer);
    buffer_put_i64(&buffer, -1);
    buffer_put_i64(&buffer, INT64_MAX);
    assert_text(&buffer, "-19223372036854775807");
    assert_int_equal(buffer_outcome(&buffer), BUFFER_OK);
    buffer_fini(&buffer);
}

/* Every kind of put, at every bound around its size: kept whole or not at all, and FULL stays. */
static void test_bound(void **state)
{
    (void)state;
    for (size_t bytes_max = 0; bytes_max < 40; bytes_max++) {
        for (int kind = 0; kind < 5; kind++) {
            struct buffer buffer;
            buffer_init(&buffer, bytes_max);
            buffer_put_char(&buffer, '.');
            size_t need = 0;
            switch (kind) {
            case 0:
                buffer_put_lit(&buffer, "0123456789");
                need = 11;
                break;
            case 1:
                buffer_put_i64(&buffer, -1234567);
                need = 9;
                break;
            case 2:
                buffer_put_u64(&buffer, 1234567);
                need = 8;
                break;
            case 3:
                buffer_put_json_string(&buffer, SLICE_LIT("\x01\xFFq\""));
                need = 1 + 2 + 6 + 3 + 1 + 2;
                break;
            case 4:
                buffer_printf(&buffer, "%030d", 7);
                need = 31;
                break;
            }
            if (bytes_max >= need) {
                assert_int_equal(buffer_outcome(&buffer), BUFFER_OK);
                assert_int_equal(buffer_slice(&buffer).len, need);
            } else {
                assert_int_equal(buffer_outcome(&buffer), BUFFER_FULL);
                assert_int_equal(buffer_slice(&buffer).len, bytes_max == 0 ? 0 : 1);
                buffer_put_lit(&buffer, "");
                buffer_put_char(&buffer, 'x'); /* would fit, but one was left out before it */
                assert_int_equal(buffer_slice(&buffer).len, bytes_max == 0 ? 0 : 1);
            }
            buffer_reset(&buffer);
            assert_int_equal(buffer_outcome(&buffer), BUFFER_OK);
            assert_int_equal(buffer_slice(&buffer).len, 0);
            buffer_fini(&buffer);
        }
    }
}

static void test_grows_to_exactly_its_bound(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 1000);
    for (int use = 0; use < 2; use++) {
        for (int i = 0; i < 1000; i++) {
            buffer_put_char(&buffer, (char)('a' + i % 26));
        }
        assert_int_equal(buffer_outcome(&buffer), BUFFER_OK);
        const char *ptr = buffer_slice(&buffer).ptr;
        buffer_put_char(&buffer, '!');
        assert_int_equal(buffer_outcome(&buffer), BUFFER_FULL);
        assert_int_equal(buffer_slice(&buffer).len, 1000);
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(buffer_slice(&buffer).ptr[i], 'a' + i % 26);
        }
        buffer_reset(&buffer);
        assert_ptr_equal(buffer_slice(&buffer).ptr, ptr); /* memory is kept */
    }
    buffer_fini(&buffer);
}

static void test_room(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 10);
    char *room = buffer_room(&buffer, 10);
    assert_non_null(room);
    memcpy(room, "abc", 3);
    buffer_used(&buffer, 3);
    assert_text(&buffer, "abc");
    assert_null(buffer_room(&buffer, 8));
    assert_int_equal(buffer_outcome(&buffer), BUFFER_FULL);
    buffer_fini(&buffer);
}

static void test_json_escapes(void **state)
{
    (void)state;
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    buffer_put_json_string(&buffer, SLICE_LIT("a\"b\\c/\b\f\n\r\t\x01\x1F\x7F\0."));
    assert_text(&buffer, "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\\u0000.\"");
    buffer_reset(&buffer);
    buffer_put_json_string(&buffer, SLICE_LIT("\xC3\xBC \xF0\x9F\x8E\xA4 \xE2\x80\xA8"));
    assert_text(&buffer, "\"\xC3\xBC \xF0\x9F\x8E\xA4 \xE2\x80\xA8\"");
    buffer_reset(&buffer);
    /* A surrogate, an overlong slash, a character cut short: a U+FFFD for each byte. */
    buffer_put_json_string(&buffer, SLICE_LIT("\xED\xA0\x80|\xC0\xAF|\xE2\x82"));
    assert_text(&buffer, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD\xEF\xBF\xBD|"
                         "\xEF\xBF\xBD\xEF\xBF\xBD\"");
    buffer_reset(&buffer);
    buffer_put_json_string(&buffer, SLICE_EMPTY);
    assert_text(&buffer, "\"\"");
    buffer_fini(&buffer);
}

/* Random bytes: jansson reads the string, and where the text was valid, the very same text. */
static void test_json_random(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct buffer buffer;
    buffer_init(&buffer, 4096);
    for (int round = 0; round < 20000; round++) {
        char text[40];
        size_t len = tap_random(&seed) % sizeof text;
        bool ascii = (tap_random(&seed) & 1) != 0;
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(tap_random(&seed) & (ascii ? 0x7F : 0xFF));
        }
        buffer_reset(&buffer);
        buffer_put_json_string(&buffer, slice_of(text, len));
        struct slice json = buffer_slice(&buffer);
        json_t *read = json_loadb(json.ptr, json.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(read);
        if (ascii) {
            assert_int_equal(json_string_length(read), len);
            assert_memory_equal(json_string_value(read), text, len);
        }
        json_decref(read);
    }
    buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_puts),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_grows_to_exactly_its_bound),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_json_random),
    };
    return tap_run(tests);
}
