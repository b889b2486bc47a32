/* file.h -- what the journal asks of the operating system, as a table.  Private to the journal.
 *
 * Model: one folder of files with names; descriptors are small numbers >= 0.  The default table is
 * the real system (file_system); tests put another in its place that fails on purpose, and a
 * simulation one that is a disk in memory, with power cuts.
 * Results: >= 0, or -errno (-ENOSPC: no room, -EIO, …).  EINTR never comes out.
 * Threads: the functions may be called from two threads at a time, on the same file too. */
#ifndef NOVABEAT_JOURNAL_FILE_H
#define NOVABEAT_JOURNAL_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum file_mode {
    FILE_READ,   /* must exist */
    FILE_APPEND, /* must exist; every write goes to its end */
    FILE_PATCH,  /* must exist; write_at */
    FILE_CREATE, /* must not exist (-EEXIST); then as FILE_APPEND */
};

/* One name in the folder. */
typedef void file_name_fn(void *arg, const char *name);

struct file_ops {
    void *ctx; /* the first argument of all of these */

    /* The folder; with create it is made when missing, durably (its parent is synced). */
    int (*folder_open)(void *ctx, const char *path, bool create);
    int (*folder_list)(void *ctx, int folder, file_name_fn *name, void *arg);
    /* Makes names that came, went or changed durable. */
    int (*folder_sync)(void *ctx, int folder);
    int (*rename)(void *ctx, int folder, const char *from, const char *to);
    int (*unlink)(void *ctx, int folder, const char *name);

    int (*open)(void *ctx, int folder, const char *name, enum file_mode mode);
    void (*close)(void *ctx, int fd); /* also of a folder */
    int64_t (*size)(void *ctx, int fd);
    /* Both may do less than asked, as write(2) and pread(2) may. */
    int64_t (*write)(void *ctx, int fd, const struct iovec *parts, int count);
    int64_t (*write_at)(void *ctx, int fd, const void *bytes, uint64_t len, uint64_t offset);
    int64_t (*read_at)(void *ctx, int fd, void *bytes, uint64_t len, uint64_t offset);
    int (*truncate)(void *ctx, int fd, uint64_t len);
    /* Makes the data and the length durable (fdatasync). */
    int (*sync)(void *ctx, int fd);
};

/* The real one. */
extern const struct file_ops file_system;

/* True for the results that a full disk gives: -ENOSPC, -EDQUOT, and -EFBIG of a file size limit.
 */
bool file_is_full(int64_t result);

#endif
