/* viewer_key.c -- UUIDs to 16 bytes and back. */
#include "core/viewer_key.h"

#include "base/assert.h"

#define UUID_TEXT_BYTES 36

/* Value of a lower-case hexadecimal digit, or 0xff. */
static inline uint8_t hex_value(char c)
{
    uint8_t digit = (uint8_t)(c - '0');
    uint8_t letter = (uint8_t)(c - 'a');
    return digit < 10 ? digit : letter < 6 ? (uint8_t)(letter + 10) : 0xff;
}

/* Offset in the text of each byte's two digits. */
static const uint8_t digit_offsets[16] = {0,  2,  4,  6,  9,  11, 14, 16,
                                          19, 21, 24, 26, 28, 30, 32, 34};

static bool uuid_pack(const char *text, char uuid[16])
{
    if (text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') {
        return false;
    }
    uint8_t bad = 0;
    for (int i = 0; i < 16; i++) {
        uint8_t high = hex_value(text[digit_offsets[i]]);
        uint8_t low = hex_value(text[digit_offsets[i] + 1]);
        bad |= high | low; /* 0xff sets the upper bits, digits never do */
        uuid[i] = (char)(uint8_t)(high << 4 | (low & 15));
    }
    return bad < 16;
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
