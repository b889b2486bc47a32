/* reader.c -- a sliding window over a file. */
#include "journal/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "journal/format.h"

#define WINDOW_BYTES_MIN ((size_t)4 << 10)
/* Two records, so that moving the rest to the front is rare. */
#define WINDOW_BYTES_MAX ((size_t)2 * RECORD_BYTES_MAX)

void reader_init(struct reader *reader, const struct file_ops *files)
{
    *reader = (struct reader){.files = files,
                              .fd = -1,
                              .window = memory_alloc(WINDOW_BYTES_MIN),
                              .window_bytes = WINDOW_BYTES_MIN};
}

static void file_close(struct reader *reader)
{
    if (reader->fd >= 0) {
        reader->files->close(reader->files->ctx, reader->fd);
        reader->fd = -1;
    }
}

void reader_fini(struct reader *reader)
{
    file_close(reader);
    free(reader->window);
    reader->window = NULL;
}

int reader_open(struct reader *reader, int folder, const char *name, uint64_t offset)
{
    const struct file_ops *files = reader->files;
    file_close(reader);
    reader->start = reader->end = 0;
    reader->offset = offset;
    reader->file_bytes = 0;
    reader->failure = 0;
    int fd = files->open(files->ctx, folder, name, FILE_READ);
    if (fd < 0) {
        return fd;
    }
    reader->fd = fd;
    int64_t size = files->size(files->ctx, fd);
    if (size < 0) {
        return (int)size;
    }
    reader->file_bytes = (uint64_t)size;
    uint64_t rest = reader->file_bytes > offset ? reader->file_bytes - offset : 0;
    size_t needed = rest < WINDOW_BYTES_MAX ? (size_t)rest : WINDOW_BYTES_MAX;
    if (needed > reader->window_bytes) {
        reader->window = memory_resize(reader->window, needed);
        reader->window_bytes = needed;
    }
    return 0;
}

/* Fills the window until it has `want` bytes or there are no more. */
static void fill(struct reader *reader, size_t want)
{
    const struct file_ops *files = reader->files;
    if (reader->start + want > reader->window_bytes) {
        memmove(reader->window, reader->window + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    while (reader->end - reader->start < want && reader->failure == 0) {
        uint64_t at = reader->offset + (reader->end - reader->start);
        uint64_t room = reader->window_bytes - reader->end;
        uint64_t rest = at < reader->file_bytes ? reader->file_bytes - at : 0;
        uint64_t len = rest < room ? rest : room;
        if (len == 0) {
            return;
        }
        int64_t got = files->read_at(files->ctx, reader->fd, reader->window + reader->end, len, at);
        if (got <= 0) {
            /* The size said that there is more: a file that shrinks under us is a failure too. */
            reader->failure = got < 0 ? (int)got : -EIO;
            return;
        }
        reader->end += (size_t)got;
    }
}

const char *reader_peek(struct reader *reader, size_t want, size_t *got)
{
    ASSERT(want <= RECORD_BYTES_MAX);
    if (reader->end - reader->start < want) {
        fill(reader, want);
    }
    *got = reader->end - reader->start;
    return reader->window + reader->start;
}

void reader_skip(struct reader *reader, size_t bytes)
{
    ASSERT(bytes <= reader->end - reader->start);
    reader->start += bytes;
    reader->offset += bytes;
}
