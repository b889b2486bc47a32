/* test_engine.c -- the engine against the naive model, over long random runs.
 *
 * Now and then a viewer is erased or an event purged; nothing is collected here, so these stay
 * refused (test_recovery.c has the rest).
 *
 * After every batch all figures are equal and every invariant of the engine holds.  Rounds:
 * NOVABEAT_ROUNDS (4); seed: NOVABEAT_SEED. */
#include "tap.h"

#include "base/assert.h"
#include "base/memory.h"
#include "model/model_cast.h"
#include "model/model_compare.h"

#define BATCH_MAX 300

struct run {
    struct cast cast;
    struct engine *engine;
    struct model *model;
    uint64_t seq;
    int64_t now_ms;
    uint64_t heartbeats, refused;
};

static struct engine_config config(struct cast *cast)
{
    return (struct engine_config){
        .windows = cast_windows(cast),
        .profile_ttl_ms = 600000,
        .event_idle_ms = INT64_MAX / 4,
        .events_max = 100,
        .sessions_max = 100,
        .viewers_max = 100000,
        .backlog_max = UINT32_MAX,
        .hash_key = {cast_random(cast), cast_random(cast)},
    };
}

static void run_init(struct run *run, uint64_t seed, size_t events, size_t sessions, size_t viewers)
{
    *run = (struct run){0};
    cast_init(&run->cast, seed, events, sessions, viewers);
    struct engine_config cfg = config(&run->cast);
    run->engine = engine_new(&cfg);
    run->model = model_new(&cfg.windows);
    run->now_ms = 1637661623070 + (int64_t)cast_below(&run->cast, 86400000);
}

static void run_fini(struct run *run)
{
    engine_free(run->engine);
    model_free(run->model);
    cast_fini(&run->cast);
}

/* What the server does with an answer: fetches the event, fetches the profile, tries again. */
static void resolve(struct run *run, struct heartbeat *heartbeat, enum place_outcome outcome)
{
    switch (outcome) {
    case PLACE_READY:
        return;
    case PLACE_NEED_EVENT:
        if (!engine_has_event(run->engine, heartbeat->event)) {
            ASSERT(engine_add_event(run->engine, heartbeat->event));
        }
        return;
    case PLACE_NEED_PROFILE:
        ASSERT(!(heartbeat->flags & (HEARTBEAT_GROUPS | HEARTBEAT_LEAVING)));
        heartbeat->flags |= HEARTBEAT_GROUPS | HEARTBEAT_PROFILE;
        heartbeat->groups = cast_groups(&run->cast);
        return;
    case PLACE_SESSIONS_FULL:
    case PLACE_VIEWERS_FULL:
    case PLACE_GROUPS_FULL:
    case PLACE_BACKLOG:
    case PLACE_ERASING: /* its callers look for that */
        ASSERT(!"nothing is full here");
    }
}

static bool model_knows(const struct run *run, const struct heartbeat *heartbeat)
{
    const struct model_event *event = model_event_find(run->model, heartbeat->event);
    return event != NULL && !event->purging &&
           model_member_find(&event->audiences[0], heartbeat->viewer) != NULL;
}

static void step_batch(struct run *run)
{
    struct heartbeat heartbeats[BATCH_MAX];
    const struct heartbeat *pointers[BATCH_MAX];
    struct place places[BATCH_MAX];
    size_t count = 1 + cast_below(&run->cast, cast_chance(&run->cast, 2) ? 20 : BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        heartbeats[i] = cast_heartbeat(&run->cast);
        pointers[i] = &heartbeats[i];
    }
    size_t ready = SIZE_MAX;
    while (ready != count) {
        engine_place(run->engine, pointers, places, count);
        ready = 0;
        for (size_t i = 0; i < count; i++) {
            if (places[i].outcome == PLACE_ERASING) { /* the batch is made anew without it */
                ASSERT(!model_knows(run, &heartbeats[i]));
                run->refused++;
                memmove(&heartbeats[i], &heartbeats[i + 1], (--count - i) * sizeof *heartbeats);
                ready = SIZE_MAX;
                break;
            }
            ready += places[i].outcome == PLACE_READY;
            resolve(run, &heartbeats[i], places[i].outcome);
        }
    }
    for (size_t i = 0; i < count; i++) {
        engine_apply(run->engine, &heartbeats[i], &places[i]);
        model_heartbeat(run->model, &heartbeats[i]);
    }
    run->heartbeats += count;
}

static void step_single(struct run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    enum place_outcome outcome;
    while ((outcome = engine_heartbeat(run->engine, &heartbeat)) != PLACE_READY) {
        if (outcome == PLACE_ERASING) {
            ASSERT(!model_knows(run, &heartbeat));
            run->refused++;
            return;
        }
        resolve(run, &heartbeat, outcome);
    }
    model_heartbeat(run->model, &heartbeat);
    run->heartbeats++;
}

static void step_profile(struct run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    struct slice groups = cast_groups(&run->cast);
    engine_profile(run->engine, heartbeat.event, heartbeat.viewer, groups);
    model_profile(run->model, heartbeat.event, heartbeat.viewer, groups);
}

static void step_erase(struct run *run)
{
    struct heartbeat heartbeat = cast_heartbeat(&run->cast);
    bool known = false;
    if (cast_chance(&run->cast, 40)) {
        engine_purge(run->engine, heartbeat.event, false);
        model_purge(run->model, heartbeat.event, false);
    } else if (engine_erase(run->engine, heartbeat.event, heartbeat.viewer, &known) == FIGURES_OK) {
        ASSERT(known == model_erase(run->model, heartbeat.event, heartbeat.viewer));
        model_same_absent(run->engine, heartbeat.event, heartbeat.viewer);
    }
}

static void step(struct run *run)
{
    run->now_ms += cast_step_ms(&run->cast, &run->model->windows);
    engine_begin(run->engine, ++run->seq, run->now_ms);
    model_begin(run->model, run->now_ms);
    switch (cast_below(&run->cast, 20)) {
    case 0:
        break; /* only the time moves */
    case 1:
        step_profile(run);
        break;
    case 2:
        if (cast_chance(&run->cast, 10)) {
            struct engine_windows windows = cast_windows(&run->cast);
            engine_set_windows(run->engine, &windows);
            model_set_windows(run->model, &windows);
        } else if (cast_chance(&run->cast, 8)) {
            step_erase(run);
        }
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        step_single(run);
        break;
    default:
        step_batch(run);
    }
    model_compare(run->model, run->engine, cast_random(&run->cast), true);
}

static uint64_t rounds(void)
{
    const char *text = getenv("NOVABEAT_ROUNDS");
    return text == NULL ? 4 : strtoull(text, NULL, 10);
}

static void many_rounds(size_t events, size_t sessions, size_t viewers, int steps)
{
    uint64_t random = tap_seed(), heartbeats = 0, refused = 0;
    for (uint64_t round = 0; round < rounds(); round++) {
        struct run run;
        run_init(&run, tap_random(&random), events, sessions, viewers);
        for (int i = 0; i < steps; i++) {
            step(&run);
        }
        heartbeats += run.heartbeats;
        refused += run.refused;
        run_fini(&run);
    }
    printf("# %llu heartbeats, %llu refused\n", (unsigned long long)heartbeats,
           (unsigned long long)refused);
}

static void test_few_viewers(void **state)
{
    (void)state;
    many_rounds(2, 3, 6, 600);
}

static void test_some_viewers(void **state)
{
    (void)state;
    many_rounds(1, 4, 90, 600);
}

static void test_many_viewers(void **state)
{
    (void)state;
    many_rounds(2, 2, 1500, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_viewers),
        cmocka_unit_test(test_some_viewers),
        cmocka_unit_test(test_many_viewers),
    };
    return tap_run(tests);
}
