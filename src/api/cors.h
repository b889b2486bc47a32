/* cors.h -- which pages of other origins may call from a browser (Fetch standard, 3.2).
 *
 * Origins are compared as browsers send them (RFC 6454, 6.2): scheme "://" host [":" port] in lower
 * case, exactly, without the port that is the scheme's own.  A star for the first label of the host
 * stands for any one label, "*" alone for every origin; "null" cannot be listed.  Tokens travel in
 * headers and bodies, never in cookies: so there is no credentials mode.
 * What goes into an answer is an Origin that matched, and a match holds no byte but those of an
 * origin: nothing can be injected.
 * Threads: does not change once made; share it. */
#ifndef NOVABEAT_API_CORS_H
#define NOVABEAT_API_CORS_H

#include "base/slice.h"

#include <stdint.h>

#define CORS_ORIGINS_MAX      64
#define CORS_ORIGIN_BYTES_MAX 255
#define CORS_ROOM_BYTES       384 /* of the header lines of one answer */
#define CORS_PREFLIGHT_BYTES  256

struct cors;

/* "https://a.example, https://b.example:8443".  NULL: why says which one is no origin, and why.
 * Empty is fine and lets none call. */
struct cors *cors_new(const char *origins, int64_t max_age_ms, char *why, size_t why_bytes);
void cors_free(struct cors *cors); /* NULL is fine */

/* Header lines for each answer to a request with this Origin (empty: it has none): good for as long
 * as cors is and as room is not used again, so room belongs to one request.  An origin that may not
 * call gets "Vary: Origin" alone. */
struct slice cors_headers(const struct cors *cors, struct slice origin, char room[CORS_ROOM_BYTES]);

/* Further header lines for the answer to its preflight; empty where it may not call.  Good for as
 * long as cors is. */
struct slice cors_preflight(const struct cors *cors, struct slice origin);

#endif
