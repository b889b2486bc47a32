/* scan.c -- reads segments record by record, and decides between a torn tail and damage.
 *
 * scan_folder: which segments there are; then record by record to the first bad place; then, for
 * what lies behind it, whether some record there knows the bad one to have been on the disk. */
#define _GNU_SOURCE
#include "journal/scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "journal/reader.h"

/* How far ahead of the bad place a record's number may be to be believed: far more than any journal
 * holds, and few enough that of 2^64 accidental numbers hardly one is. */
#define SEQ_AHEAD_MAX (UINT64_C(1) << 40)

struct scanning {
    struct scan *scan;
    struct journal_report *report;
    struct reader reader;
    int folder;
    uint64_t from_seq;
    journal_record_fn *record;
    void *ctx;
};

static enum err list_segments(const struct file_ops *files, int folder, struct scanning *scanning);
static enum err choose_start(struct scanning *scanning);
static enum err read_segments(struct scanning *scanning);
static enum err judge_tail(struct scanning *scanning);

enum err scan_folder(const struct file_ops *files, int folder, uint64_t from_seq,
                     journal_record_fn *record, void *ctx, struct journal_report *report,
                     struct scan *scan)
{
    *scan = (struct scan){0};
    *report = (struct journal_report){0};
    struct scanning scanning = {.scan = scan,
                                .report = report,
                                .folder = folder,
                                .from_seq = from_seq,
                                .record = record,
                                .ctx = ctx};
    reader_init(&scanning.reader, files);
    enum err err = list_segments(files, folder, &scanning);
    if (err == ERR_NONE && scan->count > 0) {
        err = choose_start(&scanning);
        if (err == ERR_NONE) {
            err = read_segments(&scanning);
        }
        if (err == ERR_NONE && scan->bad) {
            err = judge_tail(&scanning);
        }
    }
    reader_fini(&scanning.reader);
    return err;
}

void scan_fini(struct scan *scan)
{
    free(scan->segments);
    *scan = (struct scan){0};
}

void report_say(struct journal_report *report, const char *format, ...)
{
    size_t len = strlen(report->text);
    if (len > 0 && len + 1 < sizeof report->text) {
        report->text[len++] = '\n';
        report->text[len] = '\0';
    }
    va_list args;
    va_start(args, format);
    vsnprintf(report->text + len, sizeof report->text - len, format, args);
    va_end(args);
}

enum err report_failure(struct journal_report *report, const char *name, const char *doing,
                        int64_t result)
{
    ASSERT(result < 0);
    const char *words = strerrordesc_np((int)-result);
    report_say(report, "%s: %s failed: %s", name, doing, words == NULL ? "unknown error" : words);
    return file_is_full(result) ? ERR_NOSPACE : ERR_IO;
}

/* ---- which segments there are ---- */

struct found {
    struct segment *segments;
    uint32_t count, max;
};

static void found_name(void *arg, const char *name)
{
    struct found *found = arg;
    uint64_t first_seq;
    if (segment_name_parse(name, &first_seq)) {
        found->segments =
            memory_grow(found->segments, &found->max, found->count + 1, sizeof found->segments[0]);
        found->segments[found->count++] = (struct segment){.first_seq = first_seq};
    }
}

static int by_first_seq(const void *a, const void *b)
{
    const struct segment *left = a, *right = b;
    return left->first_seq < right->first_seq ? -1 : left->first_seq > right->first_seq;
}

static enum err list_segments(const struct file_ops *files, int folder, struct scanning *scanning)
{
    struct found found = {0};
    int result = files->folder_list(files->ctx, folder, found_name, &found);
    scanning->scan->segments = found.segments;
    scanning->scan->count = found.count;
    if (result < 0) {
        return report_failure(scanning->report, "the journal's folder", "listing", result);
    }
    if (found.count > 0) {
        qsort(found.segments, found.count, sizeof found.segments[0], by_first_seq);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(found.segments[i].first_seq, name);
        result = reader_open(&scanning->reader, folder, name, 0);
        if (result < 0) {
            return report_failure(scanning->report, name, "opening", result);
        }
        found.segments[i].bytes = scanning->reader.file_bytes;
    }
    return ERR_NONE;
}

/* The newest segment that begins at or before from_seq: what is older is covered. */
static enum err choose_start(struct scanning *scanning)
{
    struct scan *scan = scanning->scan;
    ASSERT(scan->count > 0);
    uint32_t start = 0;
    while (start + 1 < scan->count && scan->segments[start + 1].first_seq <= scanning->from_seq) {
        start++;
    }
    uint64_t first_seq = scan->segments[start].first_seq;
    scan->start = start;
    scan->next_seq = first_seq;
    for (uint32_t i = start; i < scan->count; i++) {
        scanning->report->segments++;
        scanning->report->bytes += scan->segments[i].bytes;
    }
    if (scanning->from_seq > 0 && first_seq > scanning->from_seq) {
        report_say(scanning->report,
                   "the oldest segment begins with record %" PRIu64 ", but records from %" PRIu64
                   " on are needed: %" PRIu64 " are missing",
                   first_seq, scanning->from_seq, first_seq - scanning->from_seq);
        return ERR_DAMAGED;
    }
    return ERR_NONE;
}

/* ---- record by record ---- */

enum step {
    STEP_RECORD, /* one more record counts */
    STEP_END,    /* the file ends after a record */
    STEP_BAD,    /* there are bytes, and no record counts */
};

/* Looks at what stands at the reader.  With STEP_RECORD, *payload lends from the reader. */
static enum step record_look(struct reader *reader, uint64_t seq_min, uint64_t seq_max,
                             struct record_header *header, struct slice *payload)
{
    size_t got;
    const char *at = reader_peek(reader, RECORD_HEADER_BYTES, &got);
    if (got < RECORD_HEADER_BYTES) {
        return got == 0 ? STEP_END : STEP_BAD;
    }
    if (!record_header_decode(at, header) || header->seq < seq_min || header->seq > seq_max) {
        return STEP_BAD;
    }
    size_t record_bytes = RECORD_HEADER_BYTES + header->payload_bytes;
    at = reader_peek(reader, record_bytes, &got);
    if (got < record_bytes || !record_crc_agrees(header, at, at + RECORD_HEADER_BYTES)) {
        return STEP_BAD;
    }
    *payload = slice_of(at + RECORD_HEADER_BYTES, header->payload_bytes);
    return STEP_RECORD;
}

static void note_bad(struct scan *scan, uint32_t segment, uint64_t offset)
{
    scan->bad = true;
    scan->bad_segment = segment;
    scan->bad_offset = offset;
}

static enum err record_take(struct scanning *scanning, const struct record_header *header,
                            struct slice payload)
{
    struct journal_report *report = scanning->report;
    struct scan *scan = scanning->scan;
    ASSERT(header->seq == scan->next_seq && header->durable_seq < header->seq);
    if (report->records++ == 0) {
        report->first_seq = header->seq;
    }
    report->last_seq = header->seq;
    report->last_time_ms = header->time_ms;
    scan->next_seq = header->seq + 1;
    if (header->durable_seq > scan->durable_seq) {
        scan->durable_seq = header->durable_seq;
    }
    if (scanning->record == NULL || header->seq < scanning->from_seq) {
        return ERR_NONE;
    }
    return scanning->record(scanning->ctx, header->seq, header->time_ms, payload);
}

/* One segment, to its end or to the bad place (then scan->bad). */
static enum err read_segment(struct scanning *scanning, uint32_t index)
{
    struct scan *scan = scanning->scan;
    struct reader *reader = &scanning->reader;
    uint64_t first_seq = scan->segments[index].first_seq;
    char name[SEGMENT_NAME_BYTES];
    segment_name(first_seq, name);
    int result = reader_open(reader, scanning->folder, name, 0);
    if (result < 0) {
        return report_failure(scanning->report, name, "opening", result);
    }
    size_t got;
    const char *at = reader_peek(reader, SEGMENT_HEADER_BYTES, &got);
    enum err header_err =
        got < SEGMENT_HEADER_BYTES ? ERR_DAMAGED : segment_header_check(at, first_seq);
    if (header_err == ERR_VERSION) {
        report_say(scanning->report, "%s: written by another version of Novabeat", name);
        return ERR_VERSION;
    }
    if (reader->failure == 0 && (header_err != ERR_NONE || first_seq != scan->next_seq)) {
        note_bad(scan, index, 0);
        return ERR_NONE;
    }
    if (reader->failure == 0) {
        reader_skip(reader, SEGMENT_HEADER_BYTES);
    }
    while (reader->failure == 0) {
        struct record_header header;
        struct slice payload;
        enum step step = record_look(reader, scan->next_seq, scan->next_seq, &header, &payload);
        if (reader->failure != 0) {
            break;
        }
        switch (step) {
        case STEP_RECORD: {
            enum err err = record_take(scanning, &header, payload);
            if (err != ERR_NONE) {
                return err;
            }
            reader_skip(reader, RECORD_HEADER_BYTES + payload.len);
            break;
        }
        case STEP_BAD:
            note_bad(scan, index, reader->offset);
            return ERR_NONE;
        case STEP_END:
            return ERR_NONE;
        }
    }
    return report_failure(scanning->report, name, "reading", reader->failure);
}

static enum err read_segments(struct scanning *scanning)
{
    struct scan *scan = scanning->scan;
    for (uint32_t i = scan->start; i < scan->count && !scan->bad; i++) {
        enum err err = read_segment(scanning, i);
        if (err != ERR_NONE) {
            return err;
        }
    }
    return ERR_NONE;
}

/* ---- behind the bad place ---- */

/* Tries every offset from there on for a record that knows `seq` to be durable; *witness gets its
 * number, or stays 0. */
static enum err search_witness(struct scanning *scanning, uint32_t index, uint64_t offset,
                               uint64_t seq, uint64_t *witness)
{
    struct reader *reader = &scanning->reader;
    char name[SEGMENT_NAME_BYTES];
    segment_name(scanning->scan->segments[index].first_seq, name);
    int result = reader_open(reader, scanning->folder, name, offset);
    if (result < 0) {
        return report_failure(scanning->report, name, "opening", result);
    }
    for (;;) {
        struct record_header header;
        struct slice payload;
        size_t skip = 1;
        enum step step = record_look(reader, seq + 1, seq + SEQ_AHEAD_MAX, &header, &payload);
        if (reader->failure != 0) {
            return report_failure(scanning->report, name, "reading", reader->failure);
        }
        switch (step) {
        case STEP_END:
            return ERR_NONE;
        case STEP_BAD:
            break;
        case STEP_RECORD:
            if (header.durable_seq >= seq) {
                *witness = header.seq;
                return ERR_NONE;
            }
            skip = RECORD_HEADER_BYTES + payload.len;
            break;
        }
        reader_skip(reader, skip);
    }
}

static enum err judge_tail(struct scanning *scanning)
{
    struct scan *scan = scanning->scan;
    struct journal_report *report = scanning->report;
    uint64_t seq = scan->next_seq;
    char name[SEGMENT_NAME_BYTES];
    segment_name(scan->segments[scan->bad_segment].first_seq, name);

    uint64_t bytes = scan->segments[scan->bad_segment].bytes - scan->bad_offset;
    for (uint32_t i = scan->bad_segment + 1; i < scan->count; i++) {
        bytes += scan->segments[i].bytes;
    }
    uint64_t witness = 0;
    for (uint32_t i = scan->bad_segment; i < scan->count && witness == 0; i++) {
        uint64_t offset = i == scan->bad_segment ? scan->bad_offset : 0;
        enum err err = search_witness(scanning, i, offset, seq, &witness);
        if (err != ERR_NONE) {
            return err;
        }
    }
    if (witness != 0) {
        report_say(report,
                   "%s: damaged at offset %" PRIu64 ": record %" PRIu64
                   " was on the disk, as record %" PRIu64 " behind it knows, and is not valid now",
                   name, scan->bad_offset, seq, witness);
        return ERR_DAMAGED;
    }
    report->torn_bytes = bytes;
    report_say(report,
               "%s: torn at offset %" PRIu64 ": %" PRIu64 " bytes from record %" PRIu64
               " on were never confirmed",
               name, scan->bad_offset, bytes, seq);
    return ERR_NONE;
}
