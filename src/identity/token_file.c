/* token_file.c -- reading key files, and seeing that they changed. */
#include "identity/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* Times of files move in ticks of the kernel (up to 10 ms), on some file systems of 2 s: a file
 * that is younger when it is read is read again the next time. */
#define RECENT_S 3

static enum err fail(enum err err, const char *path, const char *reason, char *why,
                     size_t why_bytes)
{
    snprintf(why, why_bytes, "%s: %s", path, reason);
    return err;
}

static void note(struct token_file *state, const struct stat *stat)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    state->read = true;
    state->missing = false;
    state->recent = now.tv_sec - stat->st_mtim.tv_sec < RECENT_S;
    state->device = stat->st_dev;
    state->inode = stat->st_ino;
    state->bytes = stat->st_size;
    state->modified = stat->st_mtim;
    state->changed = stat->st_ctim;
}

/* Up to bytes_max bytes; -1: errno says why. */
static ssize_t read_all(int fd, char *buffer, size_t bytes_max)
{
    size_t used = 0;
    while (used < bytes_max) {
        ssize_t got = read(fd, buffer + used, bytes_max - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        used += (size_t)got;
    }
    return (ssize_t)used;
}

enum err token_file_read(const char *path, struct token_file *state, struct slice *text, char *why,
                         size_t why_bytes)
{
    *text = SLICE_EMPTY;
    *state = (struct token_file){.read = false};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0) {
        state->missing = errno == ENOENT || errno == ENOTDIR;
        return fail(state->missing ? ERR_NOT_FOUND : ERR_IO, path, strerror(errno), why, why_bytes);
    }
    enum err err = ERR_NONE;
    char *buffer = NULL;
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        err = fail(ERR_IO, path, strerror(errno), why, why_bytes);
        goto out;
    }
    note(state, &stat);
    if (!S_ISREG(stat.st_mode)) {
        err = fail(ERR_INVALID, path, "is not a regular file", why, why_bytes);
        goto out;
    }
    buffer = memory_alloc(TOKEN_FILE_BYTES_MAX + 1);
    ssize_t got = read_all(fd, buffer, TOKEN_FILE_BYTES_MAX + 1);
    if (got < 0) {
        state->read = false; /* it may be better the next time */
        err = fail(ERR_IO, path, strerror(errno), why, why_bytes);
        goto out;
    }
    *text = slice_of(buffer, (size_t)got);
    buffer = NULL;
    crypto_generichash(state->digest, sizeof state->digest, (const unsigned char *)text->ptr,
                       text->len, NULL, 0);
    if (got > TOKEN_FILE_BYTES_MAX) {
        err = fail(ERR_INVALID, path, "is larger than 1 MiB", why, why_bytes);
        token_file_forget(text);
    }
out:
    free(buffer);
    close(fd);
    return err;
}

void token_file_forget(struct slice *text)
{
    if (text->ptr != NULL) {
        sodium_memzero((void *)(uintptr_t)text->ptr, text->len);
        free((void *)(uintptr_t)text->ptr);
    }
    *text = SLICE_EMPTY;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool token_file_suspect(const char *path, const struct token_file *state)
{
    struct stat now;
    if (stat(path, &now) != 0) {
        return !(state->missing && (errno == ENOENT || errno == ENOTDIR));
    }
    return !state->read || state->recent || now.st_dev != state->device ||
           now.st_ino != state->inode || now.st_size != state->bytes ||
           !same_time(now.st_mtim, state->modified) || !same_time(now.st_ctim, state->changed);
}

bool token_file_same(const struct token_file *a, const struct token_file *b)
{
    return a->read && b->read && memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}
