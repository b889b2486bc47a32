/* counts.h -- how many per key: alive now, and in the frame that is being counted.
 *
 * A small hash table from a number (of a group, or a country) to two counts.  Keys stay once seen;
 * their number is bounded by the groups of an event and by the countries there are.
 * Cost: O(1).  Threads: the owner of the audience.  Source: DESIGN, semantics 4; statistics/live.
 */
#ifndef NOVABEAT_CORE_COUNTS_H
#define NOVABEAT_CORE_COUNTS_H

#include <stdint.h>

struct counts_entry {
    uint32_t key; /* key + 1; 0: free */
    uint32_t live;
    uint32_t frame;
};

struct counts {
    struct counts_entry *entries;
    uint32_t max; /* power of two, or 0 */
    uint32_t used;
};

void counts_init(struct counts *counts);
void counts_fini(struct counts *counts);

/* The entry of a key, made when missing; good until the next call. */
struct counts_entry *counts_at(struct counts *counts, uint32_t key);

/* Walks the entries in no order: for (i = 0; (entry = counts_each(counts, &i)) != NULL;) */
struct counts_entry *counts_each(const struct counts *counts, uint32_t *position);

#endif
