/* test_audience.c -- the edges of DESIGN, semantics 1 to 5, to the ms. */
#include "tap.h"

#include "core/engine.h"

#define ALIVE_MS   65000
#define HIDDEN_MS  125000
#define LEAVING_MS 35000
#define GAP_MS     150000
#define FRAME_MS   300000
#define START_MS   1637661600000 /* the start of a frame */

static struct engine *engine;
static uint64_t seq;

static int setup(void **state)
{
    (void)state;
    struct engine_config cfg = {
        .windows = {ALIVE_MS, HIDDEN_MS, LEAVING_MS, GAP_MS, FRAME_MS},
        .profile_ttl_ms = 600000,
        .event_idle_ms = 600000,
        .events_max = 10,
        .sessions_max = 10,
        .viewers_max = 1000,
        .backlog_max = 1000,
        .hash_key = {3, 4},
    };
    assert_int_equal(START_MS % FRAME_MS, 0);
    engine = engine_new(&cfg);
    seq = 0;
    engine_begin(engine, seq, START_MS);
    assert_true(engine_add_event(engine, SLICE_LIT("E")));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_check(engine);
    engine_free(engine);
    return 0;
}

static void beat(int64_t at_ms, const char *viewer, uint8_t flags)
{
    struct heartbeat heartbeat = {.event = SLICE_LIT("E"),
                                  .session = SLICE_LIT("S"),
                                  .viewer = slice_str(viewer),
                                  .flags = flags | HEARTBEAT_GROUPS};
    engine_begin(engine, ++seq, START_MS + at_ms);
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    engine_check(engine);
}

static struct figures figures_at(int64_t at_ms)
{
    struct figures own, session;
    engine_begin(engine, seq, START_MS + at_ms);
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_EMPTY, &own), FIGURES_OK);
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &session), FIGURES_OK);
    assert_int_equal(own.active, session.active);
    assert_int_equal(own.logins, session.logins);
    assert_int_equal(own.total_ms, session.total_ms);
    return own;
}

static void test_expiry(void **state)
{
    (void)state;
    beat(7, "v", 0);
    assert_int_equal(figures_at(7 + ALIVE_MS).active, 1);
    assert_int_equal(figures_at(7 + ALIVE_MS + 1).active, 0);
    beat(100000, "v", HEARTBEAT_HIDDEN);
    assert_int_equal(figures_at(100000 + HIDDEN_MS).active, 1);
    assert_int_equal(figures_at(100000 + HIDDEN_MS + 1).active, 0);
}

/* The latest heartbeat decides, also when that is sooner. */
static void test_visible_after_hidden(void **state)
{
    (void)state;
    beat(0, "v", HEARTBEAT_HIDDEN);
    beat(1, "v", 0);
    assert_int_equal(figures_at(1 + ALIVE_MS).active, 1);
    assert_int_equal(figures_at(1 + ALIVE_MS + 1).active, 0);
}

static void test_leaving(void **state)
{
    (void)state;
    beat(0, "v", 0);
    beat(10000, "v", HEARTBEAT_LEAVING); /* shortens */
    assert_int_equal(figures_at(10000 + LEAVING_MS).active, 1);
    assert_int_equal(figures_at(10000 + LEAVING_MS + 1).active, 0);
    assert_int_equal(figures_at(10000 + LEAVING_MS + 1).total_ms, 10000);
    beat(50000, "v", 0); /* a second tab */
    assert_int_equal(figures_at(50000).active, 1);
    assert_int_equal(figures_at(50000).logins, 1);
    beat(50000 + 40000, "v", HEARTBEAT_LEAVING); /* 25 s are left: not lengthened */
    assert_int_equal(figures_at(50000 + ALIVE_MS).active, 1);
    assert_int_equal(figures_at(50000 + ALIVE_MS + 1).active, 0);
    assert_int_equal(figures_at(50000 + ALIVE_MS + 1).total_ms, 90000);
    beat(300000, "v", HEARTBEAT_LEAVING); /* long gone: 210 s after the end */
    struct figures figures = figures_at(300000);
    assert_int_equal(figures.total_ms, 90000);
    assert_int_equal(figures.active, 0);
    assert_int_equal(figures.attended, 1);
}

/* By one ms, and by none. */
static void test_leaving_shortens_little(void **state)
{
    (void)state;
    beat(0, "v", 0);
    beat(0, "w", 0);
    beat(ALIVE_MS - LEAVING_MS - 1, "v", HEARTBEAT_LEAVING);
    beat(ALIVE_MS - LEAVING_MS, "w", HEARTBEAT_LEAVING);
    assert_int_equal(figures_at(ALIVE_MS - 1).active, 2);
    assert_int_equal(figures_at(ALIVE_MS).active, 1);
    assert_int_equal(figures_at(ALIVE_MS + 1).active, 0);
}

static void test_leaving_of_nobody(void **state)
{
    (void)state;
    beat(0, "v", HEARTBEAT_LEAVING);
    struct figures figures = figures_at(0);
    assert_int_equal(figures.attended + figures.active + figures.logins + figures.peak_count, 0);
    /* Known in the event, never seen in the session. */
    struct heartbeat heartbeat = {
        .event = SLICE_LIT("E"), .viewer = SLICE_LIT("v"), .flags = HEARTBEAT_GROUPS};
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    heartbeat.session = SLICE_LIT("S");
    heartbeat.flags = HEARTBEAT_LEAVING;
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &figures), FIGURES_OK);
    assert_int_equal(figures.attended, 0);
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_int_equal(sizes.audiences, 1);
}

/* Who only leaves, for ever: the lease stays over, in memory and in its row. */
static void test_leaving_for_months(void **state)
{
    (void)state;
    struct engine_windows windows = {ALIVE_MS, HIDDEN_MS, LEAVING_MS, 86400000, FRAME_MS};
    engine_set_windows(engine, &windows);
    beat(0, "v", 0);
    for (int64_t day = 1; day < 60; day++) {
        beat(day * 86400000, "v", HEARTBEAT_LEAVING);
        assert_int_equal(figures_at(day * 86400000).active, 0);
    }
    assert_int_equal(figures_at(59ll * 86400000).total_ms, 59ll * 86400000);
    struct changes changes;
    changes_init(&changes);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 100));
    assert_int_equal(changes.members_count, 2);
    assert_true(changes.members[0].expiry_ms < changes.members[0].end_ms);
    changes_fini(&changes);
}

static void test_gap(void **state)
{
    (void)state;
    beat(0, "v", 0);
    beat(GAP_MS, "v", 0);
    assert_int_equal(figures_at(GAP_MS).logins, 1);
    assert_int_equal(figures_at(GAP_MS).total_ms, GAP_MS);
    beat(2 * GAP_MS + 1, "v", 0);
    struct figures figures = figures_at(2 * GAP_MS + 1);
    assert_int_equal(figures.logins, 2);
    assert_int_equal(figures.total_ms, GAP_MS);
    assert_int_equal(figures.attended, 1);
}

/* A leave at the gap moves the end; one ms later it does not. */
static void test_gap_of_a_leave(void **state)
{
    (void)state;
    beat(0, "v", 0);
    beat(0, "w", 0);
    beat(GAP_MS, "v", HEARTBEAT_LEAVING);
    beat(GAP_MS + 1, "w", HEARTBEAT_LEAVING);
    assert_int_equal(figures_at(GAP_MS + 1).total_ms, GAP_MS);
}

static void first_frame(void *ctx, const struct frame_row *frame)
{
    struct frame_row *frames = ctx;
    frames[frames[0].start_ms == 0 ? 0 : 1] = *frame;
}

static void test_frame_boundary(void **state)
{
    (void)state;
    beat(0, "v", 0);
    beat(FRAME_MS - 1, "v", 0); /* counts once */
    beat(FRAME_MS - 1, "w", HEARTBEAT_LEAVING);
    beat(FRAME_MS, "v", 0); /* the next one */
    engine_begin(engine, seq, START_MS + 2 * FRAME_MS - 1);
    struct frame_row frames[2] = {0};
    assert_int_equal(engine_frames(engine, SLICE_LIT("E"), SLICE_LIT("S"), first_frame, frames),
                     FIGURES_OK);
    assert_int_equal(frames[1].viewers, 0); /* not over yet */
    assert_int_equal(frames[0].start_ms, START_MS);
    assert_int_equal(frames[0].end_ms, START_MS + FRAME_MS);
    assert_int_equal(frames[0].viewers, 1);
    engine_begin(engine, seq, START_MS + 2 * FRAME_MS);
    memset(frames, 0, sizeof frames);
    assert_int_equal(engine_frames(engine, SLICE_LIT("E"), SLICE_LIT("S"), first_frame, frames),
                     FIGURES_OK);
    assert_int_equal(frames[1].start_ms, START_MS + FRAME_MS);
    assert_int_equal(frames[1].viewers, 1);
}

/* From 5 to 10 minutes at minute 7: [0, 5), [5, 10), [10, 20).  Nothing overlaps, nobody is lost.
 */
static void test_frame_length_changes(void **state)
{
    (void)state;
    beat(60000, "v", 0);
    beat(360000, "v", 0);
    struct engine_windows windows = {ALIVE_MS, HIDDEN_MS, LEAVING_MS, GAP_MS, 2 * FRAME_MS};
    engine_begin(engine, ++seq, START_MS + 420000);
    engine_set_windows(engine, &windows);
    beat(430000, "v", 0); /* still in [5, 10) */
    beat(430000, "w", 0);
    beat(610000, "v", 0);
    struct frame_row frames[2] = {0};
    assert_int_equal(engine_frames(engine, SLICE_LIT("E"), SLICE_EMPTY, first_frame, frames),
                     FIGURES_OK);
    assert_int_equal(frames[0].viewers, 1);
    assert_int_equal(frames[1].start_ms, START_MS + FRAME_MS);
    assert_int_equal(frames[1].end_ms, START_MS + 2 * FRAME_MS);
    assert_int_equal(frames[1].viewers, 2);
}

static void test_peak(void **state)
{
    (void)state;
    beat(0, "a", 0);
    beat(1, "b", 0);
    beat(2, "b", 0); /* not more: the time stays */
    struct figures figures = figures_at(2);
    assert_int_equal(figures.peak_count, 2);
    assert_int_equal(figures.peak_ms, START_MS + 1);
    beat(ALIVE_MS + 1, "c", 0); /* a went 1 ms before: still two */
    assert_int_equal(figures_at(ALIVE_MS + 1).active, 2);
    assert_int_equal(figures_at(ALIVE_MS + 1).peak_ms, START_MS + 1);
    beat(ALIVE_MS + 1, "d", 0);
    assert_int_equal(figures_at(ALIVE_MS + 1).peak_count, 3);
    assert_int_equal(figures_at(ALIVE_MS + 1).peak_ms, START_MS + ALIVE_MS + 1);
}

#define EDGE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDGE(test_expiry),
        EDGE(test_visible_after_hidden),
        EDGE(test_leaving),
        EDGE(test_leaving_shortens_little),
        EDGE(test_leaving_of_nobody),
        EDGE(test_leaving_for_months),
        EDGE(test_gap),
        EDGE(test_gap_of_a_leave),
        EDGE(test_frame_boundary),
        EDGE(test_frame_length_changes),
        EDGE(test_peak),
    };
    return tap_run(tests);
}
