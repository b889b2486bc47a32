/* buffer.c -- see buffer.h.  Every put asks buffer_room for space; only it grows and refuses. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/utf8.h"

#define CAPACITY_MIN     256
#define U64_DECIMALS_MAX 20

static void check(const struct buffer *buffer)
{
    ASSERT(buffer->len <= buffer->capacity);
    ASSERT(buffer->capacity <= buffer->bytes_max);
}

void buffer_init(struct buffer *buffer, size_t bytes_max)
{
    *buffer = (struct buffer){.bytes_max = bytes_max};
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->ptr);
    *buffer = (struct buffer){0};
}

void buffer_reset(struct buffer *buffer)
{
    check(buffer);
    buffer->len = 0;
    buffer->outcome = BUFFER_OK;
}

enum buffer_outcome buffer_outcome(const struct buffer *buffer)
{
    return buffer->outcome;
}

struct slice buffer_slice(const struct buffer *buffer)
{
    return slice_of(buffer->ptr, buffer->len);
}

/* Makes the capacity at least len + bytes, which is within bytes_max. */
static bool grow(struct buffer *buffer, size_t bytes)
{
    size_t need = buffer->len + bytes;
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
    while (capacity < need && capacity <= buffer->bytes_max / 2) {
        capacity *= 2;
    }
    if (capacity < need || capacity > buffer->bytes_max) {
        capacity = buffer->bytes_max;
    }
    char *ptr = realloc(buffer->ptr, capacity);
    if (ptr == NULL) {
        return false;
    }
    buffer->ptr = ptr;
    buffer->capacity = capacity;
    return true;
}

char *buffer_room(struct buffer *buffer, size_t bytes)
{
    check(buffer);
    if (buffer->outcome == BUFFER_FULL) {
        return NULL;
    }
    if (bytes <= buffer->capacity - buffer->len && buffer->ptr != NULL) {
        return buffer->ptr + buffer->len;
    }
    if (bytes > buffer->bytes_max - buffer->len || !grow(buffer, bytes)) {
        buffer->outcome = BUFFER_FULL;
        return NULL;
    }
    return buffer->ptr + buffer->len;
}

void buffer_used(struct buffer *buffer, size_t bytes)
{
    ASSERT(buffer->outcome == BUFFER_OK);
    ASSERT(bytes <= buffer->capacity - buffer->len);
    buffer->len += bytes;
}

void buffer_put(struct buffer *buffer, struct slice bytes)
{
    if (bytes.len == 0) {
        return;
    }
    char *room = buffer_room(buffer, bytes.len);
    if (room != NULL) {
        memcpy(room, bytes.ptr, bytes.len);
        buffer->len += bytes.len;
    }
}

void buffer_put_char(struct buffer *buffer, char byte)
{
    char *room = buffer_room(buffer, 1);
    if (room != NULL) {
        *room = byte;
        buffer->len++;
    }
}

void buffer_put_u64(struct buffer *buffer, uint64_t number)
{
    char digits[U64_DECIMALS_MAX];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    buffer_put(buffer, slice_of(digits + first, sizeof digits - first));
}

void buffer_put_i64(struct buffer *buffer, int64_t number)
{
    if (number >= 0) {
        buffer_put_u64(buffer, (uint64_t)number);
        return;
    }
    size_t len = buffer->len;
    buffer_put_char(buffer, '-');
    buffer_put_u64(buffer, -(uint64_t)number); /* unsigned: right for INT64_MIN too */
    if (buffer->outcome == BUFFER_FULL) {
        buffer->len = len; /* a put is kept whole or not at all */
    }
}

/* Bytes from the start that stand for themselves in a JSON string. */
static size_t plain_prefix(struct slice text)
{
    size_t i = 0;
    while (i < text.len) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte == '"' || byte == '\\' || byte < 0x20) {
            break;
        }
        size_t step = utf8_sequence(text.ptr + i, text.len - i);
        if (step == 0) {
            break;
        }
        i += step;
    }
    return i;
}

/* What one byte that is not plain becomes. */
static void put_escaped(struct buffer *buffer, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (byte == '"' || byte == '\\') {
        buffer_put(buffer, slice_of((const char[]){'\\', (char)byte}, 2));
    } else if (byte >= 0x80) {
        buffer_put_lit(buffer, "\xEF\xBF\xBD"); /* U+FFFD */
    } else if (letters[byte] != 0) {
        buffer_put(buffer, slice_of((const char[]){'\\', letters[byte]}, 2));
    } else {
        char escape[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
        buffer_put(buffer, slice_of(escape, sizeof escape));
    }
}

void buffer_put_json_string(struct buffer *buffer, struct slice text)
{
    size_t len = buffer->len;
    buffer_put_char(buffer, '"');
    while (text.len > 0) {
        size_t plain = plain_prefix(text);
        buffer_put(buffer, slice_of(text.ptr, plain));
        text = slice_of(text.ptr + plain, text.len - plain);
        if (text.len > 0) {
            put_escaped(buffer, (unsigned char)text.ptr[0]);
            text = slice_of(text.ptr + 1, text.len - 1);
        }
    }
    buffer_put_char(buffer, '"');
    if (buffer->outcome == BUFFER_FULL) {
        buffer->len = len;
    }
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    check(buffer);
    if (buffer->outcome == BUFFER_FULL) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ASSERT(len >= 0);
    /* Formatted aside first: vsnprintf wants a byte for the NUL, which the bound need not have. */
    char *text = malloc((size_t)len + 1);
    if (text == NULL) {
        buffer->outcome = BUFFER_FULL;
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, (size_t)len + 1, format, arguments);
    va_end(arguments);
    buffer_put(buffer, slice_of(text, (size_t)len));
    free(text);
}
