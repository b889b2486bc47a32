/* limits.h -- every bound of Novabeat that is not a setting, in one place.
 *
 * Bounds that an operator may want to move are settings (cli/settings.c); these are the ones that
 * the formats and the memory layout rest on.  Relations between them are proved below. */
#ifndef NOVABEAT_BASE_LIMITS_H
#define NOVABEAT_BASE_LIMITS_H

#include <assert.h>

/* Identifiers (DESIGN, words). */
#define EVENT_ID_BYTES_MAX   64
#define SESSION_ID_BYTES_MAX 64
#define VIEWER_ID_BYTES_MAX  128

/* Groups of one viewer: each id 1 to 64 bytes of valid UTF-8 without control characters. */
#define GROUP_ID_BYTES_MAX    64
#define GROUPS_PER_VIEWER_MAX 32
/* A packed group list: one length byte and the id, per group (core/groups.h). */
#define GROUPS_PACKED_BYTES_MAX (GROUPS_PER_VIEWER_MAX * (GROUP_ID_BYTES_MAX + 1))

/* Display name in a profile, bytes of UTF-8. */
#define NAME_BYTES_MAX 256

/* Viewers of one event: the longest ids, a length byte each, lie in what 32 bits address.  (The
 * hash index could number 2^26 - 2.) */
#define VIEWERS_PER_EVENT_MAX (0xffffffffu / (VIEWER_ID_BYTES_MAX + 1))

/* Nesting that the JSON reader follows. */
#define JSON_DEPTH_MAX 64

/* A heartbeat's request body, and its request head. */
#define HEARTBEAT_BODY_BYTES_MAX 8192
#define REQUEST_HEAD_BYTES_MAX   16384

/* One journal record (a batch of entries), and one entry. */
#define JOURNAL_RECORD_BYTES_MAX (1u << 20)
#define JOURNAL_ENTRY_BYTES_MAX  4096

static_assert(EVENT_ID_BYTES_MAX + SESSION_ID_BYTES_MAX + VIEWER_ID_BYTES_MAX +
                      GROUPS_PACKED_BYTES_MAX + 64 <=
                  JOURNAL_ENTRY_BYTES_MAX,
              "the largest heartbeat fits one journal entry");
static_assert(JOURNAL_ENTRY_BYTES_MAX <= JOURNAL_RECORD_BYTES_MAX, "an entry fits a record");
static_assert(GROUP_ID_BYTES_MAX <= 255 && VIEWER_ID_BYTES_MAX < 255, "lengths fit one byte");

#endif
