/* session.c -- which session a viewer watches, from where its page is. */
#define _GNU_SOURCE /* memmem */
#include "api/internal.h"

#include "core/ids.h"

/* Each character of an id may be written as %XX. */
#define ENCODED_BYTES_MAX (3 * SESSION_ID_BYTES_MAX)

enum session_outcome session_find(struct slice text, struct slice pattern,
                                  char room[SESSION_ID_BYTES_MAX], struct slice *session)
{
    const char *found =
        text.len < pattern.len ? NULL : memmem(text.ptr, text.len, pattern.ptr, pattern.len);
    if (found == NULL) {
        return SESSION_NONE;
    }
    const char *begin = found + pattern.len, *text_end = text.ptr + text.len;
    const char *end = begin;
    while (end < text_end && *end != '/' && *end != '?' && *end != '#') {
        end++;
    }
    struct slice id = slice_of(begin, (size_t)(end - begin));
    if (id.len == 0) {
        return SESSION_NONE;
    }
    char decoded[ENCODED_BYTES_MAX];
    struct scratch scratch = {.bytes = decoded, .size = sizeof decoded};
    if (id.len > sizeof decoded || !percent_decode(&id, false, &scratch) || !id_session_valid(id)) {
        return SESSION_INVALID;
    }
    if (scratch.used > 0) {
        memcpy(room, id.ptr, id.len);
        id.ptr = room;
    }
    *session = id;
    return SESSION_FOUND;
}
