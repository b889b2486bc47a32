/* token_maker.h -- keys, tokens and key files for the tests, made by OpenSSL and libsodium, not by
 * what is tested. */
#ifndef NOVABEAT_TESTS_IDENTITY_MAKER_H
#define NOVABEAT_TESTS_IDENTITY_MAKER_H

#include "tap.h"

#include "identity/token.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_S  INT64_C(1800000000)
#define NOW_MS (NOW_S * 1000)
#define SECRET "0123456789abcdef0123456789abcdef"

enum maker_kind { MAKE_HS256, MAKE_RS256, MAKE_PS256, MAKE_ES256, MAKE_EDDSA, MAKE_KINDS };
static const char *const maker_names[MAKE_KINDS] = {"HS256", "RS256", "PS256", "ES256", "EdDSA"};

struct maker {
    enum maker_kind kind;
    EVP_PKEY *pkey;     /* not of HS256 */
    const char *secret; /* of HS256 */
    bool der;           /* ES256: sign in DER form, which is wrong */
    int salt;           /* PS256: another length of salt; 0: the right one */
};

static inline EVP_PKEY *maker_pkey(enum maker_kind kind)
{
    EVP_PKEY *pkey = kind == MAKE_RS256 || kind == MAKE_PS256 ? EVP_RSA_gen(2048)
                     : kind == MAKE_ES256                     ? EVP_EC_gen("P-256")
                                          : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    assert_non_null(pkey);
    return pkey;
}

/* One key of each kind for the whole program: an RSA key takes a while. */
static inline const struct maker *maker_of(enum maker_kind kind)
{
    static struct maker makers[MAKE_KINDS];
    struct maker *maker = &makers[kind];
    if (maker->secret == NULL) {
        maker->kind = kind;
        maker->secret = SECRET;
        maker->pkey = kind == MAKE_HS256 ? NULL : maker_pkey(kind);
    }
    return maker;
}

static inline size_t maker_encode(const void *bytes, size_t len, char *out)
{
    sodium_bin2base64(out, len * 2 + 8, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(out);
}

static inline size_t maker_signature(const struct maker *maker, const char *text, size_t len,
                                     unsigned char *out, size_t room)
{
    if (maker->kind == MAKE_HS256) {
        unsigned bytes = 0;
        assert_non_null(HMAC(EVP_sha256(), maker->secret, (int)strlen(maker->secret),
                             (const unsigned char *)text, len, out, &bytes));
        return bytes;
    }
    size_t bytes = room;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *about;
    const EVP_MD *hash = maker->kind == MAKE_EDDSA ? NULL : EVP_sha256();
    assert_int_equal(EVP_DigestSignInit(context, &about, hash, NULL, maker->pkey), 1);
    if (maker->kind == MAKE_PS256) {
        int salt = maker->salt != 0 ? maker->salt : RSA_PSS_SALTLEN_DIGEST;
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(about, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(about, salt), 1);
    }
    assert_int_equal(EVP_DigestSign(context, out, &bytes, (const unsigned char *)text, len), 1);
    EVP_MD_CTX_free(context);
    if (maker->kind == MAKE_ES256 && !maker->der) {
        const unsigned char *at = out;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)bytes);
        assert_non_null(pair);
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
        ECDSA_SIG_free(pair);
        bytes = 64;
    }
    return bytes;
}

/* A signature over any two parts, however wrong they are.  Freed by the caller. */
static inline char *maker_sign_text(const struct maker *maker, const char *first_two)
{
    unsigned char signature[1024];
    size_t len = strlen(first_two);
    size_t bytes = maker_signature(maker, first_two, len, signature, sizeof signature);
    char *token = malloc(len + 1 + bytes * 2 + 8);
    memcpy(token, first_two, len);
    token[len] = '.';
    maker_encode(signature, bytes, token + len + 1);
    return token;
}

/* A token of these bytes of header and claims.  Freed by the caller. */
static inline char *maker_sign(const struct maker *maker, struct slice header, struct slice claims)
{
    char *text = malloc((header.len + claims.len) * 2 + 32);
    size_t len = maker_encode(header.ptr, header.len, text);
    text[len++] = '.';
    maker_encode(claims.ptr, claims.len, text + len);
    char *token = maker_sign_text(maker, text);
    free(text);
    return token;
}

/* With the usual header; kid NULL: none. */
static inline char *maker_token(const struct maker *maker, const char *kid, const char *claims)
{
    char header[256];
    if (kid == NULL) {
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
                 maker_names[maker->kind]);
    } else {
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", maker_names[maker->kind],
                 kid);
    }
    return maker_sign(maker, slice_str(header), slice_str(claims));
}

#define GOOD_CLAIMS "{\"sub\":\"v1\",\"exp\":1800003600}"

/* ---- keys as files ---- */

static inline size_t maker_number(const EVP_PKEY *pkey, const char *name, char *out)
{
    BIGNUM *number = NULL;
    unsigned char bytes[2048];
    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &number), 1);
    bool coordinate =
        strcmp(name, OSSL_PKEY_PARAM_EC_PUB_X) == 0 || strcmp(name, OSSL_PKEY_PARAM_EC_PUB_Y) == 0;
    int len = coordinate ? (EVP_PKEY_get_bits(pkey) + 7) / 8 : BN_num_bytes(number);
    assert_int_equal(BN_bn2binpad(number, bytes, len), len);
    BN_free(number);
    return maker_encode(bytes, (size_t)len, out);
}

/* The members of a JWK that are the public key: "kty":…, without braces. */
static inline char *maker_jwk(const struct maker *maker)
{
    char *text = malloc(16384), a[4096], b[4096];
    if (maker->kind == MAKE_HS256) {
        maker_encode(maker->secret, strlen(maker->secret), a);
        sprintf(text, "\"kty\":\"oct\",\"k\":\"%s\"", a);
        return text;
    }
    switch (EVP_PKEY_get_base_id(maker->pkey)) {
    case EVP_PKEY_RSA:
        maker_number(maker->pkey, OSSL_PKEY_PARAM_RSA_N, a);
        maker_number(maker->pkey, OSSL_PKEY_PARAM_RSA_E, b);
        sprintf(text, "\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"", a, b);
        break;
    case EVP_PKEY_EC:
        maker_number(maker->pkey, OSSL_PKEY_PARAM_EC_PUB_X, a);
        maker_number(maker->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, b);
        sprintf(text, "\"kty\":\"EC\",\"crv\":\"P-%d\",\"x\":\"%s\",\"y\":\"%s\"",
                EVP_PKEY_get_bits(maker->pkey), a, b);
        break;
    default: {
        unsigned char raw[64];
        size_t len = sizeof raw;
        assert_int_equal(EVP_PKEY_get_raw_public_key(maker->pkey, raw, &len), 1);
        maker_encode(raw, len, a);
        sprintf(text, "\"kty\":\"OKP\",\"crv\":\"%s\",\"x\":\"%s\"",
                len == 32 ? "Ed25519" : "Ed448", a);
    }
    }
    return text;
}

static inline char *maker_pem(const EVP_PKEY *pkey, bool private)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(private ? PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL)
                             : PEM_write_bio_PUBKEY(bio, pkey),
                     1);
    long len = BIO_get_mem_data(bio, &data);
    char *text = malloc((size_t)len + 1);
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    BIO_free(bio);
    return text;
}

/* A file in a folder of the test's own, which maker_clean takes away. */
static char maker_folder[64];

static inline const char *maker_path(const char *name)
{
    static char path[4][128];
    static int next;
    char *out = path[next++ % 4];
    if (maker_folder[0] == '\0') {
        strcpy(maker_folder, "/tmp/novabeat-token-XXXXXX");
        assert_non_null(mkdtemp(maker_folder));
    }
    snprintf(out, sizeof path[0], "%s/%s", maker_folder, name);
    return out;
}

static inline const char *maker_write(const char *name, const char *text)
{
    const char *path = maker_path(name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
    return path;
}

static inline void maker_clean(void)
{
    unlink(maker_path("keys.pem"));
    unlink(maker_path("keys.json"));
    assert_int_equal(rmdir(maker_folder), 0);
    for (int kind = MAKE_RS256; kind < MAKE_KINDS; kind++) {
        struct maker *maker = (struct maker *)(uintptr_t)maker_of((enum maker_kind)kind);
        EVP_PKEY_free(maker->pkey);
        *maker = (struct maker){.secret = NULL};
    }
}

/* ---- what is tested ---- */

static inline struct token_options maker_options(void)
{
    return (struct token_options){.viewer_claim = "sub",
                                  .event_claim = "event",
                                  .groups_claim = "groups",
                                  .leeway_ms = 60000,
                                  .bytes_max = 8192,
                                  .cache_max = 1000};
}

static inline struct tokens *maker_tokens(const struct token_options *options)
{
    struct tokens *tokens;
    char why[512] = "";
    enum err err = tokens_new(options, &tokens, why, sizeof why);
    if (err != ERR_NONE) {
        fail_msg("%s: %s", err_name(err), why);
    }
    return tokens;
}

/* Made and refused; why must hold `words`. */
static inline void maker_refused(const struct token_options *options, enum err expected,
                                 const char *words)
{
    struct tokens *tokens;
    char why[512] = "";
    enum err err = tokens_new(options, &tokens, why, sizeof why);
    if (err != expected || tokens != NULL || strstr(why, words) == NULL) {
        fail_msg("%s, \"%s\"; expected %s, \"%s\"", err_name(err), why, err_name(expected), words);
    }
}

static inline enum token_outcome maker_verify(struct tokens *tokens, const char *token,
                                              int64_t wall_ms, struct token_claims *claims)
{
    struct token_claims own;
    /* In memory that ends where the token does: a byte read beyond is seen. */
    size_t len = strlen(token);
    char *bytes = malloc(len);
    memcpy(bytes, token, len);
    enum token_outcome outcome =
        tokens_verify(tokens, slice_of(bytes, len), wall_ms, claims == NULL ? &own : claims);
    free(bytes);
    return outcome;
}

#define assert_outcome(is, expected)                                                               \
    assert_string_equal(token_outcome_text(is), token_outcome_text(expected))

#endif
