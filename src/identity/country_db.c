/* country_db.c -- see country_db.h: the file, and the table that is in use. */
#define _GNU_SOURCE /* strerrordesc_np */
#include "identity/country_db.h"

#include "base/memory.h"
#include "identity/mmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Which file it was, and in which state.  All 0: it was not there. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified, changed;
};

struct country_db {
    /* set once */
    char *path;
    /* of whoever reloads */
    struct stamp seen; /* read, or found bad */
    /* under the lock: read by all who look up, written by whoever reloads */
    alignas(64) pthread_rwlock_t lock;
    struct mmdb mmdb;
};

static struct stamp stamp_of(const struct stat *status)
{
    return (struct stamp){status->st_dev, status->st_ino, status->st_size, status->st_mtim,
                          status->st_ctim};
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_stamp(const struct stamp *a, const struct stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

static enum err fail(enum err err, const char *path, const char *what, char *why, size_t why_bytes)
{
    snprintf(why, why_bytes, "country database %s: %s", path, what);
    return err;
}

static enum err fail_errno(const char *path, char *why, size_t why_bytes)
{
    enum err err = errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    return fail(err, path, strerrordesc_np(errno), why, why_bytes);
}

/* Into memory, never mapped: a mapped file that somebody cuts short kills the process that reads
 * it.  The bytes are the caller's. */
static enum err read_bytes(int fd, const char *path, struct stamp *stamp, struct slice *file,
                           char *why, size_t why_bytes)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return fail_errno(path, why, why_bytes);
    }
    *stamp = stamp_of(&status);
    if (!S_ISREG(status.st_mode)) {
        return fail(ERR_IO, path, "is not a regular file", why, why_bytes);
    }
    if (status.st_size > (off_t)MMDB_FILE_BYTES_MAX) {
        return fail(ERR_DAMAGED, path, "is larger than 1 GiB", why, why_bytes);
    }
    size_t bytes = (size_t)status.st_size, have = 0;
    char *memory = memory_alloc(bytes + 1);
    while (have < bytes) {
        ssize_t got = read(fd, memory + have, bytes - have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            enum err err = fail_errno(path, why, why_bytes);
            free(memory);
            return err;
        }
        if (got == 0) {
            break; /* it is being cut short: the table cannot be sound, or the stamp tells */
        }
        have += (size_t)got;
    }
    *file = slice_of(memory, have);
    return ERR_NONE;
}

/* stamp: of the file that was read or found bad; all 0 if there is none, or if it changed while it
 * was being read, so that the next reload tries again. */
static enum err read_table(const char *path, struct stamp *stamp, struct mmdb *mmdb, char *why,
                           size_t why_bytes)
{
    *stamp = (struct stamp){0};
    /* Without O_NONBLOCK a FIFO would make us wait for somebody who writes. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fail_errno(path, why, why_bytes);
    }
    struct slice file = SLICE_EMPTY;
    char what[256];
    enum err err = read_bytes(fd, path, stamp, &file, why, why_bytes);
    if (err == ERR_NONE && !mmdb_read(file, mmdb, what, sizeof what)) {
        err = fail(ERR_DAMAGED, path, what, why, why_bytes);
    }
    free((char *)file.ptr);
    struct stat after;
    if (file.ptr != NULL && fstat(fd, &after) == 0) {
        struct stamp now = stamp_of(&after);
        if (!same_stamp(stamp, &now)) {
            *stamp = (struct stamp){0};
            if (err == ERR_NONE) {
                mmdb_free(mmdb);
            }
            err = fail(ERR_IO, path, "changed while it was being read", why, why_bytes);
        }
    }
    close(fd);
    return err;
}

enum err country_db_open(const char *path, struct country_db **db, char *why, size_t why_bytes)
{
    struct stamp stamp;
    struct mmdb mmdb;
    *db = NULL;
    enum err err = read_table(path, &stamp, &mmdb, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    struct country_db *made = aligned_alloc(alignof(struct country_db), sizeof *made);
    char *copy = strdup(path);
    if (made == NULL || copy == NULL) {
        free(made);
        free(copy);
        mmdb_free(&mmdb);
        return fail(ERR_MEMORY, path, err_text(ERR_MEMORY), why, why_bytes);
    }
    *made = (struct country_db){.path = copy, .seen = stamp, .mmdb = mmdb};
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* Else threads that look up all the time could keep a reload waiting for ever. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&made->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    *db = made;
    return ERR_NONE;
}

void country_db_close(struct country_db *db)
{
    if (db == NULL) {
        return;
    }
    pthread_rwlock_destroy(&db->lock);
    mmdb_free(&db->mmdb);
    free(db->path);
    free(db);
}

enum err country_db_reload_changed(struct country_db *db, bool *changed, char *why,
                                   size_t why_bytes)
{
    static const struct stamp absent = {0};
    struct stat status;
    struct stamp now = absent;
    *changed = false;
    if (stat(db->path, &status) == 0) {
        now = stamp_of(&status);
        if (same_stamp(&now, &db->seen)) {
            return ERR_NONE;
        }
    } else if (same_stamp(&absent, &db->seen)) {
        return ERR_NONE; /* told already */
    }
    struct mmdb mmdb;
    enum err err = read_table(db->path, &db->seen, &mmdb, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    pthread_rwlock_wrlock(&db->lock);
    struct mmdb old = db->mmdb;
    db->mmdb = mmdb;
    pthread_rwlock_unlock(&db->lock);
    mmdb_free(&old);
    *changed = true;
    return ERR_NONE;
}

bool country_db_find(struct country_db *db, const struct address *address, char country[2])
{
    pthread_rwlock_rdlock(&db->lock);
    bool found = mmdb_find(&db->mmdb, address, country);
    pthread_rwlock_unlock(&db->lock);
    return found;
}

void country_db_describe(struct country_db *db, char *text, size_t bytes)
{
    char type[MMDB_TYPE_BYTES], built[16] = "unknown";
    pthread_rwlock_rdlock(&db->lock);
    memcpy(type, db->mmdb.type, sizeof type);
    time_t epoch_s = (time_t)db->mmdb.build_epoch_s;
    pthread_rwlock_unlock(&db->lock);
    struct tm utc;
    if (epoch_s > 0 && gmtime_r(&epoch_s, &utc) != NULL) {
        strftime(built, sizeof built, "%Y-%m-%d", &utc);
    }
    snprintf(text, bytes, "%s (build %s)", type, built);
}
