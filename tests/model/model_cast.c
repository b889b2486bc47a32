/* model_cast.c -- random heartbeats from a seed. */
#include "model/model_cast.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"
#include "tap.h"

#define HOUR_MS 3600000

uint64_t cast_random(struct cast *cast)
{
    return tap_random(&cast->random);
}

static struct slice text_slice(const struct cast_text *text)
{
    return slice_of(text->bytes, text->len);
}

static void uuid_text(struct cast *cast, char *out, const char *digits)
{
    for (int i = 0; i < 36; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        out[i] = hyphen ? '-' : digits[cast_random(cast) % 16];
    }
}

/* Every viewer's id is different: the number is in it, or it is a UUID. */
static void viewer_text(struct cast *cast, size_t number, struct cast_text *text)
{
    char *out = text->bytes;
    int len = 36;
    switch (cast_below(cast, 8)) {
    case 0:
        len = sprintf(out, "%zu", number);
        break;
    case 1:
        len = sprintf(out, "v\xc3\xa9\xe2\x82\xac\xf0\x9f\x8e\xa5-%zu", number);
        break;
    case 2: /* of the greatest length */
        len = sprintf(out, "%0*zu", VIEWER_ID_BYTES_MAX, number);
        break;
    case 3: /* like a UUID, but kept as text */
        uuid_text(cast, out, "0123456789ABCDEF");
        out[0] = 'F';
        break;
    case 4: /* a hyphen is missing */
        uuid_text(cast, out, "0123456789abcdef");
        out[13] = '0';
        break;
    default:
        uuid_text(cast, out, "0123456789abcdef");
        break;
    }
    text->len = (size_t)len;
    ASSERT(id_viewer_valid(text_slice(text)));
}

void cast_init(struct cast *cast, uint64_t seed, size_t events, size_t sessions, size_t viewers)
{
    ASSERT(sessions <= CAST_SESSIONS_MAX);
    *cast = (struct cast){.random = seed,
                          .events_count = events,
                          .sessions_count = sessions,
                          .viewers_count = viewers};
    cast->events = memory_zalloc(events * sizeof *cast->events);
    cast->viewers = memory_zalloc(viewers * sizeof *cast->viewers);
    for (size_t i = 0; i < events; i++) {
        cast->events[i].len = (size_t)sprintf(cast->events[i].bytes, "event.%zu~", i);
    }
    for (size_t i = 0; i < sessions; i++) {
        cast->sessions[i].len = (size_t)sprintf(cast->sessions[i].bytes, "s-%zu", i);
    }
    for (size_t i = 0; i < viewers; i++) {
        viewer_text(cast, i, &cast->viewers[i]);
    }
    for (size_t i = 1; i < CAST_SETS; i++) {
        char texts[4][GROUP_ID_BYTES_MAX];
        struct slice ids[4];
        size_t count = 1 + cast_below(cast, 4);
        for (size_t g = 0; g < count; g++) {
            int len = sprintf(texts[g],
                              "gr\xc3\xbc"
                              "ppe %u",
                              (unsigned)cast_below(cast, 9));
            ids[g] = slice_of(texts[g], (size_t)len);
        }
        enum groups_outcome packed =
            groups_pack(ids, count, cast->sets[i].bytes, &cast->sets[i].len);
        ASSERT(packed == GROUPS_OK);
    }
}

void cast_fini(struct cast *cast)
{
    free(cast->events);
    free(cast->viewers);
}

struct slice cast_groups(struct cast *cast)
{
    size_t set = cast_below(cast, CAST_SETS);
    return slice_of(cast->sets[set].bytes, cast->sets[set].len);
}

struct heartbeat cast_heartbeat(struct cast *cast)
{
    if (cast_chance(cast, 100)) {
        cast->event_now = cast_below(cast, cast->events_count);
    }
    size_t event = cast_chance(cast, 200) ? cast_below(cast, cast->events_count) : cast->event_now;
    struct heartbeat heartbeat = {
        .event = text_slice(&cast->events[event]),
        .viewer = text_slice(&cast->viewers[cast_below(cast, cast->viewers_count)]),
        .country =
            (country_t)(cast_chance(cast, 3) ? cast_below(cast, 36 * 36) : cast_below(cast, 4)),
    };
    if (cast->sessions_count > 0 && !cast_chance(cast, 4)) {
        heartbeat.session = text_slice(&cast->sessions[cast_below(cast, cast->sessions_count)]);
    }
    if (cast_chance(cast, 5)) {
        heartbeat.flags |= HEARTBEAT_HIDDEN;
    }
    if (cast_chance(cast, 10)) {
        heartbeat.flags |= HEARTBEAT_LEAVING;
    }
    if (cast_chance(cast, 4)) {
        heartbeat.flags |= HEARTBEAT_GROUPS;
        heartbeat.flags |= cast_chance(cast, 2) ? HEARTBEAT_PROFILE : 0;
        heartbeat.groups = cast_groups(cast);
    }
    return heartbeat;
}

int64_t cast_step_ms(struct cast *cast, const struct engine_windows *windows)
{
    switch (cast_below(cast, 16)) {
    case 0:
        return windows->alive_ms + (int64_t)cast_below(cast, 2);
    case 1:
        return windows->hidden_ms + (int64_t)cast_below(cast, 2);
    case 2:
        return windows->leaving_ms + (int64_t)cast_below(cast, 2);
    case 3:
        return windows->gap_ms + (int64_t)cast_below(cast, 2);
    case 4:
        return (int64_t)cast_below(cast, (uint64_t)windows->frame_ms);
    case 5:
        return cast_chance(cast, 8) ? (int64_t)cast_below(cast, 72) * HOUR_MS : 30000;
    case 6:
    case 7:
        return (int64_t)cast_below(cast, 30000);
    case 8:
    case 9:
        return 1;
    case 10:
    case 11:
        return (int64_t)cast_below(cast, 3000);
    default:
        return 0;
    }
}

struct engine_windows cast_windows(struct cast *cast)
{
    static const int64_t frames_ms[] = {300000, 100, 60000, 600000, 420000, 86400000};
    if (cast_chance(cast, 3)) {
        return (struct engine_windows){65000, 125000, 35000, 150000, 300000};
    }
    struct engine_windows windows;
    windows.leaving_ms = (int64_t)cast_below(cast, 40000) * (int64_t)cast_below(cast, 2);
    windows.alive_ms = windows.leaving_ms + (int64_t)cast_below(cast, 60000);
    windows.hidden_ms = windows.alive_ms + (int64_t)cast_below(cast, 60000);
    windows.gap_ms = windows.hidden_ms + (int64_t)cast_below(cast, 60000);
    windows.frame_ms = frames_ms[cast_below(cast, sizeof frames_ms / sizeof *frames_ms)];
    return windows;
}
