/* offline.h -- the engine run over a trace in one thread, at full speed, into a data folder.
 *
 * The same engine, journal and records as a server's; the time is the trace's.  Heartbeats are
 * journaled in large records and stored whenever enough has changed; a killed replay leaves a
 * folder that recovers to what was journaled.
 *
 * Threads: one. */
#ifndef NOVABEAT_LIVE_OFFLINE_H
#define NOVABEAT_LIVE_OFFLINE_H

#include "live/store.h"

#define OFFLINE_BATCH_MAX 512

struct offline_beat {
    int64_t time_ms;
    struct heartbeat heartbeat;
};

struct offline;

/* Opens and recovers the folder. */
enum err offline_open(const struct store_options *options, int64_t store_every_ms,
                      struct offline **offline, char *why, size_t why_bytes) WARN_UNUSED;
/* The trace must not begin before this. */
int64_t offline_last_ms(const struct offline *offline);
/* What came of the heartbeats so far: of a batch that failed, some may be counted. */
struct offline_result {
    uint64_t counted, refused; /* refused: they hit a bound */
};

/* Counts up to OFFLINE_BATCH_MAX heartbeats; times never decrease.  Profiles are looked up for
 * viewers that come without groups.  Adds to *result. */
enum err offline_count(struct offline *offline, struct offline_beat *beats, size_t count,
                       struct offline_result *result, char *why, size_t why_bytes) WARN_UNUSED;
/* Stores everything and closes.  Also after a failure: what was counted is in the journal. */
enum err offline_close(struct offline *offline, char *why, size_t why_bytes) WARN_UNUSED;

#endif
