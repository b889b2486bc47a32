/* test_profiles.c -- heartbeats and the profiles of their viewers: waiting, order, time-outs,
 * refreshes, puts. */
#include "common.h"

static void test_groups_come_from_the_profile(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "staff,vip"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "w"), LIVE_OK); /* has none: no groups */
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(alive_in(&loop, "e", true, "vip"), 1);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "w"), LIVE_OK);
    assert_int_equal(loop_counters(&loop).profiles_loaded, 2); /* each once; both are cached */
    /* Groups that come with the heartbeat spare the look-up. */
    assert_int_equal(beat_in(&loop, "e", "x", "token"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "token"), 1);
    assert_int_equal(loop_counters(&loop).profiles_loaded, 2);
    loop_stop(&loop);
    loop_start(&loop, &options); /* and all of it survives */
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    loop_stop(&loop);
}

/* On a server where nothing else happens: the refusal must wake its port by itself. */
static void test_unknown_viewers_are_refused(void **state)
{
    (void)state;
    const enum live_durability all[] = {LIVE_SYNC, LIVE_OS};
    for (int i = 0; i < 2; i++) {
        struct live_options options = options_for(&folder);
        options.reject_unknown_viewers = true;
        options.durability = all[i];
        struct loop loop;
        loop_start(&loop, &options);
        assert_int_equal(put_profile(&loop, "e", "v", "V", "staff"), LIVE_OK);
        assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
        struct call call;
        call_begin(&loop, &call, heartbeat_of("e", "s", "nobody"));
        assert_true(loop_until(&loop, &call.done, 5000));
        assert_int_equal(call.beat.status, LIVE_UNKNOWN_VIEWER);
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
        assert_int_equal(loop_counters(&loop).heartbeats_refused, 1);
        /* Whoever says the groups is known to those who sent it. */
        assert_int_equal(beat_in(&loop, "e", "ingested", "staff"), LIVE_OK);
        loop_stop(&loop);
        folder_remove(&folder);
        folder_make(&folder);
    }
}

/* The loader comes too late: counted without groups, and later with them. */
static void test_time_out(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.profile_timeout_ms = 500;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "staff"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "other"), LIVE_OK); /* the event is in memory */
    WAIT_FOR(loop_all_stored(&loop) || loop_counters(&loop).commits > 0);
    int lock = folder_lock_reads(&folder);
    struct call calls[3];
    int64_t begin_ms = clock_mono_ms();
    call_begin(&loop, &calls[0], heartbeat_of("e", NULL, "v"));
    call_begin(&loop, &calls[1], heartbeat_of("e", NULL, "v"));
    assert_int_equal(call_end(&loop, &calls[0]), LIVE_OK);
    assert_int_equal(call_end(&loop, &calls[1]), LIVE_OK);
    assert_true(clock_mono_ms() - begin_ms >= 490);
    assert_int_equal(loop_counters(&loop).profiles_late, 2);
    /* The next one does not wait again for the same answer. */
    begin_ms = clock_mono_ms();
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_true(clock_mono_ms() - begin_ms < 450);
    assert_int_equal(loop_counters(&loop).profiles_late, 3);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
    folder_unlock_reads(lock);
    WAIT_FOR(loop_counters(&loop).profiles_loaded == 2);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(loop_counters(&loop).profiles_late, 3);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 2);
    loop_stop(&loop);
}

/* More viewers wait than the table holds: the others count at once, without groups. */
static void test_more_wait_than_may(void **state)
{
    (void)state;
    enum { COUNT = 65536 + 100 };
    struct live_options options = options_for(&folder);
    options.profile_timeout_ms = 2000;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "other"), LIVE_OK);
    struct live_beat *beats = calloc(COUNT, sizeof *beats);
    char(*names)[16] = calloc(COUNT, sizeof *names);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "v%d", i);
        beats[i].heartbeat = heartbeat_of("e", NULL, names[i]);
    }
    int lock = folder_lock_reads(&folder);
    struct batch batch;
    batch_begin(&loop, &batch, beats, COUNT);
    assert_true(loop_until(&loop, &batch.done, WAIT_MS));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(beats[i].status, LIVE_OK); /* a profile never costs the heartbeat */
    }
    assert_int_equal(figures_of(&loop, "e", NULL).attended, COUNT + 1);
    assert_int_equal(loop_counters(&loop).profiles_late, COUNT);
    assert_int_equal(loop_counters(&loop).heartbeats_unavailable, 0);
    folder_unlock_reads(lock);
    loop_stop(&loop); /* and the look-ups that are still wanted do not hold it up */
    free(beats);
    free(names);
}

/* A heartbeat that needs no look-up does not overtake one that waits. */
static void test_order_of_one_viewer(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "staff"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "other"), LIVE_OK);
    int lock = folder_lock_reads(&folder);
    struct call calls[4];
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct heartbeat heartbeats[4];
    for (int i = 0; i < 4; i++) {
        heartbeats[i] = heartbeat_of("e", NULL, i < 3 ? "v" : "w");
    }
    heartbeats[1].flags = HEARTBEAT_GROUPS;
    heartbeats[1].groups = pack("token", packed);
    heartbeats[2].flags = HEARTBEAT_LEAVING;
    heartbeats[3].flags = HEARTBEAT_GROUPS; /* another viewer's: waits for nobody */
    for (int i = 0; i < 4; i++) {
        call_begin(&loop, &calls[i], heartbeats[i]);
    }
    assert_int_equal(call_end(&loop, &calls[3]), LIVE_OK);
    assert_false(calls[0].done || calls[1].done || calls[2].done);
    folder_unlock_reads(lock);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_end(&loop, &calls[i]), LIVE_OK);
    }
    assert_int_equal(alive_in(&loop, "e", true, "token"), 1); /* the later one */
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
    loop_stop(&loop);
    /* The leave came last: its lease is the short one. */
    assert_int_equal(folder_sql(&folder,
                                "SELECT expiry_ms - end_ms FROM attendance JOIN viewer "
                                "ON viewer.viewer_no = attendance.member_no WHERE viewer = 'v'"),
                     35000);
}

/* The same where the first one is refused: what waited behind it is not. */
static void test_order_where_the_first_is_refused(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.reject_unknown_viewers = true;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "other", ""), LIVE_OK);
    int lock = folder_lock_reads(&folder);
    struct call first, second;
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct heartbeat heartbeat = heartbeat_of("e", NULL, "v");
    call_begin(&loop, &first, heartbeat);
    heartbeat.flags = HEARTBEAT_GROUPS;
    heartbeat.groups = pack("token", packed);
    call_begin(&loop, &second, heartbeat);
    nap_ms(20);
    folder_unlock_reads(lock);
    assert_int_equal(call_end(&loop, &first), LIVE_UNKNOWN_VIEWER);
    assert_int_equal(call_end(&loop, &second), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "token"), 1);
    loop_stop(&loop);
}

/* A profile that is too old is looked up again, and nobody waits for it. */
static void test_refresh(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.profile_ttl_ms = 1;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "before"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "before"), 1);
    assert_int_equal(folder_sql(&folder, "UPDATE profile SET groups = '[\"after\"]' RETURNING 1"),
                     1);
    nap_ms(1100); /* the due time is kept in seconds */
    int lock = folder_lock_reads(&folder);
    struct call call;
    call_begin(&loop, &call, heartbeat_of("e", NULL, "v"));
    assert_true(loop_until(&loop, &call.done, 2000)); /* profile_timeout is 5 s */
    assert_int_equal(call.beat.status, LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "before"), 1);
    folder_unlock_reads(lock);
    WAIT_FOR(loop_counters(&loop).profiles_loaded == 2);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "after"), 1);
    assert_int_equal(alive_in(&loop, "e", true, "before"), 0);
    assert_int_equal(loop_counters(&loop).profiles_late, 0);
    loop_stop(&loop);
}

/* What was put is in force with the next heartbeat, and stays so after a restart. */
static void test_put(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    char group[16];
    for (int i = 0; i < 30; i++) {
        (void)snprintf(group, sizeof group, "g%d", i);
        assert_int_equal(put_profile(&loop, "e", "v", "V", group), LIVE_OK);
        assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
        assert_int_equal(alive_in(&loop, "e", true, group), 1);
    }
    assert_int_equal(alive_in(&loop, "e", true, "g28"), 0);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "last"), LIVE_OK);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(alive_in(&loop, "e", true, "g29"), 1); /* of the latest heartbeat */
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "last"), 1);
    loop_stop(&loop);
}

/* Many puts at once, of viewers and events that are in memory and that are not. */
static void test_many_puts(void **state)
{
    (void)state;
    enum { PUTS = 60, ROUNDS = 5 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "in memory", "v0", ""), LIVE_OK);
    static struct question questions[PUTS];
    static char names[PUTS][16];
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct slice groups = pack("g", packed);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PUTS; i++) {
            (void)snprintf(names[i], sizeof names[i], "v%d", i);
            question_init(&questions[i], LIVE_PROFILE_PUT, i % 2 ? "not seen" : "in memory");
            questions[i].query.viewer = slice_str(names[i]);
            questions[i].query.groups = groups;
            question_begin(&loop, &questions[i]);
        }
        for (int i = 0; i < PUTS; i++) {
            assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
            assert_int_equal(questions[i].query.status, LIVE_OK);
        }
    }
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM profile"), PUTS);
    assert_int_equal(beat(&loop, "in memory", "s", "v0"), LIVE_OK);
    assert_int_equal(beat(&loop, "not seen", "s", "v1"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "in memory", true, "g"), 1);
    assert_int_equal(alive_in(&loop, "not seen", true, "g"), 1);
    loop_stop(&loop);
}

/* A heartbeat brings the very groups that its viewer had when a put of others is in the same turn:
 * it counts under its own. */
static void test_put_and_heartbeat_in_one_turn(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.sync_gather_ms = 50; /* heartbeats wait in the ring until the put comes */
    struct loop loop;
    loop_start(&loop, &options);
    char packed[GROUPS_PACKED_BYTES_MAX], other[GROUPS_PACKED_BYTES_MAX];
    struct heartbeat heartbeat = heartbeat_of("e", NULL, "v");
    heartbeat.flags = HEARTBEAT_GROUPS;
    heartbeat.groups = pack("mine", packed);
    assert_int_equal(beat_as(&loop, heartbeat), LIVE_OK);
    static struct call calls[40];
    for (int round = 0; round < 10; round++) {
        struct question question;
        question_init(&question, LIVE_PROFILE_PUT, "e");
        question.query.viewer = SLICE_LIT("v");
        question.query.groups = pack("other", other);
        question_begin(&loop, &question);
        for (int i = 0; i < 40; i++) {
            call_begin(&loop, &calls[i], heartbeat);
        }
        for (int i = 0; i < 40; i++) {
            assert_int_equal(call_end(&loop, &calls[i]), LIVE_OK);
        }
        assert_int_equal(alive_in(&loop, "e", true, "mine"), 1);
        assert_int_equal(alive_in(&loop, "e", true, "other"), 0);
        assert_true(loop_until(&loop, &question.done, WAIT_MS));
        assert_int_equal(beat_as(&loop, heartbeat), LIVE_OK);
    }
    loop_stop(&loop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_groups_come_from_the_profile),
        TEST(test_unknown_viewers_are_refused),
        TEST(test_time_out),
        TEST(test_more_wait_than_may),
        TEST(test_order_of_one_viewer),
        TEST(test_order_where_the_first_is_refused),
        TEST(test_refresh),
        TEST(test_put),
        TEST(test_many_puts),
        TEST(test_put_and_heartbeat_in_one_turn),
    };
    return tap_run(tests);
}
