/* groups.h -- a viewer's groups as one packed list.
 *
 * Packed list: for each group one byte of length (1 to 64) and the id's bytes; ids in bytewise
 * order, each once, at most GROUPS_PER_VIEWER_MAX.  The empty list is no bytes.  This form travels
 * in heartbeats, profiles, the journal and changes.  Pure; any thread. */
#ifndef NOVABEAT_CORE_GROUPS_H
#define NOVABEAT_CORE_GROUPS_H

#include "base/limits.h"
#include "base/slice.h"

#include <stdint.h>

enum groups_outcome {
    GROUPS_OK,
    GROUPS_TOO_MANY,   /* more than GROUPS_PER_VIEWER_MAX different ones */
    GROUPS_INVALID_ID, /* an id that id_group_valid refuses */
};

/* Sorts `ids` in place, drops repeats, and packs them into out; *len gets the bytes used. */
enum groups_outcome groups_pack(struct slice *ids, size_t count, char out[GROUPS_PACKED_BYTES_MAX],
                                size_t *len);

/* True when the bytes are a packed list as defined above: for bytes read from disk. */
bool groups_valid(struct slice packed);

/* Takes the next group off the front: false at the end.
 *     for (struct slice rest = packed, id; groups_next(&rest, &id);) { … } */
bool groups_next(struct slice *rest, struct slice *id);

/* A tally: how many per key, as packed bytes: for each key one byte of length, the key (a group id
 * or a country's two letters) and the count as 32 bit little-endian. */
bool tally_next(struct slice *rest, struct slice *key, uint32_t *count);

/* Bytes that one key of this length takes; tally_put writes them and returns their number. */
size_t tally_entry_bytes(size_t key_len);
size_t tally_put(char *out, struct slice key, uint32_t count);

#endif
