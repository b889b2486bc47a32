/* token.h -- viewer tokens: who a viewer's page says it is, signed by the platform.
 *
 * A token is a JWT (RFC 7519) as a compact JWS (RFC 7515) with HS256, RS256, PS256, ES256 (RFC
 * 7518) or EdDSA over Ed25519 (RFC 8037).  The algorithm belongs to the key and is never taken from
 * the token (RFC 8725, 3.1): a token whose header says another one is refused.
 *
 * Keys come from a secret (HS256, 32 to 4096 bytes), a PEM file (the first public key or
 * certificate in it: RSA of 2048 to 8192 bits, P-256, Ed25519; of a private key the public part is
 * used) and a JWKS file (RFC 7517; each key's algorithm is its "alg", or what its type says: RSA
 * rsa_algorithm, EC P-256 ES256, OKP Ed25519 EdDSA, oct HS256; keys that are not usable here, as
 * those with a "use" other than "sig" and of other types, curves or sizes, are passed over and
 * logged).  Files are at most 1 MiB.  A token with a `kid` is checked with the keys of that kid in
 * the JWKS; when a JWKS is configured an unknown one is refused; without `kid` each key of the
 * token's algorithm is tried (at most TOKEN_KEYS_TRIED).
 *
 * Claims: the viewer (default `sub`), and optionally the event and the groups; exp, nbf and iat in
 * seconds (with fractions or not), judged by the wall clock with leeway.  exp may be absent.  Other
 * claims may be anything.  Header and claims must be JSON objects without duplicate names; `crit`
 * and `b64` are refused, and so are a nested JWT or JWE and a `typ` other than JWT, at+jwt or JOSE.
 * A token has exactly one text: base64url without padding and stray bits.
 *
 * Verified tokens are kept in a cache, keyed by a keyed 128-bit hash (SipHash-2-4-128) of the
 * token's bytes, until they expire (at most TOKEN_CACHE_MS without exp) or the keys change: a
 * repeat costs a hash and a look-up.  The cache is bounded; when it is full an old entry makes
 * place.  A token that was refused is not kept: unauthenticated requests keep no memory.
 *
 * Threads: any may verify at the same time; reload by one at a time, while others verify. */
#ifndef NOVABEAT_IDENTITY_TOKEN_H
#define NOVABEAT_IDENTITY_TOKEN_H

#include "base/err.h"
#include "base/limits.h"
#include "base/slice.h"

#include <stdint.h>

#define TOKEN_KEYS_MAX         64
#define TOKEN_SECRET_BYTES_MIN 32 /* RFC 7518, 3.2 */
#define TOKEN_KEYS_TRIED       4
#define TOKEN_CACHE_MS         (5 * 60 * 1000)
#define TOKEN_SECRET_BYTES_MIN 32 /* RFC 7518, 3.2: as long as the hash */
#define TOKEN_SECRET_BYTES_MAX 4096

enum token_rsa { TOKEN_RS256, TOKEN_PS256 };

struct token_options {
    const char *secret;                                    /* HS256; NULL or empty: none */
    const char *pem_file, *jwks_file;                      /* NULL or empty: none */
    enum token_rsa rsa_algorithm;                          /* of RSA keys that do not say theirs */
    const char *issuer, *audience;                         /* NULL or empty: not checked */
    const char *viewer_claim, *event_claim, *groups_claim; /* "sub", "event", "groups" */
    int64_t leeway_ms;
    uint32_t bytes_max; /* of a token */
    uint32_t cache_max; /* tokens kept */
};

/* What a token says. */
struct token_claims {
    size_t viewer_len, event_len, groups_len; /* event_len 0: any event */
    bool has_groups;                          /* the claim was there, even if empty */
    char viewer[VIEWER_ID_BYTES_MAX];
    char event[EVENT_ID_BYTES_MAX];
    char groups[GROUPS_PACKED_BYTES_MAX]; /* packed */
};

#define TOKEN_OUTCOME_LIST(X)                                                                      \
    X(TOKEN_OK, "the token is good")                                                               \
    X(TOKEN_MALFORMED, "the token is not a signed JWT in compact form")                            \
    X(TOKEN_TOO_LARGE, "the token is larger than token-bytes-max")                                 \
    X(TOKEN_ALGORITHM, "the token's algorithm is not that of a key that is configured")            \
    X(TOKEN_UNKNOWN_KEY, "no key has the token's kid")                                             \
    X(TOKEN_SIGNATURE, "the token's signature is wrong")                                           \
    X(TOKEN_EXPIRED, "the token has expired")                                                      \
    X(TOKEN_NOT_YET, "the token is not valid yet")                                                 \
    X(TOKEN_ISSUER, "the token is of another issuer")                                              \
    X(TOKEN_AUDIENCE, "the token is for another audience")                                         \
    X(TOKEN_CLAIMS, "a claim of the token is missing or of the wrong kind")

enum token_outcome {
#define TOKEN_ENUM(name, text) name,
    TOKEN_OUTCOME_LIST(TOKEN_ENUM)
#undef TOKEN_ENUM
};
const char *token_outcome_text(enum token_outcome outcome);

struct tokens;

/* ERR_INVALID, ERR_NOT_FOUND, ERR_IO: why says which key or file is wrong and how.  At least one
 * key must come of it. */
enum err tokens_new(const struct token_options *options, struct tokens **tokens, char *why,
                    size_t why_bytes) WARN_UNUSED;
void tokens_free(struct tokens *tokens);

/* Reads the files again.  On an error the keys stay as they were.  Else the cache is emptied. */
enum err tokens_reload(struct tokens *tokens, char *why, size_t why_bytes) WARN_UNUSED;
/* The same when a file's contents have changed (it is read when its times, size or inode have);
 * *changed: the keys are other ones now.  A file that stays bad is told of once.  Call now and
 * then. */
enum err tokens_reload_changed(struct tokens *tokens, bool *changed, char *why,
                               size_t why_bytes) WARN_UNUSED;
/* Forgets all verified tokens (an event was purged), or those of one viewer (who was erased); this
 * walks all that are kept, some 0.1 us each.  A token that is still good is verified anew when it
 * comes again. */
void tokens_forget(struct tokens *tokens);
void tokens_forget_viewer(struct tokens *tokens, struct slice viewer);

/* wall_ms: the wall clock, ms since the epoch. */
enum token_outcome tokens_verify(struct tokens *tokens, struct slice token, int64_t wall_ms,
                                 struct token_claims *claims) WARN_UNUSED;

struct token_counters {
    uint64_t cached, verified, refused, entries, keys;
};
void tokens_counters(struct tokens *tokens, struct token_counters *counters);

/* Signs a token with HS256, for trying things out (`novabeat token`), with the default claims'
 * names.  event, groups (packed): empty for none; iat_s, exp_s: s since the epoch.  Returns a
 * string that the caller frees; NULL: the secret is too short, or an id is not valid UTF-8. */
char *token_sign(struct slice secret, struct slice viewer, struct slice event, struct slice groups,
                 int64_t iat_s, int64_t exp_s) WARN_UNUSED;

#endif
