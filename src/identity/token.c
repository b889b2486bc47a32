/* token.c -- viewer tokens: the cache in front, the keys behind, reloading.
 *
 * A token that is known costs a hash and a look-up.  Any other one is read strictly
 * (token_parse.c), its signature checked (token_keys.c), its claims judged (token_claims.c), and
 * kept. */
#include "identity/token.h"

#include <cjose/cjose.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "identity/token_cache.h"
#include "identity/token_claims.h"
#include "identity/token_file.h"
#include "identity/token_keys.h"

struct tokens {
    /* never change */
    struct token_options options; /* the strings are ours */
    struct token_cache *cache;    /* has locks of its own */

    /* of whoever reloads */
    struct token_file pem, jwks; /* what was read last, good or not */

    /* under `lock`, which is held for a few instructions */
    pthread_mutex_t lock;
    struct token_keys *keys;

    /* any thread; relaxed: figures */
    _Atomic uint64_t verified, refused;
};

const char *token_outcome_text(enum token_outcome outcome)
{
    static const char *const texts[] = {
#define OUTCOME_TEXT(name, text) text,
        TOKEN_OUTCOME_LIST(OUTCOME_TEXT)
#undef OUTCOME_TEXT
    };
    return texts[outcome];
}

static bool set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* ---- making ---- */

static char *copy(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *made = memory_alloc(strlen(text) + 1);
    return strcpy(made, text);
}

static void copy_options(struct token_options *to, const struct token_options *from)
{
    *to = *from;
    to->secret = copy(from->secret);
    to->pem_file = copy(from->pem_file);
    to->jwks_file = copy(from->jwks_file);
    to->issuer = copy(from->issuer);
    to->audience = copy(from->audience);
    to->viewer_claim = copy(from->viewer_claim);
    to->event_claim = copy(from->event_claim);
    to->groups_claim = copy(from->groups_claim);
}

static void free_options(struct token_options *options)
{
    const char *const texts[] = {options->secret,      options->pem_file,    options->jwks_file,
                                 options->issuer,      options->audience,    options->viewer_claim,
                                 options->event_claim, options->groups_claim};
    if (options->secret != NULL) {
        sodium_memzero((void *)(uintptr_t)options->secret, strlen(options->secret));
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free((void *)(uintptr_t)texts[i]);
    }
}

enum err tokens_new(const struct token_options *options, struct tokens **made, char *why,
                    size_t why_bytes)
{
    ASSERT(set(options->viewer_claim) && set(options->event_claim) && set(options->groups_claim));
    ASSERT(options->leeway_ms >= 0);
    ASSERT(sodium_init() >= 0);
    json_object_seed(0); /* once, before threads; later calls do nothing */
    struct tokens *tokens = memory_zalloc(sizeof *tokens);
    copy_options(&tokens->options, options);
    tokens->cache = token_cache_new(options->cache_max);
    pthread_mutex_init(&tokens->lock, NULL);
    enum err err = tokens_reload(tokens, why, why_bytes);
    if (err != ERR_NONE) {
        tokens_free(tokens);
        tokens = NULL;
    }
    *made = tokens;
    return err;
}

void tokens_free(struct tokens *tokens)
{
    if (tokens == NULL) {
        return;
    }
    token_keys_drop(tokens->keys);
    token_cache_free(tokens->cache);
    free_options(&tokens->options);
    pthread_mutex_destroy(&tokens->lock);
    free(tokens);
}

/* ---- loading and reloading ---- */

/* What one reading of the files gave. */
struct reading {
    struct token_file pem, jwks;
    struct slice pem_text, jwks_text;
};

/* Both, also when one is bad: what a file was is remembered, so that it is told of once.  The first
 * error counts. */
static enum err read_files(const struct token_options *options, struct reading *reading, char *why,
                           size_t why_bytes)
{
    char second[256];
    enum err pem = ERR_NONE, jwks = ERR_NONE;
    *reading = (struct reading){.pem_text = SLICE_EMPTY};
    if (set(options->pem_file)) {
        pem = token_file_read(options->pem_file, &reading->pem, &reading->pem_text, why, why_bytes);
    }
    if (set(options->jwks_file)) {
        jwks = token_file_read(options->jwks_file, &reading->jwks, &reading->jwks_text, second,
                               sizeof second);
        if (pem == ERR_NONE && jwks != ERR_NONE) {
            snprintf(why, why_bytes, "%s", second);
        }
    }
    return pem != ERR_NONE ? pem : jwks;
}

/* Puts "path: " before what a reader said. */
static void name_file(const char *path, char *why, size_t why_bytes)
{
    char reason[256];
    snprintf(reason, sizeof reason, "%s", why);
    snprintf(why, why_bytes, "%s: %s", path, reason);
}

static enum err fill(struct token_keys *keys, const struct token_options *options,
                     const struct reading *reading, char *why, size_t why_bytes)
{
    enum err err = ERR_NONE;
    unsigned passed_over = 0;
    if (set(options->secret)) {
        err = token_keys_add_secret(keys, options->secret, why, why_bytes);
    }
    if (err == ERR_NONE && set(options->pem_file)) {
        err = token_keys_add_pem(keys, reading->pem_text, options->rsa_algorithm, why, why_bytes);
        if (err != ERR_NONE) {
            name_file(options->pem_file, why, why_bytes);
        }
    }
    if (err == ERR_NONE && set(options->jwks_file)) {
        err = token_keys_add_jwks(keys, reading->jwks_text, options->rsa_algorithm, &passed_over,
                                  why, why_bytes);
        if (err != ERR_NONE || passed_over > 0) {
            name_file(options->jwks_file, why, why_bytes);
        }
    }
    if (err != ERR_NONE) {
        return err;
    }
    if (token_keys_count(keys) == 0) {
        if (passed_over == 0) {
            snprintf(why, why_bytes, "%s%sno key for tokens is configured",
                     set(options->jwks_file) ? options->jwks_file : "",
                     set(options->jwks_file) ? ": " : "");
        }
        return ERR_INVALID;
    }
    if (passed_over > 0) {
        log_line(LOG_WARN, "identity", "%s (%u passed over in all, %u keys are in use)", why,
                 passed_over, token_keys_count(keys));
    }
    return ERR_NONE;
}

/* Takes the keys. */
static void swap(struct tokens *tokens, struct token_keys *keys)
{
    pthread_mutex_lock(&tokens->lock);
    struct token_keys *old = tokens->keys;
    tokens->keys = keys;
    pthread_mutex_unlock(&tokens->lock);
    /* After the swap: whoever reads the generation from now on gets the new keys with it. */
    token_cache_forget(tokens->cache);
    token_keys_drop(old);
}

/* unless_same: leaves all as it is when both files' contents are as they were. */
static enum err reload(struct tokens *tokens, bool unless_same, bool *changed, char *why,
                       size_t why_bytes)
{
    const struct token_options *options = &tokens->options;
    struct reading reading;
    *changed = false;
    enum err err = read_files(options, &reading, why, why_bytes);
    bool same = err == ERR_NONE && unless_same &&
                (!set(options->pem_file) || token_file_same(&reading.pem, &tokens->pem)) &&
                (!set(options->jwks_file) || token_file_same(&reading.jwks, &tokens->jwks));
    tokens->pem = reading.pem;
    tokens->jwks = reading.jwks;
    if (err == ERR_NONE && !same) {
        struct token_keys *keys = token_keys_new();
        err = fill(keys, options, &reading, why, why_bytes);
        if (err == ERR_NONE) {
            swap(tokens, keys);
            *changed = true;
        } else {
            token_keys_drop(keys);
        }
    }
    token_file_forget(&reading.pem_text);
    token_file_forget(&reading.jwks_text);
    return err;
}

enum err tokens_reload(struct tokens *tokens, char *why, size_t why_bytes)
{
    bool changed;
    return reload(tokens, false, &changed, why, why_bytes);
}

enum err tokens_reload_changed(struct tokens *tokens, bool *changed, char *why, size_t why_bytes)
{
    const struct token_options *options = &tokens->options;
    *changed = false;
    if ((!set(options->pem_file) || !token_file_suspect(options->pem_file, &tokens->pem)) &&
        (!set(options->jwks_file) || !token_file_suspect(options->jwks_file, &tokens->jwks))) {
        return ERR_NONE;
    }
    return reload(tokens, true, changed, why, why_bytes);
}

void tokens_forget(struct tokens *tokens)
{
    token_cache_forget(tokens->cache);
}

void tokens_forget_viewer(struct tokens *tokens, struct slice viewer)
{
    token_cache_forget_viewer(tokens->cache, viewer);
}

/* ---- verifying ---- */

static enum token_outcome verify(struct tokens *tokens, struct slice token, int64_t wall_ms,
                                 struct token_claims *claims, int64_t *expires_ms,
                                 uint32_t *generation)
{
    struct token_parts parts;
    enum token_outcome outcome = token_parse(token, &parts);
    if (outcome == TOKEN_OK) {
        /* The generation first: if the keys are swapped in between, it is the old one with the new
         * keys, and the token is only not kept. */
        *generation = token_cache_generation(tokens->cache);
        pthread_mutex_lock(&tokens->lock);
        struct token_keys *keys = tokens->keys;
        token_keys_hold(keys);
        pthread_mutex_unlock(&tokens->lock);
        outcome = token_keys_check(keys, &parts);
        token_keys_drop(keys);
    }
    if (outcome == TOKEN_OK) {
        outcome = token_claims_read(&tokens->options, parts.claims, wall_ms, claims, expires_ms);
    }
    token_parts_fini(&parts);
    return outcome;
}

enum token_outcome tokens_verify(struct tokens *tokens, struct slice token, int64_t wall_ms,
                                 struct token_claims *claims)
{
    struct token_cache_key key;
    int64_t expires_ms;
    uint32_t generation;
    enum token_outcome outcome = TOKEN_TOO_LARGE;
    if (token.len <= tokens->options.bytes_max) {
        token_cache_key(tokens->cache, token, &key);
        if (token_cache_get(tokens->cache, &key, wall_ms, claims)) {
            return TOKEN_OK;
        }
        outcome = verify(tokens, token, wall_ms, claims, &expires_ms, &generation);
    }
    if (outcome != TOKEN_OK) {
        atomic_fetch_add_explicit(&tokens->refused, 1, memory_order_relaxed);
        return outcome;
    }
    atomic_fetch_add_explicit(&tokens->verified, 1, memory_order_relaxed);
    int64_t kept_ms = wall_ms + TOKEN_CACHE_MS;
    token_cache_put(tokens->cache, &key, generation, wall_ms,
                    expires_ms == INT64_MAX ? kept_ms : expires_ms, claims);
    return TOKEN_OK;
}

void tokens_counters(struct tokens *tokens, struct token_counters *counters)
{
    token_cache_counts(tokens->cache, &counters->cached, &counters->entries);
    counters->verified = atomic_load_explicit(&tokens->verified, memory_order_relaxed);
    counters->refused = atomic_load_explicit(&tokens->refused, memory_order_relaxed);
    pthread_mutex_lock(&tokens->lock);
    counters->keys = token_keys_count(tokens->keys);
    pthread_mutex_unlock(&tokens->lock);
}
