/* engine.c -- from heartbeats to audiences: events, places, applying. */
#include "core/engine.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/engine_state.h"

#include <stdlib.h>

struct engine *engine_new(const struct engine_config *cfg)
{
    const struct engine_windows *windows = &cfg->windows;
    ASSERT(windows->leaving_ms <= windows->alive_ms && windows->alive_ms <= windows->hidden_ms &&
           windows->hidden_ms <= windows->gap_ms && windows->gap_ms <= 86400000);
    ASSERT(windows->leaving_ms >= 0 && windows->frame_ms >= FRAME_UNIT_MS);
    ASSERT(cfg->viewers_max <= VIEWERS_PER_EVENT_MAX);
    struct engine *engine = memory_zalloc(sizeof *engine);
    engine->cfg = *cfg;
    return engine;
}

void engine_free(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    while (engine->all != NULL) {
        struct event *event = engine->all;
        engine->all = event->all_next;
        event_free(event);
    }
    free(engine);
}

void engine_begin(struct engine *engine, uint64_t seq, int64_t now_ms)
{
    ASSERT(seq >= engine->seq && now_ms >= engine->now_ms);
    engine->seq = seq;
    engine->now_ms = now_ms;
    engine->frame_start_ms = now_ms - now_ms % engine->cfg.windows.frame_ms;
}

int64_t engine_now_ms(const struct engine *engine)
{
    return engine->now_ms;
}

uint64_t engine_seq(const struct engine *engine)
{
    return engine->seq;
}

const struct engine_windows *engine_windows(const struct engine *engine)
{
    return &engine->cfg.windows;
}

void engine_set_bounds(struct engine *engine, const struct engine_config *cfg)
{
    struct engine_windows windows = engine->cfg.windows;
    struct hash_key hash_key = engine->cfg.hash_key;
    engine->cfg = *cfg;
    engine->cfg.windows = windows;
    engine->cfg.hash_key = hash_key;
}

/* ---- windows ---- */

void engine_set_windows(struct engine *engine, const struct engine_windows *windows)
{
    const struct engine_windows *old = &engine->cfg.windows;
    if (windows->alive_ms == old->alive_ms && windows->hidden_ms == old->hidden_ms &&
        windows->leaving_ms == old->leaving_ms && windows->gap_ms == old->gap_ms &&
        windows->frame_ms == old->frame_ms) {
        return; /* a journal says them often */
    }
    for (struct event *event = engine->all; event != NULL; event = event->all_next) {
        for (uint32_t i = 0; i <= event->sessions_count; i++) {
            struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
            audience_update(engine, audience);
            if (!audience->catching_up) {
                audience_settle(audience); /* old leases may end after new ones: into one list */
            }
        }
    }
    engine->cfg.windows = *windows;
    engine->frame_start_ms = engine->now_ms - engine->now_ms % windows->frame_ms;
}

/* ---- events ---- */

static uint32_t bucket_of(const struct engine *engine, struct slice id)
{
    return (uint32_t)hash_bytes(&engine->cfg.hash_key, id) & (ENGINE_BUCKETS - 1);
}

struct event *engine_find_event(struct engine *engine, struct slice id)
{
    struct event *event = engine->last_event;
    if (event != NULL && slice_equal(event_id(event), id)) {
        return event;
    }
    event = engine->buckets[bucket_of(engine, id)];
    while (event != NULL && !slice_equal(event_id(event), id)) {
        event = event->bucket_next;
    }
    if (event != NULL) {
        engine->last_event = event;
    }
    return event;
}

bool engine_has_event(const struct engine *engine, struct slice id)
{
    const struct event *event = engine->buckets[bucket_of(engine, id)];
    while (event != NULL && !slice_equal(event_id(event), id)) {
        event = event->bucket_next;
    }
    return event != NULL;
}

static uint64_t members_of(const struct event *event)
{
    uint64_t members = event->own.members_count;
    for (uint32_t i = 0; i < event->sessions_count; i++) {
        members += event->sessions[i]->members_count;
    }
    return members;
}

void engine_link_event(struct engine *engine, struct event *event)
{
    struct event **bucket = &engine->buckets[bucket_of(engine, event_id(event))];
    event->bucket_next = *bucket;
    *bucket = event;
    event->all_prev = NULL;
    event->all_next = engine->all;
    if (engine->all != NULL) {
        engine->all->all_prev = event;
    }
    engine->all = event;
    engine->events_count++;
    engine->audiences_count += 1 + event->sessions_count;
    engine->viewers_count += event->own.members_count;
    engine->members_count += members_of(event);
}

void engine_drop_event(struct engine *engine, struct event *event)
{
    ASSERT(event->touched_count == 0 && !event->evict_listed);
    struct event **link = &engine->buckets[bucket_of(engine, event_id(event))];
    while (*link != event) {
        link = &(*link)->bucket_next;
    }
    *link = event->bucket_next;
    if (event->all_prev != NULL) {
        event->all_prev->all_next = event->all_next;
    } else {
        engine->all = event->all_next;
    }
    if (event->all_next != NULL) {
        event->all_next->all_prev = event->all_prev;
    }
    if (engine->idle_at == event) {
        engine->idle_at = event->all_next;
    }
    if (engine->last_event == event) {
        engine->last_event = NULL;
    }
    engine->events_count--;
    engine->audiences_count -= 1 + event->sessions_count;
    engine->viewers_count -= event->own.members_count;
    engine->members_count -= members_of(event);
    event_free(event);
}

static bool link_event(struct engine *engine, struct event *event)
{
    if (engine->events_count >= engine->cfg.events_max) {
        return false;
    }
    engine_link_event(engine, event);
    return true;
}

bool engine_add_event(struct engine *engine, struct slice id)
{
    ASSERT(!engine_has_event(engine, id));
    struct event *event = event_new(id, &engine->cfg.hash_key);
    event->last_ms = engine->now_ms;
    if (!link_event(engine, event)) {
        event_free(event);
        return false;
    }
    return true;
}

/* What came from the store with something still to store or to close goes into the list. */
static void touch_loaded(struct engine *engine, struct audience *audience, bool settle)
{
    if (settle && audience->catching_up) {
        audience_settle(audience);
    }
    engine->backlog += audience->closed_count + audience->frames_count;
    if (audience->frame_viewers > 0 || audience->closed_count > 0 || audience->frames_count > 0) {
        audience_touch(engine, audience);
    }
}

bool engine_adopt(struct engine *engine, struct event *event, bool settle)
{
    ASSERT(!engine_has_event(engine, event_id(event)));
    if (!link_event(engine, event)) {
        return false;
    }
    if (event->last_ms < engine->now_ms && settle) {
        event->last_ms = engine->now_ms; /* stays for event_idle_ms after it was fetched */
    }
    touch_loaded(engine, &event->own, settle);
    for (uint32_t i = 0; i < event->sessions_count; i++) {
        touch_loaded(engine, event->sessions[i], settle);
    }
    return true;
}

void engine_settle(struct engine *engine)
{
    for (struct event *event = engine->all; event != NULL; event = event->all_next) {
        for (uint32_t i = 0; i <= event->sessions_count; i++) {
            struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
            if (audience->catching_up) {
                audience_settle(audience);
            }
        }
    }
}

uint32_t engine_events_count(const struct engine *engine)
{
    return engine->events_count;
}

void engine_events(const struct engine *engine, engine_event_fn *fn, void *ctx)
{
    for (const struct event *event = engine->all; event != NULL; event = event->all_next) {
        if (event->own.members_count > 0 && !event->purging) {
            fn(ctx, event_id(event));
        }
    }
}

/* ---- places ----
 *
 * Passes over the batch, each prefetching for all heartbeats what the next one reads: with a
 * million viewers every pass would otherwise wait for memory once per heartbeat. */

static void place_event(struct engine *engine, const struct heartbeat *heartbeat,
                        struct place *place)
{
    *place = (struct place){.viewer_no = MEMBER_NONE, .member_no = MEMBER_NONE};
    struct event *event = engine_find_event(engine, heartbeat->event);
    if (event == NULL) {
        place->outcome = PLACE_NEED_EVENT;
        return;
    }
    if (event->purging) {
        place->outcome = PLACE_ERASING;
        return;
    }
    place->event = event;
    if (event->reserved_batch != engine->batch) {
        event->reserved_batch = engine->batch;
        event->viewers_reserved = event->sessions_reserved = event->sets_reserved = 0;
        event->regroups_reserved = false;
    }
    viewer_key_make(&place->key, heartbeat->viewer);
    place->viewer_hash = event_viewer_hash(event, &place->key);
    index_prefetch(&event->by_id, place->viewer_hash);
    if (heartbeat->session.len > 0) {
        place->session_hash = event_session_hash(event, heartbeat->session);
        place->session = event_find_session(event, heartbeat->session, place->session_hash);
    }
}

/* Both ends: half of all members lie on two lines. */
static void prefetch_member_at(const struct audience *audience, uint32_t number)
{
    const struct member *member = &audience->members[number];
    __builtin_prefetch(member, 1);
    __builtin_prefetch((const char *)(member + 1) - 1, 1);
}

/* The links of its neighbours in the list of leases, which it is about to leave. */
static void prefetch_neighbours(const struct audience *audience, uint32_t number)
{
    const struct member *member = &audience->members[number];
    if (member->list != ALIVE_NOT) {
        if (member->prev != MEMBER_NONE) {
            __builtin_prefetch(&audience->members[member->prev].next, 1);
        }
        if (member->next != MEMBER_NONE) {
            __builtin_prefetch(&audience->members[member->next].prev, 1);
        }
    }
}

/* The first candidate is the viewer but once in 64 times; place_viewer makes sure. */
static void prefetch_viewer(struct place *place)
{
    struct index_probe probe = index_probe(&place->event->by_id, place->viewer_hash);
    place->viewer_no = index_next(&probe);
    if (place->viewer_no != INDEX_NONE) {
        __builtin_prefetch(&place->event->viewers[place->viewer_no]);
        prefetch_member_at(&place->event->own, place->viewer_no);
        if (place->session != NULL) {
            index_prefetch(&place->session->by_viewer, hash_number(place->viewer_no));
        }
    }
}

static void prefetch_id(const struct place *place)
{
    if (place->viewer_no != INDEX_NONE) {
        const char *id = place->event->ids + place->event->viewers[place->viewer_no].id_at;
        __builtin_prefetch(id);
        __builtin_prefetch(id + sizeof place->key.uuid);
        prefetch_neighbours(&place->event->own, place->viewer_no);
    }
}

static void place_viewer(struct place *place)
{
    place->viewer_no = event_find_viewer(place->event, &place->key, place->viewer_hash);
}

static bool has_member(const struct place *place)
{
    return place->session != NULL && place->viewer_no != MEMBER_NONE;
}

static void prefetch_member(const struct place *place)
{
    struct index_probe probe =
        index_probe(&place->session->by_viewer, hash_number(place->viewer_no));
    uint32_t number = index_next(&probe);
    if (number != INDEX_NONE) {
        prefetch_member_at(place->session, number);
    }
}

static void place_member(struct place *place)
{
    place->member_no = audience_find(place->session, place->viewer_no);
    if (place->member_no != MEMBER_NONE) {
        prefetch_neighbours(place->session, place->member_no);
    }
}

/* True when an earlier heartbeat of the batch makes the same new session. */
static bool session_is_reserved(const struct heartbeat *const *heartbeats,
                                const struct place *places, size_t at)
{
    const struct place *place = &places[at];
    struct slice session = heartbeats[at]->session;
    while (at-- > 0) {
        if (places[at].session_hash == place->session_hash && places[at].event == place->event &&
            places[at].session == NULL && places[at].outcome == PLACE_READY &&
            !(heartbeats[at]->flags & HEARTBEAT_LEAVING) &&
            slice_equal(heartbeats[at]->session, session)) {
            return true;
        }
    }
    return false;
}

static bool session_is_too_many(const struct engine *engine, const struct event *event)
{
    const struct engine_config *cfg = &engine->cfg;
    return event->sessions_count + event->sessions_reserved >= cfg->sessions_max ||
           (cfg->all_audiences_max > 0 &&
            engine->audiences_count + engine->sessions_reserved >= cfg->all_audiences_max);
}

static bool viewer_is_too_many(const struct engine *engine, const struct event *event)
{
    const struct engine_config *cfg = &engine->cfg;
    return event->own.members_count + event->viewers_reserved >= cfg->viewers_max ||
           (cfg->all_viewers_max > 0 &&
            engine->viewers_count + engine->viewers_reserved >= cfg->all_viewers_max);
}

/* Is there room for what the heartbeat may add?  Each one reserves for itself; a viewer that is new
 * twice in one batch counts twice here: near the bound that refuses a few too many.  (Not so a
 * session: all viewers of a new one come at once.) */
static enum place_outcome reserve(struct engine *engine, const struct heartbeat *const *heartbeats,
                                  struct place *places, size_t at)
{
    const struct heartbeat *heartbeat = heartbeats[at];
    struct place *place = &places[at];
    struct event *event = place->event;
    if (engine->backlog >= engine->cfg.backlog_max) {
        return PLACE_BACKLOG;
    }
    bool new_set = false;
    if (heartbeat->flags & HEARTBEAT_GROUPS) {
        bool known = place->viewer_no != MEMBER_NONE;
        bool same =
            known &&
            slice_equal(heartbeat->groups,
                        group_sets_packed(&event->sets, event->viewers[place->viewer_no].groups));
        new_set = !same && group_sets_find(&event->sets, heartbeat->groups) == INDEX_NONE;
        /* The viewer's groups may be others once an earlier heartbeat of the batch was applied. */
        place->same_groups = same && !event->regroups_reserved;
        event->regroups_reserved |= known && !same;
    }
    if (new_set && event->sets.sets_count + event->sets_reserved >= GROUP_SETS_MAX) {
        return PLACE_GROUPS_FULL;
    }
    bool new_session = heartbeat->session.len > 0 && place->session == NULL &&
                       !session_is_reserved(heartbeats, places, at);
    if (new_session && session_is_too_many(engine, event)) {
        return PLACE_SESSIONS_FULL;
    }
    bool new_viewer = place->viewer_no == MEMBER_NONE;
    if (new_viewer && viewer_is_too_many(engine, event)) {
        return PLACE_VIEWERS_FULL;
    }
    event->sets_reserved += new_set;
    event->sessions_reserved += new_session;
    engine->sessions_reserved += new_session;
    event->viewers_reserved += new_viewer;
    engine->viewers_reserved += new_viewer;
    return PLACE_READY;
}

static enum place_outcome place_decide(struct engine *engine,
                                       const struct heartbeat *const *heartbeats,
                                       struct place *places, size_t at)
{
    const struct heartbeat *heartbeat = heartbeats[at];
    struct place *place = &places[at];
    const struct viewer *viewer =
        place->viewer_no == MEMBER_NONE ? NULL : &place->event->viewers[place->viewer_no];
    if (viewer != NULL && viewer->profile_due_s == VIEWER_ERASING) {
        return PLACE_ERASING;
    }
    if (heartbeat->flags & HEARTBEAT_LEAVING) {
        return PLACE_READY; /* adds nothing, counts under no groups: no look-up, no room */
    }
    if (!(heartbeat->flags & HEARTBEAT_GROUPS)) {
        if (viewer == NULL || viewer->profile_due_s == 0) {
            return PLACE_NEED_PROFILE;
        }
        place->refresh = (int64_t)viewer->profile_due_s * 1000 <= engine->now_ms;
    }
    return reserve(engine, heartbeats, places, at);
}

void engine_place(struct engine *engine, const struct heartbeat *const *heartbeats,
                  struct place *places, size_t count)
{
    engine->batch++;
    engine->viewers_reserved = engine->sessions_reserved = 0;
#define PASS(condition, step)                                                                      \
    for (size_t i = 0; i < count; i++) {                                                           \
        if (condition) {                                                                           \
            step;                                                                                  \
        }                                                                                          \
    }
    PASS(true, place_event(engine, heartbeats[i], &places[i]))
    PASS(places[i].event != NULL, prefetch_viewer(&places[i]))
    PASS(places[i].event != NULL, prefetch_id(&places[i]))
    PASS(has_member(&places[i]), prefetch_member(&places[i]))
    PASS(places[i].event != NULL, place_viewer(&places[i]))
    PASS(has_member(&places[i]), place_member(&places[i]))
    PASS(places[i].event != NULL, places[i].outcome = place_decide(engine, heartbeats, places, i))
#undef PASS
}

void engine_place_again(struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (places[i].outcome != PLACE_NEED_EVENT && places[i].outcome != PLACE_ERASING) {
            places[i].outcome = PLACE_READY;
        }
    }
}

/* ---- applying ---- */

static void set_profile(struct engine *engine, struct event *event, uint32_t viewer_no,
                        struct slice groups, bool loaded)
{
    uint32_t set = group_sets_intern(&event->sets, groups);
    if (loaded) {
        event->viewers[viewer_no].profile_due_s =
            (uint32_t)((engine->now_ms + engine->cfg.profile_ttl_ms) / 1000) + 1;
    }
    event_set_groups(event, viewer_no, (uint16_t)set);
}

static void apply_leave(struct engine *engine, struct place *place)
{
    if (place->viewer_no != MEMBER_NONE) {
        audience_leave(engine, &place->event->own, place->viewer_no);
    }
    if (place->member_no != MEMBER_NONE) {
        audience_leave(engine, place->session, place->member_no);
    }
}

/* What was not there when the place was looked up may have been made by an earlier heartbeat of the
 * same batch. */
static void place_again(const struct heartbeat *heartbeat, struct place *place)
{
    if (place->viewer_no == MEMBER_NONE) {
        place->viewer_no = event_find_viewer(place->event, &place->key, place->viewer_hash);
    }
    if (heartbeat->session.len > 0 && place->session == NULL) {
        place->session = event_find_session(place->event, heartbeat->session, place->session_hash);
    }
    if (place->session != NULL && place->member_no == MEMBER_NONE &&
        place->viewer_no != MEMBER_NONE) {
        place->member_no = audience_find(place->session, place->viewer_no);
    }
}

void engine_apply(struct engine *engine, const struct heartbeat *heartbeat, struct place *place)
{
    struct event *event = place->event;
    if (place->outcome != PLACE_READY) {
        ASSERT(place->outcome == PLACE_ERASING);
        return; /* bytes of a journal are from outside */
    }
    place_again(heartbeat, place);
    if (heartbeat->flags & HEARTBEAT_LEAVING) {
        apply_leave(engine, place);
        return;
    }
    uint32_t member_no = place->viewer_no;
    if (member_no == MEMBER_NONE) {
        place->viewer_no = event->own.members_count;
        event_append_viewer(event, &place->key, place->viewer_hash);
    }
    bool loaded = heartbeat->flags & HEARTBEAT_PROFILE;
    if ((heartbeat->flags & HEARTBEAT_GROUPS) && (loaded || !place->same_groups)) {
        set_profile(engine, event, place->viewer_no, heartbeat->groups, loaded);
    }
    uint16_t groups = event->viewers[place->viewer_no].groups;
    event->last_ms = engine->now_ms;
    event->idle_collected = false;
    (void)audience_heartbeat(engine, &event->own, place->viewer_no, member_no, heartbeat, groups);
    if (heartbeat->session.len == 0) {
        return;
    }
    if (place->session == NULL) {
        place->session = event_add_session(event, heartbeat->session, place->session_hash);
        engine->audiences_count++;
    } else if (member_no == MEMBER_NONE) {
        /* A session's rows may have been stored after the event's: then the session knows the
         * number of a viewer whose first heartbeat is only now replayed. */
        place->member_no = audience_find(place->session, place->viewer_no);
    }
    (void)audience_heartbeat(engine, place->session, place->viewer_no, place->member_no, heartbeat,
                             groups);
}

enum place_outcome engine_heartbeat(struct engine *engine, const struct heartbeat *heartbeat)
{
    struct place place;
    engine_place(engine, &heartbeat, &place, 1);
    if (place.outcome == PLACE_READY) {
        engine_apply(engine, heartbeat, &place);
    }
    return place.outcome;
}

void engine_profile(struct engine *engine, struct slice id, struct slice viewer,
                    struct slice groups)
{
    struct event *event = engine_find_event(engine, id);
    if (event == NULL) {
        return;
    }
    struct viewer_key key;
    viewer_key_make(&key, viewer);
    uint32_t number = event_find_viewer(event, &key, event_viewer_hash(event, &key));
    bool room = event->sets.sets_count < GROUP_SETS_MAX ||
                group_sets_find(&event->sets, groups) != INDEX_NONE;
    bool going = event->purging || (number != MEMBER_NONE && event_viewer_erasing(event, number));
    if (number != MEMBER_NONE && room && !going) {
        set_profile(engine, event, number, groups, true);
        audience_mark_dirty(engine, &event->own, number);
    }
}

void engine_profile_asked(struct engine *engine, struct place *place, int64_t due_ms)
{
    ASSERT(place->outcome == PLACE_READY);
    ASSERT(place->event != NULL && place->viewer_no != MEMBER_NONE && due_ms > engine->now_ms);
    place->event->viewers[place->viewer_no].profile_due_s = (uint32_t)(due_ms / 1000) + 1;
}

void engine_sizes(const struct engine *engine, struct engine_sizes *sizes)
{
    *sizes = (struct engine_sizes){.events = engine->events_count,
                                   .audiences = engine->audiences_count,
                                   .viewers = engine->viewers_count,
                                   .members = engine->members_count,
                                   .backlog = engine->backlog};
}

/* What is kept for the whole is the sum of what its events have. */
static void check_sums(const struct engine *engine)
{
    uint64_t audiences = 0, viewers = 0, members = 0;
    uint32_t events = 0, backlog = 0, erasing = 0;
    for (const struct event *event = engine->all; event != NULL; event = event->all_next) {
        events++;
        erasing += event->erasing_count + event->purging;
        audiences += 1 + event->sessions_count;
        viewers += event->own.members_count;
        members += members_of(event);
        for (uint32_t i = 0; i <= event->sessions_count; i++) {
            const struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
            backlog += audience->closed_count + audience->frames_count;
        }
    }
    ASSERT(events == engine->events_count && backlog == engine->backlog);
    ASSERT(erasing == engine->erasing_count && audiences == engine->audiences_count);
    ASSERT(viewers == engine->viewers_count && members == engine->members_count);
}

void engine_check(const struct engine *engine)
{
    uint32_t touched = 0;
    for (const struct event *event = engine->all; event != NULL; event = event->all_next) {
        ASSERT(engine_has_event(engine, event_id(event)));
        event_check(event);
        touched += event->touched_count;
    }
    check_sums(engine);
    uint32_t listed = 0;
    const struct audience *before = NULL;
    for (const struct audience *at = engine->touched_first; at != NULL; at = at->touched_next) {
        ASSERT(at->touched && at->touched_prev == before);
        before = at;
        listed++;
    }
    ASSERT(before == engine->touched_last && listed == engine->touched_count && listed == touched);
}
