/* test_index.c -- the hash index against a naive map, through growth and its slow move. */
#include "tap.h"

#include "base/memory.h"
#include "core/index.h"

struct owner {
    uint32_t *hashes; /* of number i */
    uint32_t count;
};

static uint32_t hash_of(const void *owner, uint32_t number)
{
    return ((const struct owner *)owner)->hashes[number];
}

static bool has(const struct index *index, uint32_t hash, uint32_t number)
{
    struct index_probe probe = index_probe(index, hash);
    uint32_t found;
    while ((found = index_next(&probe)) != INDEX_NONE && found != number) {
    }
    return found == number;
}

static void test_empty(void **state)
{
    (void)state;
    struct index index;
    index_init(&index);
    struct index_probe probe = index_probe(&index, 12345);
    assert_int_equal(index_next(&probe), INDEX_NONE);
    index_prefetch(&index, 12345);
    index_check(&index, 0, hash_of, NULL);
    index_fini(&index);
}

/* Fills an index; `hash_mask` makes hashes collide. */
static void fill(uint64_t seed, uint32_t count, uint32_t hash_mask, bool reserve)
{
    struct index index;
    index_init(&index);
    struct owner owner = {memory_alloc(count * sizeof(uint32_t)), 0};
    uint32_t moving = 0;
    if (reserve) {
        index_reserve(&index, count);
    }
    const uint32_t *reserved = index.slots;
    for (uint32_t number = 0; number < count; number++) {
        owner.hashes[number] = (uint32_t)tap_random(&seed) & hash_mask;
        owner.count++;
        assert_false(has(&index, owner.hashes[number], number));
        index_insert(&index, owner.hashes[number], number, hash_of, &owner);
        moving += index.old != NULL;
        assert_true(index.count <= (index.mask + 1) / 4 * 3);
        if (number < 300 || number % 1021 == 0) {
            index_check(&index, owner.count, hash_of, &owner);
        }
        uint32_t any = (uint32_t)tap_random(&seed) % owner.count; /* also one not moved yet */
        assert_true(has(&index, owner.hashes[any], any));
    }
    index_check(&index, count, hash_of, &owner);
    assert_true(reserve ? moving == 0 && index.slots == reserved : count < 32 || moving > 0);
    index_fini(&index);
    free(owner.hashes);
}

static void test_growth(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    fill(tap_random(&seed), 1, UINT32_MAX, false);
    fill(tap_random(&seed), 12, UINT32_MAX, false);
    fill(tap_random(&seed), 13, UINT32_MAX, false);
    fill(tap_random(&seed), 100000, UINT32_MAX, false);
}

static void test_collisions(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    fill(tap_random(&seed), 500, 0, false);           /* all the same */
    fill(tap_random(&seed), 500, 0xfc000000u, false); /* one place, tags differ */
    fill(tap_random(&seed), 2000, 0xff, false);       /* no tags */
}

static void test_reserve(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    for (uint32_t count = 1; count < 100; count++) {
        fill(tap_random(&seed), count, UINT32_MAX, true);
    }
    fill(tap_random(&seed), 49152, UINT32_MAX, true);
}

/* Wrong candidates are rare: tags tell 63 of 64 apart. */
static void test_candidates(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct index index;
    index_init(&index);
    struct owner owner = {memory_alloc(40000 * sizeof(uint32_t)), 0};
    for (uint32_t number = 0; number < 40000; number++) {
        owner.hashes[number] = (uint32_t)tap_random(&seed);
        index_insert(&index, owner.hashes[number], number, hash_of, &owner);
    }
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 40000; i++) {
        struct index_probe probe = index_probe(&index, (uint32_t)tap_random(&seed));
        while (index_next(&probe) != INDEX_NONE) {
            wrong++;
        }
    }
    assert_true(wrong < 8000);
    index_fini(&index);
    free(owner.hashes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_growth),
        cmocka_unit_test(test_collisions), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_candidates),
    };
    return tap_run(tests);
}
