/* test_token_keys.c -- which keys are taken, from where, and what a reload does. */
#include "token_maker.h"

#include <fcntl.h>
#include <openssl/x509.h>

/* ---- PEM ---- */

static void pem_refused(const char *text, const char *words)
{
    struct token_options options = maker_options();
    options.pem_file = maker_write("keys.pem", text);
    maker_refused(&options, ERR_INVALID, words);
    maker_refused(&options, ERR_INVALID, "keys.pem: ");
}

static void pem_key_refused(EVP_PKEY *pkey, const char *words)
{
    for (int private = 0; private < 2; private ++) {
        char *pem = maker_pem(pkey, private == 1);
        pem_refused(pem, words);
        free(pem);
    }
    EVP_PKEY_free(pkey);
}

static void pem_good(const char *text, enum maker_kind kind)
{
    struct token_options options = maker_options();
    options.pem_file = maker_write("keys.pem", text);
    options.rsa_algorithm = kind == MAKE_PS256 ? TOKEN_PS256 : TOKEN_RS256;
    struct tokens *tokens = maker_tokens(&options);
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.keys, 1);
    char *token = maker_token(maker_of(kind), NULL, GOOD_CLAIMS);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    free(token);
    tokens_free(tokens);
}

/* strndup looks at bytes after those that it copies (with ASan's strict string checks). */
static char *copy_of(const char *bytes, size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

static char *certificate(EVP_PKEY *pkey)
{
    X509 *made = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    X509_gmtime_adj(X509_getm_notBefore(made), 0);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    assert_int_equal(X509_set_pubkey(made, pkey), 1);
    bool ed25519 = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519;
    assert_true(X509_sign(made, pkey, ed25519 ? NULL : EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(bio, made), 1);
    long len = BIO_get_mem_data(bio, &data);
    char *text = copy_of(data, (size_t)len);
    BIO_free(bio);
    X509_free(made);
    return text;
}

static char *join(const char *a, const char *b)
{
    char *text = malloc(strlen(a) + strlen(b) + 1);
    return strcat(strcpy(text, a), b);
}

static void test_pem_forms(void **state)
{
    (void)state;
    for (int kind = MAKE_RS256; kind < MAKE_KINDS; kind++) {
        EVP_PKEY *pkey = maker_of((enum maker_kind)kind)->pkey;
        char *texts[] = {maker_pem(pkey, false), maker_pem(pkey, true), certificate(pkey),
                         join("A comment before it.\n", "")};
        char *with_comment = join(texts[3], texts[0]);
        char *other = certificate(maker_of(MAKE_ES256)->pkey);
        char *chain = join(texts[2], other);
        pem_good(texts[0], (enum maker_kind)kind);
        pem_good(texts[1], (enum maker_kind)kind);
        pem_good(texts[2], (enum maker_kind)kind);
        pem_good(with_comment, (enum maker_kind)kind);
        pem_good(chain, (enum maker_kind)kind);
        free(chain);
        free(other);
        free(with_comment);
        for (int i = 0; i < 4; i++) {
            free(texts[i]);
        }
    }
}

/* The forms of before PKCS #8, as `openssl … -traditional` writes them. */
static void test_pem_traditional(void **state)
{
    (void)state;
    static const enum maker_kind kinds[] = {MAKE_RS256, MAKE_ES256};
    for (int i = 0; i < 2; i++) {
        BIO *bio = BIO_new(BIO_s_mem());
        char *data;
        if (i == 1) { /* `openssl ecparam -genkey` writes this before the key */
            assert_true(BIO_puts(bio, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                                      "-----END EC PARAMETERS-----\n") > 0);
        }
        assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, maker_of(kinds[i])->pkey, NULL,
                                                              NULL, 0, NULL, NULL),
                         1);
        long len = BIO_get_mem_data(bio, &data);
        char *text = copy_of(data, (size_t)len);
        assert_non_null(strstr(text, i == 0 ? "BEGIN RSA PRIVATE KEY" : "BEGIN EC PRIVATE KEY"));
        pem_good(text, kinds[i]);
        free(text);
        BIO_free(bio);
    }
}

static void test_pem_refused(void **state)
{
    (void)state;
    pem_key_refused(EVP_RSA_gen(1024), "2048 to 8192 bits; this one has 1024");
    pem_key_refused(EVP_RSA_gen(2040), "this one has 2040");
    pem_key_refused(EVP_EC_gen("P-384"), "the curve is secp384r1; P-256 is needed");
    pem_key_refused(EVP_EC_gen("secp256k1"), "the curve is secp256k1");
    pem_key_refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), "not usable");
    pem_key_refused(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), "not usable");
    char *pem = maker_pem(maker_of(MAKE_ES256)->pkey, false);
    char *two = join(pem, pem);
    pem_refused(two, "more than one key");
    free(two);
    size_t len = strlen(pem);
    pem[len - 20] = '\0';
    pem_refused(pem, "not whole");
    pem[60] = '\0';
    pem_refused(pem, "not whole");
    free(pem);
    pem_refused("", "no PEM block");
    pem_refused("nothing of the kind\n", "no PEM block");
    pem_refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "no public key can be read from its block \"PUBLIC KEY\"");
    pem_refused("-----BEGIN SOMETHING-----\nAAAA\n-----END SOMETHING-----\n", "SOMETHING");
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, maker_of(MAKE_ES256)->pkey,
                                                   EVP_aes_128_cbc(), "pw", 2, NULL, NULL),
                     1);
    assert_true(BIO_get_mem_data(bio, &data) > 0);
    char *encrypted = copy_of(data, (size_t)BIO_get_mem_data(bio, &data));
    pem_refused(encrypted, "encrypted");
    free(encrypted);
    BIO_free(bio);
}

/* ---- the secret, and no key at all ---- */

static void test_secret(void **state)
{
    (void)state;
    struct token_options options = maker_options();
    maker_refused(&options, ERR_INVALID, "no key");
    options.secret = "";
    maker_refused(&options, ERR_INVALID, "no key");
    options.secret = "0123456789abcdef0123456789abcde";
    maker_refused(&options, ERR_INVALID, "32 to 4096 bytes; this one has 31");
    options.secret = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA";
    maker_refused(&options, ERR_INVALID, "PEM");
    options.secret = SECRET;
    options.pem_file = maker_path("absent.pem");
    maker_refused(&options, ERR_NOT_FOUND, "absent.pem: No such file");
    options.pem_file = "/tmp";
    maker_refused(&options, ERR_INVALID, "not a regular file");
    options.pem_file = NULL;
    options.jwks_file = maker_path("absent.json");
    maker_refused(&options, ERR_NOT_FOUND, "absent.json: No such file");
}

/* ---- JWKS ---- */

/* The first %s is the key's members, the second is whatever. */
static char *jwks_of(const struct maker *maker, const char *more)
{
    char *members = maker_jwk(maker);
    char *text = malloc(strlen(members) + strlen(more) + 64);
    sprintf(text, "{\"keys\":[{%s%s}]}", members, more);
    free(members);
    return text;
}

static void jwks_refused(const char *text, const char *words)
{
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", text);
    maker_refused(&options, ERR_INVALID, words);
    maker_refused(&options, ERR_INVALID, "keys.json: ");
}

static void key_refused(const struct maker *maker, const char *more, const char *words)
{
    char *text = jwks_of(maker, more);
    jwks_refused(text, words);
    free(text);
}

static void test_jwks_each(void **state)
{
    (void)state;
    static const char *const mores[] = {"", ",\"use\":\"sig\"", ",\"key_ops\":[\"verify\"]",
                                        ",\"kid\":\"k\",\"x5t\":1"};
    for (int kind = 0; kind < MAKE_KINDS; kind++) {
        const struct maker *maker = maker_of((enum maker_kind)kind);
        char alg[64];
        snprintf(alg, sizeof alg, ",\"alg\":\"%s\"", maker_names[kind]);
        for (int i = 0; i < 5; i++) {
            char *text = jwks_of(maker, i == 4 ? alg : mores[i]);
            struct token_options options = maker_options();
            options.jwks_file = maker_write("keys.json", text);
            /* "alg" goes before the setting. */
            options.rsa_algorithm = (kind == MAKE_PS256) == (i != 4) ? TOKEN_PS256 : TOKEN_RS256;
            struct tokens *tokens = maker_tokens(&options);
            char *token = maker_token(maker, i == 3 ? "k" : NULL, GOOD_CLAIMS);
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
            if (kind == MAKE_RS256 || kind == MAKE_PS256) {
                struct maker other = *maker; /* the same key with the other padding */
                other.kind = kind == MAKE_RS256 ? MAKE_PS256 : MAKE_RS256;
                char *wrong = maker_token(&other, NULL, GOOD_CLAIMS);
                assert_outcome(maker_verify(tokens, wrong, NOW_MS, NULL), TOKEN_ALGORITHM);
                free(wrong);
            }
            free(token);
            free(text);
            tokens_free(tokens);
        }
    }
}

static void test_jwks_refused(void **state)
{
    (void)state;
    jwks_refused("", "is no JWKS: byte 0");
    jwks_refused("{\"keys\":[", "is no JWKS: byte 9");
    jwks_refused("[]", "no JSON object");
    jwks_refused("{\"keys\":[],\"keys\":[]}", "a name twice");
    jwks_refused("{}", "\"keys\" must be an array");
    jwks_refused("{\"keys\":{}}", "\"keys\" must be an array");
    jwks_refused("{\"keys\":[]}", "no key");
    jwks_refused("{\"keys\":[7]}", "key 1: it is not an object");
    jwks_refused("{\"keys\":[{}]}", "key 1: \"kty\"");
    jwks_refused("{\"keys\":[{\"kty\":\"RSA\"}]}", "\"n\" and \"e\"");
    jwks_refused("{\"keys\":[{\"kty\":\"rsa\"}]}", "\"kty\" is rsa");
    jwks_refused("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\"}]}", "\"x\" and \"y\"");
    jwks_refused("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", "32 bytes");
    jwks_refused("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA=\"}]}", "base64url");
    jwks_refused("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "32 to 4096 bytes");
    /* Not on the curve: (1, 1). */
    jwks_refused("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
                 "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
                 "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}",
                 "not on the curve");
    const struct maker *rsa = maker_of(MAKE_RS256), *ec = maker_of(MAKE_ES256);
    key_refused(rsa, ",\"use\":\"enc\"", "\"use\"");
    key_refused(rsa, ",\"use\":7", "\"use\"");
    key_refused(rsa, ",\"key_ops\":[\"encrypt\"]", "\"key_ops\"");
    key_refused(rsa, ",\"kid\":7", "\"kid\"");
    key_refused(rsa, ",\"alg\":\"RS512\"", "\"alg\" is RS512");
    key_refused(rsa, ",\"alg\":\"HS256\"", "\"alg\" is HS256");
    key_refused(rsa, ",\"alg\":\"none\"", "\"alg\" is none");
    key_refused(rsa, ",\"alg\":7", "\"alg\" must");
    key_refused(ec, ",\"alg\":\"EdDSA\"", "\"alg\" is EdDSA");
    key_refused(maker_of(MAKE_EDDSA), ",\"alg\":\"ES256\"", "\"alg\" is ES256");
    key_refused(maker_of(MAKE_HS256), ",\"alg\":\"RS256\"", "\"alg\" is RS256");
    struct maker weak[] = {{.kind = MAKE_RS256, .pkey = EVP_RSA_gen(1024)},
                           {.kind = MAKE_ES256, .pkey = EVP_EC_gen("P-384")},
                           {.kind = MAKE_EDDSA, .pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED448")}};
    static const char *const words[] = {"this one has 1024", "\"crv\" is P-384",
                                        "\"crv\" is Ed448"};
    for (int i = 0; i < 3; i++) {
        key_refused(&weak[i], "", words[i]);
        EVP_PKEY_free(weak[i].pkey);
    }
}

/* With an exponent of 1 everybody's "signature" is the padded hash. */
static void test_jwks_exponent(void **state)
{
    (void)state;
    char text[2048], n[1024];
    static const char *const exponents[] = {"AQ", "AA", "Ag", "AQAAAAAAAAAB"};
    maker_number(maker_of(MAKE_RS256)->pkey, OSSL_PKEY_PARAM_RSA_N, n);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}]}", n,
                 exponents[i]);
        jwks_refused(text, "exponent");
    }
}

static void test_jwks_bounds(void **state)
{
    (void)state;
    char *members = maker_jwk(maker_of(MAKE_EDDSA));
    char *text = malloc(3 << 20), *at = text;
    at += sprintf(at, "{\"keys\":[");
    for (int i = 0; i < TOKEN_KEYS_MAX + 1; i++) {
        at += sprintf(at, "%s{%s,\"kid\":\"%d\"}", i == 0 ? "" : ",", members, i);
    }
    strcpy(at, "]}");
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", text);
    maker_refused(&options, ERR_FULL, "more than 64 keys");
    memset(text, ' ', 2 << 20);
    strcpy(text + (1 << 20), " ");
    options.jwks_file = maker_write("keys.json", text);
    maker_refused(&options, ERR_INVALID, "larger than 1 MiB");
    free(text);
    free(members);
}

/* Usable keys beside ones that are not; kids; the order of trying. */
static void test_jwks_mixed(void **state)
{
    (void)state;
    struct maker second = {.kind = MAKE_ES256, .pkey = maker_pkey(MAKE_ES256)};
    struct maker weak = {.kind = MAKE_RS256, .pkey = EVP_RSA_gen(1024)};
    char *rsa = maker_jwk(maker_of(MAKE_RS256)), *ec = maker_jwk(maker_of(MAKE_ES256));
    char *ec_second = maker_jwk(&second), *bad = maker_jwk(&weak);
    char *okp = maker_jwk(maker_of(MAKE_EDDSA));
    char *text = malloc(16384);
    snprintf(text, 16384,
             "{\"keys\":[{%s,\"kid\":\"bad\"},{\"kty\":\"new\",\"kid\":\"x\"},{%s,\"kid\":\"a\"},"
             "{%s,\"kid\":\"a\"},{%s,\"kid\":\"same\"},{%s,\"kid\":\"same\"},{%s}]}",
             bad, rsa, okp, ec, ec_second, ec);
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", text);
    options.secret = SECRET;
    struct tokens *tokens = maker_tokens(&options);
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.keys, 6);
    const struct {
        const struct maker *maker;
        const char *kid;
        enum token_outcome expected;
    } cases[] = {
        {maker_of(MAKE_RS256), "a", TOKEN_OK},
        {maker_of(MAKE_EDDSA), "a", TOKEN_OK}, /* the same kid, another type: RFC 7517, 4.5 */
        {maker_of(MAKE_ES256), "a", TOKEN_ALGORITHM},
        {maker_of(MAKE_ES256), "same", TOKEN_OK},
        {&second, "same", TOKEN_OK},
        {maker_of(MAKE_RS256), "same", TOKEN_ALGORITHM},
        {maker_of(MAKE_RS256), "A", TOKEN_UNKNOWN_KEY},
        {maker_of(MAKE_RS256), "", TOKEN_UNKNOWN_KEY},
        {maker_of(MAKE_RS256), "a ", TOKEN_UNKNOWN_KEY},
        {maker_of(MAKE_RS256), NULL, TOKEN_OK},
        {&second, NULL, TOKEN_OK},
        {&weak, "bad", TOKEN_UNKNOWN_KEY},
        {&weak, NULL, TOKEN_SIGNATURE},
        {maker_of(MAKE_HS256), NULL, TOKEN_OK},
        {maker_of(MAKE_HS256), "a", TOKEN_ALGORITHM}, /* the secret is not of the set */
        {maker_of(MAKE_HS256), "secret", TOKEN_UNKNOWN_KEY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *token = maker_token(cases[i].maker, cases[i].kid, GOOD_CLAIMS);
        enum token_outcome outcome = maker_verify(tokens, token, NOW_MS, NULL);
        if (outcome != cases[i].expected) {
            fail_msg("case %zu: %s", i, token_outcome_text(outcome));
        }
        free(token);
    }
    tokens_free(tokens);
    EVP_PKEY_free(second.pkey);
    EVP_PKEY_free(weak.pkey);
    free(rsa), free(ec), free(ec_second), free(bad), free(okp), free(text);
}

/* Without a kid at most TOKEN_KEYS_TRIED keys are tried. */
static void test_tried(void **state)
{
    (void)state;
    struct maker makers[TOKEN_KEYS_TRIED + 1];
    char *text = malloc(8192), *at = text;
    at += sprintf(at, "{\"keys\":[");
    for (int i = 0; i < TOKEN_KEYS_TRIED + 1; i++) {
        makers[i] = (struct maker){.kind = MAKE_EDDSA, .pkey = maker_pkey(MAKE_EDDSA)};
        char *members = maker_jwk(&makers[i]);
        at += sprintf(at, "%s{%s,\"kid\":\"%d\"}", i == 0 ? "" : ",", members, i);
        free(members);
    }
    strcpy(at, "]}");
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", text);
    struct tokens *tokens = maker_tokens(&options);
    for (int i = 0; i < TOKEN_KEYS_TRIED + 1; i++) {
        char kid[8];
        snprintf(kid, sizeof kid, "%d", i);
        char *with = maker_token(&makers[i], kid, GOOD_CLAIMS);
        char *without = maker_token(&makers[i], NULL, GOOD_CLAIMS);
        assert_outcome(maker_verify(tokens, with, NOW_MS, NULL), TOKEN_OK);
        assert_outcome(maker_verify(tokens, without, NOW_MS, NULL),
                       i < TOKEN_KEYS_TRIED ? TOKEN_OK : TOKEN_SIGNATURE);
        free(with);
        free(without);
        EVP_PKEY_free(makers[i].pkey);
    }
    tokens_free(tokens);
    free(text);
}

/* ---- reloading ---- */

static bool reload_changed(struct tokens *tokens, enum err expected)
{
    bool changed;
    char why[512];
    assert_int_equal(tokens_reload_changed(tokens, &changed, why, sizeof why), expected);
    return changed;
}

static void test_reload(void **state)
{
    (void)state;
    struct maker second = {.kind = MAKE_EDDSA, .pkey = maker_pkey(MAKE_EDDSA)};
    char *old_set = jwks_of(maker_of(MAKE_EDDSA), ",\"kid\":\"k\"");
    char *new_set = jwks_of(&second, ",\"kid\":\"k\""); /* as long as the old one */
    char *old_token = maker_token(maker_of(MAKE_EDDSA), "k", GOOD_CLAIMS);
    char *new_token = maker_token(&second, "k", GOOD_CLAIMS);
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", old_set);
    struct tokens *tokens = maker_tokens(&options);
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_OK);
    assert_outcome(maker_verify(tokens, new_token, NOW_MS, NULL), TOKEN_SIGNATURE);
    assert_false(reload_changed(tokens, ERR_NONE));
    maker_write("keys.json", old_set); /* the same again: the cache stays */
    assert_false(reload_changed(tokens, ERR_NONE));
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.entries, 1);

    /* Half written: the old keys stay; told once. */
    char *half = copy_of(new_set, strlen(new_set) / 2);
    maker_write("keys.json", half);
    assert_false(reload_changed(tokens, ERR_INVALID));
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_OK);
    tokens_forget(tokens);
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_OK);
    /* Whole: what was good, and is in the cache, is good no more. */
    maker_write("keys.json", new_set);
    assert_true(reload_changed(tokens, ERR_NONE));
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_SIGNATURE);
    assert_outcome(maker_verify(tokens, new_token, NOW_MS, NULL), TOKEN_OK);
    /* Same size, same inode, perhaps the same tick. */
    maker_write("keys.json", old_set);
    assert_true(reload_changed(tokens, ERR_NONE));
    assert_outcome(maker_verify(tokens, new_token, NOW_MS, NULL), TOKEN_SIGNATURE);
    /* Gone: the keys stay. */
    assert_int_equal(unlink(maker_path("keys.json")), 0);
    assert_false(reload_changed(tokens, ERR_NOT_FOUND));
    assert_false(reload_changed(tokens, ERR_NONE));
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_OK);
    char why[512];
    assert_int_equal(tokens_reload(tokens, why, sizeof why), ERR_NOT_FOUND);
    assert_non_null(strstr(why, "keys.json"));
    /* Moved into place, as it should be done. */
    assert_int_equal(rename(maker_write("keys.pem", new_set), maker_path("keys.json")), 0);
    assert_true(reload_changed(tokens, ERR_NONE));
    assert_outcome(maker_verify(tokens, new_token, NOW_MS, NULL), TOKEN_OK);
    assert_outcome(maker_verify(tokens, old_token, NOW_MS, NULL), TOKEN_SIGNATURE);
    tokens_free(tokens);
    EVP_PKEY_free(second.pkey);
    free(old_set), free(new_set), free(old_token), free(new_token), free(half);
}

/* A file that has not been written for long is not read again; its times alone tell. */
static void test_reload_old(void **state)
{
    (void)state;
    char *set = jwks_of(maker_of(MAKE_EDDSA), "");
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", set);
    const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, options.jwks_file, then, 0), 0);
    struct tokens *tokens = maker_tokens(&options);
    assert_false(reload_changed(tokens, ERR_NONE));
    maker_write("keys.json", "{}");
    assert_false(reload_changed(tokens, ERR_INVALID));
    maker_write("keys.json", set);
    assert_true(reload_changed(tokens, ERR_NONE));
    tokens_free(tokens);
    free(set);
}

/* Two files, of which one is bad: told once, and the other's change is looked at again. */
static void test_reload_both(void **state)
{
    (void)state;
    const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    char *set = jwks_of(maker_of(MAKE_EDDSA), "");
    char *pem = maker_pem(maker_of(MAKE_ES256)->pkey, false);
    char why[512];
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", set);
    options.pem_file = maker_write("keys.pem", pem);
    struct tokens *tokens = maker_tokens(&options);
    char *tokens_made[] = {maker_token(maker_of(MAKE_EDDSA), NULL, GOOD_CLAIMS),
                           maker_token(maker_of(MAKE_ES256), NULL, GOOD_CLAIMS)};
    assert_int_equal(unlink(maker_path("keys.pem")), 0);
    assert_int_equal(utimensat(AT_FDCWD, maker_path("keys.json"), then, 0), 0);
    assert_false(reload_changed(tokens, ERR_NOT_FOUND));
    assert_false(reload_changed(tokens, ERR_NONE));
    assert_int_equal(mkdir(maker_path("keys.pem"), 0700), 0);
    assert_int_equal(tokens_reload(tokens, why, sizeof why), ERR_INVALID);
    assert_non_null(strstr(why, "keys.pem: is not a regular file"));
    assert_int_equal(rmdir(maker_path("keys.pem")), 0);
    maker_write("keys.json", "{");
    maker_write("keys.pem", "");
    assert_false(reload_changed(tokens, ERR_INVALID));
    for (int i = 0; i < 2; i++) {
        tokens_forget(tokens);
        assert_outcome(maker_verify(tokens, tokens_made[i], NOW_MS, NULL), TOKEN_OK);
    }
    maker_write("keys.pem", pem);
    assert_false(reload_changed(tokens, ERR_INVALID)); /* now the other one is told of */
    maker_write("keys.json", set);
    assert_true(reload_changed(tokens, ERR_NONE));
    for (int i = 0; i < 2; i++) {
        assert_outcome(maker_verify(tokens, tokens_made[i], NOW_MS, NULL), TOKEN_OK);
        free(tokens_made[i]);
    }
    tokens_free(tokens);
    free(set);
    free(pem);
}

/* SIGHUP: read again, whatever it looks like, and the cache emptied. */
static void test_reload_always(void **state)
{
    (void)state;
    struct token_options options = maker_options();
    options.secret = SECRET;
    struct tokens *tokens = maker_tokens(&options);
    char *token = maker_token(maker_of(MAKE_HS256), NULL, GOOD_CLAIMS);
    char why[512];
    struct token_counters counters;
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    assert_int_equal(tokens_reload(tokens, why, sizeof why), ERR_NONE);
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.entries, 0);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.verified, 2);
    assert_false(reload_changed(tokens, ERR_NONE)); /* no files, nothing to change */
    free(token);
    tokens_free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem_forms),     cmocka_unit_test(test_pem_traditional),
        cmocka_unit_test(test_pem_refused),   cmocka_unit_test(test_secret),
        cmocka_unit_test(test_jwks_each),     cmocka_unit_test(test_jwks_refused),
        cmocka_unit_test(test_jwks_exponent), cmocka_unit_test(test_jwks_bounds),
        cmocka_unit_test(test_jwks_mixed),    cmocka_unit_test(test_tried),
        cmocka_unit_test(test_reload),        cmocka_unit_test(test_reload_old),
        cmocka_unit_test(test_reload_both),   cmocka_unit_test(test_reload_always),
    };
    int failed = tap_run(tests);
    maker_clean();
    return failed;
}
