/* test_ring.c -- a ring gives back what was put, in order, each once, also between threads. */
#include "base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "tap.h"

static void *item(uintptr_t number)
{
    return (void *)(number + 1); /* never NULL: that means empty */
}

static void test_slots(void **state)
{
    (void)state;
    static const struct {
        uint32_t asked, slots;
    } cases[] = {{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 8}, {1000, 1024}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ring ring;
        ring_init(&ring, cases[i].asked);
        uint32_t fit = 0;
        while (ring_put(&ring, item(fit))) {
            fit++;
        }
        assert_int_equal(fit, cases[i].slots);
        for (uint32_t number = 0; number < fit; number++) {
            assert_ptr_equal(ring_take(&ring), item(number));
        }
        assert_null(ring_take(&ring));
        ring_fini(&ring);
    }
}

static void test_peek_and_empty(void **state)
{
    (void)state;
    struct ring ring;
    ring_init(&ring, 4);
    assert_true(ring_empty(&ring));
    assert_null(ring_peek(&ring));
    assert_true(ring_put(&ring, item(1)));
    assert_true(ring_put(&ring, item(2)));
    assert_false(ring_empty(&ring));
    assert_ptr_equal(ring_peek(&ring), item(1));
    assert_ptr_equal(ring_peek(&ring), item(1)); /* it stays */
    assert_ptr_equal(ring_take(&ring), item(1));
    assert_ptr_equal(ring_peek(&ring), item(2));
    assert_ptr_equal(ring_take(&ring), item(2));
    assert_true(ring_empty(&ring));
    ring_fini(&ring);
}

/* The counters run over 2^32: nothing is lost there. */
static void test_counters_wrap(void **state)
{
    (void)state;
    struct ring ring;
    ring_init(&ring, 8);
    atomic_store(&ring.tail, UINT32_MAX - 3);
    atomic_store(&ring.head, UINT32_MAX - 3);
    ring.head_seen = ring.tail_seen = UINT32_MAX - 3;
    for (int round = 0; round < 5; round++) {
        uintptr_t put = 0;
        while (ring_put(&ring, item(put))) {
            put++;
        }
        assert_int_equal(put, 8);
        for (uintptr_t number = 0; number < put; number++) {
            assert_ptr_equal(ring_take(&ring), item(number));
        }
        assert_true(ring_empty(&ring));
    }
    ring_fini(&ring);
}

/* Against the simplest queue there is: two counters, in one thread. */
static void test_random_puts_and_takes(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct ring ring;
    ring_init(&ring, 16);
    uintptr_t put = 0, taken = 0;
    for (int i = 0; i < 200000; i++) {
        if (tap_random(&seed) % 2 == 0) {
            bool room = put - taken < 16;
            assert_int_equal(ring_put(&ring, item(put)), room);
            put += room;
        } else {
            void *expected = taken < put ? item(taken) : NULL;
            assert_ptr_equal(ring_peek(&ring), expected);
            assert_ptr_equal(ring_take(&ring), expected);
            taken += expected != NULL;
        }
        assert_int_equal(ring_empty(&ring), put == taken);
    }
    ring_fini(&ring);
}

#define PASSED 200000

struct cargo {
    uint64_t number, square; /* plain: what was written before the put is seen after the take */
};

struct pair {
    struct ring there, back;
    struct cargo cargo[32];
};

static void *echo(void *ctx)
{
    struct pair *pair = ctx;
    for (uint64_t expected = 0; expected < PASSED;) {
        struct cargo *cargo = ring_take(&pair->there);
        if (cargo == NULL) {
            sched_yield();
            continue;
        }
        if (cargo->number != expected || cargo->square != expected * expected) {
            cargo->square = UINT64_MAX; /* the other side fails on it */
        } else {
            cargo->square++;
        }
        expected++;
        while (!ring_put(&pair->back, cargo)) {
            sched_yield();
        }
    }
    return NULL;
}

/* Cargo goes there and back; each piece is one side's alone.  Run under TSan. */
static void test_two_threads(void **state)
{
    (void)state;
    struct pair *pair = aligned_alloc(alignof(struct pair), sizeof *pair);
    assert_non_null(pair);
    memset(pair, 0, sizeof *pair);
    ring_init(&pair->there, 8);
    ring_init(&pair->back, 8);
    struct cargo *idle[32];
    size_t idle_count = 0;
    for (size_t i = 0; i < 32; i++) {
        idle[idle_count++] = &pair->cargo[i];
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, echo, pair), 0);
    uint64_t sent = 0, wrong = 0;
    for (uint64_t received = 0; received < PASSED;) {
        while (sent < PASSED && idle_count > 0) {
            struct cargo *cargo = idle[idle_count - 1];
            *cargo = (struct cargo){sent, sent * sent};
            if (!ring_put(&pair->there, cargo)) {
                break;
            }
            idle_count--;
            sent++;
        }
        struct cargo *cargo = ring_take(&pair->back);
        if (cargo == NULL) {
            sched_yield();
            continue;
        }
        wrong += cargo->number != received || cargo->square != received * received + 1;
        received++;
        idle[idle_count++] = cargo;
    }
    pthread_join(thread, NULL);
    assert_int_equal(wrong, 0);
    assert_true(ring_empty(&pair->there) && ring_empty(&pair->back));
    ring_fini(&pair->there);
    ring_fini(&pair->back);
    free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),         cmocka_unit_test(test_peek_and_empty),
        cmocka_unit_test(test_counters_wrap), cmocka_unit_test(test_random_puts_and_takes),
        cmocka_unit_test(test_two_threads),
    };
    return tap_run(tests);
}
