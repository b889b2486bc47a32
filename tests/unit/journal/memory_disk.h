/* memory_disk.h -- a disk in memory behind the journal's file.h, with everything that goes wrong.
 *
 * Model: a file has its bytes as processes see them and its bytes on the platter; names likewise.
 * A sync copies dirty sectors to the platter; a folder sync the names.  disk_power_cut keeps the
 * platter, and of what was not synced a random part: each dirty sector and each name for itself,
 * lengths anywhere in between.  (Real file systems keep more order than that.)
 * A sync that fails marks the dirty sectors clean and loses them, as Linux does: a later sync says
 * that all is well.
 * Faults: `fail_after` counts calls down and makes one fail with `fail_error`; `bytes_max` is the
 * room on the disk; `fds_max` the descriptors.  One thread. */
#ifndef NOVABEAT_TESTS_JOURNAL_MEMORY_DISK_H
#define NOVABEAT_TESTS_JOURNAL_MEMORY_DISK_H

#include "tap.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "journal/internal.h"

#define DISK_FILES_MAX  64
#define DISK_FDS_MAX    32
#define DISK_NAME_BYTES 64
#define DISK_FOLDER_FD  1000
#define DISK_SECTOR     128u /* small, so that small files tear too */
#define DISK_FILE_MAX   (64u * 1024)

struct disk_file {
    bool used;
    char name[DISK_NAME_BYTES];    /* "": unlinked */
    char on_disk[DISK_NAME_BYTES]; /* the name on the platter; "": none */
    uint32_t len, platter_len;
    char *bytes, *platter; /* DISK_FILE_MAX each, zero behind the length */
    bool dirty[DISK_FILE_MAX / DISK_SECTOR];
};

struct disk {
    struct file_ops ops;
    struct disk_file files[DISK_FILES_MAX];
    int fds[DISK_FDS_MAX]; /* index of the file, or -1 */
    int fds_open;
    uint64_t random;
    /* Faults. */
    int64_t fail_after; /* that many calls succeed, then one fails; < 0: none */
    int fail_error;
    uint64_t fail_count; /* failures that were given */
    uint64_t bytes_max;  /* 0: no bound */
    int fds_max;
    /* What happened. */
    uint64_t syncs, folder_syncs, writes;
};

static inline int disk_fault(struct disk *disk)
{
    if (disk->fail_after < 0 || disk->fail_after-- > 0) {
        return 0;
    }
    disk->fail_count++;
    return -disk->fail_error;
}

static inline struct disk_file *disk_find(struct disk *disk, const char *name)
{
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        if (disk->files[i].used && strcmp(disk->files[i].name, name) == 0) {
            return &disk->files[i];
        }
    }
    return NULL;
}

static inline struct disk_file *disk_file_of(struct disk *disk, int fd)
{
    assert_in_range(fd, 0, DISK_FDS_MAX - 1);
    assert_true(disk->fds[fd] >= 0); /* a descriptor used after it was closed */
    return &disk->files[disk->fds[fd]];
}

static inline void disk_release(struct disk *disk, struct disk_file *file)
{
    bool open = false;
    for (int i = 0; i < DISK_FDS_MAX; i++) {
        open |= disk->fds[i] == (int)(file - disk->files);
    }
    if (file->used && !open && file->name[0] == '\0' && file->on_disk[0] == '\0') {
        free(file->bytes);
        free(file->platter);
        memset(file, 0, sizeof *file);
    }
}

static inline int disk_folder_open(void *ctx, const char *path, bool create)
{
    struct disk *disk = ctx;
    (void)path, (void)create;
    int fault = disk_fault(disk);
    disk->fds_open += fault == 0;
    return fault != 0 ? fault : DISK_FOLDER_FD;
}

static inline int disk_folder_list(void *ctx, int folder, file_name_fn *name, void *arg)
{
    struct disk *disk = ctx;
    assert_int_equal(folder, DISK_FOLDER_FD);
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        if (disk->files[i].used && disk->files[i].name[0] != '\0') {
            name(arg, disk->files[i].name);
        }
    }
    return disk_fault(disk);
}

static inline int disk_folder_sync(void *ctx, int folder)
{
    struct disk *disk = ctx;
    assert_int_equal(folder, DISK_FOLDER_FD);
    int fault = disk_fault(disk);
    if (fault != 0) {
        return fault;
    }
    disk->folder_syncs++;
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        memcpy(disk->files[i].on_disk, disk->files[i].name, DISK_NAME_BYTES);
        disk_release(disk, &disk->files[i]);
    }
    return 0;
}

static inline int disk_rename(void *ctx, int folder, const char *from, const char *to)
{
    struct disk *disk = ctx;
    (void)folder;
    int fault = disk_fault(disk);
    struct disk_file *file = disk_find(disk, from);
    if (fault != 0 || file == NULL || disk_find(disk, to) != NULL) {
        return fault != 0 ? fault : file == NULL ? -ENOENT : -EEXIST;
    }
    snprintf(file->name, sizeof file->name, "%s", to);
    return 0;
}

static inline int disk_unlink(void *ctx, int folder, const char *name)
{
    struct disk *disk = ctx;
    (void)folder;
    int fault = disk_fault(disk);
    struct disk_file *file = disk_find(disk, name);
    if (fault != 0 || file == NULL) {
        return fault != 0 ? fault : -ENOENT;
    }
    memset(file->name, 0, sizeof file->name);
    disk_release(disk, file);
    return 0;
}

static inline int disk_open(void *ctx, int folder, const char *name, enum file_mode mode)
{
    struct disk *disk = ctx;
    assert_int_equal(folder, DISK_FOLDER_FD);
    int fault = disk_fault(disk), fd = 0, index = 0;
    struct disk_file *file = disk_find(disk, name);
    if (fault != 0) {
        return fault;
    }
    while (fd < DISK_FDS_MAX && disk->fds[fd] >= 0) {
        fd++;
    }
    if (disk->fds_open >= disk->fds_max || fd == DISK_FDS_MAX) {
        return -EMFILE;
    }
    if (mode == FILE_CREATE) {
        if (file != NULL) {
            return -EEXIST;
        }
        while (index < DISK_FILES_MAX && disk->files[index].used) {
            index++;
        }
        assert_true(index < DISK_FILES_MAX);
        file = &disk->files[index];
        file->used = true;
        snprintf(file->name, sizeof file->name, "%s", name);
        file->bytes = calloc(1, DISK_FILE_MAX);
        file->platter = calloc(1, DISK_FILE_MAX);
    }
    if (file == NULL) {
        return -ENOENT;
    }
    disk->fds[fd] = (int)(file - disk->files);
    disk->fds_open++;
    return fd;
}

static inline void disk_close(void *ctx, int fd)
{
    struct disk *disk = ctx;
    disk->fds_open--;
    if (fd != DISK_FOLDER_FD) {
        struct disk_file *file = disk_file_of(disk, fd);
        disk->fds[fd] = -1;
        disk_release(disk, file);
    }
}

static inline int64_t disk_size(void *ctx, int fd)
{
    int fault = disk_fault(ctx);
    return fault != 0 ? fault : (int64_t)disk_file_of(ctx, fd)->len;
}

static inline void disk_put(struct disk_file *file, uint32_t at, const char *bytes, uint32_t len)
{
    assert_true(at + len <= DISK_FILE_MAX);
    memcpy(file->bytes + at, bytes, len);
    for (uint32_t i = at; i < at + len; i++) {
        file->dirty[i / DISK_SECTOR] = true;
    }
    file->len = at + len > file->len ? at + len : file->len;
}

/* Room left, as the disk's bound says; linked files and open ones take it. */
static inline uint64_t disk_room(const struct disk *disk)
{
    uint64_t bytes = 0;
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        bytes += disk->files[i].len;
    }
    return disk->bytes_max == 0 ? UINT64_MAX
                                : (bytes < disk->bytes_max ? disk->bytes_max - bytes : 0);
}

static inline int64_t disk_write(void *ctx, int fd, const struct iovec *parts, int count)
{
    struct disk *disk = ctx;
    struct disk_file *file = disk_file_of(disk, fd);
    int fault = disk_fault(disk);
    disk->writes++;
    uint64_t room = disk_room(disk), wanted = 0, written = 0;
    for (int i = 0; i < count; i++) {
        wanted += parts[i].iov_len;
    }
    if (fault != 0) {
        room = tap_random(&disk->random) % (wanted + 1); /* a part may be written all the same */
    }
    for (int i = 0; i < count; i++) {
        uint64_t left = room - written;
        uint64_t len = parts[i].iov_len < left ? parts[i].iov_len : left;
        if (len > 0) {
            disk_put(file, file->len, parts[i].iov_base, (uint32_t)len);
        }
        written += len;
    }
    return fault != 0 ? fault : written == 0 ? -ENOSPC : (int64_t)written;
}

static inline int64_t disk_write_at(void *ctx, int fd, const void *bytes, uint64_t len,
                                    uint64_t offset)
{
    int fault = disk_fault(ctx);
    if (fault != 0) {
        return fault;
    }
    disk_put(disk_file_of(ctx, fd), (uint32_t)offset, bytes, (uint32_t)len);
    return (int64_t)len;
}

static inline int64_t disk_read_at(void *ctx, int fd, void *bytes, uint64_t len, uint64_t offset)
{
    struct disk_file *file = disk_file_of(ctx, fd);
    int fault = disk_fault(ctx);
    if (fault != 0) {
        return fault;
    }
    uint64_t rest = offset < file->len ? file->len - offset : 0;
    len = len < rest ? len : rest;
    memcpy(bytes, file->bytes + offset, len);
    return (int64_t)len;
}

static inline int disk_truncate(void *ctx, int fd, uint64_t len)
{
    struct disk_file *file = disk_file_of(ctx, fd);
    int fault = disk_fault(ctx);
    if (fault != 0) {
        return fault;
    }
    assert_true(len <= file->len);
    memset(file->bytes + len, 0, file->len - len);
    for (uint64_t i = len; i < file->len; i++) {
        file->dirty[i / DISK_SECTOR] = true;
    }
    file->len = (uint32_t)len;
    return 0;
}

static inline int disk_sync(void *ctx, int fd)
{
    struct disk *disk = ctx;
    struct disk_file *file = disk_file_of(disk, fd);
    int fault = disk_fault(disk);
    disk->syncs++;
    if (fault == 0) {
        for (uint32_t i = 0; i < DISK_FILE_MAX / DISK_SECTOR; i++) {
            if (file->dirty[i]) {
                memcpy(file->platter + i * DISK_SECTOR, file->bytes + i * DISK_SECTOR, DISK_SECTOR);
            }
        }
        file->platter_len = file->len;
    }
    memset(file->dirty, 0, sizeof file->dirty);
    return fault;
}

static inline struct disk *disk_new(uint64_t seed)
{
    struct disk *disk = calloc(1, sizeof *disk);
    disk->ops = (struct file_ops){
        disk,          disk_folder_open, disk_folder_list, disk_folder_sync, disk_rename,
        disk_unlink,   disk_open,        disk_close,       disk_size,        disk_write,
        disk_write_at, disk_read_at,     disk_truncate,    disk_sync};
    for (int i = 0; i < DISK_FDS_MAX; i++) {
        disk->fds[i] = -1;
    }
    disk->random = seed;
    disk->fail_after = -1;
    disk->fail_error = EIO;
    disk->fds_max = DISK_FDS_MAX;
    return disk;
}

static inline void disk_free(struct disk *disk)
{
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        free(disk->files[i].bytes);
        free(disk->files[i].platter);
    }
    free(disk);
}

/* The power goes and comes back.  Nothing is open any more (close the journal first). */
static inline void disk_power_cut(struct disk *disk)
{
    assert_int_equal(disk->fds_open, 0);
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        struct disk_file *file = &disk->files[i];
        if (!file->used) {
            continue;
        }
        if (strcmp(file->name, file->on_disk) != 0) {
            /* Created, renamed or removed without a folder sync. */
            const char *kept = tap_random(&disk->random) % 2 == 0 ? file->name : file->on_disk;
            char name[DISK_NAME_BYTES];
            memcpy(name, kept, sizeof name);
            struct disk_file *other = name[0] == '\0' ? NULL : disk_find(disk, name);
            if (other != NULL && other != file) {
                memset(name, 0, sizeof name); /* two files of one name: the newer one stays */
            }
            memcpy(file->name, name, sizeof name);
            memcpy(file->on_disk, name, sizeof name);
        }
        if (file->len != file->platter_len) {
            uint32_t low = file->len < file->platter_len ? file->len : file->platter_len;
            uint32_t high = file->len > file->platter_len ? file->len : file->platter_len;
            file->len = low + (uint32_t)(tap_random(&disk->random) % (high - low + 1));
        }
        for (uint32_t at = 0; at < DISK_FILE_MAX; at += DISK_SECTOR) {
            if (!file->dirty[at / DISK_SECTOR] || tap_random(&disk->random) % 2 == 0) {
                memcpy(file->bytes + at, file->platter + at, DISK_SECTOR);
            }
        }
        memset(file->bytes + file->len, 0, DISK_FILE_MAX - file->len);
        memcpy(file->platter, file->bytes, DISK_FILE_MAX);
        file->platter_len = file->len;
        memset(file->dirty, 0, sizeof file->dirty);
        disk_release(disk, file);
    }
}

#endif
