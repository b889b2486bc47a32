/* waiting.h -- heartbeats that wait for an event or a profile to be loaded.
 *
 * One entry per event or viewer, whatever the number of heartbeats that wait for it: so the loader
 * asks once for many.  Heartbeats wait in their order.  An entry lives until the loader has
 * answered.
 *
 * Bounds: WAITING_MAX entries; heartbeats are bounded by the requests in flight.
 * Threads: the table belongs to the engine's thread; the queue is between it and the loader, which
 * owns the entry's answer fields while the entry is out. */
#ifndef NOVABEAT_LIVE_WAITING_H
#define NOVABEAT_LIVE_WAITING_H

#include "base/err.h"
#include "base/hash.h"
#include "base/limits.h"
#include "live/live.h"

#include <pthread.h>

#define WAITING_MAX     65536
#define WAITING_BUCKETS 16384

struct waiting {
    /* constant */
    bool is_event; /* else a profile */
    uint8_t event_len, viewer_len;
    char event[EVENT_ID_BYTES_MAX];
    char viewer[VIEWER_ID_BYTES_MAX];
    uint32_t bucket;
    /* owned by the engine's thread */
    struct waiting *bucket_next;
    struct waiting *older, *newer; /* in order of since_ms */
    int64_t since_ms;              /* monotonic */
    struct live_beat *first, *last;
    bool timed_out; /* what waited went on without the answer */
    /* the queue's, then the loader's, then again the engine's */
    struct waiting *queue_next;
    enum err err;
    bool found;
    char *groups; /* profile: allocated, or NULL for none */
    size_t groups_len;
    struct event *loaded; /* event */
};

struct waiting_table {
    struct waiting *buckets[WAITING_BUCKETS];
    struct waiting *oldest, *newest;
    uint32_t count;
    uint64_t beats;
    struct hash_key hash_key;
};

static inline struct slice waiting_event(const struct waiting *waiting)
{
    return slice_of(waiting->event, waiting->event_len);
}

static inline struct slice waiting_viewer(const struct waiting *waiting)
{
    return slice_of(waiting->viewer, waiting->viewer_len);
}

/* The entry for an event (viewer empty) or a profile; NULL: there is none. */
struct waiting *waiting_find(struct waiting_table *table, struct slice event, struct slice viewer);
/* A new one; NULL when the table is full. */
struct waiting *waiting_add(struct waiting_table *table, struct slice event, struct slice viewer,
                            int64_t now_ms);
void waiting_push(struct waiting_table *table, struct waiting *waiting, struct live_beat *beat);
/* All beats that wait for it, in their order; it has none then. */
struct live_beat *waiting_take(struct waiting_table *table, struct waiting *waiting);
/* Takes the entry out of the table and frees it; it has no beats and is not with the loader. */
void waiting_remove(struct waiting_table *table, struct waiting *waiting);

/* ---- to the loader ---- */

struct waiting_queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct waiting *events_first, *events_last;
    struct waiting *profiles_first, *profiles_last;
    bool stop;
};

void waiting_queue_init(struct waiting_queue *queue);
void waiting_queue_put(struct waiting_queue *queue, struct waiting *waiting);
void waiting_queue_stop(struct waiting_queue *queue);
/* Waits; gives one event, or up to profiles_max profiles (linked by queue_next), events first; NULL
 * when stopped and empty. */
struct waiting *waiting_queue_take(struct waiting_queue *queue, size_t profiles_max);

#endif
