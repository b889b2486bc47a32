/* erase.c -- viewers and events that are to be forgotten (changes.h, rule 7).
 *
 * A viewer that is being erased counts in nothing from the moment of engine_erase, and its
 * heartbeats are refused; but its rows stay until the record store has forgotten it, because the
 * pass under way must go on to write rows in order, without holes.  The store is told in the last
 * part of a full pass that began after the erasure: whatever was journaled of the viewer is then
 * covered, and no replay meets it again.  What is left are members without a name or a time, which
 * keep the numbers of the others.
 *
 * An event that is purged is left at once: an empty shell with its name refuses heartbeats until
 * the store has forgotten it too. */
#include "base/assert.h"
#include "base/memory.h"
#include "core/engine_state.h"

uint32_t engine_erasing(const struct engine *engine)
{
    return engine->erasing_count;
}

/* ---- viewers ---- */

/* The audience i of an event, its own first, and the number of a viewer in it, or MEMBER_NONE. */
static struct audience *audience_of(struct event *event, uint32_t i, uint32_t viewer_no,
                                    uint32_t *member_no)
{
    struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
    *member_no = i == 0 ? viewer_no : audience_find(audience, viewer_no);
    return audience;
}

enum figures_outcome engine_erase(struct engine *engine, struct slice id, struct slice viewer,
                                  bool *known)
{
    *known = false;
    struct event *event = engine_find_event(engine, id);
    if (event == NULL) {
        return FIGURES_NEED_EVENT;
    }
    struct viewer_key key;
    viewer_key_make(&key, viewer);
    uint32_t viewer_no = event_find_viewer(event, &key, event_viewer_hash(event, &key));
    if (event->purging || viewer_no == MEMBER_NONE || event_viewer_erasing(event, viewer_no)) {
        return FIGURES_OK;
    }
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        uint32_t member_no;
        struct audience *audience = audience_of(event, i, viewer_no, &member_no);
        if (member_no != MEMBER_NONE) {
            audience_erase(engine, audience, member_no);
        }
    }
    event->viewers[viewer_no].profile_due_s = VIEWER_ERASING;
    event->erasing = memory_grow(event->erasing, &event->erasing_max, event->erasing_count + 1,
                                 sizeof *event->erasing);
    event->erasing[event->erasing_count++] = viewer_no;
    engine->erasing_count++;
    event->idle_collected = false; /* stays until the erasure is stored */
    *known = true;
    return FIGURES_OK;
}

static void forget(struct engine *engine, struct event *event, uint32_t viewer_no)
{
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        uint32_t member_no;
        struct audience *audience = audience_of(event, i, viewer_no, &member_no);
        if (member_no != MEMBER_NONE) {
            audience_forget(audience, member_no);
        }
    }
    event_forget_viewer(event, viewer_no);
    engine->erasing_count--;
}

/* ---- events ---- */

/* Out of the list of touched audiences, wherever the pass under way is. */
static void leave_list(struct engine *engine, struct audience *audience)
{
    struct audience *at = engine->touched_first;
    for (uint32_t left = engine->collect_left; left > 0; left--) {
        if (at == audience) { /* the pass was still to visit it */
            engine->collect_left--;
            break;
        }
        at = at->touched_next;
    }
    if (engine->touched_first == audience) {
        engine->collect_word = 0; /* the next one is visited from its start */
    }
    engine_untouch(engine, audience);
}

static void leave_evict_list(struct engine *engine, struct event *event)
{
    if (event->evict_listed) {
        struct event **link = &engine->evict_first;
        while (*link != event) {
            link = &(*link)->evict_next;
        }
        *link = event->evict_next;
        event->evict_listed = false;
    }
}

static void drop_whole(struct engine *engine, struct event *event)
{
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
        engine->backlog -= audience->closed_count + audience->frames_count;
        if (audience->touched) {
            leave_list(engine, audience);
        }
    }
    leave_evict_list(engine, event);
    engine->erasing_count -= event->erasing_count;
    engine_drop_event(engine, event);
}

/* Nothing but the name and the purge stays. */
static void leave_shell(struct engine *engine, struct event *event)
{
    struct event *shell = event_new(event_id(event), &engine->cfg.hash_key);
    shell->last_ms = event->last_ms;
    shell->purging = true;
    shell->purge_keep = event->purge_keep;
    shell->purge_begin = event->purge_begin;
    shell->purge_again = event->purge_again;
    shell->purge_begin_keep = event->purge_begin_keep;
    drop_whole(engine, event);
    engine_link_event(engine, shell);
}

void engine_purge(struct engine *engine, struct slice id, bool keep_statistics)
{
    struct event *event = engine_find_event(engine, id);
    if (event != NULL && event->purging) {
        event->purge_keep &= keep_statistics;
        event->purge_again = event->purge_begin;
        return;
    }
    if (event == NULL) {
        event = event_new(id, &engine->cfg.hash_key);
        event->last_ms = engine->now_ms;
        engine_link_event(engine, event);
    }
    event->purging = true;
    event->purge_keep = keep_statistics;
    event->idle_collected = false;
    engine->erasing_count++;
    /* The pass will say that all before it is stored.  Were it not so for this event, a replay
     * would meet heartbeats and erasures of viewers it does not know, until it comes to the purge.
     */
    event->purge_later = engine->collecting && engine->collect_full;
    if (!event->purge_later) {
        leave_shell(engine, event);
    }
}

/* ---- passes ---- */

void erase_begin(struct engine *engine)
{
    if (engine->erasing_count == 0) {
        return;
    }
    for (struct event *event = engine->all; event != NULL; event = event->all_next) {
        event->erasing_begin = event->erasing_count;
        event->purge_begin = event->purging;
        event->purge_begin_keep = event->purge_keep;
        event->purge_again = false;
    }
}

static void collect_erasures(struct engine *engine, struct event *event, struct changes *changes)
{
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
        if (audience->erasing_count > 0) {
            audience_update(engine, audience);
            collect_audience_row(engine, audience, changes);
        }
    }
    for (uint32_t i = 0; i < event->erasing_begin; i++) {
        char text[36];
        uint32_t viewer_no = event->erasing[i];
        ASSERT(viewer_no < event->own.stored_count);
        struct erasure_row *row = changes_add_erasure(changes);
        row->event = changes_copy(changes, event_id(event));
        row->viewer = changes_copy(changes, event_viewer_text(event, viewer_no, text));
        row->viewer_no = viewer_no;
    }
}

void erase_collect(struct engine *engine, struct changes *changes)
{
    if (engine->erasing_count == 0) {
        return;
    }
    for (struct event *event = engine->all; event != NULL; event = event->all_next) {
        if (event->erasing_begin > 0) {
            collect_erasures(engine, event, changes);
        }
        if (event->purge_begin) {
            *changes_add_purge(changes) =
                (struct purge_row){.event = changes_copy(changes, event_id(event)),
                                   .keep_statistics = event->purge_begin_keep};
        }
    }
}

void erase_collected(struct engine *engine)
{
    struct event *next;
    for (struct event *event = engine->all; event != NULL; event = next) {
        next = event->all_next;
        if (event->purge_later) {
            leave_shell(engine, event);
        }
    }
}

/* What the record store had of the viewings of erased ones goes from the sums here too. */
static void subtract(struct engine *engine, const struct erased_row *row)
{
    struct event *event = engine_find_event(engine, row->event);
    if (event == NULL || event->purging) {
        return;
    }
    struct audience *audience =
        row->session.len == 0
            ? &event->own
            : event_find_session(event, row->session, event_session_hash(event, row->session));
    if (audience == NULL) {
        return;
    }
    /* A damaged store may say anything: no sum wraps round. */
    audience->logins -= row->viewings < audience->logins ? row->viewings : audience->logins;
    audience->total_ms -= row->total_ms < audience->total_ms ? row->total_ms : audience->total_ms;
}

/* All of an event's that the newest part carried; gives their number. */
static uint32_t forget_all(struct engine *engine, struct event *event,
                           const struct erasure_row *rows)
{
    uint32_t count = event->erasing_begin;
    ASSERT(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(event->erasing[i] == rows[i].viewer_no);
        forget(engine, event, rows[i].viewer_no);
    }
    event->erasing_begin = 0;
    event->erasing_count -= count;
    memmove(event->erasing, event->erasing + count, event->erasing_count * sizeof *event->erasing);
    return count;
}

void erase_committed(struct engine *engine, const struct changes *changes)
{
    for (size_t i = 0; i < changes->erased_count; i++) {
        subtract(engine, &changes->erased[i]);
    }
    for (size_t i = 0; i < changes->erasures_count;) {
        struct event *event = engine_find_event(engine, changes->erasures[i].event);
        ASSERT(event != NULL);
        /* Purged since the part was collected: forgotten already. */
        i += event->purging ? 1 : forget_all(engine, event, changes->erasures + i);
    }
    for (size_t i = 0; i < changes->purges_count; i++) {
        struct event *event = engine_find_event(engine, changes->purges[i].event);
        ASSERT(event != NULL && event->purging && event->purge_begin);
        event->purge_begin = false;
        if (!event->purge_again) {
            engine->erasing_count--;
            engine_drop_event(engine, event);
        }
    }
}
