/* rate.c -- token buckets in a table of fixed size. */
#include "api/rate.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"

#define SETS       16384 /* a power of two */
#define WAYS       4
#define LINE_BYTES 64

/* Time is counted in ms times per_second, so that a token takes a whole number of it to come. */
#define TOKEN 1000

struct bucket {
    uint64_t viewer;
    int64_t full_at; /* 0: free, which is as good as full */
};

static_assert(sizeof(struct bucket[WAYS]) == LINE_BYTES, "a look-up touches one cache line");

struct rate {
    int64_t per_second;
    void *memory;
    struct bucket (*sets)[WAYS]; /* in memory, at the start of a cache line */
};

struct rate *rate_new(uint32_t per_second)
{
    ASSERT(per_second >= 1 && per_second <= 1000);
    struct rate *rate = memory_zalloc(sizeof *rate);
    rate->per_second = per_second;
    rate->memory = memory_zalloc(SETS * sizeof rate->sets[0] + LINE_BYTES);
    size_t over = (uintptr_t)rate->memory % LINE_BYTES;
    rate->sets = (void *)((char *)rate->memory + (LINE_BYTES - over) % LINE_BYTES);
    return rate;
}

void rate_free(struct rate *rate)
{
    if (rate != NULL) {
        free(rate->memory);
        free(rate);
    }
}

/* The viewer's bucket, or the fullest of its set, emptied for it. */
static struct bucket *find(struct rate *rate, uint64_t viewer)
{
    struct bucket *set = rate->sets[viewer & (SETS - 1)];
    struct bucket *fullest = &set[0];
    for (int way = 0; way < WAYS; way++) {
        if (set[way].viewer == viewer) {
            return &set[way];
        }
        if (set[way].full_at < fullest->full_at) {
            fullest = &set[way];
        }
    }
    *fullest = (struct bucket){.viewer = viewer};
    return fullest;
}

bool rate_allow(struct rate *rate, uint64_t viewer, int64_t mono_ms, uint32_t *retry_after_s)
{
    struct bucket *bucket = find(rate, viewer);
    int64_t now = mono_ms * rate->per_second;
    int64_t full_at = (bucket->full_at > now ? bucket->full_at : now) + TOKEN;
    *retry_after_s = 1; /* a token takes a second at most */
    if (full_at - now > TOKEN * rate->per_second) {
        return false;
    }
    bucket->full_at = full_at;
    return true;
}
