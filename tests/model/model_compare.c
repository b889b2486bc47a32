/* model_compare.c -- asks the engine everything and compares. */
#include "model/model_compare.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void model_differ(const char *what, struct slice event, struct slice session,
                            int64_t tested, int64_t model)
{
    fprintf(stderr, "# %s of %.*s/%.*s: tested %lld, model %lld\n", what, SLICE_ARG(event),
            SLICE_ARG(session), (long long)tested, (long long)model);
    abort();
}

static void same_figures(struct slice event, const struct figures *got, const struct figures *want)
{
    struct slice session = want->session;
    MODEL_SAME("session equal", event, session, slice_equal(got->session, session), 1);
    MODEL_SAME("active", event, session, got->active, want->active);
    MODEL_SAME("attended", event, session, got->attended, want->attended);
    MODEL_SAME("logins", event, session, got->logins, want->logins);
    MODEL_SAME("total_ms", event, session, got->total_ms, want->total_ms);
    MODEL_SAME("peak_count", event, session, got->peak_count, want->peak_count);
    MODEL_SAME("peak_ms", event, session, got->peak_ms, want->peak_ms);
}

struct overview {
    const struct model *model;
    const struct model_event *event;
    size_t at;
};

static void overview_row(void *ctx, const struct figures *figures)
{
    struct overview *overview = ctx;
    struct slice none = SLICE_EMPTY;
    MODEL_SAME("one more audience", overview->event->id, none,
               overview->at < overview->event->audiences_count, 1);
    struct figures want;
    model_figures(overview->model, &overview->event->audiences[overview->at++], &want);
    same_figures(overview->event->id, figures, &want);
}

struct live {
    struct model_tally groups, countries;
};

static void live_count(void *ctx, bool is_group, struct slice key, uint32_t count)
{
    struct live *live = ctx;
    model_tally_add(is_group ? &live->groups : &live->countries, key, count);
}

static void same_live(const struct model *model, struct engine *engine, struct slice event,
                      const struct model_audience *audience)
{
    struct live got = {0};
    uint64_t active;
    MODEL_SAME("live", event, audience->session,
               engine_live(engine, event, audience->session, &active, live_count, &got),
               FIGURES_OK);
    struct figures want;
    model_figures(model, audience, &want);
    MODEL_SAME("live active", event, audience->session, active, want.active);
    struct model_tally groups, countries;
    model_live(model, audience, &groups, &countries);
    MODEL_SAME("live groups", event, audience->session, model_tally_equal(&got.groups, &groups), 1);
    MODEL_SAME("live countries", event, audience->session,
               model_tally_equal(&got.countries, &countries), 1);
    model_tally_fini(&groups);
    model_tally_fini(&countries);
    model_tally_fini(&got.groups);
    model_tally_fini(&got.countries);
}

/* The engine's frames are the newest of the model's that are over. */
struct frame_walk {
    const struct model_event *event;
    const struct model_audience *audience;
    size_t at;
};

static void count_frame(void *ctx, const struct frame_row *row)
{
    (void)row;
    (*(size_t *)ctx)++;
}

void model_same_frame(struct slice event, struct slice session, const struct frame_row *got,
                      const struct model_frame *want)
{
    MODEL_SAME("frame start", event, session, got->start_ms, want->start_ms);
    MODEL_SAME("frame end", event, session, got->end_ms, want->end_ms);
    MODEL_SAME("frame viewers", event, session, got->viewers, want->viewers);
    struct model_tally groups = {0}, countries = {0};
    model_tally_read(&groups, got->groups);
    model_tally_read(&countries, got->countries);
    MODEL_SAME("frame groups", event, session, model_tally_equal(&groups, &want->groups), 1);
    MODEL_SAME("frame countries", event, session, model_tally_equal(&countries, &want->countries),
               1);
    model_tally_fini(&groups);
    model_tally_fini(&countries);
}

static void same_frame(void *ctx, const struct frame_row *row)
{
    struct frame_walk *walk = ctx;
    model_same_frame(walk->event->id, walk->audience->session, row,
                     &walk->audience->frames[walk->at++]);
}

static void same_frames(const struct model *model, struct engine *engine,
                        const struct model_event *event, const struct model_audience *audience,
                        bool never_collected)
{
    size_t over = audience->frames_count, got = 0;
    if (over > 0 && model->now_ms < audience->frames[over - 1].end_ms) {
        over--;
    }
    MODEL_SAME("frames", event->id, audience->session,
               engine_frames(engine, event->id, audience->session, count_frame, &got), FIGURES_OK);
    MODEL_SAME("frames are enough", event->id, audience->session,
               never_collected ? got == over : got <= over, 1);
    struct frame_walk walk = {event, audience, over - got};
    MODEL_SAME("frames", event->id, audience->session,
               engine_frames(engine, event->id, audience->session, same_frame, &walk), FIGURES_OK);
}

struct viewer_walk {
    const struct model *model;
    const struct model_event *event;
    struct slice viewer;
    size_t latest; /* audiences that named a latest viewing */
};

static void viewer_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    struct viewer_walk *walk = ctx;
    struct slice event = walk->event->id, session = viewing->session;
    const struct model_audience *audience = model_audience_find(walk->event, session);
    MODEL_SAME("viewer's audience is known", event, session, audience != NULL, 1);
    const struct model_member *member = model_member_find(audience, walk->viewer);
    MODEL_SAME("viewer is a member", event, session, member != NULL, 1);
    if (viewing->latest) {
        const struct model_viewing *want = &member->viewings[member->viewings_count - 1];
        walk->latest++;
        MODEL_SAME("viewing start", event, session, viewing->start_ms, want->start_ms);
        MODEL_SAME("viewing end", event, session, viewing->end_ms, want->end_ms);
        MODEL_SAME("viewer alive", event, session, viewing->alive,
                   model_alive(walk->model, member));
        MODEL_SAME("viewer country", event, session, viewing->country, member->country);
        return;
    }
    size_t found = 0;
    for (size_t i = 0; i + 1 < member->viewings_count; i++) {
        found += member->viewings[i].start_ms == viewing->start_ms &&
                 member->viewings[i].end_ms == viewing->end_ms;
    }
    MODEL_SAME("viewing that is over", event, session, found, 1);
}

static void same_viewer(const struct model *model, struct engine *engine,
                        const struct model_event *event, size_t viewer_no)
{
    struct slice none = SLICE_EMPTY;
    struct viewer_walk walk = {model, event, event->audiences[0].members[viewer_no].viewer, 0};
    bool attended;
    struct slice groups;
    MODEL_SAME(
        "viewer", event->id, none,
        engine_viewer(engine, event->id, walk.viewer, &attended, &groups, viewer_viewing, &walk),
        FIGURES_OK);
    MODEL_SAME("attended", event->id, none, attended, 1);
    MODEL_SAME("viewer's groups", event->id, none, slice_equal(groups, event->groups[viewer_no]),
               1);
    size_t member_of = 0;
    for (size_t a = 0; a < event->audiences_count; a++) {
        member_of += model_member_find(&event->audiences[a], walk.viewer) != NULL;
    }
    MODEL_SAME("audiences of the viewer", event->id, none, walk.latest, member_of);
}

static void not_a_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)viewing;
    (*(size_t *)ctx)++;
}

void model_same_absent(struct engine *engine, struct slice event, struct slice viewer)
{
    bool attended;
    struct slice groups;
    size_t viewings = 0;
    MODEL_SAME("absent viewer", event, SLICE_EMPTY,
               engine_viewer(engine, event, viewer, &attended, &groups, not_a_viewing, &viewings),
               FIGURES_OK);
    MODEL_SAME("absent viewer attended", event, SLICE_EMPTY, attended, 0);
    MODEL_SAME("absent viewer's viewings", event, SLICE_EMPTY, viewings, 0);
}

static void all_zeros(void *ctx, const struct figures *figures)
{
    struct figures want = {.session = figures->session};
    same_figures(*(struct slice *)ctx, figures, &want);
}

/* Whatever there was reads as zero until the record store has forgotten it. */
static void same_purging(struct engine *engine, const struct model_event *event)
{
    struct slice id = event->id, none = SLICE_EMPTY;
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct slice session = event->audiences[a].session;
        struct figures figures;
        MODEL_SAME("figures", id, session, engine_figures(engine, id, session, &figures),
                   FIGURES_OK);
        all_zeros(&id, &figures);
        uint64_t active = 1;
        size_t frames = 0;
        struct live live = {0};
        MODEL_SAME("live", id, session,
                   engine_live(engine, id, session, &active, live_count, &live), FIGURES_OK);
        MODEL_SAME("frames", id, session, engine_frames(engine, id, session, count_frame, &frames),
                   FIGURES_OK);
        MODEL_SAME("purged", id, session,
                   active + frames + live.groups.count + live.countries.count, 0);
    }
    MODEL_SAME("overview", id, none, engine_overview(engine, id, all_zeros, &id), FIGURES_OK);
}

static void same_event(const struct model *model, struct engine *engine,
                       const struct model_event *event, uint64_t viewer_at, bool never_collected)
{
    struct slice none = SLICE_EMPTY;
    if (event->purging) {
        same_purging(engine, event);
        return;
    }
    for (size_t a = 0; a < event->audiences_count; a++) {
        const struct model_audience *audience = &event->audiences[a];
        struct figures got, want;
        model_figures(model, audience, &want);
        MODEL_SAME("figures", event->id, audience->session,
                   engine_figures(engine, event->id, audience->session, &got), FIGURES_OK);
        same_figures(event->id, &got, &want);
        same_live(model, engine, event->id, audience);
        same_frames(model, engine, event, audience, never_collected);
    }
    struct overview overview = {model, event, 0};
    MODEL_SAME("overview", event->id, none,
               engine_overview(engine, event->id, overview_row, &overview), FIGURES_OK);
    MODEL_SAME("audiences", event->id, none, overview.at, event->audiences_count);
    if (event->audiences[0].members_count > 0) {
        same_viewer(model, engine, event, viewer_at % event->audiences[0].members_count);
    }
}

void model_compare(const struct model *model, struct engine *engine, uint64_t viewer_at,
                   bool never_collected)
{
    engine_check(engine);
    MODEL_SAME("time", SLICE_EMPTY, SLICE_EMPTY, engine_now_ms(engine), model->now_ms);
    for (size_t i = 0; i < model->events_count; i++) {
        if (engine_has_event(engine, model->events[i].id)) {
            same_event(model, engine, &model->events[i], viewer_at, never_collected);
        }
    }
}
