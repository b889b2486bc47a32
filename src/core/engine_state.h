/* engine_state.h -- private to core: what is inside the engine. */
#ifndef NOVABEAT_CORE_ENGINE_STATE_H
#define NOVABEAT_CORE_ENGINE_STATE_H

#include "core/engine.h"
#include "core/event.h"

#define ENGINE_BUCKETS 16384 /* of the table of events; a power of two */

struct engine {
    struct engine_config cfg;
    int64_t now_ms;
    int64_t frame_start_ms; /* of the frame that now_ms is in */
    uint64_t seq;
    uint64_t batch; /* counts engine_place calls: what an event reserved belongs to one of them */
    uint32_t events_count;
    uint32_t erasing_count; /* viewers and events that are to be forgotten */
    /* In memory, and reserved by the batch at hand: for the bounds of the whole server. */
    uint64_t viewers_count, members_count, audiences_count;
    uint32_t viewers_reserved, sessions_reserved;
    uint32_t backlog;         /* ended viewings and frames in all audiences */
    struct event *last_event; /* of the newest look-up: most heartbeats are for one event */
    struct event *all;        /* list of all events */
    struct event *idle_at;    /* where the search for idle events goes on */
    /* Audiences with something to store, oldest first. */
    struct audience *touched_first, *touched_last;
    uint32_t touched_count;
    /* The pass of engine_collect under way. */
    bool collecting, collect_full;
    uint32_t collect_left; /* audiences of the list still to visit */
    uint32_t collect_word; /* where the first one goes on */
    uint64_t collect_begin_seq;
    struct event *evict_first; /* events whose "idle" was collected; by evict_next */
    struct event *buckets[ENGINE_BUCKETS];
};

struct event *engine_find_event(struct engine *engine, struct slice id);
/* Into the table and the list, whatever events_max says. */
void engine_link_event(struct engine *engine, struct event *event);
/* Out of them, with all that was counted for it; frees it.  No audience of it may be touched. */
void engine_drop_event(struct engine *engine, struct event *event);

/* erase.c, for collect.c: a full pass begins; its last part; all of it is collected; that part was
 * committed. */
void erase_begin(struct engine *engine);
void erase_collect(struct engine *engine, struct changes *changes);
void erase_collected(struct engine *engine);
void erase_committed(struct engine *engine, const struct changes *changes);
/* collect.c, for erase.c. */
void collect_audience_row(struct engine *engine, struct audience *audience,
                          struct changes *changes);

void engine_untouch(struct engine *engine, struct audience *audience);

#endif
