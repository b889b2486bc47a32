/* test_groups.c -- packed lists of groups, tallies, and the sets that an event keeps once. */
#include "tap.h"

#include "core/group_sets.h"
#include "core/groups.h"

static void test_pack(void **state)
{
    (void)state;
    char out[GROUPS_PACKED_BYTES_MAX];
    size_t len = 99;
    assert_int_equal(groups_pack(NULL, 0, out, &len), GROUPS_OK);
    assert_int_equal(len, 0);
    struct slice ids[] = {SLICE_LIT("vip"), SLICE_LIT("b"), SLICE_LIT("vip"), SLICE_LIT("ab"),
                          SLICE_LIT("a")};
    assert_int_equal(groups_pack(ids, 5, out, &len), GROUPS_OK);
    assert_true(slice_equal(slice_of(out, len), SLICE_LIT("\1a\2ab\1b\3vip")));
    assert_true(groups_valid(slice_of(out, len)));
    struct slice bad[] = {SLICE_LIT("a"), SLICE_LIT("b\n")};
    assert_int_equal(groups_pack(bad, 2, out, &len), GROUPS_INVALID_ID);
    bad[1] = SLICE_EMPTY;
    assert_int_equal(groups_pack(bad, 2, out, &len), GROUPS_INVALID_ID);
}

static void test_pack_bounds(void **state)
{
    (void)state;
    char out[GROUPS_PACKED_BYTES_MAX], texts[GROUPS_PER_VIEWER_MAX + 1][GROUP_ID_BYTES_MAX];
    struct slice ids[2 * GROUPS_PER_VIEWER_MAX];
    size_t len;
    for (int i = 0; i <= GROUPS_PER_VIEWER_MAX; i++) {
        memset(texts[i], 'x', GROUP_ID_BYTES_MAX);
        texts[i][0] = (char)('A' + i);
    }
    for (int i = 0; i < 2 * GROUPS_PER_VIEWER_MAX; i++) {
        ids[i] = slice_of(texts[i % GROUPS_PER_VIEWER_MAX], GROUP_ID_BYTES_MAX);
    }
    /* 32 different ones, each there twice. */
    assert_int_equal(groups_pack(ids, 2 * GROUPS_PER_VIEWER_MAX, out, &len), GROUPS_OK);
    assert_int_equal(len, GROUPS_PACKED_BYTES_MAX);
    assert_true(groups_valid(slice_of(out, len)));
    for (int i = 0; i <= GROUPS_PER_VIEWER_MAX; i++) {
        ids[i] = slice_of(texts[i], GROUP_ID_BYTES_MAX);
    }
    assert_int_equal(groups_pack(ids, GROUPS_PER_VIEWER_MAX + 1, out, &len), GROUPS_TOO_MANY);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(groups_valid(SLICE_EMPTY));
    assert_true(groups_valid(SLICE_LIT("\1a\1b")));
    assert_false(groups_valid(SLICE_LIT("\1b\1a")));   /* order */
    assert_false(groups_valid(SLICE_LIT("\1a\1a")));   /* twice */
    assert_false(groups_valid(SLICE_LIT("\2a")));      /* cut */
    assert_false(groups_valid(SLICE_LIT("\1a\1")));    /* cut */
    assert_false(groups_valid(slice_of("\0", 1)));     /* empty id */
    assert_false(groups_valid(SLICE_LIT("\1\x1f")));   /* control */
    assert_false(groups_valid(SLICE_LIT("\1\xff")));   /* no UTF-8 */
    assert_false(groups_valid(SLICE_LIT("\2b\1\1c"))); /* control inside */
    char bytes[GROUPS_PER_VIEWER_MAX * 2 + 2];
    for (int i = 0; i <= GROUPS_PER_VIEWER_MAX; i++) {
        bytes[2 * i] = 1;
        bytes[2 * i + 1] = (char)('A' + i);
    }
    assert_true(groups_valid(slice_of(bytes, GROUPS_PER_VIEWER_MAX * 2)));
    assert_false(groups_valid(slice_of(bytes, sizeof bytes)));
}

static void test_tally(void **state)
{
    (void)state;
    char out[64];
    size_t len = tally_put(out, SLICE_LIT("HK"), 0x01020304);
    assert_int_equal(len, tally_entry_bytes(2));
    assert_memory_equal(out, "\2HK\4\3\2\1", 7);
    len += tally_put(out + len, slice_of("", 0), UINT32_MAX);
    struct slice rest = slice_of(out, len), key;
    uint32_t count;
    assert_true(tally_next(&rest, &key, &count));
    assert_true(slice_equal(key, SLICE_LIT("HK")) && count == 0x01020304);
    assert_true(tally_next(&rest, &key, &count));
    assert_true(key.len == 0 && count == UINT32_MAX);
    assert_false(tally_next(&rest, &key, &count));
    /* Cut anywhere, it ends and reads nothing beyond. */
    for (size_t cut = 1; cut < 7; cut++) {
        char *copy = malloc(cut);
        memcpy(copy, out, cut);
        rest = slice_of(copy, cut);
        assert_false(tally_next(&rest, &key, &count));
        assert_int_equal(rest.len, 0);
        free(copy);
    }
}

static void test_sets(void **state)
{
    (void)state;
    struct hash_key hash_key = {1, 2};
    struct group_sets sets;
    group_sets_init(&sets, &hash_key);
    assert_int_equal(sets.sets_count, 1);
    assert_int_equal(group_sets_find(&sets, SLICE_EMPTY), 0);
    assert_int_equal(group_sets_intern(&sets, SLICE_EMPTY), 0);
    assert_int_equal(group_sets_find(&sets, SLICE_LIT("\1a")), INDEX_NONE);
    for (int again = 0; again < 2; again++) {
        for (uint32_t i = 0; i < 1000; i++) {
            char packed[64];
            int len = sprintf(packed, "%c%04u%cstaff", 4, i, 5);
            uint32_t number = group_sets_intern(&sets, slice_of(packed, (size_t)len));
            assert_int_equal(number, i + 1); /* in the order of first use */
            assert_int_equal(group_sets_find(&sets, slice_of(packed, (size_t)len)), number);
            assert_true(
                slice_equal(group_sets_packed(&sets, number), slice_of(packed, (size_t)len)));
            assert_int_equal(sets.sets[number].groups_count, 2);
            assert_int_equal(sets.sets[number].groups[1], sets.sets[1].groups[1]);
        }
    }
    assert_int_equal(sets.names_count, 1001); /* "staff" is kept once */
    uint32_t staff = group_sets_group(&sets, SLICE_LIT("staff"));
    assert_true(slice_equal(group_sets_name(&sets, staff), SLICE_LIT("staff")));
    assert_int_equal(group_sets_group(&sets, SLICE_LIT("nobody")), INDEX_NONE);
    group_sets_fini(&sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack),  cmocka_unit_test(test_pack_bounds),
        cmocka_unit_test(test_valid), cmocka_unit_test(test_tally),
        cmocka_unit_test(test_sets),
    };
    return tap_run(tests);
}
