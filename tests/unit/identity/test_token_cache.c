/* test_token_cache.c -- verified tokens: how long they are known, how many, and who forgets them.
 */
#include "token_maker.h"

#include "base/memory.h"
#include "identity/token_cache.h"

#include <pthread.h>
#include <stdatomic.h>

static struct tokens *tokens_of(uint32_t cache_max)
{
    struct token_options options = maker_options();
    options.secret = SECRET;
    options.cache_max = cache_max;
    return maker_tokens(&options);
}

static char *token_of(unsigned number, int64_t exp_s)
{
    char viewer[32];
    snprintf(viewer, sizeof viewer, "viewer-%u", number);
    return token_sign(SLICE_LIT(SECRET), slice_str(viewer), SLICE_LIT("E"), SLICE_LIT("\1a\1b"),
                      NOW_S, exp_s);
}

static struct token_counters counters_of(struct tokens *tokens)
{
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    return counters;
}

static void test_hits(void **state)
{
    (void)state;
    struct tokens *tokens = tokens_of(100);
    char *token = token_of(7, NOW_S + 100);
    for (int i = 0; i < 10; i++) {
        struct token_claims claims;
        memset(&claims, 0xee, sizeof claims);
        assert_outcome(maker_verify(tokens, token, NOW_MS, &claims), TOKEN_OK);
        assert_int_equal(claims.viewer_len, 8);
        assert_memory_equal(claims.viewer, "viewer-7", 8);
        assert_int_equal((unsigned char)claims.viewer[8], 0xee); /* only what is used is written */
        assert_int_equal(claims.event_len, 1);
        assert_memory_equal(claims.event, "E", 1);
        assert_true(claims.has_groups);
        assert_int_equal(claims.groups_len, 4);
        assert_memory_equal(claims.groups, "\1a\1b", 4);
    }
    struct token_counters counters = counters_of(tokens);
    assert_int_equal(counters.verified, 1);
    assert_int_equal(counters.cached, 9);
    assert_int_equal(counters.entries, 1);
    assert_int_equal(counters.refused, 0);
    assert_int_equal(counters.keys, 1);
    /* One byte of difference is another token. */
    token[strlen(token) - 5] ^= 1;
    assert_true(maker_verify(tokens, token, NOW_MS, NULL) != TOKEN_OK);
    counters = counters_of(tokens);
    assert_int_equal(counters.refused, 1);
    assert_int_equal(counters.entries, 1);
    free(token);
    tokens_free(tokens);
}

/* Known or not, it ends at the same ms. */
static void test_expiry(void **state)
{
    (void)state;
    struct tokens *tokens = tokens_of(100);
    char *token = token_of(1, NOW_S + 100);
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    assert_outcome(maker_verify(tokens, token, NOW_MS + 159999, NULL), TOKEN_OK);
    assert_int_equal(counters_of(tokens).cached, 1);
    assert_outcome(maker_verify(tokens, token, NOW_MS + 160000, NULL), TOKEN_EXPIRED);
    assert_int_equal(counters_of(tokens).entries, 0);
    free(token);

    token = maker_token(maker_of(MAKE_HS256), NULL, "{\"sub\":\"v\"}"); /* no exp */
    assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
    assert_outcome(maker_verify(tokens, token, NOW_MS + TOKEN_CACHE_MS - 1, NULL), TOKEN_OK);
    assert_int_equal(counters_of(tokens).verified, 2);
    assert_outcome(maker_verify(tokens, token, NOW_MS + TOKEN_CACHE_MS, NULL), TOKEN_OK);
    assert_int_equal(counters_of(tokens).verified, 3); /* looked at anew */
    assert_int_equal(counters_of(tokens).entries, 1);
    free(token);
    tokens_free(tokens);
}

static void test_bound(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 10, 500};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct tokens *tokens = tokens_of(sizes[i]);
        for (unsigned number = 0; number < 2000; number++) {
            char *token = token_of(number, NOW_S + 100);
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
            assert_true(counters_of(tokens).entries <= sizes[i]);
            free(token);
        }
        assert_int_equal(counters_of(tokens).entries, sizes[i]);
        tokens_free(tokens);
    }
}

/* As many as the bound: all stay, however unevenly they spread over the shards. */
static void test_all_fit(void **state)
{
    (void)state;
    struct tokens *tokens = tokens_of(1000);
    for (int round = 0; round < 2; round++) {
        for (unsigned number = 0; number < 1000; number++) {
            char *token = token_of(number, NOW_S + 100);
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
            free(token);
        }
    }
    assert_int_equal(counters_of(tokens).verified, 1000);
    assert_int_equal(counters_of(tokens).cached, 1000);
    tokens_free(tokens);
}

static void test_forget(void **state)
{
    (void)state;
    struct tokens *tokens = tokens_of(1000);
    for (int round = 1; round <= 3; round++) {
        for (unsigned number = 0; number < 200; number++) {
            char *token = token_of(number, NOW_S + 100);
            assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
            free(token);
        }
        assert_int_equal(counters_of(tokens).entries, 200);
        tokens_forget(tokens);
        assert_int_equal(counters_of(tokens).entries, 0);
        assert_int_equal(counters_of(tokens).verified, 200 * round);
    }
    tokens_free(tokens);
}

/* An erased viewer's tokens go, all of them; the others stay known and can be found. */
static void test_forget_viewer(void **state)
{
    (void)state;
    struct tokens *tokens = tokens_of(10000);
    for (unsigned number = 0; number < 3000; number++) {
        char *token = token_of(number % 500, NOW_S + 100 + number / 500);
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
        free(token);
    }
    assert_int_equal(counters_of(tokens).entries, 3000);
    tokens_forget_viewer(tokens, SLICE_LIT("viewer"));
    assert_int_equal(counters_of(tokens).entries, 3000);
    for (unsigned number = 0; number < 500; number += 2) {
        char viewer[32];
        snprintf(viewer, sizeof viewer, "viewer-%u", number);
        tokens_forget_viewer(tokens, slice_str(viewer));
    }
    assert_int_equal(counters_of(tokens).entries, 1500);
    for (unsigned number = 0; number < 3000; number++) {
        char *token = token_of(number % 500, NOW_S + 100 + number / 500);
        uint64_t cached = counters_of(tokens).cached;
        assert_outcome(maker_verify(tokens, token, NOW_MS, NULL), TOKEN_OK);
        assert_int_equal(counters_of(tokens).cached - cached, number % 2);
        free(token);
    }
    tokens_free(tokens);
}

/* ---- the cache alone, against a plain array ---- */

#define PLAIN 600
struct plain {
    bool kept;
    int64_t expires_ms;
    struct token_cache_key key;
};

static void claims_of(unsigned number, struct token_claims *claims)
{
    claims->viewer_len = (size_t)sprintf(claims->viewer, "v%u", number);
    claims->event_len = number % 3;
    memset(claims->event, 'e', claims->event_len);
    claims->groups_len = 0;
    claims->has_groups = number % 2;
}

/* Without eviction the cache holds exactly what was put in and has not ended. */
static void test_model(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    static struct plain plain[PLAIN];
    static struct token_claims claims, expected;
    memset(plain, 0, sizeof plain);
    struct token_cache *cache = token_cache_new(PLAIN);
    for (unsigned i = 0; i < PLAIN; i++) {
        char text[32];
        snprintf(text, sizeof text, "token %u", i);
        token_cache_key(cache, slice_str(text), &plain[i].key);
    }
    int64_t now = 1000;
    for (int step = 0; step < 40000; step++) {
        unsigned i = (unsigned)(tap_random(&seed) % PLAIN);
        struct plain *one = &plain[i];
        now += tap_random(&seed) % 2 == 0;
        if (tap_random(&seed) % 5000 == 0) {
            token_cache_forget(cache);
            for (unsigned other = 0; other < PLAIN; other++) {
                plain[other].kept = false;
            }
        }
        bool known = one->kept && now < one->expires_ms;
        assert_int_equal(token_cache_get(cache, &one->key, now, &claims), known);
        claims_of(i, &expected);
        if (known) {
            assert_int_equal(claims.viewer_len, expected.viewer_len);
            assert_memory_equal(claims.viewer, expected.viewer, expected.viewer_len);
            assert_int_equal(claims.event_len, expected.event_len);
            assert_int_equal(claims.has_groups, expected.has_groups);
        } else {
            one->kept = true;
            one->expires_ms = now + (int64_t)(tap_random(&seed) % 2000) + 1;
            token_cache_put(cache, &one->key, token_cache_generation(cache), now, one->expires_ms,
                            &expected);
        }
        if (step % 500 == 0) {
            token_cache_check(cache);
        }
    }
    token_cache_free(cache);
}

/* What was verified before forget() does not enter after it. */
static void test_late_put(void **state)
{
    (void)state;
    static struct token_claims claims;
    struct token_cache *cache = token_cache_new(10);
    struct token_cache_key key;
    token_cache_key(cache, SLICE_LIT("t"), &key);
    claims_of(1, &claims);
    uint32_t before = token_cache_generation(cache);
    token_cache_forget(cache);
    token_cache_put(cache, &key, before, 1000, 2000, &claims);
    assert_false(token_cache_get(cache, &key, 1000, &claims));
    token_cache_put(cache, &key, token_cache_generation(cache), 1000, 2000, &claims);
    assert_true(token_cache_get(cache, &key, 1000, &claims));
    token_cache_free(cache);
}

/* A full cache keeps those who come again rather than those who came once. */
static void test_second_chance(void **state)
{
    (void)state;
    struct token_cache *cache = token_cache_new(64 * 16);
    static struct token_claims claims;
    struct token_cache_key key;
    char text[32];
    unsigned kept = 0;
    claims_of(1, &claims);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "once %u", i);
        token_cache_key(cache, slice_str(text), &key);
        token_cache_put(cache, &key, 0, 1000, 5000, &claims);
        snprintf(text, sizeof text, "again %u", i % 256);
        token_cache_key(cache, slice_str(text), &key);
        if (token_cache_get(cache, &key, 1000, &claims)) {
            kept++;
        } else {
            token_cache_put(cache, &key, 0, 1000, 5000, &claims);
        }
    }
    token_cache_check(cache);
    /* 19,744 could be found at best. */
    assert_true(kept > 17000);
    token_cache_free(cache);
}

/* ---- threads ---- */

#define THREADS 4
struct shared {
    struct tokens *tokens;
    char *good[64];        /* of the keys that stay */
    char *old[8], *new[8]; /* of the key that is swapped */
    _Atomic bool stop;
    _Atomic uint64_t rounds;
};

static void *verifier(void *argument)
{
    struct shared *shared = argument;
    struct token_claims claims;
    for (unsigned i = 0; !atomic_load(&shared->stop); i++) {
        const char *token = shared->good[i % 64];
        if (tokens_verify(shared->tokens, slice_str(token), NOW_MS, &claims) != TOKEN_OK) {
            abort();
        }
        enum token_outcome old =
            tokens_verify(shared->tokens, slice_str(shared->old[i % 8]), NOW_MS, &claims);
        enum token_outcome new =
            tokens_verify(shared->tokens, slice_str(shared->new[i % 8]), NOW_MS, &claims);
        if ((old != TOKEN_OK && old != TOKEN_UNKNOWN_KEY) ||
            (new != TOKEN_OK &&new != TOKEN_UNKNOWN_KEY)) {
            abort();
        }
        atomic_fetch_add(&shared->rounds, 1);
    }
    return NULL;
}

/* A key of each algorithm, by the name of which it goes, and one more. */
static char *set_of(const struct maker *swapped, const char *kid)
{
    char *text = malloc(16384), *at = text;
    at += sprintf(at, "{\"keys\":[");
    for (int kind = 0; kind < MAKE_KINDS; kind++) {
        char *members = maker_jwk(maker_of((enum maker_kind)kind));
        at += sprintf(at, "{%s,\"kid\":\"%s\",\"alg\":\"%s\"},", members, maker_names[kind],
                      maker_names[kind]);
        free(members);
    }
    char *members = maker_jwk(swapped);
    sprintf(at, "{%s,\"kid\":\"%s\"}]}", members, kid);
    free(members);
    return text;
}

/* Keys are swapped while all verify: the one that stays always works, and one that is gone is
 * refused from the moment when reload has returned, known or not. */
static void test_threads(void **state)
{
    (void)state;
    struct maker first = {.kind = MAKE_EDDSA, .pkey = maker_pkey(MAKE_EDDSA)};
    struct maker second = {.kind = MAKE_EDDSA, .pkey = maker_pkey(MAKE_EDDSA)};
    static struct shared shared;
    pthread_t threads[THREADS];
    char *sets[] = {set_of(&first, "old"), set_of(&second, "new")};
    for (unsigned i = 0; i < 64; i++) {
        char claims[64];
        snprintf(claims, sizeof claims, "{\"sub\":\"v%u\"}", i);
        enum maker_kind kind = (enum maker_kind)(i % MAKE_KINDS);
        shared.good[i] = maker_token(maker_of(kind), i % 2 ? maker_names[kind] : NULL, claims);
        if (i < 8) {
            shared.old[i] = maker_token(&first, "old", claims);
            shared.new[i] = maker_token(&second, "new", claims);
        }
    }
    struct token_options options = maker_options();
    options.jwks_file = maker_write("keys.json", sets[0]);
    options.cache_max = 60; /* so that entries also make place */
    shared.tokens = maker_tokens(&options);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, verifier, &shared), 0);
    }
    for (int turn = 1; turn <= 60; turn++) {
        bool changed;
        char why[512];
        uint64_t rounds = atomic_load(&shared.rounds);
        maker_write("keys.json", sets[turn % 2]);
        assert_int_equal(tokens_reload_changed(shared.tokens, &changed, why, sizeof why), ERR_NONE);
        assert_true(changed);
        for (int i = 0; i < 8; i++) {
            char *const *gone = turn % 2 ? shared.old : shared.new;
            char *const *here = turn % 2 ? shared.new : shared.old;
            assert_outcome(maker_verify(shared.tokens, gone[i], NOW_MS, NULL), TOKEN_UNKNOWN_KEY);
            assert_outcome(maker_verify(shared.tokens, here[i], NOW_MS, NULL), TOKEN_OK);
        }
        while (atomic_load(&shared.rounds) < rounds + 20) {
            sched_yield();
        }
        tokens_forget(shared.tokens);
    }
    atomic_store(&shared.stop, true);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(counters_of(shared.tokens).entries <= 60);
    assert_true(counters_of(shared.tokens).cached > 0);
    tokens_free(shared.tokens);
    for (unsigned i = 0; i < 64; i++) {
        free(shared.good[i]);
        if (i < 8) {
            free(shared.old[i]);
            free(shared.new[i]);
        }
    }
    free(sets[0]), free(sets[1]);
    EVP_PKEY_free(first.pkey);
    EVP_PKEY_free(second.pkey);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits),          cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_bound),         cmocka_unit_test(test_all_fit),
        cmocka_unit_test(test_forget),        cmocka_unit_test(test_forget_viewer),
        cmocka_unit_test(test_model),         cmocka_unit_test(test_late_put),
        cmocka_unit_test(test_second_chance), cmocka_unit_test(test_threads),
    };
    int failed = tap_run(tests);
    maker_clean();
    return failed;
}
