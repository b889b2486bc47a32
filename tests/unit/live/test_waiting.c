/* test_waiting.c -- the table of what waits for the loader, and the queue to it. */
#include "live/waiting.h"

#include "base/memory.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>

#define EVENT SLICE_LIT("e")

static struct waiting_table *table_new(void)
{
    struct waiting_table *table = memory_zalloc(sizeof *table);
    table->hash_key = (struct hash_key){1, 2};
    return table;
}

static void test_finds_what_was_added(void **state)
{
    (void)state;
    struct waiting_table *table = table_new();
    struct waiting *event = waiting_add(table, EVENT, SLICE_EMPTY, 1);
    struct waiting *viewer = waiting_add(table, EVENT, SLICE_LIT("v"), 2);
    struct waiting *other = waiting_add(table, SLICE_LIT("ev"), SLICE_EMPTY, 3);
    assert_true(event->is_event && !viewer->is_event && other->is_event);
    assert_ptr_equal(waiting_find(table, EVENT, SLICE_EMPTY), event);
    assert_ptr_equal(waiting_find(table, EVENT, SLICE_LIT("v")), viewer);
    assert_ptr_equal(waiting_find(table, SLICE_LIT("ev"), SLICE_EMPTY), other);
    assert_null(waiting_find(table, SLICE_LIT("e"), SLICE_LIT("w")));
    waiting_remove(table, viewer);
    assert_null(waiting_find(table, EVENT, SLICE_LIT("v")));
    assert_ptr_equal(waiting_find(table, EVENT, SLICE_EMPTY), event);
    waiting_remove(table, event);
    waiting_remove(table, other);
    assert_int_equal(table->count, 0);
    free(table);
}

static void test_beats_keep_their_order(void **state)
{
    (void)state;
    struct waiting_table *table = table_new();
    struct waiting *waiting = waiting_add(table, EVENT, SLICE_LIT("v"), 1);
    struct live_beat beats[3] = {0};
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            waiting_push(table, waiting, &beats[i]);
        }
        assert_int_equal(table->beats, 3);
        struct live_beat *at = waiting_take(table, waiting);
        for (int i = 0; i < 3; i++) {
            assert_ptr_equal(at, &beats[i]);
            at = at->next;
        }
        assert_null(at);
        assert_int_equal(table->beats, 0);
        assert_null(waiting_take(table, waiting));
    }
    waiting_remove(table, waiting);
    free(table);
}

/* Each list is in order of age, whatever is taken out of it, and the late ones are in one apart. */
static void test_lists_are_in_order(void **state)
{
    (void)state;
    struct waiting_table *table = table_new();
    struct waiting *all[20];
    for (int i = 0; i < 20; i++) {
        char name = (char)('a' + i);
        all[i] = i % 2 == 0 ? waiting_add(table, slice_of(&name, 1), SLICE_EMPTY, i)
                            : waiting_add(table, EVENT, slice_of(&name, 1), i);
    }
    waiting_remove(table, all[0]);  /* the oldest of the events */
    waiting_remove(table, all[10]); /* one in the middle */
    waiting_remove(table, all[19]); /* the newest of the profiles */
    waiting_late(table, all[7]);
    waiting_late(table, all[2]);
    waiting_late(table, all[17]);
    const int lists[WAITING_LISTS][16] = {
        [WAITING_EVENTS] = {4, 6, 8, 12, 14, 16, 18, -1},
        [WAITING_PROFILES] = {1, 3, 5, 9, 11, 13, 15, -1},
        [WAITING_LATE] = {7, 2, 17, -1},
    };
    for (int list = 0; list < WAITING_LISTS; list++) {
        struct waiting *at = table->lists[list].oldest, *before = NULL;
        for (int i = 0; lists[list][i] >= 0; i++) {
            assert_ptr_equal(at, all[lists[list][i]]);
            assert_ptr_equal(at->older, before);
            before = at;
            at = at->newer;
        }
        assert_null(at);
        assert_ptr_equal(table->lists[list].newest, before);
        while (table->lists[list].oldest != NULL) {
            waiting_remove(table, table->lists[list].oldest);
        }
        assert_null(table->lists[list].newest);
    }
    assert_int_equal(table->count, 0);
    free(table);
}

static void test_is_bounded(void **state)
{
    (void)state;
    struct waiting_table *table = table_new();
    for (uint32_t i = 0; i < WAITING_MAX; i++) {
        struct slice viewer = slice_of((const char *)&i, sizeof i);
        assert_non_null(waiting_add(table, EVENT, viewer, 0));
    }
    assert_null(waiting_add(table, EVENT, SLICE_LIT("one more"), 0));
    waiting_remove(table, table->lists[WAITING_PROFILES].oldest);
    assert_non_null(waiting_add(table, EVENT, SLICE_LIT("one more"), 0));
    while (table->lists[WAITING_PROFILES].oldest != NULL) {
        waiting_remove(table, table->lists[WAITING_PROFILES].oldest);
    }
    free(table);
}

/* What was put while the loader was reading is newer than what it read. */
static void test_a_put_overrides(void **state)
{
    (void)state;
    struct waiting_table *table = table_new();
    struct waiting *waiting = waiting_add(table, EVENT, SLICE_LIT("v"), 0);
    waiting_settle(waiting);
    assert_false(waiting->found);
    waiting_override(waiting, SLICE_LIT("\1a"));
    waiting_override(waiting, SLICE_LIT("\1b"));
    waiting->err = ERR_BUSY;
    waiting->groups = memory_alloc(2); /* the loader's */
    waiting->groups_len = 2;
    waiting_settle(waiting);
    assert_true(waiting->found);
    assert_int_equal(waiting->err, ERR_NONE);
    assert_true(slice_equal(slice_of(waiting->groups, waiting->groups_len), SLICE_LIT("\1b")));
    waiting_override(waiting, SLICE_EMPTY);
    waiting_settle(waiting);
    assert_int_equal(waiting->groups_len, 0);
    waiting_override(waiting, SLICE_LIT("\1c")); /* freed with it */
    waiting_remove(table, waiting);
    free(table);
}

static void test_queue_gives_events_first(void **state)
{
    (void)state;
    struct waiting_queue queue;
    waiting_queue_init(&queue);
    struct waiting profiles[5] = {0}, events[2] = {{.is_event = true}, {.is_event = true}};
    for (int i = 0; i < 5; i++) {
        waiting_queue_put(&queue, &profiles[i]);
    }
    waiting_queue_put(&queue, &events[0]);
    waiting_queue_put(&queue, &events[1]);
    assert_ptr_equal(waiting_queue_take(&queue, 3), &events[0]);
    assert_null(events[0].queue_next);
    assert_ptr_equal(waiting_queue_take(&queue, 3), &events[1]);
    assert_ptr_equal(waiting_queue_take(&queue, 3), &profiles[0]);
    assert_ptr_equal(profiles[0].queue_next, &profiles[1]);
    assert_ptr_equal(profiles[1].queue_next, &profiles[2]);
    assert_null(profiles[2].queue_next);
    assert_ptr_equal(waiting_queue_take(&queue, 3), &profiles[3]);
    assert_ptr_equal(profiles[3].queue_next, &profiles[4]);
    assert_null(profiles[4].queue_next);
    waiting_queue_put(&queue, &profiles[0]);
    waiting_queue_stop(&queue);
    assert_null(waiting_queue_take(&queue, 3)); /* at stop nobody waits for what is left */
}

#define THROUGH 20000

static void *take_all(void *ctx)
{
    struct waiting_queue *queue = ctx;
    uint64_t taken = 0;
    struct waiting *at;
    while ((at = waiting_queue_take(queue, 7)) != NULL) {
        while (at != NULL) {
            struct waiting *next = at->queue_next;
            at->found = true;
            taken++;
            if (taken == THROUGH) {
                waiting_queue_stop(queue);
            }
            at = next;
        }
    }
    return (void *)(uintptr_t)taken;
}

static void test_queue_between_threads(void **state)
{
    (void)state;
    static struct waiting entries[THROUGH];
    struct waiting_queue queue;
    waiting_queue_init(&queue);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_all, &queue), 0);
    for (int i = 0; i < THROUGH; i++) {
        entries[i].is_event = i % 16 == 0;
        waiting_queue_put(&queue, &entries[i]);
    }
    void *taken;
    pthread_join(thread, &taken);
    assert_int_equal((uintptr_t)taken, THROUGH);
    for (int i = 0; i < THROUGH; i++) {
        assert_true(entries[i].found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_what_was_added),
        cmocka_unit_test(test_beats_keep_their_order),
        cmocka_unit_test(test_lists_are_in_order),
        cmocka_unit_test(test_is_bounded),
        cmocka_unit_test(test_a_put_overrides),
        cmocka_unit_test(test_queue_gives_events_first),
        cmocka_unit_test(test_queue_between_threads),
    };
    return tap_run(tests);
}
