/* erasures.h -- viewers and events that are being forgotten; private to live.
 *
 * From the question to the answer: the records thread deletes the viewer's profile, behind all that
 * was asked to be written before; the event is brought to memory; the erasure is journaled and
 * applied; a full pass that began after it is stored; the journal's segments from before are
 * removed; and so is what the record store keeps of old pages.  Until the answer everything that
 * concerns the viewer is held: heartbeats and puts are refused with LIVE_ERASING, look-ups that
 * come back are dropped.  So nothing can bring back what was known of it, and no file holds the id
 * when the answer is given.  (Of a purge the journal holds none; the record store's rows, which
 * nobody finds any more, go in small steps later.)
 *
 * Who asked waits for ERASE_WAIT_MS at most; the erasure goes on without.
 *
 * Bound: ERASURES_MAX.  Threads: the engine's; `work` is the records thread's while it is there. */
#ifndef NOVABEAT_LIVE_ERASURES_H
#define NOVABEAT_LIVE_ERASURES_H

#include "live/live.h"

#define ERASURES_MAX     256
#define ERASURES_BUCKETS 256
#define ERASE_WAIT_MS    30000

enum erasure_step {
    ERASURE_WRITE,   /* with the records thread: the profile goes */
    ERASURE_EVENT,   /* waits for the event to be loaded */
    ERASURE_RECORD,  /* goes into the next journal record */
    ERASURE_PASS,    /* waits for a pass to be stored */
    ERASURE_JOURNAL, /* waits for the journal to forget */
    ERASURE_WIPE,    /* with the records thread again: no file holds what was deleted */
};

struct erasure {
    struct live_query work; /* first; kind ERASE or PURGE, event, viewer; for the records thread */
    struct live_query *asked; /* who waits for the answer; or NULL */
    struct erasure *bucket_next;
    struct erasure *older, *newer;
    struct erasure *event_next; /* waits for the same event */
    enum erasure_step step;
    int64_t asked_ms; /* monotonic */
    uint64_t pass;    /* PASS: the number of the pass that is waited for */
    uint64_t seq;     /* from PASS on: no later journal record has the id */
    bool keep_statistics;
    bool attended; /* RECORD: the engine knows the viewer */
    bool found;    /* there was a profile, or an attendance */
    char event[EVENT_ID_BYTES_MAX];
    char viewer[VIEWER_ID_BYTES_MAX];
};

struct erasures {
    struct erasure *buckets[ERASURES_BUCKETS];
    struct erasure *oldest, *newest;
    uint32_t count;
    int64_t retry_ms; /* monotonic: when to try the journal again */
};

/* A new one that is in no table yet; viewer empty: the whole event. */
struct erasure *erasure_new(struct slice event, struct slice viewer, bool keep_statistics);
void erasure_free(struct erasure *erasure);

#endif
