/* token_parse.h -- the strict reading of a compact JWS, before any key or library sees it.
 *
 * cjose's reader is lax where it matters (DESIGN.md has the list, as tried): it takes the last of
 * two `alg`s, and lets `crit`, `b64`, `=`, what follows a `=`, and stray bits pass.  So what
 * reaches it went through here: exactly three parts (RFC 7515, 3.1), each canonical base64url
 * without padding (RFC 7515, 2; RFC 4648, 3.5: the unused bits are zero), header and claims JSON
 * objects without duplicate names (RFC 7515, 4; RFC 8725, 2.4), no `crit`, `b64`, `enc` or `zip`,
 * no nested JWT.  One token has thus one text.
 *
 * Memory:  token_parse takes one buffer of the token's length and a JSON tree; token_parts_fini
 *          gives them back.
 * Threads: pure functions; any thread. */
#ifndef NOVABEAT_IDENTITY_TOKEN_PARSE_H
#define NOVABEAT_IDENTITY_TOKEN_PARSE_H

#include "identity/token.h"

#include <jansson.h>

/* RFC 7518, 3.1; RFC 8037, 3.1. */
#define TOKEN_ALGORITHM_LIST(X)                                                                    \
    X(ALGORITHM_HS256, "HS256")                                                                    \
    X(ALGORITHM_RS256, "RS256")                                                                    \
    X(ALGORITHM_PS256, "PS256")                                                                    \
    X(ALGORITHM_ES256, "ES256")                                                                    \
    X(ALGORITHM_EDDSA, "EdDSA")

enum token_algorithm {
#define ALGORITHM_ENUM(name, text) name,
    TOKEN_ALGORITHM_LIST(ALGORITHM_ENUM)
#undef ALGORITHM_ENUM
        ALGORITHM_OTHER /* also "none" */
};

/* Exact, as RFC 7515, 4.1.1 says: "hs256" is another one. */
enum token_algorithm token_algorithm_find(const char *name);

struct token_parts {
    struct slice text;        /* the whole token: borrows */
    struct slice signed_part; /* its first two parts and the dot: what is signed */
    struct slice claims;      /* decoded */
    struct slice signature;
    enum token_algorithm algorithm;
    const char *kid; /* NULL: none */
    char *buffer;
    json_t *header;
};

/* TOKEN_OK or TOKEN_MALFORMED.  In either case token_parts_fini is due. */
enum token_outcome token_parse(struct slice token, struct token_parts *parts) WARN_UNUSED;
void token_parts_fini(struct token_parts *parts);

/* Decodes canonical base64url without padding.  out has room for 3/4 of text.len, rounded up.
 * False: the text is not that. */
bool token_base64url(struct slice text, char *out, size_t *out_len);

/* A JSON object: strict as base/json.h, at most JSON_DEPTH_MAX deep, no name twice at any depth, no
 * U+0000 in strings.  NULL: it is not that.  json_decref it.
 * Numbers: all become reals, so that a whole number of any length is fine where nobody asks for it;
 * or whole ones stay so and must fit 64 bits: as cjose reads a header, which it does after us. */
enum token_numbers { NUMBERS_REAL, NUMBERS_WHOLE };
json_t *token_json(struct slice text, enum token_numbers numbers);

#endif
