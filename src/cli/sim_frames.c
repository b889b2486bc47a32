#include "cli/sim_frames.h"

#include "base/assert.h"

#include <stdlib.h>

/* So that many sessions with short frames do not take all memory. */
#define FRAMES_ALL_MAX 200000u

static void frames_alloc(struct sim_frames *frames)
{
    size_t all = (size_t)frames->frames_count * frames->audiences_count;
    frames->frames = calloc(all + 1, sizeof(*frames->frames));
    ASSERT(frames->frames != NULL);
}

void sim_frames_init(struct sim_frames *frames, int64_t frame_ms, int64_t first_ms,
                     int64_t duration_ms, uint32_t sessions, bool countries_known)
{
    ASSERT(frame_ms > 0 && first_ms > 0);
    int64_t wanted = duration_ms / frame_ms + 2; /* it may begin and end within one */
    int64_t most = FRAMES_ALL_MAX / (sessions + 1);
    most = most < SIM_FRAMES_MAX ? most : SIM_FRAMES_MAX;
    *frames = (struct sim_frames){
        .frame_ms = frame_ms,
        .first_ms = (first_ms + frame_ms - 1) / frame_ms * frame_ms,
        .frames_count = (uint32_t)(wanted < most ? wanted : most),
        .audiences_count = sessions + 1,
        .countries_known = countries_known,
    };
    frames_alloc(frames);
}

void sim_frames_fini(struct sim_frames *frames)
{
    free(frames->frames);
    *frames = (struct sim_frames){.frames = NULL};
}

/* 1 for the first frame; 0 for what is before it; one more than there are for what is after. */
static uint32_t frame_at(const struct sim_frames *frames, int64_t moment_ms)
{
    if (moment_ms < frames->first_ms) {
        return 0;
    }
    int64_t frame = (moment_ms - frames->first_ms) / frames->frame_ms + 1;
    return frame <= frames->frames_count ? (uint32_t)frame : frames->frames_count + 1;
}

void sim_frames_beat(struct sim_frames *frames, uint32_t audience, struct sim_frame_mark *mark,
                     uint8_t country, struct sim_range at, bool acknowledged)
{
    uint32_t from = frame_at(frames, at.lo), to = frame_at(frames, at.hi);
    ASSERT(audience < frames->audiences_count && country < SIM_COUNTRIES && from <= to);
    struct sim_frame *first = frames->frames + (size_t)audience * frames->frames_count;
    /* A viewer's heartbeats come in order: what lies before its mark is counted already. */
    for (uint32_t i = from > mark->maybe ? from : mark->maybe + 1; i <= to; i++) {
        if (i >= 1 && i <= frames->frames_count) {
            first[i - 1].viewers.hi++;
            first[i - 1].countries[country].hi++;
        }
        mark->maybe = i;
    }
    if (acknowledged && from == to && mark->sure < from) {
        if (from <= frames->frames_count) {
            first[from - 1].viewers.lo++;
            first[from - 1].countries[country].lo++;
        }
        mark->sure = from;
    }
}

uint32_t sim_frames_over(const struct sim_frames *frames, int64_t now_ms)
{
    uint32_t over = frame_at(frames, now_ms);
    return over == 0 ? 0 : over - 1; /* the one at the moment is not */
}

const struct sim_frame *sim_frames_get(const struct sim_frames *frames, uint32_t audience,
                                       uint32_t frame)
{
    ASSERT(audience < frames->audiences_count && frame < frames->frames_count);
    return &frames->frames[(size_t)audience * frames->frames_count + frame];
}

int64_t sim_frames_start_ms(const struct sim_frames *frames, uint32_t frame)
{
    return frames->first_ms + (int64_t)frame * frames->frame_ms;
}

/* ---- the file ---- */

static json_t *range_json(struct sim_range range)
{
    return json_pack("[I,I]", (json_int_t)range.lo, (json_int_t)range.hi);
}

json_t *sim_frames_json(const struct sim_frames *frames)
{
    json_t *audiences = json_array();
    for (uint32_t k = 0; k < frames->audiences_count; k++) {
        json_t *audience = json_array();
        for (uint32_t i = 0; i < frames->frames_count; i++) {
            const struct sim_frame *frame = sim_frames_get(frames, k, i);
            json_t *countries = json_array();
            for (int c = 0; frames->countries_known && c < SIM_COUNTRIES; c++) {
                json_array_append_new(countries, range_json(frame->countries[c]));
            }
            json_array_append_new(audience,
                                  json_pack("[o,o]", range_json(frame->viewers), countries));
        }
        json_array_append_new(audiences, audience);
    }
    return json_pack("{s:I,s:I,s:o}", "frameMs", (json_int_t)frames->frame_ms, "firstMs",
                     (json_int_t)frames->first_ms, "audiences", audiences);
}

static bool range_read(const json_t *json, struct sim_range *range)
{
    const json_t *lo = json_array_get(json, 0), *hi = json_array_get(json, 1);
    *range = (struct sim_range){json_integer_value(lo), json_integer_value(hi)};
    return json_is_integer(lo) && json_is_integer(hi) && range->lo <= range->hi;
}

static bool frame_read(const json_t *json, struct sim_frame *frame, bool *countries_known)
{
    const json_t *countries = json_array_get(json, 1);
    *countries_known = json_array_size(countries) == SIM_COUNTRIES;
    for (size_t c = 0; *countries_known && c < SIM_COUNTRIES; c++) {
        if (!range_read(json_array_get(countries, c), &frame->countries[c])) {
            return false;
        }
    }
    return range_read(json_array_get(json, 0), &frame->viewers);
}

bool sim_frames_read(struct sim_frames *frames, const json_t *json, uint32_t audiences_count)
{
    const json_t *audiences = json_object_get(json, "audiences");
    *frames = (struct sim_frames){
        .frame_ms = json_integer_value(json_object_get(json, "frameMs")),
        .first_ms = json_integer_value(json_object_get(json, "firstMs")),
        .audiences_count = audiences_count,
    };
    size_t count = json_array_size(json_array_get(audiences, 0));
    if (frames->frame_ms <= 0 || count > SIM_FRAMES_MAX ||
        json_array_size(audiences) != audiences_count) {
        return false;
    }
    frames->frames_count = (uint32_t)count;
    frames_alloc(frames);
    for (uint32_t k = 0; k < audiences_count; k++) {
        const json_t *audience = json_array_get(audiences, k);
        for (size_t i = 0; i < count; i++) {
            struct sim_frame *frame = &frames->frames[k * count + i];
            if (!frame_read(json_array_get(audience, i), frame, &frames->countries_known)) {
                return false;
            }
        }
    }
    return true;
}
