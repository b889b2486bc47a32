/* test_store.c -- a data folder opened: lock, recovery, time, settings of another run. */
#include "common.h"

#include "journal/entry.h"
#include "live/offline.h"
#include "live/store.h"

#define START INT64_C(1637661623070)

static struct store_options store_options_for(void)
{
    struct live_options options = options_for(&folder);
    return (struct store_options){.data = options.data,
                                  .records = options.records,
                                  .engine = options.engine,
                                  .journal_segment_bytes = options.journal_segment_bytes,
                                  .journal_max_bytes = options.journal_max_bytes};
}

static void open_store(struct store *store)
{
    struct store_options options = store_options_for();
    char why[512] = "";
    if (store_open(&options, store, why, sizeof why) != ERR_NONE) {
        fail_msg("store_open: %s", why);
    }
}

/* One record with what one call of entry_encode each made. */
static void append_entry(struct store *store, int64_t time_ms, const struct entry *entry)
{
    char payload[JOURNAL_ENTRY_BYTES_MAX];
    uint64_t seq;
    size_t len = entry_encode(entry, payload);
    assert_int_equal(journal_append(store->journal, time_ms, slice_of(payload, len), &seq),
                     ERR_NONE);
}

static struct entry entry_of(const char *viewer, const char *packed)
{
    struct entry entry = {.kind = ENTRY_HEARTBEAT, .heartbeat = heartbeat_of("e", "s", viewer)};
    entry.heartbeat.flags = HEARTBEAT_GROUPS;
    entry.heartbeat.groups = slice_str(packed);
    return entry;
}

static void count_offline(struct offline *offline, int64_t time_ms, const char *event,
                          const char *viewer)
{
    struct offline_beat beat = {.time_ms = time_ms, .heartbeat = heartbeat_of(event, "s", viewer)};
    struct offline_result result = {0};
    char why[512] = "";
    beat.heartbeat.flags = HEARTBEAT_GROUPS;
    if (offline_count(offline, &beat, 1, &result, why, sizeof why) != ERR_NONE) {
        fail_msg("offline_count: %s", why);
    }
    assert_int_equal(result.counted, 1);
}

static struct offline *open_offline(void)
{
    struct store_options options = store_options_for();
    struct offline *offline;
    char why[512] = "";
    if (offline_open(&options, 60000, &offline, why, sizeof why) != ERR_NONE) {
        fail_msg("offline_open: %s", why);
    }
    return offline;
}

static void close_offline(struct offline *offline)
{
    char why[512] = "";
    assert_int_equal(offline_close(offline, why, sizeof why), ERR_NONE);
}

/* ---- opening ---- */

static void test_new_folder(void **state)
{
    (void)state;
    struct store store;
    open_store(&store);
    assert_int_equal(store.covered_seq, 0);
    assert_int_equal(store.last_ms, 0);
    assert_int_equal(engine_events_count(store.engine), 0);
    store_close(&store);
    struct stat stat_of;
    assert_int_equal(stat(folder.data, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07, 0); /* who watched what is nobody else's business */
    open_store(&store);
    store_close(&store);
}

static void test_one_process_at_a_time(void **state)
{
    (void)state;
    struct store store, second;
    open_store(&store);
    struct store_options options = store_options_for();
    char why[512] = "";
    assert_int_equal(store_open(&options, &second, why, sizeof why), ERR_LOCKED);
    assert_non_null(strstr(why, "in use"));
    int lock_fd;
    assert_int_equal(store_lock(folder.data, &lock_fd, why, sizeof why), ERR_LOCKED);
    store_close(&store);
    assert_int_equal(store_lock(folder.data, &lock_fd, why, sizeof why), ERR_NONE);
    struct live_options live_options = options_for(&folder);
    struct live *live;
    assert_int_equal(live_start(&live_options, &live, why, sizeof why), ERR_LOCKED);
    assert_null(live);
    close(lock_fd);
    open_store(&store);
    store_close(&store);
}

static void test_says_what_is_wrong(void **state)
{
    (void)state;
    struct store_options options = store_options_for();
    struct store store;
    char why[512] = "", path[200];
    (void)snprintf(path, sizeof path, "%s/no/such/parent", folder.top);
    options.data = path;
    assert_int_equal(store_open(&options, &store, why, sizeof why), ERR_IO);
    assert_non_null(strstr(why, path));
    open_store(&store);
    store_close(&store);
    (void)snprintf(path, sizeof path, "%s/records.db", folder.data);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0 && write(fd, "this is no database, and never was", 34) == 34);
    close(fd);
    options = store_options_for();
    why[0] = '\0';
    assert_int_not_equal(store_open(&options, &store, why, sizeof why), ERR_NONE);
    assert_true(why[0] != '\0');
    assert_int_equal(store.lock_fd, -1);
}

/* ---- recovery ---- */

static void nothing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)ctx, (void)viewing;
}

/* A journal without rows: everything is replayed, with the settings and profiles in it. */
static void test_replays_the_journal(void **state)
{
    (void)state;
    struct store store;
    open_store(&store);
    struct entry settings = {.kind = ENTRY_SETTINGS,
                             .settings = {.alive_window_ms = 1000,
                                          .hidden_window_ms = 1000,
                                          .leaving_window_ms = 1000,
                                          .viewing_gap_ms = 1000,
                                          .frame_ms = 1000}};
    append_entry(&store, START, &settings);
    struct entry entry = entry_of("v", "");
    append_entry(&store, START, &entry);
    append_entry(&store, START + 2000, &entry); /* 2 s later: another viewing, by those settings */
    struct entry profile = {.kind = ENTRY_PROFILE,
                            .heartbeat = {.event = SLICE_LIT("e"),
                                          .viewer = SLICE_LIT("v"),
                                          .groups = SLICE_LIT("\5staff")}};
    append_entry(&store, START + 2001, &profile);
    entry.heartbeat.flags = 0;
    append_entry(&store, START + 2002, &entry);
    store_close(&store);
    open_store(&store);
    assert_int_equal(store.last_ms, START + 2002);
    struct figures figures;
    assert_int_equal(engine_figures(store.engine, SLICE_LIT("e"), SLICE_LIT("s"), &figures),
                     FIGURES_OK);
    assert_int_equal(figures.attended, 1);
    assert_int_equal(figures.logins, 2);
    assert_int_equal(figures.total_ms, 2);
    bool attended;
    struct slice got;
    assert_int_equal(
        engine_viewer(store.engine, SLICE_LIT("e"), SLICE_LIT("v"), &attended, &got, nothing, NULL),
        FIGURES_OK);
    assert_true(attended && slice_equal(got, SLICE_LIT("\5staff")));
    /* From now on the options' windows count. */
    assert_int_equal(engine_windows(store.engine)->alive_ms, 65000);
    store_close(&store);
}

/* A profile changes a viewer of an event that was brought to memory by heartbeats that were all
 * refused: nothing but the profile is in the journal. */
static void test_replays_a_profile_alone(void **state)
{
    (void)state;
    struct offline *offline = open_offline();
    count_offline(offline, START, "e", "v");
    close_offline(offline);
    assert_int_equal(folder_sql(&folder, "UPDATE event SET live = 0 RETURNING 1"), 1);
    struct store store;
    open_store(&store);
    assert_int_equal(engine_events_count(store.engine), 0);
    struct entry profile = {.kind = ENTRY_PROFILE,
                            .heartbeat = {.event = SLICE_LIT("e"),
                                          .viewer = SLICE_LIT("v"),
                                          .groups = SLICE_LIT("\5staff")}};
    append_entry(&store, START + 1, &profile);
    profile.heartbeat.event = SLICE_LIT("never-seen");
    append_entry(&store, START + 2, &profile);
    store_close(&store);
    open_store(&store);
    bool attended;
    struct slice got;
    assert_int_equal(
        engine_viewer(store.engine, SLICE_LIT("e"), SLICE_LIT("v"), &attended, &got, nothing, NULL),
        FIGURES_OK);
    assert_true(slice_equal(got, SLICE_LIT("\5staff")));
    assert_int_equal(engine_events_count(store.engine), 1);
    store_close(&store);
}

static void test_refuses_time_that_goes_back(void **state)
{
    (void)state;
    struct store store;
    open_store(&store);
    struct entry entry = entry_of("v", ""), later = {.kind = ENTRY_TIME, .later_ms = 5000};
    char payload[2 * JOURNAL_ENTRY_BYTES_MAX];
    size_t len = entry_encode(&later, payload);
    len += entry_encode(&entry, payload + len);
    uint64_t seq;
    assert_int_equal(journal_append(store.journal, START, slice_of(payload, len), &seq), ERR_NONE);
    append_entry(&store, START + 4999, &entry); /* the record before reached START + 5000 */
    store_close(&store);
    struct store_options options = store_options_for();
    char why[512] = "";
    assert_int_equal(store_open(&options, &store, why, sizeof why), ERR_DAMAGED);
    assert_non_null(strstr(why, "goes back"));
}

/* Bounds are for what comes, not for what is there. */
static void test_smaller_bounds(void **state)
{
    (void)state;
    struct offline *offline = open_offline();
    count_offline(offline, START, "e", "v1");
    count_offline(offline, START + 1, "f", "v1");
    count_offline(offline, START + 2, "f", "v2");
    close_offline(offline);
    struct store store;
    struct store_options options = store_options_for();
    options.engine.events_max = 1;
    options.engine.viewers_max = 1;
    char why[512] = "";
    assert_int_equal(store_open(&options, &store, why, sizeof why), ERR_NONE);
    assert_int_equal(engine_events_count(store.engine), 2);
    store_close(&store);
}

/* ---- the time ---- */

/* Nothing is ever counted before what is stored, whatever is left of the journal. */
static void test_time_goes_on(void **state)
{
    (void)state;
    struct offline *offline = open_offline();
    count_offline(offline, START, "e", "v");
    count_offline(offline, START + 5000, "e", "v");
    assert_int_equal(offline_last_ms(offline), 0);
    close_offline(offline);
    struct store store;
    open_store(&store);
    assert_int_equal(store.last_ms, START + 5000);
    assert_int_equal(engine_now_ms(store.engine), START + 5000);
    store_close(&store);
    /* The journal is lost, and no event is in memory. */
    assert_int_equal(folder_sql(&folder, "UPDATE event SET live = 0 RETURNING 1"), 1);
    char journal[128];
    (void)snprintf(journal, sizeof journal, "%s/journal", folder.data);
    assert_int_equal(nftw(journal, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    for (int round = 0; round < 2; round++) { /* opened and closed changes nothing */
        offline = open_offline();
        assert_int_equal(offline_last_ms(offline), START + 5000);
        close_offline(offline);
    }
    /* Rows of a live event may be newer than the journal's newest record. */
    assert_int_equal(folder_sql(&folder, "UPDATE event SET live = 1 RETURNING 1"), 1);
    assert_int_equal(folder_sql(&folder, "UPDATE audience SET as_of_ms = as_of_ms + 1000 "
                                         "WHERE session = '' RETURNING 1"),
                     1);
    open_store(&store);
    assert_int_equal(store.last_ms, START + 6000);
    store_close(&store);
}

/* A folder whose time is ahead of the clock: counting goes on from there, never back. */
static void test_folder_of_the_future(void **state)
{
    (void)state;
    int64_t future_ms = clock_wall_us() / 1000 + 3600000;
    struct offline *offline = open_offline();
    count_offline(offline, future_ms, "e", "v");
    close_offline(offline);
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    struct figures figures = figures_of(&loop, "e", NULL);
    assert_int_equal(figures.logins, 1);
    assert_in_range(figures.total_ms, 0, 60000);
    loop_stop(&loop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_new_folder),
        TEST(test_one_process_at_a_time),
        TEST(test_says_what_is_wrong),
        TEST(test_replays_the_journal),
        TEST(test_replays_a_profile_alone),
        TEST(test_refuses_time_that_goes_back),
        TEST(test_smaller_bounds),
        TEST(test_time_goes_on),
        TEST(test_folder_of_the_future),
    };
    return tap_run(tests);
}
