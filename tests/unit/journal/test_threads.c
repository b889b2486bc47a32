/* test_threads.c -- one thread appends, rotates and removes; another syncs; a third looks on.
 * Worth most under ThreadSanitizer. */
#include "unit/journal/common.h"

#include <pthread.h>
#include <stdatomic.h>

#define RECORDS 30000

struct shared {
    struct journal *journal;
    _Atomic bool done;
    uint64_t syncs;
};

/* cmocka's asserts belong to the main thread. */
#define REQUIRE(expression)                                                                        \
    do {                                                                                           \
        if (!(expression)) {                                                                       \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #expression);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void *sync_all_the_time(void *arg)
{
    struct shared *shared = arg;
    uint64_t durable_seq = 0;
    while (!atomic_load(&shared->done)) {
        uint64_t appended = journal_appended_seq(shared->journal);
        uint64_t before = durable_seq;
        REQUIRE(journal_sync(shared->journal, &durable_seq) == ERR_NONE);
        REQUIRE(durable_seq >= appended);
        REQUIRE(durable_seq >= before);
        REQUIRE(journal_durable_seq(shared->journal) >= durable_seq);
        shared->syncs += durable_seq > before;
    }
    return NULL;
}

static void *look_on(void *arg)
{
    struct shared *shared = arg;
    uint64_t durable_seq = 0;
    while (!atomic_load(&shared->done)) {
        uint64_t now = journal_durable_seq(shared->journal);
        REQUIRE(now >= durable_seq);
        durable_seq = now;
        REQUIRE(journal_appended_seq(shared->journal) >= durable_seq);
        REQUIRE(journal_bytes(shared->journal) >= SEGMENT_HEADER_BYTES);
        sched_yield();
    }
    return NULL;
}

static void test_append_while_another_syncs(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct shared shared = {.journal = open_small(&place, 0, &report)};
    pthread_t syncing, looking;
    assert_int_equal(pthread_create(&syncing, NULL, sync_all_the_time, &shared), 0);
    assert_int_equal(pthread_create(&looking, NULL, look_on, &shared), 0);
    uint64_t covered_seq = 0;
    for (int i = 0; i < RECORDS; i++) {
        append_many(shared.journal, 1);
        if (i % 500 == 0) {
            covered_seq = journal_durable_seq(shared.journal);
            assert_int_equal(journal_remove_covered(shared.journal, covered_seq), ERR_NONE);
        }
        if (i % 5000 == 4999) {
            /* Also what was never synced may go, and its descriptor may be in use. */
            covered_seq = journal_appended_seq(shared.journal);
            assert_int_equal(journal_remove_covered(shared.journal, covered_seq), ERR_NONE);
        }
    }
    atomic_store(&shared.done, true);
    pthread_join(syncing, NULL);
    pthread_join(looking, NULL);
    print_message("# %llu syncs that had something to do\n", (unsigned long long)shared.syncs);
    assert_true(shared.syncs > 10);
    append_many(shared.journal, 1);
    journal_close(shared.journal);
    expect_records(place.folder, covered_seq + 1, RECORDS + 1);
    place_fini(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_append_while_another_syncs)};
    return tap_run(tests);
}
