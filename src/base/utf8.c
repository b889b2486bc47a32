/* utf8.c -- UTF-8 by the table of RFC 3629, section 4:
 *
 *     UTF8-1 = %x00-7F
 *     UTF8-2 = %xC2-DF UTF8-tail
 *     UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
 *              %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *     UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) / %xF4 %x80-8F 2( UTF8-tail )
 *
 * Only the second byte's range depends on the first; all later ones are %x80-BF. */
#include "base/utf8.h"

#include "base/assert.h"

#define EACH_BYTE(byte) (0x0101010101010101u * (byte))

static uint64_t load_8(const char *ptr)
{
    uint64_t word;
    memcpy(&word, ptr, sizeof word);
    return word;
}

static bool is_tail(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Of a character whose first byte is not ASCII. */
static size_t sequence_long(const unsigned char *at, size_t len)
{
    unsigned char first = at[0];
    if (first < 0xC2 || first > 0xF4) { /* a tail byte, an overlong form, above U+10FFFF */
        return 0;
    }
    size_t need = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (len < need) {
        return 0;
    }
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < need; i++) {
        if (!is_tail(at[i])) {
            return 0;
        }
    }
    return need;
}

size_t utf8_sequence(const char *ptr, size_t len)
{
    if (len == 0) {
        return 0;
    }
    const unsigned char *at = (const unsigned char *)ptr;
    return at[0] < 0x80 ? 1 : sequence_long(at, len);
}

bool utf8_valid(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        if (text.len - i >= 8 && (load_8(text.ptr + i) & EACH_BYTE(0x80)) == 0) {
            i += 8;
            continue;
        }
        size_t step = utf8_sequence(text.ptr + i, text.len - i);
        if (step == 0) {
            return false;
        }
        i += step;
    }
    return true;
}

/* True when all eight bytes are U+0020 to U+007E.  Below 0x20 borrows into the top bit; 0x7F is the
 * only ASCII byte that adding 1 carries there; bytes above 0x7F have it set already.  (A borrow or
 * carry from a neighbour can only happen where that neighbour has failed by itself.) */
static bool printable_8(uint64_t word)
{
    uint64_t below = word - EACH_BYTE(0x20);
    uint64_t above = word + EACH_BYTE(0x01);
    return ((word | below | above) & EACH_BYTE(0x80)) == 0;
}

bool utf8_no_controls(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        if (text.len - i >= 8 && printable_8(load_8(text.ptr + i))) {
            i += 8;
            continue;
        }
        unsigned char first = (unsigned char)text.ptr[i];
        if (first < 0x20 || first == 0x7F) {
            return false;
        }
        size_t step = utf8_sequence(text.ptr + i, text.len - i);
        if (step == 0) {
            return false;
        }
        /* U+0080 to U+009F are the two-byte characters C2 80 to C2 9F. */
        if (first == 0xC2 && (unsigned char)text.ptr[i + 1] < 0xA0) {
            return false;
        }
        i += step;
    }
    return true;
}

size_t utf8_encode(uint32_t code, char out[4])
{
    ASSERT(code <= 0x10FFFF && !(code >= 0xD800 && code <= 0xDFFF));
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}
