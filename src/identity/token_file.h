/* token_file.h -- a small file with keys, read whole, and what it was when it was read.
 *
 * Threads: none of its own; one thread at a time. */
#ifndef NOVABEAT_IDENTITY_TOKEN_FILE_H
#define NOVABEAT_IDENTITY_TOKEN_FILE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define TOKEN_FILE_BYTES_MAX (1024 * 1024)
#define TOKEN_FILE_DIGEST    32

/* All zero: never read. */
struct token_file {
    bool read;    /* its contents are known; else: it is not there, or was never looked at */
    bool missing; /* it was not there */
    bool recent;  /* it had been written so shortly before that its times do not show a later change
                   */
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec modified, changed;
    unsigned char digest[TOKEN_FILE_DIGEST]; /* of its contents */
};

/* Reads all of it: *text gets bytes that token_file_forget wipes and frees, and *state what it was.
 * Not a regular file, or larger than TOKEN_FILE_BYTES_MAX:
 * ERR_INVALID.  ERR_NOT_FOUND (*state says
 * so), ERR_IO.  why names the file. */
enum err token_file_read(const char *path, struct token_file *state, struct slice *text, char *why,
                         size_t why_bytes) WARN_UNUSED;
void token_file_forget(struct slice *text);

/* May the file be another one than `state` says?  One stat(2). */
bool token_file_suspect(const char *path, const struct token_file *state);
/* Two readings gave the same contents. */
bool token_file_same(const struct token_file *a, const struct token_file *b);

#endif
