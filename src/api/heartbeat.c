/* heartbeat.c -- POST /analytics/events/{eventId}/heartbeat: the hot path.
 *
 * Nothing is allocated.  The heartbeat's texts stay where they came in, in the connection's buffer;
 * only what had to be unescaped or decoded is copied, into the exchange. */
#include "api/internal.h"

#include "base/assert.h"
#include "core/country.h"
#include "core/ids.h"

struct heartbeat_state {
    struct live_heartbeats heartbeats;
    struct live_beat beat;
    /* what had to be decoded */
    char event[EVENT_ID_BYTES_MAX];
    char session[SESSION_ID_BYTES_MAX];
    char viewer[VIEWER_ID_BYTES_MAX];
};
static_assert(sizeof(struct heartbeat_state) <= HTTP_USER_BYTES, "a heartbeat allocates nothing");
static_assert(HEARTBEAT_BODY_BYTES_MAX <= SCRATCH_BYTES, "a path can be unescaped in the scratch");

enum { PATH, HIDDEN, LEAVING, VIEWER_ID, FIELDS };

/* null is as good as absent where absent is: that is how many serializers write it. */
static const struct json_field fields[FIELDS] = {
    [PATH] = JSON_FIELD("path", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [HIDDEN] = JSON_FIELD("hidden", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [LEAVING] = JSON_FIELD("leaving", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [VIEWER_ID] = JSON_FIELD("viewerId", JSON_IS_STRING, JSON_REQUIRED),
};

/* ---- where from ---- */

static bool from_trusted_proxy(const struct call *call)
{
    const struct api_config *config = &call->worker->api->config;
    struct address peer;
    if (!address_of_socket(&call->exchange->peer, &peer)) {
        return false;
    }
    for (size_t i = 0; i < config->trusted_proxies_count; i++) {
        if (network_contains(&config->trusted_proxies[i], &peer)) {
            return true;
        }
    }
    return false;
}

/* What the first country header that is there says, if the peer may say it.  Nonsense is "not
 * known": a proxy's slip must not cost the viewer's heartbeat.  So is XX, Cloudflare's word for it
 * (https://developers.cloudflare.com/fundamentals/reference/http-headers/#cf-ipcountry). */
static country_t country_of(const struct call *call)
{
    const struct slice *watched = call->exchange->request.watched;
    for (unsigned i = 0; i < call->worker->api->config.country_headers; i++) {
        if (watched[i].len > 0) {
            country_t country = 0;
            if (from_trusted_proxy(call) && !slice_equal(watched[i], SLICE_LIT("XX"))) {
                (void)country_pack(watched[i], &country); /* 0 where it is none */
            }
            return country;
        }
    }
    return 0;
}

/* ---- the body ---- */

static bool take_viewer(struct call *call, struct heartbeat_state *state,
                        const struct json_value *value)
{
    struct slice viewer;
    if (!json_text(value, state->viewer, sizeof state->viewer, &viewer) ||
        !id_viewer_valid(viewer)) {
        call_problem(call, 400, "viewerId", "\"viewerId\" " VIEWER_RULE);
        return false;
    }
    state->beat.heartbeat.viewer = viewer;
    return true;
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
    return take_viewer(call, state, &values[VIEWER_ID]) && take_session(call, state, &values[PATH]);
}

/* ---- there and back ---- */

static void heartbeat_done(struct live_request *request)
{
    struct heartbeat_state *state = (struct heartbeat_state *)(void *)request;
    struct http_exchange *exchange = exchange_of(state);
    struct api_worker *worker = exchange->worker_ctx;
    worker_returned(worker);
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
    state->beat.heartbeat.event = call_keep(call, call->event, state->event);
    if (!take_body(call, state)) {
        return;
    }
    state->beat.heartbeat.country = country_of(call);
    state->heartbeats.request.kind = LIVE_HEARTBEATS;
    state->heartbeats.request.done = heartbeat_done;
    state->heartbeats.beats = &state->beat;
    state->heartbeats.count = 1;
    if (!call_submit(call, &state->heartbeats.request)) {
        return; /* answered */
    }
}
