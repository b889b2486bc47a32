/* internal.h -- an open journal, and the doors for tests and simulation.  Private to the journal.
 *
 * Who may touch what (journal.h, threads):
 *   - the appending thread alone: all of the first band;
 *   - `handover` guards what goes from it to the syncing thread at a rotation;
 *   - `sync` is held for the whole of a sync: whoever holds it may close descriptors in `left`;
 *   - atomics say where the two are, to anybody. */
#ifndef NOVABEAT_JOURNAL_INTERNAL_H
#define NOVABEAT_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "journal/file.h"
#include "journal/journal.h"
#include "journal/scan.h"

/* Segments left behind that may wait for a sync; then an append has to sync itself. */
#define SEGMENTS_LEFT_MAX 8

struct segment_left {
    uint64_t first_seq;
    int fd;
};

struct journal {
    /* Set by open, then only read. */
    const struct file_ops *files;
    int folder;
    uint64_t segment_bytes_max, total_bytes_max;

    /* The appending thread's. */
    alignas(64) struct segment *segments; /* oldest first; the last is the one being written */
    uint32_t segments_count, segments_max;
    int fd; /* of the last segment */
    int64_t last_time_ms;
    bool turn; /* the next append begins a new segment */

    /* Written by the appending thread.  appended_seq: release, after the write: who sees a number
     * may claim its record.  bytes: relaxed, a figure. */
    _Atomic uint64_t appended_seq;
    _Atomic uint64_t bytes;
    /* The first final failure, or ERR_NONE.  Release and acquire; by either thread. */
    _Atomic int failed;

    /* Written by the syncing thread: release, after the sync. */
    alignas(64) _Atomic uint64_t durable_seq;

    pthread_mutex_t sync;

    pthread_mutex_t handover;
    /* Under `handover`. */
    int fd_to_sync; /* = fd */
    struct segment_left left[SEGMENTS_LEFT_MAX];
    uint32_t left_count;
    bool folder_changed; /* a segment was begun since the folder was synced */
};

/* As their namesakes in journal.h, on another operating system than the real one. */
enum err journal_scan_on(const struct file_ops *files, const char *folder, uint64_t from_seq,
                         journal_record_fn *record, void *ctx,
                         struct journal_report *report) WARN_UNUSED;
enum err journal_open_on(const struct file_ops *files, const struct journal_options *options,
                         uint64_t floor_seq, struct journal_report *report,
                         struct journal **journal) WARN_UNUSED;
enum err journal_repair_on(const struct file_ops *files, const char *folder,
                           struct journal_report *report) WARN_UNUSED;

/* Makes the file of a segment with its header, and leaves nothing behind when that fails.  Gives
 * the descriptor (appending), or -errno. */
int segment_create(const struct file_ops *files, int folder, uint64_t first_seq, int64_t time_ms);

#endif
