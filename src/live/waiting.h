/* waiting.h -- heartbeats that wait for an event or a profile to be loaded.
 *
 * One entry per event or viewer, whatever the number of heartbeats that wait for it: so the loader
 * asks once for many.  Heartbeats wait in their order.  An entry lives until the loader has
 * answered, and is in one of three lists, each in order of age: so looking for those that waited
 * too long looks at nothing else.
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

struct erasure;

#define WAITING_MAX     65536
#define WAITING_BUCKETS 16384

enum waiting_list {
    WAITING_EVENTS,   /* heartbeats wait for them, but not for ever */
    WAITING_PROFILES, /* the same */
    WAITING_LATE,     /* the answer may still come, but nobody waits for it any more */
    WAITING_LISTS
};

struct waiting {
    /* constant */
    bool is_event; /* else a profile */
    uint8_t event_len, viewer_len;
    char event[EVENT_ID_BYTES_MAX];
    char viewer[VIEWER_ID_BYTES_MAX];
    uint32_t bucket;
    /* owned by the engine's thread */
    struct waiting *bucket_next;
    enum waiting_list list;
    struct waiting *older, *newer; /* in the list */
    int64_t since_ms;              /* monotonic */
    struct live_beat *first, *last;
    struct erasure *erasures; /* that wait for the event, by event_next */
    uint64_t released_turn;   /* late: the turn in which a heartbeat went on without the answer */
    bool again;               /* profiles changed meanwhile: the loader has to be asked again */
    bool put;                 /* a profile was put meanwhile: newer than what the loader will say */
    char *put_groups;
    size_t put_groups_len;
    /* the queue's, then the loader's, then again the engine's */
    struct waiting *queue_next;
    enum err err;
    bool found;
    char *groups; /* profile: allocated, or NULL for none */
    size_t groups_len;
    struct event *loaded; /* event */
    bool declared;        /* event: not stored, but in the directory */
};

struct waiting_table {
    struct waiting *buckets[WAITING_BUCKETS];
    struct {
        struct waiting *oldest, *newest;
    } lists[WAITING_LISTS];
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

/* Of an event (viewer empty) or a viewer; for any table of the engine's thread. */
uint64_t waiting_hash(const struct waiting_table *table, struct slice event, struct slice viewer);
/* The entry for an event (viewer empty) or a profile; NULL: there is none. */
struct waiting *waiting_find(struct waiting_table *table, struct slice event, struct slice viewer);
/* A new one; NULL when the table is full. */
struct waiting *waiting_add(struct waiting_table *table, struct slice event, struct slice viewer,
                            int64_t now_ms);
void waiting_push(struct waiting_table *table, struct waiting *waiting, struct live_beat *beat);
/* All beats that wait for it, in their order; it has none then. */
struct live_beat *waiting_take(struct waiting_table *table, struct waiting *waiting);
/* Moves an entry that has no beats to the late ones. */
void waiting_late(struct waiting_table *table, struct waiting *waiting);
/* A profile was put while the loader looks it up: these groups (copied) are the answer. */
void waiting_override(struct waiting *waiting, struct slice groups);
/* The loader has answered a look-up of a profile: what was put meanwhile counts instead. */
void waiting_settle(struct waiting *waiting);
/* Profiles have changed in the store: what the loader says, or what was put before, is too old. */
void waiting_stale(struct waiting *waiting);
/* The answer that came was too old: as before the loader was asked. */
void waiting_forget(struct waiting *waiting);
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
 * when stopped, whatever is left: nobody waits for it then. */
struct waiting *waiting_queue_take(struct waiting_queue *queue, size_t profiles_max);

#endif
