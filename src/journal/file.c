/* file.c -- the real operating system behind file.h. */
#define _GNU_SOURCE
#include "journal/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"

#define FOLDER_MODE 0750
#define FILE_MODE   0640 /* ids of people are in it */

/* Evaluates until it is not interrupted, and turns errno into a result. */
#define RESULT_OF(call)                                                                            \
    __extension__({                                                                                \
        int64_t result_;                                                                           \
        do {                                                                                       \
            result_ = (call);                                                                      \
        } while (result_ < 0 && errno == EINTR);                                                   \
        result_ < 0 ? -(int64_t)errno : result_;                                                   \
    })

bool file_is_full(int64_t result)
{
    return result == -ENOSPC || result == -EDQUOT || result == -EFBIG;
}

static int folder_sync(void *ctx, int folder)
{
    (void)ctx;
    return (int)RESULT_OF(fsync(folder));
}

/* The folder that holds `path`: a new name in it must be as durable as what is below it. */
static int parent_sync(const char *path)
{
    char parent[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof parent) {
        return -ENAMETOOLONG;
    }
    memcpy(parent, path, len + 1);
    while (len > 1 && parent[len - 1] == '/') {
        parent[--len] = '\0';
    }
    char *slash = strrchr(parent, '/');
    if (slash == NULL) {
        strcpy(parent, ".");
    } else if (slash == parent) {
        slash[1] = '\0';
    } else {
        *slash = '\0';
    }
    int fd = (int)RESULT_OF(open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) {
        return fd;
    }
    int result = folder_sync(NULL, fd);
    close(fd);
    return result;
}

static int folder_open(void *ctx, const char *path, bool create)
{
    (void)ctx;
    if (create) {
        int made = (int)RESULT_OF(mkdir(path, FOLDER_MODE));
        if (made == 0) {
            made = parent_sync(path);
        }
        if (made < 0 && made != -EEXIST) {
            return made;
        }
    }
    return (int)RESULT_OF(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int folder_list(void *ctx, int folder, file_name_fn *name, void *arg)
{
    (void)ctx;
    /* Its own descriptor: readdir moves the position, and closedir closes. */
    int fd = (int)RESULT_OF(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0) {
        return fd;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int result = -errno;
        close(fd);
        return result;
    }
    const struct dirent *found;
    while (errno = 0, (found = readdir(stream)) != NULL) {
        name(arg, found->d_name);
    }
    int result = -errno;
    closedir(stream);
    return result;
}

static int rename_in(void *ctx, int folder, const char *from, const char *to)
{
    (void)ctx;
    /* Never over another file: what repair keeps is all there is. */
    return (int)RESULT_OF(renameat2(folder, from, folder, to, RENAME_NOREPLACE));
}

static int unlink_in(void *ctx, int folder, const char *name)
{
    (void)ctx;
    return (int)RESULT_OF(unlinkat(folder, name, 0));
}

static int open_in(void *ctx, int folder, const char *name, enum file_mode mode)
{
    (void)ctx;
    int flags = O_CLOEXEC;
    switch (mode) {
    case FILE_READ:
        flags |= O_RDONLY;
        break;
    case FILE_APPEND:
        flags |= O_WRONLY | O_APPEND;
        break;
    case FILE_PATCH: /* pwrite ignores its offset on a file opened with O_APPEND */
        flags |= O_WRONLY;
        break;
    case FILE_CREATE:
        flags |= O_WRONLY | O_APPEND | O_CREAT | O_EXCL;
        break;
    }
    return (int)RESULT_OF(openat(folder, name, flags, FILE_MODE));
}

static void close_fd(void *ctx, int fd)
{
    (void)ctx;
    /* What must be durable was synced; Linux closes the descriptor whatever close says. */
    (void)close(fd);
}

static int64_t size_of(void *ctx, int fd)
{
    (void)ctx;
    struct stat status;
    int64_t result = RESULT_OF(fstat(fd, &status));
    return result < 0 ? result : (int64_t)status.st_size;
}

static int64_t write_parts(void *ctx, int fd, const struct iovec *parts, int count)
{
    (void)ctx;
    return RESULT_OF(writev(fd, parts, count));
}

static int64_t write_at(void *ctx, int fd, const void *bytes, uint64_t len, uint64_t offset)
{
    (void)ctx;
    return RESULT_OF(pwrite(fd, bytes, len, (off_t)offset));
}

static int64_t read_at(void *ctx, int fd, void *bytes, uint64_t len, uint64_t offset)
{
    (void)ctx;
    return RESULT_OF(pread(fd, bytes, len, (off_t)offset));
}

static int truncate_to(void *ctx, int fd, uint64_t len)
{
    (void)ctx;
    return (int)RESULT_OF(ftruncate(fd, (off_t)len));
}

static int sync_data(void *ctx, int fd)
{
    (void)ctx;
    return (int)RESULT_OF(fdatasync(fd));
}

const struct file_ops file_system = {
    .ctx = NULL,
    .folder_open = folder_open,
    .folder_list = folder_list,
    .folder_sync = folder_sync,
    .rename = rename_in,
    .unlink = unlink_in,
    .open = open_in,
    .close = close_fd,
    .size = size_of,
    .write = write_parts,
    .write_at = write_at,
    .read_at = read_at,
    .truncate = truncate_to,
    .sync = sync_data,
};
