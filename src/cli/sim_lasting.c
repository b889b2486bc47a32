#include "cli/sim_lasting.h"

#include "cli/sim_plan.h"

#include "base/assert.h"

#include <errno.h>
#include <stdlib.h>

#define FORMAT 2

/* ---- from the reference ---- */

static void viewer_make(struct sim_lasting_viewer *viewer, const struct sim_reference *reference,
                        const struct sim_asker *asker, uint32_t number)
{
    *viewer = (struct sim_lasting_viewer){.viewer = number};
    for (uint32_t audience = 0; audience <= asker->world->sessions; audience++) {
        struct sim_lasting_viewing viewing = {.audience = audience};
        viewing.known = sim_reference_viewings(reference, number, audience, viewing.spans,
                                               SIM_VIEWINGS_MAX, &viewing.count);
        if (viewing.count.hi == 0) {
            continue;
        }
        for (int64_t i = 0; viewing.known && i < viewing.count.lo; i++) {
            viewing.spans[i].start = sim_ask_server_ms(asker, viewing.spans[i].start);
            viewing.spans[i].end = sim_ask_server_ms(asker, viewing.spans[i].end);
        }
        viewer->viewings =
            realloc(viewer->viewings, (viewer->viewings_count + 1) * sizeof(*viewer->viewings));
        ASSERT(viewer->viewings != NULL);
        viewer->viewings[viewer->viewings_count++] = viewing;
    }
}

static void range_add(struct sim_range *range, int64_t more)
{
    range->lo += more;
    range->hi += more;
}

static void audience_make(struct sim_lasting_audience *audience,
                          const struct sim_reference *reference,
                          const struct sim_base_audience *before, const struct sim_asker *asker,
                          uint32_t number)
{
    audience->attended = sim_reference_attended(reference, number);
    audience->logins = sim_reference_logins(reference, number);
    audience->viewing_known = sim_reference_viewing_ms(reference, number, &audience->viewing_ms);
    range_add(&audience->attended, before->attended);
    range_add(&audience->logins, before->logins);
    range_add(&audience->viewing_ms, before->viewing_ms);
    struct sim_peak run = sim_reference_peak(reference, number);
    run.at = sim_ask_server_ms(asker, run.at);
    audience->peak = sim_base_peak(before, run);
}

void sim_lasting_make(struct sim_lasting *lasting, const struct sim_reference *reference,
                      const struct sim_base *base, struct sim_frames *frames,
                      const struct sim_asker *asker, size_t sample_max)
{
    const struct sim_world *world = asker->world;
    *lasting = (struct sim_lasting){.audiences_count = world->sessions + 1};
    lasting->audiences = calloc(lasting->audiences_count, sizeof(*lasting->audiences));
    lasting->sample_count = sample_max < world->viewers ? sample_max : world->viewers;
    lasting->sample = calloc(lasting->sample_count + 1, sizeof(*lasting->sample));
    ASSERT(lasting->audiences != NULL && lasting->sample != NULL);
    for (uint32_t i = 0; i < lasting->audiences_count; i++) {
        audience_make(&lasting->audiences[i], reference, &base->audiences[i], asker, i);
    }
    lasting->frames = *frames;
    *frames = (struct sim_frames){.frames = NULL};
    uint64_t random = world->seed ^ 0x73616d706c65; /* not the plan's numbers again */
    for (size_t i = 0; i < lasting->sample_count; i++) {
        /* One of each of sample_count equal parts, so that none comes twice. */
        uint64_t from = i * (uint64_t)world->viewers / lasting->sample_count;
        uint64_t to = (i + 1) * (uint64_t)world->viewers / lasting->sample_count;
        uint64_t number = from + sim_random_below(&random, to - from);
        viewer_make(&lasting->sample[i], reference, asker, (uint32_t)number);
    }
}

void sim_lasting_ask(const struct sim_lasting *lasting, struct sim_asker *asker)
{
    sim_ask_add(asker, SIM_ASK_OVERVIEW, 0, 0);
    for (uint32_t i = 0; i < lasting->audiences_count; i++) {
        sim_ask_add(asker, SIM_ASK_ATTENDED, i, 0);
        sim_ask_add(asker, SIM_ASK_PEAK, i, 0);
    }
    for (size_t i = 0; i < lasting->sample_count; i++) {
        sim_ask_add(asker, SIM_ASK_VIEWER, 0, lasting->sample[i].viewer);
    }
}

void sim_lasting_fini(struct sim_lasting *lasting)
{
    for (size_t i = 0; i < lasting->sample_count; i++) {
        free(lasting->sample[i].viewings);
    }
    free(lasting->sample);
    free(lasting->audiences);
    sim_frames_fini(&lasting->frames);
    *lasting = (struct sim_lasting){.audiences_count = 0};
}

/* ---- to the file ---- */

static json_t *range_json(struct sim_range range)
{
    return json_pack("[I,I]", (json_int_t)range.lo, (json_int_t)range.hi);
}

static json_t *audience_json(const struct sim_lasting_audience *audience)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o}", "attended", range_json(audience->attended), "logins",
                     range_json(audience->logins), "peak", range_json(audience->peak.count),
                     "peakAt", range_json(audience->peak.at), "viewingMs",
                     audience->viewing_known ? range_json(audience->viewing_ms) : json_null());
}

static json_t *viewing_json(const struct sim_lasting_viewing *viewing)
{
    json_t *spans = viewing->known ? json_array() : json_null();
    for (int64_t i = 0; viewing->known && i < viewing->count.lo; i++) {
        const struct sim_span *span = &viewing->spans[i];
        json_array_append_new(spans, json_pack("[I,I,I,I]", (json_int_t)span->start.lo,
                                               (json_int_t)span->start.hi, (json_int_t)span->end.lo,
                                               (json_int_t)span->end.hi));
    }
    return json_pack("{s:i,s:o,s:o}", "audience", (int)viewing->audience, "count",
                     range_json(viewing->count), "viewings", spans);
}

enum err sim_lasting_save(const struct sim_lasting *lasting, const struct sim_world *world,
                          const char *path)
{
    json_t *audiences = json_array(), *sample = json_array();
    for (uint32_t i = 0; i < lasting->audiences_count; i++) {
        json_array_append_new(audiences, audience_json(&lasting->audiences[i]));
    }
    for (size_t i = 0; i < lasting->sample_count; i++) {
        const struct sim_lasting_viewer *viewer = &lasting->sample[i];
        json_t *viewings = json_array();
        for (size_t k = 0; k < viewer->viewings_count; k++) {
            json_array_append_new(viewings, viewing_json(&viewer->viewings[k]));
        }
        json_array_append_new(sample, json_pack("{s:I,s:o}", "viewer", (json_int_t)viewer->viewer,
                                                "audiences", viewings));
    }
    char seed[24];
    snprintf(seed, sizeof(seed), "%" PRIu64, world->seed);
    json_t *root =
        json_pack("{s:i,s:s,s:s,s:I,s:I,s:i,s:o,s:o,s:o}", "format", FORMAT, "event", world->event,
                  "seed", seed, "run", (json_int_t)world->run, "viewers",
                  (json_int_t)world->viewers, "sessions", (int)world->sessions, "audiences",
                  audiences, "sample", sample, "frames", sim_frames_json(&lasting->frames));
    ASSERT(root != NULL); /* only memory can be missing */
    int failed = json_dump_file(root, path, JSON_COMPACT);
    json_decref(root);
    return failed ? ERR_IO : ERR_NONE;
}

/* ---- from the file ---- */

static bool range_read(const json_t *json, struct sim_range *range)
{
    const json_t *lo = json_array_get(json, 0), *hi = json_array_get(json, 1);
    *range = (struct sim_range){json_integer_value(lo), json_integer_value(hi)};
    return json_is_integer(lo) && json_is_integer(hi) && range->lo <= range->hi;
}

static bool audience_read(const json_t *json, struct sim_lasting_audience *audience)
{
    const json_t *viewing_ms = json_object_get(json, "viewingMs");
    audience->viewing_known = json_is_array(viewing_ms);
    return range_read(json_object_get(json, "attended"), &audience->attended) &&
           range_read(json_object_get(json, "logins"), &audience->logins) &&
           range_read(json_object_get(json, "peak"), &audience->peak.count) &&
           range_read(json_object_get(json, "peakAt"), &audience->peak.at) &&
           (!audience->viewing_known || range_read(viewing_ms, &audience->viewing_ms));
}

static bool viewing_read(const json_t *json, struct sim_lasting_viewing *viewing)
{
    const json_t *spans = json_object_get(json, "viewings");
    viewing->audience = (uint32_t)json_integer_value(json_object_get(json, "audience"));
    viewing->known = json_is_array(spans);
    if (!range_read(json_object_get(json, "count"), &viewing->count) ||
        (viewing->known && (json_array_size(spans) > SIM_VIEWINGS_MAX ||
                            json_array_size(spans) != (size_t)viewing->count.lo))) {
        return false;
    }
    for (size_t i = 0; i < json_array_size(spans); i++) {
        const json_t *span = json_array_get(spans, i);
        int64_t times[4];
        for (size_t k = 0; k < 4; k++) {
            times[k] = json_integer_value(json_array_get(span, k));
        }
        viewing->spans[i] = (struct sim_span){{times[0], times[1]}, {times[2], times[3]}};
    }
    return true;
}

static bool viewer_read(const json_t *json, struct sim_lasting_viewer *viewer)
{
    const json_t *viewings = json_object_get(json, "audiences");
    viewer->viewer = (uint32_t)json_integer_value(json_object_get(json, "viewer"));
    viewer->viewings = calloc(json_array_size(viewings) + 1, sizeof(*viewer->viewings));
    ASSERT(viewer->viewings != NULL);
    for (size_t i = 0; i < json_array_size(viewings); i++) {
        if (!viewing_read(json_array_get(viewings, i), &viewer->viewings[i])) {
            return false;
        }
        viewer->viewings_count++;
    }
    return true;
}

static bool root_read(const json_t *root, struct sim_lasting *lasting, struct sim_world *world)
{
    const json_t *audiences = json_object_get(root, "audiences");
    const json_t *sample = json_object_get(root, "sample");
    const char *seed = json_string_value(json_object_get(root, "seed"));
    if (json_integer_value(json_object_get(root, "format")) != FORMAT || seed == NULL ||
        json_string_value(json_object_get(root, "event")) == NULL) {
        return false;
    }
    world->seed = strtoull(seed, NULL, 10);
    world->run = (uint64_t)json_integer_value(json_object_get(root, "run"));
    world->viewers = (uint32_t)json_integer_value(json_object_get(root, "viewers"));
    world->sessions = (uint32_t)json_integer_value(json_object_get(root, "sessions"));
    if (json_array_size(audiences) != (size_t)world->sessions + 1) {
        return false;
    }
    lasting->audiences = calloc(json_array_size(audiences), sizeof(*lasting->audiences));
    lasting->sample = calloc(json_array_size(sample) + 1, sizeof(*lasting->sample));
    ASSERT(lasting->audiences != NULL && lasting->sample != NULL);
    for (size_t i = 0; i < json_array_size(audiences); i++) {
        if (!audience_read(json_array_get(audiences, i), &lasting->audiences[i])) {
            return false;
        }
        lasting->audiences_count++;
    }
    for (size_t i = 0; i < json_array_size(sample); i++) {
        lasting->sample_count++; /* also a half-read one has memory */
        if (!viewer_read(json_array_get(sample, i), &lasting->sample[i])) {
            return false;
        }
    }
    return sim_frames_read(&lasting->frames, json_object_get(root, "frames"),
                           lasting->audiences_count);
}

enum err sim_lasting_load(struct sim_lasting *lasting, struct sim_world *world, char **event,
                          const char *path, char *why, size_t why_bytes)
{
    *lasting = (struct sim_lasting){.audiences_count = 0};
    *event = NULL;
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) {
        snprintf(why, why_bytes, "%s: %s", path, error.text);
        return ERR_IO;
    }
    if (!root_read(root, lasting, world)) {
        snprintf(why, why_bytes, "%s was not written by --plan-state of this version", path);
        sim_lasting_fini(lasting);
        json_decref(root);
        return ERR_INVALID;
    }
    *event = strdup(json_string_value(json_object_get(root, "event")));
    ASSERT(*event != NULL);
    world->event = *event;
    json_decref(root);
    return ERR_NONE;
}
