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
void engine_untouch(struct engine *engine, struct audience *audience);

#endif
