/* test_erase.c -- viewers are forgotten, events are purged: what counts, what is told, and when. */
#define _GNU_SOURCE /* memmem */
#include "tap.h"

#include "core/country.h"
#include "core/engine_state.h"

#define START_MS 1637661600000
#define UUID     "0b9a6c3e-55aa-4f10-9d3c-7f1e2d3c4b5a"

static struct engine_config cfg;
static struct engine *engine;
static struct changes changes;
static uint64_t seq;

static int setup(void **state)
{
    (void)state;
    cfg = (struct engine_config){
        .windows = {65000, 125000, 35000, 150000, 300000},
        .profile_ttl_ms = 600000,
        .event_idle_ms = 600000,
        .events_max = 3,
        .sessions_max = 10,
        .viewers_max = 10,
        .backlog_max = 100,
        .hash_key = {5, 6},
    };
    engine = engine_new(&cfg);
    seq = 1;
    engine_begin(engine, seq, START_MS);
    assert_true(engine_add_event(engine, SLICE_LIT("E")));
    changes_init(&changes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_check(engine);
    engine_free(engine);
    changes_fini(&changes);
    return 0;
}

static void at(int64_t after_ms)
{
    engine_begin(engine, ++seq, START_MS + after_ms);
}

static enum place_outcome beat_in(const char *event, const char *viewer, const char *session,
                                  uint8_t flags)
{
    struct heartbeat heartbeat = {.event = slice_str(event),
                                  .session = slice_str(session),
                                  .viewer = slice_str(viewer),
                                  .groups = (flags & HEARTBEAT_LEAVING) ? SLICE_EMPTY
                                                                        : SLICE_LIT("\3vip"),
                                  .flags = flags};
    enum place_outcome outcome = engine_heartbeat(engine, &heartbeat);
    engine_check(engine);
    return outcome;
}

static enum place_outcome beat(const char *viewer, const char *session)
{
    return beat_in("E", viewer, session, HEARTBEAT_GROUPS);
}

static bool erase(const char *viewer)
{
    bool known;
    assert_int_equal(engine_erase(engine, SLICE_LIT("E"), slice_str(viewer), &known), FIGURES_OK);
    engine_check(engine);
    return known;
}

static struct figures figures_of(const char *session)
{
    struct figures figures;
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), slice_str(session), &figures),
                     FIGURES_OK);
    return figures;
}

static void assert_figures(const char *session, uint64_t active, uint64_t attended, uint64_t logins,
                           int64_t total_ms)
{
    struct figures figures = figures_of(session);
    assert_int_equal(figures.active, active);
    assert_int_equal(figures.attended, attended);
    assert_int_equal(figures.logins, logins);
    assert_int_equal(figures.total_ms, total_ms);
}

/* One whole pass in parts of any size; what the last part held stays in `changes`. */
static void pass(bool full)
{
    engine_collect_begin(engine, full);
    while (engine_collect(engine, &changes, 1000)) {
        engine_committed(engine, &changes);
        engine_check(engine);
        if (!engine_collecting(engine)) {
            return;
        }
    }
}

static void count_any(void *ctx, bool is_group, struct slice key, uint32_t count)
{
    (void)is_group, (void)key;
    *(uint32_t *)ctx += count;
}

static void no_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)ctx, (void)viewing;
    fail();
}

/* ---- viewers ---- */

static void test_counts_in_nothing(void **state)
{
    (void)state;
    beat("anna", "S");
    beat("berta", "S");
    at(30000);
    beat("anna", "S");
    beat("berta", NULL);
    assert_figures("S", 2, 2, 2, 30000);
    assert_true(erase("anna"));
    assert_false(erase("anna")); /* is being erased already */
    assert_false(erase("nobody"));
    assert_int_equal(engine_erasing(engine), 1);
    assert_figures("S", 1, 1, 1, 0);
    assert_figures(NULL, 1, 1, 1, 30000);
    assert_int_equal(figures_of("S").peak_count, 2); /* was true and names nobody */
    uint64_t active;
    uint32_t counts = 0;
    assert_int_equal(
        engine_live(engine, SLICE_LIT("E"), SLICE_LIT("S"), &active, count_any, &counts),
        FIGURES_OK);
    assert_int_equal(active, 1);
    assert_int_equal(counts, 2); /* one group, one country */
    bool attended;
    struct slice groups;
    assert_int_equal(engine_viewer(engine, SLICE_LIT("E"), SLICE_LIT("anna"), &attended, &groups,
                                   no_viewing, NULL),
                     FIGURES_OK);
    assert_true(!attended && groups.len == 0);
}

/* The frame that is being counted stays as it is, too. */
static void test_frame_stays(void **state)
{
    (void)state;
    beat("anna", NULL);
    beat("berta", NULL);
    assert_true(erase("anna"));
    at(300000);
    pass(true);
    assert_int_equal(changes.frames_count, 1);
    assert_int_equal(changes.frames[0].viewers, 2);
}

static void test_heartbeats_are_refused(void **state)
{
    (void)state;
    beat("anna", "S");
    assert_true(erase("anna"));
    assert_int_equal(beat("anna", "S"), PLACE_ERASING);
    assert_int_equal(beat("anna", "T"), PLACE_ERASING);
    assert_int_equal(beat_in("E", "anna", "S", HEARTBEAT_LEAVING), PLACE_ERASING);
    assert_int_equal(beat_in("E", "anna", "S", 0), PLACE_ERASING); /* asks for no profile */
    assert_int_equal(beat("berta", "S"), PLACE_READY);
    engine_profile(engine, SLICE_LIT("E"), SLICE_LIT("anna"), SLICE_LIT("\5staff"));
    engine_check(engine);
    pass(true);
    assert_int_equal(changes.groups_count, 1); /* the profile made no set of groups */
    assert_int_equal(beat_in("E", "anna", NULL, 0), PLACE_NEED_PROFILE);
    assert_int_equal(beat("anna", NULL), PLACE_READY);
}

/* A journal that holds what it may not hold changes nothing. */
static void test_replay_passes_over(void **state)
{
    (void)state;
    beat("anna", NULL);
    assert_true(erase("anna"));
    struct heartbeat heartbeat = {.event = SLICE_LIT("E"), .viewer = SLICE_LIT("anna")};
    const struct heartbeat *pointer = &heartbeat;
    struct place place;
    engine_place(engine, &pointer, &place, 1);
    engine_place_again(&place, 1);
    engine_apply(engine, &heartbeat, &place);
    assert_figures(NULL, 0, 0, 0, 0);
    engine_purge(engine, SLICE_LIT("E"), false);
    engine_place(engine, &pointer, &place, 1);
    engine_place_again(&place, 1);
    engine_apply(engine, &heartbeat, &place);
    assert_figures(NULL, 0, 0, 0, 0);
}

/* Viewings that wait for the store are dropped; those that are stored go with its answer. */
static void test_earlier_viewings(void **state)
{
    (void)state;
    beat("anna", NULL);
    at(60000);
    beat("anna", NULL);
    at(400000);
    beat("anna", NULL);
    beat("berta", NULL);
    pass(true);
    assert_int_equal(changes.viewings_count, 1); /* stored: 60 s */
    at(430000);
    beat("anna", NULL);
    beat("berta", NULL);
    at(800000);
    beat("anna", NULL);
    beat("berta", NULL);
    at(810000);
    beat("anna", NULL);
    assert_figures(NULL, 2, 2, 5, 60000 + 2 * 30000 + 10000);
    struct engine_sizes before, after;
    engine_sizes(engine, &before);
    assert_true(erase("anna"));
    engine_sizes(engine, &after);
    assert_int_equal(after.backlog + 1, before.backlog);
    assert_figures(NULL, 1, 1, 3, 60000 + 30000);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_int_equal(changes.viewings_count, 1); /* berta's */
    assert_int_equal(changes.viewings[0].member_no, 1);
    assert_int_equal(changes.erasures_count, 1);
    *changes_add_erased(&changes) =
        (struct erased_row){.event = SLICE_LIT("E"), .viewings = 1, .total_ms = 60000};
    *changes_add_erased(&changes) = (struct erased_row){
        .event = SLICE_LIT("E"), .session = SLICE_LIT("unknown"), .viewings = 1, .total_ms = 1};
    *changes_add_erased(&changes) =
        (struct erased_row){.event = SLICE_LIT("unknown"), .viewings = 1, .total_ms = 1};
    engine_committed(engine, &changes);
    assert_figures(NULL, 1, 1, 2, 30000);
}

/* The row of who is being erased is told as it was, its id included: rows come without holes. */
static void test_rows_without_holes(void **state)
{
    (void)state;
    beat("anna", "S");
    beat("berta", "S");
    assert_true(erase("anna"));
    beat("carla", "S");
    pass(true);
    assert_int_equal(changes.members_count, 6);
    assert_int_equal(changes.members[0].start_ms, START_MS);
    assert_int_equal(changes.members[0].profile_due_ms, 0);
    assert_true(slice_equal(changes.members[0].viewer, SLICE_LIT("anna")));
    assert_int_equal(changes.erasures_count, 1);
    assert_int_equal(changes.erasures[0].viewer_no, 0);
    assert_true(slice_equal(changes.erasures[0].viewer, SLICE_LIT("anna")));
    /* And with it the aggregates of both audiences, whatever came before in the part. */
    assert_int_equal(changes.changes_count, 4);
    for (size_t i = 2; i < 4; i++) {
        const struct audience_row *row = &changes.changes[i].audience;
        assert_true(row->session.len == (i == 3) && row->members == 3 && row->attended == 2);
        assert_int_equal(row->logins, 2);
    }
    pass(true);
    assert_int_equal(changes.erasures_count, 0);
    assert_int_equal(engine_erasing(engine), 0);
}

static void test_waits_for_a_full_pass(void **state)
{
    (void)state;
    beat("anna", NULL);
    beat("berta", NULL);
    engine_collect_begin(engine, true);
    at(10);
    assert_true(erase("anna")); /* after the pass began */
    assert_true(engine_collect(engine, &changes, 1000));
    assert_int_equal(changes.covered_seq, 1);
    assert_int_equal(changes.erasures_count, 0);
    engine_committed(engine, &changes);
    at(20);
    pass(false);
    assert_int_equal(changes.erasures_count, 0);
    engine_collect_begin(engine, true);
    at(30);
    assert_true(erase("berta"));
    assert_true(engine_collect(engine, &changes, 1000));
    assert_int_equal(changes.covered_seq, 3);
    assert_int_equal(changes.erasures_count, 1);
    assert_int_equal(beat("anna", NULL), PLACE_ERASING); /* until it is committed */
    engine_committed(engine, &changes);
    assert_int_equal(beat("anna", NULL), PLACE_READY);
    assert_int_equal(beat("berta", NULL), PLACE_ERASING);
    assert_int_equal(engine_erasing(engine), 1);
    at(40);
    pass(true);
    assert_int_equal(changes.erasures[0].viewer_no, 1);
    assert_int_equal(beat("berta", NULL), PLACE_READY);
    assert_figures(NULL, 2, 2, 2, 0);
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_int_equal(sizes.viewers, 4); /* numbers stay taken */
}

static bool holds(const struct event *event, const char *bytes, size_t len)
{
    return memmem(event->ids, event->ids_bytes, bytes, len) != NULL;
}

static void test_id_is_gone(void **state)
{
    (void)state;
    beat("anna-of-the-hills", "S");
    beat(UUID, "S");
    beat("berta", "S");
    const struct event *event = engine_find_event(engine, SLICE_LIT("E"));
    struct viewer_key key;
    viewer_key_make(&key, SLICE_LIT(UUID));
    assert_int_equal(key.bytes.len, 16);
    assert_true(erase("anna-of-the-hills"));
    assert_true(erase(UUID));
    assert_true(holds(event, "anna-of-the-hills", 17) && holds(event, key.bytes.ptr, 16));
    pass(true);
    assert_false(holds(event, "anna", 4) || holds(event, "hills", 5));
    assert_false(holds(event, key.bytes.ptr, 8) || holds(event, key.bytes.ptr + 8, 8));
    assert_true(holds(event, "berta", 5));
    assert_false(erase("anna-of-the-hills"));
    assert_int_equal(beat("berta", "S"), PLACE_READY);
    assert_figures("S", 1, 1, 1, 0);
}

/* Other leases than the heartbeats' own order: the lists are made anew without the erased one. */
static void test_windows_change(void **state)
{
    (void)state;
    beat("anna", "S");
    beat("berta", "S");
    assert_true(erase("anna"));
    struct engine_windows windows = {10000, 20000, 5000, 30000, 300000};
    engine_set_windows(engine, &windows);
    engine_check(engine);
    assert_figures("S", 1, 1, 1, 0);
    pass(true);
    at(20000);
    engine_set_windows(engine, &cfg.windows);
    engine_check(engine);
    assert_figures("S", 1, 1, 1, 0);
    at(65001);
    assert_figures("S", 0, 1, 1, 0);
}

/* Sums that a damaged store answers do not wrap round. */
static void test_answer_of_a_damaged_store(void **state)
{
    (void)state;
    beat("anna", NULL);
    assert_true(erase("anna"));
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1000));
    *changes_add_erased(&changes) =
        (struct erased_row){.event = SLICE_LIT("E"), .viewings = UINT64_MAX, .total_ms = INT64_MAX};
    engine_committed(engine, &changes);
    assert_figures(NULL, 0, 0, 0, 0);
}

/* Every sum says so too. */
static void test_event_stays_in_memory(void **state)
{
    (void)state;
    beat("anna", NULL);
    pass(true);
    at(2000000);
    pass(true); /* the frame is over */
    at(2000001);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_true(changes.changes[0].audience.idle);
    assert_true(erase("anna")); /* it was about to leave */
    engine_committed(engine, &changes);
    assert_true(engine_has_event(engine, SLICE_LIT("E")));
    at(4000000);
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_int_equal(changes.erasures_count, 1);
    assert_false(changes.changes[0].audience.idle);
    engine_committed(engine, &changes);
    at(4000001);
    pass(true);
    assert_false(engine_has_event(engine, SLICE_LIT("E"))); /* nothing keeps it any more */
}

static void test_needs_the_event(void **state)
{
    (void)state;
    bool known = true;
    assert_int_equal(engine_erase(engine, SLICE_LIT("F"), SLICE_LIT("anna"), &known),
                     FIGURES_NEED_EVENT);
    assert_false(known);
}

/* ---- events ---- */

static void purge(bool keep_statistics)
{
    engine_purge(engine, SLICE_LIT("E"), keep_statistics);
    engine_check(engine);
}

static void count_event(void *ctx, struct slice event)
{
    (void)event;
    (*(int *)ctx)++;
}

static void count_rows(void *ctx, const struct figures *figures)
{
    assert_int_equal(figures->attended + figures->peak_count + figures->logins, 0);
    (*(int *)ctx)++;
}

static void test_purge(void **state)
{
    (void)state;
    beat("anna", "S");
    beat("berta", "S");
    at(400000);
    beat("anna", "S");
    assert_true(erase("berta"));
    purge(false);
    assert_int_equal(engine_erasing(engine), 1);
    assert_figures(NULL, 0, 0, 0, 0);
    assert_figures("S", 0, 0, 0, 0);
    assert_int_equal(figures_of("S").peak_count, 0);
    assert_int_equal(beat("anna", "S"), PLACE_ERASING);
    assert_false(erase("anna"));
    engine_profile(engine, SLICE_LIT("E"), SLICE_LIT("anna"), SLICE_EMPTY);
    int events = 0, rows = 0;
    engine_events(engine, count_event, &events);
    assert_int_equal(events, 0);
    assert_int_equal(engine_overview(engine, SLICE_LIT("E"), count_rows, &rows), FIGURES_OK);
    assert_int_equal(rows, 1);
    struct engine_sizes sizes;
    engine_sizes(engine, &sizes);
    assert_true(sizes.events == 1 && sizes.viewers == 0 && sizes.members == 0 &&
                sizes.backlog == 0);
    pass(false);
    assert_true(engine_has_event(engine, SLICE_LIT("E")));
    pass(true);
    assert_int_equal(changes.changes_count, 0);
    assert_int_equal(changes.erasures_count, 0);
    assert_int_equal(changes.purges_count, 1);
    assert_true(slice_equal(changes.purges[0].event, SLICE_LIT("E")));
    assert_false(changes.purges[0].keep_statistics);
    assert_int_equal(changes.covered_seq, seq);
    assert_false(engine_has_event(engine, SLICE_LIT("E")));
    assert_int_equal(engine_erasing(engine), 0);
    assert_int_equal(beat("anna", "S"), PLACE_NEED_EVENT);
}

/* What the pass under way will call covered is stored, also of an event that goes meanwhile. */
static void test_purge_in_a_pass(void **state)
{
    (void)state;
    beat("anna", "S");
    beat("berta", "S");
    engine_collect_begin(engine, true);
    assert_true(engine_collect(engine, &changes, 1)); /* the event's audience */
    engine_committed(engine, &changes);
    at(10);
    purge(true);
    assert_figures("S", 0, 0, 0, 0);
    assert_int_equal(beat("anna", "S"), PLACE_ERASING);
    assert_true(engine_collect(engine, &changes, 1));
    assert_true(slice_equal(changes.changes[0].audience.session, SLICE_LIT("S")));
    assert_int_equal(changes.members_count, 2);
    engine_committed(engine, &changes);
    while (engine_collect(engine, &changes, 1)) {
        assert_int_equal(changes.purges_count, 0);
        engine_committed(engine, &changes);
    }
    engine_check(engine);
    assert_true(engine_has_event(engine, SLICE_LIT("E")));
    pass(true);
    assert_int_equal(changes.changes_count, 0);
    assert_int_equal(changes.purges_count, 1);
    assert_true(changes.purges[0].keep_statistics);
    assert_false(engine_has_event(engine, SLICE_LIT("E")));
}

/* An erasure that the pass will call covered is told, though the event was purged meanwhile. */
static void test_purge_after_an_erasure(void **state)
{
    (void)state;
    beat("anna", NULL);
    assert_true(erase("anna"));
    engine_collect_begin(engine, true);
    at(10);
    purge(false);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_int_equal(changes.covered_seq, 1);
    assert_int_equal(changes.erasures_count, 1);
    engine_check(engine);
    assert_int_equal(engine_erasing(engine), 1); /* the event's, which is a shell by now */
    *changes_add_erased(&changes) =
        (struct erased_row){.event = SLICE_LIT("E"), .viewings = 1, .total_ms = 1};
    engine_committed(engine, &changes);
    engine_check(engine);
    pass(true);
    assert_int_equal(changes.purges_count, 1);
    assert_false(engine_has_event(engine, SLICE_LIT("E")));
}

/* Purged again while the store is being told: one more pass, and the more thorough one holds. */
static void test_purge_again(void **state)
{
    (void)state;
    beat("anna", NULL);
    purge(true);
    engine_collect_begin(engine, true);
    at(10);
    purge(false);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_true(changes.purges[0].keep_statistics);
    engine_committed(engine, &changes);
    assert_int_equal(engine_erasing(engine), 1);
    assert_int_equal(beat("anna", NULL), PLACE_ERASING);
    purge(true); /* nothing of what goes comes back by that */
    pass(true);
    assert_int_equal(changes.purges_count, 1);
    assert_false(changes.purges[0].keep_statistics);
    assert_false(engine_has_event(engine, SLICE_LIT("E")));
}

/* It was about to leave memory: it must not, before the purge is stored. */
static void test_purge_of_an_idle_event(void **state)
{
    (void)state;
    beat("anna", NULL);
    pass(true);
    at(2000000);
    pass(true);
    at(2000001);
    engine_collect_begin(engine, false);
    assert_true(engine_collect(engine, &changes, 1000));
    assert_true(changes.changes[0].audience.idle);
    purge(false);
    engine_committed(engine, &changes);
    assert_true(engine_has_event(engine, SLICE_LIT("E")));
    at(4000000);
    pass(false);
    assert_true(engine_has_event(engine, SLICE_LIT("E"))); /* however long that takes */
    pass(true);
    assert_int_equal(changes.purges_count, 1);
    assert_false(engine_has_event(engine, SLICE_LIT("E")));
}

static void test_purge_of_an_absent_event(void **state)
{
    (void)state;
    engine_purge(engine, SLICE_LIT("F"), true);
    engine_purge(engine, SLICE_LIT("G"), false);
    engine_purge(engine, SLICE_LIT("H"), false); /* one more than events_max: it is journaled */
    assert_int_equal(beat_in("F", "anna", NULL, HEARTBEAT_GROUPS), PLACE_ERASING);
    assert_int_equal(beat_in("H", "anna", NULL, HEARTBEAT_GROUPS), PLACE_ERASING);
    assert_int_equal(engine_erasing(engine), 3);
    pass(true);
    assert_int_equal(changes.purges_count, 3);
    assert_int_equal(engine_events_count(engine), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_counts_in_nothing),
        CASE(test_frame_stays),
        CASE(test_heartbeats_are_refused),
        CASE(test_replay_passes_over),
        CASE(test_earlier_viewings),
        CASE(test_rows_without_holes),
        CASE(test_waits_for_a_full_pass),
        CASE(test_id_is_gone),
        CASE(test_windows_change),
        CASE(test_answer_of_a_damaged_store),
        CASE(test_event_stays_in_memory),
        CASE(test_needs_the_event),
        CASE(test_purge),
        CASE(test_purge_in_a_pass),
        CASE(test_purge_after_an_erasure),
        CASE(test_purge_again),
        CASE(test_purge_of_an_idle_event),
        CASE(test_purge_of_an_absent_event),
    };
    return tap_run(tests);
}
