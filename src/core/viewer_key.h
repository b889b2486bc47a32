/* viewer_key.h -- a viewer's id as it is kept: a UUID in 16 bytes, anything else as it is.
 *
 * Platforms name viewers by UUIDs; as text one takes 36 bytes, a third of all that a viewer costs.
 * A canonical lower-case UUID (RFC 9562, 4) is kept as its 16 bytes; every other id, also a UUID in
 * upper case, is kept as it came: the mapping is one to one, ids stay exact.
 *
 * Stored form: one byte, the length of the id (1 to 128) or VIEWER_KEY_UUID, then the bytes.
 * Pure; any thread. */
#ifndef NOVABEAT_CORE_VIEWER_KEY_H
#define NOVABEAT_CORE_VIEWER_KEY_H

#include "base/limits.h"
#include "base/slice.h"

#include <stdint.h>

#define VIEWER_KEY_UUID 255

struct viewer_key {
    uint8_t tag;        /* length of the id, or VIEWER_KEY_UUID */
    char uuid[16];      /* with VIEWER_KEY_UUID */
    struct slice bytes; /* what to hash, compare and store: the id, or `uuid` of this very struct:
                           so a key is made in place and not copied */
};

void viewer_key_make(struct viewer_key *key, struct slice id);

/* Bytes of the stored form. */
static inline size_t viewer_key_stored_bytes(const struct viewer_key *key)
{
    return 1 + key->bytes.len;
}
void viewer_key_store(const struct viewer_key *key, char *out);

static inline bool viewer_key_is(const struct viewer_key *key, const char *stored)
{
    return (uint8_t)stored[0] == key->tag &&
           memcmp(stored + 1, key->bytes.ptr, key->bytes.len) == 0;
}

/* The id of a stored form, as text: into `text` for a UUID, else the stored bytes themselves. */
struct slice viewer_key_text(const char *stored, char text[36]);

#endif
