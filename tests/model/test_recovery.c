/* test_recovery.c -- engine, journal and record store in one thread; crashes at any moment.
 *
 * The world keeps a journal in an array, a store in memory (model_store.h) and the model, which
 * never crashes.  Collections are cut into small parts and committed late.  A crash loses the
 * engine and what was collected but not committed; what follows is what the server does at its
 * start. After every step all figures are the model's; at the end so is every row of the store.
 * Rounds: NOVABEAT_ROUNDS (60); seed: NOVABEAT_SEED. */
#include "tap.h"

#include "base/assert.h"
#include "base/memory.h"
#include "model/model_cast.h"
#include "model/model_compare.h"
#include "model/model_store.h"

#define BATCH_MAX     60
#define EVENT_IDLE_MS 60000

enum input_kind { INPUT_HEARTBEAT, INPUT_PROFILE, INPUT_WINDOWS };

struct input {
    enum input_kind kind;
    struct heartbeat heartbeat; /* PROFILE: event, viewer, groups */
    struct engine_windows windows;
};

/* A journal record: one batch. */
struct record {
    uint64_t seq;
    int64_t time_ms;
    struct input *inputs;
    size_t inputs_count;
};

struct world {
    struct cast cast;
    struct engine_config cfg;
    struct engine *engine;
    struct model *model;
    struct model_store *store;
    struct record *journal; /* record i has seq i + 1 */
    size_t journal_count;
    struct engine_windows windows_first; /* before the first record */
    int64_t now_ms;
    struct changes changes;
    bool in_flight; /* changes were collected and not committed */
    uint64_t heartbeats, crashes, evicted;
};

static struct record *begin_record(struct world *world)
{
    world->journal =
        memory_resize(world->journal, (world->journal_count + 1) * sizeof *world->journal);
    struct record *record = &world->journal[world->journal_count++];
    *record = (struct record){.seq = world->journal_count, .time_ms = world->now_ms};
    engine_begin(world->engine, record->seq, world->now_ms);
    return record;
}

static void add_input(struct record *record, struct input input)
{
    record->inputs =
        memory_resize(record->inputs, (record->inputs_count + 1) * sizeof *record->inputs);
    record->inputs[record->inputs_count++] = input;
}

/* Fetches an event as the server does: from the store, or it is new. */
static void fetch_event(struct world *world, struct slice id, bool settle)
{
    if (engine_has_event(world->engine, id)) {
        return;
    }
    const struct store_event *stored = model_store_find(world->store, id);
    if (stored == NULL) {
        ASSERT(engine_add_event(world->engine, id));
        return;
    }
    struct event *event = model_store_load(stored, &world->cfg);
    ASSERT(engine_adopt(world->engine, event, settle));
}

/* ---- what happens ---- */

static void step_batch(struct world *world)
{
    struct heartbeat heartbeats[BATCH_MAX];
    const struct heartbeat *pointers[BATCH_MAX];
    struct place places[BATCH_MAX];
    size_t count = 1 + cast_below(&world->cast, cast_chance(&world->cast, 3) ? BATCH_MAX : 8);
    for (size_t i = 0; i < count; i++) {
        heartbeats[i] = cast_heartbeat(&world->cast);
        pointers[i] = &heartbeats[i];
    }
    struct record *record = begin_record(world);
    for (size_t ready = 0; ready < count;) {
        engine_place(world->engine, pointers, places, count);
        ready = 0;
        for (size_t i = 0; i < count; i++) {
            if (places[i].outcome == PLACE_READY) {
                ready++;
            } else if (places[i].outcome == PLACE_NEED_EVENT) {
                fetch_event(world, heartbeats[i].event, true);
            } else {
                ASSERT(places[i].outcome == PLACE_NEED_PROFILE);
                heartbeats[i].flags |= HEARTBEAT_GROUPS | HEARTBEAT_PROFILE;
                heartbeats[i].groups = cast_groups(&world->cast);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct input input = {.kind = INPUT_HEARTBEAT, .heartbeat = heartbeats[i]};
        if (places[i].same_groups) {
            input.heartbeat.flags &= (uint8_t) ~(HEARTBEAT_GROUPS | HEARTBEAT_PROFILE);
            input.heartbeat.groups = SLICE_EMPTY;
        }
        add_input(record, input);
    }
    for (size_t i = 0; i < count; i++) {
        engine_apply(world->engine, &heartbeats[i], &places[i]);
        model_heartbeat(world->model, &heartbeats[i]);
    }
    world->heartbeats += count;
}

static void step_profile(struct world *world)
{
    struct heartbeat heartbeat = cast_heartbeat(&world->cast);
    heartbeat.groups = cast_groups(&world->cast);
    fetch_event(world, heartbeat.event, true);
    add_input(begin_record(world), (struct input){.kind = INPUT_PROFILE, .heartbeat = heartbeat});
    engine_profile(world->engine, heartbeat.event, heartbeat.viewer, heartbeat.groups);
    model_profile(world->model, heartbeat.event, heartbeat.viewer, heartbeat.groups);
}

static void change_windows(struct world *world)
{
    struct input input = {.kind = INPUT_WINDOWS, .windows = cast_windows(&world->cast)};
    add_input(begin_record(world), input);
    engine_set_windows(world->engine, &input.windows);
    model_set_windows(world->model, &input.windows);
}

static void commit(struct world *world)
{
    uint32_t before = engine_events_count(world->engine);
    model_store_commit(world->store, &world->changes);
    engine_committed(world->engine, &world->changes);
    world->in_flight = false;
    world->evicted += before - engine_events_count(world->engine);
}

static void step_collect(struct world *world)
{
    if (world->in_flight) {
        commit(world);
        return;
    }
    if (!engine_collecting(world->engine)) {
        engine_collect_begin(world->engine, cast_chance(&world->cast, 4));
    }
    world->in_flight =
        engine_collect(world->engine, &world->changes, 1 + cast_below(&world->cast, 30));
    for (size_t i = 0; world->in_flight && i < world->changes.changes_count; i++) {
        const struct audience_row *row = &world->changes.changes[i].audience;
        if (row->idle) { /* nobody is there */
            const struct model_event *event = model_event_find(world->model, row->event);
            struct figures figures = {0};
            if (event != NULL) { /* else somebody left who never came */
                model_figures(world->model, &event->audiences[0], &figures);
            }
            ASSERT(figures.active == 0);
        }
    }
}

/* ---- the end, and the start after it ---- */

static struct engine_windows windows_after(const struct world *world, uint64_t seq)
{
    struct engine_windows windows = world->windows_first;
    for (uint64_t at = 0; at < seq; at++) {
        for (size_t i = 0; i < world->journal[at].inputs_count; i++) {
            if (world->journal[at].inputs[i].kind == INPUT_WINDOWS) {
                windows = world->journal[at].inputs[i].windows;
            }
        }
    }
    return windows;
}

static void replay_input(struct world *world, const struct input *input)
{
    const struct heartbeat *heartbeat = &input->heartbeat;
    struct place place;
    switch (input->kind) {
    case INPUT_HEARTBEAT:
        fetch_event(world, heartbeat->event, false);
        engine_place(world->engine, &heartbeat, &place, 1);
        engine_place_again(&place, 1);
        engine_apply(world->engine, heartbeat, &place);
        return;
    case INPUT_PROFILE:
        fetch_event(world, heartbeat->event, false);
        engine_profile(world->engine, heartbeat->event, heartbeat->viewer, heartbeat->groups);
        return;
    case INPUT_WINDOWS:
        engine_set_windows(world->engine, &input->windows);
        return;
    }
}

/* A run of heartbeats of a record at once, as the server replays them. */
static size_t replay_run(struct world *world, const struct record *record, size_t at)
{
    const struct heartbeat *pointers[BATCH_MAX];
    struct place places[BATCH_MAX];
    size_t count = 0;
    while (at + count < record->inputs_count &&
           record->inputs[at + count].kind == INPUT_HEARTBEAT) {
        pointers[count] = &record->inputs[at + count].heartbeat;
        fetch_event(world, pointers[count]->event, false);
        count++;
    }
    engine_place(world->engine, pointers, places, count);
    engine_place_again(places, count);
    for (size_t i = 0; i < count; i++) {
        engine_apply(world->engine, pointers[i], &places[i]);
    }
    return count;
}

static void crash(struct world *world)
{
    world->crashes++;
    if (world->in_flight && cast_chance(&world->cast, 2)) {
        model_store_commit(world->store, &world->changes); /* it died before it knew */
    }
    world->in_flight = false;
    engine_free(world->engine);
    world->cfg.windows = windows_after(world, world->store->covered_seq);
    world->cfg.hash_key.k0 = cast_random(&world->cast);
    world->engine = engine_new(&world->cfg);
    for (size_t i = 0; i < world->store->events_count; i++) {
        if (!store_event_idle(&world->store->events[i])) {
            fetch_event(world, world->store->events[i].id, false);
        }
    }
    bool batched = cast_chance(&world->cast, 2);
    for (size_t r = (size_t)world->store->covered_seq; r < world->journal_count; r++) {
        const struct record *record = &world->journal[r];
        engine_begin(world->engine, record->seq, record->time_ms);
        for (size_t i = 0; i < record->inputs_count;) {
            if (batched && record->inputs[i].kind == INPUT_HEARTBEAT) {
                i += replay_run(world, record, i);
            } else {
                replay_input(world, &record->inputs[i++]);
            }
        }
    }
    engine_begin(world->engine, world->journal_count, world->now_ms);
    engine_settle(world->engine);
    if (cast_chance(&world->cast, 3)) {
        change_windows(world);
    }
}

/* ---- runs ---- */

static void step(struct world *world)
{
    world->now_ms += cast_step_ms(&world->cast, &world->model->windows);
    model_begin(world->model, world->now_ms);
    engine_begin(world->engine, world->journal_count, world->now_ms);
    uint64_t choice = cast_below(&world->cast, 100);
    if (choice < 45) {
        step_batch(world);
    } else if (choice < 50) {
        step_profile(world);
    } else if (choice < 97) {
        step_collect(world);
    } else if (choice < 99) {
        crash(world);
    } else if (cast_chance(&world->cast, 4)) {
        change_windows(world);
    }
    model_compare(world->model, world->engine, cast_random(&world->cast), false);
}

/* All that there is goes to the store, and is what the model knows. */
static void finish(struct world *world)
{
    if (world->in_flight) {
        commit(world);
    }
    while (engine_collect(world->engine, &world->changes, 100)) {
        commit(world);
    }
    engine_collect_begin(world->engine, true);
    while (engine_collect(world->engine, &world->changes, 100)) {
        commit(world);
    }
    ASSERT(world->store->covered_seq == world->journal_count);
    model_compare(world->model, world->engine, 0, false);
    model_store_compare(world->store, world->model);
    for (size_t i = 0; i < world->model->events_count; i++) { /* idle ones come back whole */
        fetch_event(world, world->model->events[i].id, true);
    }
    model_compare(world->model, world->engine, 1, false);
}

static void world_init(struct world *world, uint64_t seed)
{
    *world = (struct world){0};
    uint64_t random = seed;
    cast_init(&world->cast, tap_random(&random), 1 + tap_random(&random) % 4,
              tap_random(&random) % 5, 2 + tap_random(&random) % 150);
    world->windows_first = cast_windows(&world->cast);
    world->cfg = (struct engine_config){.windows = world->windows_first,
                                        .profile_ttl_ms = 600000,
                                        .event_idle_ms = EVENT_IDLE_MS,
                                        .events_max = 100,
                                        .sessions_max = 100,
                                        .viewers_max = 10000,
                                        .backlog_max = UINT32_MAX};
    world->engine = engine_new(&world->cfg);
    world->model = model_new(&world->windows_first);
    world->store = model_store_new();
    world->now_ms = 1637661623070;
    changes_init(&world->changes);
}

static void world_fini(struct world *world)
{
    for (size_t i = 0; i < world->journal_count; i++) {
        free(world->journal[i].inputs);
    }
    free(world->journal);
    changes_fini(&world->changes);
    model_store_free(world->store);
    model_free(world->model);
    engine_free(world->engine);
    cast_fini(&world->cast);
}

static void test_recovery(void **state)
{
    (void)state;
    const char *text = getenv("NOVABEAT_ROUNDS");
    uint64_t rounds = text == NULL ? 60 : strtoull(text, NULL, 10);
    uint64_t random = tap_seed(), heartbeats = 0, crashes = 0, evicted = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        struct world world;
        uint64_t seed = tap_random(&random);
        if (getenv("NOVABEAT_TRACE") != NULL) {
            printf("# round %llu\n", (unsigned long long)round);
            fflush(stdout);
        }
        world_init(&world, seed);
        for (int i = 0; i < 400; i++) {
            step(&world);
        }
        finish(&world);
        heartbeats += world.heartbeats;
        crashes += world.crashes;
        evicted += world.evicted;
        world_fini(&world);
    }
    printf("# %llu heartbeats, %llu crashes, %llu events left memory\n",
           (unsigned long long)heartbeats, (unsigned long long)crashes,
           (unsigned long long)evicted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recovery)};
    return tap_run(tests);
}
