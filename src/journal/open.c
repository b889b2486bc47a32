/* open.c -- from a folder, after whatever happened to it, to a journal that can be appended to.
 *
 * Rules: docs/JOURNAL.md, section 6, "Opening".  At every step the folder is one that opens to the
 * same records, because the power may go in the middle of it. */
#include "journal/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "journal/internal.h"
#include "journal/reader.h"

#define SEGMENT_BYTES_MIN (UINT64_C(4) << 10)
#define SEGMENT_BYTES_MAX (UINT64_C(4) << 30)
#define REWRITE_BYTES     ((size_t)1 << 20)

/* What the steps of opening share. */
struct opening {
    const struct file_ops *files;
    int folder;
    uint64_t floor_seq;
    struct journal_report *report;
    struct scan scan;
};

static enum err cut_tail(struct opening *opening);
static enum err confirm(struct opening *opening);
static enum err continue_last(struct opening *opening, int *fd);
static enum err begin_anew(struct opening *opening, int *fd);
static struct journal *journal_new(const struct journal_options *options, struct opening *opening,
                                   int fd);

enum err journal_open_on(const struct file_ops *files, const struct journal_options *options,
                         uint64_t floor_seq, struct journal_report *report,
                         struct journal **journal)
{
    *journal = NULL;
    *report = (struct journal_report){0};
    if (options->segment_bytes < SEGMENT_BYTES_MIN || options->segment_bytes > SEGMENT_BYTES_MAX) {
        report_say(report, "a segment of %" PRIu64 " bytes is out of range",
                   options->segment_bytes);
        return ERR_INVALID;
    }
    struct opening opening = {.files = files, .floor_seq = floor_seq, .report = report};
    opening.folder = files->folder_open(files->ctx, options->folder, true);
    if (opening.folder < 0) {
        return report_failure(report, options->folder, "opening", opening.folder);
    }
    struct scan *scan = &opening.scan;
    int fd = -1;
    enum err err = scan_folder(files, opening.folder, floor_seq + 1, NULL, NULL, report, scan);
    if (err == ERR_NONE && scan->bad) {
        err = cut_tail(&opening);
    }
    if (err != ERR_NONE) {
        goto out;
    }
    /* Nothing is left that the records do not cover: also when they cover more than is here. */
    bool anew = scan->count <= scan->start || scan->next_seq <= floor_seq;
    err = anew ? begin_anew(&opening, &fd) : continue_last(&opening, &fd);
    if (err == ERR_NONE) {
        int result = files->folder_sync(files->ctx, opening.folder);
        if (result < 0) {
            err = report_failure(report, options->folder, "syncing", result);
        }
    }
out:
    if (err == ERR_NONE) {
        *journal = journal_new(options, &opening, fd);
    } else {
        if (fd >= 0) {
            files->close(files->ctx, fd);
        }
        files->close(files->ctx, opening.folder);
    }
    scan_fini(scan);
    return err;
}

enum err journal_open(const struct journal_options *options, uint64_t floor_seq,
                      struct journal_report *report, struct journal **journal)
{
    return journal_open_on(&file_system, options, floor_seq, report, journal);
}

enum err journal_scan_on(const struct file_ops *files, const char *folder, uint64_t from_seq,
                         journal_record_fn *record, void *ctx, struct journal_report *report)
{
    *report = (struct journal_report){0};
    int fd = files->folder_open(files->ctx, folder, false);
    if (fd == -ENOENT) {
        return ERR_NONE;
    }
    if (fd < 0) {
        return report_failure(report, folder, "opening", fd);
    }
    struct scan scan;
    enum err err = scan_folder(files, fd, from_seq, record, ctx, report, &scan);
    scan_fini(&scan);
    files->close(files->ctx, fd);
    return err;
}

enum err journal_scan(const char *folder, uint64_t from_seq, journal_record_fn *record, void *ctx,
                      struct journal_report *report)
{
    return journal_scan_on(&file_system, folder, from_seq, record, ctx, report);
}

/* ---- the torn tail ---- */

static enum err segment_unlink(struct opening *opening, uint32_t index)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(opening->scan.segments[index].first_seq, name);
    int result = opening->files->unlink(opening->files->ctx, opening->folder, name);
    return result < 0 ? report_failure(opening->report, name, "removing", result) : ERR_NONE;
}

static enum err folder_sync(struct opening *opening)
{
    int result = opening->files->folder_sync(opening->files->ctx, opening->folder);
    return result < 0 ? report_failure(opening->report, "the journal's folder", "syncing", result)
                      : ERR_NONE;
}

/* Newest first: what a crash leaves is torn at the same place.  Afterwards scan->segments is what
 * is there. */
static enum err cut_tail(struct opening *opening)
{
    const struct file_ops *files = opening->files;
    struct scan *scan = &opening->scan;
    uint32_t keep = scan->bad_offset == 0 ? scan->bad_segment : scan->bad_segment + 1;
    enum err err = ERR_NONE;
    while (scan->count > keep && err == ERR_NONE) {
        err = segment_unlink(opening, scan->count - 1);
        scan->count -= err == ERR_NONE;
    }
    if (err == ERR_NONE) {
        err = folder_sync(opening);
    }
    if (err != ERR_NONE || scan->bad_offset == 0) {
        return err;
    }
    struct segment *segment = &scan->segments[scan->bad_segment];
    char name[SEGMENT_NAME_BYTES];
    segment_name(segment->first_seq, name);
    int fd = files->open(files->ctx, opening->folder, name, FILE_PATCH);
    if (fd < 0) {
        return report_failure(opening->report, name, "opening", fd);
    }
    int result = files->truncate(files->ctx, fd, scan->bad_offset);
    if (result == 0) {
        result = files->sync(files->ctx, fd);
    }
    files->close(files->ctx, fd);
    if (result < 0) {
        return report_failure(opening->report, name, "cutting the torn tail", result);
    }
    segment->bytes = scan->bad_offset;
    return ERR_NONE;
}

/* ---- making sure that what is here is on the disk ---- */

/* Where record `seq` begins; the scan has seen every record up to it. */
static int find_record(struct reader *reader, int folder, const char *name, uint64_t seq,
                       uint64_t *offset)
{
    int result = reader_open(reader, folder, name, SEGMENT_HEADER_BYTES);
    while (result == 0) {
        size_t got;
        struct record_header header;
        const char *at = reader_peek(reader, RECORD_HEADER_BYTES, &got);
        if (got < RECORD_HEADER_BYTES || !record_header_decode(at, &header)) {
            return reader->failure != 0 ? reader->failure : -EIO;
        }
        if (header.seq == seq) {
            *offset = reader->offset;
            return 0;
        }
        size_t record_bytes = RECORD_HEADER_BYTES + header.payload_bytes;
        (void)reader_peek(reader, record_bytes, &got);
        if (got < record_bytes) {
            return reader->failure != 0 ? reader->failure : -EIO;
        }
        reader_skip(reader, record_bytes);
    }
    return result;
}

/* Writes the rest of the reader's file over itself, and syncs it. */
static int rewrite(struct reader *reader, int fd)
{
    const struct file_ops *files = reader->files;
    for (;;) {
        size_t got;
        const char *at = reader_peek(reader, REWRITE_BYTES, &got);
        if (reader->failure != 0) {
            return reader->failure;
        }
        if (got == 0) {
            return files->sync(files->ctx, fd);
        }
        int64_t written = files->write_at(files->ctx, fd, at, got, reader->offset);
        if (written <= 0) {
            return written < 0 ? (int)written : -EIO;
        }
        reader_skip(reader, (size_t)written);
    }
}

/* Writes again what no record knows to be on the disk, segment by segment. */
static enum err confirm(struct opening *opening)
{
    const struct file_ops *files = opening->files;
    const struct scan *scan = &opening->scan;
    uint64_t known_seq =
        scan->durable_seq > opening->floor_seq ? scan->durable_seq : opening->floor_seq;
    struct reader reader;
    reader_init(&reader, files);
    enum err err = ERR_NONE;
    for (uint32_t i = scan->start; i < scan->count && err == ERR_NONE; i++) {
        uint64_t first_seq = scan->segments[i].first_seq;
        uint64_t next_seq = i + 1 < scan->count ? scan->segments[i + 1].first_seq : scan->next_seq;
        bool empty = next_seq == first_seq;
        if (next_seq <= known_seq + 1 && !empty) {
            continue;
        }
        char name[SEGMENT_NAME_BYTES];
        segment_name(first_seq, name);
        uint64_t offset = 0;
        int result = 0;
        if (known_seq + 1 > first_seq && !empty) {
            result = find_record(&reader, opening->folder, name, known_seq + 1, &offset);
        }
        if (result == 0) {
            result = reader_open(&reader, opening->folder, name, offset);
        }
        if (result == 0) {
            result = files->open(files->ctx, opening->folder, name, FILE_PATCH);
        }
        if (result >= 0) {
            int fd = result;
            result = rewrite(&reader, fd);
            files->close(files->ctx, fd);
        }
        if (result < 0) {
            err = report_failure(opening->report, name, "confirming", result);
        }
    }
    reader_fini(&reader);
    return err;
}

/* ---- the segment to write ---- */

static enum err continue_last(struct opening *opening, int *fd)
{
    struct scan *scan = &opening->scan;
    ASSERT(scan->count > scan->start && scan->next_seq > opening->floor_seq);
    enum err err = confirm(opening);
    if (err != ERR_NONE) {
        return err;
    }
    char name[SEGMENT_NAME_BYTES];
    segment_name(scan->segments[scan->count - 1].first_seq, name);
    *fd = opening->files->open(opening->files->ctx, opening->folder, name, FILE_APPEND);
    return *fd < 0 ? report_failure(opening->report, name, "opening", *fd) : ERR_NONE;
}

/* An empty journal that goes on after what the records cover. */
static enum err begin_anew(struct opening *opening, int *fd)
{
    const struct file_ops *files = opening->files;
    struct scan *scan = &opening->scan;
    ASSERT(scan->next_seq <= opening->floor_seq + 1);
    enum err err = ERR_NONE;
    while (scan->count > 0 && err == ERR_NONE) {
        err = segment_unlink(opening, scan->count - 1);
        scan->count -= err == ERR_NONE;
    }
    if (err == ERR_NONE) {
        /* Else an old segment could come back beside the new one, with a hole between them. */
        err = folder_sync(opening);
    }
    if (err != ERR_NONE) {
        return err;
    }
    uint64_t first_seq = opening->floor_seq + 1;
    char name[SEGMENT_NAME_BYTES];
    segment_name(first_seq, name);
    int result = segment_create(files, opening->folder, first_seq, opening->report->last_time_ms);
    if (result >= 0) {
        *fd = result;
        result = files->sync(files->ctx, *fd);
    }
    if (result < 0) {
        return report_failure(opening->report, name, "beginning the segment", result);
    }
    scan->segments = memory_resize(scan->segments, sizeof scan->segments[0]);
    scan->segments[0] = (struct segment){.first_seq = first_seq, .bytes = SEGMENT_HEADER_BYTES};
    scan->count = 1;
    scan->next_seq = first_seq;
    return ERR_NONE;
}

/* Takes the segments, the folder and fd. */
static struct journal *journal_new(const struct journal_options *options, struct opening *opening,
                                   int fd)
{
    struct scan *scan = &opening->scan;
    struct journal *journal = aligned_alloc(alignof(struct journal), sizeof *journal);
    ASSERT(journal != NULL);
    memset(journal, 0, sizeof *journal);
    journal->files = opening->files;
    journal->folder = opening->folder;
    journal->segment_bytes_max = options->segment_bytes;
    journal->total_bytes_max = options->total_bytes_max;
    journal->segments = scan->segments;
    journal->segments_count = scan->count;
    journal->segments_max = scan->count;
    scan->segments = NULL;
    journal->fd = fd;
    journal->fd_to_sync = fd;
    journal->last_time_ms =
        opening->report->records > 0 ? opening->report->last_time_ms : INT64_MIN;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < journal->segments_count; i++) {
        bytes += journal->segments[i].bytes;
    }
    /* No other thread knows the journal yet. */
    atomic_init(&journal->appended_seq, scan->next_seq - 1);
    atomic_init(&journal->durable_seq, scan->next_seq - 1);
    atomic_init(&journal->bytes, bytes);
    atomic_init(&journal->failed, ERR_NONE);
    ASSERT(pthread_mutex_init(&journal->sync, NULL) == 0);
    ASSERT(pthread_mutex_init(&journal->handover, NULL) == 0);
    return journal;
}
