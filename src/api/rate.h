/* rate.h -- at most so many heartbeats a second of one viewer.
 *
 * A token bucket per viewer, `per_second` deep and refilled by as many a second, in a table of
 * fixed size: 65,536 buckets of 16 bytes in sets of four.  A viewer whose set is full takes the
 * place of the one with the fullest bucket; mostly that is a full one, and then nothing is lost.
 * Nobody is ever refused because of another: the 64-bit keyed hashes are compared in full, and
 * who finds no bucket begins with a full one.  So there is no memory per viewer.
 *
 * Not exact: one table per worker, so a viewer on several connections may have the rate on each;
 * and where four others of the same set have been busier within the last second, a viewer who was
 * refused begins anew.
 * Source: the bucket is kept as the time when it will be full (GCRA: ITU-T I.371, annex A).
 * Threads: one per table. */
#ifndef NOVABEAT_API_RATE_H
#define NOVABEAT_API_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate;

struct rate *rate_new(uint32_t per_second); /* 1 to 1000 */
void rate_free(struct rate *rate);          /* NULL is fine */

/* One more heartbeat of the viewer that hashes (keyed) to `viewer`?  False: not now, but after
 * *retry_after_s seconds.  mono_ms: the monotonic clock. */
bool rate_allow(struct rate *rate, uint64_t viewer, int64_t mono_ms, uint32_t *retry_after_s);

#endif
