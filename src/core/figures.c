/* figures.c -- answers: figures are kept, so reading them is looking them up. */
#include "base/assert.h"
#include "core/country.h"
#include "core/engine_state.h"

static void fill(struct engine *engine, struct audience *audience, struct figures *figures)
{
    audience_update(engine, audience);
    *figures = (struct figures){
        .session = audience_session(audience),
        .active = audience->alive.count,
        .attended = audience_attended(audience),
        .logins = audience->logins,
        .total_ms = audience->total_ms,
        .peak_count = audience->peak_count,
        .peak_ms = audience->peak_ms,
    };
}

/* The audience asked for; NULL with FIGURES_OK: nobody has seen the session. */
static enum figures_outcome find(struct engine *engine, struct slice event_id, struct slice session,
                                 struct audience **audience)
{
    *audience = NULL;
    struct event *event = engine_find_event(engine, event_id);
    if (event == NULL) {
        return FIGURES_NEED_EVENT;
    }
    if (event->purging) {
        return FIGURES_OK;
    }
    *audience = session.len == 0
                    ? &event->own
                    : event_find_session(event, session, event_session_hash(event, session));
    return FIGURES_OK;
}

enum figures_outcome engine_figures(struct engine *engine, struct slice event, struct slice session,
                                    struct figures *figures)
{
    struct audience *audience;
    enum figures_outcome outcome = find(engine, event, session, &audience);
    *figures = (struct figures){.session = session};
    if (audience != NULL) {
        fill(engine, audience, figures);
        figures->session = session;
    }
    return outcome;
}

enum figures_outcome engine_overview(struct engine *engine, struct slice event_id, figures_fn *fn,
                                     void *ctx)
{
    struct event *event = engine_find_event(engine, event_id);
    if (event == NULL) {
        return FIGURES_NEED_EVENT;
    }
    struct figures figures = {0};
    if (event->purging) {
        fn(ctx, &figures);
        return FIGURES_OK;
    }
    fill(engine, &event->own, &figures);
    fn(ctx, &figures);
    for (uint32_t i = 0; i < event->sessions_count; i++) {
        fill(engine, event->sessions[i], &figures);
        fn(ctx, &figures);
    }
    return FIGURES_OK;
}

enum figures_outcome engine_live(struct engine *engine, struct slice event, struct slice session,
                                 uint64_t *active, live_count_fn *fn, void *ctx)
{
    struct audience *audience;
    enum figures_outcome outcome = find(engine, event, session, &audience);
    *active = 0;
    if (audience == NULL) {
        return outcome;
    }
    audience_update(engine, audience);
    *active = audience->alive.count;
    struct counts_entry *entry;
    for (uint32_t i = 0; (entry = counts_each(&audience->groups, &i)) != NULL;) {
        if (entry->live > 0) {
            fn(ctx, true, group_sets_name(&audience->event->sets, entry->key - 1), entry->live);
        }
    }
    for (uint32_t i = 0; (entry = counts_each(&audience->countries, &i)) != NULL;) {
        char country[2];
        if (entry->live > 0) {
            country_text((country_t)(entry->key - 1), country);
            fn(ctx, false, slice_of(country, sizeof country), entry->live);
        }
    }
    return outcome;
}

enum figures_outcome engine_frames(struct engine *engine, struct slice event, struct slice session,
                                   frame_fn *fn, void *ctx)
{
    struct audience *audience;
    enum figures_outcome outcome = find(engine, event, session, &audience);
    if (audience == NULL) {
        return outcome;
    }
    audience_update(engine, audience);
    for (uint32_t i = 0; i < audience->frames_count; i++) {
        const struct frame_over *frame = &audience->frames[i];
        struct frame_row row = {.start_ms = frame->start_ms,
                                .end_ms = frame->end_ms,
                                .viewers = frame->viewers,
                                .groups = slice_of(frame->groups, frame->groups_len),
                                .countries = slice_of(frame->countries, frame->countries_len)};
        fn(ctx, &row);
    }
    return outcome;
}

enum figures_outcome engine_viewer(struct engine *engine, struct slice event_id,
                                   struct slice viewer, bool *attended, struct slice *groups,
                                   viewer_viewing_fn *fn, void *ctx)
{
    *attended = false;
    *groups = SLICE_EMPTY;
    struct event *event = engine_find_event(engine, event_id);
    if (event == NULL) {
        return FIGURES_NEED_EVENT;
    }
    struct viewer_key key;
    viewer_key_make(&key, viewer);
    uint32_t viewer_no = event_find_viewer(event, &key, event_viewer_hash(event, &key));
    if (event->purging || viewer_no == MEMBER_NONE || event_viewer_erasing(event, viewer_no)) {
        return FIGURES_OK;
    }
    *attended = true;
    *groups = group_sets_packed(&event->sets, event->viewers[viewer_no].groups);
    for (uint32_t i = 0; i <= event->sessions_count; i++) {
        struct audience *audience = i == 0 ? &event->own : event->sessions[i - 1];
        uint32_t number = i == 0 ? viewer_no : audience_find(audience, viewer_no);
        if (number == MEMBER_NONE) {
            continue;
        }
        audience_update(engine, audience);
        const struct member *member = &audience->members[number];
        struct viewer_viewing viewing = {.session = audience_session(audience),
                                         .viewer_no = viewer_no,
                                         .start_ms = member->start_ms,
                                         .end_ms = member->end_ms,
                                         .latest = true,
                                         .alive = member->list != ALIVE_NOT,
                                         .country = member->country};
        fn(ctx, &viewing);
        for (uint32_t c = 0; c < audience->closed_count; c++) {
            const struct viewing_row *closed = &audience->closed[c];
            if (closed->member_no == number) {
                viewing.latest = viewing.alive = false;
                viewing.start_ms = closed->start_ms;
                viewing.end_ms = closed->end_ms;
                fn(ctx, &viewing);
            }
        }
    }
    return FIGURES_OK;
}
