/* token_keys.c -- a set of keys, and checking a signature with it. */
#include "identity/token_keys.h"

#include <cjose/cjose.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"

#define RSA_BITS_MIN       2048 /* RFC 7518, 3.3 */
#define RSA_BITS_MAX       8192 /* beyond, a check costs milliseconds */
#define EXPONENT_BYTES_MAX 8    /* OpenSSL takes no larger one with large keys */
#define P256_BYTES         32
#define ED25519_BYTES      32
#define ED25519_SIGNATURE  64
#define P256_SIGNATURE     64 /* RFC 7518, 3.4: r and s; DER is longer */
#define HS256_SIGNATURE    32

struct token_key {
    enum token_algorithm algorithm;
    size_t signature_bytes; /* exactly */
    char *kid;              /* NULL: none; only keys of a JWKS have one */
    cjose_jwk_t *jwk;       /* of all but EdDSA */
    EVP_PKEY *ed25519;
};

struct token_keys {
    _Atomic uint32_t holders; /* acquire-release when dropped: the last one frees */
    bool has_set;
    unsigned count;
    struct token_key keys[TOKEN_KEYS_MAX];
};

struct token_keys *token_keys_new(void)
{
    struct token_keys *keys = memory_zalloc(sizeof *keys);
    atomic_init(&keys->holders, 1);
    return keys;
}

void token_keys_hold(struct token_keys *keys)
{
    atomic_fetch_add_explicit(&keys->holders, 1, memory_order_relaxed); /* the caller has one */
}

void token_keys_drop(struct token_keys *keys)
{
    if (keys == NULL || atomic_fetch_sub_explicit(&keys->holders, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < keys->count; i++) {
        struct token_key *key = &keys->keys[i];
        free(key->kid);
        if (key->jwk != NULL) {
            cjose_jwk_release(key->jwk);
        }
        EVP_PKEY_free(key->ed25519);
    }
    free(keys);
}

unsigned token_keys_count(const struct token_keys *keys)
{
    return keys->count;
}

bool token_keys_full(const struct token_keys *keys)
{
    return keys->count == TOKEN_KEYS_MAX;
}

void token_keys_have_set(struct token_keys *keys)
{
    keys->has_set = true;
}

/* ---- adding ---- */

static bool fail(char *why, size_t why_bytes, const char *reason)
{
    ERR_clear_error(); /* else OpenSSL's queue fills */
    snprintf(why, why_bytes, "%s", reason);
    return false;
}

static bool add(struct token_keys *keys, const struct token_key_about *about,
                size_t signature_bytes, cjose_jwk_t *jwk, EVP_PKEY *ed25519)
{
    ASSERT(!token_keys_full(keys));
    ASSERT((about->algorithm == ALGORITHM_EDDSA) == (jwk == NULL));
    ASSERT((jwk == NULL) == (ed25519 != NULL));
    struct token_key *key = &keys->keys[keys->count++];
    *key = (struct token_key){.algorithm = about->algorithm,
                              .signature_bytes = signature_bytes,
                              .jwk = jwk,
                              .ed25519 = ed25519};
    if (about->kid != NULL) {
        key->kid = memory_alloc(strlen(about->kid) + 1);
        strcpy(key->kid, about->kid);
    }
    return true;
}

static struct slice without_zeros(struct slice number)
{
    while (number.len > 0 && number.ptr[0] == 0) {
        number.ptr++;
        number.len--;
    }
    return number;
}

static unsigned bits_of(struct slice number)
{
    if (number.len == 0) {
        return 0;
    }
    unsigned top = (unsigned char)number.ptr[0];
    unsigned bits = (unsigned)(number.len - 1) * 8;
    for (; top != 0; top >>= 1) {
        bits++;
    }
    return bits;
}

/* cjose does not write to what it gets here. */
static uint8_t *bytes_of(struct slice number)
{
    return (uint8_t *)(uintptr_t)number.ptr;
}

bool token_keys_add_rsa(struct token_keys *keys, const struct token_key_about *about,
                        struct slice modulus, struct slice exponent, char *why, size_t why_bytes)
{
    ASSERT(about->algorithm == ALGORITHM_RS256 || about->algorithm == ALGORITHM_PS256);
    modulus = without_zeros(modulus);
    exponent = without_zeros(exponent);
    /* (Not by its length alone: a modulus of 2041 bits has 256 bytes too.) */
    if (modulus.len > RSA_BITS_MAX / 8 || bits_of(modulus) < RSA_BITS_MIN) {
        snprintf(why, why_bytes, "an RSA key must have %d to %d bits; this one has %zu",
                 RSA_BITS_MIN, RSA_BITS_MAX,
                 modulus.len > RSA_BITS_MAX ? modulus.len * 8 : (size_t)bits_of(modulus));
        return false;
    }
    unsigned low = exponent.len == 0 ? 0 : (unsigned char)exponent.ptr[exponent.len - 1];
    /* With an exponent of 1 everybody can sign. */
    if (exponent.len == 0 || exponent.len > EXPONENT_BYTES_MAX || low % 2 == 0 ||
        (exponent.len == 1 && low < 3)) {
        return fail(why, why_bytes, "the RSA exponent must be odd, at least 3 and below 2^64");
    }
    if ((unsigned char)modulus.ptr[modulus.len - 1] % 2 == 0) {
        return fail(why, why_bytes, "the RSA modulus is even");
    }
    cjose_jwk_rsa_keyspec spec = {
        .n = bytes_of(modulus), .nlen = modulus.len, .e = bytes_of(exponent), .elen = exponent.len};
    cjose_jwk_t *jwk = cjose_jwk_create_RSA_spec(&spec, NULL);
    if (jwk == NULL) {
        return fail(why, why_bytes, "the RSA key is not usable");
    }
    return add(keys, about, modulus.len, jwk, NULL);
}

bool token_keys_add_p256(struct token_keys *keys, const struct token_key_about *about,
                         struct slice x, struct slice y, char *why, size_t why_bytes)
{
    ASSERT(about->algorithm == ALGORITHM_ES256);
    if (x.len != P256_BYTES || y.len != P256_BYTES) {
        return fail(why, why_bytes, "the coordinates of a P-256 key must have 32 bytes each");
    }
    cjose_jwk_ec_keyspec spec = {.crv = CJOSE_JWK_EC_P_256,
                                 .x = bytes_of(x),
                                 .xlen = x.len,
                                 .y = bytes_of(y),
                                 .ylen = y.len};
    cjose_jwk_t *jwk = cjose_jwk_create_EC_spec(&spec, NULL);
    if (jwk == NULL) {
        return fail(why, why_bytes, "the point of the P-256 key is not on the curve");
    }
    return add(keys, about, P256_SIGNATURE, jwk, NULL);
}

bool token_keys_add_ed25519(struct token_keys *keys, const struct token_key_about *about,
                            struct slice x, char *why, size_t why_bytes)
{
    ASSERT(about->algorithm == ALGORITHM_EDDSA);
    if (x.len != ED25519_BYTES) {
        return fail(why, why_bytes, "an Ed25519 key must have 32 bytes");
    }
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes_of(x), x.len);
    if (pkey == NULL) {
        return fail(why, why_bytes, "the Ed25519 key is not usable");
    }
    return add(keys, about, ED25519_SIGNATURE, NULL, pkey);
}

bool token_keys_add_hs256(struct token_keys *keys, const struct token_key_about *about,
                          struct slice secret, char *why, size_t why_bytes)
{
    const struct slice pem = SLICE_LIT("-----BEGIN ");
    ASSERT(about->algorithm == ALGORITHM_HS256);
    if (secret.len < TOKEN_SECRET_BYTES_MIN || secret.len > TOKEN_SECRET_BYTES_MAX) {
        snprintf(why, why_bytes, "a secret must have %d to %d bytes; this one has %zu",
                 TOKEN_SECRET_BYTES_MIN, TOKEN_SECRET_BYTES_MAX, secret.len);
        return false;
    }
    if (slice_has_prefix(secret, pem)) {
        /* Everybody who has the public key could sign. */
        return fail(why, why_bytes, "the secret is a PEM text: a key belongs into a file");
    }
    cjose_jwk_t *jwk = cjose_jwk_create_oct_spec(bytes_of(secret), secret.len, NULL);
    if (jwk == NULL) {
        return fail(why, why_bytes, "the secret is not usable");
    }
    return add(keys, about, HS256_SIGNATURE, jwk, NULL);
}

enum err token_keys_add_secret(struct token_keys *keys, const char *secret, char *why,
                               size_t why_bytes)
{
    const struct token_key_about about = {.algorithm = ALGORITHM_HS256};
    if (token_keys_full(keys)) {
        (void)fail(why, why_bytes, "there are more than 64 keys");
        return ERR_FULL;
    }
    return token_keys_add_hs256(keys, &about, slice_str(secret), why, why_bytes) ? ERR_NONE
                                                                                 : ERR_INVALID;
}

/* ---- checking ---- */

static bool check_cjose(const struct token_key *key, const struct token_parts *parts)
{
    /* Imported for each key anew: a jws that was verified once is not said to be good for a second
     * time, and two keys of one algorithm are rare. */
    cjose_jws_t *jws = cjose_jws_import(parts->text.ptr, parts->text.len, NULL);
    bool good = jws != NULL && cjose_jws_verify(jws, key->jwk, NULL);
    cjose_jws_release(jws);
    return good;
}

static bool check_ed25519(const struct token_key *key, const struct token_parts *parts)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->ed25519) == 1 &&
        EVP_DigestVerify(context, (const unsigned char *)parts->signature.ptr, parts->signature.len,
                         (const unsigned char *)parts->signed_part.ptr,
                         parts->signed_part.len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}

static bool check(const struct token_key *key, const struct token_parts *parts)
{
    ASSERT(key->algorithm == parts->algorithm);
    if (parts->signature.len != key->signature_bytes) {
        return false; /* cjose would take an ES256 signature of any length */
    }
    bool good = key->jwk != NULL ? check_cjose(key, parts) : check_ed25519(key, parts);
    if (!good) {
        ERR_clear_error();
    }
    return good;
}

enum token_outcome token_keys_check(const struct token_keys *keys, const struct token_parts *parts)
{
    bool by_kid = keys->has_set && parts->kid != NULL;
    bool known = false;
    unsigned tried = 0;
    for (unsigned i = 0; i < keys->count && tried < TOKEN_KEYS_TRIED; i++) {
        const struct token_key *key = &keys->keys[i];
        if (by_kid) {
            if (key->kid == NULL || strcmp(key->kid, parts->kid) != 0) {
                continue;
            }
            known = true;
        }
        if (key->algorithm != parts->algorithm) {
            continue;
        }
        tried++;
        if (check(key, parts)) {
            return TOKEN_OK;
        }
    }
    if (by_kid && !known) {
        return TOKEN_UNKNOWN_KEY;
    }
    return tried == 0 ? TOKEN_ALGORITHM : TOKEN_SIGNATURE;
}
