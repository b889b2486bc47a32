/* test_erase.c -- viewers and events are forgotten: when the answer is given no file of the data
 * folder holds the id, whatever goes on at the same time; and a crash at any moment leaves a folder
 * that ends what was begun. */
#include "common.h"

#include "journal/entry.h"
#include "journal/journal.h"
#include "live/offline.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* ---- looking for an id in bytes ---- */

static const char *needle;
static char found_in[256];

static int look_into(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F || stat->st_size == 0) {
        return 0;
    }
    char *bytes = malloc((size_t)stat->st_size);
    assert_non_null(bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        assert_int_equal(errno, ENOENT); /* it went meanwhile */
        free(bytes);
        return 0;
    }
    ssize_t len = read(fd, bytes, (size_t)stat->st_size);
    close(fd);
    if (len > 0 && memmem(bytes, (size_t)len, needle, strlen(needle)) != NULL) {
        (void)snprintf(found_in, sizeof found_in, "%s", path);
    }
    free(bytes);
    return 0;
}

/* "" or the name of a file that holds the text. */
static const char *where_is(const struct folder *where, const char *text)
{
    needle = text;
    found_in[0] = '\0';
    assert_true(nftw(where->top, look_into, 16, FTW_PHYS) >= 0);
    return found_in;
}

/* ---- asking ---- */

static enum live_status erase(struct loop *loop, const char *event, const char *viewer)
{
    struct question question;
    question_init(&question, viewer == NULL ? LIVE_PURGE : LIVE_ERASE, event);
    question.query.viewer = slice_str(viewer);
    enum live_status status = ask(loop, &question);
    live_query_fini(&question.query);
    return status;
}

static enum live_status viewer_status(struct loop *loop, const char *event, const char *viewer)
{
    struct question question;
    question_init(&question, LIVE_VIEWER, event);
    question.query.viewer = slice_str(viewer);
    enum live_status status = ask(loop, &question);
    live_query_fini(&question.query);
    return status;
}

#define SECRET "the-erased-viewer-of-this-test"

/* ---- one viewer ---- */

static void test_viewer(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", SECRET, "Name Of Secret", "staff"), LIVE_OK);
    assert_int_equal(put_profile(&loop, "e", "v", "V", "staff"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", SECRET), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", "v"), LIVE_OK);
    assert_int_equal(beat(&loop, "other", NULL, "v"), LIVE_OK);
    struct figures before = figures_of(&loop, "e", "s");
    assert_int_equal(before.attended, 2);
    assert_string_not_equal(where_is(&folder, SECRET), "");
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    assert_string_equal(where_is(&folder, SECRET), "");
    assert_string_equal(where_is(&folder, "Name Of Secret"), "");
    assert_int_equal(viewer_status(&loop, "e", SECRET), LIVE_NOT_FOUND);
    assert_int_equal(viewer_status(&loop, "e", "v"), LIVE_OK);
    struct figures after = figures_of(&loop, "e", "s");
    assert_int_equal(after.attended, 1);
    assert_int_equal(after.active, 1);
    assert_int_equal(after.logins, 1);
    assert_int_equal(after.peak_count, 2); /* names nobody */
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_NOT_FOUND);
    assert_int_equal(erase(&loop, "never", SECRET), LIVE_NOT_FOUND);
    assert_int_equal(loop_counters(&loop).viewers_erased, 1);
    /* It comes back as a new one, without what was known. */
    assert_int_equal(beat(&loop, "e", "s", SECRET), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 2);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 2);
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    loop_stop(&loop);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 1);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
    loop_stop(&loop);
}

/* The event is not in memory: it comes for it.  Somebody else asks for it meanwhile. */
static void test_event_not_in_memory(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.engine.windows = (struct engine_windows){
        .alive_ms = 50, .hidden_ms = 50, .leaving_ms = 50, .gap_ms = 50, .frame_ms = 100};
    options.engine.event_idle_ms = 100;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK);
    assert_int_equal(beat_in(&loop, "e", "v", "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event WHERE NOT live") == 1);
    loop_stop(&loop);
    options.engine.event_idle_ms = 600000;
    loop_start(&loop, &options);
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    assert_int_equal(loop_counters(&loop).events_loaded, 1);
    assert_string_equal(where_is(&folder, SECRET), "");
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
    assert_int_equal(figures_of(&loop, "e", NULL).logins, 1);
    loop_stop(&loop);
}

/* Only a profile: of an event that nobody has seen, and of one in memory. */
static void test_profile_alone(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
    static const char *const events[] = {"e", "f"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(put_profile(&loop, events[i], SECRET, "S", "staff"), LIVE_OK);
        assert_int_equal(beat(&loop, "e", NULL, "v"), LIVE_OK);
        assert_string_not_equal(where_is(&folder, SECRET), "");
        assert_int_equal(erase(&loop, events[i], SECRET), LIVE_OK);
        assert_string_equal(where_is(&folder, SECRET), "");
        assert_int_equal(erase(&loop, events[i], SECRET), LIVE_NOT_FOUND);
    }
    loop_stop(&loop);
}

/* What was put before the erasure was asked for is not put after it, and puts meanwhile are told to
 * come again. */
static void test_puts_before_and_meanwhile(void **state)
{
    (void)state;
    enum { PUTS = 300 };
    struct live_options options = options_for(&folder);
    options.requests_max = PUTS + 8;
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat(&loop, "e", NULL, SECRET), LIVE_OK);
    static struct question puts[PUTS];
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct slice groups = pack("staff", packed);
    struct question question, late;
    for (int i = 0; i < PUTS; i++) {
        question_init(&puts[i], LIVE_PROFILE_PUT, "e");
        puts[i].query.viewer = SLICE_LIT(SECRET);
        puts[i].query.groups = groups;
        question_begin(&loop, &puts[i]);
    }
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    question_init(&late, LIVE_PROFILE_PUT, "e");
    late.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &late);
    assert_true(loop_until(&loop, &late.done, WAIT_MS));
    assert_int_equal(late.query.status, LIVE_ERASING);
    assert_int_equal(beat(&loop, "e", NULL, SECRET), LIVE_ERASING);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_int_equal(question.query.status, LIVE_OK);
    for (int i = 0; i < PUTS; i++) {
        assert_true(puts[i].done); /* before */
        assert_int_equal(puts[i].query.status, LIVE_OK);
    }
    assert_string_equal(where_is(&folder, SECRET), "");
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM profile"), 0);
    assert_int_equal(beat(&loop, "e", NULL, SECRET), LIVE_OK);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
    loop_stop(&loop);
}

/* More at once than may be under way. */
static void test_many_at_once(void **state)
{
    (void)state;
    enum { ASKED = 300 };
    struct live_options options = options_for(&folder);
    options.requests_max = ASKED;
    struct loop loop;
    loop_start(&loop, &options);
    static struct question questions[ASKED];
    static char viewers[ASKED][16];
    for (int i = 0; i < ASKED; i++) {
        (void)snprintf(viewers[i], sizeof viewers[i], "viewer-%d.", i);
        assert_int_equal(beat_in(&loop, "e", viewers[i], "g"), LIVE_OK);
    }
    int busy = 0;
    for (int i = 0; i < ASKED; i++) {
        question_init(&questions[i], LIVE_ERASE, "e");
        questions[i].query.viewer = slice_str(viewers[i]);
        question_begin(&loop, &questions[i]);
    }
    for (int i = 0; i < ASKED; i++) {
        assert_true(loop_until(&loop, &questions[i].done, WAIT_MS));
        busy += questions[i].query.status == LIVE_BUSY;
        assert_true(questions[i].query.status == LIVE_OK || questions[i].query.status == LIVE_BUSY);
    }
    assert_true(busy < ASKED);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, busy);
    for (int i = 0; i < ASKED; i++) {
        assert_int_equal(where_is(&folder, viewers[i])[0] != '\0',
                         questions[i].query.status == LIVE_BUSY);
    }
    loop_stop(&loop);
}

/* The store is away: who asked is told so in time, and the erasure ends by itself. */
static void test_store_is_away(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    int64_t begin_ms = clock_mono_ms();
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_RECORDS_AWAY);
    assert_true(clock_mono_ms() - begin_ms < 20000);
    folder_unlock_writes(lock);
    assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

/* Somebody reads the record store as it was before: the answer waits for that, not the rows. */
static atomic_bool gate_open, at_gate;

static enum err stay(void *ctx, struct slice event)
{
    (void)ctx, (void)event;
    atomic_store(&at_gate, true);
    while (!atomic_load(&gate_open)) {
        nap_ms(1);
    }
    return ERR_NONE;
}

static enum err read_long(struct records_link *link, struct live_query *query)
{
    (void)query;
    return records_events_each(link, SLICE_EMPTY, 1, stay, NULL);
}

static void test_while_somebody_reads(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    struct question reading, question;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    question_init(&reading, LIVE_READ, "e");
    reading.query.work = read_long;
    question_begin(&loop, &reading);
    while (!atomic_load(&at_gate)) {
        if (loop_until(&loop, &reading.done, 2)) {
            fail_msg("the reading ended with status %d", (int)reading.query.status);
        }
    }
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    assert_false(loop_until(&loop, &question.done, 1500));
    assert_int_equal(beat_in(&loop, "e", "v", "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM viewer WHERE viewer = 'v'") == 1);
    atomic_store(&gate_open, true);
    assert_true(loop_until(&loop, &reading.done, WAIT_MS));
    assert_int_equal(reading.query.status, LIVE_OK);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_int_equal(question.query.status, LIVE_OK);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

/* The journal is full: an erasure is refused, like everything; and done when there is room. */
static void test_journal_is_full(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 16 * 1024;
    options.journal_max_bytes = 64 * 1024;
    struct loop loop;
    char viewer[24] = "viewer";
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, ""), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    sqlite3 *lock = folder_lock_writes(&folder);
    for (int i = 0; beat_in(&loop, "e", viewer, "some,groups") == LIVE_OK; i++) {
        (void)snprintf(viewer, sizeof viewer, "viewer-%d", i);
    }
    struct question question;
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    nap_ms(50);
    folder_unlock_writes(lock);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    if (question.query.status != LIVE_OK) {
        assert_int_equal(question.query.status, LIVE_NO_SPACE);
        WAIT_FOR(live_ready(loop.live));
        assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    }
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

/* No descriptor is left: the journal cannot begin a segment, so the one with the id cannot go. */
static void test_journal_cannot_turn(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    struct question question;
    struct rlimit before, none;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM attendance") == 1);
    assert_int_equal(erase(&loop, "e", "nobody"), LIVE_NOT_FOUND); /* its links are open */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    int next = dup(loop.wake_fd);
    assert_true(next >= 0);
    close(next);
    none.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    bool answered = loop_until(&loop, &question.done, 700);
    uint64_t records = loop_counters(&loop).journal_seq;
    (void)loop_until(&loop, &question.done, 1500);
    records = loop_counters(&loop).journal_seq - records;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(answered);
    assert_true(records < 30); /* it is tried now and then */
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_int_equal(question.query.status, LIVE_OK);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

/* ---- while heartbeats are gathered, so that nothing is journaled ---- */

#define GATHER_MS 1500

/* A profile that was put is not journaled yet when its erasure comes by. */
static void test_put_is_not_journaled_yet(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.sync_gather_ms = GATHER_MS;
    struct loop loop;
    struct question put, question;
    char packed[GROUPS_PACKED_BYTES_MAX];
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "g"), LIVE_OK); /* the gathering begins */
    question_init(&put, LIVE_PROFILE_PUT, "e");
    put.query.viewer = SLICE_LIT(SECRET);
    put.query.groups = pack("staff", packed);
    question_begin(&loop, &put);
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_int_equal(question.query.status, LIVE_OK);
    assert_true(put.done);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

static enum err count_erased(void *count, uint64_t seq, int64_t time_ms, struct slice payload)
{
    (void)seq, (void)time_ms;
    struct entry entry;
    while (entry_next(&payload, &entry) == ERR_NONE) {
        *(int *)count += entry.kind == ENTRY_ERASE;
    }
    return ERR_NONE;
}

/* The event leaves memory between the erasure's being asked for and the record, and cannot be
 * loaded: what would not be applied is not journaled either, or a replay would apply it. */
static void test_event_leaves_memory(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.sync_gather_ms = GATHER_MS;
    options.engine.windows = (struct engine_windows){
        .alive_ms = 50, .hidden_ms = 50, .leaving_ms = 50, .gap_ms = 50, .frame_ms = 100};
    options.engine.event_idle_ms = 300;
    struct loop loop;
    struct question question;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK); /* the gathering begins */
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT(SECRET);
    question_begin(&loop, &question);
    while (folder_sql(&folder, "SELECT live FROM event WHERE name = 'e'") != 0) {
        (void)figures_of(&loop, "e", NULL); /* else the engine's thread sleeps meanwhile */
        nap_ms(10);
    }
    int lock = folder_lock_reads(&folder);
    nap_ms(GATHER_MS); /* the next record is due */
    char path[128];
    int erased = 0;
    struct journal_report report;
    (void)snprintf(path, sizeof path, "%s/journal", folder.data);
    assert_int_equal(journal_scan(path, 0, count_erased, &erased, &report), ERR_NONE);
    assert_int_equal(erased, 0);
    assert_false(question.done);
    folder_unlock_reads(lock);
    assert_true(loop_until(&loop, &question.done, WAIT_MS));
    assert_int_equal(question.query.status, LIVE_OK);
    assert_string_equal(where_is(&folder, SECRET), "");
    loop_stop(&loop);
}

/* ---- heartbeats pour in ---- */

struct pourer {
    struct live *live;
    uint32_t port;
    const char *event;
    atomic_bool stop;
    uint64_t counted, erasing;
    struct loop loop;
    pthread_t thread;
};

/* Ten viewers of each thread, and the one that is erased, over and over. */
static void *pour(void *ctx)
{
    struct pourer *pourer = ctx;
    char viewer[16];
    loop_attach(&pourer->loop, pourer->live, pourer->port);
    for (unsigned i = 0; !atomic_load(&pourer->stop); i++) {
        (void)snprintf(viewer, sizeof viewer, "p%u-%u", pourer->port, i % 10);
        bool secret = i % 3 == 0;
        enum live_status status =
            beat_as(&pourer->loop, heartbeat_of(pourer->event, "s", secret ? SECRET : viewer));
        assert_true(status == LIVE_OK || (secret && status == LIVE_ERASING));
        pourer->counted += status == LIVE_OK && !secret;
        pourer->erasing += status == LIVE_ERASING;
    }
    return NULL;
}

#define POURERS 3

static void start_pouring(struct pourer *pourers, struct live *live, const char *event)
{
    for (uint32_t i = 0; i < POURERS; i++) {
        pourers[i] = (struct pourer){.live = live, .port = i + 1, .event = event};
        assert_int_equal(pthread_create(&pourers[i].thread, NULL, pour, &pourers[i]), 0);
    }
}

static void stop_pouring(struct pourer *pourers)
{
    for (int i = 0; i < POURERS; i++) {
        atomic_store(&pourers[i].stop, true);
        pthread_join(pourers[i].thread, NULL);
    }
}

/* Behind live_stop: until then live may wake them. */
static void end_pouring(struct pourer *pourers)
{
    for (int i = 0; i < POURERS; i++) {
        close(pourers[i].loop.wake_fd);
    }
}

static void test_while_heartbeats_pour_in(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.ports = 1 + POURERS;
    struct loop loop;
    struct pourer pourers[POURERS];
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", SECRET, "S", "staff"), LIVE_OK);
    start_pouring(pourers, loop.live, "e");
    for (int i = 0; i < 20; i++) {
        nap_ms(30);
        if (i % 2 == 0) {
            assert_int_equal(put_profile(&loop, "e", SECRET, "S", "staff"), LIVE_OK);
        }
        assert_int_equal(erase(&loop, "e", SECRET), LIVE_OK);
    }
    stop_pouring(pourers);
    uint64_t refused = 0;
    for (int i = 0; i < POURERS; i++) {
        refused += pourers[i].erasing;
    }
    assert_true(refused > 0);
    enum live_status last = erase(&loop, "e", SECRET);
    assert_true(last == LIVE_OK || last == LIVE_NOT_FOUND);
    assert_string_equal(where_is(&folder, SECRET), "");
    struct figures figures = figures_of(&loop, "e", "s");
    assert_int_equal(figures.attended, POURERS * 10);
    assert_int_equal(figures.logins, POURERS * 10);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 0);
    loop_stop(&loop);
    end_pouring(pourers);
    loop_start(&loop, &options);
    struct figures again = figures_of(&loop, "e", "s");
    assert_memory_equal(&again, &figures, sizeof again);
    loop_stop(&loop);
}

/* ---- whole events ---- */

static void test_purge(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    loop_start(&loop, &options);
    assert_int_equal(put_profile(&loop, "e", SECRET, "S", "staff"), LIVE_OK);
    assert_int_equal(beat(&loop, "e", "s", SECRET), LIVE_OK);
    assert_int_equal(beat(&loop, "keep", "s", "v"), LIVE_OK);
    assert_int_equal(erase(&loop, "e", NULL), LIVE_OK);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 0);
    assert_int_equal(figures_of(&loop, "e", "s").logins, 0);
    assert_int_equal(viewer_status(&loop, "e", SECRET), LIVE_NOT_FOUND);
    assert_int_equal(figures_of(&loop, "keep", "s").attended, 1);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM event WHERE name IS NOT NULL"), 1);
    WAIT_FOR(folder_sql(&folder, "SELECT count(*) FROM event") == 1); /* in the background */
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM viewer"), 1);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendance"), 2);
    WAIT_FOR(where_is(&folder, SECRET)[0] == '\0');
    assert_int_equal(loop_counters(&loop).events_purged, 1);
    assert_int_equal(erase(&loop, "e", NULL), LIVE_OK); /* there is nothing: as asked */
    /* It comes back as a new one. */
    assert_int_equal(beat(&loop, "e", "s", "w"), LIVE_OK);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 1);
    loop_stop(&loop);
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", "s").attended, 1);
    assert_int_equal(figures_of(&loop, "e", "s").peak_count, 1);
    loop_stop(&loop);
}

static void test_purge_while_heartbeats_pour_in(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.ports = 1 + POURERS;
    struct loop loop;
    struct pourer pourers[POURERS];
    loop_start(&loop, &options);
    start_pouring(pourers, loop.live, "f"); /* another event: it must lose nothing */
    for (int i = 0; i < 10; i++) {
        assert_int_equal(beat_in(&loop, "e", SECRET, "g"), LIVE_OK);
        assert_int_equal(erase(&loop, "e", NULL), LIVE_OK);
        assert_int_equal(figures_of(&loop, "e", NULL).attended, 0);
    }
    stop_pouring(pourers);
    assert_int_equal(figures_of(&loop, "f", "s").attended, POURERS * 10 + 1);
    loop_stop(&loop);
    end_pouring(pourers);
}

/* ---- crashes ---- */

/* The process that serves is a child: it is killed, and the folder is what it left. */
static void serve_until_killed(int told, const struct live_options *options, const char *event)
{
    struct loop loop;
    char viewer[16];
    loop_start(&loop, options);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(viewer, sizeof viewer, "v%d", i);
        assert_int_equal(beat_in(&loop, "e", viewer, "g"), LIVE_OK);
    }
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(write(told, "b", 1), 1); /* the viewer is about to come */
        assert_int_equal(beat_in(&loop, event, SECRET, "g"), LIVE_OK);
        assert_int_equal(write(told, "e", 1), 1); /* the erasure is asked for */
        assert_int_equal(erase(&loop, event, event[0] == 'p' ? NULL : SECRET), LIVE_OK);
        assert_int_equal(write(told, "d", 1), 1); /* and answered */
        for (int v = 0; v < 5; v++) {
            (void)snprintf(viewer, sizeof viewer, "v%d", v);
            assert_int_equal(beat_in(&loop, "e", viewer, "g"), LIVE_OK);
        }
    }
    _exit(0);
}

static void note_fault(void *ctx, const char *text)
{
    (void)ctx;
    fail_msg("records_check: %s", text);
}

/* A trace replayed into what was left: the erasure ends first. */
static void go_on_offline(const struct live_options *live_options)
{
    struct store_options options = {.data = live_options->data,
                                    .records = live_options->records,
                                    .engine = live_options->engine,
                                    .journal_segment_bytes = live_options->journal_segment_bytes,
                                    .journal_max_bytes = live_options->journal_max_bytes};
    struct offline *offline;
    struct offline_result result = {0};
    char why[512] = "";
    assert_int_equal(offline_open(&options, 1000, &offline, why, sizeof why), ERR_NONE);
    struct offline_beat beats[2];
    for (int i = 0; i < 2; i++) {
        beats[i].time_ms = offline_last_ms(offline) + 1;
        beats[i].heartbeat = heartbeat_of("e", NULL, i == 0 ? "v0" : "v1");
    }
    assert_int_equal(offline_count(offline, beats, 2, &result, why, sizeof why), ERR_NONE);
    assert_int_equal(result.counted, 2);
    assert_int_equal(offline_close(offline, why, sizeof why), ERR_NONE);
}

/* The viewer of event "e" is erased, or event "p" is purged. */
static void kill_and_go_on(const char *event, int rounds)
{
    bool purge = event[0] == 'p';
    struct live_options options = options_for(&folder);
    uint32_t seed = (uint32_t)clock_wall_us();
    print_message("# seed %u\n", seed);
    int erased = 0, half = 0;
    for (int round = 0; round < rounds; round++) {
        int told[2];
        char byte, last = 0;
        assert_int_equal(pipe2(told, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            serve_until_killed(told[1], &options, event);
        }
        close(told[1]);
        seed = seed * 1664525 + 1013904223;
        int asked = 0, limit = 1 + (int)(seed >> 16) % 3;
        while (asked < limit && read(told[0], &byte, 1) == 1) { /* just begun … */
            asked += byte == 'e';
        }
        int64_t wait_us = (int64_t)(seed >> 8) % 80000; /* … somewhere in it */
        int64_t until_us = clock_mono_us() + wait_us;
        while (clock_mono_us() < until_us) {
            struct timespec pause = {0, 50000};
            nanosleep(&pause, NULL);
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        last = byte;
        while (read(told[0], &byte, 1) == 1) {
            last = byte;
        }
        close(told[0]);
        if (last == 'd' && !purge) { /* a purged event's rows go later */
            assert_string_equal(where_is(&folder, SECRET), "");
        }
        half += last == 'e';
        if (round % 4 == 3) {
            go_on_offline(&options);
        }
        struct loop loop;
        loop_start(&loop, &options);
        if (last != 'd') { /* asked, not answered: if it was journaled it ends by itself */
            enum live_status status;
            while ((status = erase(&loop, event, purge ? NULL : SECRET)) == LIVE_ERASING) {
                nap_ms(2);
            }
            assert_true(status == LIVE_OK || status == LIVE_NOT_FOUND);
            erased += status == LIVE_NOT_FOUND;
        }
        assert_int_equal(viewer_status(&loop, event, SECRET), LIVE_NOT_FOUND);
        assert_int_equal(figures_of(&loop, "p", NULL).attended, 0);
        struct figures figures = figures_of(&loop, "e", NULL);
        assert_int_equal(figures.attended, 20);
        assert_int_equal(figures.logins, 20);
        WAIT_FOR(where_is(&folder, SECRET)[0] == '\0'); /* soon, by itself */
        loop_stop(&loop);
        assert_string_equal(where_is(&folder, SECRET), "");
        struct records_link *link;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/records.db", folder.data);
        assert_int_equal(records_open(path, false, &link, NULL, 0), ERR_NONE);
        assert_int_equal(records_check(link, note_fault, NULL), ERR_NONE);
        records_close(link);
    }
    print_message("# %d of %d erasures were half way, %d ended by themselves\n", half, rounds,
                  erased);
}

static void test_killed_in_an_erasure(void **state)
{
    (void)state;
    kill_and_go_on("e", 60);
}

static void test_killed_in_a_purge(void **state)
{
    (void)state;
    kill_and_go_on("p", 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_viewer),
        TEST(test_event_not_in_memory),
        TEST(test_profile_alone),
        TEST(test_puts_before_and_meanwhile),
        TEST(test_many_at_once),
        TEST(test_store_is_away),
        TEST(test_while_somebody_reads),
        TEST(test_journal_is_full),
        TEST(test_journal_cannot_turn),
        TEST(test_put_is_not_journaled_yet),
        TEST(test_event_leaves_memory),
        TEST(test_while_heartbeats_pour_in),
        TEST(test_purge),
        TEST(test_purge_while_heartbeats_pour_in),
        TEST(test_killed_in_an_erasure),
        TEST(test_killed_in_a_purge),
    };
    return tap_run(tests);
}
