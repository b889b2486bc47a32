/* group_sets.h -- the groups and the sets of groups that an event's viewers have, each kept once.
 *
 * A viewer's groups are a packed list (groups.h).  Thousands of viewers share few different ones,
 * so a viewer keeps the two-byte number of its set; set 0 is the empty one.  Numbers are given in
 * the order of first use and never change while the event is stored. Bound: GROUP_SETS_MAX sets an
 * event (65,535: a number is two bytes). Threads: the owner of the event. */
#ifndef NOVABEAT_CORE_GROUP_SETS_H
#define NOVABEAT_CORE_GROUP_SETS_H

#include "base/hash.h"
#include "core/index.h"

#define GROUP_SETS_MAX 65535u

struct group_set {
    char *packed;
    uint32_t packed_len;
    uint32_t hash;
    uint32_t *groups; /* numbers of its groups */
    uint32_t groups_count;
};

struct group_name {
    char *id;
    uint32_t id_len;
    uint32_t hash;
};

struct group_sets {
    struct group_set *sets;
    uint32_t sets_count, sets_max;
    struct index sets_index;
    struct group_name *names;
    uint32_t names_count, names_max;
    struct index names_index;
    const struct hash_key *hash_key;
};

void group_sets_init(struct group_sets *sets, const struct hash_key *hash_key);
void group_sets_fini(struct group_sets *sets);

/* The number of a set, or INDEX_NONE when it has none yet. */
uint32_t group_sets_find(const struct group_sets *sets, struct slice packed);
/* The same, giving it one; there must be room (sets_count < GROUP_SETS_MAX) if it has none. */
uint32_t group_sets_intern(struct group_sets *sets, struct slice packed);

/* The number of a group, or INDEX_NONE when no set has it. */
uint32_t group_sets_group(const struct group_sets *sets, struct slice id);

static inline struct slice group_sets_packed(const struct group_sets *sets, uint32_t set_no)
{
    return slice_of(sets->sets[set_no].packed, sets->sets[set_no].packed_len);
}

static inline struct slice group_sets_name(const struct group_sets *sets, uint32_t group_no)
{
    return slice_of(sets->names[group_no].id, sets->names[group_no].id_len);
}

#endif
