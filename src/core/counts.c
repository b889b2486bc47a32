/* counts.c -- a small hash table from numbers to counts. */
#include "core/counts.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"

#include <stdlib.h>

#define COUNTS_FIRST 8

void counts_init(struct counts *counts)
{
    *counts = (struct counts){0};
}

void counts_fini(struct counts *counts)
{
    free(counts->entries);
    counts_init(counts);
}

static struct counts_entry *find(const struct counts *counts, uint32_t key)
{
    uint32_t at = hash_number(key) & (counts->max - 1);
    while (counts->entries[at].key != 0 && counts->entries[at].key != key + 1) {
        at = (at + 1) & (counts->max - 1);
    }
    return &counts->entries[at];
}

static void grow(struct counts *counts)
{
    struct counts old = *counts;
    counts->max = old.max == 0 ? COUNTS_FIRST : old.max * 2;
    counts->entries = memory_zalloc(counts->max * sizeof *counts->entries);
    struct counts_entry *entry;
    for (uint32_t i = 0; (entry = counts_each(&old, &i)) != NULL;) {
        *find(counts, entry->key - 1) = *entry;
    }
    free(old.entries);
}

struct counts_entry *counts_at(struct counts *counts, uint32_t key)
{
    ASSERT(key != UINT32_MAX);
    if (counts->max > 0) {
        struct counts_entry *entry = find(counts, key);
        if (entry->key != 0) {
            return entry;
        }
    }
    if (counts->used >= counts->max / 4 * 3) {
        grow(counts);
    }
    struct counts_entry *entry = find(counts, key);
    *entry = (struct counts_entry){.key = key + 1};
    counts->used++;
    return entry;
}

struct counts_entry *counts_each(const struct counts *counts, uint32_t *position)
{
    while (*position < counts->max) {
        struct counts_entry *entry = &counts->entries[(*position)++];
        if (entry->key != 0) {
            return entry;
        }
    }
    return NULL;
}
