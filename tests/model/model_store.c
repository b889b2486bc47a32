/* model_store.c -- rows in arrays; the rules of core/changes.h as assertions. */
#include "model/model_store.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/groups.h"
#include "model/model_compare.h"

#include <stdlib.h>

static void *append(void *array, size_t *count, size_t size)
{
    array = memory_resize(array, (*count + 1) * size);
    memset((char *)array + *count * size, 0, size);
    (*count)++;
    return array;
}

static void text_free(struct slice text)
{
    free((char *)text.ptr);
}

/* ---- commit ---- */

static struct store_event *event_at(struct model_store *store, const struct audience_row *row)
{
    for (size_t i = 0; i < store->events_count; i++) {
        if (slice_equal(store->events[i].id, row->event)) {
            return &store->events[i];
        }
    }
    ASSERT(row->session.len == 0); /* the event comes before or with its sessions */
    store->events = append(store->events, &store->events_count, sizeof *store->events);
    struct store_event *event = &store->events[store->events_count - 1];
    event->id = model_copy(row->event);
    event->sets = append(event->sets, &event->sets_count, sizeof *event->sets);
    return event;
}

static struct store_audience *audience_at(struct store_event *event, struct slice session)
{
    for (size_t i = 0; i < event->audiences_count; i++) {
        if (slice_equal(event->audiences[i].row.session, session)) {
            return &event->audiences[i];
        }
    }
    event->audiences = append(event->audiences, &event->audiences_count, sizeof *event->audiences);
    return &event->audiences[event->audiences_count - 1];
}

static void commit_audience(struct store_audience *audience, const struct audience_row *row)
{
    struct audience_row *kept = &audience->row;
    ASSERT(row->seq >= kept->seq && row->as_of_ms >= kept->as_of_ms);
    ASSERT(row->attended >= kept->attended && row->logins >= kept->logins);
    ASSERT(row->total_ms >= kept->total_ms && row->peak_count >= kept->peak_count);
    ASSERT(row->frame_start_ms >= kept->frame_start_ms);
    ASSERT(row->session.len == 0 || !row->idle);
    struct audience_row before = *kept;
    *kept = *row;
    kept->event = model_copy(row->event);
    kept->session = model_copy(row->session);
    kept->frame_groups = model_copy(row->frame_groups);
    kept->frame_countries = model_copy(row->frame_countries);
    text_free(before.event);
    text_free(before.session);
    text_free(before.frame_groups);
    text_free(before.frame_countries);
}

/* Rule 4. */
static void commit_groups(struct store_event *event, const struct groups_row *row)
{
    ASSERT(row->set_no == event->sets_count && groups_valid(row->packed) && row->packed.len > 0);
    event->sets = append(event->sets, &event->sets_count, sizeof *event->sets);
    event->sets[row->set_no] = model_copy(row->packed);
}

static void commit_viewing(struct store_audience *audience, const struct viewing_row *row)
{
    ASSERT(row->start_ms <= row->end_ms);
    for (size_t i = 0; i < audience->viewings_count; i++) {
        const struct viewing_row *kept = &audience->viewings[i];
        if (kept->member_no == row->member_no && kept->start_ms == row->start_ms) {
            ASSERT(kept->end_ms == row->end_ms); /* over for good: the same content */
            return;
        }
    }
    audience->viewings =
        append(audience->viewings, &audience->viewings_count, sizeof *audience->viewings);
    audience->viewings[audience->viewings_count - 1] = *row;
}

static void commit_frame(struct store_audience *audience, const struct frame_row *row)
{
    ASSERT(row->viewers > 0 && row->start_ms < row->end_ms);
    for (size_t i = 0; i < audience->frames_count; i++) {
        const struct frame_row *kept = &audience->frames[i];
        ASSERT(row->start_ms >= kept->end_ms); /* written once, in order, no overlap */
    }
    audience->frames = append(audience->frames, &audience->frames_count, sizeof *audience->frames);
    struct frame_row *frame = &audience->frames[audience->frames_count - 1];
    *frame = *row;
    frame->groups = model_copy(row->groups);
    frame->countries = model_copy(row->countries);
}

static void commit_member(const struct store_event *event, struct store_audience *audience,
                          const struct member_row *row)
{
    bool own = audience == &event->audiences[0];
    ASSERT(row->groups < event->sets_count && row->lease_groups < event->sets_count); /* rule 4 */
    ASSERT((row->viewer.len > 0) == (own && row->created));
    ASSERT(row->start_ms <= row->end_ms && (!own || row->viewer_no == row->member_no));
    ASSERT(row->member_no < audience->row.attended);
    if (row->created) {
        ASSERT(row->member_no == audience->members_count); /* rule 2 */
        audience->members =
            append(audience->members, &audience->members_count, sizeof *audience->members);
        audience->members[row->member_no] = *row;
        audience->members[row->member_no].viewer = model_copy(row->viewer);
        return;
    }
    ASSERT(row->member_no < audience->members_count);
    struct member_row *kept = &audience->members[row->member_no];
    ASSERT(row->viewer_no == kept->viewer_no && row->end_ms >= kept->end_ms);
    if (row->start_ms != kept->start_ms) { /* rule 3 */
        bool stored = false;
        for (size_t i = 0; i < audience->viewings_count; i++) {
            stored |= audience->viewings[i].member_no == row->member_no &&
                      audience->viewings[i].start_ms == kept->start_ms;
        }
        ASSERT(stored);
    }
    struct slice viewer = kept->viewer;
    *kept = *row;
    kept->viewer = viewer;
}

static void commit_change(struct model_store *store, const struct changes *changes,
                          const struct change *change)
{
    struct store_event *event = event_at(store, &change->audience);
    struct store_audience *audience = audience_at(event, change->audience.session);
    ASSERT(change->groups_count == 0 || audience == &event->audiences[0]);
    commit_audience(audience, &change->audience);
    for (size_t i = 0; i < change->groups_count; i++) {
        commit_groups(event, &changes->groups[change->groups_first + i]);
    }
    for (size_t i = 0; i < change->viewings_count; i++) {
        commit_viewing(audience, &changes->viewings[change->viewings_first + i]);
    }
    for (size_t i = 0; i < change->frames_count; i++) {
        commit_frame(audience, &changes->frames[change->frames_first + i]);
    }
    for (size_t i = 0; i < change->members_count; i++) {
        const struct member_row *row = &changes->members[change->members_first + i];
        ASSERT(i == 0 || row[-1].member_no < row->member_no);
        commit_member(event, audience, row);
    }
}

void model_store_commit(struct model_store *store, const struct changes *changes)
{
    for (size_t i = 0; i < changes->changes_count; i++) {
        ASSERT(changes->changes[i].audience.seq == changes->changes[0].audience.seq);
        commit_change(store, changes, &changes->changes[i]);
    }
    if (changes->covered_seq != 0) {
        ASSERT(changes->covered_seq >= store->covered_seq);
        store->covered_seq = changes->covered_seq;
    }
}

/* ---- load ---- */

const struct store_event *model_store_find(const struct model_store *store, struct slice event)
{
    for (size_t i = 0; i < store->events_count; i++) {
        if (slice_equal(store->events[i].id, event)) {
            return &store->events[i];
        }
    }
    return NULL;
}

struct event *model_store_load(const struct store_event *event, const struct engine_config *cfg)
{
    const char *why = NULL;
    struct event_builder *builder = event_builder_new(cfg, event->id);
    for (size_t i = 1; i < event->sets_count; i++) {
        struct groups_row row = {(uint16_t)i, event->sets[i]};
        ASSERT(event_builder_groups(builder, &row, &why) == ERR_NONE);
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        ASSERT(event_builder_audience(builder, &event->audiences[a].row, &why) == ERR_NONE);
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        const struct store_audience *audience = &event->audiences[a];
        for (size_t i = 0; i < audience->members_count; i++) {
            ASSERT(event_builder_member(builder, audience->row.session, &audience->members[i],
                                        &why) == ERR_NONE);
        }
    }
    struct event *loaded;
    ASSERT(event_builder_finish(builder, &loaded, &why) == ERR_NONE);
    return loaded;
}

/* ---- compare ---- */

static void same_member(const struct model_event *event, const struct store_audience *stored,
                        const struct model_member *member, uint32_t member_no)
{
    struct slice session = stored->row.session;
    size_t viewings = 0;
    const struct member_row *row = &stored->members[member_no];
    const struct model_viewing *latest = &member->viewings[member->viewings_count - 1];
    MODEL_SAME("stored start", event->id, session, row->start_ms, latest->start_ms);
    MODEL_SAME("stored end", event->id, session, row->end_ms, latest->end_ms);
    MODEL_SAME("stored expiry", event->id, session, row->expiry_ms, member->expiry_ms);
    MODEL_SAME("stored country", event->id, session, row->country, member->country);
    for (size_t i = 0; i < stored->viewings_count; i++) {
        const struct viewing_row *viewing = &stored->viewings[i];
        if (viewing->member_no != member_no) {
            continue;
        }
        viewings++;
        bool found = false;
        for (size_t v = 0; v + 1 < member->viewings_count; v++) {
            found |= member->viewings[v].start_ms == viewing->start_ms &&
                     member->viewings[v].end_ms == viewing->end_ms;
        }
        MODEL_SAME("stored viewing", event->id, session, found, 1);
    }
    MODEL_SAME("stored viewings", event->id, session, viewings + 1, member->viewings_count);
}

static void same_audience(const struct model *model, const struct model_event *event,
                          const struct store_event *stored_event,
                          const struct store_audience *stored,
                          const struct model_audience *audience)
{
    struct figures want;
    model_figures(model, audience, &want);
    struct slice id = event->id, session = audience->session;
    MODEL_SAME("stored attended", id, session, stored->row.attended, want.attended);
    MODEL_SAME("stored members", id, session, stored->members_count, want.attended);
    MODEL_SAME("stored logins", id, session, stored->row.logins, want.logins);
    MODEL_SAME("stored total", id, session, stored->row.total_ms, want.total_ms);
    MODEL_SAME("stored peak", id, session, stored->row.peak_count, want.peak_count);
    MODEL_SAME("stored peak time", id, session, stored->row.peak_ms, want.peak_ms);
    for (uint32_t i = 0; i < audience->members_count; i++) {
        const struct model_member *member = &audience->members[i];
        uint32_t viewer_no = stored->members[i].viewer_no;
        MODEL_SAME(
            "stored viewer", id, session,
            slice_equal(stored_event->audiences[0].members[viewer_no].viewer, member->viewer), 1);
        same_member(event, stored, member, i);
        uint16_t set = stored->members[i].lease_groups;
        MODEL_SAME("stored lease groups", id, session,
                   slice_equal(stored_event->sets[set], member->groups), 1);
        if (session.len == 0) {
            set = stored->members[i].groups;
            MODEL_SAME("stored groups", id, session,
                       slice_equal(stored_event->sets[set], event->groups[i]), 1);
        }
    }
    size_t frames = audience->frames_count;
    if (frames > 0 && model->now_ms < audience->frames[frames - 1].end_ms) {
        const struct model_frame *frame = &audience->frames[--frames];
        struct frame_row pending = {.start_ms = stored->row.frame_start_ms,
                                    .end_ms =
                                        stored->row.frame_start_ms + stored->row.frame_length_ms,
                                    .viewers = stored->row.frame_viewers,
                                    .groups = stored->row.frame_groups,
                                    .countries = stored->row.frame_countries};
        model_same_frame(id, session, &pending, frame);
    }
    MODEL_SAME("stored frames", id, session, stored->frames_count, frames);
    for (size_t i = 0; i < frames; i++) {
        model_same_frame(id, session, &stored->frames[i], &audience->frames[i]);
    }
}

void model_store_compare(const struct model_store *store, const struct model *model)
{
    for (size_t e = 0; e < model->events_count; e++) {
        const struct model_event *event = &model->events[e];
        const struct store_event *stored = model_store_find(store, event->id);
        struct slice none = SLICE_EMPTY;
        MODEL_SAME("event is stored", event->id, none, stored != NULL, 1);
        MODEL_SAME("stored audiences", event->id, none, stored->audiences_count,
                   event->audiences_count);
        for (size_t a = 0; a < event->audiences_count; a++) {
            MODEL_SAME("stored order", event->id, none,
                       slice_equal(stored->audiences[a].row.session, event->audiences[a].session),
                       1);
            same_audience(model, event, stored, &stored->audiences[a], &event->audiences[a]);
        }
    }
}

/* ---- life ---- */

struct model_store *model_store_new(void)
{
    return memory_zalloc(sizeof(struct model_store));
}

static void audience_free(struct store_audience *audience)
{
    for (size_t i = 0; i < audience->members_count; i++) {
        text_free(audience->members[i].viewer);
    }
    for (size_t i = 0; i < audience->frames_count; i++) {
        text_free(audience->frames[i].groups);
        text_free(audience->frames[i].countries);
    }
    text_free(audience->row.event);
    text_free(audience->row.session);
    text_free(audience->row.frame_groups);
    text_free(audience->row.frame_countries);
    free(audience->members);
    free(audience->viewings);
    free(audience->frames);
}

void model_store_free(struct model_store *store)
{
    for (size_t e = 0; e < store->events_count; e++) {
        struct store_event *event = &store->events[e];
        for (size_t a = 0; a < event->audiences_count; a++) {
            audience_free(&event->audiences[a]);
        }
        for (size_t i = 0; i < event->sets_count; i++) {
            text_free(event->sets[i]);
        }
        free(event->audiences);
        free(event->sets);
        text_free(event->id);
    }
    free(store->events);
    free(store);
}
