/* hash.h -- SipHash-1-3: the keyed hash of everything that comes from outside.
 *
 * Ids are chosen by strangers; an unkeyed hash would let them fill one bucket.  Inline, because a
 * heartbeat needs three of them; libsodium's crypto_shorthash (2-4) costs three times as much here.
 * No answer depends on the key: it only spreads.  Pure; any thread.
 *
 * Source: Aumasson, Bernstein: SipHash: a fast short-input PRF (2012); 1-3 rounds as in Rust's and
 * Linux' hash tables. */
#ifndef NOVABEAT_BASE_HASH_H
#define NOVABEAT_BASE_HASH_H

#include "base/slice.h"

#include <stdint.h>

struct hash_key {
    uint64_t k0, k1;
};

#define HASH_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define HASH_ROUND(v0, v1, v2, v3)                                                                 \
    do {                                                                                           \
        v0 += v1, v1 = HASH_ROTL(v1, 13), v1 ^= v0, v0 = HASH_ROTL(v0, 32);                        \
        v2 += v3, v3 = HASH_ROTL(v3, 16), v3 ^= v2;                                                \
        v0 += v3, v3 = HASH_ROTL(v3, 21), v3 ^= v0;                                                \
        v2 += v1, v1 = HASH_ROTL(v1, 17), v1 ^= v2, v2 = HASH_ROTL(v2, 32);                        \
    } while (0)

/* Rounds are a parameter so that the test can check against the published 2-4 vectors. */
static inline uint64_t hash_siphash(const struct hash_key *key, struct slice bytes, int c_rounds,
                                    int d_rounds)
{
    uint64_t v0 = key->k0 ^ 0x736f6d6570736575u, v1 = key->k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = key->k0 ^ 0x6c7967656e657261u, v3 = key->k1 ^ 0x7465646279746573u;
    const char *at = bytes.ptr;
    size_t left = bytes.len;
    for (; left >= 8; at += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        v3 ^= word;
        for (int i = 0; i < c_rounds; i++) {
            HASH_ROUND(v0, v1, v2, v3);
        }
        v0 ^= word;
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    v3 ^= last;
    for (int i = 0; i < c_rounds; i++) {
        HASH_ROUND(v0, v1, v2, v3);
    }
    v0 ^= last;
    v2 ^= 0xff;
    for (int i = 0; i < d_rounds; i++) {
        HASH_ROUND(v0, v1, v2, v3);
    }
    return v0 ^ v1 ^ v2 ^ v3;
}

static inline uint64_t hash_bytes(const struct hash_key *key, struct slice bytes)
{
    return hash_siphash(key, bytes, 1, 3);
}

/* A 32 bit number spread over 32 bits (the finalizer of MurmurHash3, Appleby 2011): for numbers
 * that we gave out ourselves, which no stranger chooses. */
static inline uint32_t hash_number(uint32_t number)
{
    number ^= number >> 16;
    number *= 0x85ebca6bu;
    number ^= number >> 13;
    number *= 0xc2b2ae35u;
    return number ^ number >> 16;
}

#endif
