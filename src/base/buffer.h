/* buffer.h -- text or bytes that grow up to a bound: for building answers.
 *
 * Model: a buffer is OK or FULL.  It becomes FULL when something does not fit into bytes_max (or
 * memory is out), and then stays FULL, unchanged, until buffer_reset: so a builder puts everything
 * and asks once, at the end, with buffer_outcome.  What would go over the bound is left out whole;
 * nothing of that one put is kept.
 * Memory:  grows by doubling; buffer_reset keeps it, so a reused buffer soon allocates nothing.
 *          buffer_slice lends: good until the next put, reset or fini.
 * Threads: none of its own; one owner at a time. */
#ifndef NOVABEAT_BASE_BUFFER_H
#define NOVABEAT_BASE_BUFFER_H

#include <stdint.h>

#include "base/slice.h"

enum buffer_outcome { BUFFER_OK, BUFFER_FULL };

struct buffer {
    /* Private: read with buffer_slice and buffer_outcome. */
    char *ptr;
    size_t len;
    size_t capacity;
    size_t bytes_max;
    enum buffer_outcome outcome;
};

/* Allocates nothing yet. */
void buffer_init(struct buffer *buffer, size_t bytes_max);
void buffer_fini(struct buffer *buffer);
/* Empty and OK again. */
void buffer_reset(struct buffer *buffer);

enum buffer_outcome buffer_outcome(const struct buffer *buffer);
struct slice buffer_slice(const struct buffer *buffer);

/* Copies. */
void buffer_put(struct buffer *buffer, struct slice bytes);
void buffer_put_char(struct buffer *buffer, char byte);
#define buffer_put_lit(buffer, text) buffer_put((buffer), SLICE_LIT(text))

/* In decimal. */
void buffer_put_i64(struct buffer *buffer, int64_t number);
void buffer_put_u64(struct buffer *buffer, uint64_t number);

/* A JSON string with its quotes (RFC 8259, section 7): quotes, backslashes and U+0000 to U+001F are
 * escaped, all other valid UTF-8 goes out as it is, and each byte that is no part of valid UTF-8
 * becomes U+FFFD, so that the answer is valid whatever the text was. */
void buffer_put_json_string(struct buffer *buffer, struct slice text);

/* For cold paths: formats aside, then copies. */
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for `bytes` more in place, or NULL (then FULL): write there, then say how many bytes were
 * used with buffer_used (<= bytes). */
char *buffer_room(struct buffer *buffer, size_t bytes);
void buffer_used(struct buffer *buffer, size_t bytes);

#endif
