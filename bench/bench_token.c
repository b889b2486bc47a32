/* bench_token.c -- what a known token costs, and what a new one costs per algorithm.
 *
 * Prints the median of 11 rounds, in ns per token, of one thread's CPU time.  Known tokens: 65,536
 * different ones of about 400 bytes, asked for in a random order, so that the cache's entries do
 * not lie in the processor's caches.  Run it on a quiet machine. */
#include "identity/token.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "identity/token_cache.h"

#define ROUNDS 11
#define TOKENS 65536
#define NOW_S  1800000000
#define NOW_MS (NOW_S * INT64_C(1000))

#define SECRET "0123456789abcdef0123456789abcdef"

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void report(const char *name, double rounds[ROUNDS])
{
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    printf("%-44s %9.1f ns  (best %.1f)\n", name, rounds[ROUNDS / 2], rounds[0]);
}

static struct tokens *make(const char *pem_file, enum token_rsa rsa, uint32_t cache_max)
{
    const struct token_options options = {.secret = pem_file == NULL ? SECRET : NULL,
                                          .pem_file = pem_file,
                                          .rsa_algorithm = rsa,
                                          .viewer_claim = "sub",
                                          .event_claim = "event",
                                          .groups_claim = "groups",
                                          .leeway_ms = 60000,
                                          .bytes_max = 8192,
                                          .cache_max = cache_max};
    struct tokens *tokens;
    char why[256];
    if (tokens_new(&options, &tokens, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return tokens;
}

/* ---- known tokens ---- */

static char *texts[TOKENS];
static struct slice order[TOKENS];

static void make_texts(void)
{
    uint64_t seed = 1;
    for (uint32_t i = 0; i < TOKENS; i++) {
        char viewer[64], groups[256];
        size_t len = 0;
        snprintf(viewer, sizeof viewer, "3f2b8c1e-7a4d-4e9b-9c55-%012x", i);
        for (int group = 0; group < 3; group++) {
            int text_len = sprintf(groups + len + 1, "audience-group-%d-of-the-summit-2026", group);
            groups[len] = (char)text_len;
            len += (size_t)text_len + 1;
        }
        texts[i] = token_sign(SLICE_LIT(SECRET), slice_str(viewer), SLICE_LIT("summit-2026"),
                              slice_of(groups, len), NOW_S, NOW_S + 3600);
        order[i] = slice_str(texts[i]);
    }
    for (uint32_t i = TOKENS - 1; i > 0; i--) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint32_t other = (uint32_t)(seed >> 33) % (i + 1);
        struct slice kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

enum step { COPY, COPY_HASH, COPY_VERIFY };

/* One round over all tokens, in ns per token.  Each is copied first, as recv() does: a server has
 * the bytes of a token that it judges at hand. */
static double round_of(enum step step, struct tokens *tokens, const struct token_cache *cache)
{
    static struct token_claims claims;
    static char buffer[1024];
    struct token_cache_key key;
    double start = now_ns();
    for (int i = 0; i < TOKENS; i++) {
        memcpy(buffer, order[i].ptr, order[i].len);
        __asm__ volatile("" : : "r"(buffer) : "memory");
        struct slice token = slice_of(buffer, order[i].len);
        if (step == COPY_HASH) {
            token_cache_key(cache, token, &key);
            __asm__ volatile("" : : "r"(&key) : "memory");
        } else if (step == COPY_VERIFY) {
            ASSERT(tokens_verify(tokens, token, NOW_MS, &claims) == TOKEN_OK);
        }
    }
    return (now_ns() - start) / TOKENS;
}

static void measure_known(void)
{
    struct tokens *tokens = make(NULL, TOKEN_RS256, 2 * TOKENS);
    struct token_cache *cache = token_cache_new(1);
    double hash[ROUNDS], hit[ROUNDS];
    (void)round_of(COPY_VERIFY, tokens, cache);
    for (int round = 0; round < ROUNDS; round++) {
        double copy = round_of(COPY, tokens, cache);
        hash[round] = round_of(COPY_HASH, tokens, cache) - copy;
        hit[round] = round_of(COPY_VERIFY, tokens, cache) - copy;
    }
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    ASSERT(counters.cached == (uint64_t)ROUNDS * TOKENS && counters.verified == TOKENS);
    char name[64];
    snprintf(name, sizeof name, "known, %d tokens of %zu bytes", TOKENS, order[0].len);
    report(name, hit);
    report("  of it the hash", hash);
    token_cache_free(cache);
    tokens_free(tokens);
}

/* ---- new tokens ---- */

static size_t encode(const void *bytes, size_t len, char *out)
{
    sodium_bin2base64(out, len * 2 + 8, bytes, len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(out);
}

/* The token's bytes are those of the first HS256 one; only header and signature differ. */
static char *sign(const char *algorithm, EVP_PKEY *pkey, bool pss)
{
    static char token[4096];
    unsigned char signature[1024];
    size_t signature_len = sizeof signature;
    char header[64];
    int header_len = sprintf(header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algorithm);
    size_t len = encode(header, (size_t)header_len, token);
    const char *claims = strchr(texts[0], '.');
    size_t claims_len = (size_t)(strchr(claims + 1, '.') - claims);
    memcpy(token + len, claims, claims_len);
    len += claims_len;
    bool ed25519 = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *about;
    ASSERT(EVP_DigestSignInit(context, &about, ed25519 ? NULL : EVP_sha256(), NULL, pkey) == 1);
    if (pss) {
        ASSERT(EVP_PKEY_CTX_set_rsa_padding(about, RSA_PKCS1_PSS_PADDING) == 1);
        ASSERT(EVP_PKEY_CTX_set_rsa_pss_saltlen(about, RSA_PSS_SALTLEN_DIGEST) == 1);
    }
    ASSERT(EVP_DigestSign(context, signature, &signature_len, (unsigned char *)token, len) == 1);
    EVP_MD_CTX_free(context);
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC) { /* DER to r and s */
        const unsigned char *at = signature;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)signature_len);
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + 32, 32);
        signature_len = 64;
        ECDSA_SIG_free(pair);
    }
    token[len++] = '.';
    encode(signature, signature_len, token + len);
    return token;
}

static void measure_new(const char *algorithm, struct tokens *tokens, const char *token, int count)
{
    static struct token_claims claims;
    double rounds[ROUNDS];
    char name[64];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int i = 0; i < count; i++) {
            ASSERT(tokens_verify(tokens, slice_str(token), NOW_MS, &claims) == TOKEN_OK);
        }
        rounds[round] = (now_ns() - start) / count;
    }
    snprintf(name, sizeof name, "new, %s, %zu bytes", algorithm, strlen(token));
    report(name, rounds);
    tokens_free(tokens);
}

static void measure_key(const char *algorithm, EVP_PKEY *pkey, enum token_rsa rsa)
{
    char path[] = "/tmp/bench_token_XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    ASSERT(out != NULL && PEM_write_PUBKEY(out, pkey) == 1 && fclose(out) == 0);
    struct tokens *tokens = make(path, rsa, 0);
    unlink(path);
    measure_new(algorithm, tokens, sign(algorithm, pkey, rsa == TOKEN_PS256), 500);
    EVP_PKEY_free(pkey);
}

int main(void)
{
    make_texts();
    measure_known();
    measure_new("HS256", make(NULL, TOKEN_RS256, 0), texts[0], 5000);
    measure_key("RS256", EVP_RSA_gen(2048), TOKEN_RS256);
    measure_key("PS256", EVP_RSA_gen(2048), TOKEN_PS256);
    measure_key("ES256", EVP_EC_gen("P-256"), TOKEN_RS256);
    measure_key("EdDSA", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), TOKEN_RS256);
    for (int i = 0; i < TOKENS; i++) {
        free(texts[i]);
    }
    return 0;
}
