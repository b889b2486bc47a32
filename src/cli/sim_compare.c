#include "cli/sim_compare.h"

#include "cli/sim_plan.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void sim_figures_fini(struct sim_figures *figures)
{
    free(figures->figures);
    *figures = (struct sim_figures){.figures = NULL};
}

size_t sim_figures_count(const struct sim_figures *figures, enum sim_verdict verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < figures->count; i++) {
        count += figures->figures[i].verdict == verdict;
    }
    return count;
}

/* A new figure without a server's value yet. */
static struct sim_figure *add(struct sim_figures *figures, struct sim_range expected,
                              const char *format, ...) __attribute__((format(printf, 3, 4)));

static struct sim_figure *add(struct sim_figures *figures, struct sim_range expected,
                              const char *format, ...)
{
    if (figures->count == figures->max) {
        figures->max = figures->max == 0 ? 128 : figures->max * 2;
        figures->figures = realloc(figures->figures, figures->max * sizeof(*figures->figures));
        ASSERT(figures->figures != NULL);
    }
    struct sim_figure *figure = &figures->figures[figures->count++];
    *figure = (struct sim_figure){.expected = expected, .verdict = SIM_MISSING};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(figure->label, sizeof(figure->label), format, arguments);
    va_end(arguments);
    return figure;
}

static void judge(struct sim_figure *figure, int64_t server)
{
    const struct sim_range *expected = &figure->expected;
    figure->server = server;
    if (server < expected->lo || server > expected->hi) {
        figure->verdict = SIM_DIFFERS;
    } else {
        figure->verdict =
            figure->is_range || expected->lo == expected->hi ? SIM_AGREES : SIM_WITHIN;
    }
}

static void judge_json(struct sim_figure *figure, const json_t *server)
{
    if (json_is_integer(server)) {
        judge(figure, json_integer_value(server));
    }
}

/* "event" or "s3". */
static void audience_name(char name[SIM_ID_BYTES], uint32_t audience)
{
    if (audience == 0) {
        snprintf(name, SIM_ID_BYTES, "event");
    } else {
        sim_session_id(name, audience);
    }
}

/* A session where nobody was may be absent: all its counts are 0. */
static const json_t *count_of(const json_t *part, bool asked, const char *name, json_t *zero)
{
    return part == NULL && asked ? zero : json_object_get(part, name);
}

/* elsewhere: at most so many are in other countries than the simulation's. */
static void compare_countries(struct sim_figures *figures, const json_t *countries,
                              const struct sim_range *expected, int64_t elsewhere,
                              const char *label)
{
    int64_t known = 0, all = 0;
    const char *key;
    json_t *value;
    for (uint8_t i = 0; i < SIM_COUNTRIES; i++) {
        struct sim_figure *figure = add(figures, expected[i], "%s %s", label, sim_plan_country(i));
        figure->detail = true;
        if (json_is_object(countries)) { /* none: absent or 0 */
            int64_t count = json_integer_value(json_object_get(countries, sim_plan_country(i)));
            known += count;
            judge(figure, count);
        }
    }
    json_object_foreach((json_t *)countries, key, value)
    {
        all += json_integer_value(value);
    }
    struct sim_figure *figure =
        add(figures, (struct sim_range){0, elsewhere}, "%s elsewhere", label);
    figure->detail = true;
    judge(figure, all - known);
}

/* ---- now ---- */

static void compare_live(struct sim_figures *figures, const struct sim_question *question,
                         const struct sim_reference *reference, const struct sim_base *base,
                         const uint8_t *country_of, const char *when)
{
    static const struct sim_base_audience nobody;
    char name[SIM_ID_BYTES];
    audience_name(name, question->audience);
    const struct sim_base_audience *others =
        sim_base_others(base, question->audience, question->at);
    others = others == NULL ? &nobody : others;
    struct sim_range alive = sim_reference_active(reference, question->audience, question->at);
    struct sim_figure *figure = add(figures, alive, "%s %s live viewers", when, name);
    judge_json(figure, json_object_get(question->body, "viewerCount"));
    const json_t *groups = json_object_get(question->body, "countByUserGroup");
    figure = add(figures, (struct sim_range){0, others->groups}, "%s %s live groups", when, name);
    figure->detail = true;
    if (json_is_object(groups)) {
        judge(figure, (int64_t)json_object_size(groups));
    }
    if (country_of == NULL) {
        return;
    }
    struct sim_range by_country[SIM_COUNTRIES];
    sim_reference_active_by(reference, question->audience, question->at, country_of, SIM_COUNTRIES,
                            by_country);
    for (uint8_t i = 0; i < SIM_COUNTRIES; i++) {
        by_country[i].hi += others->countries[i];
    }
    char label[SIM_ID_BYTES + 48];
    snprintf(label, sizeof(label), "%s %s live", when, name);
    compare_countries(figures, json_object_get(question->body, "countByViewingCountry"), by_country,
                      others->elsewhere, label);
}

void sim_compare_now(struct sim_figures *figures, const struct sim_asker *asker,
                     const struct sim_reference *reference, const struct sim_base *base,
                     const uint8_t *country_of, const char *when)
{
    char name[SIM_ID_BYTES];
    json_t *zero = json_integer(0);
    for (size_t i = 0; i < asker->questions_count; i++) {
        const struct sim_question *question = &asker->questions[i];
        if (question->kind == SIM_ASK_ACTIVE) {
            audience_name(name, question->audience);
            struct sim_range alive =
                sim_reference_active(reference, question->audience, question->at);
            judge_json(add(figures, alive, "%s %s active", when, name),
                       json_object_get(question->body, "count"));
        }
        if (question->kind == SIM_ASK_LIVE) {
            compare_live(figures, question, reference, base, country_of, when);
        }
        for (uint32_t k = 0; question->kind == SIM_ASK_OVERVIEW && k <= asker->world->sessions;
             k++) {
            audience_name(name, k);
            struct sim_range alive = sim_reference_active(reference, k, question->at);
            struct sim_figure *figure = add(figures, alive, "%s %s overview active", when, name);
            figure->detail = true;
            judge_json(figure, count_of(sim_ask_overview_part(question->body, k),
                                        question->body != NULL, "active", zero));
        }
    }
    json_decref(zero);
}

/* ---- what lasts ---- */

static void compare_peak(struct sim_figures *figures, const struct sim_question *question,
                         const struct sim_lasting_audience *audience, const char *name)
{
    judge_json(add(figures, audience->peak.count, "%s peak", name),
               json_object_get(question->body, "count"));
    if (audience->peak.count.hi > 0) {
        struct sim_figure *figure = add(figures, audience->peak.at, "%s peak at", name);
        figure->is_range = true;
        judge_json(figure, json_object_get(question->body, "at"));
    }
}

static void compare_overview(struct sim_figures *figures, const json_t *overview, bool asked,
                             const struct sim_lasting *lasting, json_t *zero)
{
    char name[SIM_ID_BYTES];
    for (uint32_t i = 0; i < lasting->audiences_count; i++) {
        const struct sim_lasting_audience *audience = &lasting->audiences[i];
        const json_t *part = sim_ask_overview_part(overview, i);
        audience_name(name, i);
        struct sim_figure *figure =
            add(figures, audience->logins, "%s logins (viewings started)", name);
        judge_json(figure, count_of(part, asked, "logins", zero));
        figure = add(figures, audience->attended, "%s overview attended", name);
        figure->detail = true;
        judge_json(figure, count_of(part, asked, "attended", zero));
        figure = add(figures, audience->peak.count, "%s overview peak", name);
        figure->detail = true;
        judge_json(figure, part == NULL && asked
                               ? zero
                               : json_object_get(json_object_get(part, "maxConcurrent"), "count"));
        if (audience->viewing_known) {
            figure = add(figures, audience->viewing_ms, "%s viewing time, ms", name);
            figure->is_range = true;
            judge_json(figure, count_of(part, asked, "totalViewingMs", zero));
        }
    }
}

/* The n-th viewing of an audience among a viewer's; NULL: there is none. */
static const json_t *viewing_find(const json_t *viewings, uint32_t audience, int64_t n)
{
    char id[SIM_ID_BYTES] = "";
    if (audience != 0) {
        sim_session_id(id, audience);
    }
    for (size_t i = 0; i < json_array_size(viewings); i++) {
        const json_t *viewing = json_array_get(viewings, i);
        const char *session = json_string_value(json_object_get(viewing, "sessionId"));
        if (strcmp(session == NULL ? "" : session, id) == 0 && n-- == 0) {
            return viewing;
        }
    }
    return NULL;
}

static void compare_viewing(struct sim_figures *figures, const json_t *viewings, const char *id,
                            const struct sim_lasting_viewing *expected)
{
    char name[SIM_ID_BYTES];
    int64_t count = 0;
    audience_name(name, expected->audience);
    while (viewing_find(viewings, expected->audience, count) != NULL) {
        count++;
    }
    struct sim_figure *figure = add(figures, expected->count, "%s viewings in %s", id, name);
    figure->detail = true;
    if (viewings != NULL) {
        judge(figure, count);
    }
    for (int64_t i = 0; expected->known && i < expected->count.lo; i++) {
        const json_t *viewing = viewing_find(viewings, expected->audience, i);
        figure = add(figures, expected->spans[i].start, "%s %s startedMs", id, name);
        figure->is_range = figure->detail = true;
        judge_json(figure, json_object_get(viewing, "startedMs"));
        figure = add(figures, expected->spans[i].end, "%s %s endedMs", id, name);
        figure->is_range = figure->detail = true;
        judge_json(figure, json_object_get(viewing, "endedMs"));
    }
}

static void compare_viewer(struct sim_figures *figures, const struct sim_asker *asker,
                           const struct sim_question *question, const struct sim_lasting *lasting)
{
    char id[SIM_ID_BYTES];
    sim_viewer_id(id, asker->world, question->viewer);
    for (size_t i = 0; i < lasting->sample_count; i++) {
        const struct sim_lasting_viewer *viewer = &lasting->sample[i];
        if (viewer->viewer != question->viewer) {
            continue;
        }
        int64_t all = 0;
        json_t *none = json_array();
        const json_t *viewings =
            question->status == 404 ? none : json_object_get(question->body, "viewings");
        struct sim_range sum = {0, 0};
        for (size_t k = 0; k < viewer->viewings_count; k++) {
            compare_viewing(figures, viewings, id, &viewer->viewings[k]);
            sum.lo += viewer->viewings[k].count.lo;
            sum.hi += viewer->viewings[k].count.hi;
        }
        all = (int64_t)json_array_size(viewings);
        struct sim_figure *figure = add(figures, sum, "%s viewings", id);
        figure->detail = true;
        if (viewings != NULL) {
            judge(figure, all);
        }
        json_decref(none);
    }
}

/* The server leaves out frames in which nobody was. */
uint32_t sim_compare_ask_frames(struct sim_asker *asker, const struct sim_frames *frames,
                                int64_t now_ms)
{
    uint32_t over = sim_frames_over(frames, now_ms);
    for (uint32_t k = 0; over > 0 && k < frames->audiences_count; k++) {
        size_t shown = 0;
        for (uint32_t i = 0; i < over; i++) {
            shown += sim_frames_get(frames, k, i)->viewers.lo > 0;
        }
        sim_ask_add_frames(asker, k, frames->first_ms, over, shown);
    }
    return over;
}

static const json_t *frame_find(const json_t *statistics, int64_t start_ms, int64_t end_ms)
{
    for (size_t i = 0; i < json_array_size(statistics); i++) {
        const json_t *frame = json_array_get(statistics, i);
        if (json_integer_value(json_object_get(frame, "frameStart")) == start_ms &&
            json_integer_value(json_object_get(frame, "timestamp")) == end_ms) {
            return frame;
        }
    }
    return NULL;
}

static void compare_frames(struct sim_figures *figures, const struct sim_question *question,
                           const struct sim_frames *frames, const char *name)
{
    const json_t *statistics = json_object_get(question->body, "statistics");
    json_t *none = json_pack("{s:i,s:{}}", "viewerCount", 0, "countByViewingCountry");
    for (uint32_t i = 0; i < question->frames; i++) {
        const struct sim_frame *expected = sim_frames_get(frames, question->audience, i);
        int64_t start_ms = sim_frames_start_ms(frames, i);
        const json_t *frame = frame_find(statistics, start_ms, start_ms + frames->frame_ms);
        frame = frame == NULL && statistics != NULL ? none : frame;
        char label[SIM_ID_BYTES + 32];
        snprintf(label, sizeof(label), "%s frame %" PRIu32, name, i + 1);
        size_t first = figures->count;
        judge_json(add(figures, expected->viewers, "%s viewers", label),
                   json_object_get(frame, "viewerCount"));
        if (frames->countries_known) {
            compare_countries(figures, json_object_get(frame, "countByViewingCountry"),
                              expected->countries, 0, label);
        }
        for (size_t k = first; k < figures->count; k++) {
            struct sim_figure *figure = &figures->figures[k];
            figure->detail = figure->is_range = true;
            figure->verdict = figure->verdict == SIM_WITHIN ? SIM_AGREES : figure->verdict;
        }
    }
    json_decref(none);
}

void sim_compare_lasting(struct sim_figures *figures, const struct sim_asker *asker,
                         const struct sim_lasting *lasting)
{
    char name[SIM_ID_BYTES];
    json_t *zero = json_integer(0);
    for (size_t i = 0; i < asker->questions_count; i++) {
        const struct sim_question *question = &asker->questions[i];
        ASSERT(question->audience < lasting->audiences_count);
        const struct sim_lasting_audience *audience = &lasting->audiences[question->audience];
        audience_name(name, question->audience);
        switch (question->kind) {
        case SIM_ASK_ATTENDED:
            judge_json(add(figures, audience->attended, "%s attended", name),
                       json_object_get(question->body, "count"));
            break;
        case SIM_ASK_PEAK:
            compare_peak(figures, question, audience, name);
            break;
        case SIM_ASK_OVERVIEW:
            compare_overview(figures, question->body, question->body != NULL, lasting, zero);
            break;
        case SIM_ASK_VIEWER:
            compare_viewer(figures, asker, question, lasting);
            break;
        case SIM_ASK_FRAMES:
            compare_frames(figures, question, &lasting->frames, name);
            break;
        case SIM_ASK_CLOCK:
        case SIM_ASK_ACTIVE:
        case SIM_ASK_LIVE:
            break;
        }
    }
    json_decref(zero);
}
