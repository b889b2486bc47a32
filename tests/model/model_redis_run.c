/* model_redis_run.c -- heartbeats, sweeps, erasures and losses of a run. */
#include "model/model_redis_run.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"

#include <inttypes.h>

/* ---- audiences ---- */

struct slice run_viewer(const struct redis_run *run, size_t viewer)
{
    return slice_of(run->cast.viewers[viewer].bytes, run->cast.viewers[viewer].len);
}

struct slice run_event(const struct redis_run *run, size_t event)
{
    return slice_of(run->cast.events[event].bytes, run->cast.events[event].len);
}

/* Audience 0 is the event's own. */
struct redis_audience run_audience(const struct redis_run *run, size_t event, size_t audience,
                                   uint32_t shard)
{
    const struct cast_text *session = audience == 0 ? NULL : &run->cast.sessions[audience - 1];
    return (struct redis_audience){
        .event = run_event(run, event),
        .session = session == NULL ? SLICE_EMPTY : slice_of(session->bytes, session->len),
        .shard = shard,
        .shards = run->shards};
}

size_t run_viewer_number(const struct redis_run *run, struct slice viewer)
{
    for (size_t i = 0; i < run->cast.viewers_count; i++) {
        if (slice_equal(slice_of(run->cast.viewers[i].bytes, run->cast.viewers[i].len), viewer)) {
            return i;
        }
    }
    ASSERT(!"a viewer of the cast");
    return 0;
}

struct slice redis_number(struct redis_number *number, int64_t value)
{
    int len = sprintf(number->text, "%" PRId64, value);
    return slice_of(number->text, (size_t)len);
}

const redisReply *redis_element(const redisReply *reply, size_t at, int type)
{
    ASSERT(reply->type == REDIS_REPLY_ARRAY && at < reply->elements);
    ASSERT(reply->element[at]->type == type);
    return reply->element[at];
}

int64_t redis_integer(const redisReply *reply, size_t at)
{
    return redis_element(reply, at, REDIS_REPLY_INTEGER)->integer;
}

struct slice redis_text(const redisReply *reply, size_t at)
{
    const redisReply *text = redis_element(reply, at, REDIS_REPLY_STRING);
    return slice_of(text->str, text->len);
}

void run_load(struct redis_run *run)
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

static void redis_beat(struct redis_run *run, const struct redis_audience *audience,
                       const struct heartbeat *heartbeat, struct slice label)
{
    struct redis_number frame_text, now_text;
    int64_t frame_ms = run->now_ms / run->windows.frame_ms * run->windows.frame_ms;
    for (int i = 0;; i++) {
        ASSERT(i < 3);
        struct slice args[] = {
            heartbeat->viewer,
            (heartbeat->flags & HEARTBEAT_HIDDEN) ? SLICE_LIT("h") : SLICE_EMPTY,
            redis_number(&frame_text, frame_ms),
            label,
            redis_number(&now_text, run->now_ms),
        };
        redisReply *reply =
            redis_call(&run->redis, REDIS_SCRIPT_HEARTBEAT, audience, frame_ms, args, 5);
        bool counted = reply->type == REDIS_REPLY_INTEGER;
        if (counted) {
            ASSERT(reply->integer == run->now_ms);
        } else if (slice_equal(redis_text(reply, 0), SLICE_LIT("NEW"))) {
            run_open(run, audience);
        } else { /* the frame's length has changed: the answer says which it is */
            ASSERT(slice_equal(redis_text(reply, 0), SLICE_LIT("FRAME")));
            ASSERT(redis_integer(reply, 1) != frame_ms && redis_integer(reply, 2) == run->now_ms);
            frame_ms = redis_integer(reply, 1);
            run->refused_frames++;
        }
        freeReplyObject(reply);
        if (counted) {
            return;
        }
    }
}

static void redis_leave(struct redis_run *run, const struct redis_audience *audience,
                        const struct heartbeat *heartbeat)
{
    struct redis_number now_text;
    struct slice args[] = {heartbeat->viewer, redis_number(&now_text, run->now_ms)};
    freeReplyObject(redis_call(&run->redis, REDIS_SCRIPT_LEAVE, audience, 0, args, 2));
}

static void redis_heartbeat(struct redis_run *run, const struct heartbeat *heartbeat,
                            struct slice groups)
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

void run_heartbeat(struct redis_run *run)
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
            (struct model_viewing){redis_integer(frames, i), redis_integer(frames, i + 1)};
    }
}

/* "start end viewer" */
size_t run_read_closed(const struct redis_run *run, struct slice row, struct model_viewing *viewing)
{
    char *end;
    viewing->start_ms = strtoll(row.ptr, &end, 10);
    viewing->end_ms = strtoll(end, &end, 10);
    ASSERT(*end == ' ');
    size_t used = (size_t)(end + 1 - row.ptr);
    return run_viewer_number(run, slice_of(row.ptr + used, row.len - used));
}

bool stored_has(const struct stored_viewer *viewer, struct model_viewing viewing)
{
    for (size_t i = 0; i < viewer->viewings_count; i++) {
        if (viewer->viewings[i].start_ms == viewing.start_ms) {
            ASSERT(viewer->viewings[i].end_ms == viewing.end_ms);
            return true;
        }
    }
    return false;
}

void stored_add(struct stored_viewer *viewer, struct model_viewing viewing)
{
    if (!stored_has(viewer, viewing)) {
        viewer->viewings = memory_resize(viewer->viewings,
                                         (viewer->viewings_count + 1) * sizeof *viewer->viewings);
        viewer->viewings[viewer->viewings_count++] = viewing;
    }
}

static void store_closed(struct redis_run *run, struct stored_audience *stored,
                         const redisReply *rows)
{
    for (size_t i = 0; i < rows->elements; i++) {
        struct model_viewing viewing;
        if (redis_text(rows, i).len == 0) {
            continue; /* erased */
        }
        size_t viewer = run_read_closed(run, redis_text(rows, i), &viewing);
        stored_add(&stored->viewers[viewer], viewing);
    }
}

static void store_members(struct redis_run *run, struct stored_audience *stored,
                          const redisReply *members, const redisReply *labels, int64_t frame_ms)
{
    for (size_t i = 0; i < members->elements; i += 6) {
        struct stored_viewer *viewer =
            &stored->viewers[run_viewer_number(run, redis_text(members, i))];
        int64_t start_ms = redis_integer(members, i + 1);
        if (viewer->start_ms != 0 && viewer->start_ms != start_ms) {
            /* The viewing before is stored already, or with this page. */
            bool known = false;
            for (size_t v = 0; v < viewer->viewings_count; v++) {
                known |= viewer->viewings[v].start_ms == viewer->start_ms;
            }
            ASSERT(known);
        }
        viewer->start_ms = start_ms;
        viewer->end_ms = redis_integer(members, i + 2);
        viewer->expiry_ms = redis_integer(members, i + 3);
        viewer->counted_frame_ms = redis_integer(members, i + 4) ? frame_ms : -1;
        size_t at = 0;
        while (redis_integer(labels, at) != redis_integer(members, i + 5)) {
            at += 2;
        }
        struct slice label = redis_text(labels, at + 1);
        ASSERT(label.len <= LABEL_MAX);
        memcpy(viewer->label, label.ptr, label.len);
        viewer->label[label.len] = 0;
    }
}

/* Tells Redis what is stored. */
static void tell(struct redis_run *run, const struct redis_audience *audience,
                 const redisReply *page)
{
    const redisReply *frames = redis_element(page, 5, REDIS_REPLY_ARRAY);
    const redisReply *closed = redis_element(page, 6, REDIS_REPLY_ARRAY);
    struct redis_number time_text, closed_text, frames_text[8];
    struct slice args[3 + 8];
    size_t count = 3;
    args[0] = redis_number(&time_text, redis_integer(page, 2));
    args[1] = redis_number(&closed_text, redis_integer(page, 3));
    args[2] = closed->elements == 0 ? SLICE_EMPTY : redis_text(closed, closed->elements - 1);
    for (size_t i = 0; i < frames->elements && count < 3 + 8; i += 2) {
        args[count] = redis_number(&frames_text[count - 3], redis_integer(frames, i));
        count++;
    }
    freeReplyObject(redis_call(&run->redis, REDIS_SCRIPT_SWEPT, audience, 0, args, count));
}

/* One page; false: it was the last, or the node died. */
static bool sweep_page(struct redis_run *run, struct stored_audience *stored,
                       const struct redis_audience *audience, struct slice from[2],
                       struct redis_number texts[2], bool dies)
{
    struct redis_number now_text, rows_text;
    int64_t rows = 1 + (int64_t)cast_below(&run->cast, cast_chance(&run->cast, 2) ? 4 : 300);
    struct slice args[] = {cast_chance(&run->cast, 2) ? SLICE_LIT("a") : SLICE_LIT("b"),
                           SLICE_LIT("0"),
                           from[0],
                           from[1],
                           redis_number(&rows_text, rows),
                           redis_number(&now_text, run->now_ms)};
    redisReply *page = redis_call(&run->redis, REDIS_SCRIPT_SWEEP, audience, 0, args, 6);
    bool more = redis_integer(page, 1) == 1;
    from[0] = redis_number(&texts[0], redis_integer(page, 2));
    from[1] = redis_number(&texts[1], redis_integer(page, 3));
    const redisReply *sums = redis_element(page, 4, REDIS_REPLY_ARRAY);
    unsigned fate = dies ? (unsigned)cast_below(&run->cast, 8) : 7;
    run->died += fate < 2;
    if (fate > 0) {
        store_frames(stored, redis_element(page, 5, REDIS_REPLY_ARRAY));
        store_closed(run, stored, redis_element(page, 6, REDIS_REPLY_ARRAY));
        store_members(run, stored, redis_element(page, 7, REDIS_REPLY_ARRAY),
                      redis_element(page, 8, REDIS_REPLY_ARRAY), redis_integer(sums, 6));
        for (size_t i = 0; i < 8 && !more; i++) {
            stored->sums[audience->shard][i] = redis_integer(sums, i);
        }
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

void run_sweep(struct redis_run *run, size_t event, size_t audience, bool dies)
{
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = run_audience(run, event, audience, shard);
        struct slice from[2] = {SLICE_EMPTY, SLICE_EMPTY};
        struct redis_number texts[2];
        while (sweep_page(run, &run->stored[event][audience], &part, from, texts, dies)) {
        }
        run->sweeps++;
    }
}

/* ---- erasure ---- */

/* In one audience, in Redis and in the store. */
static void erase_in(struct redis_run *run, size_t event, size_t audience, struct slice viewer)
{
    struct redis_audience part =
        run_audience(run, event, audience, redis_shard(viewer, run->shards));
    struct stored_viewer *stored =
        &run->stored[event][audience].viewers[run_viewer_number(run, viewer)];
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

void run_erase(struct redis_run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    bool known;
    if (engine_erase(run->engine, heartbeat.event, heartbeat.viewer, &known) != FIGURES_OK) {
        return;
    }
    size_t event = slice_equal(heartbeat.event, run_event(run, 0)) ? 0 : 1;
    for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
        erase_in(run, event, audience, heartbeat.viewer);
    }
    run->erased += known;
}

/* ---- opening, losing ---- */

static void fill_labels(struct redis_run *run, const struct redis_audience *audience)
{
    freeReplyObject(
        redis_command(&run->redis, "EVAL %s 1 %s %u",
                      "for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], i - 1, 'QQ\\n' .. i) end",
                      redis_key(audience, REDIS_KEY_LABELS, 0), run->labels));
}

void run_open(struct redis_run *run, const struct redis_audience *audience)
{
    redis_open_new(&run->redis, audience);
    fill_labels(run, audience);
}

/* One call of open.lua: its first word, in a buffer of the callee. */
static const char *open_call(struct redis_run *run, const struct redis_audience *part,
                             const struct slice *args, size_t count)
{
    static char word[8];
    redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_OPEN, part, 0, args, count);
    (void)snprintf(word, sizeof word, "%s", redis_element(reply, 0, REDIS_REPLY_STRING)->str);
    freeReplyObject(reply);
    return word;
}

#define ROWS_A_PAGE 8

/* The rows of viewers from *viewer on, at most a page. */
static void open_rows(struct redis_run *run, const struct stored_audience *stored,
                      const struct redis_audience *part, const struct slice head[4], size_t *viewer)
{
    struct slice args[4 + 6 * ROWS_A_PAGE];
    struct redis_number numbers[3 * ROWS_A_PAGE];
    memcpy(args, head, 4 * sizeof *args);
    size_t count = 4, rows = 0;
    for (; *viewer < run->cast.viewers_count && rows < ROWS_A_PAGE; (*viewer)++) {
        const struct stored_viewer *row = &stored->viewers[*viewer];
        struct slice id = run_viewer(run, *viewer);
        if (row->start_ms == 0 || redis_shard(id, run->shards) != part->shard) {
            continue;
        }
        bool counted = row->counted_frame_ms == stored->sums[part->shard][6];
        args[count++] = id;
        args[count++] = redis_number(&numbers[rows * 3], row->start_ms);
        args[count++] = redis_number(&numbers[rows * 3 + 1], row->end_ms);
        args[count++] = redis_number(&numbers[rows * 3 + 2], row->expiry_ms);
        args[count++] = counted ? SLICE_LIT("0") : SLICE_LIT("1");
        args[count++] = slice_str(row->label);
        rows++;
    }
    do {
        ASSERT(strcmp(open_call(run, part, args, count), "OK") == 0);
    } while (cast_chance(&run->cast, 4));
}

/* False: the node died. */
static bool bring_back(struct redis_run *run, const struct stored_audience *stored,
                       const struct redis_audience *part, struct slice node, bool dies)
{
    struct redis_number now_text, numbers[6];
    struct slice head[] = {node, SLICE_LIT("begin"), redis_number(&now_text, run->now_ms),
                           SLICE_LIT("0")};
    ASSERT(strcmp(open_call(run, part, head, 4), "OK") == 0);
    fill_labels(run, part);
    head[1] = SLICE_LIT("rows");
    for (size_t viewer = 0; viewer < run->cast.viewers_count;) {
        open_rows(run, stored, part, head, &viewer);
        if (dies && cast_chance(&run->cast, 20)) {
            return false;
        }
    }
    struct slice done[9] = {node, SLICE_LIT("done"), head[2]};
    for (size_t i = 0; i < 6; i++) {
        done[3 + i] = redis_number(&numbers[i], stored->sums[part->shard][2 + i]);
    }
    ASSERT(strcmp(open_call(run, part, done, 9), "OK") == 0);
    ASSERT(strcmp(open_call(run, part, done, 9), "OPEN") == 0);
    return true;
}

void run_lose(struct redis_run *run, size_t event, size_t audience)
{
    run_sweep(run, event, audience, false);
    struct stored_audience *stored = &run->stored[event][audience];
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        if (stored->sums[shard][1] == 0) {
            continue; /* nobody was ever here: it is not open */
        }
        struct redis_audience part = run_audience(run, event, audience, shard);
        for (enum redis_key key = 0; key < REDIS_KEYS; key++) {
            if (key != REDIS_KEY_STATISTICS) { /* they have an expiry of their own */
                freeReplyObject(redis_command(&run->redis, "DEL %s", redis_key(&part, key, 0)));
            }
        }
        struct redis_number node;
        int64_t attempt = 0;
        while (!bring_back(run, stored, &part, redis_number(&node, attempt), attempt < 2)) {
            attempt++;
            run->died++;
        }
        run->lost++;
    }
}
