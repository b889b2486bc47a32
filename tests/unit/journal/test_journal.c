/* test_journal.c -- append, sync, rotate, remove, reopen, scan: on a disk that works. */
#include "unit/journal/common.h"

static void test_empty(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    assert_int_equal(journal_scan(place.folder, 1, NULL, NULL, &report), ERR_NONE);
    assert_int_equal(report.records + report.segments + report.last_seq, 0);
    assert_int_equal(journal_repair(place.folder, &report), ERR_NONE);

    struct journal *journal = open_small(&place, 0, &report);
    assert_int_equal(journal_appended_seq(journal), 0);
    assert_int_equal(journal_bytes(journal), SEGMENT_HEADER_BYTES);
    uint64_t durable_seq = 7;
    assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
    assert_int_equal(durable_seq, 0);
    journal_close(journal);
    journal_close(NULL);

    /* Opened again without a record: the same segment goes on. */
    journal = open_small(&place, 0, &report);
    assert_int_equal(segments_in(place.folder), 1);
    append_many(journal, 1);
    journal_close(journal);
    expect_records(place.folder, 1, 1);
    place_fini(&place);
}

static void test_append_and_sync(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    uint64_t durable_seq;
    for (uint64_t seq = 1; seq <= 200; seq++) {
        append_many(journal, 1);
        assert_int_equal(journal_appended_seq(journal), seq);
        if (seq % 9 == 0) {
            assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
            assert_int_equal(durable_seq, seq);
            assert_int_equal(journal_durable_seq(journal), seq);
        } else {
            assert_int_equal(journal_durable_seq(journal), seq - seq % 9);
        }
    }
    assert_true(segments_in(place.folder) > 3);
    expect_records(place.folder, 1, 200); /* while it is open: scanning changes nothing */
    append_many(journal, 1);
    journal_close(journal);
    expect_records(place.folder, 1, 201);

    assert_int_equal(journal_scan(place.folder, 1, NULL, NULL, &report), ERR_NONE);
    assert_int_equal(report.first_seq, 1);
    assert_int_equal(report.records, 201);
    assert_int_equal(report.last_time_ms, time_of(201));
    assert_int_equal(report.segments, segments_in(place.folder));
    place_fini(&place);
}

/* No segment grows beyond its bound, and bytes and names are what the folder says. */
static void test_rotation(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    append_many(journal, 500);
    /* Nobody syncs: the appends had to, so that descriptors do not pile up. */
    assert_true(segments_in(place.folder) > 10);
    assert_true(journal_durable_seq(journal) > 0);
    assert_int_equal(journal_scan(place.folder, 0, NULL, NULL, &report), ERR_NONE);
    assert_int_equal(report.bytes, journal_bytes(journal));

    DIR *stream = opendir(place.folder);
    for (struct dirent *found; (found = readdir(stream)) != NULL;) {
        uint64_t first_seq;
        char path[160];
        size_t len;
        if (segment_name_parse(found->d_name, &first_seq)) {
            path_of(&place, first_seq, path);
            char *bytes = file_read(path, &len);
            assert_true(len <= SEGMENT_SMALL);
            assert_int_equal(segment_header_check(bytes, first_seq), ERR_NONE);
            free(bytes);
        }
    }
    closedir(stream);
    journal_close(journal);
    expect_records(place.folder, 1, 500);
    place_fini(&place);
}

/* A record larger than a segment has one of its own, and records of the largest size are read. */
static void test_large_records(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    char *payload = malloc(JOURNAL_RECORD_BYTES_MAX);
    memset(payload, 'x', JOURNAL_RECORD_BYTES_MAX);
    uint64_t seq;
    for (int i = 1; i <= 5; i++) {
        struct slice whole = slice_of(payload, JOURNAL_RECORD_BYTES_MAX);
        assert_int_equal(journal_append(journal, i, whole, &seq), ERR_NONE);
        assert_int_equal(journal_append(journal, i, slice_of(payload, 1), &seq), ERR_NONE);
    }
    journal_close(journal);
    free(payload);
    assert_int_equal(journal_scan(place.folder, 1, NULL, NULL, &report), ERR_NONE);
    assert_int_equal(report.records, 10);
    assert_string_equal(report.text, "");
    place_fini(&place);
}

static void test_removal(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    uint64_t covered_seq = 0, durable_seq;
    uint64_t random = tap_seed();
    for (int round = 0; round < 60; round++) {
        append_many(journal, 1 + (int)(tap_random(&random) % 60));
        if (tap_random(&random) % 2 == 0) {
            assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        }
        uint64_t last = journal_appended_seq(journal);
        covered_seq += tap_random(&random) % (last - covered_seq + 1);
        assert_int_equal(journal_remove_covered(journal, covered_seq), ERR_NONE);
        expect_records(place.folder, covered_seq + 1, last);
        assert_int_equal(journal_scan(place.folder, 0, NULL, NULL, &report), ERR_NONE);
        assert_int_equal(report.bytes, journal_bytes(journal));
        assert_true(report.first_seq <= covered_seq + 1); /* never more than what is covered */
        if (tap_random(&random) % 8 == 0) {
            journal_close(journal);
            journal = open_small(&place, covered_seq, &report);
            assert_int_equal(journal_appended_seq(journal), last);
        }
    }
    /* All covered: one segment stays, and every one before it is gone. */
    uint64_t last = journal_appended_seq(journal);
    assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
    assert_int_equal(journal_remove_covered(journal, last), ERR_NONE);
    assert_int_equal(journal_remove_covered(journal, UINT64_MAX), ERR_NONE);
    assert_int_equal(segments_in(place.folder), 1);
    append_many(journal, 1);
    journal_close(journal);
    expect_records(place.folder, last + 1, last + 1);
    place_fini(&place);
}

/* What was written before a turn can go as soon as it is covered, however small its segment. */
static void test_turn(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    uint64_t durable_seq;
    struct journal *journal = open_small(&place, 0, &report);
    journal_turn(journal); /* nothing to turn away from */
    append_many(journal, 3);
    assert_int_equal(segments_in(place.folder), 1);
    journal_turn(journal);
    journal_turn(journal);
    assert_int_equal(segments_in(place.folder), 1); /* it is the next append that does it */
    append_many(journal, 1);
    assert_int_equal(segments_in(place.folder), 2);
    append_many(journal, 1);
    assert_int_equal(segments_in(place.folder), 2); /* once */
    assert_int_equal(journal_remove_covered(journal, 3), ERR_NONE);
    assert_int_equal(segments_in(place.folder), 2); /* not on the disk yet */
    assert_int_equal(journal_first_seq(journal), 1);
    assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
    assert_int_equal(journal_remove_covered(journal, 3), ERR_NONE);
    assert_int_equal(segments_in(place.folder), 1);
    assert_int_equal(journal_first_seq(journal), 4);
    expect_records(place.folder, 4, 5);
    journal_turn(journal);
    journal_close(journal);
    journal = open_small(&place, 3, &report); /* it is no more than a wish */
    append_many(journal, 1);
    assert_int_equal(segments_in(place.folder), 1);
    journal_close(journal);
    expect_records(place.folder, 4, 6);
    place_fini(&place);
}

static void test_scan_from_the_middle(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    append_many(journal, 150);
    journal_close(journal);
    for (uint64_t from = 1; from <= 151; from++) {
        struct expected expected = {.next = from};
        assert_int_equal(journal_scan(place.folder, from, expect_record, &expected, &report),
                         ERR_NONE);
        assert_int_equal(expected.count, 151 - from);
    }
    place_fini(&place);
}

static enum err stop_at_five(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    (void)time_ms, (void)payload;
    *(uint64_t *)ctx = seq;
    return seq == 5 ? ERR_STOPPED : ERR_NONE;
}

static void test_scan_is_stopped_by_its_caller(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 0, &report);
    append_many(journal, 9);
    journal_close(journal);
    uint64_t seq = 0;
    assert_int_equal(journal_scan(place.folder, 2, stop_at_five, &seq, &report), ERR_STOPPED);
    assert_int_equal(seq, 5);
    place_fini(&place);
}

/* The records may cover more than the journal has, or less than the journal begins with. */
static void test_floor(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal *journal = open_small(&place, 41, &report);
    assert_int_equal(journal_appended_seq(journal), 41);
    append_many(journal, 100);
    journal_close(journal);
    expect_records(place.folder, 42, 141);

    journal = open_small(&place, 120, &report);
    assert_int_equal(journal_appended_seq(journal), 141);
    journal_close(journal);

    journal = open_small(&place, 1000, &report);
    assert_int_equal(journal_appended_seq(journal), 1000);
    assert_int_equal(segments_in(place.folder), 1);
    append_many(journal, 3);
    journal_close(journal);
    expect_records(place.folder, 1001, 1003);

    /* A hole: records from 901 on are needed, and the oldest is 1001. */
    struct journal_options options = {.folder = place.folder, .segment_bytes = SEGMENT_SMALL};
    assert_int_equal(journal_open(&options, 900, &report, &journal), ERR_DAMAGED);
    assert_null(journal);
    assert_non_null(strstr(report.text, "1001"));
    assert_non_null(strstr(report.text, "901"));
    assert_int_equal(journal_scan(place.folder, 901, NULL, NULL, &report), ERR_DAMAGED);
    expect_records(place.folder, 1001, 1003);
    place_fini(&place);
}

static void test_reopen_many_times(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    uint64_t random = tap_seed(), last = 0, durable_seq;
    for (int round = 0; round < 50; round++) {
        struct journal *journal = open_small(&place, 0, &report);
        assert_int_equal(journal_appended_seq(journal), last);
        int count = (int)(tap_random(&random) % 40);
        append_many(journal, count);
        last += (uint64_t)count;
        if (round % 3 == 0) {
            assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        }
        journal_close(journal);
        expect_records(place.folder, 1, last);
    }
    place_fini(&place);
}

static void test_total_bound(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct journal_report report;
    struct journal_options options = {
        .folder = place.folder, .segment_bytes = SEGMENT_SMALL, .total_bytes_max = 10000};
    struct journal *journal;
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_NONE);
    uint64_t last = 0, seq, durable_seq;
    for (int round = 0; round < 20; round++) {
        enum err err;
        while ((err = append_next(journal, &seq)) == ERR_NONE) {
            last = seq;
            assert_true(journal_bytes(journal) <= options.total_bytes_max);
        }
        assert_int_equal(err, ERR_FULL);
        assert_int_equal(append_next(journal, &seq), ERR_FULL);
        assert_int_equal(journal_appended_seq(journal), last);
        /* Covering everything makes room, also when all of it was in one segment. */
        assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        assert_int_equal(journal_remove_covered(journal, last), ERR_NONE);
        assert_int_equal(append_next(journal, &seq), ERR_NONE);
        assert_int_equal(seq, last + 1);
        last = seq;
        expect_records(place.folder, last, last);
    }
    journal_close(journal);
    place_fini(&place);
}

static void test_options(void **state)
{
    (void)state;
    struct journal_report report;
    struct journal *journal;
    struct journal_options options = {.folder = "/tmp/novabeat-never", .segment_bytes = 4095};
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_INVALID);
    options.segment_bytes = (UINT64_C(4) << 30) + 1;
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_INVALID);
    options =
        (struct journal_options){.folder = "/tmp/novabeat-never/below", .segment_bytes = 4096};
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_IO);
    assert_non_null(strstr(report.text, "/tmp/novabeat-never/below"));
}

static void test_names(void **state)
{
    (void)state;
    uint64_t seq;
    char name[SEGMENT_NAME_BYTES];
    segment_name(70312, name);
    assert_string_equal(name, "00000000000000070312.journal");
    assert_true(segment_name_parse(name, &seq));
    assert_int_equal(seq, 70312);
    static const char *const others[] = {
        "",          ".",
        "1.journal", "00000000000000000000.journal",
        "..",        "00000000000000070312.journal.damaged",
        "journal",   "00000000000000070312.journa",
        "0000",      "0000000000000007031x.journal",
        "records",   "18446744073709551616.journal", /* 2^64 */
        "lock",      "09223372036854775808.journal", /* 2^63 */
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(segment_name_parse(others[i], &seq));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_append_and_sync),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_large_records),
        cmocka_unit_test(test_removal),
        cmocka_unit_test(test_turn),
        cmocka_unit_test(test_scan_from_the_middle),
        cmocka_unit_test(test_scan_is_stopped_by_its_caller),
        cmocka_unit_test(test_floor),
        cmocka_unit_test(test_reopen_many_times),
        cmocka_unit_test(test_total_bound),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_names),
    };
    return tap_run(tests);
}
