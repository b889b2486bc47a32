/* slice.h -- bytes somebody else owns.
 *
 * A slice is passed by value and never NUL-terminated.  It borrows: it is good for as long as the
 * bytes it points to are, which for text from the network is the life of the request.
 * {NULL, 0} is the empty slice; a slice of length 0 may have any pointer. */
#ifndef NOVABEAT_BASE_SLICE_H
#define NOVABEAT_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_LIT(text) ((struct slice){(text), sizeof(text) - 1})
#define SLICE_EMPTY     ((struct slice){NULL, 0})
/* For printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(slice) (int)(slice).len, (slice).ptr

static inline struct slice slice_of(const char *ptr, size_t len)
{
    return (struct slice){ptr, len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Bytewise order, a prefix before what it is a prefix of: <0, 0, >0. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool slice_has_prefix(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

#endif
