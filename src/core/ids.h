/* ids.h -- which ids are valid.
 *
 * Source: DESIGN, words.  Pure; any thread. */
#ifndef NOVABEAT_CORE_IDS_H
#define NOVABEAT_CORE_IDS_H

#include "base/slice.h"

#include <stdbool.h>

/* 1 to 64 bytes of A-Z a-z 0-9 . _ ~ - (the unreserved characters of RFC 3986, 2.3). */
bool id_event_valid(struct slice id);
bool id_session_valid(struct slice id);

/* 1 to 128 bytes of valid UTF-8 (RFC 3629) without control characters (U+0000 to U+001F, U+007F to
 * U+009F). */
bool id_viewer_valid(struct slice id);

/* 1 to 64 bytes, same characters as a viewer's. */
bool id_group_valid(struct slice id);

/* A display name: 0 to 256 bytes, same characters as a viewer's. */
bool name_valid(struct slice name);

#endif
