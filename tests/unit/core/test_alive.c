/* test_alive.c -- the lists of leases: each list, their order, both ends, expiry to the ms. */
#include "tap.h"

#include "core/alive.h"

#define MEMBERS 40

static struct member members[MEMBERS];
static struct alive alive;

static int start(void **state)
{
    (void)state;
    alive_init(&alive);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        members[i] = (struct member){
            .next = MEMBER_NONE, .prev = MEMBER_NONE, .viewer = i, .list = ALIVE_NOT};
    }
    return 0;
}

static void put(uint32_t number, enum alive_list list, int64_t now_ms, int32_t lease_ms)
{
    members[number].start_ms = members[number].end_ms = now_ms;
    members[number].lease_ms = lease_ms;
    alive_put(&alive, members, number, list);
    alive_check(&alive, members, MEMBERS);
}

static void test_each_list(void **state)
{
    (void)state;
    for (int list = ALIVE_VISIBLE; list < ALIVE_LISTS; list++) {
        put(0, (enum alive_list)list, 1000 + list, 10);
        assert_int_equal(alive.count, 1); /* it moves, it is not there twice */
        assert_int_equal(alive.head[list], 0);
        assert_int_equal(alive.tail[list], 0);
        assert_int_equal(alive_expired(&alive, members, 1010 + list), MEMBER_NONE);
        assert_int_equal(alive_expired(&alive, members, 1011 + list), 0);
    }
    alive_remove(&alive, members, 0);
    alive_check(&alive, members, MEMBERS);
    assert_int_equal(alive.count, 0);
    assert_int_equal(members[0].list, ALIVE_NOT);
}

/* Front, middle and back leave and come again. */
static void test_unlink(void **state)
{
    (void)state;
    for (uint32_t moved = 0; moved < 3; moved++) {
        start(state);
        for (uint32_t i = 0; i < 3; i++) {
            put(i, ALIVE_VISIBLE, 100 + i, 50);
        }
        put(moved, ALIVE_VISIBLE, 110, 50);
        assert_int_equal(alive.count, 3);
        assert_int_equal(alive.tail[ALIVE_VISIBLE], moved);
        put(moved, ALIVE_HIDDEN, 111, 90);
        assert_int_equal(alive.count, 3);
        alive_remove(&alive, members, moved);
        assert_int_equal(alive.count, 2);
        alive_check(&alive, members, MEMBERS);
    }
}

/* At random: what has expired is what a scan says. */
static void test_random(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    static const int32_t leases_ms[ALIVE_LISTS] = {0, 65, 125, 35, 0};
    int64_t now_ms = 0;
    for (int step = 0; step < 20000; step++) {
        now_ms += (int64_t)(tap_random(&seed) % 8);
        uint32_t number;
        while ((number = alive_expired(&alive, members, now_ms)) != MEMBER_NONE) {
            assert_true(member_expiry_ms(&members[number]) < now_ms);
            alive_remove(&alive, members, number);
        }
        uint32_t want = 0;
        for (uint32_t i = 0; i < MEMBERS; i++) {
            bool is_alive = members[i].list != ALIVE_NOT;
            assert_true(!is_alive || member_expiry_ms(&members[i]) >= now_ms);
            want += is_alive;
        }
        assert_int_equal(alive.count, want);
        enum alive_list list = (enum alive_list)(1 + tap_random(&seed) % 3);
        put((uint32_t)(tap_random(&seed) % MEMBERS), list, now_ms, leases_ms[list]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_list, start),
        cmocka_unit_test_setup(test_unlink, start),
        cmocka_unit_test_setup(test_random, start),
    };
    return tap_run(tests);
}
