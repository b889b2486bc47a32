/* viewer_key.c -- UUIDs to 16 bytes and back. */
#include "core/viewer_key.h"

#include "base/assert.h"

#define UUID_TEXT_BYTES 36

#define BYTES(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight lower-case hexadecimal digits, as they lie in memory, to four bytes: all eight at once in
 * one word, little-endian.  False when one is no such digit. */
static inline bool digits_pack(uint64_t text, char out[4])
{
    /* '0' to '9' are 0x30 to 0x39, 'a' to 'f' are 0x61 to 0x66: bit 6 tells them apart. */
    uint64_t values = (text & BYTES(0x0f)) + (text >> 6 & BYTES(1)) * 9;
    uint64_t letters = (values + BYTES(6)) >> 4 & BYTES(1); /* 1 where the value is above 9 */
    uint64_t again = values + BYTES('0') + letters * ('a' - '0' - 10);
    if (again != text || (values & BYTES(0xf0)) != 0) {
        return false;
    }
    uint64_t pairs = (values << 4 | values >> 8) & UINT64_C(0x00ff00ff00ff00ff);
    pairs = (pairs | pairs >> 8) & UINT64_C(0x0000ffff0000ffff);
    uint32_t packed = (uint32_t)(pairs | pairs >> 16);
    memcpy(out, &packed, sizeof packed);
    return true;
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits_pack reads text as a number");

static bool uuid_pack(const char *text, char uuid[16])
{
    if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') {
        return false;
    }
    uint64_t words[4];
    memcpy(&words[0], text, 8);
    memcpy(&words[1], text + 9, 4);
    memcpy((char *)&words[1] + 4, text + 14, 4);
    memcpy(&words[2], text + 19, 4);
    memcpy((char *)&words[2] + 4, text + 24, 4);
    memcpy(&words[3], text + 28, 8);
    return digits_pack(words[0], uuid) && digits_pack(words[1], uuid + 4) &&
           digits_pack(words[2], uuid + 8) && digits_pack(words[3], uuid + 12);
}

void viewer_key_make(struct viewer_key *key, struct slice id)
{
    if (id.len == UUID_TEXT_BYTES && uuid_pack(id.ptr, key->uuid)) {
        key->tag = VIEWER_KEY_UUID;
        key->bytes = slice_of(key->uuid, sizeof key->uuid);
        return;
    }
    ASSERT(id.len > 0 && id.len <= VIEWER_ID_BYTES_MAX);
    key->tag = (uint8_t)id.len;
    key->bytes = id;
}

void viewer_key_store(const struct viewer_key *key, char *out)
{
    out[0] = (char)key->tag;
    memcpy(out + 1, key->bytes.ptr, key->bytes.len);
}

/* Offset in the text of each byte's two digits. */
static const uint8_t digit_offsets[16] = {0,  2,  4,  6,  9,  11, 14, 16,
                                          19, 21, 24, 26, 28, 30, 32, 34};

struct slice viewer_key_text(const char *stored, char text[UUID_TEXT_BYTES])
{
    uint8_t tag = (uint8_t)stored[0];
    if (tag != VIEWER_KEY_UUID) {
        return slice_of(stored + 1, tag);
    }
    static const char digits[] = "0123456789abcdef";
    text[8] = text[13] = text[18] = text[23] = '-';
    for (int i = 0; i < 16; i++) {
        uint8_t byte = (uint8_t)stored[1 + i];
        text[digit_offsets[i]] = digits[byte >> 4];
        text[digit_offsets[i] + 1] = digits[byte & 15];
    }
    return slice_of(text, UUID_TEXT_BYTES);
}
