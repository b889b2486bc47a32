/* rate.c -- token buckets in a table of fixed size. */
#include "api/rate.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"

#define SETS 16384 /* a power of two */
#define WAYS 4
#define COST 1000 /* of one heartbeat: one token, in thousandths, so that a ms refills whole ones  \
                   */

struct bucket {
    uint64_t viewer; /* 0: free */
    int64_t at_ms;   /* when thousandths held */
    uint32_t thousandths;
    uint32_t unused;
};

struct rate {
    uint32_t per_second;
    struct bucket buckets[SETS][WAYS];
};

struct rate *rate_new(uint32_t per_second)
{
    ASSERT(per_second >= 1 && per_second <= 1000);
    struct rate *rate = memory_zalloc(sizeof *rate);
    rate->per_second = per_second;
    return rate;
}

void rate_free(struct rate *rate)
{
    free(rate);
}

/* The viewer's bucket, or the one whose place it takes: a free one, else the oldest. */
static struct bucket *find(struct rate *rate, uint64_t viewer)
{
    struct bucket *set = rate->buckets[viewer & (SETS - 1)];
    struct bucket *oldest = &set[0];
    for (int way = 0; way < WAYS; way++) {
        if (set[way].viewer == viewer) {
            return &set[way];
        }
        if (set[way].at_ms < oldest->at_ms) {
            oldest = &set[way];
        }
    }
    *oldest = (struct bucket){.viewer = 0};
    return oldest;
}

bool rate_allow(struct rate *rate, uint64_t viewer, int64_t mono_ms, uint32_t *retry_after_s)
{
    viewer += viewer == 0; /* 0 is a free place */
    struct bucket *bucket = find(rate, viewer);
    const int64_t full = (int64_t)rate->per_second * COST;
    int64_t left = full;
    if (bucket->viewer == viewer) {
        int64_t gone_ms = mono_ms - bucket->at_ms;
        left = gone_ms >= 1000 ? full : bucket->thousandths + gone_ms * rate->per_second;
        left = left > full ? full : left;
    }
    bucket->viewer = viewer;
    bucket->at_ms = mono_ms;
    bool allowed = left >= COST;
    bucket->thousandths = (uint32_t)(allowed ? left - COST : left);
    *retry_after_s = 1; /* a token takes a second at most */
    return allowed;
}
