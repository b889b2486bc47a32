/* ids.c -- which ids are valid. */
#include "core/ids.h"

#include "base/limits.h"
#include "base/utf8.h"

#include <stdint.h>

/* One bit per byte value: A-Z a-z 0-9 . _ ~ - (RFC 3986, 2.3). */
static bool unreserved(unsigned char c)
{
    static const uint64_t set[4] = {0x03ff600000000000u, /* '-' '.' '0'-'9' */
                                    0x47fffffe87fffffeu, /* 'A'-'Z' '_' 'a'-'z' '~' */
                                    0, 0};
    return (set[c >> 6] >> (c & 63)) & 1;
}

static bool all_unreserved(struct slice id, size_t bytes_max)
{
    if (id.len == 0 || id.len > bytes_max) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (!unreserved((unsigned char)id.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool id_event_valid(struct slice id)
{
    return all_unreserved(id, EVENT_ID_BYTES_MAX);
}

bool id_session_valid(struct slice id)
{
    return all_unreserved(id, SESSION_ID_BYTES_MAX);
}

bool id_viewer_valid(struct slice id)
{
    return id.len > 0 && id.len <= VIEWER_ID_BYTES_MAX && utf8_no_controls(id);
}

bool id_group_valid(struct slice id)
{
    return id.len > 0 && id.len <= GROUP_ID_BYTES_MAX && utf8_no_controls(id);
}

bool name_valid(struct slice name)
{
    return name.len <= NAME_BYTES_MAX && utf8_no_controls(name);
}
