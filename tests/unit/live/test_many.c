/* test_many.c -- many at once: I/O threads, random runs against the model, kills. */
#include "common.h"

#include "model/model_engine.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

/* ---- who comes ---- */

#define EVENTS   4
#define SESSIONS 3
#define VIEWERS  400 /* of each thread */
#define THREADS  2

static const char *const events[EVENTS] = {"alpha", "beta", "gamma", "delta"};
static const char *const sessions[SESSIONS + 1] = {NULL, "s1", "s2", "s3"};
static const char *const countries[] = {"HK", "US", "DE"};
static const char *const groups[] = {"", "staff", "vip,staff"};

struct cast {
    char viewers[THREADS][VIEWERS][24];
    char packed[3][GROUPS_PACKED_BYTES_MAX];
    struct slice groups[3];
};

static void cast_make(struct cast *cast)
{
    for (int t = 0; t < THREADS; t++) {
        for (int v = 0; v < VIEWERS; v++) {
            (void)snprintf(cast->viewers[t][v], sizeof cast->viewers[t][v], "viewer-%d-%d", t, v);
        }
    }
    for (int g = 0; g < 3; g++) {
        cast->groups[g] = pack(groups[g], cast->packed[g]);
    }
}

/* A viewer has the same country and groups always: so it does not matter who comes first.  Who has
 * no groups here has those of the profile, which is none. */
static struct heartbeat cast_heartbeat(const struct cast *cast, int thread, uint64_t *random)
{
    uint64_t viewer = tap_random(random) % VIEWERS;
    struct heartbeat heartbeat =
        heartbeat_of(events[tap_random(random) % EVENTS],
                     sessions[tap_random(random) % (SESSIONS + 1)], cast->viewers[thread][viewer]);
    bool known = country_pack(slice_str(countries[viewer % 3]), &heartbeat.country);
    assert_true(known);
    if (viewer % 4 != 3) {
        heartbeat.flags |= HEARTBEAT_GROUPS;
        heartbeat.groups = cast->groups[viewer % 3];
    }
    heartbeat.flags |= viewer % 7 == 0 ? HEARTBEAT_HIDDEN : 0;
    return heartbeat;
}

/* ---- a random run ---- */

#define BATCHES   60
#define BEATS_MAX 50

struct player {
    pthread_t thread;
    struct loop loop;
    struct cast *cast;
    int number;
    uint64_t random;
    bool wrong;
    /* what was counted, for the model */
    struct heartbeat counted[BATCHES * BEATS_MAX];
    size_t counted_count;
};

/* Like an I/O thread: many requests at once, each of one or of many, and questions between. */
static void *play(void *ctx)
{
    struct player *player = ctx;
    static _Thread_local struct live_beat beats[8][BEATS_MAX];
    static _Thread_local struct batch batches[8];
    static _Thread_local struct question questions[8];
    for (int b = 0; b < BATCHES; b += 8) {
        uint32_t counts[8];
        for (int i = 0; i < 8; i++) {
            counts[i] = (uint32_t)(tap_random(&player->random) % 2 ? 1 : BEATS_MAX);
            for (uint32_t n = 0; n < counts[i]; n++) {
                beats[i][n] = (struct live_beat){
                    .heartbeat = cast_heartbeat(player->cast, player->number, &player->random)};
                size_t at = player->counted_count;
                if (at < sizeof player->counted / sizeof player->counted[0]) {
                    player->counted[player->counted_count++] = beats[i][n].heartbeat;
                } else {
                    counts[i] = n;
                }
            }
            batches[i].done = counts[i] == 0;
            if (counts[i] > 0) {
                batch_begin(&player->loop, &batches[i], beats[i], counts[i]);
            }
            question_init(&questions[i], (enum live_query_kind)(i % 6), events[i % EVENTS]);
            questions[i].query.viewer = slice_str(player->cast->viewers[0][i]);
            question_begin(&player->loop, &questions[i]);
        }
        for (int i = 0; i < 8; i++) {
            player->wrong |= !loop_until(&player->loop, &batches[i].done, WAIT_MS);
            player->wrong |= !loop_until(&player->loop, &questions[i].done, WAIT_MS);
            live_query_fini(&questions[i].query);
            for (uint32_t n = 0; n < counts[i]; n++) {
                player->wrong |= beats[i][n].status != LIVE_OK;
            }
        }
    }
    return NULL;
}

static void check_audience(struct loop *loop, const struct model *model,
                           const struct model_event *event, const struct model_audience *audience)
{
    struct figures want;
    model_figures(model, audience, &want);
    char name[80];
    (void)snprintf(name, sizeof name, "%.*s", SLICE_ARG(audience->session));
    char id[80];
    (void)snprintf(id, sizeof id, "%.*s", SLICE_ARG(event->id));
    struct figures got = figures_of(loop, id, name[0] == '\0' ? NULL : name);
    assert_int_equal(got.active, want.active);
    assert_int_equal(got.attended, want.attended);
    assert_int_equal(got.logins, want.logins);
    assert_int_equal(got.peak_count, want.peak_count);
    struct model_tally want_groups, want_countries, groups_got = {0}, countries_got = {0};
    model_live(model, audience, &want_groups, &want_countries);
    struct question question;
    question_init(&question, LIVE_COUNTS, id);
    question.query.session = audience->session;
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_int_equal(question.query.active, want.active);
    for (uint32_t i = 0; i < question.query.rows; i++) {
        const struct live_count *row = &question.query.counts[i];
        model_tally_add(row->is_group ? &groups_got : &countries_got, row->key, row->count);
    }
    assert_true(model_tally_equal(&groups_got, &want_groups));
    assert_true(model_tally_equal(&countries_got, &want_countries));
    live_query_fini(&question.query);
    model_tally_fini(&groups_got);
    model_tally_fini(&countries_got);
    model_tally_fini(&want_groups);
    model_tally_fini(&want_countries);
}

static void check_all(struct loop *loop, const struct model *model)
{
    for (size_t e = 0; e < model->events_count; e++) {
        for (size_t a = 0; a < model->events[e].audiences_count; a++) {
            check_audience(loop, model, &model->events[e], &model->events[e].audiences[a]);
        }
    }
}

/* Windows so wide that no time matters: whoever came is alive. */
static const struct engine_windows wide = {.alive_ms = 86400000,
                                           .hidden_ms = 86400000,
                                           .leaving_ms = 86400000,
                                           .gap_ms = 86400000,
                                           .frame_ms = 86400000};

static void random_run(enum live_durability durability, int64_t gather_ms, uint64_t seed)
{
    struct live_options options = options_for(&folder);
    options.engine.windows = wide;
    options.ports = THREADS;
    options.durability = durability;
    options.sync_gather_ms = gather_ms;
    options.records_flush_ms = 5;
    options.records_interval_ms = 10;
    options.journal_segment_bytes = 32 * 1024;
    static struct cast cast;
    static struct player players[THREADS];
    cast_make(&cast);
    struct loop first;
    loop_start(&first, &options);
    for (int t = 0; t < THREADS; t++) {
        players[t] = (struct player){.cast = &cast, .number = t, .random = seed + (uint64_t)t};
        if (t == 0) {
            players[t].loop = first;
            close(first.wake_fd);
        }
        loop_attach(&players[t].loop, first.live, (uint32_t)t);
        assert_int_equal(pthread_create(&players[t].thread, NULL, play, &players[t]), 0);
    }
    struct model *model = model_new(&wide);
    model_begin(model, 1600000000000);
    size_t counted = 0;
    for (int t = 0; t < THREADS; t++) {
        pthread_join(players[t].thread, NULL);
        assert_false(players[t].wrong);
        for (size_t i = 0; i < players[t].counted_count; i++) {
            model_heartbeat(model, &players[t].counted[i]);
        }
        counted += players[t].counted_count;
    }
    check_all(&players[0].loop, model);
    WAIT_FOR(loop_counters(&players[0].loop).heartbeats_counted == counted);
    assert_int_equal(loop_counters(&players[0].loop).heartbeats_unavailable, 0);
    close(players[1].loop.wake_fd);
    loop_stop(&players[0].loop);
    options.ports = 1;
    loop_start(&first, &options); /* and the same from what was stored */
    check_all(&first, model);
    loop_stop(&first);
    model_free(model);
}

static void test_random_sync(void **state)
{
    (void)state;
    random_run(LIVE_SYNC, 3, tap_seed());
}

static void test_random_interval(void **state)
{
    (void)state;
    random_run(LIVE_INTERVAL, 1, tap_seed());
}

static void test_random_os(void **state)
{
    (void)state;
    random_run(LIVE_OS, 0, tap_seed());
}

/* ---- one port that always fills the turn does not starve another ---- */

#define FLOOD 4000

struct flood {
    struct loop loop;
    _Atomic bool stop;
    _Atomic uint64_t batches;
};

static void *flood_run(void *ctx)
{
    struct flood *flood = ctx;
    static struct live_beat beats[4][FLOOD];
    static struct batch batches[4];
    for (int i = 0; i < 4; i++) {
        for (int n = 0; n < FLOOD; n++) {
            beats[i][n] = (struct live_beat){.heartbeat = heartbeat_of("e", NULL, "flood")};
            beats[i][n].heartbeat.flags = HEARTBEAT_GROUPS;
        }
        batch_begin(&flood->loop, &batches[i], beats[i], FLOOD);
    }
    while (!atomic_load(&flood->stop)) {
        loop_turn(&flood->loop, 1000);
        for (int i = 0; i < 4; i++) {
            if (batches[i].done) {
                flood->batches++;
                batch_begin(&flood->loop, &batches[i], beats[i], FLOOD);
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        (void)loop_until(&flood->loop, &batches[i].done, WAIT_MS);
    }
    return NULL;
}

static void test_a_flood_does_not_starve(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.ports = 2;
    struct loop quiet;
    static struct flood flood;
    loop_start(&quiet, &options); /* has port 0 */
    loop_attach(&flood.loop, quiet.live, 1);
    struct loop first = quiet;
    loop_attach(&quiet, first.live, 1); /* the flood comes first: it takes port 0 */
    close(first.wake_fd);
    close(flood.loop.wake_fd);
    loop_attach(&flood.loop, first.live, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, flood_run, &flood), 0);
    WAIT_FOR(atomic_load(&flood.batches) > 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(beat_in(&quiet, "e", "quiet", ""), LIVE_OK);
    }
    atomic_store(&flood.stop, true);
    pthread_join(thread, NULL);
    close(flood.loop.wake_fd);
    loop_stop(&quiet);
}

/* ---- kills ---- */

/* In the child: counts viewers until it is killed; *acknowledged says how many. */
static void child_run(const struct live_options *options, _Atomic int *submitted,
                      _Atomic int *acknowledged)
{
    struct loop loop;
    char why[512];
    struct live *live;
    if (live_start(options, &live, why, sizeof why) != ERR_NONE) {
        _exit(3);
    }
    loop_attach(&loop, live, 0);
    for (int i = *submitted;; i++) {
        char viewer[24], session[24];
        (void)snprintf(viewer, sizeof viewer, "viewer-%d", i);
        (void)snprintf(session, sizeof session, "s%d", i % 5);
        struct heartbeat heartbeat = heartbeat_of("e", session, viewer);
        struct call call = {.heartbeats = {.request = {.kind = LIVE_HEARTBEATS, .done = call_done},
                                           .beats = &call.beat,
                                           .count = 1},
                            .beat = {.heartbeat = heartbeat}};
        atomic_store(submitted, i + 1);
        if (!live_submit(loop.port, &call.heartbeats.request)) {
            _exit(4);
        }
        live_port_flush(loop.port);
        if (!loop_until(&loop, &call.done, WAIT_MS) || call.beat.status != LIVE_OK) {
            _exit(5);
        }
        atomic_store(acknowledged, i + 1);
    }
}

/* Killed again and again while it counts and stores: what was acknowledged is there, once, and
 * nothing else. */
static void test_kills(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct live_options options = options_for(&folder);
    options.engine.windows = wide;
    options.journal_segment_bytes = 8 * 1024;
    options.records_flush_ms = 2;
    options.records_interval_ms = 7;
    _Atomic int *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    for (int round = 0; round < 8; round++) {
        int before = shared[1];
        options.durability = round % 2 ? LIVE_SYNC : LIVE_OS;
        shared[0] = shared[1];
        pid_t child = fork();
        if (child == 0) {
            child_run(&options, &shared[0], &shared[1]);
        }
        assert_true(child > 0);
        WAIT_FOR(shared[1] > before);
        nap_ms((int64_t)(tap_random(&random) % 150));
        int status;
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct loop loop;
        loop_start(&loop, &options);
        struct figures event = figures_of(&loop, "e", NULL), sum = {0};
        for (int i = 0; i < 5; i++) {
            char session[24];
            (void)snprintf(session, sizeof session, "s%d", i);
            struct figures figures = figures_of(&loop, "e", session);
            sum.attended += figures.attended;
            sum.active += figures.active;
            sum.logins += figures.logins;
            sum.peak_count += figures.peak_count;
        }
        /* The one that was under way counts or does not. */
        assert_true((int)event.attended == shared[1] || (int)event.attended == shared[0]);
        assert_int_equal(event.active, event.attended);
        assert_int_equal(event.logins, event.attended);
        assert_int_equal(event.peak_count, event.attended);
        assert_int_equal(sum.attended, event.attended);
        assert_int_equal(sum.active, event.attended);
        assert_int_equal(sum.logins, event.attended);
        assert_int_equal(sum.peak_count, event.attended);
        loop_stop(&loop);
        shared[1] = (int)event.attended;
    }
    assert_int_equal(munmap(shared, 4096), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_kills), /* first: it forks, which no thread should see */
        TEST(test_random_sync), TEST(test_random_interval),
        TEST(test_random_os),   TEST(test_a_flood_does_not_starve),
    };
    return tap_run(tests);
}
