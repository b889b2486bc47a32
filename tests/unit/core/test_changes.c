/* test_changes.c -- rows keep their order and their text while more is added. */
#include "tap.h"

#include "core/changes.h"

static void fill(struct changes *changes, uint32_t rounds)
{
    char text[64];
    for (uint32_t i = 0; i < rounds; i++) {
        struct change *change = changes_add(changes);
        int len = sprintf(text, "event %u", i);
        change->audience.event = changes_copy(changes, slice_of(text, (size_t)len));
        for (uint32_t m = 0; m < i % 7; m++) {
            len = sprintf(text, "viewer %u of %u", m, i);
            struct slice copied = changes_copy(changes, slice_of(text, (size_t)len));
            struct member_row *row = changes_add_member(changes);
            row->member_no = m;
            row->viewer = copied;
        }
        for (uint32_t v = 0; v < i % 3; v++) {
            changes_add_viewing(changes)->start_ms = v + i;
        }
        for (uint32_t f = 0; f < i % 2; f++) {
            changes_add_frame(changes)->start_ms = f + i;
        }
        for (uint32_t g = 0; g < i % 5; g++) {
            changes_add_groups(changes)->set_no = (uint16_t)g;
        }
        changes_add_erasure(changes)->viewer_no = i; /* these belong to no change */
        changes_add_purge(changes)->keep_statistics = i % 2 == 0;
        changes_add_erased(changes)->viewings = i;
    }
}

static void verify(const struct changes *changes, uint32_t rounds)
{
    char text[64];
    assert_int_equal(changes->changes_count, rounds);
    assert_int_equal(changes->erasures_count, rounds);
    assert_int_equal(changes->purges_count, rounds);
    assert_int_equal(changes->erased_count, rounds);
    for (uint32_t i = 0; i < rounds; i++) {
        const struct change *change = &changes->changes[i];
        int len = sprintf(text, "event %u", i);
        assert_true(slice_equal(change->audience.event, slice_of(text, (size_t)len)));
        assert_int_equal(change->members_count, i % 7);
        assert_int_equal(change->viewings_count, i % 3);
        assert_int_equal(change->frames_count, i % 2);
        assert_int_equal(change->groups_count, i % 5);
        assert_int_equal(changes->erasures[i].viewer_no, i);
        assert_int_equal(changes->purges[i].keep_statistics, i % 2 == 0);
        assert_int_equal(changes->erased[i].viewings, i);
        for (uint32_t m = 0; m < i % 7; m++) {
            const struct member_row *row = &changes->members[change->members_first + m];
            len = sprintf(text, "viewer %u of %u", m, i);
            assert_true(slice_equal(row->viewer, slice_of(text, (size_t)len)));
            assert_true(row->member_no == m && !row->created && row->end_ms == 0);
        }
        for (uint32_t v = 0; v < i % 3; v++) {
            assert_int_equal(changes->viewings[change->viewings_first + v].start_ms, v + i);
        }
        for (uint32_t g = 0; g < i % 5; g++) {
            assert_int_equal(changes->groups[change->groups_first + g].set_no, g);
        }
    }
}

/* Text of several blocks; a reset that keeps memory; rows of the second use are zeroed. */
static void test_reuse(void **state)
{
    (void)state;
    struct changes changes;
    changes_init(&changes);
    for (uint32_t rounds = 5000; rounds > 0; rounds /= 5) {
        fill(&changes, rounds);
        verify(&changes, rounds);
        changes.covered_seq = 7;
        changes_reset(&changes);
        assert_int_equal(changes.changes_count + changes.members_count + changes.viewings_count +
                             changes.frames_count + changes.groups_count,
                         0);
        assert_int_equal(changes.covered_seq, 0);
    }
    changes_fini(&changes);
    changes_fini(&changes);
}

static void test_text(void **state)
{
    (void)state;
    struct changes changes;
    changes_init(&changes);
    assert_int_equal(changes_copy(&changes, SLICE_EMPTY).len, 0);
    char *large = malloc(200000);
    memset(large, 'x', 200000);
    struct slice small = changes_copy(&changes, SLICE_LIT("small"));
    struct slice copied = changes_copy(&changes, slice_of(large, 200000));
    struct slice after = changes_copy(&changes, SLICE_LIT("after"));
    assert_true(slice_equal(small, SLICE_LIT("small")));
    assert_true(slice_equal(copied, slice_of(large, 200000)));
    assert_true(slice_equal(after, SLICE_LIT("after")));
    free(large);
    changes_fini(&changes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reuse), cmocka_unit_test(test_text)};
    return tap_run(tests);
}
