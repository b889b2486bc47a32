/* test_backup.c -- a copy of the folder that a server works with: whole, and never less than what
 * was acknowledged before. */
#include "common.h"

#include "journal/journal.h"
#include "live/backup.h"

#include <pthread.h>
#include <stdatomic.h>

static enum err back_up(const char *dest, char why[512])
{
    why[0] = '\0';
    return store_backup(folder.data, "sqlite", dest, why, 512);
}

static void note_fault(void *ctx, const char *text)
{
    (void)ctx;
    fail_msg("records_check: %s", text);
}

static enum err ignore_record(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    (void)ctx, (void)seq, (void)time_ms, (void)payload;
    return ERR_NONE;
}

/* What `novabeat check` looks at. */
static void check_whole(const char *data)
{
    char path[160];
    struct records_link *link;
    uint64_t covered_seq;
    struct journal_report report;
    (void)snprintf(path, sizeof path, "%s/records.db", data);
    assert_int_equal(records_open(path, false, &link, NULL, 0), ERR_NONE);
    assert_int_equal(records_check(link, note_fault, NULL), ERR_NONE);
    assert_int_equal(records_covered(link, &covered_seq), ERR_NONE);
    records_close(link);
    (void)snprintf(path, sizeof path, "%s/journal", data);
    assert_int_equal(journal_scan(path, covered_seq + 1, ignore_record, NULL, &report), ERR_NONE);
    assert_int_equal(report.torn_bytes, 0);
}

/* ---- under load ---- */

#define POURERS 3

struct pourer {
    struct live *live;
    uint32_t port;
    atomic_bool stop;
    atomic_uint counted;     /* viewers p<port>-0 … are in */
    enum live_status status; /* of the newest */
    pthread_t thread;
};

/* New viewers, one after the other: whatever is missing shows in the count. */
static void *pour(void *ctx)
{
    struct pourer *pourer = ctx;
    struct loop loop;
    char viewer[32];
    loop_attach(&loop, pourer->live, pourer->port);
    while (!atomic_load(&pourer->stop)) {
        unsigned number = atomic_load(&pourer->counted);
        (void)snprintf(viewer, sizeof viewer, "p%u-%u", pourer->port, number);
        struct heartbeat heartbeat = heartbeat_of("e", number % 2 == 0 ? "s" : "t", viewer);
        heartbeat.flags = HEARTBEAT_GROUPS;
        pourer->status = beat_as(&loop, heartbeat);
        if (pourer->status != LIVE_OK) {
            break;
        }
        atomic_store(&pourer->counted, number + 1);
        nap_ms(number % 8 == 0); /* it is the copies that are to be tested */
    }
    close(loop.wake_fd);
    return NULL;
}

static uint64_t counted_by(struct pourer *pourers)
{
    uint64_t counted = 0;
    for (int i = 0; i < POURERS; i++) {
        counted += atomic_load(&pourers[i].counted);
    }
    return counted;
}

static void open_copy(const char *dest, uint64_t at_least, uint64_t at_most)
{
    struct live_options options = options_for(&folder);
    options.data = dest;
    struct loop loop;
    loop_start(&loop, &options);
    struct figures all = figures_of(&loop, "e", NULL);
    if (all.attended < at_least) {
        fail_msg("%llu of %llu", (unsigned long long)all.attended, (unsigned long long)at_least);
    }
    assert_true(all.attended >= at_least);
    assert_true(all.attended <= at_most);
    assert_int_equal(all.logins, all.attended);
    assert_int_equal(figures_of(&loop, "e", "s").attended + figures_of(&loop, "e", "t").attended,
                     all.attended);
    /* A server can go on with it. */
    assert_int_equal(beat_in(&loop, "e", "new", ""), LIVE_OK);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, all.attended + 1);
    loop_stop(&loop);
}

static void pour_and_copy(struct live_options *options, int copies)
{
    struct loop loop;
    struct pourer pourers[POURERS];
    char dest[96], why[512];
    options->ports = 1 + POURERS;
    loop_start(&loop, options);
    for (uint32_t i = 0; i < POURERS; i++) {
        pourers[i] = (struct pourer){.live = loop.live, .port = i + 1};
        assert_int_equal(pthread_create(&pourers[i].thread, NULL, pour, &pourers[i]), 0);
    }
    uint64_t before = 0;
    for (int i = 0; i < copies; i++) {
        WAIT_FOR(counted_by(pourers) > before + 5);
        (void)snprintf(dest, sizeof dest, "%s/copy-%d", folder.top, i);
        before = counted_by(pourers);
        enum err err = back_up(dest, why);
        uint64_t after = counted_by(pourers) + POURERS; /* one each may be on its way */
        if (err != ERR_NONE) {
            fail_msg("copy %d: %s: %s", i, err_text(err), why);
        }
        check_whole(dest);
        open_copy(dest, before, after);
    }
    for (int i = 0; i < POURERS; i++) {
        atomic_store(&pourers[i].stop, true);
        pthread_join(pourers[i].thread, NULL);
        assert_int_equal(pourers[i].status, LIVE_OK);
    }
    assert_int_equal(figures_of(&loop, "e", NULL).attended, counted_by(pourers));
    loop_stop(&loop);
}

static void test_under_load(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    pour_and_copy(&options, 15);
}

/* Segments come and go all the time. */
static void test_small_segments(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.journal_segment_bytes = 4096;
    options.records_flush_ms = options.records_interval_ms = 5;
    pour_and_copy(&options, 15);
}

/* Nothing is stored in the records yet: the journal has it all. */
static void test_journal_alone(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000;
    options.durability = LIVE_SYNC;
    pour_and_copy(&options, 5);
}

/* ---- at rest ---- */

static void test_stopped_server(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    char dest[96], why[512];
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "staff"), LIVE_OK);
    assert_int_equal(put_profile(&loop, "e", "v", "Name", "staff"), LIVE_OK);
    loop_stop(&loop);
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    assert_int_equal(mkdir(dest, 0700), 0); /* empty is fine */
    assert_int_equal(back_up(dest, why), ERR_NONE);
    check_whole(dest);
    options.data = dest;
    loop_start(&loop, &options);
    assert_int_equal(figures_of(&loop, "e", NULL).attended, 1);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    loop_stop(&loop);
}

/* What an erasure took out of the records is not in the copy's journal. */
static void test_after_an_erasure(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    char dest[96], why[512], command[256];
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "viewer-of-the-test", ""), LIVE_OK);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    struct question question;
    question_init(&question, LIVE_ERASE, "e");
    question.query.viewer = SLICE_LIT("viewer-of-the-test");
    assert_int_equal(ask(&loop, &question), LIVE_OK);
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    assert_int_equal(back_up(dest, why), ERR_NONE);
    loop_stop(&loop);
    check_whole(dest);
    (void)snprintf(command, sizeof command, "grep -rqa viewer-of-the-test '%s'", folder.top);
    assert_int_equal(WEXITSTATUS(system(command)), 1); /* grep: not found */
}

/* ---- what cannot be ---- */

static void test_refusals(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    char dest[96], path[160], why[512];
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    assert_int_equal(back_up(dest, why), ERR_NOT_FOUND); /* nothing is there */
    assert_string_not_equal(why, "");
    assert_int_equal(access(dest, F_OK), -1); /* nothing is left */
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", ""), LIVE_OK);
    loop_stop(&loop);
    (void)snprintf(path, sizeof path, "%s/missing/copy", folder.top);
    assert_int_equal(back_up(path, why), ERR_IO);
    assert_non_null(strstr(why, "missing"));
    assert_int_equal(back_up(folder.data, why), ERR_INVALID); /* not empty */
    assert_non_null(strstr(why, "not an empty folder"));
    check_whole(folder.data); /* and untouched */
    assert_int_equal(mkdir(dest, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/records.db", folder.data);
    assert_int_equal(truncate(path, 100), 0);
    assert_true(back_up(dest, why) != ERR_NONE); /* no database any more */
    assert_int_equal(rmdir(dest), 0);            /* the folder stays, empty */
}

/* Nobody's failure: the journal of the folder itself has a hole. */
static void test_journal_with_a_hole(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    options.records_flush_ms = options.records_interval_ms = 3600000;
    options.journal_segment_bytes = 4096;
    struct loop loop;
    char dest[96], path[160], why[512], viewer[16];
    loop_start(&loop, &options);
    for (int i = 0; i < 400; i++) {
        (void)snprintf(viewer, sizeof viewer, "v%d", i);
        assert_int_equal(beat_in(&loop, "e", viewer, ""), LIVE_OK);
    }
    (void)snprintf(path, sizeof path, "%s/journal/00000000000000000001.journal", folder.data);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    assert_int_equal(back_up(dest, why), ERR_DAMAGED);
    assert_int_equal(access(dest, F_OK), -1);
    loop_stop(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_under_load),          TEST(test_small_segments),   TEST(test_journal_alone),
        TEST(test_stopped_server),      TEST(test_after_an_erasure), TEST(test_refusals),
        TEST(test_journal_with_a_hole),
    };
    return tap_run(tests);
}
