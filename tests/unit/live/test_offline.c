/* test_offline.c -- a trace through the offline engine: the figures of a plain engine, whatever is
 * stored, evicted, full or killed on the way. */
#include "common.h"

#include "base/memory.h"
#include "live/offline.h"
#include "model/model_cast.h"
#include "model/model_compare.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define START INT64_C(1637661623070)

static struct store_options options_of(void)
{
    struct live_options options = options_for(&folder);
    return (struct store_options){.data = options.data,
                                  .records = options.records,
                                  .engine = options.engine,
                                  .journal_segment_bytes = options.journal_segment_bytes,
                                  .journal_max_bytes = options.journal_max_bytes};
}

static struct offline *begin(const struct store_options *options, int64_t store_every_ms)
{
    struct offline *offline;
    char why[512] = "";
    if (offline_open(options, store_every_ms, &offline, why, sizeof why) != ERR_NONE) {
        fail_msg("offline_open: %s", why);
    }
    return offline;
}

static void end(struct offline *offline)
{
    char why[512] = "";
    if (offline_close(offline, why, sizeof why) != ERR_NONE) {
        fail_msg("offline_close: %s", why);
    }
}

static void count(struct offline *offline, struct offline_beat *beats, size_t beats_count,
                  struct offline_result *result)
{
    char why[512] = "";
    if (offline_count(offline, beats, beats_count, result, why, sizeof why) != ERR_NONE) {
        fail_msg("offline_count: %s", why);
    }
}

/* ---- a random trace ---- */

struct trace {
    struct cast cast;
    struct engine_windows windows;
    int64_t now_ms;
};

static void trace_begin(struct trace *trace, uint64_t seed, const struct engine_windows *windows)
{
    cast_init(&trace->cast, seed, 5, 4, 80);
    trace->windows = *windows;
    trace->now_ms = START;
}

static size_t trace_batch(struct trace *trace, struct offline_beat beats[OFFLINE_BATCH_MAX])
{
    size_t beats_count = 100 + cast_below(&trace->cast, OFFLINE_BATCH_MAX - 100);
    for (size_t i = 0; i < beats_count; i++) {
        trace->now_ms += cast_step_ms(&trace->cast, &trace->windows);
        beats[i] = (struct offline_beat){trace->now_ms, cast_heartbeat(&trace->cast)};
    }
    return beats_count;
}

static void to_model(struct model *model, const struct offline_beat *beats, size_t beats_count)
{
    for (size_t i = 0; i < beats_count; i++) {
        model_begin(model, beats[i].time_ms);
        model_heartbeat(model, &beats[i].heartbeat); /* with the groups that were looked up */
    }
}

/* The folder as it is, brought wholly to memory, against the model. */
static enum err fetch(void *ctx, struct slice event)
{
    struct store *store = ctx;
    struct event *loaded;
    if (engine_has_event(store->engine, event)) {
        return ERR_NONE;
    }
    assert_int_equal(records_event_load(store->link, &store->cfg, event, &loaded), ERR_NONE);
    assert_true(engine_adopt(store->engine, loaded, true));
    return ERR_NONE;
}

struct tallies {
    struct model_tally groups, countries;
};

static void add_live(void *ctx, bool is_group, struct slice key, uint32_t alive)
{
    struct tallies *tallies = ctx;
    model_tally_add(is_group ? &tallies->groups : &tallies->countries, key, alive);
}

struct frames {
    struct slice event, session;
    const struct model_audience *audience;
    size_t at;
};

static enum err same_frame(void *ctx, const struct frame_row *frame)
{
    struct frames *frames = ctx;
    assert_true(frames->at < frames->audience->frames_count);
    model_same_frame(frames->event, frames->session, frame,
                     &frames->audience->frames[frames->at++]);
    return ERR_NONE;
}

static void check_audience(struct store *store, const struct model *model, struct slice event,
                           const struct model_audience *audience)
{
    struct slice session = audience->session;
    struct figures got, want;
    model_figures(model, audience, &want);
    assert_int_equal(engine_figures(store->engine, event, session, &got), FIGURES_OK);
    MODEL_SAME("active", event, session, got.active, want.active);
    MODEL_SAME("attended", event, session, got.attended, want.attended);
    MODEL_SAME("logins", event, session, got.logins, want.logins);
    MODEL_SAME("total_ms", event, session, got.total_ms, want.total_ms);
    MODEL_SAME("peak_count", event, session, got.peak_count, want.peak_count);
    MODEL_SAME("peak_ms", event, session, got.peak_ms, want.peak_ms);
    struct tallies alive = {0}, alive_want = {0};
    uint64_t active;
    assert_int_equal(engine_live(store->engine, event, session, &active, add_live, &alive),
                     FIGURES_OK);
    model_live(model, audience, &alive_want.groups, &alive_want.countries);
    MODEL_SAME("groups", event, session, model_tally_equal(&alive.groups, &alive_want.groups), 1);
    MODEL_SAME("countries", event, session,
               model_tally_equal(&alive.countries, &alive_want.countries), 1);
    model_tally_fini(&alive.groups);
    model_tally_fini(&alive.countries);
    model_tally_fini(&alive_want.groups);
    model_tally_fini(&alive_want.countries);
    struct frames frames = {event, session, audience, 0};
    size_t over = audience->frames_count;
    over -= over > 0 && model->now_ms < audience->frames[over - 1].end_ms;
    assert_int_equal(
        records_frames(store->link, event, session, 0, INT64_MAX, 0, same_frame, &frames),
        ERR_NONE);
    MODEL_SAME("frames", event, session, frames.at, over);
}

/* Was closed well: all of it is in the records. */
static void check_folder(const struct model *model, const struct store_options *options)
{
    struct store store;
    struct store_options roomy = *options;
    char why[512] = "";
    roomy.engine.events_max = 1000;
    if (store_open(&roomy, &store, why, sizeof why) != ERR_NONE) {
        fail_msg("store_open: %s", why);
    }
    assert_int_equal(store.last_ms, model->now_ms);
    assert_int_equal(store.covered_seq + 1 >= engine_seq(store.engine), 1);
    assert_int_equal(records_events_each(store.link, SLICE_EMPTY, 0, fetch, &store), ERR_NONE);
    assert_int_equal(engine_events_count(store.engine), model->events_count);
    engine_check(store.engine);
    uint64_t viewings = 0;
    for (size_t e = 0; e < model->events_count; e++) {
        for (size_t a = 0; a < model->events[e].audiences_count; a++) {
            const struct model_audience *audience = &model->events[e].audiences[a];
            check_audience(&store, model, model->events[e].id, audience);
            for (size_t m = 0; m < audience->members_count; m++) {
                viewings += audience->members[m].viewings_count - 1;
            }
        }
    }
    store_close(&store);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM viewing"), viewings);
}

static void run_trace(uint64_t seed, const struct store_options *options, int64_t store_every_ms,
                      int batches, int parts)
{
    struct trace *trace = memory_zalloc(sizeof *trace);
    struct model *model = model_new(&options->engine.windows);
    struct offline_beat *beats = memory_alloc(OFFLINE_BATCH_MAX * sizeof *beats);
    trace_begin(trace, seed, &options->engine.windows);
    uint64_t counted = 0;
    for (int part = 0; part < parts; part++) { /* a trace in several files */
        struct offline *offline = begin(options, store_every_ms);
        assert_true(offline_last_ms(offline) <= trace->now_ms);
        struct offline_result result = {0};
        for (int i = 0; i < batches; i++) {
            size_t beats_count = trace_batch(trace, beats);
            count(offline, beats, beats_count, &result);
            to_model(model, beats, beats_count);
            counted += beats_count;
        }
        assert_int_equal(result.refused, 0);
        end(offline);
        check_folder(model, options);
    }
    assert_true(counted > 0);
    model_free(model);
    cast_fini(&trace->cast);
    free(trace);
    free(beats);
}

static void test_equals_the_model(void **state)
{
    (void)state;
    struct store_options options = options_of();
    run_trace(tap_seed(), &options, 60000, 20, 3);
}

/* Events leave memory and come back, also within the batch that stores. */
static void test_with_a_small_backlog(void **state)
{
    (void)state;
    struct store_options options = options_of();
    options.engine.event_idle_ms = 1;
    options.engine.backlog_max = 2000;
    run_trace(tap_seed(), &options, 60000, 40, 2);
    folder_remove(&folder);
    folder_make(&folder);
    options.engine.backlog_max = 700;
    options.engine.events_max = 5;
    run_trace(tap_seed(), &options, 60000, 40, 1);
}

/* The journal is emptied whenever it is full. */
static void test_with_a_small_journal(void **state)
{
    (void)state;
    struct store_options options = options_of();
    options.journal_segment_bytes = 64 * 1024;
    options.journal_max_bytes = 400 * 1024;
    run_trace(tap_seed(), &options, 3600000, 60, 2);
}

/* ---- one by one ---- */

static void test_profiles_are_looked_up(void **state)
{
    (void)state;
    struct store_options options = options_of();
    struct store store;
    char why[512] = "";
    assert_int_equal(store_open(&options, &store, why, sizeof why), ERR_NONE);
    const struct profile profile = {SLICE_LIT("e"), SLICE_LIT("v"), SLICE_EMPTY,
                                    SLICE_LIT("\5staff")};
    assert_int_equal(records_profiles_put(store.link, &profile, 1), ERR_NONE);
    store_close(&store);
    struct offline *offline = begin(&options, 60000);
    struct offline_beat beats[3] = {{START, heartbeat_of("e", NULL, "v")},
                                    {START, heartbeat_of("e", NULL, "v")},
                                    {START, heartbeat_of("e", NULL, "w")}};
    struct offline_result result = {0};
    count(offline, beats, 3, &result);
    assert_int_equal(result.counted, 3);
    end(offline);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendances "
                                         "WHERE viewer = 'v' AND groups = '[\"staff\"]'"),
                     1);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendances "
                                         "WHERE viewer = 'w' AND groups = '[]'"),
                     1);
}

static void test_bounds_refuse(void **state)
{
    (void)state;
    struct store_options options = options_of();
    options.engine.viewers_max = 2;
    options.engine.sessions_max = 1;
    options.engine.events_max = 1;
    struct offline *offline = begin(&options, 60000);
    struct offline_beat beats[4] = {{START, heartbeat_of("e", "s", "v")},
                                    {START, heartbeat_of("e", "t", "v")},
                                    {START, heartbeat_of("e", "s", "w")},
                                    {START, heartbeat_of("e", "s", "x")}};
    struct offline_result result = {0};
    count(offline, beats, 4, &result);
    assert_int_equal(result.counted, 2);
    assert_int_equal(result.refused, 2);
    char why[512] = "";
    struct offline_beat other = {START, heartbeat_of("f", "s", "v")};
    assert_int_equal(offline_count(offline, &other, 1, &result, why, sizeof why), ERR_FULL);
    assert_non_null(strstr(why, "events-max"));
    end(offline);
}

/* An event that is idle by then makes room for another one. */
static void test_idle_events_make_room(void **state)
{
    (void)state;
    struct store_options options = options_of();
    options.engine.events_max = 2;
    struct offline *offline = begin(&options, 60000);
    struct offline_result result = {0};
    for (int i = 0; i < 20; i++) {
        char event[8];
        (void)snprintf(event, sizeof event, "e%d", i % 10);
        struct offline_beat beat = {START + i * INT64_C(3600000), heartbeat_of(event, "s", "v")};
        count(offline, &beat, 1, &result);
    }
    assert_int_equal(result.counted, 20);
    end(offline);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM event"), 10);
    assert_int_equal(folder_sql(&folder, "SELECT min(logins) FROM audience"), 2);
    assert_int_equal(folder_sql(&folder, "SELECT max(attended) FROM audience"), 1);
}

/* The records are locked: it fails with words, and the journal has what was counted. */
static void test_records_are_away(void **state)
{
    (void)state;
    struct store_options options = options_of();
    struct offline *offline = begin(&options, 60000);
    struct offline_beat beats[2] = {{START, heartbeat_of("e", NULL, "v")},
                                    {START + 1, heartbeat_of("e", NULL, "w")}};
    struct offline_result result = {0};
    count(offline, beats, 2, &result);
    sqlite3 *lock = folder_lock_writes(&folder);
    char why[512] = "";
    assert_int_equal(offline_close(offline, why, sizeof why), ERR_BUSY);
    assert_non_null(strstr(why, "locked"));
    folder_unlock_writes(lock);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendance"), 0);
    end(begin(&options, 60000)); /* recovers */
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendance"), 2);
}

/* ---- kills ---- */

/* The same for the child, which looks profiles up, and for the model, which has none. */
static size_t trace_batch_with_groups(struct trace *trace, struct offline_beat *beats)
{
    size_t beats_count = trace_batch(trace, beats);
    for (size_t i = 0; i < beats_count; i++) {
        beats[i].heartbeat.flags |= HEARTBEAT_GROUPS;
    }
    return beats_count;
}

static void test_killed_in_the_middle(void **state)
{
    (void)state;
    enum { ROUNDS = 6 };
    uint64_t seed = tap_seed();
    struct store_options options = options_of();
    options.engine.backlog_max = 3000;
    options.engine.event_idle_ms = 100000;
    options.journal_segment_bytes = 64 * 1024;
    _Atomic int *batches =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(batches != MAP_FAILED);
    struct offline_beat *beats = memory_alloc(OFFLINE_BATCH_MAX * sizeof *beats);
    for (int round = 0; round < ROUNDS; round++) {
        struct trace *trace = memory_zalloc(sizeof *trace);
        atomic_store(batches, 0);
        trace_begin(trace, seed + (uint64_t)round, &options.engine.windows);
        pid_t child = fork();
        if (child == 0) {
            struct offline *offline;
            char why[512];
            struct offline_result result = {0};
            if (offline_open(&options, 1, &offline, why, sizeof why) != ERR_NONE) {
                _exit(3);
            }
            for (;;) {
                size_t beats_count = trace_batch_with_groups(trace, beats);
                if (offline_count(offline, beats, beats_count, &result, why, sizeof why) !=
                    ERR_NONE) {
                    _exit(4);
                }
                (*batches)++;
            }
        }
        assert_true(child > 0);
        WAIT_FOR(*batches >= 10 * (round + 1));
        assert_int_equal(kill(child, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        /* What the model knows of: all batches that were counted, and perhaps one more. */
        struct store store;
        char why[512] = "";
        assert_int_equal(store_open(&options, &store, why, sizeof why), ERR_NONE);
        int64_t last_ms = store.last_ms;
        store_close(&store);
        struct model *model = model_new(&options.engine.windows);
        int done = 0;
        while (done < *batches || model->now_ms < last_ms) {
            size_t beats_count = trace_batch_with_groups(trace, beats);
            if (done >= *batches && beats[beats_count - 1].time_ms > last_ms) {
                break; /* was not journaled */
            }
            to_model(model, beats, beats_count);
            done++;
        }
        model_begin(model, last_ms); /* rows may be of the time of the batch that was lost */
        end(begin(&options, 60000)); /* recovers, and stores it all */
        check_folder(model, &options);
        model_free(model);
        cast_fini(&trace->cast);
        free(trace);
        folder_remove(&folder);
        folder_make(&folder);
    }
    free(beats);
    assert_int_equal(munmap(batches, 4096), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_killed_in_the_middle),   TEST(test_equals_the_model),
        TEST(test_with_a_small_backlog),   TEST(test_with_a_small_journal),
        TEST(test_profiles_are_looked_up), TEST(test_bounds_refuse),
        TEST(test_idle_events_make_room),  TEST(test_records_are_away),
    };
    return tap_run(tests);
}
