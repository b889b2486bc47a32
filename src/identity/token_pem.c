/* token_pem.c -- a key from a PEM text.  By OpenSSL: cjose reads no PEM.
 *
 * Source: RFC 7468. */
#include "identity/token_keys.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "base/assert.h"

#define MODULUS_BYTES_MAX  4096
#define EXPONENT_BYTES_MAX 64

static enum err fail(char *why, size_t why_bytes, const char *reason)
{
    ERR_clear_error();
    snprintf(why, why_bytes, "%s", reason);
    return ERR_INVALID;
}

static bool is_certificate(const char *name)
{
    return strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
}

/* The key in a block, private or public; NULL: none can be read from it. */
static EVP_PKEY *block_key(const char *name, const unsigned char *bytes, long len)
{
    const unsigned char *at = bytes;
    if (is_certificate(name)) {
        X509 *certificate = d2i_X509(NULL, &at, len);
        EVP_PKEY *pkey = certificate == NULL ? NULL : X509_get_pubkey(certificate);
        X509_free(certificate);
        return pkey;
    }
    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        return d2i_PUBKEY(NULL, &at, len);
    }
    if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) {
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, len);
    }
    if (strcmp(name, PEM_STRING_PKCS8INF) == 0 || strcmp(name, PEM_STRING_RSA) == 0 ||
        strcmp(name, PEM_STRING_ECPRIVATEKEY) == 0) {
        return d2i_AutoPrivateKey(NULL, &at, len);
    }
    return NULL;
}

static bool number_get(const EVP_PKEY *pkey, const char *name, char *out, size_t room, int len,
                       struct slice *number)
{
    BIGNUM *value = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &value) != 1) {
        return false;
    }
    int bytes = len == 0 ? BN_num_bytes(value) : len;
    bool fits = bytes >= 0 && (size_t)bytes <= room &&
                BN_bn2binpad(value, (unsigned char *)out, bytes) == bytes;
    *number = slice_of(out, fits ? (size_t)bytes : 0);
    BN_free(value);
    return fits;
}

static enum err add_rsa(struct token_keys *keys, const EVP_PKEY *pkey, enum token_rsa rsa,
                        char *why, size_t why_bytes)
{
    char modulus[MODULUS_BYTES_MAX], exponent[EXPONENT_BYTES_MAX];
    struct slice n, e;
    const struct token_key_about about = {.algorithm = rsa == TOKEN_PS256 ? ALGORITHM_PS256
                                                                          : ALGORITHM_RS256};
    if (!number_get(pkey, OSSL_PKEY_PARAM_RSA_N, modulus, sizeof modulus, 0, &n) ||
        !number_get(pkey, OSSL_PKEY_PARAM_RSA_E, exponent, sizeof exponent, 0, &e)) {
        return fail(why, why_bytes, "the RSA key cannot be read");
    }
    return token_keys_add_rsa(keys, &about, n, e, why, why_bytes) ? ERR_NONE : ERR_INVALID;
}

static enum err add_ec(struct token_keys *keys, const EVP_PKEY *pkey, char *why, size_t why_bytes)
{
    char curve[64] = "", x[32], y[32];
    struct slice x_bytes, y_bytes;
    const struct token_key_about about = {.algorithm = ALGORITHM_ES256};
    (void)EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof curve,
                                         NULL);
    if (strcmp(curve, SN_X9_62_prime256v1) != 0) {
        ERR_clear_error();
        snprintf(why, why_bytes, "the curve is %s; P-256 is needed (ES256)",
                 curve[0] == '\0' ? "not a named one" : curve);
        return ERR_INVALID;
    }
    if (!number_get(pkey, OSSL_PKEY_PARAM_EC_PUB_X, x, sizeof x, sizeof x, &x_bytes) ||
        !number_get(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, y, sizeof y, sizeof y, &y_bytes)) {
        return fail(why, why_bytes, "the P-256 key has no public part");
    }
    return token_keys_add_p256(keys, &about, x_bytes, y_bytes, why, why_bytes) ? ERR_NONE
                                                                               : ERR_INVALID;
}

static enum err add_key(struct token_keys *keys, const EVP_PKEY *pkey, enum token_rsa rsa,
                        char *why, size_t why_bytes)
{
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        return add_rsa(keys, pkey, rsa, why, why_bytes);
    case EVP_PKEY_EC:
        return add_ec(keys, pkey, why, why_bytes);
    case EVP_PKEY_ED25519: {
        char raw[32];
        size_t len = sizeof raw;
        const struct token_key_about about = {.algorithm = ALGORITHM_EDDSA};
        if (EVP_PKEY_get_raw_public_key(pkey, (unsigned char *)raw, &len) != 1) {
            return fail(why, why_bytes, "the Ed25519 key cannot be read");
        }
        return token_keys_add_ed25519(keys, &about, slice_of(raw, len), why, why_bytes)
                   ? ERR_NONE
                   : ERR_INVALID;
    }
    default:
        return fail(why, why_bytes,
                    "a key of this type is not usable; RSA, P-256 or Ed25519 is needed");
    }
}

/* One block.  *state counts keys; certificates after a certificate are its chain. */
struct pem_state {
    bool have_key, have_certificate;
};

static enum err add_block(struct token_keys *keys, struct pem_state *state, const char *name,
                          const unsigned char *bytes, long len, enum token_rsa rsa, char *why,
                          size_t why_bytes)
{
    if (strcmp(name, PEM_STRING_ECPARAMETERS) == 0 ||
        (is_certificate(name) && state->have_certificate)) {
        return ERR_NONE;
    }
    if (state->have_key) {
        return fail(why, why_bytes, "holds more than one key; a JWKS can hold several");
    }
    if (strcmp(name, PEM_STRING_PKCS8) == 0) {
        return fail(why, why_bytes, "the private key is encrypted; the public key is needed");
    }
    EVP_PKEY *pkey = block_key(name, bytes, len);
    if (pkey == NULL) {
        ERR_clear_error();
        snprintf(why, why_bytes, "no public key can be read from its block \"%.40s\"", name);
        return ERR_INVALID;
    }
    state->have_key = true;
    state->have_certificate = is_certificate(name);
    enum err err = add_key(keys, pkey, rsa, why, why_bytes);
    EVP_PKEY_free(pkey); /* OpenSSL wipes a private part */
    return err;
}

enum err token_keys_add_pem(struct token_keys *keys, struct slice text, enum token_rsa rsa,
                            char *why, size_t why_bytes)
{
    if (token_keys_full(keys)) {
        (void)fail(why, why_bytes, "there are more than 64 keys");
        return ERR_FULL;
    }
    ASSERT(text.len <= INT32_MAX);
    BIO *bio = BIO_new_mem_buf(text.ptr == NULL ? "" : text.ptr, (int)text.len);
    struct pem_state state = {.have_key = false};
    enum err err = bio == NULL ? fail(why, why_bytes, "out of memory") : ERR_NONE;
    char *name, *header;
    unsigned char *bytes;
    long len;
    while (err == ERR_NONE && PEM_read_bio(bio, &name, &header, &bytes, &len) == 1) {
        if (header[0] != '\0') {
            err = fail(why, why_bytes, "its key is encrypted; the public key is needed");
        } else {
            err = add_block(keys, &state, name, bytes, len, rsa, why, why_bytes);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(bytes, (size_t)len);
    }
    if (err == ERR_NONE) {
        /* What ended the loop: the end of the text, or a block that is not whole. */
        unsigned long last = ERR_peek_last_error();
        bool ended =
            ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
        if (!ended) {
            err = fail(why, why_bytes, "a PEM block is not whole");
        } else if (!state.have_key) {
            err = fail(why, why_bytes, "no PEM block with a key is in it");
        }
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}
