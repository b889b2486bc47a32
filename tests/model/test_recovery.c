/* test_recovery.c -- engine, journal and record store in one thread; crashes at any moment.
 *
 * The world keeps a journal in an array, a store in memory (model_store.h) and the model, which
 * never crashes.  Collections are cut into small parts and committed late.  A crash loses the
 * engine and what was collected but not committed; what follows is what the server does at its
 * start. After every step all figures are the model's; at the end so is every row of the store.
 * Viewers are erased and events purged all the while, and come back.
 * Rounds: NOVABEAT_ROUNDS (60); seed: NOVABEAT_SEED. */
#include "tap.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/engine_state.h"
#include "model/model_cast.h"
#include "model/model_compare.h"
#include "model/model_store.h"

#define BATCH_MAX     60
#define EVENT_IDLE_MS 60000

enum input_kind { INPUT_HEARTBEAT, INPUT_PROFILE, INPUT_WINDOWS, INPUT_ERASE, INPUT_PURGE };

struct input {
    enum input_kind kind;
    struct heartbeat heartbeat; /* PROFILE: event, viewer, groups; ERASE, PURGE: what they need */
    struct engine_windows windows;
    bool keep_statistics;
};

/* A journal record: one batch. */
struct record {
    uint64_t seq;
    int64_t time_ms;
    struct input *inputs;
    size_t inputs_count;
};

/* Accepted, and not in the store yet. */
struct going {
    struct slice event, viewer; /* viewer empty: the event is purged */
    bool keep_statistics;
    uint64_t seq; /* of the record that says so */
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
    struct going *going;
    size_t going_count;
    uint64_t heartbeats, crashes, evicted, erased, purged, refused;
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

/* ---- what is being erased ---- */

static void add_going(struct world *world, struct going going)
{
    world->going = memory_resize(world->going, (world->going_count + 1) * sizeof *world->going);
    world->going[world->going_count++] = going;
}

static void end_going(struct world *world, size_t at)
{
    world->going[at] = world->going[--world->going_count];
}

/* going_count: none.  viewer empty: the purge of the event. */
static size_t find_going(const struct world *world, struct slice event, struct slice viewer)
{
    size_t at = 0;
    while (at < world->going_count && !(slice_equal(world->going[at].event, event) &&
                                        slice_equal(world->going[at].viewer, viewer))) {
        at++;
    }
    return at;
}

static bool is_going(const struct world *world, struct slice event, struct slice viewer)
{
    return find_going(world, event, SLICE_EMPTY) < world->going_count ||
           find_going(world, event, viewer) < world->going_count;
}

/* The store has them behind it: whatever it covers, and nothing else (changes.h, rule 7). */
static void note_stored(struct world *world)
{
    const struct changes *changes = &world->changes;
    for (size_t i = 0; i < changes->erasures_count; i++) {
        const struct erasure_row *row = &changes->erasures[i];
        size_t at = find_going(world, row->event, row->viewer);
        if (at == world->going_count) { /* its event was purged after this was collected */
            ASSERT(find_going(world, row->event, SLICE_EMPTY) < world->going_count);
            continue;
        }
        ASSERT(world->going[at].seq <= changes->covered_seq);
        end_going(world, at);
    }
    for (size_t i = 0; i < changes->purges_count; i++) {
        const struct purge_row *row = &changes->purges[i];
        size_t at = find_going(world, row->event, SLICE_EMPTY);
        ASSERT(at < world->going_count);
        if (world->going[at].seq <= changes->covered_seq) { /* else it was asked for again */
            /* Or the first one took all, and a replay met but the second. */
            ASSERT(world->going[at].keep_statistics == row->keep_statistics ||
                   model_store_find(world->store, row->event) == NULL);
            model_purged(world->model, row->event);
            end_going(world, at);
        }
    }
    for (size_t i = 0; i < world->going_count; i++) {
        ASSERT(world->going[i].seq > world->store->covered_seq);
    }
}

/* Viewings of a member among rows that are stored or on their way: into the model's figures. */
static void count_to_go(const struct world *world, struct slice event,
                        const struct store_audience *stored, uint32_t number,
                        struct model_audience *audience)
{
    const struct changes *changes = &world->changes;
    for (size_t i = 0; stored != NULL && i < stored->viewings_count; i++) {
        const struct viewing_row *row = &stored->viewings[i];
        if (row->member_no == number) {
            audience->logins_to_go++;
            audience->total_to_go_ms += row->end_ms - row->start_ms;
        }
    }
    for (size_t c = 0; world->in_flight && c < changes->changes_count; c++) {
        const struct change *change = &changes->changes[c];
        for (size_t i = 0; i < change->viewings_count; i++) {
            const struct viewing_row *row = &changes->viewings[change->viewings_first + i];
            if (slice_equal(change->audience.event, event) &&
                slice_equal(change->audience.session, audience->session) &&
                row->member_no == number) {
                audience->logins_to_go++;
                audience->total_to_go_ms += row->end_ms - row->start_ms;
            }
        }
    }
}

static const struct store_audience *stored_audience(const struct store_event *event,
                                                    struct slice session)
{
    for (size_t a = 0; event != NULL && a < event->audiences_count; a++) {
        if (slice_equal(event->audiences[a].row.session, session)) {
            return &event->audiences[a];
        }
    }
    return NULL;
}

/* One viewer that is being erased.  Its numbers are the engine's: a viewing may be stored before
 * the row that would tell them. */
static void note_viewer_to_go(struct world *world, struct model_event *event, struct slice viewer)
{
    const struct store_event *stored = model_store_find(world->store, event->id);
    const struct event *inside = engine_find_event(world->engine, event->id);
    struct viewer_key key;
    viewer_key_make(&key, viewer);
    uint32_t viewer_no = event_find_viewer(inside, &key, event_viewer_hash(inside, &key));
    ASSERT(viewer_no != MEMBER_NONE);
    for (size_t a = 0; a < event->audiences_count; a++) {
        struct model_audience *audience = &event->audiences[a];
        const struct audience *session = event_find_session(
            inside, audience->session, event_session_hash(inside, audience->session));
        ASSERT(a == 0 || session != NULL);
        uint32_t number = a == 0 ? viewer_no : audience_find(session, viewer_no);
        if (number != MEMBER_NONE) {
            count_to_go(world, event->id, stored_audience(stored, audience->session), number,
                        audience);
        }
    }
}

/* Earlier viewings of who is being erased count on for as long as they are stored. */
static void note_to_go(struct world *world)
{
    for (size_t e = 0; e < world->model->events_count; e++) {
        struct model_event *event = &world->model->events[e];
        for (size_t a = 0; a < event->audiences_count; a++) {
            event->audiences[a].logins_to_go = 0;
            event->audiences[a].total_to_go_ms = 0;
        }
        for (size_t g = 0; g < world->going_count; g++) {
            if (world->going[g].viewer.len > 0 && slice_equal(world->going[g].event, event->id)) {
                note_viewer_to_go(world, event, world->going[g].viewer);
            }
        }
    }
}

static void compare(struct world *world)
{
    note_to_go(world);
    model_compare(world->model, world->engine, cast_random(&world->cast), false);
    /* Erasures of an event that was purged meanwhile go on with the pass under way. */
    ASSERT(
        engine_erasing(world->engine) == world->going_count ||
        (engine_collecting(world->engine) && engine_erasing(world->engine) > world->going_count));
    for (size_t g = 0; g < world->going_count; g++) {
        if (world->going[g].viewer.len > 0) {
            model_same_absent(world->engine, world->going[g].event, world->going[g].viewer);
        }
    }
}

/* ---- what happens ---- */

static void count_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)viewing;
    (*(size_t *)ctx)++;
}

/* What is journaled is known: a replay may meet rows that are newer than this record. */
static void erase(struct world *world, struct record *record, struct heartbeat heartbeat)
{
    struct slice event = heartbeat.event, viewer = heartbeat.viewer, groups;
    size_t viewings = 0;
    bool attended, known;
    ASSERT(engine_viewer(world->engine, event, viewer, &attended, &groups, count_viewing,
                         &viewings) == FIGURES_OK);
    ASSERT(attended == model_erase(world->model, event, viewer));
    if (attended) {
        add_input(record, (struct input){.kind = INPUT_ERASE, .heartbeat = heartbeat});
        add_going(world, (struct going){event, viewer, false, record->seq});
        world->erased++;
    }
    ASSERT(engine_erase(world->engine, event, viewer, &known) == FIGURES_OK);
    ASSERT(known == attended);
}

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
    for (size_t ready = 0; count > 0 && ready != count;) {
        engine_place(world->engine, pointers, places, count);
        ready = 0;
        for (size_t i = 0; i < count; i++) {
            bool going = is_going(world, heartbeats[i].event, heartbeats[i].viewer);
            ASSERT(going == (places[i].outcome == PLACE_ERASING));
            if (going) { /* the batch is made anew without it */
                world->refused++;
                memmove(&heartbeats[i], &heartbeats[i + 1], (--count - i) * sizeof *heartbeats);
                ready = SIZE_MAX;
                break;
            } else if (places[i].outcome == PLACE_READY) {
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
    if (count > 0 && cast_chance(&world->cast, 20)) {
        erase(world, record, heartbeats[cast_below(&world->cast, count)]);
    }
}

/* Some at once, perhaps in one record, perhaps some that never came. */
static void step_erase(struct world *world)
{
    struct record *record = begin_record(world);
    for (uint64_t i = cast_below(&world->cast, 4) + 1; i > 0; i--) {
        struct heartbeat heartbeat = cast_heartbeat(&world->cast);
        fetch_event(world, heartbeat.event, true);
        erase(world, record, heartbeat);
        if (cast_chance(&world->cast, 3)) {
            record = begin_record(world);
        }
    }
}

static bool may_keep_statistics(const struct world *world, struct slice id)
{
    const struct store_event *stored = model_store_find(world->store, id);
    bool may = stored != NULL && store_event_idle(stored) && !engine_has_event(world->engine, id);
    for (size_t a = 0; may && a < stored->audiences_count; a++) {
        may = stored->audiences[a].row.seq <= world->store->covered_seq;
    }
    return may;
}

static void step_purge(struct world *world)
{
    struct slice id = cast_heartbeat(&world->cast).event;
    size_t at = find_going(world, id, SLICE_EMPTY);
    bool again = at < world->going_count;
    bool keep = again ? cast_chance(&world->cast, 2) : may_keep_statistics(world, id);
    uint64_t of = engine_collecting(world->engine) ? 2 : 6; /* a pass under way is what is hard */
    if (!again && !keep && !cast_chance(&world->cast, of)) {
        return; /* seldom: there shall be something to erase */
    }
    struct input input = {.kind = INPUT_PURGE, .heartbeat = {.event = id}, .keep_statistics = keep};
    struct record *record = begin_record(world);
    add_input(record, input);
    engine_purge(world->engine, id, keep);
    model_purge(world->model, id, keep);
    world->purged++;
    if (again) {
        world->going[at].keep_statistics &= keep;
        world->going[at].seq = record->seq;
    } else {
        for (size_t g = world->going_count; g-- > 0;) {
            if (slice_equal(world->going[g].event, id)) {
                end_going(world, g); /* its viewers go with it */
            }
        }
        add_going(world, (struct going){id, SLICE_EMPTY, keep, record->seq});
    }
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
    note_stored(world);
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
    bool known;
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
    case INPUT_ERASE:
        fetch_event(world, heartbeat->event, false);
        ASSERT(engine_erase(world->engine, heartbeat->event, heartbeat->viewer, &known) ==
               FIGURES_OK);
        ASSERT(known);
        return;
    case INPUT_PURGE:
        engine_purge(world->engine, heartbeat->event, input->keep_statistics);
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
        note_stored(world);
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
    } else if (choice < 53) {
        step_erase(world);
    } else if (choice < 55) {
        step_purge(world);
    } else if (choice < 97) {
        step_collect(world);
    } else if (choice < 99) {
        crash(world);
    } else if (cast_chance(&world->cast, 4)) {
        change_windows(world);
    }
    compare(world);
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
    ASSERT(world->going_count == 0);
    compare(world);
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
    free(world->going);
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
    uint64_t erased = 0, purged = 0, refused = 0;
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
        erased += world.erased;
        purged += world.purged;
        refused += world.refused;
        world_fini(&world);
    }
    printf("# %llu heartbeats, %llu crashes, %llu events left memory\n",
           (unsigned long long)heartbeats, (unsigned long long)crashes,
           (unsigned long long)evicted);
    printf("# %llu viewers erased, %llu purges, %llu heartbeats refused meanwhile\n",
           (unsigned long long)erased, (unsigned long long)purged, (unsigned long long)refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recovery)};
    return tap_run(tests);
}
