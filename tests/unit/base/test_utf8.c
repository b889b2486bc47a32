/* test_utf8.c -- every character, every pair of bytes, and the borders of RFC 3629. */
#include "base/utf8.h"

#include "tap.h"

/* The naive reference: decode by arithmetic, then ask of the code point what the RFC asks. */
static bool reference(const unsigned char *at, size_t len, bool controls_allowed)
{
    size_t i = 0;
    while (i < len) {
        uint32_t code;
        size_t need;
        if (at[i] < 0x80) {
            code = at[i];
            need = 1;
        } else if ((at[i] & 0xE0) == 0xC0) {
            code = at[i] & 0x1F;
            need = 2;
        } else if ((at[i] & 0xF0) == 0xE0) {
            code = at[i] & 0x0F;
            need = 3;
        } else if ((at[i] & 0xF8) == 0xF0) {
            code = at[i] & 0x07;
            need = 4;
        } else {
            return false;
        }
        if (len - i < need) {
            return false;
        }
        for (size_t k = 1; k < need; k++) {
            if ((at[i + k] & 0xC0) != 0x80) {
                return false;
            }
            code = code << 6 | (at[i + k] & 0x3F);
        }
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < smallest[need] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
            return false;
        }
        if (!controls_allowed && (code < 0x20 || (code >= 0x7F && code <= 0x9F))) {
            return false;
        }
        i += need;
    }
    return true;
}

static void both_agree(const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;
    assert_int_equal(utf8_valid(slice_of(bytes, len)), reference(at, len, true));
    assert_int_equal(utf8_no_controls(slice_of(bytes, len)), reference(at, len, false));
}

static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        if (code >= 0xD800 && code <= 0xDFFF) {
            continue;
        }
        char bytes[4];
        size_t len = utf8_encode(code, bytes);
        assert_true(utf8_valid(slice_of(bytes, len)));
        assert_int_equal(utf8_sequence(bytes, len), len);
        assert_int_equal(utf8_sequence(bytes, len - 1), 0); /* cut short */
        bool control = code < 0x20 || (code >= 0x7F && code <= 0x9F);
        assert_int_equal(utf8_no_controls(slice_of(bytes, len)), !control);
    }
}

/* All that a first byte can be followed by, in the middle of ASCII that the fast path takes. */
static void test_every_start(void **state)
{
    (void)state;
    char bytes[] = "0123456789abcdef....ghijklmnopq";
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            bytes[16] = (char)first;
            bytes[17] = (char)second;
            for (unsigned third = 0; third < 3; third++) {
                bytes[18] = "\x7F\x80\xBF"[third];
                bytes[19] = "\x80\xBF\xC0"[(first + second) % 3];
                both_agree(bytes, 20);
                both_agree(bytes + 16, 4);
                both_agree(bytes + 15, 3);
            }
        }
    }
}

static void test_each_lane(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t lane = 0; lane < 16; lane++) {
            char bytes[] = " ~abcdefgh~ ijkl";
            bytes[lane] = (char)byte;
            both_agree(bytes, 16);
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    for (int round = 0; round < 200000; round++) {
        /* Bytes that matter, so that valid sequences are not rare. */
        static const unsigned char bytes_of_interest[] = {
            0x00, 0x1F, 0x20, 0x41, 0x7E, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1,
            0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
        char bytes[24];
        size_t len = tap_random(&seed) % sizeof bytes;
        for (size_t i = 0; i < len; i++) {
            uint64_t pick = tap_random(&seed);
            bytes[i] = (pick & 1) != 0
                           ? (char)('a' + pick % 26)
                           : (char)bytes_of_interest[(pick >> 8) % sizeof bytes_of_interest];
        }
        both_agree(bytes, len);
    }
}

static void test_empty(void **state)
{
    (void)state;
    assert_true(utf8_valid(SLICE_EMPTY));
    assert_true(utf8_no_controls(SLICE_EMPTY));
    assert_int_equal(utf8_sequence(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_start),
        cmocka_unit_test(test_each_lane),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_empty),
    };
    return tap_run(tests);
}
