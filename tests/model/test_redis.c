/* test_redis.c -- the Redis scripts against the engine: the same random heartbeats into both, on a
 * real redis-server, with the time given.
 *
 * After every step all figures, live counts and one viewer's viewings of every audience are equal;
 * at the end those of all viewers, all frames, and all rows that sweeps have found.  Calls are
 * repeated at random, as after a lost reply.  Sweeping nodes die at every point.  Rounds:
 * a quarter of NOVABEAT_ROUNDS (4); seed: NOVABEAT_SEED. */
#include "tap.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"
#include "model/model_cast.h"
#include "model/model_compare.h"
#include "model/model_redis.h"

#include <inttypes.h>

#define AUDIENCES_MAX (1 + CAST_SESSIONS_MAX)
#define EVENTS_MAX    2
#define SHARDS_MAX    3
#define KEEP_MS       604800000
#define LABEL_MAX     (2 + GROUPS_PER_VIEWER_MAX * (GROUP_ID_BYTES_MAX + 1))

/* What a record store knows of one viewer in one audience, from sweeps. */
struct stored_viewer {
    int64_t start_ms, end_ms, expiry_ms;
    char label[LABEL_MAX + 1];
    struct model_viewing *viewings; /* earlier ones */
    size_t viewings_count;
};

struct stored_audience {
    struct stored_viewer *viewers; /* by number in the cast */
    struct model_viewing *frames;  /* of all shards: some are there twice */
    size_t frames_count;
    uint64_t peak_count; /* split: the largest sum at the end of a step */
    int64_t peak_ms;
};

struct run {
    struct cast cast;
    struct redis_server redis;
    struct engine *engine;
    struct engine_windows windows;
    uint32_t shards;
    uint64_t erase_one_of; /* the fewer viewers there are, the rarer: they do not come back */
    int64_t now_ms;
    uint64_t seq, heartbeats, repeats, refused_frames, sweeps, died, erased;
    struct stored_audience stored[EVENTS_MAX][AUDIENCES_MAX];
};

/* ---- audiences ---- */

static struct slice event_id(const struct run *run, size_t event)
{
    return slice_of(run->cast.events[event].bytes, run->cast.events[event].len);
}

/* Audience 0 is the event's own. */
static struct redis_audience audience_at(const struct run *run, size_t event, size_t audience,
                                         uint32_t shard)
{
    const struct cast_text *session = audience == 0 ? NULL : &run->cast.sessions[audience - 1];
    return (struct redis_audience){
        .event = event_id(run, event),
        .session = session == NULL ? SLICE_EMPTY : slice_of(session->bytes, session->len),
        .shard = shard,
        .shards = run->shards};
}

static size_t viewer_number(const struct run *run, struct slice viewer)
{
    for (size_t i = 0; i < run->cast.viewers_count; i++) {
        if (slice_equal(slice_of(run->cast.viewers[i].bytes, run->cast.viewers[i].len), viewer)) {
            return i;
        }
    }
    ASSERT(!"a viewer of the cast");
    return 0;
}

struct number {
    char text[24];
};
static struct slice number(struct number *number, int64_t value)
{
    int len = sprintf(number->text, "%" PRId64, value);
    return slice_of(number->text, (size_t)len);
}

static const redisReply *element(const redisReply *reply, size_t at, int type)
{
    ASSERT(reply->type == REDIS_REPLY_ARRAY && at < reply->elements);
    ASSERT(reply->element[at]->type == type);
    return reply->element[at];
}

static int64_t integer(const redisReply *reply, size_t at)
{
    return element(reply, at, REDIS_REPLY_INTEGER)->integer;
}

static struct slice text_of(const redisReply *reply, size_t at)
{
    const redisReply *text = element(reply, at, REDIS_REPLY_STRING);
    return slice_of(text->str, text->len);
}

/* ---- heartbeats ---- */

static size_t label_text(const struct heartbeat *heartbeat, struct slice groups,
                         char out[LABEL_MAX + 1])
{
    country_text(heartbeat->country, out);
    size_t len = 2;
    for (struct slice rest = groups, id; groups_next(&rest, &id);) {
        out[len++] = '\n';
        memcpy(out + len, id.ptr, id.len);
        len += id.len;
    }
    out[len] = 0;
    return len;
}

static void redis_beat(struct run *run, const struct redis_audience *audience,
                       const struct heartbeat *heartbeat, struct slice label)
{
    struct number frame_text, now_text;
    int64_t frame_ms = run->now_ms / run->windows.frame_ms * run->windows.frame_ms;
    for (int i = 0;; i++) {
        ASSERT(i < 2);
        struct slice args[] = {
            heartbeat->viewer,
            (heartbeat->flags & HEARTBEAT_HIDDEN) ? SLICE_LIT("h") : SLICE_EMPTY,
            number(&frame_text, frame_ms),
            label,
            number(&now_text, run->now_ms),
        };
        redisReply *reply =
            redis_call(&run->redis, REDIS_SCRIPT_HEARTBEAT, audience, frame_ms, args, 5);
        bool counted = reply->type == REDIS_REPLY_INTEGER;
        if (counted) {
            ASSERT(reply->integer == run->now_ms);
        } else { /* the frame's length has changed: the answer says which it is */
            ASSERT(slice_equal(text_of(reply, 0), SLICE_LIT("FRAME")));
            ASSERT(integer(reply, 1) != frame_ms && integer(reply, 2) == run->now_ms);
            frame_ms = integer(reply, 1);
            run->refused_frames++;
        }
        freeReplyObject(reply);
        if (counted) {
            return;
        }
    }
}

static void redis_leave(struct run *run, const struct redis_audience *audience,
                        const struct heartbeat *heartbeat)
{
    struct number now_text;
    struct slice args[] = {heartbeat->viewer, number(&now_text, run->now_ms)};
    freeReplyObject(redis_call(&run->redis, REDIS_SCRIPT_LEAVE, audience, 0, args, 2));
}

static void redis_heartbeat(struct run *run, const struct heartbeat *heartbeat, struct slice groups)
{
    char label[LABEL_MAX + 1];
    size_t label_len = label_text(heartbeat, groups, label);
    struct redis_audience audience = {
        .event = heartbeat->event,
        .shard = redis_shard(heartbeat->viewer, run->shards),
        .shards = run->shards,
    };
    for (int i = 0; i < 2; i++) {
        do {
            if (heartbeat->flags & HEARTBEAT_LEAVING) {
                redis_leave(run, &audience, heartbeat);
            } else {
                redis_beat(run, &audience, heartbeat, slice_of(label, label_len));
            }
        } while (cast_chance(&run->cast, 5) && ++run->repeats); /* the reply was lost */
        audience.session = heartbeat->session;
        if (heartbeat->session.len == 0) {
            break;
        }
    }
}

static void nothing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)ctx;
    (void)viewing;
}

static void both_heartbeat(struct run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    enum place_outcome outcome;
    while ((outcome = engine_heartbeat(run->engine, &heartbeat)) != PLACE_READY) {
        if (outcome == PLACE_ERASING) {
            return; /* for ever: the engine is not told that it is stored */
        }
        if (outcome == PLACE_NEED_EVENT) {
            ASSERT(engine_add_event(run->engine, heartbeat.event));
        } else {
            ASSERT(outcome == PLACE_NEED_PROFILE);
            heartbeat.flags |= HEARTBEAT_GROUPS | HEARTBEAT_PROFILE;
            heartbeat.groups = cast_groups(&run->cast);
        }
    }
    bool attended;
    struct slice groups;
    ASSERT(engine_viewer(run->engine, heartbeat.event, heartbeat.viewer, &attended, &groups,
                         nothing, NULL) == FIGURES_OK);
    redis_heartbeat(run, &heartbeat, groups);
    run->heartbeats++;
}

/* ---- sweeps ---- */

static void store_frames(struct stored_audience *stored, const redisReply *frames)
{
    for (size_t i = 0; i < frames->elements; i += 2) {
        stored->frames =
            memory_resize(stored->frames, (stored->frames_count + 1) * sizeof *stored->frames);
        stored->frames[stored->frames_count++] =
            (struct model_viewing){integer(frames, i), integer(frames, i + 1)};
    }
}

/* "start end viewer" */
static size_t read_closed(const struct run *run, struct slice row, struct model_viewing *viewing)
{
    char *end;
    viewing->start_ms = strtoll(row.ptr, &end, 10);
    viewing->end_ms = strtoll(end, &end, 10);
    ASSERT(*end == ' ');
    size_t used = (size_t)(end + 1 - row.ptr);
    return viewer_number(run, slice_of(row.ptr + used, row.len - used));
}

static bool has_viewing(const struct stored_viewer *viewer, struct model_viewing viewing)
{
    for (size_t i = 0; i < viewer->viewings_count; i++) {
        if (viewer->viewings[i].start_ms == viewing.start_ms) {
            ASSERT(viewer->viewings[i].end_ms == viewing.end_ms);
            return true;
        }
    }
    return false;
}

static void store_closed(struct run *run, struct stored_audience *stored, const redisReply *rows)
{
    for (size_t i = 0; i < rows->elements; i++) {
        struct model_viewing viewing;
        if (text_of(rows, i).len == 0) {
            continue; /* erased */
        }
        struct stored_viewer *viewer =
            &stored->viewers[read_closed(run, text_of(rows, i), &viewing)];
        if (!has_viewing(viewer, viewing)) {
            viewer->viewings = memory_resize(viewer->viewings, (viewer->viewings_count + 1) *
                                                                   sizeof *viewer->viewings);
            viewer->viewings[viewer->viewings_count++] = viewing;
        }
    }
}

static void store_members(struct run *run, struct stored_audience *stored,
                          const redisReply *members, const redisReply *labels)
{
    for (size_t i = 0; i < members->elements; i += 5) {
        struct stored_viewer *viewer = &stored->viewers[viewer_number(run, text_of(members, i))];
        int64_t start_ms = integer(members, i + 1);
        if (viewer->start_ms != 0 && viewer->start_ms != start_ms) {
            /* The viewing before is stored already, or with this page. */
            bool known = false;
            for (size_t v = 0; v < viewer->viewings_count; v++) {
                known |= viewer->viewings[v].start_ms == viewer->start_ms;
            }
            ASSERT(known);
        }
        viewer->start_ms = start_ms;
        viewer->end_ms = integer(members, i + 2);
        viewer->expiry_ms = integer(members, i + 3);
        size_t at = 0;
        while (integer(labels, at) != integer(members, i + 4)) {
            at += 2;
        }
        struct slice label = text_of(labels, at + 1);
        ASSERT(label.len <= LABEL_MAX);
        memcpy(viewer->label, label.ptr, label.len);
        viewer->label[label.len] = 0;
    }
}

/* Tells Redis what is stored. */
static void tell(struct run *run, const struct redis_audience *audience, const redisReply *page)
{
    const redisReply *frames = element(page, 5, REDIS_REPLY_ARRAY);
    const redisReply *closed = element(page, 6, REDIS_REPLY_ARRAY);
    struct number time_text, closed_text, frames_text[8];
    struct slice args[3 + 8];
    size_t count = 3;
    args[0] = number(&time_text, integer(page, 2));
    args[1] = number(&closed_text, integer(page, 3));
    args[2] = closed->elements == 0 ? SLICE_EMPTY : text_of(closed, closed->elements - 1);
    for (size_t i = 0; i < frames->elements && count < 3 + 8; i += 2) {
        args[count] = number(&frames_text[count - 3], integer(frames, i));
        count++;
    }
    freeReplyObject(redis_call(&run->redis, REDIS_SCRIPT_SWEPT, audience, 0, args, count));
}

/* One page; false: it was the last, or the node died. */
static bool sweep_page(struct run *run, struct stored_audience *stored,
                       const struct redis_audience *audience, struct slice from[2],
                       struct number texts[2], bool dies)
{
    struct number now_text, rows_text;
    int64_t rows = 1 + (int64_t)cast_below(&run->cast, cast_chance(&run->cast, 2) ? 4 : 300);
    struct slice args[] = {cast_chance(&run->cast, 2) ? SLICE_LIT("a") : SLICE_LIT("b"),
                           SLICE_LIT("0"),
                           from[0],
                           from[1],
                           number(&rows_text, rows),
                           number(&now_text, run->now_ms)};
    redisReply *page = redis_call(&run->redis, REDIS_SCRIPT_SWEEP, audience, 0, args, 6);
    bool more = integer(page, 1) == 1;
    from[0] = number(&texts[0], integer(page, 2));
    from[1] = number(&texts[1], integer(page, 3));
    unsigned fate = dies ? (unsigned)cast_below(&run->cast, 8) : 7;
    run->died += fate < 2;
    if (fate > 0) {
        store_frames(stored, element(page, 5, REDIS_REPLY_ARRAY));
        store_closed(run, stored, element(page, 6, REDIS_REPLY_ARRAY));
        store_members(run, stored, element(page, 7, REDIS_REPLY_ARRAY),
                      element(page, 8, REDIS_REPLY_ARRAY));
    }
    if (fate > 1) {
        tell(run, audience, page);
    }
    if (fate == 2) {
        tell(run, audience, page); /* the reply was lost */
    }
    freeReplyObject(page);
    return more && fate > 1;
}

static void sweep(struct run *run, size_t event, size_t audience, bool dies)
{
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = audience_at(run, event, audience, shard);
        struct slice from[2] = {SLICE_EMPTY, SLICE_EMPTY};
        struct number texts[2];
        while (sweep_page(run, &run->stored[event][audience], &part, from, texts, dies)) {
        }
        run->sweeps++;
    }
}

/* ---- comparing ---- */

#define SAME(what, audience, redis, engine)                                                        \
    MODEL_SAME(what, (audience)->event, (audience)->session, redis, engine)

static void same_figures(struct run *run, size_t event, size_t audience)
{
    struct figures want, got = {0};
    struct redis_audience whole = audience_at(run, event, audience, 0);
    SAME("figures", &whole, engine_figures(run->engine, whole.event, whole.session, &want),
         FIGURES_OK);
    struct number now_text;
    struct slice now = number(&now_text, run->now_ms);
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = audience_at(run, event, audience, shard);
        redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_FIGURES, &part, 0, &now, 1);
        SAME("time", &part, integer(reply, 0), run->now_ms);
        got.active += (uint64_t)integer(reply, 1);
        got.attended += (uint64_t)integer(reply, 2);
        got.logins += (uint64_t)integer(reply, 3);
        got.total_ms += integer(reply, 4);
        got.peak_count = (uint64_t)integer(reply, 5);
        got.peak_ms = integer(reply, 6);
        freeReplyObject(reply);
    }
    SAME("active", &whole, got.active, want.active);
    SAME("attended", &whole, got.attended, want.attended);
    SAME("logins", &whole, got.logins, want.logins);
    SAME("total viewing time", &whole, got.total_ms, want.total_ms);
    if (run->shards == 1) {
        SAME("peak", &whole, got.peak_count, want.peak_count);
        SAME("time of the peak", &whole, got.peak_ms, want.peak_ms);
        return;
    }
    /* Split: the largest sum seen, which is what was alive at the ends of steps. */
    struct stored_audience *stored = &run->stored[event][audience];
    if (want.active > stored->peak_count) {
        stored->peak_count = want.active;
        stored->peak_ms = run->now_ms;
    }
    whole.shards = 0;
    struct number sum_text;
    struct slice args[] = {number(&sum_text, (int64_t)got.active), now};
    redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_PEAK, &whole, 0, args, 2);
    SAME("largest sum", &whole, reply->integer, stored->peak_count);
    freeReplyObject(reply);
    reply = redis_command(&run->redis, "HGET %s time", redis_key(&whole, REDIS_KEY_PEAK, 0));
    SAME("time of the largest sum", &whole, reply->str == NULL ? 0 : atoll(reply->str),
         stored->peak_ms);
    freeReplyObject(reply);
}

/* A hash of counts: group:<id>, country:<code>, added up over the shards. */
struct hash {
    struct model_tally groups, countries;
    int64_t viewers;
};

static void hash_add(struct hash *hash, const redisReply *fields)
{
    for (size_t i = 0; i < fields->elements; i += 2) {
        struct slice field = text_of(fields, i);
        int64_t count = atoll(text_of(fields, i + 1).ptr);
        ASSERT(count >= 0);
        if (count == 0) {
            continue;
        }
        if (slice_equal(field, SLICE_LIT("viewerCount"))) {
            hash->viewers += count;
        } else if (field.len > 8 && memcmp(field.ptr, "country:", 8) == 0) {
            model_tally_add(&hash->countries, slice_of(field.ptr + 8, field.len - 8),
                            (uint32_t)count);
        } else {
            ASSERT(field.len > 6 && memcmp(field.ptr, "group:", 6) == 0);
            model_tally_add(&hash->groups, slice_of(field.ptr + 6, field.len - 6), (uint32_t)count);
        }
    }
}

static void hash_fini(struct hash *hash)
{
    model_tally_fini(&hash->groups);
    model_tally_fini(&hash->countries);
}

static void live_count(void *ctx, bool is_group, struct slice key, uint32_t count)
{
    struct hash *hash = ctx;
    model_tally_add(is_group ? &hash->groups : &hash->countries, key, count);
}

static void same_live(struct run *run, size_t event, size_t audience)
{
    struct hash want = {0}, got = {0};
    struct redis_audience whole = audience_at(run, event, audience, 0);
    uint64_t active;
    int64_t redis_active = 0;
    SAME("live", &whole,
         engine_live(run->engine, whole.event, whole.session, &active, live_count, &want),
         FIGURES_OK);
    struct number now_text, max_text;
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = audience_at(run, event, audience, shard);
        struct slice args[] = {number(&max_text, 1 + (int64_t)cast_below(&run->cast, 20)),
                               number(&now_text, run->now_ms)};
        redisReply *reply;
        while ((reply = redis_call(&run->redis, REDIS_SCRIPT_LIVE, &part, 0, args, 2))->elements ==
               1) {
            freeReplyObject(reply);
        }
        redis_active += integer(reply, 1);
        hash_add(&got, element(reply, 2, REDIS_REPLY_ARRAY));
        freeReplyObject(reply);
    }
    SAME("live active", &whole, redis_active, active);
    SAME("live groups", &whole, model_tally_equal(&got.groups, &want.groups), 1);
    SAME("live countries", &whole, model_tally_equal(&got.countries, &want.countries), 1);
    hash_fini(&want);
    hash_fini(&got);
}

/* One viewer's viewings in all audiences: what the engine says is counted off. */
struct viewer_walk {
    struct run *run;
    size_t event, viewer;
    bool stored_only; /* after a full sweep: the store alone has it all */
    size_t viewings;  /* that the engine knows */
    struct stored_viewer found[AUDIENCES_MAX];
};

static size_t audience_number(const struct run *run, struct slice session)
{
    for (size_t i = 0; i < run->cast.sessions_count; i++) {
        if (slice_equal(session,
                        slice_of(run->cast.sessions[i].bytes, run->cast.sessions[i].len))) {
            return i + 1;
        }
    }
    ASSERT(session.len == 0);
    return 0;
}

static void same_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    struct viewer_walk *walk = ctx;
    struct run *run = walk->run;
    size_t audience = audience_number(run, viewing->session);
    struct redis_audience whole = audience_at(run, walk->event, audience, 0);
    const struct stored_viewer *found = &walk->found[audience];
    walk->viewings++;
    if (!viewing->latest) {
        SAME("viewing that is over", &whole,
             has_viewing(found, (struct model_viewing){viewing->start_ms, viewing->end_ms}), 1);
        return;
    }
    char country[2];
    country_text(viewing->country, country);
    SAME("viewing start", &whole, found->start_ms, viewing->start_ms);
    SAME("viewing end", &whole, found->end_ms, viewing->end_ms);
    SAME("alive", &whole, found->expiry_ms >= run->now_ms, viewing->alive);
    SAME("country", &whole, memcmp(found->label, country, 2), 0);
}

/* What Redis knows of the viewer, added to what the store has. */
static void ask_viewer(struct run *run, size_t event, size_t audience, size_t viewer,
                       struct stored_viewer *found)
{
    struct slice id = slice_of(run->cast.viewers[viewer].bytes, run->cast.viewers[viewer].len);
    struct redis_audience part = audience_at(run, event, audience, redis_shard(id, run->shards));
    redisReply *closed =
        redis_command(&run->redis, "LRANGE %s 0 -1", redis_key(&part, REDIS_KEY_CLOSED, 0));
    for (size_t i = 0; i < closed->elements; i++) {
        struct model_viewing viewing;
        if (text_of(closed, i).len > 0 &&
            read_closed(run, text_of(closed, i), &viewing) == viewer &&
            !has_viewing(found, viewing)) {
            found->viewings = memory_resize(found->viewings,
                                            (found->viewings_count + 1) * sizeof *found->viewings);
            found->viewings[found->viewings_count++] = viewing;
        }
    }
    freeReplyObject(closed);
    struct number now_text;
    struct slice args[] = {id, number(&now_text, run->now_ms)};
    redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_VIEWER, &part, 0, args, 2);
    if (reply->elements > 1) {
        found->start_ms = integer(reply, 1);
        found->end_ms = integer(reply, 2);
        found->expiry_ms = integer(reply, 3);
        struct slice label = text_of(reply, 4);
        memcpy(found->label, label.ptr, label.len);
        found->label[label.len] = 0;
    }
    freeReplyObject(reply);
}

static void same_viewer(struct run *run, size_t event, size_t viewer, bool stored_only)
{
    struct viewer_walk walk = {run, event, viewer, stored_only, 0, {{0}}};
    size_t viewings = 0;
    for (size_t a = 0; a <= run->cast.sessions_count; a++) {
        struct stored_viewer *found = &walk.found[a];
        *found = run->stored[event][a].viewers[viewer];
        size_t bytes = found->viewings_count * sizeof *found->viewings;
        found->viewings = memory_alloc(bytes + 1);
        if (bytes > 0) {
            memcpy(found->viewings, run->stored[event][a].viewers[viewer].viewings, bytes);
        }
        if (!stored_only) {
            found->start_ms = 0;
            ask_viewer(run, event, a, viewer, found);
        }
        viewings += found->viewings_count + (found->start_ms != 0);
    }
    bool attended;
    struct slice groups;
    struct slice id = slice_of(run->cast.viewers[viewer].bytes, run->cast.viewers[viewer].len);
    ASSERT(engine_viewer(run->engine, event_id(run, event), id, &attended, &groups, same_viewing,
                         &walk) == FIGURES_OK);
    MODEL_SAME("viewings", event_id(run, event), SLICE_EMPTY, viewings, walk.viewings);
    for (size_t a = 0; a <= run->cast.sessions_count; a++) {
        free(walk.found[a].viewings);
    }
}

struct frame_walk {
    struct run *run;
    size_t event, audience, over;
    uint64_t only; /* compare one of so many; 1: all, and that sweeps have found each */
};

static void same_frame(void *ctx, const struct frame_row *frame)
{
    struct frame_walk *walk = ctx;
    struct run *run = walk->run;
    walk->over++;
    if (!cast_chance(&run->cast, walk->only)) {
        return;
    }
    struct hash want = {0}, got = {0};
    model_tally_read(&want.groups, frame->groups);
    model_tally_read(&want.countries, frame->countries);
    struct redis_audience whole = audience_at(run, walk->event, walk->audience, 0);
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = audience_at(run, walk->event, walk->audience, shard);
        redisReply *reply = redis_command(&run->redis, "HGETALL %s",
                                          redis_key(&part, REDIS_KEY_STATISTICS, frame->start_ms));
        hash_add(&got, reply);
        freeReplyObject(reply);
    }
    SAME("frame's viewers", &whole, got.viewers, frame->viewers);
    SAME("frame's groups", &whole, model_tally_equal(&got.groups, &want.groups), 1);
    SAME("frame's countries", &whole, model_tally_equal(&got.countries, &want.countries), 1);
    hash_fini(&want);
    hash_fini(&got);
    const struct stored_audience *stored = &run->stored[walk->event][walk->audience];
    bool found = walk->only > 1;
    for (size_t i = 0; i < stored->frames_count && !found; i++) {
        found = stored->frames[i].start_ms == frame->start_ms &&
                stored->frames[i].end_ms == frame->end_ms;
    }
    SAME("frame was swept", &whole, found, 1);
}

static void same_frames(struct run *run, size_t event, size_t audience, uint64_t only)
{
    struct frame_walk walk = {run, event, audience, 0, only};
    struct redis_audience whole = audience_at(run, event, audience, 0);
    SAME("frames", &whole,
         engine_frames(run->engine, whole.event, whole.session, same_frame, &walk), FIGURES_OK);
    const struct stored_audience *stored = &run->stored[event][audience];
    size_t distinct = 0;
    for (size_t i = 0; i < stored->frames_count; i++) {
        size_t first = 0;
        while (stored->frames[first].start_ms != stored->frames[i].start_ms) {
            first++;
        }
        SAME("frame's end", &whole, stored->frames[first].end_ms, stored->frames[i].end_ms);
        distinct += first == i;
    }
    SAME("frames that are over", &whole, only > 1 ? distinct <= walk.over : distinct == walk.over,
         1);
}

static void compare(struct run *run)
{
    for (size_t event = 0; event < run->cast.events_count; event++) {
        if (!engine_has_event(run->engine, event_id(run, event))) {
            continue;
        }
        for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
            same_figures(run, event, audience);
            same_live(run, event, audience);
        }
        same_viewer(run, event, cast_below(&run->cast, run->cast.viewers_count), false);
        same_frames(run, event, cast_below(&run->cast, run->cast.sessions_count + 1), 50);
    }
}

/* A last sweep, and the store has everything. */
static void compare_all(struct run *run)
{
    for (size_t event = 0; event < run->cast.events_count; event++) {
        if (!engine_has_event(run->engine, event_id(run, event))) {
            continue;
        }
        for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
            sweep(run, event, audience, false);
            same_frames(run, event, audience, 1);
            for (uint32_t shard = 0; shard < run->shards; shard++) {
                struct redis_audience part = audience_at(run, event, audience, shard);
                redisReply *reply =
                    redis_command(&run->redis, "LLEN %s", redis_key(&part, REDIS_KEY_CLOSED, 0));
                SAME("nothing waits", &part, reply->integer, 0);
                freeReplyObject(reply);
            }
        }
        for (size_t viewer = 0; viewer < run->cast.viewers_count; viewer++) {
            same_viewer(run, event, viewer, false);
            same_viewer(run, event, viewer, true);
        }
    }
}

/* Everything has an expiry. */
static void check_expiries(struct run *run)
{
    redisReply *keys = redis_command(&run->redis, "KEYS *");
    ASSERT(keys->elements > 0);
    for (size_t i = 0; i < keys->elements; i++) {
        redisReply *ttl =
            redis_command(&run->redis, "PTTL %b", keys->element[i]->str, keys->element[i]->len);
        if (ttl->integer <= 0 || ttl->integer > KEEP_MS) {
            printf("# %s expires in %lld ms\n", keys->element[i]->str, ttl->integer);
            ASSERT(!"it has an expiry");
        }
        freeReplyObject(ttl);
    }
    freeReplyObject(keys);
}

/* ---- erasure ---- */

/* In one audience, in Redis and in the store. */
static void erase_in(struct run *run, size_t event, size_t audience, struct slice viewer)
{
    struct redis_audience part =
        audience_at(run, event, audience, redis_shard(viewer, run->shards));
    struct stored_viewer *stored =
        &run->stored[event][audience].viewers[viewer_number(run, viewer)];
    redisReply *base =
        redis_command(&run->redis, "HGET %s closedBase", redis_key(&part, REDIS_KEY_FIGURES, 0));
    char *viewings = memory_alloc(stored->viewings_count * 50 + 1);
    size_t len = 0;
    for (size_t i = 0; i < stored->viewings_count; i++) {
        len += (size_t)sprintf(viewings + len, "%" PRId64 " %" PRId64 " ",
                               stored->viewings[i].start_ms, stored->viewings[i].end_ms);
    }
    struct slice args[] = {viewer, base->str == NULL ? SLICE_LIT("0") : slice_str(base->str),
                           slice_of(viewings, len)};
    do {
        redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_ERASE, &part, 0, args, 3);
        ASSERT(reply->type == REDIS_REPLY_INTEGER);
        freeReplyObject(reply);
    } while (cast_chance(&run->cast, 2));
    freeReplyObject(base);
    free(viewings);
    free(stored->viewings);
    *stored = (struct stored_viewer){0};
}

static void step_erase(struct run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    bool known;
    if (engine_erase(run->engine, heartbeat.event, heartbeat.viewer, &known) != FIGURES_OK) {
        return;
    }
    size_t event = slice_equal(heartbeat.event, event_id(run, 0)) ? 0 : 1;
    for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
        erase_in(run, event, audience, heartbeat.viewer);
    }
    run->erased += known;
}

/* ---- runs ---- */

static void load(struct run *run)
{
    struct redis_script_settings settings = {
        .alive_ms = run->windows.alive_ms,
        .hidden_ms = run->windows.hidden_ms,
        .leaving_ms = run->windows.leaving_ms,
        .gap_ms = run->windows.gap_ms,
        .frame_ms = run->windows.frame_ms,
        .keep_ms = KEEP_MS,
        .viewers_max = 100000,
        .backlog_max = 1000000,
    };
    redis_server_load(&run->redis, &settings);
}

/* All but the alive window, which is part of what the scores mean; and, when split, the frame. */
static void step_windows(struct run *run)
{
    struct engine_windows windows = cast_windows(&run->cast);
    windows.alive_ms = run->windows.alive_ms;
    windows.leaving_ms = (int64_t)cast_below(&run->cast, (uint64_t)windows.alive_ms + 1);
    windows.hidden_ms = windows.alive_ms + (int64_t)cast_below(&run->cast, 60000);
    windows.gap_ms = windows.hidden_ms + (int64_t)cast_below(&run->cast, 60000);
    if (run->shards > 1) {
        windows.frame_ms = run->windows.frame_ms;
    }
    run->windows = windows;
    engine_set_windows(run->engine, &windows);
    load(run);
}

static void step(struct run *run, uint64_t batch_max)
{
    run->now_ms += cast_step_ms(&run->cast, &run->windows);
    engine_begin(run->engine, ++run->seq, run->now_ms);
    uint64_t choice = cast_below(&run->cast, 40);
    if (choice == 0) {
        step_windows(run);
    } else if (choice >= 38 && cast_chance(&run->cast, run->erase_one_of)) {
        step_erase(run);
    } else if (choice < 6) {
        size_t event = cast_below(&run->cast, run->cast.events_count);
        sweep(run, event, cast_below(&run->cast, run->cast.sessions_count + 1), true);
    } else {
        for (uint64_t i = cast_below(&run->cast, batch_max); i > 0; i--) {
            both_heartbeat(run);
        }
    }
    compare(run);
}

/* Labels that nobody has, so that those of the run have numbers of more than 11 bits. */
static void fill_labels(struct run *run, uint32_t labels)
{
    for (size_t event = 0; event < run->cast.events_count; event++) {
        for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
            for (uint32_t shard = 0; shard < run->shards; shard++) {
                struct redis_audience part = audience_at(run, event, audience, shard);
                freeReplyObject(
                    redis_command(&run->redis, "EVAL %s 1 %s %u",
                                  "for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], i - 1, "
                                  "'QQ\\n' .. i) end",
                                  redis_key(&part, REDIS_KEY_LABELS, 0), labels));
            }
        }
    }
}

static bool run_init(struct run *run, uint64_t seed, size_t sessions, size_t viewers,
                     uint32_t shards)
{
    *run = (struct run){.shards = shards, .erase_one_of = viewers < 50 ? 4 : 1};
    if (!redis_server_start(&run->redis)) {
        return false;
    }
    cast_init(&run->cast, seed, EVENTS_MAX, sessions, viewers);
    run->windows = cast_windows(&run->cast);
    struct engine_config cfg = {
        .windows = run->windows,
        .profile_ttl_ms = 600000,
        .event_idle_ms = INT64_MAX / 4,
        .events_max = 100,
        .sessions_max = 100,
        .viewers_max = 100000,
        .backlog_max = UINT32_MAX,
        .hash_key = {cast_random(&run->cast), cast_random(&run->cast)},
    };
    run->engine = engine_new(&cfg);
    run->now_ms = 1637661623070 + (int64_t)cast_below(&run->cast, 86400000);
    for (size_t event = 0; event < EVENTS_MAX; event++) {
        for (size_t audience = 0; audience <= sessions; audience++) {
            run->stored[event][audience].viewers =
                memory_zalloc(viewers * sizeof(struct stored_viewer));
        }
    }
    load(run);
    return true;
}

static void run_fini(struct run *run)
{
    for (size_t event = 0; event < EVENTS_MAX; event++) {
        for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
            struct stored_audience *stored = &run->stored[event][audience];
            for (size_t viewer = 0; viewer < run->cast.viewers_count; viewer++) {
                free(stored->viewers[viewer].viewings);
            }
            free(stored->viewers);
            free(stored->frames);
        }
    }
    engine_free(run->engine);
    cast_fini(&run->cast);
    redis_server_stop(&run->redis);
}

static uint64_t rounds(void)
{
    const char *text = getenv("NOVABEAT_ROUNDS");
    return text == NULL ? 1 : (strtoull(text, NULL, 10) + 3) / 4; /* slower than others */
}

static void many_rounds(size_t sessions, size_t viewers, uint32_t shards, uint32_t labels,
                        uint64_t batch_max, int steps)
{
    uint64_t random = tap_seed();
    for (uint64_t round = 0; round < rounds(); round++) {
        struct run run;
        if (!run_init(&run, tap_random(&random), sessions, viewers, shards)) {
            printf("# no redis-server on this machine\n");
            skip();
        }
        fill_labels(&run, labels);
        for (int i = 0; i < steps; i++) {
            step(&run, batch_max);
        }
        compare_all(&run);
        if (labels == 0) {
            check_expiries(&run);
        }
        printf("# %llu heartbeats, %llu repeated, %llu other frames, %llu sweeps, %llu died, "
               "%llu erased\n",
               (unsigned long long)run.heartbeats, (unsigned long long)run.repeats,
               (unsigned long long)run.refused_frames, (unsigned long long)run.sweeps,
               (unsigned long long)run.died, (unsigned long long)run.erased);
        run_fini(&run);
    }
}

static void test_few_viewers(void **state)
{
    (void)state;
    many_rounds(3, 6, 1, 0, 20, 800);
}

static void test_some_viewers(void **state)
{
    (void)state;
    many_rounds(3, 90, 1, 2048 - 20, 60, 400);
}

static void test_many_viewers(void **state)
{
    (void)state;
    many_rounds(1, 1500, 1, 0, 250, 120);
}

static void test_split(void **state)
{
    (void)state;
    many_rounds(2, 12, 3, 0, 20, 500);
}

static void test_split_many(void **state)
{
    (void)state;
    many_rounds(1, 600, 3, 3000, 200, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_viewers),  cmocka_unit_test(test_some_viewers),
        cmocka_unit_test(test_many_viewers), cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_many),
    };
    return tap_run(tests);
}
