/* reader.h -- a file read from front to back through a window.  Private to the journal.
 *
 * The window holds the largest record, so that any record can be looked at whole; segments may be
 * larger than memory should be spent on.  One reader serves many files in turn. */
#ifndef NOVABEAT_JOURNAL_READER_H
#define NOVABEAT_JOURNAL_READER_H

#include <stddef.h>

#include "journal/file.h"

struct reader {
    /* Read by the owner: where the next byte stands in the file, and the file's size. */
    uint64_t offset, file_bytes;
    /* Private. */
    const struct file_ops *files;
    int fd;
    char *window;
    size_t window_bytes; /* as large as the largest file so far needed, at most two records */
    size_t start, end;   /* unread bytes in the window */
    int failure;         /* 0, or the -errno of a failed read: then nothing more is given */
};

void reader_init(struct reader *reader, const struct file_ops *files);
void reader_fini(struct reader *reader);

/* Starts on another file at an offset; 0 or -errno. */
int reader_open(struct reader *reader, int folder, const char *name, uint64_t offset);

/* The next bytes: at least `want` (<= RECORD_BYTES_MAX) of them, fewer only at the file's end or at
 * a failure; *got says how many stand there.  Lends until the next call. */
const char *reader_peek(struct reader *reader, size_t want, size_t *got);

/* Past `bytes`, which the last peek has got. */
void reader_skip(struct reader *reader, size_t bytes);

#endif
