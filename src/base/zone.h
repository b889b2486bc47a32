/* zone.h -- times as people read them: ISO 8601 with a zone.
 *
 * A zone is "UTC" or "Z", an offset "+08:00" or "-0330" (up to 18 hours), or a name of the IANA
 * database ("Asia/Hong_Kong") whose compiled file is read from /usr/share/zoneinfo (TZDIR
 * overrides; RFC 8536, version 2 or later data, with its footer for times after the last
 * transition). Names are letters, digits, "+-_" and single slashes: no path leads out of the
 * folder. Threads: a zone does not change; share it.  Pure but for zone_open. */
#ifndef NOVABEAT_BASE_ZONE_H
#define NOVABEAT_BASE_ZONE_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct zone;

/* ERR_INVALID: no zone's name; ERR_NOT_FOUND: none that this machine knows; ERR_DAMAGED: its file
 * breaks the format, is of version 1, or counts leap seconds ("right/…": not the epoch's seconds);
 * ERR_IO.  "UTC", "Z" and offsets need no file. */
enum err zone_open(struct slice name, struct zone **zone) WARN_UNUSED;
void zone_close(struct zone *zone); /* NULL is fine */
/* Seconds east of UTC at that moment. */
int32_t zone_offset_s(const struct zone *zone, int64_t ms);

#define ZONE_TEXT_BYTES 40
/* "2021-11-23T17:13:43.070+08:00" ("Z" for the zones "UTC" and "Z"); years 0 to 9999, others are
 * clamped.  An offset with seconds (local mean times of the 19th century) is cut to minutes and the
 * time is told by that, so that the text always means this moment.  About 0.1 us. */
struct slice zone_format(const struct zone *zone, int64_t ms, char text[ZONE_TEXT_BYTES]);

#endif
