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

/* ---- parts of its life ---- */

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
    free(audience->lacking);
    free(audience->viewings);
    free(audience->frames);
}

static void event_fini(struct store_event *event)
{
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
    ASSERT(row->members >= kept->members && row->peak_count >= kept->peak_count);
    ASSERT(row->logins >= row->attended && row->total_ms >= 0);
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
        /* Each once: what catching up closes again is here already. */
        ASSERT(kept->member_no != row->member_no || kept->start_ms != row->start_ms);
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
    ASSERT(row->member_no < audience->row.members && !member_row_empty(row));
    if (row->created) {
        ASSERT(row->member_no == audience->members_count); /* rule 2 */
        audience->members =
            append(audience->members, &audience->members_count, sizeof *audience->members);
        audience->lacking = memory_resize(audience->lacking, audience->members_count);
        audience->lacking[row->member_no] = 0;
        audience->members[row->member_no] = *row;
        audience->members[row->member_no].viewer = model_copy(row->viewer);
        return;
    }
    ASSERT(row->member_no < audience->members_count);
    struct member_row *kept = &audience->members[row->member_no];
    ASSERT(!member_row_empty(kept)); /* nobody touches an erased one */
    ASSERT(row->viewer_no == kept->viewer_no && row->end_ms >= kept->end_ms);
    if (row->start_ms != kept->start_ms) { /* rule 3 */
        bool stored = false;
        for (size_t i = 0; i < audience->viewings_count; i++) {
            stored |= audience->viewings[i].member_no == row->member_no &&
                      audience->viewings[i].start_ms == kept->start_ms;
        }
        audience->lacking[row->member_no] |= !stored; /* then an erasure is to come */
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

static struct store_event *must_find(struct model_store *store, struct slice id)
{
    const struct store_event *event = model_store_find(store, id);
    ASSERT(event != NULL);
    return &store->events[event - store->events];
}

/* Takes the earlier viewings of a member out, and tells. */
static void erase_viewings(struct slice event, struct store_audience *audience, uint32_t member_no,
                           struct changes *changes)
{
    struct erased_row erased = {.event = changes_copy(changes, event),
                                .session = changes_copy(changes, audience->row.session)};
    size_t kept = 0;
    for (size_t i = 0; i < audience->viewings_count; i++) {
        struct viewing_row row = audience->viewings[i];
        if (row.member_no == member_no) {
            erased.viewings++;
            erased.total_ms += row.end_ms - row.start_ms;
        } else {
            audience->viewings[kept++] = row;
        }
    }
    audience->viewings_count = kept;
    audience->row.logins -= erased.viewings;
    audience->row.total_ms -= erased.total_ms;
    if (erased.viewings > 0) {
        *changes_add_erased(changes) = erased;
    }
}

/* The aggregates came with the erasure. */
static bool has_row(const struct changes *changes, struct slice event, struct slice session)
{
    for (size_t i = 0; i < changes->changes_count; i++) {
        const struct audience_row *row = &changes->changes[i].audience;
        if (slice_equal(row->event, event) && slice_equal(row->session, session)) {
            return true;
        }
    }
    return false;
}

static void commit_erasure(struct model_store *store, struct changes *changes,
                           const struct erasure_row *row)
{
    struct store_event *event = must_find(store, row->event);
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct store_audience *audience = &event->audiences[a];
        bool found = false;
        for (uint32_t i = 0; i < audience->members_count; i++) {
            struct member_row *member = &audience->members[i];
            if (member->viewer_no != row->viewer_no) {
                continue;
            }
            ASSERT(!found && !member_row_empty(member));
            ASSERT(a > 0 || (i == row->viewer_no && slice_equal(member->viewer, row->viewer)));
            ASSERT(has_row(changes, row->event, audience->row.session));
            found = true;
            erase_viewings(event->id, audience, i, changes);
            text_free(member->viewer);
            *member = (struct member_row){
                .member_no = i, .viewer_no = row->viewer_no, .counted_frame_ms = -1};
            audience->lacking[i] = 0;
        }
        ASSERT(found || a > 0);
    }
}

static void people_free(struct store_event *event)
{
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct store_audience *audience = &event->audiences[a];
        for (size_t i = 0; i < audience->members_count; i++) {
            text_free(audience->members[i].viewer);
        }
        audience->members_count = audience->viewings_count = 0;
        audience->row.members = 0;
        ASSERT(audience->row.frame_viewers == 0); /* idle: its frames are over */
    }
    for (; event->sets_count > 1; event->sets_count--) {
        text_free(event->sets[event->sets_count - 1]);
    }
}

static void commit_purge(struct model_store *store, const struct purge_row *row)
{
    const struct store_event *found = model_store_find(store, row->event);
    if (found == NULL) {
        return; /* it was not here yet, or never */
    }
    struct store_event *event = must_find(store, row->event);
    if (row->keep_statistics) {
        people_free(event);
    } else {
        event_fini(event);
        *event = store->events[--store->events_count];
    }
}

void model_store_commit(struct model_store *store, struct changes *changes)
{
    for (size_t i = 0; i < changes->changes_count; i++) {
        ASSERT(changes->changes[i].audience.seq == changes->changes[0].audience.seq);
        commit_change(store, changes, &changes->changes[i]);
    }
    ASSERT(changes->covered_seq != 0 ||
           (changes->erasures_count == 0 && changes->purges_count == 0));
    for (size_t i = 0; i < changes->erasures_count; i++) {
        commit_erasure(store, changes, &changes->erasures[i]);
    }
    for (size_t i = 0; i < changes->purges_count; i++) {
        commit_purge(store, &changes->purges[i]);
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
    MODEL_SAME("stored numbers", id, session, stored->members_count, stored->row.members);
    MODEL_SAME("stored logins", id, session, stored->row.logins, want.logins);
    MODEL_SAME("stored total", id, session, stored->row.total_ms, want.total_ms);
    MODEL_SAME("stored peak", id, session, stored->row.peak_count, want.peak_count);
    MODEL_SAME("stored peak time", id, session, stored->row.peak_ms, want.peak_ms);
    uint32_t at = 0; /* of the model's members, who do not know the erased ones */
    for (uint32_t i = 0; i < stored->members_count; i++) {
        MODEL_SAME("stored lack", id, session, stored->lacking[i], 0);
        if (member_row_empty(&stored->members[i])) {
            MODEL_SAME("an erased id", id, session, stored->members[i].viewer.len, 0);
            continue;
        }
        MODEL_SAME("stored members", id, session, at < audience->members_count, 1);
        const struct model_member *member = &audience->members[at++];
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
                       slice_equal(stored_event->sets[set], event->groups[at - 1]), 1);
        }
    }
    MODEL_SAME("stored members", id, session, at, audience->members_count);
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
    MODEL_SAME("stored events", SLICE_EMPTY, SLICE_EMPTY, store->events_count, model->events_count);
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

void model_store_free(struct model_store *store)
{
    for (size_t e = 0; e < store->events_count; e++) {
        event_fini(&store->events[e]);
    }
    free(store->events);
    free(store);
}
