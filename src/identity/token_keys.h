/* token_keys.h -- the keys that viewer tokens are checked with: one set, which does not change.
 *
 * Each key has one algorithm, which is all that it is good for.  HS256, RS256, PS256 and ES256 are
 * checked by cjose, Ed25519 by OpenSSL.  Of a private key in a file only the public part is kept.
 * A reload makes a new set; the old one lives on until its last holder lets go.
 *
 * Threads: a set may be filled by one thread; then any may check, hold and drop. */
#ifndef NOVABEAT_IDENTITY_TOKEN_KEYS_H
#define NOVABEAT_IDENTITY_TOKEN_KEYS_H

#include "identity/token_parse.h"

struct token_keys;

/* An empty set with one holder. */
struct token_keys *token_keys_new(void);
void token_keys_hold(struct token_keys *keys);
void token_keys_drop(struct token_keys *keys); /* NULL is fine */
unsigned token_keys_count(const struct token_keys *keys);

/* These add keys.  ERR_INVALID, ERR_FULL: why says what is wrong. */
enum err token_keys_add_secret(struct token_keys *keys, const char *secret, char *why,
                               size_t why_bytes) WARN_UNUSED;
/* The first key or certificate of a PEM text; certificates behind it are its chain and no keys. */
enum err token_keys_add_pem(struct token_keys *keys, struct slice text, enum token_rsa rsa,
                            char *why, size_t why_bytes) WARN_UNUSED;
/* The usable keys of a JWKS, with their kids.  Keys that are not usable here are passed over (RFC
 * 7517, 5): *passed_over counts them and why says what was wrong with the first. */
enum err token_keys_add_jwks(struct token_keys *keys, struct slice text, enum token_rsa rsa,
                             unsigned *passed_over, char *why, size_t why_bytes) WARN_UNUSED;

/* Is the token signed with a key of the set?  TOKEN_OK, TOKEN_UNKNOWN_KEY, TOKEN_ALGORITHM,
 * TOKEN_SIGNATURE.  Costs up to TOKEN_KEYS_TRIED signature checks. */
enum token_outcome token_keys_check(const struct token_keys *keys,
                                    const struct token_parts *parts) WARN_UNUSED;

/* For the readers of files (token_pem.c, token_jwks.c): one key, of its public numbers.  kid:
 * copied; NULL: none.  False: why says what is wrong with it. */
struct token_key_about {
    enum token_algorithm algorithm;
    const char *kid;
};
bool token_keys_add_rsa(struct token_keys *keys, const struct token_key_about *about,
                        struct slice modulus, struct slice exponent, char *why, size_t why_bytes);
bool token_keys_add_p256(struct token_keys *keys, const struct token_key_about *about,
                         struct slice x, struct slice y, char *why, size_t why_bytes);
bool token_keys_add_ed25519(struct token_keys *keys, const struct token_key_about *about,
                            struct slice x, char *why, size_t why_bytes);
bool token_keys_add_hs256(struct token_keys *keys, const struct token_key_about *about,
                          struct slice secret, char *why, size_t why_bytes);
bool token_keys_full(const struct token_keys *keys);
/* A JWKS was read: from now on a kid must be one of its. */
void token_keys_have_set(struct token_keys *keys);

#endif
