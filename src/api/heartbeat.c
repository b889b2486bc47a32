/* heartbeat.c -- POST /analytics/events/{eventId}/heartbeat: the hot path.
 *
 * Nothing is allocated, unless a token has more groups than GROUPS_ROOM.  The heartbeat's texts
 * stay where they came in, in the connection's buffer; only what had to be unescaped or decoded is
 * copied, into the exchange. */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/rate.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/ids.h"

/* Groups of a token, packed, that need no allocation. */
#define GROUPS_ROOM 128

struct heartbeat_state {
    struct live_heartbeats heartbeats;
    struct live_beat beat;
    /* what had to be decoded */
    char event[EVENT_ID_BYTES_MAX];
    char session[SESSION_ID_BYTES_MAX];
    char viewer[VIEWER_ID_BYTES_MAX];
    char groups[GROUPS_ROOM]; /* of a token */
    char *groups_more;        /* where there are more of them; allocated */
};
static_assert(sizeof(struct heartbeat_state) <= HTTP_USER_BYTES, "a heartbeat allocates nothing");
static_assert(HEARTBEAT_BODY_BYTES_MAX <= SCRATCH_BYTES, "a path can be unescaped in the scratch");

enum { PATH, HIDDEN, LEAVING, VIEWER_ID, TOKEN, FIELDS };

/* null is as good as absent where absent is: that is how many serializers write it. */
static const struct json_field fields[FIELDS] = {
    [PATH] = JSON_FIELD("path", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [HIDDEN] = JSON_FIELD("hidden", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [LEAVING] = JSON_FIELD("leaving", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [VIEWER_ID] = JSON_FIELD("viewerId", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [TOKEN] = JSON_FIELD("token", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
};

/* ---- where from ---- */

static bool is_trusted(const struct api_config *config, const struct address *address)
{
    for (size_t i = 0; i < config->trusted_proxies_count; i++) {
        if (network_contains(&config->trusted_proxies[i], address)) {
            return true;
        }
    }
    return false;
}

/* Of what trusted proxies say, the last address that is none of theirs (X-Forwarded-For is read
 * from the right: what stands further left anybody may have written).  Where one is no address, the
 * one before it. */
static struct address client_of(const struct call *call, const struct address *peer)
{
    const struct api_config *config = &call->worker->api->config;
    struct address client = *peer;
    struct slice rest = call->exchange->request.forwarded_for;
    while (rest.len > 0 && is_trusted(config, &client)) {
        size_t at = rest.len;
        while (at > 0 && rest.ptr[at - 1] != ',') {
            at--;
        }
        struct slice item = slice_of(rest.ptr + at, rest.len - at);
        rest.len = at > 0 ? at - 1 : 0;
        while (item.len > 0 && (item.ptr[0] == ' ' || item.ptr[0] == '\t')) {
            item = slice_of(item.ptr + 1, item.len - 1);
        }
        while (item.len > 0 && (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t')) {
            item.len--;
        }
        if (!address_parse(item, &client)) {
            break;
        }
    }
    return client;
}

/* What the first country header that is there says.  Nonsense is "not known": a proxy's slip must
 * not cost the viewer's heartbeat.  So is XX, Cloudflare's word for it
 * (https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-ipcountry). */
static country_t country_by_header(const struct call *call)
{
    const struct slice *watched = call->exchange->request.watched;
    country_t country = 0;
    for (unsigned i = 0; i < call->worker->api->config.country_headers; i++) {
        if (watched[i].len > 0) {
            if (!slice_equal(watched[i], SLICE_LIT("XX"))) {
                (void)country_pack(watched[i], &country); /* 0 where it is none */
            }
            break;
        }
    }
    return country;
}

/* By a trusted proxy's header, else by the client's address, which is forgotten at once. */
static country_t country_of(const struct call *call)
{
    const struct api_config *config = &call->worker->api->config;
    struct address peer;
    if (!address_of_socket(&call->exchange->peer, &peer)) {
        return 0;
    }
    country_t country = is_trusted(config, &peer) ? country_by_header(call) : 0;
    if (country == 0 && config->country_db != NULL) {
        struct address client = client_of(call, &peer);
        char text[2];
        if (country_db_find(config->country_db, &client, text)) {
            (void)country_pack(slice_of(text, sizeof text), &country);
        }
    }
    return country;
}

/* ---- the body ---- */

/* Under --auth none the body names the viewer. */
static bool take_named_viewer(struct call *call, struct heartbeat_state *state,
                              const struct json_value *value)
{
    struct slice viewer;
    if (value->kind != JSON_IS_STRING ||
        !json_text(value, state->viewer, sizeof state->viewer, &viewer) ||
        !id_viewer_valid(viewer)) {
        call_problem(call, 400, "viewerId",
                     value->kind == JSON_IS_STRING ? "\"viewerId\" " VIEWER_RULE
                                                   : "\"viewerId\" is missing");
        return false;
    }
    state->beat.heartbeat.viewer = viewer;
    return true;
}

static void take_token_groups(struct heartbeat_state *state, const struct token_claims *claims)
{
    char *room = state->groups;
    if (claims->groups_len > sizeof state->groups) {
        room = state->groups_more = memory_alloc(claims->groups_len);
    }
    memcpy(room, claims->groups, claims->groups_len);
    state->beat.heartbeat.groups = slice_of(room, claims->groups_len);
    state->beat.heartbeat.flags |= HEARTBEAT_GROUPS;
}

/* Else the token does. */
static bool take_token_viewer(struct call *call, struct heartbeat_state *state,
                              const struct json_value *value, struct token_claims *claims)
{
    struct slice token = SLICE_EMPTY;
    if (value->kind == JSON_IS_STRING) {
        struct scratch *scratch = &call->scratch;
        bool fits = json_text(value, scratch->bytes, scratch->size, &token);
        ASSERT(fits);
    }
    if (!auth_viewer(call, token, claims)) {
        return false;
    }
    memcpy(state->viewer, claims->viewer, claims->viewer_len);
    state->beat.heartbeat.viewer = slice_of(state->viewer, claims->viewer_len);
    return true;
}

static bool take_viewer(struct call *call, struct heartbeat_state *state,
                        const struct json_value *values, struct token_claims *claims)
{
    call->scratch.used = 0; /* the path's parameters have been kept */
    if (call->worker->api->config.tokens == NULL) {
        claims->has_groups = false;
        return take_named_viewer(call, state, &values[VIEWER_ID]);
    }
    return take_token_viewer(call, state, &values[TOKEN], claims);
}

/* False: answered 429, and not counted. */
static bool take_rate(struct call *call, const struct heartbeat_state *state)
{
    struct api_worker *worker = call->worker;
    if (worker->rate == NULL) {
        return true;
    }
    const struct heartbeat *heartbeat = &state->beat.heartbeat;
    const struct hash_key *key = &worker->api->rate_key;
    uint64_t viewer = hash_bytes(key, heartbeat->viewer) * 3 + hash_bytes(key, heartbeat->event);
    uint32_t again_s = 1;
    if (rate_allow(worker->rate, viewer, clock_mono_ms(), &again_s)) {
        return true;
    }
    char again[40];
    snprintf(again, sizeof again, "Retry-After: %u\r\n", again_s);
    uint64_t refused = atomic_load_explicit(&worker->rate_refused, memory_order_relaxed);
    atomic_store_explicit(&worker->rate_refused, refused + 1, memory_order_relaxed);
    http_problem_headers(call->exchange, 429, NULL,
                         "the viewer sends more heartbeats than viewer-rate allows",
                         slice_str(again));
    return false;
}

/* From "path"; only where there is none, from the Referer, which the page did not write: a wrong
 * one is nobody's fault and no session. */
static bool take_session(struct call *call, struct heartbeat_state *state,
                         const struct json_value *path)
{
    struct slice pattern = call->worker->api->config.session_pattern;
    struct slice *session = &state->beat.heartbeat.session;
    if (path->kind != JSON_IS_STRING) {
        (void)session_find(call->exchange->request.referer, pattern, state->session, session);
        return true;
    }
    struct slice text;
    struct scratch *scratch = &call->scratch;
    scratch->used = 0; /* the path's parameters have been kept */
    bool fits = json_text(path, scratch->bytes, scratch->size, &text);
    ASSERT(fits);
    switch (session_find(text, pattern, state->session, session)) {
    case SESSION_NONE:
        return true;
    case SESSION_FOUND:
        *session = call_keep(call, *session, state->session);
        return true;
    case SESSION_INVALID:
        break;
    }
    call_problem(call, 400, "path", "the session in \"path\" " SESSION_RULE);
    return false;
}

static uint8_t flags_of(const struct json_value *values)
{
    return (uint8_t)((values[HIDDEN].truth ? HEARTBEAT_HIDDEN : 0) |
                     (values[LEAVING].truth ? HEARTBEAT_LEAVING : 0));
}

/* False: answered. */
static bool take_body(struct call *call, struct heartbeat_state *state)
{
    /* Any content type: text/plain is what sendBeacon sends without a preflight. */
    struct slice body = call->exchange->request.body;
    struct json_value values[FIELDS];
    struct json_fault fault;
    if (json_object_read(body.len > 0 ? body : SLICE_LIT("{}"), fields, FIELDS, values, &fault) !=
        JSON_OK) {
        char detail[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, detail);
        call_problem(call, 400, fault.field, detail);
        return false;
    }
    state->beat.heartbeat.flags = flags_of(values);
    struct token_claims claims; /* not initialised: it is large, and filled as far as it says */
    if (!take_viewer(call, state, values, &claims) || !take_session(call, state, &values[PATH]) ||
        !take_rate(call, state)) {
        return false;
    }
    if (claims.has_groups) {
        take_token_groups(state, &claims); /* last: once answered, the state is gone */
    }
    return true;
}

/* ---- there and back ---- */

static void heartbeat_done(struct live_request *request)
{
    struct heartbeat_state *state = (struct heartbeat_state *)(void *)request;
    struct http_exchange *exchange = exchange_of(state);
    struct api_worker *worker = exchange->worker_ctx;
    worker_returned(worker);
    free(state->groups_more);
    if (state->beat.status != LIVE_OK) {
        respond_live_problem(exchange, state->beat.status, slice_str(worker->api->retry_after));
        return;
    }
    const struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .body = slice_str(worker->api->acknowledgement),
    };
    http_respond(exchange, &response);
}

void heartbeat_post(struct call *call)
{
    struct heartbeat_state *state = (struct heartbeat_state *)(void *)call->exchange->user;
    static_assert(offsetof(struct heartbeat_state, heartbeats) == 0 &&
                      offsetof(struct live_heartbeats, request) == 0,
                  "a request is where its state begins");
    /* From here on the scratch is the body's. */
    call->event = state->beat.heartbeat.event = call_keep(call, call->event, state->event);
    if (!take_body(call, state)) {
        return;
    }
    state->beat.heartbeat.country = country_of(call);
    state->heartbeats.request.kind = LIVE_HEARTBEATS;
    state->heartbeats.request.done = heartbeat_done;
    state->heartbeats.beats = &state->beat;
    state->heartbeats.count = 1;
    char *groups_more = state->groups_more;
    if (!call_submit(call, &state->heartbeats.request)) {
        free(groups_more); /* answered: the state has gone with it */
    }
}
