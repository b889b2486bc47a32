/* repair.c -- makes a damaged journal end before the damage, and keeps what it cuts.
 *
 * Rules: docs/JOURNAL.md, section 7.  Each step leaves a journal that can be repaired again. */
#define _GNU_SOURCE
#include "journal/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "journal/internal.h"
#include "journal/reader.h"

#define KEPT_NAME_BYTES (SEGMENT_NAME_BYTES + 16)
#define KEPT_NAMES_MAX  1000 /* a folder repaired more often than this needs a person */
#define COPY_BYTES      ((size_t)1 << 20)

struct repairing {
    const struct file_ops *files;
    int folder;
    struct journal_report *report;
    struct scan scan;
};

static enum err cut(struct repairing *repairing);

enum err journal_repair_on(const struct file_ops *files, const char *folder,
                           struct journal_report *report)
{
    *report = (struct journal_report){0};
    struct repairing repairing = {.files = files, .report = report};
    repairing.folder = files->folder_open(files->ctx, folder, false);
    if (repairing.folder == -ENOENT) {
        return ERR_NONE;
    }
    if (repairing.folder < 0) {
        return report_failure(report, folder, "opening", repairing.folder);
    }
    enum err err = scan_folder(files, repairing.folder, 0, NULL, NULL, report, &repairing.scan);
    if (repairing.scan.bad && (err == ERR_NONE || err == ERR_DAMAGED)) {
        err = cut(&repairing);
    }
    scan_fini(&repairing.scan);
    files->close(files->ctx, repairing.folder);
    return err;
}

enum err journal_repair(const char *folder, struct journal_report *report)
{
    return journal_repair_on(&file_system, folder, report);
}

/* The attempt-th name under which a part of the segment is kept. */
static void kept_name(uint64_t first_seq, int attempt, char name[KEPT_NAME_BYTES])
{
    char segment[SEGMENT_NAME_BYTES];
    segment_name(first_seq, segment);
    if (attempt == 0) {
        snprintf(name, KEPT_NAME_BYTES, "%s.damaged", segment);
    } else {
        snprintf(name, KEPT_NAME_BYTES, "%s.damaged.%d", segment, attempt);
    }
}

static enum err rename_aside(struct repairing *repairing, uint32_t index)
{
    const struct file_ops *files = repairing->files;
    uint64_t first_seq = repairing->scan.segments[index].first_seq;
    char name[SEGMENT_NAME_BYTES], kept[KEPT_NAME_BYTES];
    segment_name(first_seq, name);
    int result = -EEXIST;
    for (int attempt = 0; result == -EEXIST && attempt < KEPT_NAMES_MAX; attempt++) {
        kept_name(first_seq, attempt, kept);
        result = files->rename(files->ctx, repairing->folder, name, kept);
    }
    if (result < 0) {
        return report_failure(repairing->report, name, "renaming", result);
    }
    report_say(repairing->report, "renamed %s to %s", name, kept);
    return ERR_NONE;
}

/* Copies what the reader has left into a new file, and syncs it. */
static int copy_rest(struct reader *reader, int fd)
{
    const struct file_ops *files = reader->files;
    for (;;) {
        size_t got;
        const char *at = reader_peek(reader, COPY_BYTES, &got);
        if (reader->failure != 0) {
            return reader->failure;
        }
        if (got == 0) {
            return files->sync(files->ctx, fd);
        }
        struct iovec part = {(void *)at, got};
        int64_t written = files->write(files->ctx, fd, &part, 1);
        if (written <= 0) {
            return written < 0 ? (int)written : -EIO;
        }
        reader_skip(reader, (size_t)written);
    }
}

/* The bytes from the bad place on, in a file of their own that is on the disk. */
static enum err keep_rest(struct repairing *repairing, const char *name, uint64_t first_seq,
                          char kept[KEPT_NAME_BYTES])
{
    const struct file_ops *files = repairing->files;
    struct reader reader;
    reader_init(&reader, files);
    int fd = -1;
    int result = reader_open(&reader, repairing->folder, name, repairing->scan.bad_offset);
    if (result == 0) {
        result = -EEXIST;
        for (int attempt = 0; result == -EEXIST && attempt < KEPT_NAMES_MAX; attempt++) {
            kept_name(first_seq, attempt, kept);
            result = files->open(files->ctx, repairing->folder, kept, FILE_CREATE);
        }
    }
    if (result >= 0) {
        fd = result;
        result = copy_rest(&reader, fd);
        files->close(files->ctx, fd);
    }
    if (result == 0) {
        result = files->folder_sync(files->ctx, repairing->folder);
    }
    if (result < 0 && fd >= 0) {
        /* A part of a copy helps nobody, and the original is untouched. */
        (void)files->unlink(files->ctx, repairing->folder, kept);
    }
    reader_fini(&reader);
    return result < 0 ? report_failure(repairing->report, name, "keeping what is cut", result)
                      : ERR_NONE;
}

static enum err cut_segment(struct repairing *repairing)
{
    const struct file_ops *files = repairing->files;
    struct journal_report *report = repairing->report;
    const struct segment *segment = &repairing->scan.segments[repairing->scan.bad_segment];
    uint64_t offset = repairing->scan.bad_offset;
    char name[SEGMENT_NAME_BYTES], kept[KEPT_NAME_BYTES];
    segment_name(segment->first_seq, name);
    enum err err = keep_rest(repairing, name, segment->first_seq, kept);
    if (err != ERR_NONE) {
        return err;
    }
    int fd = files->open(files->ctx, repairing->folder, name, FILE_PATCH);
    int result = fd;
    if (fd >= 0) {
        result = files->truncate(files->ctx, fd, offset);
        if (result == 0) {
            result = files->sync(files->ctx, fd);
        }
        files->close(files->ctx, fd);
    }
    if (result < 0) {
        return report_failure(report, name, "cutting", result);
    }
    report_say(report, "cut %" PRIu64 " bytes from %s into %s", segment->bytes - offset, name,
               kept);
    return ERR_NONE;
}

/* Newest first, so that a crash in between leaves the same first bad place. */
static enum err cut(struct repairing *repairing)
{
    struct scan *scan = &repairing->scan;
    uint64_t bytes = scan->segments[scan->bad_segment].bytes - scan->bad_offset;
    enum err err = ERR_NONE;
    for (uint32_t i = scan->count - 1; i > scan->bad_segment && err == ERR_NONE; i--) {
        bytes += scan->segments[i].bytes;
        err = rename_aside(repairing, i);
    }
    if (err == ERR_NONE) {
        err = scan->bad_offset == 0 ? rename_aside(repairing, scan->bad_segment)
                                    : cut_segment(repairing);
    }
    if (err == ERR_NONE) {
        int result = repairing->files->folder_sync(repairing->files->ctx, repairing->folder);
        if (result < 0) {
            err = report_failure(repairing->report, "the journal's folder", "syncing", result);
        }
    }
    if (err == ERR_NONE) {
        repairing->report->torn_bytes = bytes;
        report_say(repairing->report, "the journal now ends with record %" PRIu64,
                   scan->next_seq - 1);
    }
    return err;
}
