/* test_live.c -- heartbeats and questions through the memory engine, as an I/O thread has them. */
#include "common.h"

#include "base/memory.h"

/* ---- heartbeats ---- */

static void test_counts(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", "s", "v1"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", NULL, "v2"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "v1"), LIVE_OK);
    struct figures event = figures_of(&loop, "e", NULL), session = figures_of(&loop, "e", "s");
    assert_int_equal(event.active, 2);
    assert_int_equal(event.attended, 2);
    assert_int_equal(event.logins, 2);
    assert_int_equal(event.peak_count, 2);
    assert_int_equal(session.active, 1);
    assert_int_equal(session.attended, 1);
    assert_int_equal(figures_of(&loop, "e", "nobody saw it").active, 0);
    assert_int_equal(figures_of(&loop, "nobody saw it", NULL).active, 0);
    WAIT_FOR(loop_counters(&loop).heartbeats_counted == 3);
    loop_stop(&loop);
}

/* With every durability; under sync an acknowledgement waits for the disk. */
static void test_durabilities(void **state)
{
    (void)state;
    const enum live_durability all[] = {LIVE_SYNC, LIVE_INTERVAL, LIVE_OS};
    for (uint64_t i = 0; i < 3; i++) {
        struct live_options options = options_for(&folder);
        options.durability = all[i];
        options.sync_gather_ms = 3;
        struct loop loop;
        loop_start(&loop, &options);
        for (uint64_t n = 0; n < 20; n++) {
            assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
            if (all[i] == LIVE_SYNC) {
                struct live_counters counters = loop_counters(&loop);
                assert_true(counters.syncs >= n + 1);
                assert_true(counters.durable_seq >= n + 1);
            }
        }
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
        loop_stop(&loop);
    }
}

/* Thousands in one request, more than one turn and than one journal record take. */
static void test_large_batches(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 64 * 1024;
    struct loop loop;
    loop_start(&loop, &options);
    struct live_beat *beats = memory_zalloc(COUNT * sizeof *beats);
    char(*names)[16] = memory_alloc(COUNT * sizeof *names);
    char packed[GROUPS_PACKED_BYTES_MAX], group[65], list[33 * 65] = "";
    for (int i = 0; i < 32; i++) { /* records of 1,024 of them are larger than 1 MiB */
        memset(group, 'a' + i % 26, 63);
        (void)snprintf(group + 63, 2, "%c", 'A' + i);
        strcat(strcat(list, i > 0 ? "," : ""), group);
    }
    struct slice groups = pack(list, packed);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "v%d", i);
        beats[i].heartbeat = heartbeat_of("e", i % 2 ? "s" : NULL, names[i]);
        beats[i].heartbeat.flags = HEARTBEAT_GROUPS;
        beats[i].heartbeat.groups = groups;
    }
    assert_int_equal(beat(&loop, "e", NULL, names[0]), LIVE_OK); /* none has to wait */
    struct batch batch;
    batch_begin(&loop, &batch, beats, COUNT);
    struct question question; /* does not wait for the batch: it is not acknowledged yet */
    question_init(&question, LIVE_FIGURES, "e");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    live_query_fini(&question.query);
    assert_true(loop_until(&loop, &batch.done, WAIT_MS));
    assert_int_equal(figures_of(&loop, "e", NULL).attended, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(beats[i].status, LIVE_OK);
    }
    assert_int_equal(figures_of(&loop, "e", "s").active, COUNT / 2);
    group[63] = 'A';
    memset(group, 'a', 63);
    assert_int_equal(alive_in(&loop, "e", true, group), COUNT);
    WAIT_FOR(loop_counters(&loop).heartbeats_counted == COUNT + 1);
    free(names);
    free(beats);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", "s").attended, COUNT / 2);
    loop_stop(&loop);
}

/* Some of a batch wait for their event or profile, some do not, some are refused. */
static void test_mixed_batch(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.sessions_max = 1;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", "s", "known"), LIVE_OK);
    const struct heartbeat heartbeats[] = {
        heartbeat_of("e", "s", "new 1"),     heartbeat_of("e", "s", "known"),
        heartbeat_of("e", "other", "known"), heartbeat_of("f", NULL, "new 2"),
        heartbeat_of("e", "s", "new 1"),
    };
    struct live_beat beats[5] = {0};
    for (int i = 0; i < 5; i++) {
        beats[i].heartbeat = heartbeats[i];
    }
    struct batch batch;
    batch_begin(&loop, &batch, beats, 5);
    assert_true(loop_until(&loop, &batch.done, WAIT_MS));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(beats[i].status, i == 2 ? LIVE_SESSIONS_FULL : LIVE_OK);
    }
    assert_int_equal(figures_of(&loop, "e", "s").active, 2);
    assert_int_equal(figures_of(&loop, "f", NULL).active, 1);
    assert_int_equal(loop_counters(&loop).heartbeats_refused, 1);
    loop_stop(&loop);
}

/* A port takes as many as it said, and then more when some came back. */
static void test_requests_max(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.requests_max = 3;
    struct loop loop;
    loop_start(&loop, &options);
    struct call calls[3], more = {.heartbeats = {.request = {.kind = LIVE_HEARTBEATS}}};
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 3; i++) {
            call_begin(&loop, &calls[i], heartbeat_of("e", "s", i == 0 ? "v" : "w"));
        }
        more.heartbeats.beats = &more.beat;
        more.heartbeats.count = 1;
        assert_false(live_submit(loop.port, &more.heartbeats.request));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(call_end(&loop, &calls[i]), LIVE_OK);
        }
    }
    loop_stop(&loop);
}

static void test_caps(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.events_max = 2;
    options.engine.sessions_max = 2;
    options.engine.viewers_max = 3;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "a", "s1", "v1"), LIVE_OK);
    assert_int_equal(beat(&loop, "a", "s2", "v2"), LIVE_OK);
    assert_int_equal(beat(&loop, "a", "s3", "v1"), LIVE_SESSIONS_FULL);
    assert_int_equal(beat(&loop, "a", "s1", "v3"), LIVE_OK);
    assert_int_equal(beat(&loop, "a", "s1", "v4"), LIVE_VIEWERS_FULL);
    assert_int_equal(beat(&loop, "b", NULL, "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "c", NULL, "v"), LIVE_EVENTS_FULL);
    assert_int_equal(beat(&loop, "a", "s1", "v2"), LIVE_OK); /* what is within goes on */
    struct figures figures = figures_of(&loop, "a", NULL);
    assert_int_equal(figures.attended, 3);
    WAIT_FOR(loop_counters(&loop).heartbeats_counted == 5);
    assert_int_equal(loop_counters(&loop).heartbeats_refused, 3);
    assert_int_equal(loop_counters(&loop).heartbeats_unavailable, 0);
    loop_stop(&loop);
    /* A smaller cap than what is there: it stays, nothing new comes. */
    options.engine.events_max = 1;
    options.engine.viewers_max = 1;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "a", "s1", "v3"), LIVE_OK);
    assert_int_equal(beat(&loop, "b", NULL, "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "b", NULL, "w"), LIVE_VIEWERS_FULL);
    assert_int_equal(beat(&loop, "c", NULL, "v"), LIVE_EVENTS_FULL);
    loop_stop(&loop);
}

static void test_declared_events(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "known", "s", "v"), LIVE_OK);
    loop_stop(&loop);
    options.declared_events = true;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "known", "s", "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "unknown", "s", "v"), LIVE_UNKNOWN_EVENT);
    assert_int_equal(beat(&loop, "unknown", "s", "v"), LIVE_UNKNOWN_EVENT);
    assert_int_equal(loop_counters(&loop).heartbeats_refused, 2);
    assert_int_equal(figures_of(&loop, "unknown", NULL).attended, 0);
    loop_stop(&loop);
}

/* A leave counts in nothing: it makes no event, and takes no place of one. */
static void test_leave_of_nobody(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.events_max = 1;
    options.reject_unknown_viewers = true;
    struct loop loop;
    loop_start(&loop, &options);
    struct heartbeat leave = heartbeat_of("nowhere", "s", "v");
    leave.flags = HEARTBEAT_LEAVING;
    struct call call;
    call_begin(&loop, &call, leave);
    assert_int_equal(call_end(&loop, &call), LIVE_OK);
    assert_int_equal(beat(&loop, "real", NULL, "stranger"), LIVE_UNKNOWN_VIEWER);
    struct question question;
    question_init(&question, LIVE_EVENTS, NULL);
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 0); /* not of the refused one either */
    live_query_fini(&question.query);
    loop_stop(&loop);
}

/* An event whose heartbeats were all refused leaves memory, and nothing of it is stored. */
static void test_refused_event_goes(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.event_idle_ms = 1;
    options.records_flush_ms = 10;
    options.reject_unknown_viewers = true;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "real", NULL, "stranger"), LIVE_UNKNOWN_VIEWER);
    WAIT_FOR(loop_counters(&loop).events == 0);
    loop_stop(&loop);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM event"), 0);
}

/* Questions are answered while heartbeats are gathered, and do not end the gathering. */
static void test_questions_while_gathering(void **state)
{
    (void)state;
    enum { CALLS = 20 };
    struct live_options options = options_for(&folder);
    options.sync_gather_ms = 50;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    uint64_t batches = loop_counters(&loop).batches;
    int64_t begin_ms = clock_mono_ms();
    struct call calls[CALLS];
    for (int i = 0; i < CALLS; i++) {
        call_begin(&loop, &calls[i], heartbeat_of("e", NULL, "v"));
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
    }
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(call_end(&loop, &calls[i]), LIVE_OK);
    }
    int64_t gathers = (clock_mono_ms() - begin_ms) / options.sync_gather_ms;
    assert_true(loop_counters(&loop).batches - batches <= (uint64_t)gathers + 1);
    loop_stop(&loop);
}

/* ---- questions ---- */

/* In memory, and again after the event has left memory. */
static void check_answers(struct loop *loop)
{
    struct question question;
    question_init(&question, LIVE_OVERVIEW, "e");
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 3);
    assert_int_equal(question.query.figures[0].session.len, 0);
    assert_int_equal(question.query.figures[0].attended, 3);
    for (int i = 1; i < 3; i++) {
        bool first = slice_equal(question.query.figures[i].session, SLICE_LIT("s1"));
        assert_int_equal(question.query.figures[i].attended, first ? 2 : 1);
        assert_int_equal(question.query.figures[i].logins, first ? 2 : 1);
    }
    live_query_fini(&question.query);

    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("v1");
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_true(question.query.attended && question.query.has_profile);
    assert_true(slice_equal(question.query.name, SLICE_LIT("Vera")));
    assert_true(slice_equal(question.query.groups, SLICE_LIT("\5staff")));
    assert_int_equal(question.query.rows, 2); /* event and s1 */
    country_t hk;
    assert_true(country_pack(SLICE_LIT("HK"), &hk));
    assert_int_equal(question.query.country, hk);
    live_query_fini(&question.query);

    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("registered");
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_true(!question.query.attended && question.query.has_profile);
    assert_int_equal(question.query.rows, 0);
    live_query_fini(&question.query);
    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("nobody");
    assert_int_equal(ask(loop, &question), LIVE_NOT_FOUND);
    live_query_fini(&question.query);

    question_init(&question, LIVE_PROFILE_GET, "e");
    question.query.viewer = SLICE_LIT("v1");
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_true(slice_equal(question.query.name, SLICE_LIT("Vera")));
    live_query_fini(&question.query);
    question_init(&question, LIVE_PROFILE_GET, "e");
    question.query.viewer = SLICE_LIT("nobody");
    assert_int_equal(ask(loop, &question), LIVE_NOT_FOUND);
    live_query_fini(&question.query);

    struct figures figures = figures_of(loop, "e", "s1");
    assert_int_equal(figures.attended, 2);
    assert_int_equal(figures.peak_count, 2);

    question_init(&question, LIVE_EVENTS, NULL);
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 1);
    assert_true(slice_equal(question.query.events[0], SLICE_LIT("e")));
    live_query_fini(&question.query);
}

/* The sum of all its frames. */
static uint32_t frame_viewers(struct loop *loop, const char *event, const char *session)
{
    struct question question;
    uint32_t viewers = 0;
    question_init(&question, LIVE_FRAMES, event);
    question.query.session = slice_str(session);
    assert_int_equal(ask(loop, &question), LIVE_OK);
    for (uint32_t i = 0; i < question.query.rows; i++) {
        viewers += question.query.frames[i].viewers;
    }
    live_query_fini(&question.query);
    return viewers;
}

static void test_questions_in_memory_and_not(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.event_idle_ms = 150;
    options.engine.windows = (struct engine_windows){
        .alive_ms = 100, .hidden_ms = 100, .leaving_ms = 50, .gap_ms = 100, .frame_ms = 100};
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", "v1", "Vera", "staff"), LIVE_OK);
    assert_int_equal(put_profile(&loop, "e", "registered", "Rita", ""), LIVE_OK);
    struct heartbeat heartbeat = heartbeat_of("e", "s1", "v1");
    assert_true(country_pack(SLICE_LIT("HK"), &heartbeat.country));
    /* Together, or the first may no longer be alive: one request. */
    struct live_beat beats[3] = {{.heartbeat = heartbeat},
                                 {.heartbeat = heartbeat_of("e", "s1", "v2")},
                                 {.heartbeat = heartbeat_of("e", "s2", "v3")}};
    struct batch batch;
    batch_begin(&loop, &batch, beats, 3);
    assert_true(loop_until(&loop, &batch.done, WAIT_MS));
    check_answers(&loop);
    for (int round = 0; round < 3; round++) {
        /* It falls idle and leaves memory. */
        WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event WHERE NOT live") == 1);
        if (round == 0) {
            check_answers(&loop);
        }
        assert_int_equal(frame_viewers(&loop, "e", "s1"), 2 + round);
        assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
        assert_int_equal(loop_counters(&loop).events_loaded, round);
        assert_int_equal(beat(&loop, "e", "s1", "v2"), LIVE_OK); /* and comes back */
        assert_int_equal(loop_counters(&loop).events_loaded, round + 1);
        assert_int_equal(figures_of(&loop, "e", "s1").logins, 3 + round);
        assert_int_equal(figures_of(&loop, "e", "s1").attended, 2);
        assert_int_equal(figures_of(&loop, "e", NULL).logins, 4 + round);
        WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event WHERE live") == 1);
    }
    loop_stop(&loop);
}

/* What was just acknowledged is in the next answer, however far it is from being stored. */
static void test_read_your_writes(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000; /* after the first pass */
    options.engine.windows = (struct engine_windows){
        .alive_ms = 200, .hidden_ms = 200, .leaving_ms = 100, .gap_ms = 200, .frame_ms = 100};
    struct loop loop;
    loop_start(&loop, &options);
    nap_ms(50); /* the pass at the start is over */
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    struct question question;
    question_init(&question, LIVE_EVENTS, NULL); /* a new event is in the list */
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 1);
    live_query_fini(&question.query);
    int64_t now_ms = question.query.now_ms;
    nap_ms(250);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK); /* another viewing, another frame */
    question_init(&question, LIVE_FRAMES, "e");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 1);
    assert_int_equal(question.query.frames[0].viewers, 1);
    assert_true(question.query.frames[0].start_ms <= now_ms);
    live_query_fini(&question.query);
    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("v");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 4); /* two viewings in the event, two in the session */
    assert_true(question.query.alive);
    assert_true(question.query.viewings[0].end_ms < question.query.viewings[3].start_ms);
    live_query_fini(&question.query);
    question_init(&question, LIVE_VIEWER, "e"); /* cut: the oldest, and it says so */
    question.query.viewer = SLICE_LIT("v");
    question.query.limit = 3;
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 3);
    assert_true(question.query.more);
    live_query_fini(&question.query);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "new"), LIVE_OK);
    question_init(&question, LIVE_VIEWER, "e");
    question.query.viewer = SLICE_LIT("v");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    assert_true(slice_equal(question.query.groups, SLICE_LIT("\3new")));
    live_query_fini(&question.query);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "new"), 1);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendance"), 0);
    loop_stop(&loop);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendance"), 2);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM viewing"), 2);
}

/* Questions while rows are on their way: each frame and viewing is there, and once. */
static void test_nothing_falls_between(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 1;
    options.engine.windows = (struct engine_windows){
        .alive_ms = 5, .hidden_ms = 5, .leaving_ms = 5, .gap_ms = 5, .frame_ms = 100};
    struct loop loop;
    loop_start(&loop, &options);
    int64_t until_ms = clock_mono_ms() + 1500;
    uint32_t viewings = 0, frames = 0;
    int64_t starts_ms[64];
    while (clock_mono_ms() < until_ms && frames < 60) {
        assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
        struct figures figures = figures_of(&loop, "e", NULL);
        struct question question;
        question_init(&question, LIVE_VIEWER, "e");
        question.query.viewer = SLICE_LIT("v");
        assert_int_equal(ask(&loop, &question), LIVE_OK);
        assert_int_equal(question.query.rows, figures.logins);
        assert_true(question.query.rows >= viewings);
        viewings = question.query.rows;
        live_query_fini(&question.query);
        question_init(&question, LIVE_FRAMES, "e");
        assert_int_equal(ask(&loop, &question), LIVE_OK);
        assert_true(question.query.rows >= frames);
        for (uint32_t i = 0; i < question.query.rows; i++) {
            int64_t start_ms = question.query.frames[i].start_ms;
            assert_true(i < frames ? start_ms == starts_ms[i]
                                   : i == 0 || start_ms > question.query.frames[i - 1].start_ms);
            starts_ms[i] = start_ms;
            assert_int_equal(question.query.frames[i].viewers, 1);
        }
        frames = question.query.rows;
        live_query_fini(&question.query);
        nap_ms(8);
    }
    assert_true(viewings > 5 && frames > 3);
    loop_stop(&loop);
}

/* In order of id, in pages, from memory and from the store together. */
static void test_pages_of_events(void **state)
{
    (void)state;
    enum { EVENTS = 57, LIMIT = 5 };
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    for (int i = 0; i < EVENTS; i++) {
        char event[16];
        (void)snprintf(event, sizeof event, "e%02d", i * 31 % EVENTS);
        assert_int_equal(beat(&loop, event, NULL, "v"), LIVE_OK);
    }
    char after[16] = "";
    int seen = 0;
    bool more = true;
    while (more) {
        struct question question;
        question_init(&question, LIVE_EVENTS, NULL);
        question.query.after = slice_str(after);
        question.query.limit = LIMIT;
        assert_int_equal(ask(&loop, &question), LIVE_OK);
        more = question.query.more;
        assert_int_equal(question.query.rows, more ? LIMIT : EVENTS % LIMIT);
        for (uint32_t i = 0; i < question.query.rows; i++) {
            char want[16];
            (void)snprintf(want, sizeof want, "e%02d", seen++);
            assert_true(slice_equal(question.query.events[i], slice_str(want)));
            strcpy(after, want);
        }
        assert_true(question.query.rows_max <= 4 * LIMIT); /* not one for each event */
        live_query_fini(&question.query);
    }
    assert_int_equal(seen, EVENTS);
    loop_stop(&loop);
}

/* ---- the end ---- */

static void test_stop_stores_everything(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000;
    struct loop loop;
    loop_start(&loop, &options);
    char viewer[16];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(viewer, sizeof viewer, "v%d", i);
        assert_int_equal(beat_in(&loop, "e", viewer, i % 2 ? "odd" : "even"), LIVE_OK);
    }
    struct figures before = figures_of(&loop, "e", NULL);
    loop_stop(&loop);
    int64_t covered = folder_sql(&folder, "SELECT value FROM meta WHERE name = 'covered_seq'");
    assert_true(covered >= 300);
    assert_int_equal(folder_sql(&folder, "SELECT attended FROM audience"), 300);
    loop_start(&loop, &options);
    struct live_counters counters = loop_counters(&loop);
    assert_int_equal(counters.covered_seq, covered);
    assert_int_equal(counters.journal_seq, covered); /* so there was nothing to replay */
    struct figures after = figures_of(&loop, "e", NULL);
    assert_memory_equal(&after, &before, sizeof after);
    assert_int_equal(alive_in(&loop, "e", true, "odd"), 150);
    loop_stop(&loop);
}

/* A server that only answered questions writes no journal. */
static void test_stop_without_heartbeats(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    for (int i = 0; i < 3; i++) {
        loop_start(&loop, &options);
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 0);
        assert_int_equal(loop_counters(&loop).journal_seq, 0);
        loop_stop(&loop);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_counts),
        TEST(test_durabilities),
        TEST(test_large_batches),
        TEST(test_mixed_batch),
        TEST(test_requests_max),
        TEST(test_caps),
        TEST(test_declared_events),
        TEST(test_leave_of_nobody),
        TEST(test_refused_event_goes),
        TEST(test_questions_while_gathering),
        TEST(test_questions_in_memory_and_not),
        TEST(test_read_your_writes),
        TEST(test_nothing_falls_between),
        TEST(test_pages_of_events),
        TEST(test_stop_stores_everything),
        TEST(test_stop_without_heartbeats),
    };
    return tap_run(tests);
}
