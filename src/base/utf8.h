/* utf8.h -- is this text valid UTF-8?
 *
 * Strict as RFC 3629, section 4: no surrogates (U+D800 to U+DFFF), no overlong forms, nothing above
 * U+10FFFF.  Pure functions; any thread; eight ASCII bytes a step. */
#ifndef NOVABEAT_BASE_UTF8_H
#define NOVABEAT_BASE_UTF8_H

#include <stdint.h>

#include "base/slice.h"

/* The empty text is valid. */
bool utf8_valid(struct slice text);

/* Valid, and without control characters (Unicode category Cc): U+0000 to U+001F, U+007F to U+009F.
 * What identifiers and names must be, so that no log line or CSV cell can be forged with them. */
bool utf8_no_controls(struct slice text);

/* The bytes of the one valid character that starts at ptr, 1 to 4; 0 when the len bytes there do
 * not start with a whole valid character. */
size_t utf8_sequence(const char *ptr, size_t len);

/* Writes a code point (a scalar value: <= U+10FFFF, no surrogate) and returns its bytes, 1 to 4. */
size_t utf8_encode(uint32_t code, char out[4]);

#endif
