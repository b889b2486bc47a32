/* test_away.c -- the record store does not answer, the journal is full: what goes on, what is
 * refused, and that all of it passes. */
#include "common.h"

#include <pthread.h>

/* Nobody can write for longer than SQLite waits (5 s): heartbeats and figures go on. */
static void test_writes_are_away(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.durability = LIVE_SYNC;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "first", ""), LIVE_OK);
    sqlite3 *lock = folder_lock_writes(&folder);
    char viewer[16];
    int viewers = 0;
    while (loop_counters(&loop).commits_failed == 0) {
        (void)snprintf(viewer, sizeof viewer, "v%d", viewers++);
        int64_t begin_ms = clock_mono_ms();
        assert_int_equal(beat_in(&loop, "e", viewer, "staff"), LIVE_OK);
        assert_int_equal(figures_of(&loop, "e", NULL).attended, viewers + 1);
        assert_true(clock_mono_ms() - begin_ms < 2000);
        nap_ms(20);
    }
    folder_unlock_writes(lock);
    WAIT_FOR(folder_sql(&folder, "SELECT sum(attended) FROM audience") == viewers + 1);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, viewers + 1);
    loop_stop(&loop);
}

/* Questions that need rows which are on their way: an answer or 503, and all of them in time, not
 * one after the other. */
static void test_questions_while_writes_are_away(void **state)
{
    (void)state;
    enum { QUESTIONS = 40 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    assert_int_equal(beat_in(&loop, "e", "w", ""), LIVE_OK);
    nap_ms(200); /* a part is out now */
    static struct question questions[QUESTIONS];
    int64_t begin_ms = clock_mono_ms();
    for (int i = 0; i < QUESTIONS; i++) {
        question_init(&questions[i], i % 4 == 3 ? LIVE_PROFILE_PUT : LIVE_VIEWER, "e");
        questions[i].query.viewer = SLICE_LIT("w");
        question_begin(&loop, &questions[i]);
    }
    for (int i = 0; i < QUESTIONS; i++) {
        assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
        assert_int_equal(questions[i].query.status, LIVE_RECORDS_AWAY);
        live_query_fini(&questions[i].query);
    }
    /* Not 40 times 5 s: the first ones', and for puts one transaction's on top. */
    assert_true(clock_mono_ms() - begin_ms < 20000);
    folder_unlock_writes(lock);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 2);
    assert_int_equal(put_profile(&loop, "e", "w", "W", "staff"), LIVE_OK);
    struct question question;
    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("w");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    live_query_fini(&question.query);
    loop_stop(&loop);
}

/* Puts that never end must not keep rows from being stored. */
static void test_puts_do_not_starve_rows(void **state)
{
    (void)state;
    enum { PUTS = 50 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    static struct question questions[PUTS];
    for (int i = 0; i < PUTS; i++) {
        question_init(&questions[i], LIVE_PROFILE_PUT, "other");
        questions[i].query.viewer = SLICE_LIT("p");
        question_begin(&loop, &questions[i]);
    }
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (folder_sql(&folder, "SELECT count(*) FROM attendance") == 0) {
        assert_true(clock_mono_ms() < until_ms);
        loop_turn(&loop, 1);
        for (int i = 0; i < PUTS; i++) { /* whoever is answered puts again */
            if (questions[i].done) {
                questions[i].done = false;
                question_begin(&loop, &questions[i]);
            }
        }
    }
    for (int i = 0; i < PUTS; i++) {
        assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
    }
    loop_stop(&loop);
}

/* An event that cannot be loaded in time: 503, and it comes when it can. */
static void test_event_does_not_come(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.windows = (struct engine_windows){
        .alive_ms = 50, .hidden_ms = 50, .leaving_ms = 50, .gap_ms = 50, .frame_ms = 100};
    options.engine.event_idle_ms = 100;
    options.event_timeout_ms = 300;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event WHERE NOT live") == 1);
    loop_stop(&loop); /* so that it is surely not in memory */
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "other", NULL, "v"), LIVE_OK); /* the loader has its link */
    int lock = folder_lock_reads(&folder);
    struct call call;
    call_begin(&loop, &call, heartbeat_of("e", NULL, "v"));
    assert_true(loop_until(&loop, &call.done, 4000));
    assert_int_equal(call.beat.status, LIVE_RECORDS_AWAY);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_RECORDS_AWAY); /* at once */
    assert_int_equal(beat(&loop, "f", NULL, "v"), LIVE_RECORDS_AWAY); /* queued behind it */
    assert_int_equal(loop_counters(&loop).heartbeats_unavailable, 3);
    folder_unlock_reads(lock);
    WAIT_FOR(loop_counters(&loop).events_loaded >= 1);
    WAIT_FOR(beat_in(&loop, "e", "v", "g") == LIVE_OK); /* it may have been idle again */
    struct figures figures = figures_of(&loop, "e", NULL);
    assert_int_equal(figures.attended, 1);
    assert_int_equal(figures.logins, 2);
    WAIT_FOR(beat_in(&loop, "f", "v", "") == LIVE_OK);
    loop_stop(&loop);
}

/* A question about an event that is being loaded does not wait for it: the store has it all. */
static void test_question_while_the_event_is_loaded(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.windows = (struct engine_windows){
        .alive_ms = 50, .hidden_ms = 50, .leaving_ms = 50, .gap_ms = 50, .frame_ms = 100};
    options.engine.event_idle_ms = 100;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event WHERE NOT live") == 1);
    loop_stop(&loop); /* so that it is surely not in memory */
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "other", NULL, "v"), LIVE_OK); /* the loader has its link */
    int lock = folder_lock_reads(&folder);
    struct call call;
    call_begin(&loop, &call, heartbeat_of("e", NULL, "v"));
    struct question question;
    question_init(&question, LIVE_FIGURES, "e");
    question_begin(&loop, &question);
    assert_int_equal(alive_in(&loop, "e", true, "g"), 0);
    nap_ms(100);
    folder_unlock_reads(lock);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    /* Away, when its reader has only just tried to open its link. */
    assert_true(question.query.status == LIVE_OK || question.query.status == LIVE_RECORDS_AWAY);
    if (question.query.status == LIVE_OK) {
        assert_int_equal(question.query.figures[0].attended, 1);
        assert_in_range(question.query.figures[0].logins, 1, 2);
    }
    live_query_fini(&question.query);
    assert_int_equal(call_end(&loop, &call), LIVE_OK);
    assert_int_equal(figures_of(&loop, "e", NULL).logins, 2);
    loop_stop(&loop);
}

/* Rows must not be on the disk before the journal records that they come from: or after a power
 * cut other heartbeats would get those records' numbers. */
static void test_journal_is_durable_before_rows(void **state)
{
    (void)state;
    const enum live_durability all[] = {LIVE_INTERVAL, LIVE_OS};
    for (int i = 0; i < 2; i++) {
        struct live_options options = options_for(&folder);
        options.durability = all[i];
        struct loop loop;
        loop_start(&loop, &options);
        for (int n = 0; n < 30; n++) {
            char viewer[16];
            (void)snprintf(viewer, sizeof viewer, "%d-%d", i, n);
            assert_int_equal(beat_in(&loop, "e", viewer, ""), LIVE_OK);
            int64_t stored = folder_sql(&folder, "SELECT max(seq) FROM audience");
            assert_true((int64_t)loop_counters(&loop).durable_seq >= stored);
            nap_ms(5);
        }
        assert_true(folder_sql(&folder, "SELECT max(seq) FROM audience") > 0);
        loop_stop(&loop);
    }
}

/* ---- the journal is full ---- */

/* The records are locked, so nothing can be covered, until the journal takes no more. */
static void test_journal_full(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 16 * 1024;
    options.journal_max_bytes = 64 * 1024;
    options.sync_gather_ms = 3;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "first", ""), LIVE_OK);
    assert_true(live_ready(loop.live));
    sqlite3 *lock = folder_lock_writes(&folder);
    char viewer[24];
    uint64_t counted = 1;
    enum live_status status = LIVE_OK;
    while (status == LIVE_OK) {
        (void)snprintf(viewer, sizeof viewer, "viewer-%llu", (unsigned long long)counted);
        status = beat_in(&loop, "e", viewer, "some,groups");
        counted += status == LIVE_OK;
        assert_true(counted < 3000);
    }
    assert_int_equal(status, LIVE_NO_SPACE);
    assert_false(live_ready(loop.live));
    assert_int_equal(figures_of(&loop, "e", NULL).attended, counted); /* it was not counted */
    assert_int_equal(beat_in(&loop, "e", "first", "some,groups"), LIVE_NO_SPACE);
    WAIT_FOR(loop_counters(&loop).heartbeats_unavailable == 2);
    folder_unlock_writes(lock);
    /* It is ready again without anybody sending a heartbeat: who balances the load sends none. */
    WAIT_FOR(live_ready(loop.live));
    assert_int_equal(beat_in(&loop, "e", viewer, "some,groups"), LIVE_OK);
    counted++;
    assert_int_equal(figures_of(&loop, "e", NULL).attended, counted);
    loop_stop(&loop);
    assert_int_equal(folder_sql(&folder, "SELECT attended FROM audience"), counted);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, counted);
    loop_stop(&loop);
}

/* A full journal makes room at once, not when the next full pass is due. */
static void test_journal_full_wants_a_pass(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 16 * 1024;
    options.journal_max_bytes = 64 * 1024;
    options.records_flush_ms = options.records_interval_ms = 3600000;
    struct loop loop;
    loop_start(&loop, &options);
    char viewer[24];
    int refused = 0, in_a_row = 0;
    for (int i = 0; i < 4000; i++) {
        (void)snprintf(viewer, sizeof viewer, "viewer-%d", i);
        bool counted = beat_in(&loop, "e", viewer, "some,groups") == LIVE_OK;
        refused += !counted;
        in_a_row = counted ? 0 : in_a_row + 1;
        if (!counted) {
            nap_ms(20);
        }
        assert_true(in_a_row < 500); /* 10 s */
    }
    assert_true(refused > 0); /* else this tests nothing */
    loop_stop(&loop);
}

/* Whoever puts a profile while the journal is full gets an answer. */
static void test_put_while_the_journal_is_full(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 16 * 1024;
    options.journal_max_bytes = 64 * 1024;
    /* After the first pass nothing is stored but at a full journal, which a part under way keeps
     * from it. */
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    char viewer[24] = "viewer";
    for (int i = 0; beat_in(&loop, "e", viewer, "some,groups") == LIVE_OK; i++) {
        (void)snprintf(viewer, sizeof viewer, "viewer-%d", i);
    }
    struct question question;
    question_init(&question, LIVE_PROFILE_PUT, "e");
    question.query.viewer = SLICE_LIT("v");
    question_begin(&loop, &question); /* waits for the lock, with the part */
    folder_unlock_writes(lock);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_true(question.query.status == LIVE_OK || question.query.status == LIVE_NO_SPACE);
    WAIT_FOR(live_ready(loop.live));
    assert_int_equal(put_profile(&loop, "e", "v", "V", "late"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "late"), 1);
    loop_stop(&loop);
}

/* ---- stop ---- */

static int64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* At stop the record store is away: it gives up in time, says so, and does not spin meanwhile; the
 * journal has it all. */
static void test_stop_while_writes_are_away(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.stop_timeout_ms = 1500;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    assert_int_equal(beat_in(&loop, "e", "w", "g"), LIVE_OK);
    int64_t begin_ms = clock_mono_ms(), begin_cpu_ms = cpu_ms();
    assert_int_equal(live_stop(loop.live), ERR_DATABASE);
    close(loop.wake_fd);
    assert_true(clock_mono_ms() - begin_ms >= 1500);
    assert_true(clock_mono_ms() - begin_ms < 1500 + 8000); /* SQLite's own 5 s on top */
    assert_true(cpu_ms() - begin_cpu_ms < 700);
    folder_unlock_writes(lock);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 2);
    assert_int_equal(alive_in(&loop, "e", true, "g"), 1);
    loop_stop(&loop);
}

/* It comes back while stop waits. */
static void *unlock_later(void *lock)
{
    nap_ms(500);
    folder_unlock_writes(lock);
    return NULL;
}

static void test_stop_waits_for_the_store(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    assert_int_equal(beat_in(&loop, "e", "w", "g"), LIVE_OK);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, unlock_later, lock), 0);
    loop_stop(&loop);
    pthread_join(thread, NULL);
    assert_int_equal(folder_sql(&folder, "SELECT attended FROM audience"), 2);
}

/* Refreshes are out at stop: nobody waits for them. */
static void test_stop_while_look_ups_are_out(void **state)
{
    (void)state;
    enum { VIEWERS = 1500 };
    struct live_options options = options_for(&folder);
    options.engine.profile_ttl_ms = 1;
    struct loop loop;
    loop_start(&loop, &options);
    static struct live_beat beats[VIEWERS];
    static char names[VIEWERS][16];
    int lock = -1;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < VIEWERS; i++) {
            (void)snprintf(names[i], sizeof names[i], "v%d", i);
            beats[i] = (struct live_beat){.heartbeat = heartbeat_of("e", NULL, names[i])};
        }
        struct batch batch;
        batch_begin(&loop, &batch, beats, VIEWERS);
        assert_true(loop_until(&loop, &batch.done, WAIT_MS));
        if (round == 0) {
            nap_ms(1100); /* all profiles are too old */
            lock = folder_lock_reads(&folder);
        }
    }
    int64_t begin_ms = clock_mono_ms();
    nap_ms(50);
    folder_unlock_reads(lock); /* one query of 256 goes through, with luck a second one */
    loop_stop(&loop);
    assert_true(clock_mono_ms() - begin_ms < 10000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_writes_are_away),
        TEST(test_questions_while_writes_are_away),
        TEST(test_puts_do_not_starve_rows),
        TEST(test_event_does_not_come),
        TEST(test_question_while_the_event_is_loaded),
        TEST(test_journal_is_durable_before_rows),
        TEST(test_journal_full),
        TEST(test_journal_full_wants_a_pass),
        TEST(test_put_while_the_journal_is_full),
        TEST(test_stop_while_writes_are_away),
        TEST(test_stop_waits_for_the_store),
        TEST(test_stop_while_look_ups_are_out),
    };
    return tap_run(tests);
}
