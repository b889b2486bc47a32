/* test_entry.c -- entries come back as they went in, and nothing else comes back as an entry. */
#include "tap.h"

#include <string.h>

#include "base/limits.h"
#include "core/country.h"
#include "core/groups.h"
#include "journal/entry.h"

/* One random valid entry, and the bytes it borrows. */
struct sample {
    struct entry entry;
    char event[EVENT_ID_BYTES_MAX], session[SESSION_ID_BYTES_MAX], viewer[VIEWER_ID_BYTES_MAX];
    char groups[GROUPS_PACKED_BYTES_MAX];
};

static struct slice random_id(uint64_t *random, char *out, size_t len_max)
{
    static const char letters[] = "ABCXYZabcxyz0189._~-";
    size_t len = 1 + tap_random(random) % len_max;
    for (size_t i = 0; i < len; i++) {
        out[i] = letters[tap_random(random) % (sizeof letters - 1)];
    }
    return slice_of(out, len);
}

static struct slice random_groups(uint64_t *random, char out[GROUPS_PACKED_BYTES_MAX])
{
    char ids[GROUPS_PER_VIEWER_MAX][GROUP_ID_BYTES_MAX];
    struct slice slices[GROUPS_PER_VIEWER_MAX];
    size_t count = tap_random(random) % (GROUPS_PER_VIEWER_MAX + 1), len;
    for (size_t i = 0; i < count; i++) {
        slices[i] = random_id(random, ids[i], GROUP_ID_BYTES_MAX);
    }
    assert_int_equal(groups_pack(slices, count, out, &len), GROUPS_OK);
    return slice_of(out, len);
}

static int64_t random_ms(uint64_t *random)
{
    return (int64_t)(tap_random(random) >> (1 + tap_random(random) % 60));
}

static void sample_make(uint64_t *random, struct sample *sample)
{
    struct entry *entry = &sample->entry;
    struct heartbeat *heartbeat = &entry->heartbeat;
    *entry = (struct entry){.kind = 1 + (enum entry_kind)(tap_random(random) % 6)};
    if (entry->kind == ENTRY_TIME) {
        entry->later_ms = 1 + (uint32_t)(tap_random(random) % UINT32_MAX);
        return;
    }
    if (entry->kind == ENTRY_SETTINGS) {
        entry->settings =
            (struct entry_settings){random_ms(random), random_ms(random), random_ms(random),
                                    random_ms(random), 1 + random_ms(random) / 2};
        return;
    }
    heartbeat->event = random_id(random, sample->event, EVENT_ID_BYTES_MAX);
    if (entry->kind == ENTRY_PURGE) {
        entry->keep_statistics = tap_random(random) % 2 == 0;
        return;
    }
    heartbeat->viewer = random_id(random, sample->viewer, VIEWER_ID_BYTES_MAX);
    if (entry->kind == ENTRY_ERASE) {
        return;
    }
    heartbeat->groups = random_groups(random, sample->groups);
    if (entry->kind == ENTRY_HEARTBEAT) {
        static const char *const countries[] = {"ZZ", "HK", "DE", "T1", "00", "99", "A0"};
        if (tap_random(random) % 3 > 0) {
            heartbeat->session = random_id(random, sample->session, SESSION_ID_BYTES_MAX);
        }
        assert_true(
            country_pack(slice_str(countries[tap_random(random) % 7]), &heartbeat->country));
        heartbeat->flags = (uint8_t)(tap_random(random) % 16);
    }
}

static void assert_entries_equal(const struct entry *a, const struct entry *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(slice_equal(a->heartbeat.event, b->heartbeat.event));
    assert_true(slice_equal(a->heartbeat.session, b->heartbeat.session));
    assert_true(slice_equal(a->heartbeat.viewer, b->heartbeat.viewer));
    assert_true(slice_equal(a->heartbeat.groups, b->heartbeat.groups));
    assert_int_equal(a->heartbeat.country, b->heartbeat.country);
    assert_int_equal(a->heartbeat.flags, b->heartbeat.flags);
    assert_int_equal(a->later_ms, b->later_ms);
    assert_int_equal(a->keep_statistics, b->keep_statistics);
    assert_memory_equal(&a->settings, &b->settings, sizeof a->settings);
}

/* Whole payloads of random entries; each also cut at every byte. */
static void test_round_trip(void **state)
{
    (void)state;
    enum { ENTRIES = 20 };
    static struct sample samples[ENTRIES];
    static char payload[ENTRIES * JOURNAL_ENTRY_BYTES_MAX];
    uint64_t random = tap_seed();
    for (int round = 0; round < 100; round++) {
        size_t ends[ENTRIES + 1] = {0};
        for (int i = 0; i < ENTRIES; i++) {
            sample_make(&random, &samples[i]);
            size_t bytes = entry_bytes(&samples[i].entry);
            assert_true(bytes <= JOURNAL_ENTRY_BYTES_MAX);
            assert_int_equal(entry_encode(&samples[i].entry, payload + ends[i]), bytes);
            ends[i + 1] = ends[i] + bytes;
        }
        struct entry entry;
        struct slice rest = slice_of(payload, ends[ENTRIES]);
        for (int i = 0; i < ENTRIES; i++) {
            assert_int_equal(entry_next(&rest, &entry), ERR_NONE);
            assert_entries_equal(&entry, &samples[i].entry);
        }
        assert_int_equal(entry_next(&rest, &entry), ERR_NOT_FOUND);
        assert_int_equal(rest.len, 0);
        if (round % 10 != 0) {
            continue;
        }
        for (int i = 0; i < ENTRIES; i++) {
            for (size_t cut = ends[i] + 1; cut < ends[i + 1]; cut++) {
                /* A copy of the exact size, so that reading beyond it is seen. */
                char *copy = malloc(cut - ends[i]);
                memcpy(copy, payload + ends[i], cut - ends[i]);
                struct slice part = slice_of(copy, cut - ends[i]);
                assert_int_equal(entry_next(&part, &entry), ERR_DAMAGED);
                assert_int_equal(part.len, cut - ends[i]);
                free(copy);
            }
        }
    }
}

static const struct heartbeat plain = {.event = {"launch", 6},
                                       .session = {"keynote", 7},
                                       .viewer = {"ada", 3},
                                       .groups = {"\002vip", 0},
                                       .country = 0,
                                       .flags = HEARTBEAT_HIDDEN};

/* The bytes of docs/JOURNAL.md, so that a change of the format cannot go unseen. */
static void test_bytes(void **state)
{
    (void)state;
    char out[JOURNAL_ENTRY_BYTES_MAX];
    struct heartbeat heartbeat = plain;
    assert_true(country_pack(SLICE_LIT("HK"), &heartbeat.country));
    heartbeat.groups = SLICE_LIT("\003vip");
    heartbeat.flags |= HEARTBEAT_GROUPS;
    static const char expected[] = "\x01\x05HK\x06\x07\x03\x04\x00launchkeynoteada\x03vip";
    assert_int_equal(entry_heartbeat_bytes(&heartbeat), sizeof expected - 1);
    assert_int_equal(entry_heartbeat_encode(&heartbeat, out), sizeof expected - 1);
    assert_memory_equal(out, expected, sizeof expected - 1);

    struct entry profile = {.kind = ENTRY_PROFILE, .heartbeat = heartbeat};
    static const char expected_profile[] = "\x02\x06\x03\x04\x00launchada\x03vip";
    assert_int_equal(entry_encode(&profile, out), sizeof expected_profile - 1);
    assert_memory_equal(out, expected_profile, sizeof expected_profile - 1);

    struct entry settings = {.kind = ENTRY_SETTINGS,
                             .settings = {65000, 125000, 35000, 150000, 300000}};
    static const char expected_settings[] = "\x03"
                                            "\xe8\xfd\x00\x00\x00\x00\x00\x00"
                                            "\x48\xe8\x01\x00\x00\x00\x00\x00"
                                            "\xb8\x88\x00\x00\x00\x00\x00\x00"
                                            "\xf0\x49\x02\x00\x00\x00\x00\x00"
                                            "\xe0\x93\x04\x00\x00\x00\x00\x00";
    assert_int_equal(entry_encode(&settings, out), sizeof expected_settings - 1);
    assert_memory_equal(out, expected_settings, sizeof expected_settings - 1);

    struct entry erase = {.kind = ENTRY_ERASE, .heartbeat = heartbeat};
    static const char expected_erase[] = "\x05\x06\x03launchada";
    assert_int_equal(entry_encode(&erase, out), sizeof expected_erase - 1);
    assert_memory_equal(out, expected_erase, sizeof expected_erase - 1);

    struct entry purge = {.kind = ENTRY_PURGE, .heartbeat = heartbeat, .keep_statistics = true};
    static const char expected_purge[] = "\x06\x06\x01launch";
    assert_int_equal(entry_encode(&purge, out), sizeof expected_purge - 1);
    assert_memory_equal(out, expected_purge, sizeof expected_purge - 1);
}

/* Each rule broken alone. */
static void test_invalid(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        struct slice bytes;
        enum err err;
    } cases[] = {
#define CASE(why, text, err) {why, {text, sizeof(text) - 1}, err}
        CASE("well",
             "\x01\x00ZZ\x01\x00\x01\x00\x00"
             "ev",
             ERR_NONE),
        CASE("kind 0",
             "\x00\x00ZZ\x01\x00\x01\x00\x00"
             "ev",
             ERR_DAMAGED),
        CASE("time standing still", "\x04\x00\x00\x00\x00", ERR_DAMAGED),
        CASE("kind 7",
             "\x07\x00ZZ\x01\x00\x01\x00\x00"
             "ev",
             ERR_VERSION),
        CASE("kind 255", "\xff", ERR_VERSION),
        CASE("flag 16",
             "\x01\x10ZZ\x01\x00\x01\x00\x00"
             "ev",
             ERR_DAMAGED),
        CASE("country in lower case",
             "\x01\x00zz\x01\x00\x01\x00\x00"
             "ev",
             ERR_DAMAGED),
        CASE("no country",
             "\x01\x00\x00\x00\x01\x00\x01\x00\x00"
             "ev",
             ERR_DAMAGED),
        CASE("no event",
             "\x01\x00ZZ\x00\x00\x01\x00\x00"
             "v",
             ERR_DAMAGED),
        CASE("no viewer",
             "\x01\x00ZZ\x01\x00\x00\x00\x00"
             "e",
             ERR_DAMAGED),
        CASE("event with a space",
             "\x01\x00ZZ\x01\x00\x01\x00\x00"
             " v",
             ERR_DAMAGED),
        CASE("session with a slash",
             "\x01\x00ZZ\x01\x01\x01\x00\x00"
             "e/v",
             ERR_DAMAGED),
        CASE("viewer with a NUL",
             "\x01\x00ZZ\x01\x00\x01\x00\x00"
             "e\x00",
             ERR_DAMAGED),
        CASE("viewer not UTF-8",
             "\x01\x00ZZ\x01\x00\x01\x00\x00"
             "e\xff",
             ERR_DAMAGED),
        CASE("group of no bytes",
             "\x01\x04ZZ\x01\x00\x01\x01\x00"
             "ev\x00",
             ERR_DAMAGED),
        CASE("groups not in order",
             "\x01\x04ZZ\x01\x00\x01\x04\x00"
             "ev\x01"
             "b\x01"
             "a",
             ERR_DAMAGED),
        CASE("group beyond its list",
             "\x01\x04ZZ\x01\x00\x01\x02\x00"
             "ev\x02"
             "a",
             ERR_DAMAGED),
        CASE("profile, well",
             "\x02\x01\x01\x00\x00"
             "ev",
             ERR_NONE),
        CASE("profile without a viewer",
             "\x02\x01\x00\x00\x00"
             "e",
             ERR_DAMAGED),
        CASE("profile without an event",
             "\x02\x00\x01\x00\x00"
             "v",
             ERR_DAMAGED),
        CASE("a frame of 0 ms",
             "\x03"
             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
             ERR_DAMAGED),
        CASE("a frame of 1 ms",
             "\x03"
             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
             "\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0",
             ERR_NONE),
        CASE("a window below 0",
             "\x03"
             "\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\0\0\0\0\0"
             "\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0",
             ERR_DAMAGED),
        CASE("erase, well",
             "\x05\x01\x01"
             "ev",
             ERR_NONE),
        CASE("erase without an event",
             "\x05\x00\x01"
             "v",
             ERR_DAMAGED),
        CASE("erase without a viewer",
             "\x05\x01\x00"
             "e",
             ERR_DAMAGED),
        CASE("erase of an event with a slash",
             "\x05\x01\x01"
             "/v",
             ERR_DAMAGED),
        CASE("erase of a viewer with a newline",
             "\x05\x01\x01"
             "e\n",
             ERR_DAMAGED),
        CASE("erase cut",
             "\x05\x01\x01"
             "e",
             ERR_DAMAGED),
        CASE("purge of all, well",
             "\x06\x01\x00"
             "e",
             ERR_NONE),
        CASE("purge of people, well",
             "\x06\x01\x01"
             "e",
             ERR_NONE),
        CASE("purge with another flag",
             "\x06\x01\x02"
             "e",
             ERR_DAMAGED),
        CASE("purge of no event", "\x06\x00\x00", ERR_DAMAGED),
        CASE("purge of an event with a space",
             "\x06\x01\x00"
             " ",
             ERR_DAMAGED),
        CASE("purge cut",
             "\x06\x02\x00"
             "e",
             ERR_DAMAGED),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice rest = cases[i].bytes;
        struct entry entry;
        enum err err = entry_next(&rest, &entry);
        print_message("# %s: %s\n", cases[i].why, err_name(err));
        assert_int_equal(err, cases[i].err);
        assert_int_equal(rest.len, err == ERR_NONE ? 0 : cases[i].bytes.len);
    }
}

/* Any bytes: no crash, and what is taken for an entry encodes to the same bytes again. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    static struct sample sample;
    char bytes[JOURNAL_ENTRY_BYTES_MAX], again[JOURNAL_ENTRY_BYTES_MAX];
    for (int round = 0; round < 50000; round++) {
        sample_make(&random, &sample);
        size_t len = entry_encode(&sample.entry, bytes);
        for (int flips = 1 + (int)(tap_random(&random) % 3); flips > 0; flips--) {
            size_t head = tap_random(&random) % 2 == 0 && len > 9 ? 9 : len;
            bytes[tap_random(&random) % head] ^= (char)(1 << tap_random(&random) % 8);
        }
        struct slice rest = slice_of(bytes, len);
        struct entry entry;
        if (entry_next(&rest, &entry) == ERR_NONE) {
            size_t taken = len - rest.len;
            assert_int_equal(entry_encode(&entry, again), taken);
            assert_memory_equal(again, bytes, taken);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_any_bytes),
    };
    return tap_run(tests);
}
