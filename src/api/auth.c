/* auth.c -- who may do what: API keys of back ends and dashboards, tokens of viewers.
 *
 * The table of keys is read from the record store at start, when it has changed there, and after
 * each change made here; requests look into the copy in memory.
 * Sources: RFC 6750 (bearer tokens; WWW-Authenticate), RFC 9110, 11.6.1. */
#define _GNU_SOURCE
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"

#define CHALLENGE       SLICE_LIT("WWW-Authenticate: Bearer\r\n")
#define CHALLENGE_WRONG SLICE_LIT("WWW-Authenticate: Bearer error=\"invalid_token\"\r\n")
#define CHALLENGE_SCOPE SLICE_LIT("WWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n")

struct slice bearer_of(const struct http_request *request)
{
    static const char scheme[] = "Bearer ";
    struct slice value = request->authorization;
    size_t len = sizeof scheme - 1;
    if (value.len <= len || strncasecmp(value.ptr, scheme, len) != 0) {
        return SLICE_EMPTY;
    }
    value = slice_of(value.ptr + len, value.len - len);
    while (value.len > 0 && value.ptr[0] == ' ') {
        value = slice_of(value.ptr + 1, value.len - 1);
    }
    return value;
}

/* ---- API keys ---- */

static enum err add_key(void *ctx, const struct api_key_row *row)
{
    struct api_keys *keys = ctx;
    keys->keys = memory_grow(keys->keys, &keys->max, keys->count + 1, sizeof *keys->keys);
    struct api_key *key = &keys->keys[keys->count++];
    *key = (struct api_key){.roles = row->roles};
    static_assert(sizeof key->id == sizeof row->id && sizeof key->hash == sizeof row->hash,
                  "a key is stored as it is");
    memcpy(key->id, row->id, sizeof key->id);
    memcpy(key->hash, row->hash, sizeof key->hash);
    if (row->event.len > sizeof key->event) {
        return ERR_DAMAGED; /* never a key for all events instead */
    }
    if (row->event.len > 0) {
        memcpy(key->event, row->event.ptr, row->event.len);
        key->event_len = (uint8_t)row->event.len;
    }
    return ERR_NONE;
}

enum err auth_keys_load(struct api *api, struct records_link *link)
{
    struct api_keys keys = {0};
    /* One that has read before a key was revoked must not put its table over one that knows. */
    pthread_mutex_lock(&api->keys_load_lock);
    enum err err = records_keys_each(link, add_key, &keys);
    if (err == ERR_NONE) {
        if (keys.count > 0) {
            api_keys_sort(keys.keys, keys.count);
        }
        pthread_rwlock_wrlock(&api->keys_lock);
        struct api_keys before = api->keys;
        api->keys = keys;
        pthread_rwlock_unlock(&api->keys_lock);
        keys = before;
    }
    pthread_mutex_unlock(&api->keys_load_lock);
    free(keys.keys);
    return err;
}

bool auth_has_keys(struct api *api)
{
    pthread_rwlock_rdlock(&api->keys_lock);
    bool has = api->keys.count > 0;
    pthread_rwlock_unlock(&api->keys_lock);
    return has;
}

/* Copies the key that was shown; false: there is none such. */
static bool find_key(struct api *api, struct slice text, struct api_key *key)
{
    pthread_rwlock_rdlock(&api->keys_lock);
    const struct api_key *found = api_key_find(api->keys.keys, api->keys.count, text);
    if (found != NULL) {
        *key = *found;
    }
    pthread_rwlock_unlock(&api->keys_lock);
    return found != NULL;
}

bool auth_has_role(struct api *api, const struct http_request *request, unsigned role)
{
    struct api_key key;
    return api->config.tokens == NULL ||
           (find_key(api, bearer_of(request), &key) && (key.roles & (role | ROLE_ADMIN)) != 0);
}

static bool refuse(struct call *call, int status, const char *field, const char *detail,
                   struct slice headers)
{
    http_problem_headers(call->exchange, status, field, detail, headers);
    return false;
}

/* Whether a key for one event alone may do this. */
static bool event_allowed(struct call *call, unsigned role)
{
    if (call->key_event.len == 0 || slice_equal(call->event, call->key_event)) {
        return true;
    }
    /* A batch names its events itself: batch.c refuses the lines of others. */
    return call->event.len == 0 && role == ROLE_INGEST;
}

bool auth_allowed(struct call *call, unsigned role)
{
    struct api *api = call->worker->api;
    if (role == 0 || api->config.tokens == NULL) {
        return true;
    }
    struct slice text = bearer_of(&call->exchange->request);
    struct api_key key;
    if (text.len == 0) {
        return refuse(call, 401, "Authorization",
                      "an API key is needed: \"Authorization: Bearer nb_…\"", CHALLENGE);
    }
    if (!find_key(api, text, &key)) {
        return refuse(call, 401, "Authorization", "there is no such API key", CHALLENGE_WRONG);
    }
    if ((key.roles & (role | ROLE_ADMIN)) == 0) {
        char words[API_ROLES_TEXT_BYTES], detail[96];
        snprintf(detail, sizeof detail, "the API key does not have the role %s",
                 api_roles_text(role, words));
        return refuse(call, 403, "Authorization", detail, CHALLENGE_SCOPE);
    }
    /* Good for as long as the handler runs. */
    memcpy(call->key_event_room, key.event, key.event_len);
    call->key_event = slice_of(call->key_event_room, key.event_len);
    if (!event_allowed(call, role)) {
        return refuse(call, 403, call->event.len > 0 ? "eventId" : "Authorization",
                      "the API key is for another event", CHALLENGE_SCOPE);
    }
    return true;
}

/* ---- viewers ---- */

bool auth_viewer(struct call *call, struct slice body_token, struct token_claims *claims)
{
    const struct api_config *config = &call->worker->api->config;
    struct slice token = bearer_of(&call->exchange->request);
    if (token.len == 0) {
        token = body_token;
    }
    if (token.len == 0) {
        return refuse(call, 401, "token",
                      "a viewer token is needed: \"Authorization: Bearer …\", or \"token\" in the "
                      "body",
                      CHALLENGE);
    }
    enum token_outcome outcome =
        tokens_verify(config->tokens, token, clock_wall_us() / 1000, claims);
    if (outcome != TOKEN_OK) {
        return refuse(call, 401, "token", token_outcome_text(outcome), CHALLENGE_WRONG);
    }
    if (claims->event_len > 0 &&
        !slice_equal(call->event, slice_of(claims->event, claims->event_len))) {
        return refuse(call, 403, "eventId", "the token is for another event", CHALLENGE_SCOPE);
    }
    return true;
}

/* ---- what is remembered of tokens ---- */

/* The arena of a question that forgets. */
struct forgetting {
    struct tokens *tokens;
    enum live_status status; /* of the erasure or purge: what is answered */
};

static enum err forget_tokens(struct records_link *link, struct live_query *query)
{
    const struct forgetting *forgetting = query->arg;
    (void)link;
    if (query->viewer.len > 0) {
        tokens_forget_viewer(forgetting->tokens, query->viewer);
    } else {
        tokens_forget(forgetting->tokens);
    }
    return ERR_NONE;
}

/* Also where an erasure is in force but could not be wiped from the disk yet, and where it is asked
 * for once more after that. */
static bool is_forgotten(const struct live_query *query)
{
    return query->status == LIVE_OK || query->status == LIVE_RECORDS_AWAY ||
           (query->status == LIVE_NOT_FOUND && query->viewer.len > 0);
}

bool auth_forget(struct question *question)
{
    struct live_query *query = &question->query;
    const struct api_worker *worker = exchange_of(question)->worker_ctx;
    struct forgetting *forgetting = question->arena;
    if (forgetting == NULL) {
        if (worker->api->config.tokens == NULL || !is_forgotten(query)) {
            return false;
        }
        forgetting = memory_alloc(sizeof *forgetting);
        *forgetting = (struct forgetting){worker->api->config.tokens, query->status};
        question->arena = query->arg = forgetting;
        if (question_again(question, LIVE_READ, forget_tokens)) {
            return true;
        }
    }
    if (query->status != LIVE_OK) {
        (void)forget_tokens(NULL, query); /* the readers have no time: then here */
    }
    query->status = forgetting->status;
    return false;
}
