/* lookups.c -- heartbeats that need an event or a profile first: on the engine's thread.
 *
 * They wait in waiting.h while the loader asks the records, and come back with a later turn, in
 * their order.  An event is waited for (nothing can be counted without it) until event_timeout:
 * then 503.  A profile is waited for until profile_timeout, and what cannot be loaded never loses
 * the heartbeat: it counts without groups, and the viewer's next one asks again. */
#include "base/assert.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <stdlib.h>

#define TIME_OUT_EVERY_MS 20
#define ASK_AGAIN_MS      60000 /* a refresh that stays without an answer */

/* Does it count under groups that the record store must be asked for? */
static bool needs_profile(const struct live_beat *beat)
{
    return !(beat->heartbeat.flags & (HEARTBEAT_GROUPS | HEARTBEAT_LEAVING));
}

/* Puts a beat at the end of those that are ready. */
static void release(struct live *live, struct live_beat *beat)
{
    beat->next = NULL;
    if (live->ready_last != NULL) {
        live->ready_last->next = beat;
    } else {
        live->ready_first = beat;
    }
    live->ready_last = beat;
}

static void release_all(struct live *live, struct live_beat *first)
{
    while (first != NULL) {
        struct live_beat *beat = first;
        first = beat->next;
        release(live, beat);
    }
}

static void refuse_all(struct live *live, struct live_beat *first, enum live_status status)
{
    while (first != NULL) {
        struct live_beat *beat = first;
        first = beat->next;
        beat_finish(live, beat, status, 0);
    }
}

/* Counts without groups, with the next turn. */
static void go_on_without(struct live *live, struct live_beat *beat)
{
    if (needs_profile(beat)) {
        beat->heartbeat.flags |= HEARTBEAT_GROUPS; /* but not PROFILE: the next one asks again */
        beat->heartbeat.groups = SLICE_EMPTY;
        COUNT(live, profiles_late, 1);
    }
    release(live, beat);
}

static void go_on_with(struct live *live, struct live_beat *beat, const struct waiting *waiting)
{
    if (needs_profile(beat)) {
        beat->heartbeat.flags |= HEARTBEAT_GROUPS | HEARTBEAT_PROFILE;
        beat->heartbeat.groups = SLICE_EMPTY;
        if (waiting->groups_len > 0) {
            beat->groups = memory_alloc(waiting->groups_len);
            memcpy(beat->groups, waiting->groups, waiting->groups_len);
            beat->heartbeat.groups = slice_of(beat->groups, waiting->groups_len);
        }
    }
    release(live, beat);
}

static void all_go_on_without(struct live *live, struct live_beat *first)
{
    while (first != NULL) {
        struct live_beat *beat = first;
        first = beat->next;
        go_on_without(live, beat);
    }
}

/* ---- waiting begins ---- */

void lookups_event(struct live *live, struct live_beat *beat)
{
    struct slice event = beat->heartbeat.event;
    struct waiting *waiting = waiting_find(&live->waiting, event, SLICE_EMPTY);
    if (waiting == NULL) {
        if (engine_events_count(live->engine) >= live->options.engine.events_max) {
            beat_finish(live, beat, LIVE_EVENTS_FULL, 0); /* spares loading it in vain */
            return;
        }
        waiting = waiting_add(&live->waiting, event, SLICE_EMPTY, clock_mono_ms());
        if (waiting == NULL) {
            beat_finish(live, beat, LIVE_BUSY, 0);
            return;
        }
        waiting_queue_put(&live->lookups, waiting);
    }
    if (waiting->list == WAITING_LATE) {
        beat_finish(live, beat, LIVE_RECORDS_AWAY, 0);
        return;
    }
    waiting_push(&live->waiting, waiting, beat);
}

bool lookups_event_waits(struct live *live, struct slice event, struct erasure *erasure)
{
    struct waiting *waiting = waiting_find(&live->waiting, event, SLICE_EMPTY);
    if (waiting != NULL && erasure != NULL) {
        erasure->event_next = waiting->erasures;
        waiting->erasures = erasure;
    }
    return waiting != NULL;
}

bool lookups_event_wait(struct live *live, struct slice event, struct erasure *erasure)
{
    if (waiting_find(&live->waiting, event, SLICE_EMPTY) == NULL) {
        struct waiting *waiting = waiting_add(&live->waiting, event, SLICE_EMPTY, clock_mono_ms());
        if (waiting == NULL) {
            return false;
        }
        waiting_queue_put(&live->lookups, waiting);
    }
    return lookups_event_waits(live, event, erasure);
}

void lookups_profile(struct live *live, struct live_beat *beat)
{
    struct slice event = beat->heartbeat.event, viewer = beat->heartbeat.viewer;
    struct waiting *waiting = waiting_find(&live->waiting, event, viewer);
    if (waiting == NULL) {
        waiting = waiting_add(&live->waiting, event, viewer, clock_mono_ms());
        if (waiting == NULL) {
            go_on_without(live, beat); /* too many wait: the loader is late for this one too */
            return;
        }
        waiting_queue_put(&live->lookups, waiting);
    }
    if (waiting->list == WAITING_LATE) {
        waiting->released_turn = live->turn;
        go_on_without(live, beat);
        return;
    }
    waiting_push(&live->waiting, waiting, beat);
}

bool lookups_follow(struct live *live, struct live_beat *beat)
{
    const struct heartbeat *heartbeat = &beat->heartbeat;
    if (live->waiting.count == 0 || needs_profile(beat) || heartbeat->flags & HEARTBEAT_PROFILE) {
        return false;
    }
    struct waiting *waiting = waiting_find(&live->waiting, heartbeat->event, heartbeat->viewer);
    if (waiting != NULL && waiting->first != NULL) {
        waiting_push(&live->waiting, waiting, beat);
        return true;
    }
    if (waiting != NULL && waiting->list == WAITING_LATE && waiting->released_turn == live->turn) {
        release(live, beat); /* behind the one that went on in this turn */
        return true;
    }
    return false;
}

void lookups_refresh(struct live *live, const struct live_beat *beat, struct place *place)
{
    const struct heartbeat *heartbeat = &beat->heartbeat;
    engine_profile_asked(live->engine, place, engine_now_ms(live->engine) + ASK_AGAIN_MS);
    if (waiting_find(&live->waiting, heartbeat->event, heartbeat->viewer) == NULL) {
        struct waiting *waiting =
            waiting_add(&live->waiting, heartbeat->event, heartbeat->viewer, clock_mono_ms());
        if (waiting != NULL) { /* else in a minute */
            waiting_queue_put(&live->lookups, waiting);
        }
    }
}

/* ---- waiting ends ---- */

/* Nobody has seen the event, so a leave has nothing to do there; and it must not make the event. */
static struct live_beat *finish_leaves(struct live *live, struct live_beat *first)
{
    struct live_beat *rest = NULL, **link = &rest;
    while (first != NULL) {
        struct live_beat *beat = first;
        first = beat->next;
        beat->next = NULL;
        if (rest == NULL && (beat->heartbeat.flags & HEARTBEAT_LEAVING)) {
            beat_finish(live, beat, LIVE_OK, 0);
        } else {
            *link = beat; /* once somebody comes, all that follows keeps its order */
            link = &beat->next;
        }
    }
    return rest;
}

static void event_answered(struct live *live, struct waiting *waiting)
{
    struct live_beat *beats = waiting_take(&live->waiting, waiting);
    struct erasure *erasures = waiting->erasures;
    enum err err = waiting->err;
    bool accepted = !live->options.declared_events || waiting->declared;
    if (err == ERR_NOT_FOUND && accepted) {
        beats = finish_leaves(live, beats);
    }
    if (err == ERR_NONE) {
        COUNT(live, events_loaded, 1);
        if (engine_adopt(live->engine, waiting->loaded, true)) {
            release_all(live, beats);
        } else {
            event_free(waiting->loaded);
            refuse_all(live, beats, LIVE_EVENTS_FULL);
        }
    } else if (err != ERR_NOT_FOUND) {
        refuse_all(live, beats, LIVE_RECORDS_AWAY);
    } else if (!accepted) {
        refuse_all(live, beats, LIVE_UNKNOWN_EVENT);
    } else if (beats != NULL && engine_add_event(live->engine, waiting_event(waiting))) {
        release_all(live, beats);
    } else {
        refuse_all(live, beats, LIVE_EVENTS_FULL);
    }
    waiting->erasures = NULL;
    waiting_remove(&live->waiting, waiting);
    erasures_event(live, erasures, err);
}

/* The viewer has no profile and must have one.  What waited behind brought its groups along. */
static void refuse_unknown(struct live *live, struct live_beat *first)
{
    while (first != NULL) {
        struct live_beat *beat = first;
        first = beat->next;
        if (needs_profile(beat)) {
            beat_finish(live, beat, LIVE_UNKNOWN_VIEWER, 0);
        } else {
            release(live, beat);
        }
    }
}

/* True: it changes a profile, so it has to be journaled first. */
static bool profile_answered(struct live *live, struct waiting *waiting)
{
    COUNT(live, profiles_loaded, 1);
    waiting_settle(waiting);
    struct live_beat *beats = waiting_take(&live->waiting, waiting);
    if (waiting->err != ERR_NONE) { /* the loader has said why */
        all_go_on_without(live, beats);
    } else if (!waiting->found && live->options.reject_unknown_viewers) {
        refuse_unknown(live, beats);
    } else if (beats == NULL) { /* a refresh, or too late for those who waited */
        if (waiting->list != WAITING_LATE) {
            waiting_late(&live->waiting, waiting); /* nobody may wait for an answer that came */
        }
        return true;
    } else {
        while (beats != NULL) {
            struct live_beat *beat = beats;
            beats = beat->next;
            go_on_with(live, beat, waiting);
        }
    }
    waiting_remove(&live->waiting, waiting);
    return false;
}

/* The store has changed since the loader was asked. */
static void ask_again(struct live *live, struct waiting *waiting)
{
    waiting_forget(waiting);
    waiting_queue_put(&live->lookups, waiting);
}

bool lookups_answered(struct live *live, struct waiting *waiting)
{
    if (!waiting->is_event &&
        erasures_hold(live, waiting_event(waiting), waiting_viewer(waiting))) {
        refuse_all(live, waiting_take(&live->waiting, waiting), LIVE_ERASING);
        waiting_remove(&live->waiting, waiting);
        return false;
    }
    if (waiting->again) {
        ask_again(live, waiting);
        return false;
    }
    if (!waiting->is_event) {
        return profile_answered(live, waiting);
    }
    event_answered(live, waiting);
    return false;
}

void lookups_put(struct live *live, struct slice event, struct slice viewer, struct slice groups)
{
    struct waiting *waiting = waiting_find(&live->waiting, event, viewer);
    if (waiting != NULL) {
        waiting_override(waiting, groups);
    }
}

/* What the loader reads at this moment of the event's profiles is too old. */
static void all_stale(struct live *live, struct slice event)
{
    for (int list = 0; list < WAITING_LISTS; list++) {
        struct waiting *waiting = live->waiting.lists[list].oldest;
        for (; waiting != NULL; waiting = waiting->newer) {
            if (!waiting->is_event && slice_equal(waiting_event(waiting), event)) {
                waiting_stale(waiting);
            }
        }
    }
}

void lookups_changed(struct live *live, struct slice event)
{
    engine_profiles_due(live->engine, event);
    all_stale(live, event);
}

void lookups_forget(struct live *live, struct slice event, struct slice viewer)
{
    if (viewer.len == 0) {
        all_stale(live, event);
    } else {
        struct waiting *waiting = waiting_find(&live->waiting, event, viewer);
        if (waiting != NULL) {
            waiting_stale(waiting);
        }
    }
    /* Those whose wait is over bring along what was looked up. */
    struct live_beat *first = live->ready_first;
    live->ready_first = live->ready_last = NULL;
    while (first != NULL) {
        struct live_beat *beat = first;
        const struct heartbeat *heartbeat = &beat->heartbeat;
        first = beat->next;
        if (slice_equal(heartbeat->event, event) &&
            (viewer.len == 0 || slice_equal(heartbeat->viewer, viewer))) {
            beat_finish(live, beat, LIVE_ERASING, 0);
        } else {
            release(live, beat);
        }
    }
}

void lookups_applied(struct live *live, struct waiting *waiting)
{
    if (waiting->again) {
        ask_again(live, waiting);
    } else {
        waiting_remove(&live->waiting, waiting);
    }
}

static struct waiting *oldest_before(const struct live *live, enum waiting_list list, int64_t ms)
{
    struct waiting *waiting = live->waiting.lists[list].oldest;
    return waiting != NULL && waiting->since_ms <= ms ? waiting : NULL;
}

void lookups_time_out(struct live *live)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms < live->time_out_ms) {
        return;
    }
    live->time_out_ms = now_ms + TIME_OUT_EVERY_MS;
    struct waiting *waiting;
    int64_t before_ms = now_ms - live->options.profile_timeout_ms;
    while ((waiting = oldest_before(live, WAITING_PROFILES, before_ms)) != NULL) {
        all_go_on_without(live, waiting_take(&live->waiting, waiting));
        waiting_late(&live->waiting, waiting);
    }
    before_ms = now_ms - live->options.event_timeout_ms;
    while ((waiting = oldest_before(live, WAITING_EVENTS, before_ms)) != NULL) {
        refuse_all(live, waiting_take(&live->waiting, waiting), LIVE_RECORDS_AWAY);
        waiting_late(&live->waiting, waiting);
    }
}
