/* backup.c -- a copy of a data folder that a server may be using. */
#define _GNU_SOURCE
#include "live/backup.h"

#include "base/assert.h"
#include "base/memory.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "live/store.h"
#include "records/records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRIES      5
#define COPY_BYTES ((size_t)1 << 20)
/* While the record store is copied, which may take minutes, segments come and go: those that came
 * are opened.  One that is gone within this time costs a try. */
#define KEEP_EVERY_MS 2

struct opened {
    uint64_t first_seq;
    int fd;
};

struct backup {
    const char *dest;
    char journal[STORE_PATH_BYTES], where[STORE_PATH_BYTES]; /* from here */
    char to_journal[STORE_PATH_BYTES], to_records[STORE_PATH_BYTES];
    struct opened *segments; /* ascending */
    uint32_t count, max;
    uint64_t covered_seq; /* of the copy */
    atomic_bool keep_stop;
    char *why;
    size_t why_bytes;
};

static enum err failed(struct backup *backup, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err failed(struct backup *backup, enum err err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(backup->why, backup->why_bytes, format, arguments);
    va_end(arguments);
    return err;
}

/* The system's words. */
static enum err io_failed(struct backup *backup, const char *doing, const char *path)
{
    enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : ERR_IO;
    return failed(backup, err, "%s %s: %s", doing, path, strerror(errno));
}

/* ---- the segments ---- */

static int segment_order(const void *a, const void *b)
{
    const struct opened *left = a, *right = b;
    return left->first_seq < right->first_seq ? -1 : left->first_seq > right->first_seq;
}

static bool is_open(const struct backup *backup, uint64_t first_seq)
{
    for (uint32_t i = 0; i < backup->count; i++) {
        if (backup->segments[i].first_seq == first_seq) {
            return true;
        }
    }
    return false;
}

/* Opens those that are there and not open yet. */
static enum err open_segments(struct backup *backup, bool quiet)
{
    DIR *folder = opendir(backup->journal);
    if (folder == NULL) {
        return errno == ENOENT || quiet ? ERR_NONE : io_failed(backup, "opening", backup->journal);
    }
    enum err err = ERR_NONE;
    const struct dirent *entry;
    uint64_t first_seq;
    while (err == ERR_NONE && (entry = readdir(folder)) != NULL) {
        if (!segment_name_parse(entry->d_name, &first_seq) || is_open(backup, first_seq)) {
            continue;
        }
        int fd = openat(dirfd(folder), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            backup->segments = memory_grow(backup->segments, &backup->max, backup->count + 1,
                                           sizeof *backup->segments);
            backup->segments[backup->count++] = (struct opened){first_seq, fd};
        } else if (errno != ENOENT && !quiet) { /* one that has just been removed is covered */
            err = io_failed(backup, "opening", entry->d_name);
        }
    }
    closedir(folder);
    if (backup->count > 1) {
        qsort(backup->segments, backup->count, sizeof *backup->segments, segment_order);
    }
    return err;
}

/* A thread of its own: has the segments while the record store is copied. */
static void *keep_segments(void *ctx)
{
    struct backup *backup = ctx;
    const struct timespec pause = {0, KEEP_EVERY_MS * 1000000};
    while (!atomic_load(&backup->keep_stop)) {
        nanosleep(&pause, NULL);
        enum err err = open_segments(backup, true);
        ASSERT(err == ERR_NONE); /* what it cannot open is said by who tries last */
    }
    return NULL;
}

static void close_segments(struct backup *backup)
{
    for (uint32_t i = 0; i < backup->count; i++) {
        close(backup->segments[i].fd);
    }
    backup->count = 0;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            bytes += written;
            len -= (size_t)written;
        }
    }
    return true;
}

static enum err copy_segment(struct backup *backup, const struct opened *segment, char *bytes)
{
    char name[SEGMENT_NAME_BYTES], path[STORE_PATH_BYTES + SEGMENT_NAME_BYTES];
    segment_name(segment->first_seq, name);
    (void)snprintf(path, sizeof path, "%s/%s", backup->to_journal, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return io_failed(backup, "creating", path);
    }
    enum err err = ERR_NONE;
    ssize_t len = 0;
    for (off_t at = 0; err == ERR_NONE; at += len) {
        len = pread(segment->fd, bytes, COPY_BYTES, at);
        if (len < 0 && errno == EINTR) {
            len = 0;
        } else if (len < 0) {
            err = io_failed(backup, "reading", name);
        } else if (len == 0) {
            break;
        } else if (!write_all(fd, bytes, (size_t)len)) {
            err = io_failed(backup, "writing", path);
        }
    }
    if (err == ERR_NONE && fsync(fd) != 0) {
        err = failed(backup, ERR_SYNC, "syncing %s: %s", path, strerror(errno));
    }
    close(fd);
    return err;
}

/* In their order, and only after the newest was opened: so what is read of the others is whole. */
static enum err copy_segments(struct backup *backup)
{
    char *bytes = memory_alloc(COPY_BYTES);
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < backup->count && err == ERR_NONE; i++) {
        bool covered =
            i + 1 < backup->count && backup->segments[i + 1].first_seq <= backup->covered_seq + 1;
        err = covered ? ERR_NONE : copy_segment(backup, &backup->segments[i], bytes);
    }
    free(bytes);
    return err;
}

/* ---- the destination ---- */

/* What was made, and what repairing has left: the folder is ours alone. */
static void remove_files(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        (void)unlinkat(dirfd(folder), entry->d_name, 0); /* not folders */
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

static void remove_made(struct backup *backup)
{
    remove_files(backup->to_journal);
    (void)rmdir(backup->to_journal);
    remove_files(backup->dest);
}

static bool folder_empty(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    bool empty = folder != NULL;
    while (empty && (entry = readdir(folder)) != NULL) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return empty;
}

static enum err sync_folder(struct backup *backup, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err err = fd >= 0 && fsync(fd) == 0
                       ? ERR_NONE
                       : failed(backup, ERR_SYNC, "syncing %s: %s", path, strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    return err;
}

static enum err sync_all(struct backup *backup)
{
    char parent[STORE_PATH_BYTES + 4];
    (void)snprintf(parent, sizeof parent, "%s/..", backup->dest);
    enum err err = sync_folder(backup, backup->to_journal);
    if (err == ERR_NONE) {
        err = sync_folder(backup, backup->dest);
    }
    return err == ERR_NONE ? sync_folder(backup, parent) : err;
}

/* ---- one try ---- */

static enum err copy_records(struct backup *backup)
{
    struct records_link *link;
    enum err err = records_open(backup->where, false, &link, backup->why, backup->why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    err = records_backup(link, backup->to_records);
    if (err != ERR_NONE) {
        (void)failed(backup, err, "records: %s", records_why(link));
    }
    records_close(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = records_open(backup->to_records, false, &link, backup->why, backup->why_bytes);
    if (err == ERR_NONE) {
        err = records_covered(link, &backup->covered_seq);
        if (err != ERR_NONE) {
            (void)failed(backup, err, "records: %s", records_why(link));
        }
        records_close(link);
    }
    return err;
}

/* The last record may have been copied while it was written: it goes, nothing is kept of it. */
static enum err cut_tail(struct backup *backup)
{
    struct journal_report report = {0};
    enum err err = journal_repair(backup->to_journal, &report);
    if (err != ERR_NONE) {
        return failed(backup, err, "journal: %s", report.text);
    }
    DIR *folder = opendir(backup->to_journal);
    const struct dirent *entry;
    uint64_t first_seq;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (!segment_name_parse(entry->d_name, &first_seq)) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return ERR_NONE;
}

/* Does the journal go on where the records end?  ERR_DAMAGED: it does not. */
static enum err join(struct backup *backup)
{
    struct journal_report report = {0};
    enum err err = journal_scan(backup->to_journal, backup->covered_seq + 1, NULL, NULL, &report);
    if (err != ERR_NONE) {
        return failed(backup, err, "journal: %s", report.text);
    }
    return report.torn_bytes > 0 ? cut_tail(backup) : ERR_NONE;
}

static enum err copy_records_keeping(struct backup *backup)
{
    pthread_t keeper;
    atomic_store(&backup->keep_stop, false);
    if (pthread_create(&keeper, NULL, keep_segments, backup) != 0) {
        return failed(backup, ERR_IO, "a thread could not be started");
    }
    enum err err = copy_records(backup);
    atomic_store(&backup->keep_stop, true);
    pthread_join(keeper, NULL);
    return err;
}

static enum err try_once(struct backup *backup)
{
    if (mkdir(backup->to_journal, 0750) != 0) {
        return io_failed(backup, "creating", backup->to_journal);
    }
    enum err err = open_segments(backup, false);
    if (err == ERR_NONE) {
        err = copy_records_keeping(backup);
    }
    if (err == ERR_NONE) {
        err = open_segments(backup, false); /* those begun since */
    }
    if (err == ERR_NONE) {
        err = copy_segments(backup);
    }
    close_segments(backup);
    if (err == ERR_NONE) {
        err = join(backup);
    }
    return err == ERR_NONE ? sync_all(backup) : err;
}

enum err store_backup(const char *data, const char *records, const char *dest, char *why,
                      size_t why_bytes)
{
    struct backup backup = {.dest = dest, .why = why, .why_bytes = why_bytes};
    if (strlen(data) > STORE_PATH_BYTES - 64 || strlen(dest) > STORE_PATH_BYTES - 64) {
        return failed(&backup, ERR_INVALID, "the path is too long");
    }
    store_paths(data, records, backup.journal, backup.where);
    (void)snprintf(backup.to_journal, sizeof backup.to_journal, "%s/journal", dest);
    (void)snprintf(backup.to_records, sizeof backup.to_records, "%s/records.db", dest);
    bool made = mkdir(dest, 0750) == 0; /* ids of people will be in it */
    if (!made && errno != EEXIST) {
        return io_failed(&backup, "creating", dest);
    }
    if (!made && !folder_empty(dest)) {
        return failed(&backup, ERR_INVALID, "%s is not an empty folder", dest);
    }
    enum err err = ERR_DAMAGED;
    for (int i = 0; i < TRIES && err == ERR_DAMAGED; i++) {
        if (i > 0) {
            remove_made(&backup);
        }
        err = try_once(&backup);
    }
    free(backup.segments);
    if (err != ERR_NONE) {
        remove_made(&backup);
        if (made) {
            (void)rmdir(dest);
        }
    }
    return err;
}
