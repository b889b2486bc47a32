/* test_engine.c -- what engine_place says: needs, bounds, batches; and what the store is told. */
#include "tap.h"

#include "core/engine.h"

#define START_MS 1637661600000

static struct engine_config cfg;
static struct engine *engine;

static int setup(void **state)
{
    (void)state;
    cfg = (struct engine_config){
        .windows = {65000, 125000, 35000, 150000, 300000},
        .profile_ttl_ms = 600000,
        .event_idle_ms = 600000,
        .events_max = 2,
        .sessions_max = 2,
        .viewers_max = 3,
        .backlog_max = 2,
        .hash_key = {5, 6},
    };
    engine = engine_new(&cfg);
    engine_begin(engine, 1, START_MS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_check(engine);
    engine_free(engine);
    return 0;
}

static struct heartbeat beat_of(const char *viewer, const char *session, const char *packed)
{
    return (struct heartbeat){.event = SLICE_LIT("E"),
                              .session = slice_str(session),
                              .viewer = slice_str(viewer),
                              .groups = slice_str(packed),
                              .flags = packed != NULL ? HEARTBEAT_GROUPS : 0};
}

static enum place_outcome beat(const char *viewer, const char *session, const char *packed)
{
    struct heartbeat heartbeat = beat_of(viewer, session, packed);
    return engine_heartbeat(engine, &heartbeat);
}

static void add_event(void)
{
    assert_true(engine_add_event(engine, SLICE_LIT("E")));
}

static void place_all(const struct heartbeat *heartbeats, struct place *places, size_t count)
{
    const struct heartbeat *pointers[16];
    for (size_t i = 0; i < count; i++) {
        pointers[i] = &heartbeats[i];
    }
    engine_place(engine, pointers, places, count);
}

static void test_needs(void **state)
{
    (void)state;
    assert_int_equal(beat("v", NULL, ""), PLACE_NEED_EVENT);
    add_event();
    assert_int_equal(beat("v", NULL, NULL), PLACE_NEED_PROFILE);
    assert_int_equal(beat("v", NULL, "\1a"), PLACE_READY);
    /* The groups came with a token: a heartbeat without them asks for the profile. */
    assert_int_equal(beat("v", NULL, NULL), PLACE_NEED_PROFILE);
    struct heartbeat heartbeat = beat_of("v", NULL, "\1b");
    heartbeat.flags |= HEARTBEAT_PROFILE;
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    assert_int_equal(beat("v", NULL, NULL), PLACE_READY);
}

static void test_refresh(void **state)
{
    (void)state;
    add_event();
    struct heartbeat heartbeat = beat_of("v", NULL, "");
    heartbeat.flags |= HEARTBEAT_PROFILE;
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    heartbeat.flags = 0;
    struct place place;
    engine_begin(engine, 2, START_MS + cfg.profile_ttl_ms);
    place_all(&heartbeat, &place, 1);
    assert_false(place.refresh);
    engine_begin(engine, 2, START_MS + cfg.profile_ttl_ms + 1000);
    place_all(&heartbeat, &place, 1);
    assert_true(place.outcome == PLACE_READY && place.refresh);
    engine_profile_asked(engine, &place, START_MS + cfg.profile_ttl_ms + 60000);
    place_all(&heartbeat, &place, 1);
    assert_false(place.refresh);
    engine_profile(engine, SLICE_LIT("E"), SLICE_LIT("v"), SLICE_LIT("\1b"));
    engine_begin(engine, 2, START_MS + cfg.profile_ttl_ms + 61000);
    place_all(&heartbeat, &place, 1);
    assert_false(place.refresh);
}

/* A leave needs nothing and makes nothing. */
static void test_leave_needs_no_profile(void **state)
{
    (void)state;
    add_event();
    struct heartbeat heartbeat = beat_of("nobody", "S", NULL);
    heartbeat.flags = HEARTBEAT_LEAVING;
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_int_equal(sizes.viewers, 0);
    assert_int_equal(sizes.audiences, 1);
}

static void test_events_max(void **state)
{
    (void)state;
    add_event();
    assert_true(engine_add_event(engine, SLICE_LIT("F")));
    assert_false(engine_add_event(engine, SLICE_LIT("G")));
    assert_int_equal(engine_events_count(engine), 2);
    assert_false(engine_has_event(engine, SLICE_LIT("G")));
}

static void test_viewers_max(void **state)
{
    (void)state;
    add_event();
    struct heartbeat heartbeats[5];
    struct place places[5];
    const char *viewers[5] = {"a", "b", "c", "d", "e"};
    for (int i = 0; i < 5; i++) {
        heartbeats[i] = beat_of(viewers[i], NULL, "");
    }
    place_all(heartbeats, places, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(places[i].outcome, i < 3 ? PLACE_READY : PLACE_VIEWERS_FULL);
        if (i < 3) {
            engine_apply(engine, &heartbeats[i], &places[i]);
        }
    }
    assert_int_equal(beat("d", NULL, ""), PLACE_VIEWERS_FULL);
    assert_int_equal(beat("a", NULL, ""), PLACE_READY);
    place_all(heartbeats, places, 5);
    engine_place_again(places, 5); /* it was journaled, so it was ready once */
    assert_int_equal(places[4].outcome, PLACE_READY);
    engine_apply(engine, &heartbeats[4], &places[4]);
}

/* The first wave of a session comes in one batch: it takes one place, not one a viewer. */
static void test_sessions_max(void **state)
{
    (void)state;
    add_event();
    struct heartbeat heartbeats[6];
    struct place places[6];
    const char *sessions[6] = {"S", "S", "S", "T", "T", "U"};
    const char *viewers[6] = {"a", "b", "c", "a", "b", "c"};
    for (int i = 0; i < 6; i++) {
        heartbeats[i] = beat_of(viewers[i], sessions[i], "");
    }
    heartbeats[3].flags |= HEARTBEAT_LEAVING; /* makes no session */
    cfg.viewers_max = 100;
    engine_free(engine);
    engine = engine_new(&cfg);
    engine_begin(engine, 1, START_MS);
    add_event();
    place_all(heartbeats, places, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(places[i].outcome, i < 5 ? PLACE_READY : PLACE_SESSIONS_FULL);
        if (i < 5) {
            engine_apply(engine, &heartbeats[i], &places[i]);
        }
    }
    assert_int_equal(beat("c", "U", ""), PLACE_SESSIONS_FULL);
    assert_int_equal(beat("c", "T", ""), PLACE_READY);
}

static struct heartbeat beat_at(const char *event, const char *viewer, const char *session)
{
    struct heartbeat heartbeat = beat_of(viewer, session, "");
    heartbeat.event = slice_str(event);
    return heartbeat;
}

static void with_bounds(uint32_t all_viewers_max, uint32_t all_audiences_max)
{
    cfg.viewers_max = cfg.sessions_max = 100;
    cfg.all_viewers_max = all_viewers_max;
    cfg.all_audiences_max = all_audiences_max;
    engine_set_bounds(engine, &cfg);
}

/* All events together, and all heartbeats of one batch: exact. */
static void test_all_viewers_max(void **state)
{
    (void)state;
    with_bounds(4, 0);
    add_event();
    assert_true(engine_add_event(engine, SLICE_LIT("F")));
    struct heartbeat heartbeats[6] = {beat_at("E", "a", NULL), beat_at("F", "a", NULL),
                                      beat_at("E", "b", "S"),  beat_at("F", "b", NULL),
                                      beat_at("E", "c", NULL), beat_at("F", "c", NULL)};
    struct place places[6];
    place_all(heartbeats, places, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(places[i].outcome, i < 4 ? PLACE_READY : PLACE_VIEWERS_FULL);
        if (i < 4) {
            engine_apply(engine, &heartbeats[i], &places[i]);
        }
    }
    place_all(heartbeats, places, 6);
    for (int i = 0; i < 6; i++) { /* who is there goes on */
        assert_int_equal(places[i].outcome, i < 4 ? PLACE_READY : PLACE_VIEWERS_FULL);
    }
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_true(sizes.viewers == 4 && sizes.members == 5 && sizes.audiences == 3);
    with_bounds(5, 0);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[4]), PLACE_READY);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[5]), PLACE_VIEWERS_FULL);
    engine_purge(engine, SLICE_LIT("E"), false); /* makes room at once */
    engine_check(engine);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[5]), PLACE_READY);
    with_bounds(0, 0);
    struct heartbeat more = beat_at("F", "d", NULL);
    assert_int_equal(engine_heartbeat(engine, &more), PLACE_READY);
}

static void test_all_audiences_max(void **state)
{
    (void)state;
    with_bounds(0, 4);
    add_event();
    assert_true(engine_add_event(engine, SLICE_LIT("F")));
    struct heartbeat heartbeats[6] = {beat_at("E", "a", "S"), beat_at("F", "a", "S"),
                                      beat_at("E", "b", "S"), beat_at("F", "b", "T"),
                                      beat_at("E", "c", "T"), beat_at("F", "c", NULL)};
    struct place places[6];
    place_all(heartbeats, places, 6);
    for (int i = 0; i < 6; i++) {
        bool full = i == 3 || i == 4;
        assert_int_equal(places[i].outcome, full ? PLACE_SESSIONS_FULL : PLACE_READY);
        if (!full) {
            engine_apply(engine, &heartbeats[i], &places[i]);
        }
    }
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_int_equal(sizes.audiences, 4);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[3]), PLACE_SESSIONS_FULL);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[0]), PLACE_READY);
    with_bounds(0, 5);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[3]), PLACE_READY);
    assert_int_equal(engine_heartbeat(engine, &heartbeats[4]), PLACE_SESSIONS_FULL);
}

static void test_backlog(void **state)
{
    (void)state;
    add_event();
    assert_int_equal(beat("v", NULL, ""), PLACE_READY);
    engine_begin(engine, 2, START_MS + 400000);
    assert_int_equal(beat("v", NULL, ""), PLACE_READY); /* a viewing and a frame are over */
    assert_int_equal(beat("v", NULL, ""), PLACE_BACKLOG);
    struct heartbeat leave = beat_of("v", NULL, NULL);
    leave.flags = HEARTBEAT_LEAVING;
    assert_int_equal(engine_heartbeat(engine, &leave), PLACE_READY);
    struct changes changes;
    changes_init(&changes);
    engine_collect_begin(engine, false);
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(changes.viewings_count, 1);
    assert_int_equal(changes.frames_count, 1);
    engine_committed(engine, &changes);
    changes_fini(&changes);
    assert_int_equal(beat("v", NULL, ""), PLACE_READY);
}

/* "The same groups": only if nothing before it in the batch makes them others. */
static void test_same_groups(void **state)
{
    (void)state;
    add_event();
    struct heartbeat heartbeats[3] = {beat_of("v", NULL, "\1a"), beat_of("v", NULL, "\1b"),
                                      beat_of("v", NULL, "\1a")};
    struct place places[3];
    place_all(heartbeats, places, 1);
    assert_false(places[0].same_groups); /* not known yet */
    engine_apply(engine, &heartbeats[0], &places[0]);
    place_all(heartbeats, places, 1);
    assert_true(places[0].same_groups);
    place_all(heartbeats, places, 3);
    assert_true(places[0].same_groups);
    assert_false(places[1].same_groups);
    assert_false(places[2].same_groups); /* b was applied before it */
}

/* A row of a viewer shows the groups as of what the store covers, until that moves. */
static void test_groups_as_covered(void **state)
{
    (void)state;
    add_event();
    struct changes changes;
    changes_init(&changes);
    assert_int_equal(beat("v", NULL, "\1a"), PLACE_READY);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(changes.members[0].groups, 1);
    assert_int_equal(changes.covered_seq, 1);
    engine_begin(engine, 2, START_MS + 1);
    assert_int_equal(beat("v", NULL, "\1b"), PLACE_READY);
    engine_begin(engine, 3, START_MS + 200000);
    assert_int_equal(beat("v", NULL, "\1c"), PLACE_READY);
    engine_collect_begin(engine, false);
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(changes.members[0].groups, 1);
    assert_int_equal(changes.members[0].lease_groups, 3);
    assert_int_equal(changes.covered_seq, 0);
    assert_false(engine_collect(engine, &changes, 10));
    engine_collect_begin(engine, true);
    assert_int_equal(beat("v", NULL, "\1d"), PLACE_READY); /* while the pass is under way */
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(changes.covered_seq, 3);
    assert_int_equal(changes.members[changes.members_count - 1].groups, 3);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(changes.members[changes.members_count - 1].groups, 4);
    changes_fini(&changes);
}

/* The event's row goes ahead for a session's new groups: its finished frames go with it. */
static void test_frames_go_with_their_row(void **state)
{
    (void)state;
    add_event();
    struct changes changes;
    changes_init(&changes);
    assert_int_equal(beat("v", "S", ""), PLACE_READY);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 10));
    assert_int_equal(beat("v", "S", ""), PLACE_READY);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1)); /* the event's part */
    assert_int_equal(changes.changes_count, 1);
    engine_begin(engine, 2, START_MS + 310000);
    assert_int_equal(beat("w", "S", "\1a"), PLACE_READY);
    assert_true(engine_collect(engine, &changes, 1)); /* the session's, and first the event's row */
    assert_int_equal(changes.changes_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct change *change = &changes.changes[i];
        assert_int_equal(change->audience.session.len, i);
        assert_int_equal(change->audience.frame_start_ms, START_MS + 300000);
        assert_int_equal(change->frames_count, 1);
        assert_int_equal(changes.frames[change->frames_first].start_ms, START_MS);
    }
    changes_fini(&changes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_needs),
        CASE(test_refresh),
        CASE(test_leave_needs_no_profile),
        CASE(test_events_max),
        CASE(test_viewers_max),
        CASE(test_sessions_max),
        CASE(test_all_viewers_max),
        CASE(test_all_audiences_max),
        CASE(test_backlog),
        CASE(test_same_groups),
        CASE(test_groups_as_covered),
        CASE(test_frames_go_with_their_row),
    };
    return tap_run(tests);
}
