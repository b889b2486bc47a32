/* test_token.c -- what a token may be and say, and what it may not. */
#include "token_maker.h"

#include <cjose/cjose.h>

static struct tokens *hs256_tokens(void)
{
    struct token_options options = maker_options();
    options.secret = SECRET;
    return maker_tokens(&options);
}

/* A token of this header and these claims, signed rightly with HS256. */
static enum token_outcome judge_both(struct slice header, struct slice claims,
                                     struct token_claims *out)
{
    struct tokens *tokens = hs256_tokens();
    char *token = maker_sign(maker_of(MAKE_HS256), header, claims);
    enum token_outcome outcome = maker_verify(tokens, token, NOW_MS, out);
    free(token);
    tokens_free(tokens);
    return outcome;
}
#define HEADER(text, expected)                                                                     \
    assert_outcome(judge_both(SLICE_LIT(text), SLICE_LIT(GOOD_CLAIMS), NULL), (expected))
#define GOOD_HEADER "{\"alg\":\"HS256\"}"
#define CLAIMS(text, expected)                                                                     \
    assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), SLICE_LIT(text), NULL), (expected))

/* ---- all algorithms ---- */

static struct tokens *pem_tokens(enum maker_kind kind)
{
    struct token_options options = maker_options();
    options.rsa_algorithm = kind == MAKE_PS256 ? TOKEN_PS256 : TOKEN_RS256;
    if (kind == MAKE_HS256) {
        options.secret = SECRET;
        return maker_tokens(&options);
    }
    char *pem = maker_pem(maker_of(kind)->pkey, false);
    options.pem_file = maker_write("keys.pem", pem);
    free(pem);
    return maker_tokens(&options);
}

static void test_each_algorithm(void **state)
{
    (void)state;
    for (int kind = 0; kind < MAKE_KINDS; kind++) {
        struct tokens *tokens = pem_tokens((enum maker_kind)kind);
        struct token_claims claims;
        char *token =
            maker_token(maker_of((enum maker_kind)kind), NULL,
                        "{\"sub\":\"v1\",\"event\":\"E\",\"groups\":[\"b\",\"a\",\"b\"]}");
        assert_outcome(maker_verify(tokens, token, NOW_MS, &claims), TOKEN_OK);
        assert_int_equal(claims.viewer_len, 2);
        assert_memory_equal(claims.viewer, "v1", 2);
        assert_int_equal(claims.event_len, 1);
        assert_memory_equal(claims.event, "E", 1);
        assert_true(claims.has_groups);
        assert_int_equal(claims.groups_len, 4);
        assert_memory_equal(claims.groups, "\1a\1b", 4);
        /* Every other algorithm, with a key of its own, is refused by this key. */
        for (int other = 0; other < MAKE_KINDS; other++) {
            char *foreign = maker_token(maker_of((enum maker_kind)other), NULL, GOOD_CLAIMS);
            assert_outcome(maker_verify(tokens, foreign, NOW_MS, NULL),
                           other == kind ? TOKEN_OK : TOKEN_ALGORITHM);
            free(foreign);
        }
        free(token);
        tokens_free(tokens);
    }
}

/* The right key of the same algorithm signs another text; each bit of the signature matters. */
static void test_signature(void **state)
{
    (void)state;
    for (int kind = 0; kind < MAKE_KINDS; kind++) {
        struct tokens *tokens = pem_tokens((enum maker_kind)kind);
        struct maker other = {.kind = (enum maker_kind)kind,
                              .secret = "another secret of 32 bytes, just"};
        other.pkey = kind == MAKE_HS256 ? NULL : maker_pkey((enum maker_kind)kind);
        char *token = maker_token(&other, NULL, GOOD_CLAIMS);
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
        free(token);
        token = maker_token(maker_of((enum maker_kind)kind), NULL, GOOD_CLAIMS);
        size_t len = strlen(token);
        char *signature = strrchr(token, '.') + 1;
        for (char *at = signature; at < token + len - 1; at += 7) {
            char kept = *at;
            *at = kept == 'A' ? 'B' : 'A';
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
            *at = kept;
        }
        /* One bit of the claims: {"sub":"v1" becomes another viewer. */
        char *claims = strchr(token, '.') + 1;
        claims[12] = claims[12] == 'x' ? 'y' : 'x';
        enum token_outcome outcome = maker_verify(tokens, token, NOW_MS, NULL);
        assert_outcome(outcome, TOKEN_SIGNATURE);
        EVP_PKEY_free(other.pkey);
        free(token);
        tokens_free(tokens);
    }
}

static void test_signature_shapes(void **state)
{
    (void)state;
    /* No signature, a short one, one too long, for each algorithm. */
    for (int kind = 0; kind < MAKE_KINDS; kind++) {
        struct tokens *tokens = pem_tokens((enum maker_kind)kind);
        char *token = maker_token(maker_of((enum maker_kind)kind), NULL, GOOD_CLAIMS);
        char longer[2048];
        snprintf(longer, sizeof longer, "%sAAAA", token);
        enum token_outcome outcome = maker_verify(tokens, longer, NOW_MS, NULL);
        assert_true(outcome == TOKEN_SIGNATURE || outcome == TOKEN_MALFORMED);
        char *signature = strrchr(token, '.') + 1;
        signature[8] = '\0';
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
        signature[0] = '\0';
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
        free(token);
        tokens_free(tokens);
    }
    /* ES256 in DER, which cjose would cut in two halves. */
    struct tokens *tokens = pem_tokens(MAKE_ES256);
    struct maker maker = *maker_of(MAKE_ES256);
    maker.der = true;
    char *token = maker_token(&maker, NULL, GOOD_CLAIMS);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
    free(token);
    /* r and s with leading zeros: cjose takes that for the same signature. */
    char longer[2048];
    unsigned char raw[64], wide[72] = {0};
    token = maker_token(maker_of(MAKE_ES256), NULL, GOOD_CLAIMS);
    char *at = strrchr(token, '.') + 1;
    assert_int_equal(sodium_base642bin(raw, sizeof raw, at, strlen(at), NULL, NULL, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    memcpy(wide + 4, raw, 32);
    memcpy(wide + 40, raw + 32, 32);
    memcpy(longer, token, (size_t)(at - token));
    maker_encode(wide, sizeof wide, longer + (at - token));
    assert_outcome(maker_verify(tokens, longer, NOW_MS, NULL), TOKEN_SIGNATURE);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    free(token);
    /* r = s = 0 (CVE-2022-21449 of another library). */
    char zeros[256], *text = maker_token(&maker, NULL, GOOD_CLAIMS);
    unsigned char nothing[64] = {0};
    size_t len = (size_t)(strrchr(text, '.') + 1 - text);
    memcpy(zeros, text, len);
    maker_encode(nothing, sizeof nothing, zeros + len);
    assert_outcome(maker_verify(tokens, zeros, NOW_MS, NULL), TOKEN_SIGNATURE);
    free(text);
    tokens_free(tokens);
    /* PS256 with a salt that is not as long as the hash: RFC 7518, 3.5. */
    tokens = pem_tokens(MAKE_PS256);
    maker = *maker_of(MAKE_PS256);
    maker.salt = 20;
    token = maker_token(&maker, NULL, GOOD_CLAIMS);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
    free(token);
    tokens_free(tokens);
}

/* HS256 with the public key's PEM as the secret: RFC 8725, 2.1. */
static void test_confusion(void **state)
{
    (void)state;
    for (int kind = MAKE_RS256; kind < MAKE_KINDS; kind++) {
        struct tokens *tokens = pem_tokens((enum maker_kind)kind);
        char *pem = maker_pem(maker_of((enum maker_kind)kind)->pkey, false);
        struct maker forger = {.kind = MAKE_HS256, .secret = pem};
        char *token = maker_token(&forger, NULL, GOOD_CLAIMS);
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_ALGORITHM);
        free(token);
        /* And under the name of the key's algorithm. */
        char header[64];
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", maker_names[kind]);
        token = maker_sign(&forger, slice_str(header), slice_str(GOOD_CLAIMS));
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_SIGNATURE);
        free(token);
        free(pem);
        tokens_free(tokens);
    }
}

static char *cjose_token(cjose_jwk_t *key, const char *algorithm)
{
    cjose_err err;
    const char *text;
    cjose_header_t *header = cjose_header_new(&err);
    assert_true(cjose_header_set(header, CJOSE_HDR_ALG, algorithm, &err));
    cjose_jws_t *jws =
        cjose_jws_sign(key, header, (const uint8_t *)GOOD_CLAIMS, strlen(GOOD_CLAIMS), &err);
    assert_non_null(jws);
    assert_true(cjose_jws_export(jws, &text, &err));
    char *token = strdup(text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    return token;
}

/* Tokens and key files that another library wrote. */
static void test_cjose_made(void **state)
{
    (void)state;
    cjose_err err;
    cjose_jwk_t *keys[] = {cjose_jwk_create_oct_random(256, &err),
                           cjose_jwk_create_RSA_random(2048, (const uint8_t *)"\1\0\1", 3, &err),
                           cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &err)};
    char *texts[3];
    for (int i = 0; i < 3; i++) {
        assert_non_null(keys[i]);
        texts[i] = cjose_jwk_to_json(keys[i], true, &err); /* private parts and all */
    }
    char *jwks = malloc(16384);
    snprintf(jwks, 16384, "{\"keys\":[%s,%s,%s]}", texts[0], texts[1], texts[2]);
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", jwks);
    for (int rsa = 0; rsa < 2; rsa++) {
        options.rsa_algorithm = rsa == 0 ? TOKEN_RS256 : TOKEN_PS256;
        struct tokens *tokens = maker_tokens(&options);
        const char *const algorithms[] = {"HS256", rsa == 0 ? "RS256" : "PS256", "ES256"};
        for (int i = 0; i < 3; i++) {
            char *token = cjose_token(keys[i], algorithms[i]);
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
            free(token);
        }
        char *token = cjose_token(keys[1], rsa == 0 ? "PS256" : "RS256");
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_ALGORITHM);
        free(token);
        tokens_free(tokens);
    }
    for (int i = 0; i < 3; i++) {
        free(texts[i]);
        cjose_jwk_release(keys[i]);
    }
    free(jwks);
}

/* ---- the text ---- */

static void test_header(void **state)
{
    (void)state;
    HEADER("{\"alg\":\"HS256\"}", TOKEN_OK);
    HEADER("{\"alg\":\"HS256\",\"x\":9223372036854775807}", TOKEN_OK);
    HEADER("{\"alg\":\"HS256\",\"x\":9223372036854775808}", TOKEN_MALFORMED); /* cjose's limit */
    HEADER(" {\"typ\":\"jwt\" , \"alg\":\"HS256\"}\n", TOKEN_OK);
    HEADER("{\"alg\":\"HS256\",\"typ\":\"application/at+jwt\"}", TOKEN_OK);
    HEADER("{\"alg\":\"HS256\",\"kid\":\"whatever\"}", TOKEN_OK); /* no JWKS, no kids */
    HEADER("{\"alg\":\"HS256\",\"cty\":\"json\",\"x\":[1,{}]}", TOKEN_OK);
    HEADER("{\"alg\":\"HS256\",\"jku\":\"https://evil\",\"jwk\":{\"kty\":\"oct\"}}", TOKEN_OK);

    HEADER("{\"alg\":\"none\"}", TOKEN_ALGORITHM);
    HEADER("{\"alg\":\"None\"}", TOKEN_ALGORITHM);
    HEADER("{\"alg\":\"hs256\"}", TOKEN_ALGORITHM);
    HEADER("{\"alg\":\"HS512\"}", TOKEN_ALGORITHM);
    HEADER("{\"alg\":\"\"}", TOKEN_ALGORITHM);
    HEADER("{\"alg\":\"HS256 \"}", TOKEN_ALGORITHM);
    HEADER("{}", TOKEN_MALFORMED);
    HEADER("{\"alg\":null}", TOKEN_MALFORMED);
    HEADER("{\"alg\":[\"HS256\"]}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"none\",\"alg\":\"HS256\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"\\u0061lg\":\"HS256\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"x\":{\"a\":1,\"a\":2}}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\\u0000\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"a\\u0000\":1}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"crit\":[]}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"crit\":[\"alg\"]}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"b64\":true}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"enc\":\"A128GCM\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"zip\":\"DEF\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"cty\":\"JWT\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"cty\":\"application/jwt\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"cty\":1}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"typ\":\"logout+jwt\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"typ\":7}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"kid\":7}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"kid\":null}", TOKEN_MALFORMED);
    HEADER("[\"alg\",\"HS256\"]", TOKEN_MALFORMED);
    HEADER("\"HS256\"", TOKEN_MALFORMED);
    HEADER("", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\"", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\"}x", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\"}\0", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\"}{}", TOKEN_MALFORMED);
    HEADER("\xef\xbb\xbf{\"alg\":\"HS256\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",\"x\":\"\xff\"}", TOKEN_MALFORMED);
    HEADER("{\"alg\":\"HS256\",}", TOKEN_MALFORMED);
    HEADER("{'alg':'HS256'}", TOKEN_MALFORMED);
}

static void test_depth(void **state)
{
    (void)state;
    char claims[4096] = "{\"sub\":\"v1\",\"x\":";
    memset(claims + strlen(claims), '[', 2000);
    strcat(claims, "1");
    size_t len = strlen(claims);
    memset(claims + len, ']', 2000);
    strcpy(claims + len + 2000, "}");
    assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), slice_str(claims), NULL), TOKEN_MALFORMED);
}

/* Each token is signed over the text as it is: only its form is wrong. */
static void test_base64url(void **state)
{
    (void)state;
    static const struct {
        const char *first_two;
        enum token_outcome expected;
    } cases[] = {
        /* {"alg":"HS256"} is 15 bytes: 20 digits; {"sub":"v"} 11 bytes: 15 digits and two bits */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In0", TOKEN_OK},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In0=", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9=.eyJzdWIiOiJ2In0", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In1", TOKEN_MALFORMED}, /* stray bits */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In2", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In0A A", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2I", TOKEN_MALFORMED}, /* one digit is left */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi\nOiJ2In0", TOKEN_MALFORMED},
        {" eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In0", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDv38ifQ", TOKEN_CLAIMS},     /* DEL: valid, no id */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDvz8ifQ", TOKEN_OK},         /* "ÿ?" */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDvz4_In0", TOKEN_OK},        /* with _ */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDvz4/In0", TOKEN_MALFORMED}, /* with / */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDvj4-In0", TOKEN_OK},        /* with - */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDvj4+In0", TOKEN_MALFORMED}, /* with + */
        {"eyJhbGciOiJIUzI1NiJ9.", TOKEN_MALFORMED},
        {".eyJzdWIiOiJ2In0", TOKEN_MALFORMED},
        {".", TOKEN_MALFORMED},
        {"eyJhbGciOiJIUzI1NiJ9", TOKEN_MALFORMED},                       /* two parts */
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ2In0.", TOKEN_MALFORMED},      /* four */
        {"eyJhbGciOiJIUzI1NiJ9.AA.AA.eyJzdWIiOiJ2In0", TOKEN_MALFORMED}, /* five, as a JWE */
    };
    struct tokens *tokens = hs256_tokens();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *token = maker_sign_text(maker_of(MAKE_HS256), cases[i].first_two);
        enum token_outcome outcome = maker_verify(tokens, token, NOW_MS, NULL);
        if (outcome != cases[i].expected) {
            fail_msg("%s: %s", token, token_outcome_text(outcome));
        }
        free(token);
    }
    /* The signature's own text: 32 bytes end in a digit with two bits too many. */
    char *token = maker_sign_text(maker_of(MAKE_HS256), cases[0].first_two);
    size_t len = strlen(token);
    char kept = token[len - 1];
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t value = (size_t)(strchr(digits, kept) - digits);
    for (size_t stray = 1; stray < 4; stray++) {
        token[len - 1] = digits[value + stray];
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_MALFORMED);
    }
    token[len - 1] = kept;
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    /* One digit too many: six bits are no byte (and nothing behind the end is read). */
    char longer[512];
    snprintf(longer, sizeof longer, "%sAA", token);
    assert_outcome(maker_verify(tokens, longer, NOW_MS, NULL), TOKEN_MALFORMED);
    /* Cut at every byte, and a NUL at every byte. */
    tokens_forget(tokens);
    struct token_claims claims;
    for (size_t cut = 0; cut < len; cut++) {
        assert_true(tokens_verify(tokens, slice_of(token, cut), NOW_MS, &claims) != TOKEN_OK);
        char byte = token[cut];
        token[cut] = '\0';
        assert_outcome(tokens_verify(tokens, slice_of(token, len), NOW_MS, &claims),
                       TOKEN_MALFORMED);
        token[cut] = byte;
    }
    free(token);
    assert_outcome(tokens_verify(tokens, SLICE_EMPTY, NOW_MS, &claims), TOKEN_MALFORMED);
    tokens_free(tokens);
}

static void test_size(void **state)
{
    (void)state;
    struct token_options options = maker_options();
    options.secret = SECRET;
    char *token = maker_token(maker_of(MAKE_HS256), NULL, GOOD_CLAIMS);
    options.bytes_max = (uint32_t)strlen(token);
    struct tokens *tokens = maker_tokens(&options);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    tokens_free(tokens);
    options.bytes_max--;
    tokens = maker_tokens(&options);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_TOO_LARGE);
    char *huge = malloc(10 << 20);
    memset(huge, 'A', 10 << 20);
    struct token_claims claims;
    assert_outcome(tokens_verify(tokens, slice_of(huge, 10 << 20), NOW_MS, &claims),
                   TOKEN_TOO_LARGE);
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    assert_int_equal(counters.refused, 2);
    assert_int_equal(counters.entries, 0);
    free(huge);
    free(token);
    tokens_free(tokens);
}

/* A token as the payload of a token. */
static void test_nested(void **state)
{
    (void)state;
    char *inner = maker_token(maker_of(MAKE_HS256), NULL, GOOD_CLAIMS);
    assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), slice_str(inner), NULL), TOKEN_MALFORMED);
    assert_outcome(
        judge_both(SLICE_LIT("{\"alg\":\"HS256\",\"cty\":\"JWT\"}"), slice_str(inner), NULL),
        TOKEN_MALFORMED);
    free(inner);
}

/* ---- the claims ---- */

static void test_claims_object(void **state)
{
    (void)state;
    CLAIMS("{\"sub\":\"v\"}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"x\":[1,{\"sub\":2}],\"big\":123456789012345678901234567890,"
           "\"f\":1e300,\"n\":null}",
           TOKEN_OK);
    CLAIMS("", TOKEN_MALFORMED);
    CLAIMS("[]", TOKEN_MALFORMED);
    CLAIMS("\"v\"", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\"", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\"} x", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\"}\0", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"sub\":\"v\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"s\\u0075b\":\"w\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"exp\":1,\"exp\":9999999999}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"exp\":NaN}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"exp\":01800003600}", TOKEN_MALFORMED);
}

static void test_viewer(void **state)
{
    (void)state;
    char claims[512], id[256];
    CLAIMS("{}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":7}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":null}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":[\"v\"]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"a\\nb\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"a\\u007f\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"a\\u0085\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"a\\u0000b\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"a\nb\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"\xc3(\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"\xed\xa0\x80\"}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"\\ud800\"}", TOKEN_MALFORMED);
    memset(id, 'x', sizeof id);
    struct token_claims out;
    snprintf(claims, sizeof claims, "{\"sub\":\"%.*s\"}", VIEWER_ID_BYTES_MAX, id);
    assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), slice_str(claims), &out), TOKEN_OK);
    assert_int_equal(out.viewer_len, VIEWER_ID_BYTES_MAX);
    snprintf(claims, sizeof claims, "{\"sub\":\"%.*s\"}", VIEWER_ID_BYTES_MAX + 1, id);
    assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), slice_str(claims), &out), TOKEN_CLAIMS);
    /* Escapes are undone: a smile. */
    assert_outcome(
        judge_both(SLICE_LIT(GOOD_HEADER), SLICE_LIT("{\"sub\":\"\\ud83d\\ude00\"}"), &out),
        TOKEN_OK);
    assert_int_equal(out.viewer_len, 4);
    assert_memory_equal(out.viewer, "\xf0\x9f\x98\x80", 4);
    assert_int_equal(out.event_len, 0);
    assert_false(out.has_groups);
    assert_int_equal(out.groups_len, 0);
}

static void test_event(void **state)
{
    (void)state;
    CLAIMS("{\"sub\":\"v\",\"event\":\"summit-2026\"}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"event\":\"\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":null}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":1}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":[\"E\"]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":\"a/b\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":\"a b\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":\"é\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"event\":"
           "\"0123456789012345678901234567890123456789012345678901234567890123\"}",
           TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"event\":"
           "\"01234567890123456789012345678901234567890123456789012345678901234\"}",
           TOKEN_CLAIMS);
}

static char *groups_claims(int count, int different)
{
    char *text = malloc(16384), *at = text;
    at += sprintf(at, "{\"sub\":\"v\",\"groups\":[");
    for (int i = 0; i < count; i++) {
        at += sprintf(at, "%s\"group-%d\"", i == 0 ? "" : ",", i % different);
    }
    strcpy(at, "]}");
    return text;
}

static void test_groups(void **state)
{
    (void)state;
    static const struct {
        int count, different;
        enum token_outcome expected;
    } cases[] = {{0, 1, TOKEN_OK},
                 {32, 32, TOKEN_OK},
                 {33, 33, TOKEN_CLAIMS},
                 {128, 32, TOKEN_OK},
                 {129, 1, TOKEN_CLAIMS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct token_claims out;
        char *text = groups_claims(cases[i].count, cases[i].different);
        assert_outcome(judge_both(SLICE_LIT(GOOD_HEADER), slice_str(text), &out),
                       cases[i].expected);
        assert_true(out.has_groups || cases[i].expected != TOKEN_OK);
        free(text);
    }
    CLAIMS("{\"sub\":\"v\",\"groups\":\"a\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":null}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":{}}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":[1]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":[\"\"]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":[[\"a\"]]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":[\"a\\tb\"]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"groups\":"
           "[\"01234567890123456789012345678901234567890123456789012345678901234\"]}",
           TOKEN_CLAIMS);
}

static void test_times(void **state)
{
    (void)state;
    /* Leeway: 60 s.  Now: 1800000000. */
    CLAIMS("{\"sub\":\"v\",\"exp\":1799999941}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"exp\":1799999940}", TOKEN_EXPIRED);
    CLAIMS("{\"sub\":\"v\",\"exp\":1799999940.001}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"exp\":1.8e9}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"exp\":-1}", TOKEN_EXPIRED);
    CLAIMS("{\"sub\":\"v\",\"exp\":-1e300}", TOKEN_EXPIRED);
    CLAIMS("{\"sub\":\"v\",\"exp\":0}", TOKEN_EXPIRED);
    CLAIMS("{\"sub\":\"v\",\"exp\":1e300}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"exp\":99999999999999999999999999}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"exp\":1e999}", TOKEN_MALFORMED);
    CLAIMS("{\"sub\":\"v\",\"exp\":\"1800003600\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"exp\":null}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"exp\":true}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"exp\":[1800003600]}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"nbf\":1800000060}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"nbf\":1800000061}", TOKEN_NOT_YET);
    CLAIMS("{\"sub\":\"v\",\"nbf\":1e300}", TOKEN_NOT_YET);
    CLAIMS("{\"sub\":\"v\",\"nbf\":-5}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"nbf\":\"0\"}", TOKEN_CLAIMS);
    CLAIMS("{\"sub\":\"v\",\"iat\":1800000060}", TOKEN_OK);
    CLAIMS("{\"sub\":\"v\",\"iat\":1800000061}", TOKEN_NOT_YET);
    CLAIMS("{\"sub\":\"v\",\"iat\":\"now\"}", TOKEN_CLAIMS);
}

static enum token_outcome judge_with(const char *issuer, const char *audience, const char *claims)
{
    struct token_options options = maker_options();
    options.secret = SECRET;
    options.issuer = issuer;
    options.audience = audience;
    struct tokens *tokens = maker_tokens(&options);
    char *token = maker_token(maker_of(MAKE_HS256), NULL, claims);
    enum token_outcome outcome = maker_verify(tokens, token, NOW_MS, NULL);
    free(token);
    tokens_free(tokens);
    return outcome;
}

static void test_issuer_audience(void **state)
{
    (void)state;
    assert_outcome(judge_with("me", "", "{\"sub\":\"v\",\"iss\":\"me\"}"), TOKEN_OK);
    assert_outcome(judge_with("me", "", "{\"sub\":\"v\",\"iss\":\"you\"}"), TOKEN_ISSUER);
    assert_outcome(judge_with("me", "", "{\"sub\":\"v\",\"iss\":\"me2\"}"), TOKEN_ISSUER);
    assert_outcome(judge_with("me", "", "{\"sub\":\"v\",\"iss\":[\"me\"]}"), TOKEN_ISSUER);
    assert_outcome(judge_with("me", "", "{\"sub\":\"v\"}"), TOKEN_ISSUER);
    assert_outcome(judge_with("", NULL, "{\"sub\":\"v\",\"iss\":1,\"aud\":1}"), TOKEN_OK);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":\"a\"}"), TOKEN_OK);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":[\"b\",\"a\"]}"), TOKEN_OK);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":[\"b\"]}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":[\"a\",1]}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":[]}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":\"ab\"}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\",\"aud\":{\"a\":1}}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with(NULL, "a", "{\"sub\":\"v\"}"), TOKEN_AUDIENCE);
    assert_outcome(judge_with("i", "a", "{\"sub\":\"v\",\"iss\":\"i\",\"aud\":\"a\"}"), TOKEN_OK);
}

static void test_claim_names(void **state)
{
    (void)state;
    struct token_options options = maker_options();
    struct token_claims out;
    options.secret = SECRET;
    options.viewer_claim = "https://platform.example/user";
    options.event_claim = "evt";
    options.groups_claim = "roles";
    struct tokens *tokens = maker_tokens(&options);
    char *token = maker_token(maker_of(MAKE_HS256), NULL,
                              "{\"sub\":1,\"event\":2,\"groups\":3,\"evt\":\"E\",\"roles\":[],"
                              "\"https://platform.example/user\":\"u\"}");
    assert_outcome(maker_verify(tokens, token, NOW_MS, &out), TOKEN_OK);
    assert_int_equal(out.viewer_len, 1);
    assert_int_equal(out.event_len, 1);
    assert_true(out.has_groups);
    free(token);
    tokens_free(tokens);
}

/* ---- our own ---- */

static void test_sign(void **state)
{
    (void)state;
    struct tokens *tokens = hs256_tokens();
    struct token_claims out;
    char *token = token_sign(SLICE_LIT(SECRET), SLICE_LIT("v \"1\" é"), SLICE_LIT("E"),
                             SLICE_LIT("\1a\1b"), NOW_S, NOW_S + 10);
    assert_non_null(token);
    assert_outcome(maker_verify(tokens, token, NOW_MS, &out), TOKEN_OK);
    assert_int_equal(out.viewer_len, 8);
    assert_memory_equal(out.viewer, "v \"1\" é", 8);
    assert_int_equal(out.groups_len, 4);
    assert_memory_equal(out.groups, "\1a\1b", 4);
    assert_outcome(maker_verify(tokens, token, NOW_MS + 70000, &out), TOKEN_EXPIRED);
    free(token);
    token =
        token_sign(SLICE_LIT(SECRET), SLICE_LIT("v"), SLICE_EMPTY, SLICE_EMPTY, NOW_S, NOW_S + 10);
    assert_outcome(maker_verify(tokens, token, NOW_MS, &out), TOKEN_OK);
    assert_int_equal(out.event_len, 0);
    assert_false(out.has_groups);
    free(token);
    assert_null(token_sign(SLICE_LIT("short"), SLICE_LIT("v"), SLICE_EMPTY, SLICE_EMPTY, 0, 1));
    assert_null(token_sign(SLICE_LIT(SECRET), SLICE_LIT("\xff"), SLICE_EMPTY, SLICE_EMPTY, 0, 1));
    tokens_free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_algorithm),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_signature_shapes),
        cmocka_unit_test(test_confusion),
        cmocka_unit_test(test_cjose_made),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_claims_object),
        cmocka_unit_test(test_viewer),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_issuer_audience),
        cmocka_unit_test(test_claim_names),
        cmocka_unit_test(test_sign),
    };
    int failed = tap_run(tests);
    maker_clean();
    return failed;
}
