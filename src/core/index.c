/* index.c -- a hash index that grows without a pause. */
#include "core/index.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST 16

static_assert(VIEWERS_PER_EVENT_MAX < (UINT32_MAX >> INDEX_TAG_BITS), "a number + 1 fits a slot");

void index_init(struct index *index)
{
    memset(index, 0, sizeof *index);
}

void index_fini(struct index *index)
{
    free(index->slots);
    free(index->old);
    index_init(index);
}

static void place(uint32_t *slots, uint32_t mask, uint32_t hash, uint32_t number)
{
    uint32_t at = hash & mask;
    while (slots[at] != 0) {
        at = (at + 1) & mask;
    }
    slots[at] = index_slot_tag(hash) | (number + 1);
}

/* Moves up to `limit` slots of the old table; frees it after the last.  What was moved stays
 * visible in the old table too: a look-up finds it in the new one first. */
static void move(struct index *index, uint32_t limit, index_hash_fn *hash_of, const void *owner)
{
    while (index->old != NULL && limit-- > 0) {
        uint32_t slot = index->old[index->old_next];
        if (slot != 0) {
            uint32_t number = (slot & (UINT32_MAX >> INDEX_TAG_BITS)) - 1;
            place(index->slots, index->mask, hash_of(owner, number), number);
        }
        if (index->old_next++ == index->old_mask) {
            free(index->old);
            index->old = NULL;
            index->old_mask = 0;
            index->old_next = 0;
        }
    }
}

static void grow(struct index *index, index_hash_fn *hash_of, const void *owner)
{
    move(index, UINT32_MAX, hash_of, owner); /* long done: 8 slots an insert outrun the filling */
    uint32_t slots = index->slots == NULL ? SLOTS_FIRST : (index->mask + 1) * 2;
    ASSERT(slots != 0);
    index->old = index->slots;
    index->old_mask = index->mask;
    index->old_next = 0;
    index->slots = memory_zalloc((size_t)slots * sizeof *index->slots);
    index->mask = slots - 1;
}

void index_insert(struct index *index, uint32_t hash, uint32_t number, index_hash_fn *hash_of,
                  const void *owner)
{
    ASSERT(number < VIEWERS_PER_EVENT_MAX);
    if (index->slots == NULL || index->count >= (index->mask + 1) / 4 * 3) {
        grow(index, hash_of, owner);
    }
    place(index->slots, index->mask, hash, number);
    index->count++;
    move(index, INDEX_MOVE, hash_of, owner);
}

void index_reserve(struct index *index, uint32_t count)
{
    ASSERT(index->count == 0 && index->slots == NULL);
    uint64_t slots = SLOTS_FIRST;
    while (count >= slots / 4 * 3) {
        slots *= 2;
    }
    ASSERT(slots <= UINT32_MAX);
    index->slots = memory_zalloc((size_t)slots * sizeof *index->slots);
    index->mask = (uint32_t)slots - 1;
}

void index_check(const struct index *index, uint32_t count, index_hash_fn *hash_of,
                 const void *owner)
{
    ASSERT(index->count == count);
    for (uint32_t number = 0; number < count; number++) {
        struct index_probe probe = index_probe(index, hash_of(owner, number));
        uint32_t found;
        while ((found = index_next(&probe)) != number) {
            ASSERT(found != INDEX_NONE);
        }
    }
    uint32_t used = 0;
    for (uint32_t at = 0; index->slots != NULL && at <= index->mask; at++) {
        used += index->slots[at] != 0;
    }
    for (uint32_t at = index->old_next; index->old != NULL && at <= index->old_mask; at++) {
        used += index->old[at] != 0;
    }
    ASSERT(used == count);
}
