/* token_cache.h -- tokens that were verified, by a keyed hash of their text.
 *
 * Model: 128 bits of SipHash-2-4 under a key that is random per process stand for the token: nobody
 * who does not know the key can make two tokens with the same bits.  An entry is judged by its end
 * at each look-up.  forget() empties all of it, and what was verified before it cannot enter after
 * it: put() says under which generation the token was verified.
 *
 * Memory:  at most entries_max entries, counted over all shards; tables grow as they fill.  An
 *          entry is 32 bytes in its table (at most 3/4 full) and one allocation of 6 bytes and its
 *          ids.  When the bound is reached, an entry of the same shard makes place: an expired one
 * or one that was not asked for since the hand came by (second chance). Threads: any; a lock per
 * shard, held for a look-up. */
#ifndef NOVABEAT_IDENTITY_TOKEN_CACHE_H
#define NOVABEAT_IDENTITY_TOKEN_CACHE_H

#include "identity/token.h"

struct token_cache;

struct token_cache_key {
    uint64_t shard_bits, slot_bits;
};

/* entries_max 0: nothing is kept. */
struct token_cache *token_cache_new(uint32_t entries_max);
void token_cache_free(struct token_cache *cache);

void token_cache_key(const struct token_cache *cache, struct slice token,
                     struct token_cache_key *key);

/* True: *claims is filled (of its arrays only the bytes used). */
bool token_cache_get(struct token_cache *cache, const struct token_cache_key *key, int64_t wall_ms,
                     struct token_claims *claims);

uint32_t token_cache_generation(const struct token_cache *cache);
/* Keeps the claims until expires_ms, unless forget() came since `generation` was read. */
void token_cache_put(struct token_cache *cache, const struct token_cache_key *key,
                     uint32_t generation, int64_t wall_ms, int64_t expires_ms,
                     const struct token_claims *claims);
/* Once it returns, nothing of before is found or in memory. */
void token_cache_forget(struct token_cache *cache);
/* The same for the tokens of one viewer, whatever event they are for; others stay known.  Walks all
 * entries: some 0.1 us each. */
void token_cache_forget_viewer(struct token_cache *cache, struct slice viewer);

/* Look-ups that found something, ever; entries kept now. */
void token_cache_counts(struct token_cache *cache, uint64_t *hits, uint64_t *entries);
/* Walks it all and asserts what is said above.  For tests. */
void token_cache_check(struct token_cache *cache);

#endif
