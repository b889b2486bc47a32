/* journal.c -- an open journal: append, rotate, sync, remove.
 *
 * journal_append is the hot path: one writev, no copy, no lock.  Only a rotation takes a lock, to
 * hand the old descriptor to the syncing thread.  Rules: docs/JOURNAL.md, section 5. */
#define _GNU_SOURCE
#include "journal/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "journal/internal.h"

#define ROTATION_LOG_INTERVAL_MS 60000

static enum err failure_of(const struct journal *journal)
{
    return (enum err)atomic_load_explicit(&journal->failed, memory_order_acquire);
}

/* The last word: everything refuses from here on. */
static enum err fail(struct journal *journal, enum err err, const char *doing, int64_t result)
{
    ASSERT(err != ERR_NONE && result < 0);
    const char *words = strerrordesc_np((int)-result);
    log_line(LOG_ERROR, "journal", "%s failed: %s; nothing is acknowledged from here on", doing,
             words == NULL ? "unknown error" : words);
    int none = ERR_NONE;
    atomic_compare_exchange_strong_explicit(&journal->failed, &none, err, memory_order_acq_rel,
                                            memory_order_acquire);
    return err;
}

static struct segment *segment_current(struct journal *journal)
{
    ASSERT(journal->segments_count > 0);
    return &journal->segments[journal->segments_count - 1];
}

/* Only the appending thread writes it, so no read-modify-write is needed. */
static void bytes_add(struct journal *journal, int64_t bytes)
{
    atomic_store_explicit(&journal->bytes, journal_bytes(journal) + (uint64_t)bytes,
                          memory_order_relaxed);
}

/* ---- append ---- */

static enum err rotate(struct journal *journal, int64_t time_ms);
static int64_t write_whole(const struct file_ops *files, int fd, struct iovec parts[2]);

/* The segment that is written takes no more: the record would make it too large, or would make the
 * journal too large and then the segment must become one that can be removed. */
static bool rotation_due(struct journal *journal, uint64_t record_bytes, bool full)
{
    const struct segment *segment = segment_current(journal);
    bool empty = segment->bytes <= SEGMENT_HEADER_BYTES;
    return !empty &&
           (journal->turn || full || segment->bytes + record_bytes > journal->segment_bytes_max);
}

static bool full_with(const struct journal *journal, uint64_t record_bytes)
{
    return journal->total_bytes_max > 0 &&
           journal_bytes(journal) + record_bytes > journal->total_bytes_max;
}

enum err journal_append(struct journal *journal, int64_t time_ms, struct slice payload,
                        uint64_t *seq)
{
    ASSERT(payload.len >= 1 && payload.len <= JOURNAL_RECORD_BYTES_MAX);
    ASSERT(time_ms >= journal->last_time_ms);
    enum err err = failure_of(journal);
    if (err != ERR_NONE) {
        return err;
    }
    uint64_t record_bytes = RECORD_HEADER_BYTES + payload.len;
    bool full = full_with(journal, record_bytes);
    if (rotation_due(journal, record_bytes, full)) {
        err = rotate(journal, time_ms);
        if (err != ERR_NONE) {
            return err;
        }
    }
    if (full) {
        return ERR_FULL;
    }

    /* Both relaxed: the first is this thread's own, the second is a fact for good once stored. */
    uint64_t next = atomic_load_explicit(&journal->appended_seq, memory_order_relaxed) + 1;
    struct record_header header = {
        .payload_bytes = (uint32_t)payload.len,
        .seq = next,
        .time_ms = time_ms,
        .durable_seq = atomic_load_explicit(&journal->durable_seq, memory_order_relaxed),
    };
    char head[RECORD_HEADER_BYTES];
    record_header_encode(&header, payload.ptr, head);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)payload.ptr, payload.len}};
    struct segment *segment = segment_current(journal);
    int64_t result = write_whole(journal->files, journal->fd, parts);
    if (result < 0) {
        if (!file_is_full(result)) {
            return fail(journal, ERR_IO, "writing the journal", result);
        }
        result = journal->files->truncate(journal->files->ctx, journal->fd, segment->bytes);
        return result == 0 ? ERR_NOSPACE
                           : fail(journal, ERR_IO, "taking back a part of a record", result);
    }
    segment->bytes += record_bytes;
    journal->last_time_ms = time_ms;
    bytes_add(journal, (int64_t)record_bytes);
    atomic_store_explicit(&journal->appended_seq, next, memory_order_release);
    *seq = next;
    return ERR_NONE;
}

void journal_turn(struct journal *journal)
{
    journal->turn = segment_current(journal)->bytes > SEGMENT_HEADER_BYTES;
}

/* 0, or -errno: then a part may be written. */
static int64_t write_whole(const struct file_ops *files, int fd, struct iovec parts[2])
{
    for (int first = 0; first < 2;) {
        int64_t written = files->write(files->ctx, fd, parts + first, 2 - first);
        if (written <= 0) {
            return written < 0 ? written : -EIO;
        }
        /* A short write: the disk is nearly full.  The next one says so. */
        size_t left = (size_t)written;
        while (first < 2 && left >= parts[first].iov_len) {
            left -= parts[first++].iov_len;
        }
        if (first < 2) {
            parts[first].iov_base = (char *)parts[first].iov_base + left;
            parts[first].iov_len -= left;
        }
    }
    return 0;
}

int segment_create(const struct file_ops *files, int folder, uint64_t first_seq, int64_t time_ms)
{
    char name[SEGMENT_NAME_BYTES], header[SEGMENT_HEADER_BYTES];
    segment_name(first_seq, name);
    segment_header_encode(first_seq, time_ms, header);
    int fd = files->open(files->ctx, folder, name, FILE_CREATE);
    if (fd < 0) {
        return fd;
    }
    struct iovec parts[2] = {{header, sizeof header}, {NULL, 0}};
    int64_t result = write_whole(files, fd, parts);
    if (result == 0) {
        return fd;
    }
    files->close(files->ctx, fd);
    /* Else the next attempt would find the name taken. */
    int unlinked = files->unlink(files->ctx, folder, name);
    return unlinked < 0 ? unlinked : (int)result;
}

/* Begins a new segment.  ERR_NONE also when it had to stay with the old one. */
static enum err rotate(struct journal *journal, int64_t time_ms)
{
    pthread_mutex_lock(&journal->handover);
    bool crowded = journal->left_count == SEGMENTS_LEFT_MAX;
    pthread_mutex_unlock(&journal->handover);
    if (crowded) {
        uint64_t durable_seq;
        enum err err = journal_sync(journal, &durable_seq);
        if (err != ERR_NONE) {
            return err;
        }
    }
    uint64_t first_seq = journal_appended_seq(journal) + 1;
    int fd = segment_create(journal->files, journal->folder, first_seq, time_ms);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM) {
        LOG_EVERY(ROTATION_LOG_INTERVAL_MS, LOG_WARN, "journal",
                  "no new segment yet (%s): going on in the old one", strerrordesc_np(-fd));
        return ERR_NONE;
    }
    if (fd < 0) {
        return file_is_full(fd) ? ERR_NOSPACE
                                : fail(journal, ERR_IO, "beginning a journal segment", fd);
    }
    pthread_mutex_lock(&journal->handover);
    ASSERT(journal->left_count < SEGMENTS_LEFT_MAX);
    journal->left[journal->left_count++] = (struct segment_left){
        .first_seq = segment_current(journal)->first_seq, .fd = journal->fd_to_sync};
    journal->fd_to_sync = fd;
    journal->folder_changed = true;
    pthread_mutex_unlock(&journal->handover);

    journal->fd = fd;
    journal->turn = false; /* (not when it had to stay with the old one) */
    journal->segments = memory_grow(journal->segments, &journal->segments_max,
                                    journal->segments_count + 1, sizeof journal->segments[0]);
    journal->segments[journal->segments_count++] =
        (struct segment){.first_seq = first_seq, .bytes = SEGMENT_HEADER_BYTES};
    bytes_add(journal, SEGMENT_HEADER_BYTES);
    return ERR_NONE;
}

/* ---- sync ---- */

/* What one sync has to do, as of one moment. */
struct sync_work {
    uint64_t target_seq;
    int fd;
    struct segment_left left[SEGMENTS_LEFT_MAX];
    uint32_t left_count;
    bool folder_changed;
};

static void sync_take(struct journal *journal, struct sync_work *work)
{
    pthread_mutex_lock(&journal->handover);
    /* Acquire, and under the lock: records up to this one are written, into these descriptors. */
    work->target_seq = atomic_load_explicit(&journal->appended_seq, memory_order_acquire);
    work->fd = journal->fd_to_sync;
    work->left_count = journal->left_count;
    memcpy(work->left, journal->left, journal->left_count * sizeof journal->left[0]);
    work->folder_changed = journal->folder_changed;
    journal->folder_changed = false; /* a failure is final, so nobody needs it back */
    pthread_mutex_unlock(&journal->handover);
}

static int sync_do(struct journal *journal, const struct sync_work *work)
{
    const struct file_ops *files = journal->files;
    int result = 0;
    for (uint32_t i = 0; i < work->left_count && result == 0; i++) {
        result = files->sync(files->ctx, work->left[i].fd);
    }
    if (result == 0 && work->folder_changed) {
        result = files->folder_sync(files->ctx, journal->folder);
    }
    if (result == 0) {
        result = files->sync(files->ctx, work->fd);
    }
    return result;
}

/* Closes the first `count` that were left; only with `sync` held. */
static void left_close(struct journal *journal, uint32_t count)
{
    struct segment_left done[SEGMENTS_LEFT_MAX];
    pthread_mutex_lock(&journal->handover);
    ASSERT(count <= journal->left_count);
    memcpy(done, journal->left, count * sizeof done[0]);
    journal->left_count -= count;
    memmove(journal->left, journal->left + count, journal->left_count * sizeof done[0]);
    pthread_mutex_unlock(&journal->handover);
    for (uint32_t i = 0; i < count; i++) {
        journal->files->close(journal->files->ctx, done[i].fd);
    }
}

static enum err sync_held(struct journal *journal, uint64_t *durable_seq)
{
    *durable_seq = journal_durable_seq(journal);
    enum err err = failure_of(journal);
    if (err != ERR_NONE) {
        return err;
    }
    struct sync_work work;
    sync_take(journal, &work);
    ASSERT(work.target_seq >= *durable_seq);
    if (work.target_seq == *durable_seq && work.left_count == 0) {
        /* Nothing new.  An empty segment's name may wait for its first record. */
        pthread_mutex_lock(&journal->handover);
        journal->folder_changed |= work.folder_changed;
        pthread_mutex_unlock(&journal->handover);
        return ERR_NONE;
    }
    int result = sync_do(journal, &work);
    if (result < 0) {
        return fail(journal, ERR_SYNC, "syncing the journal", result);
    }
    left_close(journal, work.left_count);
    atomic_store_explicit(&journal->durable_seq, work.target_seq, memory_order_release);
    *durable_seq = work.target_seq;
    return ERR_NONE;
}

enum err journal_sync(struct journal *journal, uint64_t *durable_seq)
{
    pthread_mutex_lock(&journal->sync);
    enum err err = sync_held(journal, durable_seq);
    pthread_mutex_unlock(&journal->sync);
    return err;
}

/* ---- figures ---- */

uint64_t journal_appended_seq(const struct journal *journal)
{
    return atomic_load_explicit(&journal->appended_seq, memory_order_acquire);
}

uint64_t journal_durable_seq(const struct journal *journal)
{
    return atomic_load_explicit(&journal->durable_seq, memory_order_acquire);
}

uint64_t journal_first_seq(const struct journal *journal)
{
    return journal->segments[0].first_seq;
}

uint64_t journal_bytes(const struct journal *journal)
{
    return atomic_load_explicit(&journal->bytes, memory_order_relaxed);
}

/* ---- removal ---- */

enum err journal_remove_covered(struct journal *journal, uint64_t covered_seq)
{
    enum err err = failure_of(journal);
    const struct file_ops *files = journal->files;
    uint32_t removed = 0;
    /* What follows must be on the disk before this goes: else a power cut may leave a later segment
     * whose name was kept by chance, and a hole before it that looks like damage. */
    uint64_t durable_seq = journal_durable_seq(journal);
    uint64_t until_seq = covered_seq < durable_seq ? covered_seq : durable_seq;
    while (err == ERR_NONE && removed + 1 < journal->segments_count &&
           journal->segments[removed + 1].first_seq - 1 <= until_seq) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(journal->segments[removed].first_seq, name);
        int result = files->unlink(files->ctx, journal->folder, name);
        if (result < 0 && result != -ENOENT) {
            LOG_EVERY(ROTATION_LOG_INTERVAL_MS, LOG_WARN, "journal", "removing %s failed: %s", name,
                      strerrordesc_np(-result));
            err = ERR_IO;
            break;
        }
        bytes_add(journal, -(int64_t)journal->segments[removed].bytes);
        removed++;
    }
    if (removed > 0) {
        journal->segments_count -= removed;
        memmove(journal->segments, journal->segments + removed,
                journal->segments_count * sizeof journal->segments[0]);
    }
    return err;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    left_close(journal, journal->left_count);
    journal->files->close(journal->files->ctx, journal->fd);
    journal->files->close(journal->files->ctx, journal->folder);
    pthread_mutex_destroy(&journal->handover);
    pthread_mutex_destroy(&journal->sync);
    free(journal->segments);
    free(journal);
}
