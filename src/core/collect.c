/* collect.c -- what the record store does not know yet, in parts (changes.h has the rules).
 *
 * A pass goes once over the audiences that had something to store when it began.  What changes
 * while it is under way is stored by it or by the next; so a full pass covers every batch before
 * it. */
#include "base/assert.h"
#include "core/engine_state.h"

#include <stdlib.h>

#define WORD_BITS         64
#define IDLE_LOOKS_A_PASS 256

/* ---- idle events ---- */

static bool event_is_idle(struct engine *engine, struct event *event)
{
    if (event->purging || event->erasing_count > 0 || event->touched_count > 0 ||
        event->regrouped_count > 0 ||
        engine->now_ms - event->last_ms <= engine->cfg.event_idle_ms) {
        return false;
    }
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
        audience_update(engine, audience);
        if (audience->catching_up || audience->alive.count > 0) {
            return false;
        }
    }
    return event->touched_count == 0;
}

/* Looks at a few events each pass, in turn; an idle one says so with its own row.  One that nobody
 * was ever counted in (all were refused) just goes: there is nothing to store. */
static void find_idle(struct engine *engine)
{
    for (int looks = 0; looks < IDLE_LOOKS_A_PASS && engine->all != NULL; looks++) {
        struct event *event = engine->idle_at != NULL ? engine->idle_at : engine->all;
        engine->idle_at = event->all_next;
        if (!event_is_idle(engine, event)) {
            /* stays */
        } else if (event->own.members_count == 0) {
            engine_drop_event(engine, event);
        } else {
            event->idle_collected = true;
            event->own.aggregates_dirty = true;
            audience_touch(engine, &event->own);
        }
        if (engine->idle_at == NULL) {
            break; /* once round */
        }
    }
}

void engine_committed(struct engine *engine, const struct changes *changes)
{
    erase_committed(engine, changes);
    while (engine->evict_first != NULL) {
        struct event *event = engine->evict_first;
        engine->evict_first = event->evict_next;
        event->evict_listed = false;
        if (event->idle_collected && event->touched_count == 0 && event->regrouped_count == 0) {
            engine_drop_event(engine, event);
        }
    }
}

/* ---- the list of touched audiences ---- */

void engine_untouch(struct engine *engine, struct audience *audience)
{
    ASSERT(audience->touched);
    if (audience->touched_prev != NULL) {
        audience->touched_prev->touched_next = audience->touched_next;
    } else {
        engine->touched_first = audience->touched_next;
    }
    if (audience->touched_next != NULL) {
        audience->touched_next->touched_prev = audience->touched_prev;
    } else {
        engine->touched_last = audience->touched_prev;
    }
    audience->touched = false;
    engine->touched_count--;
    audience->event->touched_count--;
}

/* ---- rows ---- */

static struct slice copy_tally(struct changes *changes, const struct counts *counts,
                               const struct event *event)
{
    uint32_t len;
    char *tally = audience_frame_tally(counts, event, &len);
    struct slice copied = changes_copy(changes, slice_of(tally, len));
    free(tally);
    return copied;
}

/* Everything that is over: before the members' rows that show what came after, and never after an
 * audience row whose aggregates have moved on to the next frame: replay counts no frame again. */
static void collect_over(struct engine *engine, struct audience *audience, struct changes *changes)
{
    for (uint32_t i = 0; i < audience->closed_count; i++) {
        *changes_add_viewing(changes) = audience->closed[i];
    }
    for (uint32_t i = 0; i < audience->frames_count; i++) {
        struct frame_over *frame = &audience->frames[i];
        struct frame_row *row = changes_add_frame(changes);
        row->start_ms = frame->start_ms;
        row->end_ms = frame->end_ms;
        row->viewers = frame->viewers;
        row->groups = changes_copy(changes, slice_of(frame->groups, frame->groups_len));
        row->countries = changes_copy(changes, slice_of(frame->countries, frame->countries_len));
        free(frame->groups);
        free(frame->countries);
    }
    engine->backlog -= audience->closed_count + audience->frames_count;
    audience->closed_count = 0;
    audience->frames_count = 0;
    if (audience->closed_max > 1024) {
        free(audience->closed); /* a rare wave should not keep its memory */
        audience->closed = NULL;
        audience->closed_max = 0;
    }
}

/* An audience's row with all that must not come after it. */
void collect_audience_row(struct engine *engine, struct audience *audience, struct changes *changes)
{
    struct event *event = audience->event;
    struct change *change = changes_add(changes);
    struct audience_row *row = &change->audience;
    bool own = audience == &event->own;
    *row = (struct audience_row){
        .event = changes_copy(changes, event_id(event)),
        .session = changes_copy(changes, audience_session(audience)),
        .seq = engine->seq,
        .as_of_ms = engine->now_ms,
        .members = audience->members_count,
        .attended = (uint32_t)audience_attended(audience),
        .logins = audience->logins,
        .total_ms = audience->total_ms,
        .peak_count = audience->peak_count,
        .peak_ms = audience->peak_ms,
        .frame_start_ms = audience->frame_start_ms,
        .frame_length_ms = audience->frame_length_ms,
        .frame_viewers = audience->frame_viewers,
        .idle = own && event->idle_collected,
    };
    if (audience->frame_viewers > 0) {
        row->frame_groups = copy_tally(changes, &audience->groups, event);
        row->frame_countries = copy_tally(changes, &audience->countries, NULL);
    }
    audience->aggregates_dirty = false;
    if (own && event->sets_stored < event->sets.sets_count) {
        for (; event->sets_stored < event->sets.sets_count; event->sets_stored++) {
            struct groups_row *set = changes_add_groups(changes);
            set->set_no = (uint16_t)event->sets_stored;
            set->packed =
                changes_copy(changes, group_sets_packed(&event->sets, event->sets_stored));
        }
    }
    collect_over(engine, audience, changes);
    if (row->idle && !event->evict_listed) {
        event->evict_listed = true;
        event->evict_next = engine->evict_first;
        engine->evict_first = event;
    }
}

static void collect_member(const struct engine *engine, struct audience *audience, uint32_t number,
                           struct changes *changes)
{
    const struct member *member = &audience->members[number];
    const struct event *event = audience->event;
    bool own = audience == &event->own;
    bool created = number >= audience->stored_count;
    struct member_row *row = changes_add_member(changes);
    *row = (struct member_row){
        .member_no = number,
        .viewer_no = member->viewer,
        .created = created,
        .lease_groups = member->groups,
        .country = member->country,
        .start_ms = member->start_ms,
        .end_ms = member->end_ms,
        .expiry_ms = member_expiry_ms(member),
    };
    uint32_t frame_now = member_frame(engine->frame_start_ms);
    row->counted_frame_ms =
        (engine->frame_start_ms / FRAME_UNIT_MS - (int32_t)(frame_now - member->frame)) *
        FRAME_UNIT_MS;
    if (own) {
        const struct viewer *viewer = &event->viewers[number];
        row->groups = viewer->groups_covered;
        row->profile_due_ms =
            viewer->profile_due_s == VIEWER_ERASING ? 0 : (int64_t)viewer->profile_due_s * 1000;
        if (created) {
            char text[36];
            row->viewer = changes_copy(changes, event_viewer_text(event, number, text));
        }
    }
    if (created) {
        ASSERT(number == audience->stored_count);
        audience->stored_count++;
    }
}

/* Members from engine->collect_word on; true when all that are to be stored are. */
static bool collect_members(struct engine *engine, struct audience *audience,
                            struct changes *changes, size_t rows_max)
{
    uint32_t words = (audience->members_count + WORD_BITS - 1) / WORD_BITS;
    for (; engine->collect_word < words; engine->collect_word++) {
        if (audience->fresh_count == 0 && (!engine->collect_full || audience->dirty_count == 0)) {
            return true;
        }
        if (changes->members_count >= rows_max) {
            return false;
        }
        uint64_t *fresh = &audience->fresh[engine->collect_word];
        uint64_t *dirty = &audience->dirty[engine->collect_word];
        uint64_t take = engine->collect_full ? *fresh | *dirty : *fresh;
        audience->fresh_count -= (uint32_t)__builtin_popcountll(*fresh & take);
        audience->dirty_count -= (uint32_t)__builtin_popcountll(*dirty & take);
        *fresh &= ~take;
        *dirty &= ~take;
        for (; take != 0; take &= take - 1) {
            uint32_t bit = (uint32_t)__builtin_ctzll(take);
            collect_member(engine, audience, engine->collect_word * WORD_BITS + bit, changes);
        }
    }
    return true;
}

/* One audience's part; true when it has nothing more for this pass. */
static bool collect_audience(struct engine *engine, struct audience *audience,
                             struct changes *changes, size_t rows_max)
{
    audience_update(engine, audience);
    bool members = audience->fresh_count > 0 || (engine->collect_full && audience->dirty_count > 0);
    bool over = audience->closed_count > 0 || audience->frames_count > 0;
    /* In a short pass aggregates alone wait for the full one, like the viewings they sum up. */
    bool aggregates =
        audience->aggregates_dirty && (engine->collect_full || audience->event->idle_collected);
    if (!members && !over && !aggregates) {
        return true;
    }
    struct event *event = audience->event;
    if (audience != &event->own && event->sets_stored < event->sets.sets_count) {
        collect_audience_row(engine, &event->own, changes);
    }
    collect_audience_row(engine, audience, changes);
    return collect_members(engine, audience, changes, rows_max);
}

/* ---- groups as of covered_seq ---- */

static int regrouped_order(const void *a, const void *b)
{
    uint32_t left = ((const struct regrouped *)a)->viewer_no;
    uint32_t right = ((const struct regrouped *)b)->viewer_no;
    return left < right ? -1 : left > right;
}

/* A full pass begins: the groups that its covered_seq will stand for are those of now. */
static void begin_regrouped(struct engine *engine)
{
    for (struct event *event = engine->all; event != NULL; event = event->all_next) {
        if (event->regrouped_count == 0) {
            continue;
        }
        struct regrouped *regrouped = event->regrouped;
        qsort(regrouped, event->regrouped_count, sizeof *regrouped, regrouped_order);
        uint32_t kept = 0;
        for (uint32_t i = 0; i < event->regrouped_count; i++) {
            uint32_t viewer_no = regrouped[i].viewer_no;
            if (kept == 0 || regrouped[kept - 1].viewer_no != viewer_no) {
                regrouped[kept++] = (struct regrouped){viewer_no, event->viewers[viewer_no].groups};
            }
        }
        event->regrouped_count = event->regrouped_begin = kept;
    }
}

/* The full pass ends: rows of the viewers whose groups were others at its begin. */
static void collect_regrouped(struct engine *engine, struct event *event, struct changes *changes)
{
    collect_audience_row(engine, &event->own, changes);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < event->regrouped_count; i++) {
        struct regrouped entry = event->regrouped[i];
        struct viewer *viewer = &event->viewers[entry.viewer_no];
        if (i < event->regrouped_begin && viewer->groups_covered != entry.groups_begin) {
            ASSERT(entry.viewer_no < event->own.stored_count);
            viewer->groups_covered = entry.groups_begin;
            collect_member(engine, &event->own, entry.viewer_no, changes);
        }
        if (i >= event->regrouped_begin || viewer->groups != viewer->groups_covered) {
            event->regrouped[kept++] = entry;
        }
    }
    event->regrouped_count = kept;
    event->regrouped_begin = 0;
}

/* ---- passes ---- */

void engine_collect_begin(struct engine *engine, bool full)
{
    ASSERT(!engine->collecting);
    find_idle(engine);
    if (full) {
        begin_regrouped(engine);
        erase_begin(engine);
    }
    engine->collecting = true;
    engine->collect_full = full;
    engine->collect_left = engine->touched_count;
    engine->collect_word = 0;
    engine->collect_begin_seq = engine->seq;
}

bool engine_collecting(const struct engine *engine)
{
    return engine->collecting;
}

static bool still_pending(const struct audience *audience)
{
    return audience->fresh_count > 0 || audience->dirty_count > 0 || audience->closed_count > 0 ||
           audience->frames_count > 0 || audience->aggregates_dirty || audience->frame_viewers > 0;
}

bool engine_collect(struct engine *engine, struct changes *changes, size_t rows_max)
{
    changes_reset(changes);
    if (!engine->collecting) {
        return false;
    }
    while (engine->collect_left > 0) {
        struct audience *audience = engine->touched_first;
        if (!collect_audience(engine, audience, changes, rows_max)) {
            return true; /* goes on with the next part */
        }
        engine->collect_word = 0;
        engine->collect_left--;
        engine_untouch(engine, audience);
        if (still_pending(audience)) {
            audience_touch(engine, audience); /* to the end of the list */
        }
        if (changes->members_count + changes->viewings_count + changes->frames_count >= rows_max ||
            changes->changes_count >= rows_max) {
            return true;
        }
    }
    engine->collecting = false;
    if (engine->collect_full) {
        for (struct event *event = engine->all; event != NULL; event = event->all_next) {
            if (event->regrouped_begin > 0) {
                collect_regrouped(engine, event, changes);
            }
        }
        erase_collect(engine, changes);
        erase_collected(engine);
        changes->covered_seq = engine->collect_begin_seq;
    }
    return changes->changes_count > 0 || changes->covered_seq > 0;
}
