/* test_damage.c -- the journal cut and flipped: a valid prefix or a refusal, never a wrong record.
 *
 * The journal under test has several segments and was synced now and then; its files are kept in
 * memory, and each case changes one of them and puts it back. */
#include "unit/journal/common.h"

#include "base/crc32c.h"
#include "journal/bytes.h"

#define RECORDS      66
#define SEGMENTS_MAX 8

struct record_place {
    uint64_t seq, durable_seq;
    size_t start, end;
};

struct image {
    uint64_t first_seq;
    char path[160];
    char *bytes;
    size_t len;
    struct record_place records[RECORDS];
    int records_count;
};

struct fixture {
    struct place place;
    struct image segments[SEGMENTS_MAX];
    int count;
};

/* Takes a whole segment apart, on its own and by the offsets of docs/JOURNAL.md. */
static void image_read(struct image *image)
{
    image->bytes = file_read(image->path, &image->len);
    for (size_t at = 32; at < image->len;) {
        struct record_place *record = &image->records[image->records_count++];
        record->start = at;
        record->seq = get_u64(image->bytes + at + 8);
        record->durable_seq = get_u64(image->bytes + at + 24);
        at += 32 + get_u32(image->bytes + at);
        record->end = at;
        assert_true(at <= image->len);
        uint32_t crc = crc32c(0, image->bytes + record->start, 4);
        crc = crc32c(crc, image->bytes + record->start + 8, at - record->start - 8);
        assert_int_equal(get_u32(image->bytes + record->start + 4), crc);
    }
}

/* synced: the records after which the journal is synced, so that later ones know. */
static void fixture_init_synced(struct fixture *fixture, const int *synced, int synced_count)
{
    memset(fixture, 0, sizeof *fixture);
    place_init(&fixture->place);
    struct journal_report report;
    struct journal *journal = open_small(&fixture->place, 0, &report);
    uint64_t durable_seq;
    for (int seq = 1; seq <= RECORDS; seq++) {
        append_many(journal, 1);
        for (int i = 0; i < synced_count; i++) {
            if (synced[i] == seq) {
                assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
            }
        }
    }
    journal_close(journal);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        struct image *image = &fixture->segments[fixture->count];
        image->first_seq = seq;
        path_of(&fixture->place, seq, image->path);
        if (access(image->path, F_OK) == 0) {
            image_read(image);
            fixture->count++;
        }
    }
    assert_in_range(fixture->count, 3, SEGMENTS_MAX);
}

static void fixture_init(struct fixture *fixture)
{
    fixture_init_synced(fixture, (const int[]){13, 30, RECORDS - 3}, 3);
    const struct image *last = &fixture->segments[fixture->count - 1];
    assert_true(last->first_seq < RECORDS - 5); /* it has records of both kinds */
}

static void fixture_restore(struct fixture *fixture)
{
    folder_empty(fixture->place.folder);
    for (int i = 0; i < fixture->count; i++) {
        struct image *image = &fixture->segments[i];
        file_write(image->path, image->bytes, image->len);
    }
}

static void fixture_fini(struct fixture *fixture)
{
    for (int i = 0; i < fixture->count; i++) {
        free(fixture->segments[i].bytes);
    }
    place_fini(&fixture->place);
}

/* Whether a record behind `seq` says that it was on the disk. */
static bool known_durable(const struct fixture *fixture, uint64_t seq)
{
    for (int i = 0; i < fixture->count; i++) {
        const struct image *image = &fixture->segments[i];
        for (int k = 0; k < image->records_count; k++) {
            if (image->records[k].seq > seq && image->records[k].durable_seq >= seq) {
                return true;
            }
        }
    }
    return false;
}

/* Record `seq` is bad now: the scan gives all before it, and then the verdict is `damaged` or torn;
 * with `open`, opening agrees, and so does what it leaves. */
static void expect_bad(struct fixture *fixture, uint64_t seq, bool damaged, bool open)
{
    struct journal_report report;
    struct expected expected = {.next = 1};
    enum err err = journal_scan(fixture->place.folder, 1, expect_record, &expected, &report);
    assert_int_equal(expected.next, seq);
    assert_int_equal(err, damaged ? ERR_DAMAGED : ERR_NONE);
    assert_int_equal(report.last_seq, seq - 1);
    assert_int_equal(report.records, seq - 1);
    assert_true(report.text[0] != '\0');
    assert_true(report.torn_bytes == 0 || !damaged);
    if (!open) {
        return;
    }
    struct journal_options options = {.folder = fixture->place.folder,
                                      .segment_bytes = SEGMENT_SMALL};
    struct journal *journal;
    err = journal_open(&options, 0, &report, &journal);
    assert_int_equal(err, damaged ? ERR_DAMAGED : ERR_NONE);
    if (damaged) {
        assert_null(journal);
        return;
    }
    assert_int_equal(journal_appended_seq(journal), seq - 1);
    append_many(journal, 3);
    journal_close(journal);
    expect_records(fixture->place.folder, 1, seq + 2);
}

/* ---- cut ---- */

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *last = &fixture.segments[fixture.count - 1];
    assert_true(last->records_count >= 5);
    for (size_t len = 0; len < last->len; len++) {
        file_write(last->path, last->bytes, len);
        uint64_t seq = last->first_seq;
        bool whole = len == 32; /* cut between two records: nothing to see */
        for (int i = 0; i < last->records_count && last->records[i].end <= len; i++) {
            seq = last->records[i].seq + 1;
            whole = last->records[i].end == len;
        }
        if (whole) {
            expect_records(fixture.place.folder, 1, seq - 1);
        } else {
            expect_bad(&fixture, seq, false, len % 23 == 0);
            fixture_restore(&fixture);
        }
    }
    fixture_fini(&fixture);
}

/* ---- flipped ---- */

static void flip_segment(struct fixture *fixture, struct image *image, uint64_t *random)
{
    for (size_t at = 0; at < image->len; at++) {
        uint64_t seq = image->first_seq;
        bool header = at < 32;
        for (int i = 0; i < image->records_count; i++) {
            if (at >= image->records[i].start && at < image->records[i].end) {
                seq = image->records[i].seq;
                header = at < image->records[i].start + 32;
            }
        }
        bool damaged = known_durable(fixture, seq);
        char *changed = malloc(image->len);
        memcpy(changed, image->bytes, image->len);
        for (int bit = 0; bit < 8; bit++) {
            if (!header && bit != (int)(tap_random(random) % 8)) {
                continue; /* every bit of headers, some bits of payloads */
            }
            changed[at] = (char)(image->bytes[at] ^ (1 << bit));
            file_write(image->path, changed, image->len);
            bool open = at % 29 == 0;
            expect_bad(fixture, seq, damaged, open);
            if (open) {
                fixture_restore(fixture);
            }
        }
        free(changed);
        file_write(image->path, image->bytes, image->len);
    }
}

static void test_flip_every_byte(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct fixture fixture;
    fixture_init(&fixture);
    flip_segment(&fixture, &fixture.segments[fixture.count - 1], &random);
    flip_segment(&fixture, &fixture.segments[fixture.count - 2], &random);
    expect_records(fixture.place.folder, 1, RECORDS);
    fixture_fini(&fixture);
}

/* The words name file, offset and sequence; a refused open changes no byte. */
static void test_damage_in_the_middle_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *first = &fixture.segments[0];
    struct record_place *record = &first->records[4];
    char *changed = malloc(first->len);
    memcpy(changed, first->bytes, first->len);
    changed[record->end - 1] ^= 0x10;
    file_write(first->path, changed, first->len);

    struct journal_report report;
    struct journal_options options = {.folder = fixture.place.folder,
                                      .segment_bytes = SEGMENT_SMALL};
    struct journal *journal;
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_DAMAGED);
    char words[64];
    snprintf(words, sizeof words, "offset %zu", record->start);
    assert_non_null(strstr(report.text, words));
    snprintf(words, sizeof words, "record %d ", (int)record->seq);
    assert_non_null(strstr(report.text, words));
    assert_non_null(strstr(report.text, "00000000000000000001.journal"));
    print_message("# %s\n", report.text);

    size_t len;
    char *now = file_read(first->path, &len);
    assert_int_equal(len, first->len);
    assert_memory_equal(now, changed, len);
    free(now);
    for (int i = 1; i < fixture.count; i++) {
        now = file_read(fixture.segments[i].path, &len);
        assert_int_equal(len, fixture.segments[i].len);
        assert_memory_equal(now, fixture.segments[i].bytes, len);
        free(now);
    }
    free(changed);
    fixture_fini(&fixture);
}

static void test_missing_segment(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    for (int i = 1; i + 1 < fixture.count; i++) {
        unlink(fixture.segments[i].path);
        uint64_t seq = fixture.segments[i].first_seq;
        expect_bad(&fixture, seq, known_durable(&fixture, seq), true);
        fixture_restore(&fixture);
    }
    fixture_fini(&fixture);
}

/* Nobody knows of the missing one: torn, and the segments behind it go as a whole. */
static void test_missing_segment_that_was_never_synced(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init_synced(&fixture, NULL, 0);
    unlink(fixture.segments[1].path);
    expect_bad(&fixture, fixture.segments[1].first_seq, false, true);
    assert_int_equal(access(fixture.segments[2].path, F_OK), -1);
    fixture_fini(&fixture);
}

/* Zeros and noise behind the last record, and a valid record that nobody confirmed, are torn. */
static void test_what_stands_behind_the_tail(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *last = &fixture.segments[fixture.count - 1];
    for (size_t more = 1; more <= 200000; more = more * 2 + 1) {
        char *longer = calloc(1, last->len + more);
        memcpy(longer, last->bytes, last->len);
        file_write(last->path, longer, last->len + more);
        expect_bad(&fixture, RECORDS + 1, false, true);
        for (size_t i = 0; i < more; i++) {
            longer[last->len + i] = (char)tap_random(&random);
        }
        fixture_restore(&fixture);
        file_write(last->path, longer, last->len + more);
        expect_bad(&fixture, RECORDS + 1, false, true);
        fixture_restore(&fixture);
        free(longer);
    }
    for (int confirmed = 0; confirmed < 2; confirmed++) {
        char record[33] = {0};
        struct record_header header = {
            .payload_bytes = 1, .seq = RECORDS + 5, .durable_seq = RECORDS + (uint64_t)confirmed};
        record[32] = 'x';
        record_header_encode(&header, record + 32, record);
        char *longer = calloc(1, last->len + 7 + sizeof record);
        memcpy(longer, last->bytes, last->len);
        memcpy(longer + last->len + 7, record, sizeof record);
        file_write(last->path, longer, last->len + 7 + sizeof record);
        expect_bad(&fixture, RECORDS + 1, confirmed == 1, true);
        fixture_restore(&fixture);
        free(longer);
    }
    fixture_fini(&fixture);
}

static void test_other_version(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *last = &fixture.segments[fixture.count - 1];
    char *changed = malloc(last->len);
    memcpy(changed, last->bytes, last->len);
    put_u32(changed + 24, 2);
    put_u32(changed + 28, crc32c(0, changed, 28));
    file_write(last->path, changed, last->len);
    struct journal_report report;
    struct journal_options options = {.folder = fixture.place.folder,
                                      .segment_bytes = SEGMENT_SMALL};
    struct journal *journal;
    assert_int_equal(journal_scan(fixture.place.folder, 1, NULL, NULL, &report), ERR_VERSION);
    assert_int_equal(journal_open(&options, 0, &report, &journal), ERR_VERSION);
    assert_int_equal(journal_repair(fixture.place.folder, &report), ERR_VERSION);
    size_t len;
    char *now = file_read(last->path, &len);
    assert_int_equal(len, last->len);
    assert_memory_equal(now, changed, len);
    free(now);
    free(changed);
    fixture_fini(&fixture);
}

/* ---- repair ---- */

static void expect_file(const char *path, const char *bytes, size_t len)
{
    size_t found;
    char *now = file_read(path, &found);
    assert_int_equal(found, len);
    assert_memory_equal(now, bytes, len);
    free(now);
}

static void test_repair(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *first = &fixture.segments[0];
    struct record_place *record = &first->records[2];
    char kept[200];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < fixture.count; i++) { /* beside what earlier rounds have kept */
            file_write(fixture.segments[i].path, fixture.segments[i].bytes,
                       fixture.segments[i].len);
        }
        first->bytes[record->start + 40] ^= 1;
        file_write(first->path, first->bytes, first->len);
        struct journal_report report;
        assert_int_equal(journal_repair(fixture.place.folder, &report), ERR_NONE);
        assert_non_null(strstr(report.text, "damaged at offset"));
        assert_non_null(strstr(report.text, "renamed"));
        assert_int_equal(report.last_seq, record->seq - 1);
        expect_records(fixture.place.folder, 1, record->seq - 1);
        uint64_t cut = first->len - record->start;
        for (int i = 0; i < fixture.count; i++) {
            struct image *image = &fixture.segments[i];
            size_t from = i == 0 ? record->start : 0;
            cut += i == 0 ? 0 : image->len;
            if (round == 0) {
                snprintf(kept, sizeof kept, "%s.damaged", image->path);
            } else {
                snprintf(kept, sizeof kept, "%s.damaged.%d", image->path, round);
            }
            expect_file(kept, image->bytes + from, image->len - from);
        }
        assert_int_equal(report.torn_bytes, cut);
        first->bytes[record->start + 40] ^= 1;

        /* Again: nothing to do; and the journal goes on. */
        assert_int_equal(journal_repair(fixture.place.folder, &report), ERR_NONE);
        assert_string_equal(report.text, "");
        struct journal *journal = open_small(&fixture.place, 0, &report);
        append_many(journal, 2);
        journal_close(journal);
        expect_records(fixture.place.folder, 1, record->seq + 1);
    }
    fixture_fini(&fixture);
}

/* Damage in the header of a segment: the whole segment is put aside. */
static void test_repair_of_a_header(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct image *second = &fixture.segments[1];
    second->bytes[3] ^= 1;
    file_write(second->path, second->bytes, second->len);
    struct journal_report report;
    assert_int_equal(journal_repair(fixture.place.folder, &report), ERR_NONE);
    expect_records(fixture.place.folder, 1, second->first_seq - 1);
    char kept[200];
    snprintf(kept, sizeof kept, "%s.damaged", second->path);
    expect_file(kept, second->bytes, second->len);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_flip_every_byte),
        cmocka_unit_test(test_damage_in_the_middle_is_refused),
        cmocka_unit_test(test_missing_segment),
        cmocka_unit_test(test_missing_segment_that_was_never_synced),
        cmocka_unit_test(test_what_stands_behind_the_tail),
        cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_repair_of_a_header),
    };
    return tap_run(tests);
}
