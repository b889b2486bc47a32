/* token_jwks.c -- the keys of a JWKS.  Source: RFC 7517; RFC 7518, 6; RFC 8037, 2.
 *
 * By jansson and our base64url, not cjose_jwk_import: that would keep a private part, takes RSA
 * keys of any size, and knows no OKP.
 */
#include "identity/token_keys.h"

#include <sodium.h>
#include <stdio.h>

#include "base/json.h"
#include "base/memory.h"

static bool fail(char *why, size_t why_bytes, const char *reason)
{
    snprintf(why, why_bytes, "%s", reason);
    return false;
}

/* A member that must be base64url: into a buffer that the caller frees.  NULL: it is not. */
static char *member_bytes(const json_t *jwk, const char *name, struct slice *bytes)
{
    const json_t *value = json_object_get(jwk, name);
    struct slice text = slice_of(json_string_value(value), json_string_length(value));
    if (!json_is_string(value) || text.len == 0) {
        return NULL;
    }
    char *out = memory_alloc(text.len);
    if (!token_base64url(text, out, &bytes->len)) {
        free(out);
        return NULL;
    }
    bytes->ptr = out;
    return out;
}

/* The algorithm of a key whose type is good for `fitting`: what its "alg" says must be one of them.
 */
static bool algorithm_of(const json_t *jwk, enum token_algorithm by_itself,
                         enum token_algorithm other, enum token_algorithm *algorithm, char *why,
                         size_t why_bytes)
{
    const json_t *alg = json_object_get(jwk, "alg");
    *algorithm = by_itself;
    if (alg == NULL) {
        return true;
    }
    if (!json_is_string(alg)) {
        return fail(why, why_bytes, "\"alg\" must be a string");
    }
    *algorithm = token_algorithm_find(json_string_value(alg));
    if (*algorithm != by_itself && *algorithm != other) {
        snprintf(why, why_bytes, "\"alg\" is %.20s, which is not usable with its \"kty\" here",
                 json_string_value(alg));
        return false;
    }
    return true;
}

static bool add_rsa(struct token_keys *keys, struct token_key_about *about, const json_t *jwk,
                    enum token_rsa rsa, char *why, size_t why_bytes)
{
    bool pss = rsa == TOKEN_PS256;
    if (!algorithm_of(jwk, pss ? ALGORITHM_PS256 : ALGORITHM_RS256,
                      pss ? ALGORITHM_RS256 : ALGORITHM_PS256, &about->algorithm, why, why_bytes)) {
        return false;
    }
    struct slice n, e;
    char *modulus = member_bytes(jwk, "n", &n), *exponent = member_bytes(jwk, "e", &e);
    bool good = modulus != NULL && exponent != NULL
                    ? token_keys_add_rsa(keys, about, n, e, why, why_bytes)
                    : fail(why, why_bytes, "\"n\" and \"e\" must be base64url");
    free(modulus);
    free(exponent);
    return good;
}

static bool curve_is(const json_t *jwk, const char *name, char *why, size_t why_bytes)
{
    const char *curve = json_string_value(json_object_get(jwk, "crv"));
    if (curve != NULL && strcmp(curve, name) == 0) {
        return true;
    }
    snprintf(why, why_bytes, "\"crv\" is %.20s; %s is needed", curve == NULL ? "no string" : curve,
             name);
    return false;
}

static bool add_ec(struct token_keys *keys, struct token_key_about *about, const json_t *jwk,
                   char *why, size_t why_bytes)
{
    if (!curve_is(jwk, "P-256", why, why_bytes) ||
        !algorithm_of(jwk, ALGORITHM_ES256, ALGORITHM_ES256, &about->algorithm, why, why_bytes)) {
        return false;
    }
    struct slice x, y;
    char *x_buffer = member_bytes(jwk, "x", &x), *y_buffer = member_bytes(jwk, "y", &y);
    bool good = x_buffer != NULL && y_buffer != NULL
                    ? token_keys_add_p256(keys, about, x, y, why, why_bytes)
                    : fail(why, why_bytes, "\"x\" and \"y\" must be base64url");
    free(x_buffer);
    free(y_buffer);
    return good;
}

static bool add_okp(struct token_keys *keys, struct token_key_about *about, const json_t *jwk,
                    char *why, size_t why_bytes)
{
    if (!curve_is(jwk, "Ed25519", why, why_bytes) ||
        !algorithm_of(jwk, ALGORITHM_EDDSA, ALGORITHM_EDDSA, &about->algorithm, why, why_bytes)) {
        return false;
    }
    struct slice x;
    char *buffer = member_bytes(jwk, "x", &x);
    bool good = buffer != NULL ? token_keys_add_ed25519(keys, about, x, why, why_bytes)
                               : fail(why, why_bytes, "\"x\" must be base64url");
    free(buffer);
    return good;
}

static bool add_oct(struct token_keys *keys, struct token_key_about *about, const json_t *jwk,
                    char *why, size_t why_bytes)
{
    if (!algorithm_of(jwk, ALGORITHM_HS256, ALGORITHM_HS256, &about->algorithm, why, why_bytes)) {
        return false;
    }
    struct slice secret;
    char *buffer = member_bytes(jwk, "k", &secret);
    bool good = buffer != NULL ? token_keys_add_hs256(keys, about, secret, why, why_bytes)
                               : fail(why, why_bytes, "\"k\" must be base64url");
    if (buffer != NULL) {
        sodium_memzero(buffer, secret.len);
    }
    free(buffer);
    return good;
}

/* RFC 7517, 4.3: "verify", or "sign" in a private key, whose public part verifies. */
static bool operations_allow(const json_t *jwk)
{
    const json_t *list = json_object_get(jwk, "key_ops");
    bool allowed = list == NULL;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        allowed =
            allowed || (word != NULL && (strcmp(word, "verify") == 0 || strcmp(word, "sign") == 0));
    }
    return allowed;
}

static bool add_jwk(struct token_keys *keys, const json_t *jwk, enum token_rsa rsa, char *why,
                    size_t why_bytes)
{
    const json_t *use = json_object_get(jwk, "use");
    const json_t *kid = json_object_get(jwk, "kid");
    const char *type = json_string_value(json_object_get(jwk, "kty"));
    struct token_key_about about = {.kid = json_string_value(kid)};
    if (!json_is_object(jwk)) {
        return fail(why, why_bytes, "it is not an object");
    }
    if (kid != NULL && !json_is_string(kid)) {
        return fail(why, why_bytes, "\"kid\" must be a string");
    }
    if (use != NULL && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0)) {
        return fail(why, why_bytes, "\"use\" is not \"sig\"");
    }
    if (!operations_allow(jwk)) {
        return fail(why, why_bytes, "\"key_ops\" has no \"verify\"");
    }
    if (type == NULL) {
        return fail(why, why_bytes, "\"kty\" must be a string");
    }
    if (strcmp(type, "RSA") == 0) {
        return add_rsa(keys, &about, jwk, rsa, why, why_bytes);
    }
    if (strcmp(type, "EC") == 0) {
        return add_ec(keys, &about, jwk, why, why_bytes);
    }
    if (strcmp(type, "OKP") == 0) {
        return add_okp(keys, &about, jwk, why, why_bytes);
    }
    if (strcmp(type, "oct") == 0) {
        return add_oct(keys, &about, jwk, why, why_bytes);
    }
    snprintf(why, why_bytes, "\"kty\" is %.20s, which is not usable here", type);
    return false;
}

/* jansson frees its strings as they are. */
static void wipe_private(json_t *jwk)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "k"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(jwk, names[i]);
        if (json_is_string(value)) {
            sodium_memzero((void *)(uintptr_t)json_string_value(value), json_string_length(value));
        }
    }
}

static enum err add_all(struct token_keys *keys, json_t *list, enum token_rsa rsa,
                        unsigned *passed_over, char *why, size_t why_bytes)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        char reason[128];
        if (token_keys_full(keys)) {
            snprintf(why, why_bytes, "there are more than %d keys", TOKEN_KEYS_MAX);
            return ERR_FULL;
        }
        if (!add_jwk(keys, json_array_get(list, i), rsa, reason, sizeof reason) &&
            (*passed_over)++ == 0) {
            snprintf(why, why_bytes, "key %zu: %s", i + 1, reason);
        }
    }
    return ERR_NONE;
}

enum err token_keys_add_jwks(struct token_keys *keys, struct slice text, enum token_rsa rsa,
                             unsigned *passed_over, char *why, size_t why_bytes)
{
    *passed_over = 0;
    struct json_fault fault;
    json_t *root = token_json(text, NUMBERS_REAL);
    if (root == NULL) {
        char words[JSON_FAULT_TEXT_BYTES];
        if (!json_valid(text, &fault)) {
            json_fault_text(&fault, words);
            snprintf(why, why_bytes, "is no JWKS: byte %zu: %s", fault.offset, words);
        } else {
            snprintf(why, why_bytes, "is no JWKS: it is no JSON object, or says a name twice");
        }
        return ERR_INVALID;
    }
    enum err err;
    json_t *list = json_object_get(root, "keys");
    if (json_is_array(list)) {
        err = add_all(keys, list, rsa, passed_over, why, why_bytes);
        token_keys_have_set(keys);
        for (size_t i = 0; i < json_array_size(list); i++) {
            wipe_private(json_array_get(list, i));
        }
    } else {
        snprintf(why, why_bytes, "is no JWKS: \"keys\" must be an array");
        err = ERR_INVALID;
    }
    json_decref(root);
    return err;
}
