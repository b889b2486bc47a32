/* token_claims.h -- what a token that is signed rightly says, judged.
 *
 * Pure functions; any thread. */
#ifndef NOVABEAT_IDENTITY_TOKEN_CLAIMS_H
#define NOVABEAT_IDENTITY_TOKEN_CLAIMS_H

#include "identity/token.h"

/* Reads the claims (decoded JSON).  TOKEN_OK: *claims is filled and *expires_ms is the first ms
 * (since the epoch) at which the token is good no more: its exp and the leeway, or INT64_MAX
 * without exp. Else one of TOKEN_MALFORMED (no JSON object, or a name twice), TOKEN_EXPIRED,
 * TOKEN_NOT_YET, TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_CLAIMS. */
enum token_outcome token_claims_read(const struct token_options *options, struct slice json,
                                     int64_t wall_ms, struct token_claims *claims,
                                     int64_t *expires_ms) WARN_UNUSED;

#endif
