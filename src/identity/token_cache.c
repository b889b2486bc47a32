/* token_cache.c -- see token_cache.h.
 *
 * A shard is an open-addressing table with linear probing; taking out shifts back, so there are no
 * gravestones.  Invariant: between an entry's home slot and its slot no slot is free. */
#include "identity/token_cache.h"

#include <pthread.h>
#include <sodium.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"

#define SHARDS      64
#define SLOTS_FIRST 16

static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(struct token_cache_key), "128 bits");
static_assert(VIEWER_ID_BYTES_MAX <= UINT8_MAX && EVENT_ID_BYTES_MAX <= UINT8_MAX &&
                  GROUPS_PACKED_BYTES_MAX <= UINT16_MAX,
              "an entry's lengths fit");

struct entry {
    uint16_t groups_len;
    uint8_t viewer_len, event_len;
    bool has_groups;
    bool asked;   /* since the hand came by */
    char bytes[]; /* viewer, event, groups */
};

struct slot {
    struct token_cache_key key;
    int64_t expires_ms;
    struct entry *entry; /* NULL: the slot is free */
};

struct shard {
    alignas(64) pthread_mutex_t lock; /* for all below */
    uint32_t generation;              /* of what is in it */
    uint32_t slots_count;             /* 0 or a power of two */
    uint32_t used;
    uint32_t hand; /* the slot where the search for one to evict goes on */
    struct slot *slots;
    uint64_t hits;
};

struct token_cache {
    unsigned char hash_key[crypto_shorthash_siphashx24_KEYBYTES];
    uint32_t entries_max;
    _Atomic uint32_t entries;    /* relaxed: a count; it never exceeds entries_max */
    _Atomic uint32_t generation; /* release when raised, acquire when compared */
    struct shard shards[SHARDS];
};

struct token_cache *token_cache_new(uint32_t entries_max)
{
    struct token_cache *cache = aligned_alloc(alignof(struct token_cache), sizeof *cache);
    if (cache == NULL) {
        return memory_alloc(SIZE_MAX); /* says so and ends */
    }
    memset(cache, 0, sizeof *cache);
    randombytes_buf(cache->hash_key, sizeof cache->hash_key);
    cache->entries_max = entries_max;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&cache->shards[i].lock, NULL);
    }
    return cache;
}

void token_cache_key(const struct token_cache *cache, struct slice token,
                     struct token_cache_key *key)
{
    unsigned char out[crypto_shorthash_siphashx24_BYTES];
    crypto_shorthash_siphashx24(out, (const unsigned char *)token.ptr, token.len, cache->hash_key);
    memcpy(key, out, sizeof out);
}

static struct shard *shard_of(struct token_cache *cache, const struct token_cache_key *key)
{
    return &cache->shards[key->shard_bits % SHARDS];
}

static uint32_t home(const struct shard *shard, const struct token_cache_key *key)
{
    return (uint32_t)key->slot_bits & (shard->slots_count - 1);
}

static uint32_t after(const struct shard *shard, uint32_t index)
{
    return (index + 1) & (shard->slots_count - 1);
}

/* The slot with that key, or the free one where it would go.  The table has a free slot. */
static struct slot *shard_seek(const struct shard *shard, const struct token_cache_key *key)
{
    uint32_t index = home(shard, key);
    for (;;) {
        struct slot *slot = &shard->slots[index];
        if (slot->entry == NULL ||
            (slot->key.slot_bits == key->slot_bits && slot->key.shard_bits == key->shard_bits)) {
            return slot;
        }
        index = after(shard, index);
    }
}

static void entry_free(struct entry *entry)
{
    /* An erased viewer's id must not stay in freed memory. */
    sodium_memzero(entry, sizeof *entry + entry->viewer_len + entry->event_len + entry->groups_len);
    free(entry);
}

/* Frees the slot's entry and closes the gap.  The cache's count is the caller's. */
static void shard_remove(struct shard *shard, struct slot *slot)
{
    entry_free(slot->entry);
    shard->used--;
    uint32_t gap = (uint32_t)(slot - shard->slots);
    for (uint32_t next = after(shard, gap); shard->slots[next].entry != NULL;
         next = after(shard, next)) {
        uint32_t from = home(shard, &shard->slots[next].key);
        uint32_t mask = shard->slots_count - 1;
        if (((next - from) & mask) >= ((next - gap) & mask)) {
            shard->slots[gap] = shard->slots[next];
            gap = next;
        }
    }
    shard->slots[gap] = (struct slot){.entry = NULL};
}

static void shard_clear(struct token_cache *cache, struct shard *shard)
{
    for (uint32_t i = 0; i < shard->slots_count; i++) {
        if (shard->slots[i].entry != NULL) {
            entry_free(shard->slots[i].entry);
        }
    }
    atomic_fetch_sub_explicit(&cache->entries, shard->used, memory_order_relaxed);
    free(shard->slots);
    shard->slots = NULL;
    shard->slots_count = shard->used = shard->hand = 0;
}

/* Empties the shard if forget() came since it was last used. */
static void shard_renew(struct token_cache *cache, struct shard *shard)
{
    uint32_t generation = token_cache_generation(cache);
    if (shard->generation != generation) {
        shard_clear(cache, shard);
        shard->generation = generation;
    }
}

void token_cache_free(struct token_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        shard_clear(cache, &cache->shards[i]);
        pthread_mutex_destroy(&cache->shards[i].lock);
    }
    free(cache);
}

/* ---- look up ---- */

static void entry_read(const struct entry *entry, struct token_claims *claims)
{
    const char *at = entry->bytes;
    claims->viewer_len = entry->viewer_len;
    claims->event_len = entry->event_len;
    claims->groups_len = entry->groups_len;
    claims->has_groups = entry->has_groups;
    memcpy(claims->viewer, at, entry->viewer_len);
    memcpy(claims->event, at + entry->viewer_len, entry->event_len);
    memcpy(claims->groups, at + entry->viewer_len + entry->event_len, entry->groups_len);
}

bool token_cache_get(struct token_cache *cache, const struct token_cache_key *key, int64_t wall_ms,
                     struct token_claims *claims)
{
    struct shard *shard = shard_of(cache, key);
    bool found = false;
    pthread_mutex_lock(&shard->lock);
    shard_renew(cache, shard);
    struct slot *slot = shard->slots_count == 0 ? NULL : shard_seek(shard, key);
    if (slot != NULL && slot->entry != NULL) {
        if (wall_ms < slot->expires_ms) {
            entry_read(slot->entry, claims);
            if (!slot->entry->asked) { /* else the line stays clean */
                slot->entry->asked = true;
            }
            shard->hits++;
            found = true;
        } else {
            shard_remove(shard, slot);
            atomic_fetch_sub_explicit(&cache->entries, 1, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return found;
}

/* ---- put in ---- */

static bool reserve(struct token_cache *cache)
{
    uint32_t entries = atomic_load_explicit(&cache->entries, memory_order_relaxed);
    while (entries < cache->entries_max) {
        if (atomic_compare_exchange_weak_explicit(&cache->entries, &entries, entries + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Second chance.  Ends: after one round no entry is `asked`. */
static bool shard_evict(struct shard *shard, int64_t wall_ms)
{
    if (shard->used == 0) {
        return false;
    }
    for (;;) {
        struct slot *slot = &shard->slots[shard->hand & (shard->slots_count - 1)];
        shard->hand++;
        if (slot->entry == NULL) {
            continue;
        }
        if (!slot->entry->asked || wall_ms >= slot->expires_ms) {
            shard_remove(shard, slot);
            return true;
        }
        slot->entry->asked = false;
    }
}

static void shard_grow(struct shard *shard)
{
    struct slot *old = shard->slots;
    uint32_t old_count = shard->slots_count;
    if ((uint64_t)(shard->used + 1) * 4 <= (uint64_t)old_count * 3) {
        return;
    }
    shard->slots_count = old_count == 0 ? SLOTS_FIRST : old_count * 2;
    shard->slots = memory_zalloc((size_t)shard->slots_count * sizeof *shard->slots);
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i].entry != NULL) {
            *shard_seek(shard, &old[i].key) = old[i];
        }
    }
    free(old);
}

static struct entry *entry_new(const struct token_claims *claims)
{
    struct entry *entry =
        memory_alloc(sizeof *entry + claims->viewer_len + claims->event_len + claims->groups_len);
    char *at = entry->bytes;
    entry->viewer_len = (uint8_t)claims->viewer_len;
    entry->event_len = (uint8_t)claims->event_len;
    entry->groups_len = (uint16_t)claims->groups_len;
    entry->has_groups = claims->has_groups;
    entry->asked = false;
    memcpy(at, claims->viewer, claims->viewer_len);
    memcpy(at + claims->viewer_len, claims->event, claims->event_len);
    memcpy(at + claims->viewer_len + claims->event_len, claims->groups, claims->groups_len);
    return entry;
}

void token_cache_put(struct token_cache *cache, const struct token_cache_key *key,
                     uint32_t generation, int64_t wall_ms, int64_t expires_ms,
                     const struct token_claims *claims)
{
    struct shard *shard = shard_of(cache, key);
    pthread_mutex_lock(&shard->lock);
    shard_renew(cache, shard);
    if (shard->generation != generation) {
        goto out; /* verified with keys that may be gone */
    }
    struct slot *slot = shard->slots_count == 0 ? NULL : shard_seek(shard, key);
    if (slot != NULL && slot->entry != NULL) {
        goto out; /* another thread verified it at the same time */
    }
    if (!reserve(cache) && !shard_evict(shard, wall_ms)) {
        goto out; /* full, and nothing here to make place: only a tiny cache comes here */
    }
    shard_grow(shard);
    *shard_seek(shard, key) = (struct slot){*key, expires_ms, entry_new(claims)};
    shard->used++;
out:
    pthread_mutex_unlock(&shard->lock);
}

/* ---- all of it ---- */

uint32_t token_cache_generation(const struct token_cache *cache)
{
    return atomic_load_explicit(&cache->generation, memory_order_acquire);
}

void token_cache_forget(struct token_cache *cache)
{
    atomic_fetch_add_explicit(&cache->generation, 1, memory_order_acq_rel);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        shard_renew(cache, shard);
        pthread_mutex_unlock(&shard->lock);
    }
}

void token_cache_forget_viewer(struct token_cache *cache, struct slice viewer)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        uint32_t before = shard->used;
        for (uint32_t at = 0; at < shard->slots_count;) {
            const struct entry *entry = shard->slots[at].entry;
            if (entry != NULL && slice_equal(slice_of(entry->bytes, entry->viewer_len), viewer)) {
                /* Another one may move here from further on: look again.  What moves over the
                 * table's end has been looked at. */
                shard_remove(shard, &shard->slots[at]);
            } else {
                at++;
            }
        }
        atomic_fetch_sub_explicit(&cache->entries, before - shard->used, memory_order_relaxed);
        pthread_mutex_unlock(&shard->lock);
    }
}

void token_cache_counts(struct token_cache *cache, uint64_t *hits, uint64_t *entries)
{
    *hits = *entries = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        *hits += shard->hits;
        *entries += shard->used;
        pthread_mutex_unlock(&shard->lock);
    }
}

void token_cache_check(struct token_cache *cache)
{
    uint64_t entries = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        uint32_t used = 0;
        for (uint32_t at = 0; at < shard->slots_count; at++) {
            struct slot *slot = &shard->slots[at];
            if (slot->entry != NULL) {
                used++;
                ASSERT(shard_of(cache, &slot->key) == shard);
                ASSERT(shard_seek(shard, &slot->key) == slot);
            }
        }
        ASSERT(used == shard->used);
        ASSERT((uint64_t)used * 4 <= (uint64_t)shard->slots_count * 3);
        entries += used;
        pthread_mutex_unlock(&shard->lock);
    }
    ASSERT(entries <= cache->entries_max);
}
