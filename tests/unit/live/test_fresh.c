/* test_fresh.c -- reads that see everything that was acknowledged before; what is old goes; events
 * that only the directory knows; profiles from elsewhere. */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- fresh reads ---- */

struct seen {
    uint64_t members, viewings;
    int64_t total_ms;
};

static enum err count_member(void *ctx, const struct records_member *member)
{
    struct seen *seen = ctx;
    seen->members++;
    seen->viewings += member->viewings_count;
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        seen->total_ms += member->viewings[i].end_ms - member->viewings[i].start_ms;
    }
    return ERR_NONE;
}

static enum err count_all(struct records_link *link, struct live_query *query)
{
    struct records_members_query members = {.event = query->event, .session = query->session};
    uint32_t next;
    *(struct seen *)query->arg = (struct seen){0};
    return records_members_each(link, &members, &next, count_member, query->arg);
}

static enum live_status read_fresh(struct loop *loop, const char *session, struct seen *seen)
{
    struct question question;
    question_init(&question, LIVE_READ, "e");
    question.query.session = slice_str(session);
    question.query.work = count_all;
    question.query.arg = seen;
    question.query.fresh = true;
    enum live_status status = ask(loop, &question);
    live_query_fini(&question.query);
    return status;
}

/* Passes of their own are an hour away: what a fresh read sees it has asked for. */
static void test_sees_everything(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000;
    options.engine.windows = (struct engine_windows){
        .alive_ms = 20, .hidden_ms = 20, .leaving_ms = 20, .gap_ms = 20, .frame_ms = 100};
    struct loop loop;
    struct seen seen;
    char viewer[16];
    loop_start(&loop, &options);
    assert_int_equal(read_fresh(&loop, "s", &seen), LIVE_OK);
    assert_int_equal(seen.members, 0);
    for (int i = 0; i < 60; i++) {
        (void)snprintf(viewer, sizeof viewer, "v%d", i % 7);
        struct heartbeat heartbeat = heartbeat_of("e", "s", viewer);
        heartbeat.flags = HEARTBEAT_GROUPS;
        assert_int_equal(beat_as(&loop, heartbeat), LIVE_OK);
        nap_ms(i % 5 == 0 ? 30 : 3);
        assert_int_equal(read_fresh(&loop, "s", &seen), LIVE_OK);
        struct figures figures = figures_of(&loop, "e", "s");
        assert_int_equal(seen.members, figures.attended);
        assert_int_equal(seen.viewings, figures.logins);
        assert_int_equal(seen.total_ms, figures.total_ms);
        assert_int_equal(read_fresh(&loop, NULL, &seen), LIVE_OK);
        assert_int_equal(seen.members, figures.attended);
    }
    assert_true(seen.viewings > 7);
    loop_stop(&loop);
}

struct pourer {
    struct live *live;
    uint32_t port;
    atomic_bool stop;
    atomic_uint counted;
    pthread_t thread;
};

static void *pour(void *ctx)
{
    struct pourer *pourer = ctx;
    struct loop loop;
    char viewer[32];
    loop_attach(&loop, pourer->live, pourer->port);
    while (!atomic_load(&pourer->stop)) {
        unsigned number = atomic_load(&pourer->counted);
        (void)snprintf(viewer, sizeof viewer, "p%u-%u", pourer->port, number);
        struct heartbeat heartbeat = heartbeat_of("e", "s", viewer);
        heartbeat.flags = HEARTBEAT_GROUPS;
        if (beat_as(&loop, heartbeat) == LIVE_OK) {
            atomic_store(&pourer->counted, number + 1);
        }
        nap_ms(number % 4 == 0);
    }
    close(loop.wake_fd);
    return NULL;
}

/* Many readers at once, heartbeats meanwhile: each sees at least what was acknowledged when it
 * asked, and they share the passes. */
static void test_readers_share(void **state)
{
    (void)state;
    enum { READS = 400, AT_ONCE = 20 };
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000;
    options.ports = 3;
    struct loop loop;
    struct pourer pourers[2];
    static struct question questions[AT_ONCE];
    static struct seen seen[AT_ONCE];
    uint64_t at_least[AT_ONCE] = {0};
    loop_start(&loop, &options);
    for (uint32_t i = 0; i < 2; i++) {
        pourers[i] = (struct pourer){.live = loop.live, .port = i + 1};
        assert_int_equal(pthread_create(&pourers[i].thread, NULL, pour, &pourers[i]), 0);
    }
    int asked = 0;
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    for (int open = 0; asked < READS || open > 0;) {
        for (int i = 0; i < AT_ONCE; i++) {
            if (questions[i].done) {
                assert_int_equal(questions[i].query.status, LIVE_OK);
                assert_true(seen[i].members >= at_least[i]);
                questions[i].done = false;
                questions[i].query.work = NULL;
                open--;
            }
            if (asked < READS && questions[i].query.work == NULL) {
                question_init(&questions[i], LIVE_READ, "e");
                questions[i].query.session = SLICE_LIT("s");
                questions[i].query.work = count_all;
                questions[i].query.arg = &seen[i];
                questions[i].query.fresh = true;
                at_least[i] = atomic_load(&pourers[0].counted) + atomic_load(&pourers[1].counted);
                question_begin(&loop, &questions[i]);
                asked++;
                open++;
            }
        }
        loop_turn(&loop, 100);
        assert_true(clock_mono_ms() < until_ms);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&pourers[i].stop, true);
        pthread_join(pourers[i].thread, NULL);
    }
    assert_true(loop_counters(&loop).commits < READS / 2);
    loop_stop(&loop);
}

/* With the record store away a fresh read is told so; heartbeats go on. */
static void test_fresh_while_away(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    struct seen seen;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    assert_int_equal(beat_in(&loop, "e", "w", ""), LIVE_OK);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(read_fresh(&loop, NULL, &seen), LIVE_RECORDS_AWAY);
    assert_true(clock_mono_ms() - begin_ms >= 4000 && clock_mono_ms() - begin_ms < 20000);
    assert_int_equal(beat_in(&loop, "e", "x", ""), LIVE_OK);
    folder_unlock_writes(lock);
    WAIT_FOR(read_fresh(&loop, NULL, &seen) == LIVE_OK);
    assert_int_equal(seen.members, 3);
    loop_stop(&loop);
}

/* ---- what is old goes ---- */

static struct live_options short_windows(void)
{
    struct live_options options = options_for(&folder);
    options.engine.windows = (struct engine_windows){
        .alive_ms = 30, .hidden_ms = 30, .leaving_ms = 30, .gap_ms = 30, .frame_ms = 100};
    options.engine.event_idle_ms = 100;
    options.retain_interval_ms = 50;
    return options;
}

static void test_old_events_go(void **state)
{
    (void)state;
    struct live_options options = short_windows();
    options.retain_events_ms = 1500;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "old", "v", "g"), LIVE_OK);
    assert_int_equal(beat_in(&loop, "also-old", "v", "g"), LIVE_OK);
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (folder_sql(&folder, "SELECT count(*) FROM event") != 1) {
        assert_true(clock_mono_ms() < until_ms);
        assert_int_equal(beat_in(&loop, "new", "v", "g"), LIVE_OK); /* stays */
        nap_ms(10);
    }
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM event WHERE name = 'new'"), 1);
    assert_int_equal(figures_of(&loop, "old", NULL).attended, 0);
    assert_int_equal(figures_of(&loop, "new", NULL).attended, 1);
    WAIT_FOR(loop_counters(&loop).events_purged == 2);
    WAIT_FOR(beat_in(&loop, "old", "v", "g") == LIVE_OK); /* the journal may still be forgetting */
    assert_int_equal(figures_of(&loop, "old", NULL).logins, 1);
    loop_stop(&loop);
}

static void test_old_people_go(void **state)
{
    (void)state;
    struct live_options options = short_windows();
    options.retain_viewers_ms = 1000;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v", "Name", "g"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "w"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM frame") == 2); /* it is over */
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM viewer") == 0);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM profile"), 0);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 0);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM frame"), 2);
    struct figures figures = figures_of(&loop, "e", "s");
    assert_int_equal(figures.attended, 2);
    assert_int_equal(figures.logins, 2);
    assert_int_equal(figures.peak_count, 2);
    /* It comes back; who was there before is new again. */
    WAIT_FOR(beat(&loop, "e", "s", "v") == LIVE_OK);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 3);
    assert_int_equal(figures_of(&loop, "e", "s").peak_count, 2);
    loop_stop(&loop);
}

static void test_old_viewings_and_frames_go(void **state)
{
    (void)state;
    struct live_options options = short_windows();
    options.retain_viewings_ms = options.retain_frames_ms = 800;
    struct loop loop;
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    int64_t most = 0, now;
    uint64_t beats = 0;
    loop_start(&loop, &options);
    do { /* each heartbeat a viewing, until more have gone than are kept */
        assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
        beats++;
        nap_ms(50);
        now = folder_sql(&folder, "SELECT count(*) FROM viewing");
        most = now > most ? now : most;
        assert_true(clock_mono_ms() < until_ms);
    } while (beats < 60 || now + 10 > (int64_t)beats);
    assert_true(most > 2);
    assert_int_equal(figures_of(&loop, "e", NULL).logins, beats);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM frame WHERE end_ms < "
                                 "(SELECT max(end_ms) FROM frame) - 2000") == 0);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM viewing") == 0);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", NULL).logins, beats);
    loop_stop(&loop);
}

/* A large event goes bit by bit: neither heartbeats nor rows wait for it. */
static void test_large_event_goes_in_steps(void **state)
{
    (void)state;
    enum { VIEWERS = 30000, BATCH = 1000 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    static struct live_beat beats[BATCH];
    static char viewers[BATCH][16];
    loop_start(&loop, &options);
    for (int i = 0; i < VIEWERS; i += BATCH) {
        struct batch batch;
        for (int b = 0; b < BATCH; b++) {
            (void)snprintf(viewers[b], sizeof viewers[b], "v%d", i + b);
            beats[b] = (struct live_beat){.heartbeat = heartbeat_of("big", "s", viewers[b])};
            beats[b].heartbeat.flags = HEARTBEAT_GROUPS;
        }
        batch_begin(&loop, &batch, beats, BATCH);
        assert_true(loop_until(&loop, &batch.done, WAIT_MS));
        for (int b = 0; b < BATCH; b++) {
            assert_int_equal(beats[b].status, LIVE_OK);
        }
    }
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 2 * VIEWERS);
    struct question question;
    question_init(&question, LIVE_PURGE, "big");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    int64_t slowest_ms = 0, left;
    struct seen seen;
    int rounds = 0;
    char viewer[16];
    do { /* each with a pass of its own */
        int64_t begin_ms = clock_mono_ms();
        (void)snprintf(viewer, sizeof viewer, "w%d", rounds++);
        assert_int_equal(beat_in(&loop, "e", viewer, ""), LIVE_OK);
        assert_int_equal(read_fresh(&loop, NULL, &seen), LIVE_OK);
        assert_int_equal(seen.members, rounds);
        int64_t took_ms = clock_mono_ms() - begin_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        left = folder_sql(&folder, "SELECT count(*) FROM attendance");
    } while (left > rounds);
    print_message("# %d rounds, the slowest %lld ms\n", rounds, (long long)slowest_ms);
    assert_true(rounds > 5);
    WAIT_FOR(loop_counters(&loop).rows_retired >= 3 * VIEWERS); /* the viewers come last */
    assert_true(slowest_ms < 3000);
    loop_stop(&loop);
}

/* ---- only declared events ---- */

static enum err declare(struct records_link *link, struct live_query *query)
{
    struct directory_entry entry = {.event = query->event, .title = SLICE_LIT("Title")};
    return records_directory_put(link, &entry, 1);
}

static void test_declared_events(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.declared_events = true;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_UNKNOWN_EVENT);
    struct question question;
    question_init(&question, LIVE_WRITE, "e");
    question.query.work = declare;
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK); /* a moment ago */
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
    assert_int_equal(beat_in(&loop, "f", "v", ""), LIVE_UNKNOWN_EVENT);
    question_init(&question, LIVE_PURGE, "e");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_UNKNOWN_EVENT); /* nor that any more */
    loop_stop(&loop);
}

/* ---- the platform's own profiles ---- */

static void test_profiles_from_elsewhere(void **state)
{
    (void)state;
    char path[96], sql[] = "CREATE TABLE people (id TEXT, called TEXT, teams TEXT);"
                           "INSERT INTO people VALUES ('v', 'Vera', 'staff,speakers')";
    (void)snprintf(path, sizeof path, "%s/platform.db", folder.top);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    struct live_options options = options_for(&folder);
    options.profiles = (struct records_profile_source){
        .database = path,
        .query = "SELECT called AS name, teams AS groups FROM people WHERE id = :viewer"};
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "w"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(put_profile(&loop, "e", "v", "Name", "g"), LIVE_REFUSED);
    struct question question;
    question_init(&question, LIVE_PROFILE_GET, "e");
    question.query.viewer = SLICE_LIT("v");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_true(slice_equal(question.query.name, SLICE_LIT("Vera")));
    live_query_fini(&question.query);
    loop_stop(&loop);
    /* What is wrong with it is said at the start. */
    struct live *live;
    char why[512] = "";
    options.profiles.query = "SELECT nothing FROM nowhere";
    assert_int_not_equal(live_start(&options, &live, why, sizeof why), ERR_NONE);
    assert_non_null(strstr(why, "profiles: "));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static enum live_status ask_viewer(struct loop *loop, enum live_query_kind kind, const char *viewer,
                                   bool has_profile)
{
    struct question question;
    question_init(&question, kind, "e");
    question.query.viewer = slice_str(viewer);
    enum live_status status = ask(loop, &question);
    assert_true(question.query.has_profile == has_profile);
    assert_true(has_profile || question.query.name.len == 0);
    live_query_fini(&question.query);
    return status;
}

/* A row that cannot be used, then a query that fails: neither costs a heartbeat or what else is
 * known of a viewer, also where unknown viewers are refused. */
static void test_profiles_that_fail(void **state)
{
    (void)state;
    char path[96], sql[] = "CREATE TABLE people (id TEXT, called TEXT, teams TEXT);"
                           "INSERT INTO people VALUES ('v', 'Vera', 'staff'),"
                           " ('long', printf('%300s', 'x'), 'staff'),"
                           " ('absent', printf('%300s', 'x'), 'staff')";
    (void)snprintf(path, sizeof path, "%s/platform.db", folder.top);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    struct live_options options = options_for(&folder);
    options.reject_unknown_viewers = true;
    options.profiles = (struct records_profile_source){
        .database = path,
        .query = "SELECT called AS name, teams AS groups FROM people WHERE id = :viewer"};
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "nobody"), LIVE_UNKNOWN_VIEWER);
    assert_int_equal(loop_counters(&loop).profiles_failed, 0);
    assert_int_equal(beat(&loop, "e", NULL, "long"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "long"), LIVE_OK);
    assert_int_equal(loop_counters(&loop).profiles_failed, 1); /* not asked for each time */
    assert_int_equal(ask_viewer(&loop, LIVE_VIEWER, "v", true), LIVE_OK);
    assert_int_equal(ask_viewer(&loop, LIVE_VIEWER, "long", false), LIVE_OK);
    assert_int_equal(ask_viewer(&loop, LIVE_VIEWER, "absent", false), LIVE_NOT_FOUND);
    assert_int_equal(ask_viewer(&loop, LIVE_PROFILE_GET, "long", false), LIVE_RECORDS_AWAY);

    assert_int_equal(sqlite3_exec(db, "ALTER TABLE people RENAME TO away", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "late"), LIVE_OK);
    assert_int_equal(loop_counters(&loop).profiles_failed, 2);
    assert_int_equal(ask_viewer(&loop, LIVE_VIEWER, "v", false), LIVE_OK);
    assert_int_equal(ask_viewer(&loop, LIVE_VIEWER, "absent", false), LIVE_NOT_FOUND);
    assert_int_equal(ask_viewer(&loop, LIVE_PROFILE_GET, "v", false), LIVE_RECORDS_AWAY);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1); /* what was known goes on */
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 3);

    assert_int_equal(sqlite3_exec(db,
                                  "ALTER TABLE away RENAME TO people;"
                                  "INSERT INTO people VALUES ('late', 'Lea', 'staff')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "late"), LIVE_OK); /* asked again at once */
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 2);
    assert_int_equal(loop_counters(&loop).profiles_failed, 2);
    loop_stop(&loop);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- a start that is not wanted any more ---- */

static void test_start_is_cancelled(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    loop_stop(&loop);
    struct live *live;
    char why[512] = "";
    live_start_cancel();
    assert_int_equal(live_start(&options, &live, why, sizeof why), ERR_STOPPED);
    assert_string_not_equal(why, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sees_everything),
        TEST(test_readers_share),
        TEST(test_fresh_while_away),
        TEST(test_old_events_go),
        TEST(test_old_people_go),
        TEST(test_old_viewings_and_frames_go),
        TEST(test_large_event_goes_in_steps),
        TEST(test_declared_events),
        TEST(test_profiles_from_elsewhere),
        TEST(test_profiles_that_fail),
        TEST(test_start_is_cancelled), /* for good: the last one */
    };
    return tap_run(tests);
}
