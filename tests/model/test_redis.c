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
#include "model/model_compare.h"
#include "model/model_redis_run.h"

/* ---- comparing ---- */

#define SAME(what, audience, redis, engine)                                                        \
    MODEL_SAME(what, (audience)->event, (audience)->session, redis, engine)

static void same_figures(struct redis_run *run, size_t event, size_t audience)
{
    struct figures want, got = {0};
    struct redis_audience whole = run_audience(run, event, audience, 0);
    SAME("figures", &whole, engine_figures(run->engine, whole.event, whole.session, &want),
         FIGURES_OK);
    struct redis_number now_text;
    struct slice now = redis_number(&now_text, run->now_ms);
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = run_audience(run, event, audience, shard);
        redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_FIGURES, &part, 0, &now, 1);
        SAME("time", &part, redis_integer(reply, 0), run->now_ms);
        got.active += (uint64_t)redis_integer(reply, 1);
        got.attended += (uint64_t)redis_integer(reply, 2);
        got.logins += (uint64_t)redis_integer(reply, 3);
        got.total_ms += redis_integer(reply, 4);
        got.peak_count = (uint64_t)redis_integer(reply, 5);
        got.peak_ms = redis_integer(reply, 6);
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
    struct redis_number sum_text;
    struct slice args[] = {redis_number(&sum_text, (int64_t)got.active), now};
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
        struct slice field = redis_text(fields, i);
        int64_t count = atoll(redis_text(fields, i + 1).ptr);
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

static void same_live(struct redis_run *run, size_t event, size_t audience)
{
    struct hash want = {0}, got = {0};
    struct redis_audience whole = run_audience(run, event, audience, 0);
    uint64_t active;
    int64_t redis_active = 0;
    SAME("live", &whole,
         engine_live(run->engine, whole.event, whole.session, &active, live_count, &want),
         FIGURES_OK);
    struct redis_number now_text, max_text;
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = run_audience(run, event, audience, shard);
        struct slice args[] = {redis_number(&max_text, 1 + (int64_t)cast_below(&run->cast, 20)),
                               redis_number(&now_text, run->now_ms)};
        redisReply *reply;
        while ((reply = redis_call(&run->redis, REDIS_SCRIPT_LIVE, &part, 0, args, 2))->elements ==
               1) {
            freeReplyObject(reply);
        }
        redis_active += redis_integer(reply, 1);
        hash_add(&got, redis_element(reply, 2, REDIS_REPLY_ARRAY));
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
    struct redis_run *run;
    size_t event, viewer;
    bool stored_only; /* after a full sweep: the store alone has it all */
    size_t viewings;  /* that the engine knows */
    struct stored_viewer found[AUDIENCES_MAX];
};

static size_t audience_number(const struct redis_run *run, struct slice session)
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
    struct redis_run *run = walk->run;
    size_t audience = audience_number(run, viewing->session);
    struct redis_audience whole = run_audience(run, walk->event, audience, 0);
    const struct stored_viewer *found = &walk->found[audience];
    walk->viewings++;
    if (!viewing->latest) {
        SAME("viewing that is over", &whole,
             stored_has(found, (struct model_viewing){viewing->start_ms, viewing->end_ms}), 1);
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
static void ask_viewer(struct redis_run *run, size_t event, size_t audience, size_t viewer,
                       struct stored_viewer *found)
{
    struct slice id = slice_of(run->cast.viewers[viewer].bytes, run->cast.viewers[viewer].len);
    struct redis_audience part = run_audience(run, event, audience, redis_shard(id, run->shards));
    redisReply *closed =
        redis_command(&run->redis, "LRANGE %s 0 -1", redis_key(&part, REDIS_KEY_CLOSED, 0));
    for (size_t i = 0; i < closed->elements; i++) {
        struct model_viewing viewing;
        if (redis_text(closed, i).len > 0 &&
            run_read_closed(run, redis_text(closed, i), &viewing) == viewer) {
            stored_add(found, viewing);
        }
    }
    freeReplyObject(closed);
    struct redis_number now_text;
    struct slice args[] = {id, redis_number(&now_text, run->now_ms)};
    redisReply *reply = redis_call(&run->redis, REDIS_SCRIPT_VIEWER, &part, 0, args, 2);
    if (reply->elements > 1) {
        found->start_ms = redis_integer(reply, 1);
        found->end_ms = redis_integer(reply, 2);
        found->expiry_ms = redis_integer(reply, 3);
        struct slice label = redis_text(reply, 4);
        memcpy(found->label, label.ptr, label.len);
        found->label[label.len] = 0;
    }
    freeReplyObject(reply);
}

static void same_viewer(struct redis_run *run, size_t event, size_t viewer, bool stored_only)
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
    ASSERT(engine_viewer(run->engine, run_event(run, event), id, &attended, &groups, same_viewing,
                         &walk) == FIGURES_OK);
    MODEL_SAME("viewings", run_event(run, event), SLICE_EMPTY, viewings, walk.viewings);
    for (size_t a = 0; a <= run->cast.sessions_count; a++) {
        free(walk.found[a].viewings);
    }
}

struct frame_walk {
    struct redis_run *run;
    size_t event, audience, over;
    uint64_t only; /* compare one of so many; 1: all, and that sweeps have found each */
};

static void same_frame(void *ctx, const struct frame_row *frame)
{
    struct frame_walk *walk = ctx;
    struct redis_run *run = walk->run;
    walk->over++;
    if (!cast_chance(&run->cast, walk->only)) {
        return;
    }
    struct hash want = {0}, got = {0};
    model_tally_read(&want.groups, frame->groups);
    model_tally_read(&want.countries, frame->countries);
    struct redis_audience whole = run_audience(run, walk->event, walk->audience, 0);
    for (uint32_t shard = 0; shard < run->shards; shard++) {
        struct redis_audience part = run_audience(run, walk->event, walk->audience, shard);
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

static void same_frames(struct redis_run *run, size_t event, size_t audience, uint64_t only)
{
    struct frame_walk walk = {run, event, audience, 0, only};
    struct redis_audience whole = run_audience(run, event, audience, 0);
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

static void compare(struct redis_run *run)
{
    for (size_t event = 0; event < run->cast.events_count; event++) {
        if (!engine_has_event(run->engine, run_event(run, event))) {
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
static void compare_all(struct redis_run *run)
{
    for (size_t event = 0; event < run->cast.events_count; event++) {
        if (!engine_has_event(run->engine, run_event(run, event))) {
            continue;
        }
        for (size_t audience = 0; audience <= run->cast.sessions_count; audience++) {
            run_sweep(run, event, audience, false);
            same_frames(run, event, audience, 1);
            for (uint32_t shard = 0; shard < run->shards; shard++) {
                struct redis_audience part = run_audience(run, event, audience, shard);
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
static void check_expiries(struct redis_run *run)
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

/* ---- runs ---- */

/* All but the alive window, which is part of what the scores mean; and, when split, the frame. */
static void step_windows(struct redis_run *run)
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
    run_load(run);
}

static void step(struct redis_run *run, uint64_t batch_max)
{
    run->now_ms += cast_step_ms(&run->cast, &run->windows);
    engine_begin(run->engine, ++run->seq, run->now_ms);
    uint64_t choice = cast_below(&run->cast, 40);
    if (choice == 0) {
        step_windows(run);
    } else if (choice >= 38 && cast_chance(&run->cast, run->erase_one_of)) {
        run_erase(run);
    } else if (choice == 37) {
        size_t event = cast_below(&run->cast, run->cast.events_count);
        run_lose(run, event, cast_below(&run->cast, run->cast.sessions_count + 1));
    } else if (choice < 6) {
        size_t event = cast_below(&run->cast, run->cast.events_count);
        run_sweep(run, event, cast_below(&run->cast, run->cast.sessions_count + 1), true);
    } else {
        for (uint64_t i = cast_below(&run->cast, batch_max); i > 0; i--) {
            run_heartbeat(run);
        }
    }
    compare(run);
}

static bool run_init(struct redis_run *run, uint64_t seed, size_t sessions, size_t viewers,
                     uint32_t shards, uint32_t labels)
{
    *run = (struct redis_run){
        .shards = shards, .labels = labels, .erase_one_of = viewers < 50 ? 4 : 1};
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
    run_load(run);
    return true;
}

static void run_fini(struct redis_run *run)
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
        struct redis_run run;
        if (!run_init(&run, tap_random(&random), sessions, viewers, shards, labels)) {
            printf("# no redis-server on this machine\n");
            skip();
        }
        for (int i = 0; i < steps; i++) {
            step(&run, batch_max);
        }
        compare_all(&run);
        if (labels == 0) {
            check_expiries(&run);
        }
        printf("# %llu heartbeats, %llu repeated, %llu other frames, %llu sweeps, %llu died, "
               "%llu erased, %llu lost\n",
               (unsigned long long)run.heartbeats, (unsigned long long)run.repeats,
               (unsigned long long)run.refused_frames, (unsigned long long)run.sweeps,
               (unsigned long long)run.died, (unsigned long long)run.erased,
               (unsigned long long)run.lost);
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
