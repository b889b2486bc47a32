/* model_engine.c -- DESIGN, section 2, as plainly as it can be written. */
#include "model/model_engine.h"

#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"

#include <stdlib.h>

/* Room for one more element, zeroed, at the end of an array. */
static void *append(void *array, size_t *count, size_t size)
{
    array = memory_resize(array, (*count + 1) * size);
    memset((char *)array + *count * size, 0, size);
    (*count)++;
    return array;
}

struct slice model_copy(struct slice text)
{
    char *bytes = memory_alloc(text.len + 1);
    if (text.len > 0) {
        memcpy(bytes, text.ptr, text.len);
    }
    return slice_of(bytes, text.len);
}

static void replace(struct slice *kept, struct slice text)
{
    struct slice copied = model_copy(text);
    free((char *)kept->ptr);
    *kept = copied;
}

/* ---- finding and making ---- */

static struct model_event *find_event(const struct model *model, struct slice id)
{
    for (size_t i = 0; i < model->events_count; i++) {
        if (slice_equal(model->events[i].id, id)) {
            return &model->events[i];
        }
    }
    return NULL;
}

static struct model_audience *find_audience(const struct model_event *event, struct slice session)
{
    for (size_t i = 0; i < event->audiences_count; i++) {
        if (slice_equal(event->audiences[i].session, session)) {
            return &event->audiences[i];
        }
    }
    return NULL;
}

static struct model_member *find_member(const struct model_audience *audience, struct slice viewer)
{
    for (size_t i = 0; i < audience->members_count; i++) {
        if (slice_equal(audience->members[i].viewer, viewer)) {
            return &audience->members[i];
        }
    }
    return NULL;
}

static struct model_audience *audience_at(struct model_event *event, struct slice session)
{
    struct model_audience *audience = find_audience(event, session);
    if (audience == NULL) {
        event->audiences =
            append(event->audiences, &event->audiences_count, sizeof *event->audiences);
        audience = &event->audiences[event->audiences_count - 1];
        audience->session = model_copy(session);
    }
    return audience;
}

static struct model_event *event_at(struct model *model, struct slice id)
{
    struct model_event *event = find_event(model, id);
    if (event == NULL) {
        model->events = append(model->events, &model->events_count, sizeof *model->events);
        event = &model->events[model->events_count - 1];
        event->id = model_copy(id);
        (void)audience_at(event, SLICE_EMPTY);
    }
    return event;
}

static struct model_member *member_at(struct model_audience *audience, struct slice viewer)
{
    struct model_member *member = find_member(audience, viewer);
    if (member == NULL) {
        audience->members =
            append(audience->members, &audience->members_count, sizeof *audience->members);
        member = &audience->members[audience->members_count - 1];
        member->viewer = model_copy(viewer);
        member->counted_frame_ms = -1;
    }
    return member;
}

/* ---- one heartbeat in one audience ---- */

/* Semantics 4, and what it leaves open: when the length changes, a frame that is being counted goes
 * on to its end, and the next one begins there, so that frames never overlap. */
static struct model_frame *frame_now(struct model *model, struct model_audience *audience)
{
    int64_t start_ms = model->now_ms / model->windows.frame_ms * model->windows.frame_ms;
    int64_t end_ms = start_ms + model->windows.frame_ms;
    if (audience->frames_count > 0) {
        struct model_frame *newest = &audience->frames[audience->frames_count - 1];
        if (model->now_ms < newest->end_ms) {
            return newest;
        }
        if (start_ms < newest->end_ms) {
            start_ms = newest->end_ms;
        }
    }
    audience->frames = append(audience->frames, &audience->frames_count, sizeof *audience->frames);
    struct model_frame *frame = &audience->frames[audience->frames_count - 1];
    frame->start_ms = start_ms;
    frame->end_ms = end_ms;
    return frame;
}

static void tally_groups(struct model_tally *tally, struct slice packed)
{
    for (struct slice rest = packed, id; groups_next(&rest, &id);) {
        model_tally_add(tally, id, 1);
    }
}

static void tally_country(struct model_tally *tally, country_t country)
{
    char text[2];
    country_text(country, text);
    model_tally_add(tally, slice_of(text, 2), 1);
}

static uint64_t count_alive(const struct model *model, const struct model_audience *audience)
{
    uint64_t count = 0;
    for (size_t i = 0; i < audience->members_count; i++) {
        count += model_alive(model, &audience->members[i]);
    }
    return count;
}

static void heartbeat_in(struct model *model, struct model_audience *audience,
                         const struct heartbeat *heartbeat, struct slice groups)
{
    int64_t now_ms = model->now_ms;
    const struct engine_windows *windows = &model->windows;
    struct model_member *member = member_at(audience, heartbeat->viewer); /* 2 */
    /* 1 */
    bool hidden = heartbeat->flags & HEARTBEAT_HIDDEN;
    member->expiry_ms = now_ms + (hidden ? windows->hidden_ms : windows->alive_ms);
    replace(&member->groups, groups);
    member->country = heartbeat->country;
    /* 3 */
    if (member->viewings_count == 0 ||
        now_ms - member->viewings[member->viewings_count - 1].end_ms > windows->gap_ms) {
        member->viewings =
            append(member->viewings, &member->viewings_count, sizeof *member->viewings);
        member->viewings[member->viewings_count - 1].start_ms = now_ms;
    }
    member->viewings[member->viewings_count - 1].end_ms = now_ms;
    /* 4 */
    struct model_frame *frame = frame_now(model, audience);
    if (member->counted_frame_ms != frame->start_ms) {
        member->counted_frame_ms = frame->start_ms;
        frame->viewers++;
        tally_groups(&frame->groups, member->groups);
        tally_country(&frame->countries, member->country);
    }
    /* 5 */
    uint64_t alive = count_alive(model, audience);
    if (alive > audience->peak_count) {
        audience->peak_count = alive;
        audience->peak_ms = now_ms;
    }
}

static void leave_in(struct model *model, struct model_audience *audience, struct slice viewer)
{
    struct model_member *member = audience == NULL ? NULL : find_member(audience, viewer);
    if (member == NULL) {
        return; /* never seen here */
    }
    if (member->expiry_ms > model->now_ms + model->windows.leaving_ms) {
        member->expiry_ms = model->now_ms + model->windows.leaving_ms;
    }
    struct model_viewing *latest = &member->viewings[member->viewings_count - 1];
    if (model->now_ms - latest->end_ms <= model->windows.gap_ms) {
        latest->end_ms = model->now_ms;
    }
}

void model_heartbeat(struct model *model, const struct heartbeat *heartbeat)
{
    if (heartbeat->flags & HEARTBEAT_LEAVING) {
        struct model_event *event = find_event(model, heartbeat->event);
        if (event != NULL) {
            leave_in(model, &event->audiences[0], heartbeat->viewer);
            if (heartbeat->session.len > 0) {
                leave_in(model, find_audience(event, heartbeat->session), heartbeat->viewer);
            }
        }
        return;
    }
    struct model_event *event = event_at(model, heartbeat->event);
    size_t viewers_before = event->audiences[0].members_count;
    size_t viewer_no =
        (size_t)(member_at(&event->audiences[0], heartbeat->viewer) - event->audiences[0].members);
    if (event->audiences[0].members_count > viewers_before) {
        event->groups = append(event->groups, &viewers_before, sizeof *event->groups);
        event->groups[viewer_no] = model_copy(SLICE_EMPTY);
    }
    if (heartbeat->flags & HEARTBEAT_GROUPS) {
        replace(&event->groups[viewer_no], heartbeat->groups);
    }
    heartbeat_in(model, &event->audiences[0], heartbeat, event->groups[viewer_no]);
    if (heartbeat->session.len > 0) {
        heartbeat_in(model, audience_at(event, heartbeat->session), heartbeat,
                     event->groups[viewer_no]);
    }
}

void model_profile(struct model *model, struct slice id, struct slice viewer, struct slice groups)
{
    struct model_event *event = find_event(model, id);
    struct model_member *member = event == NULL ? NULL : find_member(&event->audiences[0], viewer);
    if (member != NULL) {
        replace(&event->groups[member - event->audiences[0].members], groups);
    }
}

/* ---- erasure ---- */

static void member_free(struct model_member *member)
{
    free((char *)member->viewer.ptr);
    free((char *)member->groups.ptr);
    free(member->viewings);
}

static void audience_free(struct model_audience *audience)
{
    for (size_t i = 0; i < audience->members_count; i++) {
        member_free(&audience->members[i]);
    }
    for (size_t i = 0; i < audience->frames_count; i++) {
        model_tally_fini(&audience->frames[i].groups);
        model_tally_fini(&audience->frames[i].countries);
    }
    free((char *)audience->session.ptr);
    free(audience->members);
    free(audience->frames);
}

/* With all that is in it. */
static void event_fini(struct model_event *event)
{
    for (size_t v = 0; v < event->audiences[0].members_count; v++) {
        free((char *)event->groups[v].ptr);
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        audience_free(&event->audiences[a]);
    }
    free(event->audiences);
    free(event->groups);
    free((char *)event->id.ptr);
}

/* Takes element `at` out of an array. */
static void take_out(void *array, size_t *count, size_t at, size_t size)
{
    char *element = (char *)array + at * size;
    memmove(element, element + size, (--*count - at) * size);
}

bool model_erase(struct model *model, struct slice id, struct slice viewer)
{
    struct model_event *event = find_event(model, id);
    if (event == NULL || find_member(&event->audiences[0], viewer) == NULL) {
        return false;
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct model_audience *audience = &event->audiences[a];
        struct model_member *member = find_member(audience, viewer);
        if (member == NULL) {
            continue;
        }
        size_t at = (size_t)(member - audience->members);
        if (a == 0) {
            size_t count = audience->members_count;
            free((char *)event->groups[at].ptr);
            take_out(event->groups, &count, at, sizeof *event->groups);
        }
        member_free(member);
        take_out(audience->members, &audience->members_count, at, sizeof *member);
    }
    return true;
}

/* The sums of who is there are those of who was. */
static void keep_sums(const struct model *model, struct model_audience *audience)
{
    struct figures figures;
    model_figures(model, audience, &figures);
    audience->attended_kept = figures.attended;
    audience->logins_kept = figures.logins;
    audience->total_kept_ms = figures.total_ms;
}

static void people_free(struct model_event *event)
{
    for (size_t v = 0; v < event->audiences[0].members_count; v++) {
        free((char *)event->groups[v].ptr);
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct model_audience *audience = &event->audiences[a];
        for (size_t i = 0; i < audience->members_count; i++) {
            member_free(&audience->members[i]);
        }
        audience->members_count = 0;
    }
}

void model_purge(struct model *model, struct slice id, bool keep_statistics)
{
    struct model_event *event = event_at(model, id);
    for (size_t a = 0; a < event->audiences_count; a++) {
        keep_sums(model, &event->audiences[a]);
    }
    people_free(event);
    event->purge_keep = keep_statistics && (!event->purging || event->purge_keep);
    event->purging = true;
}

void model_purged(struct model *model, struct slice id)
{
    struct model_event *event = find_event(model, id);
    event->purging = false;
    if (!event->purge_keep) {
        event_fini(event);
        take_out(model->events, &model->events_count, (size_t)(event - model->events),
                 sizeof *event);
    }
}

/* ---- answers ---- */

void model_figures(const struct model *model, const struct model_audience *audience,
                   struct figures *figures)
{
    *figures = (struct figures){.session = audience->session,
                                .active = count_alive(model, audience),
                                .attended = audience->members_count + audience->attended_kept,
                                .logins = audience->logins_kept + audience->logins_to_go,
                                .total_ms = audience->total_kept_ms + audience->total_to_go_ms,
                                .peak_count = audience->peak_count,
                                .peak_ms = audience->peak_ms};
    for (size_t i = 0; i < audience->members_count; i++) {
        const struct model_member *member = &audience->members[i];
        figures->logins += member->viewings_count;
        for (size_t v = 0; v < member->viewings_count; v++) {
            figures->total_ms += member->viewings[v].end_ms - member->viewings[v].start_ms;
        }
    }
}

void model_live(const struct model *model, const struct model_audience *audience,
                struct model_tally *groups, struct model_tally *countries)
{
    *groups = *countries = (struct model_tally){0};
    for (size_t i = 0; i < audience->members_count; i++) {
        const struct model_member *member = &audience->members[i];
        if (model_alive(model, member)) {
            tally_groups(groups, member->groups);
            tally_country(countries, member->country);
        }
    }
}

const struct model_event *model_event_find(const struct model *model, struct slice event)
{
    return find_event(model, event);
}

const struct model_audience *model_audience_find(const struct model_event *event,
                                                 struct slice session)
{
    return find_audience(event, session);
}

const struct model_member *model_member_find(const struct model_audience *audience,
                                             struct slice viewer)
{
    return find_member(audience, viewer);
}

/* ---- tallies ---- */

void model_tally_add(struct model_tally *tally, struct slice key, uint32_t by)
{
    for (size_t i = 0; i < tally->count; i++) {
        if (slice_equal(tally->counts[i].key, key)) {
            tally->counts[i].count += by;
            return;
        }
    }
    tally->counts = append(tally->counts, &tally->count, sizeof *tally->counts);
    tally->counts[tally->count - 1] = (struct model_count){model_copy(key), by};
}

bool model_tally_equal(const struct model_tally *a, const struct model_tally *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        size_t at = 0;
        while (at < b->count && !slice_equal(a->counts[i].key, b->counts[at].key)) {
            at++;
        }
        if (at == b->count || a->counts[i].count != b->counts[at].count) {
            return false;
        }
    }
    return true;
}

void model_tally_read(struct model_tally *tally, struct slice packed)
{
    struct slice key;
    for (uint32_t count; tally_next(&packed, &key, &count);) {
        model_tally_add(tally, key, count);
    }
}

void model_tally_fini(struct model_tally *tally)
{
    for (size_t i = 0; i < tally->count; i++) {
        free((char *)tally->counts[i].key.ptr);
    }
    free(tally->counts);
    *tally = (struct model_tally){0};
}

/* ---- life ---- */

struct model *model_new(const struct engine_windows *windows)
{
    struct model *model = memory_zalloc(sizeof *model);
    model->windows = *windows;
    return model;
}

void model_begin(struct model *model, int64_t now_ms)
{
    model->now_ms = now_ms;
}

void model_set_windows(struct model *model, const struct engine_windows *windows)
{
    model->windows = *windows;
}

void model_free(struct model *model)
{
    for (size_t i = 0; i < model->events_count; i++) {
        event_fini(&model->events[i]);
    }
    free(model->events);
    free(model);
}
