/* test_work.c -- work with a link of the record store (LIVE_READ, LIVE_WRITE): where it runs, in
 * which order, what its outcome becomes, what a full queue says. */
#include "common.h"

#include <stdatomic.h>

static atomic_int runs;

static enum err give_arg(struct records_link *link, struct live_query *query)
{
    assert_non_null(link);
    atomic_fetch_add(&runs, 1);
    return *(const enum err *)query->arg;
}

static enum live_status work(struct loop *loop, enum live_query_kind kind, live_work_fn *fn,
                             void *arg)
{
    struct question question;
    question_init(&question, kind, "e");
    question.query.work = fn;
    question.query.arg = arg;
    enum live_status status = ask(loop, &question);
    live_query_fini(&question.query);
    return status;
}

static void test_outcomes(void **state)
{
    (void)state;
    static const struct {
        enum err err;
        enum live_status status;
    } cases[] = {{ERR_NONE, LIVE_OK},
                 {ERR_NOT_FOUND, LIVE_NOT_FOUND},
                 {ERR_INVALID, LIVE_REFUSED},
                 {ERR_DATABASE, LIVE_RECORDS_AWAY},
                 {ERR_IO, LIVE_RECORDS_AWAY}};
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum err err = cases[i].err;
        assert_int_equal(work(&loop, LIVE_READ, give_arg, &err), cases[i].status);
        assert_int_equal(work(&loop, LIVE_WRITE, give_arg, &err), cases[i].status);
    }
    assert_int_equal(atomic_load(&runs), 10); /* once each */
    loop_stop(&loop);
}

/* ---- order ---- */

static char order[32];

static enum err note_order(struct records_link *link, struct live_query *query)
{
    (void)link;
    strncat(order, query->arg, 1); /* one thread writes */
    return ERR_NONE;
}

static enum err put_as(struct records_link *link, struct live_query *query)
{
    struct profile profile = {
        .event = query->event, .viewer = SLICE_LIT("v"), .name = slice_str(query->arg)};
    strncat(order, query->arg, 1);
    return records_profiles_put(link, &profile, 1);
}

/* What is asked for first is written first, whatever it is. */
static void test_writes_keep_their_order(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    static struct question questions[5];
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) {
        bool put = i == 2;
        question_init(&questions[i], put ? LIVE_PROFILE_PUT : LIVE_WRITE, "e");
        questions[i].query.viewer = SLICE_LIT("v");
        questions[i].query.name = slice_str(names[i]);
        questions[i].query.work = i == 1 || i == 3 ? put_as : note_order;
        questions[i].query.arg = (void *)(uintptr_t)names[i];
        question_begin(&loop, &questions[i]);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
        assert_int_equal(questions[i].query.status, LIVE_OK);
    }
    assert_string_equal(order, "abde");
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM profile WHERE name = 'd'"), 1);
    loop_stop(&loop);
}

/* ---- bulk import ---- */

static enum err import(struct records_link *link, struct live_query *query)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct profile profiles[] = {
        {.event = query->event, .viewer = SLICE_LIT("v"), .groups = pack("staff", packed)},
        {.event = query->event, .viewer = SLICE_LIT("w"), .groups = profiles[0].groups},
    };
    query->profiles_changed = true;
    return records_profiles_put(link, profiles, 2);
}

/* Imported profiles are in force with the next heartbeats, though profile_ttl is 10 minutes; no
 * heartbeat waits for them. */
static void test_import_is_in_force(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "other", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
    uint64_t looked_up = loop_counters(&loop).profiles_loaded;
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(loop_counters(&loop).profiles_loaded, looked_up); /* cached */
    assert_int_equal(work(&loop, LIVE_WRITE, import, NULL), LIVE_OK);
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    do {
        assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
        assert_true(clock_mono_ms() < until_ms);
    } while (alive_in(&loop, "e", true, "staff") == 0);
    assert_int_equal(beat(&loop, "other", NULL, "v"), LIVE_OK);
    assert_int_equal(loop_counters(&loop).profiles_loaded, looked_up + 1); /* only that event's */
    assert_int_equal(beat(&loop, "e", NULL, "w"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 2);
    loop_stop(&loop);
}

/* ---- bounds ---- */

static atomic_bool gate_open;
static atomic_int at_gate;

static enum err wait_at_gate(struct records_link *link, struct live_query *query)
{
    (void)link, (void)query;
    atomic_fetch_add(&at_gate, 1);
    while (!atomic_load(&gate_open)) {
        nap_ms(1);
    }
    return ERR_NONE;
}

/* Work that does not end: what fits waits, the rest is told to come again, heartbeats go on. */
static void test_full_queues(void **state)
{
    (void)state;
    enum { MORE = 4096 + 8 };
    struct live_options options = options_for(&folder);
    options.requests_max = 3 * MORE;
    static const enum live_query_kind kinds[] = {LIVE_READ, LIVE_WRITE};
    for (int k = 0; k < 2; k++) {
        int busy = 0, well = 0, away = 0;
        int threads = kinds[k] == LIVE_READ ? 3 : 1;
        struct loop loop;
        loop_start(&loop, &options);
        atomic_store(&gate_open, false);
        atomic_store(&at_gate, 0);
        struct question *questions = calloc(MORE, sizeof *questions);
        assert_non_null(questions);
        for (int i = 0; i < MORE; i++) {
            question_init(&questions[i], kinds[k], "e");
            questions[i].query.work = wait_at_gate;
            question_begin(&loop, &questions[i]);
            if (i + 1 == threads) {
                WAIT_FOR(atomic_load(&at_gate) == threads);
            }
        }
        assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
        atomic_store(&gate_open, true);
        for (int i = 0; i < MORE; i++) {
            assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
            busy += questions[i].query.status == LIVE_BUSY;
            well += questions[i].query.status == LIVE_OK;
            away += questions[i].query.status == LIVE_RECORDS_AWAY;
        }
        assert_int_equal(busy, MORE - 4096 - threads);
        assert_int_equal(well + away, 4096 + threads);
        assert_true(well >= threads);
        free(questions);
        loop_stop(&loop);
    }
}

/* However many scans are asked for, short questions are answered meanwhile; and all scans in the
 * end, at most two at a time. */
static atomic_int most_at_once, scans_now;

static enum err scan(struct records_link *link, struct live_query *query)
{
    int now = atomic_fetch_add(&scans_now, 1) + 1, most = atomic_load(&most_at_once);
    while (now > most && !atomic_compare_exchange_weak(&most_at_once, &most, now)) {
    }
    enum err err = wait_at_gate(link, query);
    atomic_fetch_sub(&scans_now, 1);
    return err;
}

static void test_long_reads_leave_a_reader(void **state)
{
    (void)state;
    enum { SCANS = 8 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    atomic_store(&gate_open, false);
    atomic_store(&at_gate, 0);
    static struct question scans[SCANS];
    for (int i = 0; i < SCANS; i++) {
        question_init(&scans[i], LIVE_READ, "e");
        scans[i].query.work = scan;
        scans[i].query.long_read = true;
        question_begin(&loop, &scans[i]);
    }
    WAIT_FOR(atomic_load(&at_gate) == 2);
    for (int i = 0; i < 20; i++) {
        struct question short_one;
        question_init(&short_one, LIVE_VIEWER, "e");
        short_one.query.viewer = SLICE_LIT("v");
        question_begin(&loop, &short_one);
        assert_true(loop_until(&loop, &short_one.done, WAIT_MS));
        assert_int_equal(short_one.query.status, LIVE_OK);
        live_query_fini(&short_one.query);
    }
    assert_int_equal(atomic_load(&at_gate), 2);
    atomic_store(&gate_open, true);
    for (int i = 0; i < SCANS; i++) {
        assert_true(loop_until(&loop, &scans[i].done, WAIT_MS));
        assert_int_equal(scans[i].query.status, LIVE_OK);
    }
    assert_int_equal(atomic_load(&most_at_once), 2);
    loop_stop(&loop);
}

/* Writing without a pause: parts get their turn after each one. */
static enum err take_a_while(struct records_link *link, struct live_query *query)
{
    (void)link, (void)query;
    nap_ms(5);
    return ERR_NONE;
}

static void test_writes_do_not_starve_rows(void **state)
{
    (void)state;
    enum { WRITES = 40 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    static struct question questions[WRITES];
    for (int i = 0; i < WRITES; i++) {
        question_init(&questions[i], LIVE_WRITE, "e");
        questions[i].query.work = take_a_while;
        question_begin(&loop, &questions[i]);
    }
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (folder_sql(&folder, "SELECT count(*) FROM attendance") == 0) {
        assert_true(clock_mono_ms() < until_ms);
        loop_turn(&loop, 1);
        for (int i = 0; i < WRITES; i++) {
            if (questions[i].done) {
                questions[i].done = false;
                question_begin(&loop, &questions[i]);
            }
        }
    }
    for (int i = 0; i < WRITES; i++) {
        assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
    }
    loop_stop(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_outcomes),
        TEST(test_writes_keep_their_order),
        TEST(test_import_is_in_force),
        TEST(test_full_queues),
        TEST(test_long_reads_leave_a_reader),
        TEST(test_writes_do_not_starve_rows),
    };
    return tap_run(tests);
}
