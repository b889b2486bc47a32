/* duration.h -- durations and byte sizes as people write them.
 *
 * Durations: a whole number and a unit, "500ms", "30s", "5m", "2h", "7d"; "0" needs none.  Byte
 * sizes: a whole number and optionally k, m, g or t (powers of 1024, either case), "64k", "8g".
 * One number, one unit, no sign, no spaces, no fractions: what was meant is never guessed.
 * Pure; any thread. */
#ifndef NOVABEAT_BASE_DURATION_H
#define NOVABEAT_BASE_DURATION_H

#include <stdint.h>

#include "base/slice.h"

/* Largest duration: 100 years of 365 days, so that sums of a few never overflow. */
#define DURATION_MS_MAX ((int64_t)100 * 365 * 86400 * 1000)

/* False, with *out untouched, when the text is none or is above the maximum. */
bool duration_parse(struct slice text, int64_t *ms);
bool bytes_parse(struct slice text, uint64_t *bytes);
/* A whole number in decimal, no sign. */
bool integer_parse(struct slice text, uint64_t *number);

/* The shortest text that parses to exactly this: 120000 is "2m", 65000 is "65s", 1536 is "1536",
 * 65536 is "64k".  NUL-terminated; returns `text`.  Durations are 0 to DURATION_MS_MAX. */
#define DURATION_TEXT_BYTES 24
const char *duration_format(int64_t ms, char text[DURATION_TEXT_BYTES]);
const char *bytes_format(uint64_t bytes, char text[DURATION_TEXT_BYTES]);

#endif
