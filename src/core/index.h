/* index.h -- a hash index from keys to numbers: 4 bytes a slot, no pause when it grows.
 *
 * The index holds numbers (0, 1, 2, … of viewers or members); the keys lie with their owner, who
 * compares.  A slot is 26 bits of number + 1 and 6 bits of the hash as a tag, so that a wrong
 * candidate costs a look at its key only once in 64.  Linear probing, at most 3/4 full.
 *
 * Growing is spread: the new table is made at once (untouched pages cost nothing), and each insert
 * moves a few slots of the old one; until all are moved a look-up tries both.
 *
 * Cost: O(1) each; worst insert is INDEX_MOVE slots.  Threads: owned by one. */
#ifndef NOVABEAT_CORE_INDEX_H
#define NOVABEAT_CORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_NONE     UINT32_MAX
#define INDEX_TAG_BITS 6
#define INDEX_MOVE     8

struct index {
    uint32_t *slots;
    uint32_t mask; /* slots - 1; slots is a power of two; NULL slots: empty */
    uint32_t count;
    uint32_t *old; /* NULL when no move is under way */
    uint32_t old_mask;
    uint32_t old_next; /* first slot of old not yet moved */
};

/* The hash with which a number was inserted: needed to move it. */
typedef uint32_t index_hash_fn(const void *owner, uint32_t number);

void index_init(struct index *index);
void index_fini(struct index *index);

/* The number must not be in the index. */
void index_insert(struct index *index, uint32_t hash, uint32_t number, index_hash_fn *hash_of,
                  const void *owner);

/* Makes room for `count` numbers at once: before a load. */
void index_reserve(struct index *index, uint32_t count);

/* Candidates for a hash, one after the other, INDEX_NONE at the end:
 *     struct index_probe probe = index_probe(index, hash);
 *     while ((number = index_next(&probe)) != INDEX_NONE && !is_it(number)) {} */
struct index_probe {
    const uint32_t *slots;
    uint32_t at, mask, tag;
    const uint32_t *then; /* the old table, tried second */
    uint32_t then_at, then_mask;
};

static inline uint32_t index_slot_tag(uint32_t hash)
{
    return hash >> (32 - INDEX_TAG_BITS) << (32 - INDEX_TAG_BITS);
}

static inline struct index_probe index_probe(const struct index *index, uint32_t hash)
{
    return (struct index_probe){.slots = index->slots,
                                .at = hash & index->mask,
                                .mask = index->mask,
                                .tag = index_slot_tag(hash),
                                .then = index->old,
                                .then_at = hash & index->old_mask,
                                .then_mask = index->old_mask};
}

static inline uint32_t index_next(struct index_probe *probe)
{
    for (;;) {
        uint32_t slot = probe->slots == NULL ? 0 : probe->slots[probe->at];
        if (slot == 0) {
            if (probe->then == NULL) {
                return INDEX_NONE;
            }
            probe->slots = probe->then;
            probe->at = probe->then_at;
            probe->mask = probe->then_mask;
            probe->then = NULL;
            continue;
        }
        probe->at = (probe->at + 1) & probe->mask;
        if (index_slot_tag(slot) == probe->tag) {
            return (slot & (UINT32_MAX >> INDEX_TAG_BITS)) - 1;
        }
    }
}

static inline void index_prefetch(const struct index *index, uint32_t hash)
{
    if (index->slots != NULL) {
        __builtin_prefetch(&index->slots[hash & index->mask]);
    }
}

/* Asserts the invariants: every number below `count` is found under its hash, and only those. */
void index_check(const struct index *index, uint32_t count, index_hash_fn *hash_of,
                 const void *owner);

#endif
