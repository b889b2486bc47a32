/* group_sets.c -- groups and sets of groups, each kept once. */
#include "core/group_sets.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/groups.h"

#include <stdlib.h>

static uint32_t set_hash(const void *owner, uint32_t number)
{
    return ((const struct group_sets *)owner)->sets[number].hash;
}

static uint32_t name_hash(const void *owner, uint32_t number)
{
    return ((const struct group_sets *)owner)->names[number].hash;
}

void group_sets_init(struct group_sets *sets, const struct hash_key *hash_key)
{
    *sets = (struct group_sets){.hash_key = hash_key};
    index_init(&sets->sets_index);
    index_init(&sets->names_index);
    uint32_t empty = group_sets_intern(sets, SLICE_EMPTY);
    ASSERT(empty == 0);
}

void group_sets_fini(struct group_sets *sets)
{
    for (uint32_t i = 0; i < sets->sets_count; i++) {
        free(sets->sets[i].packed);
        free(sets->sets[i].groups);
    }
    for (uint32_t i = 0; i < sets->names_count; i++) {
        free(sets->names[i].id);
    }
    free(sets->sets);
    free(sets->names);
    index_fini(&sets->sets_index);
    index_fini(&sets->names_index);
}

static char *copy(struct slice text)
{
    char *bytes = memory_alloc(text.len + 1); /* + 1: never a zero-sized block */
    if (text.len > 0) {
        memcpy(bytes, text.ptr, text.len);
    }
    return bytes;
}

static uint32_t name_find(const struct group_sets *sets, struct slice id, uint32_t hash)
{
    struct index_probe probe = index_probe(&sets->names_index, hash);
    uint32_t number;
    while ((number = index_next(&probe)) != INDEX_NONE) {
        if (slice_equal(group_sets_name(sets, number), id)) {
            break;
        }
    }
    return number;
}

uint32_t group_sets_group(const struct group_sets *sets, struct slice id)
{
    return name_find(sets, id, (uint32_t)hash_bytes(sets->hash_key, id));
}

static uint32_t name_intern(struct group_sets *sets, struct slice id)
{
    uint32_t hash = (uint32_t)hash_bytes(sets->hash_key, id);
    uint32_t number = name_find(sets, id, hash);
    if (number != INDEX_NONE) {
        return number;
    }
    number = sets->names_count;
    sets->names = memory_grow(sets->names, &sets->names_max, number + 1, sizeof *sets->names);
    sets->names[number] = (struct group_name){copy(id), (uint32_t)id.len, hash};
    sets->names_count++;
    index_insert(&sets->names_index, hash, number, name_hash, sets);
    return number;
}

static uint32_t find(const struct group_sets *sets, struct slice packed, uint32_t hash)
{
    struct index_probe probe = index_probe(&sets->sets_index, hash);
    uint32_t number;
    while ((number = index_next(&probe)) != INDEX_NONE) {
        if (slice_equal(group_sets_packed(sets, number), packed)) {
            return number;
        }
    }
    return INDEX_NONE;
}

uint32_t group_sets_find(const struct group_sets *sets, struct slice packed)
{
    return packed.len == 0 ? 0 : find(sets, packed, (uint32_t)hash_bytes(sets->hash_key, packed));
}

uint32_t group_sets_intern(struct group_sets *sets, struct slice packed)
{
    uint32_t hash = (uint32_t)hash_bytes(sets->hash_key, packed);
    uint32_t number = find(sets, packed, hash);
    if (number != INDEX_NONE) {
        return number;
    }
    number = sets->sets_count;
    ASSERT(number < GROUP_SETS_MAX);
    sets->sets = memory_grow(sets->sets, &sets->sets_max, number + 1, sizeof *sets->sets);
    struct group_set *set = &sets->sets[number];
    *set = (struct group_set){copy(packed), (uint32_t)packed.len, hash, NULL, 0};
    uint32_t groups_max = 0;
    for (struct slice rest = packed, id; groups_next(&rest, &id);) {
        uint32_t at = set->groups_count++;
        set->groups = memory_grow(set->groups, &groups_max, at + 1, sizeof *set->groups);
        set->groups[at] = name_intern(sets, id);
    }
    sets->sets_count++;
    index_insert(&sets->sets_index, hash, number, set_hash, sets);
    return number;
}
