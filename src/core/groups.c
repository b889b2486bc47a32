/* groups.c -- packed group lists and tallies. */
#include "core/groups.h"

#include "base/assert.h"
#include "core/ids.h"

#include <stdlib.h>

static int order(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

enum groups_outcome groups_pack(struct slice *ids, size_t count, char out[GROUPS_PACKED_BYTES_MAX],
                                size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < count; i++) {
        if (!id_group_valid(ids[i])) {
            return GROUPS_INVALID_ID;
        }
    }
    if (count > 1) {
        qsort(ids, count, sizeof *ids, order);
    }
    size_t used = 0;
    unsigned kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && slice_equal(ids[i], ids[i - 1])) {
            continue;
        }
        if (kept == GROUPS_PER_VIEWER_MAX) {
            return GROUPS_TOO_MANY;
        }
        out[used++] = (char)ids[i].len;
        memcpy(out + used, ids[i].ptr, ids[i].len);
        used += ids[i].len;
        kept++;
    }
    ASSERT(used <= GROUPS_PACKED_BYTES_MAX);
    *len = used;
    return GROUPS_OK;
}

bool groups_valid(struct slice packed)
{
    struct slice before = SLICE_EMPTY;
    unsigned count = 0;
    while (packed.len > 0) {
        size_t len = (unsigned char)packed.ptr[0];
        if (len + 1 > packed.len) {
            return false;
        }
        struct slice id = {packed.ptr + 1, len};
        if (!id_group_valid(id) || ++count > GROUPS_PER_VIEWER_MAX ||
            (count > 1 && slice_compare(before, id) >= 0)) {
            return false;
        }
        before = id;
        packed.ptr += len + 1;
        packed.len -= len + 1;
    }
    return true;
}

bool groups_next(struct slice *rest, struct slice *id)
{
    if (rest->len == 0) {
        return false;
    }
    size_t len = (unsigned char)rest->ptr[0];
    ASSERT(len + 1 <= rest->len); /* bytes from outside went through groups_valid */
    *id = slice_of(rest->ptr + 1, len);
    rest->ptr += len + 1;
    rest->len -= len + 1;
    return true;
}

bool tally_next(struct slice *rest, struct slice *key, uint32_t *count)
{
    if (rest->len == 0) {
        return false;
    }
    size_t len = (unsigned char)rest->ptr[0];
    if (len + 5 > rest->len) {
        rest->len = 0;
        return false; /* stored bytes that are no tally end it; records_check finds them */
    }
    *key = slice_of(rest->ptr + 1, len);
    const unsigned char *bytes = (const unsigned char *)rest->ptr + 1 + len;
    *count =
        bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    rest->ptr += len + 5;
    rest->len -= len + 5;
    return true;
}

size_t tally_entry_bytes(size_t key_len)
{
    return key_len + 5;
}

size_t tally_put(char *out, struct slice key, uint32_t count)
{
    ASSERT(key.len <= 255);
    out[0] = (char)key.len;
    memcpy(out + 1, key.ptr, key.len);
    for (int i = 0; i < 4; i++) {
        out[1 + key.len + (size_t)i] = (char)(count >> (8 * i));
    }
    return tally_entry_bytes(key.len);
}
