/* api.c -- the table of endpoints, from a request to its handler, and the workers' way to live/.
 *
 * To add an endpoint: a function in the file of its group, its prototype in internal.h, a line in
 * the table, an entry in docs/API.md. */
#include "api/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/rate.h"
#include "api/shared.h"
#include "base/assert.h"
#include "base/memory.h"
#include "core/ids.h"

/* Which ids a path has, in its order. */
enum ids { IDS_NONE, IDS_EVENT, IDS_EVENT_SESSION, IDS_EVENT_VIEWER, IDS_KEY };

/* Who may call: anybody; a viewer with a token, which the handler checks; or who has an API key
 * with the role (or admin). */
#define OPEN   0
#define VIEWER 0
#define READ   ROLE_READ
#define INGEST ROLE_INGEST
#define ADMIN  ROLE_ADMIN

struct endpoint {
    enum http_method method;
    const char *pattern;
    enum ids ids;
    unsigned role;
    void (*handle)(struct call *call);
};

/* The parameters' names are those that a problem names. */
#define EVENTS  "/analytics/events"
#define EVENT   EVENTS "/{eventId}"
#define SESSION EVENT "/sessions/{sessionId}"
#define PERSON  EVENT "/viewers/{viewerId}"
#define KEYS    "/analytics/keys"

/* The same for an event and for one of its sessions. */
#define AUDIENCE(method, tail, role, handle)                                                       \
    {method, EVENT tail, IDS_EVENT, role, handle},                                                 \
    {                                                                                              \
        method, SESSION tail, IDS_EVENT_SESSION, role, handle                                      \
    }

static const struct endpoint endpoints[] = {
    {HTTP_POST, EVENT "/heartbeat", IDS_EVENT, VIEWER, heartbeat_post},
    {HTTP_POST, "/analytics/heartbeats", IDS_NONE, INGEST, batch_post},
    AUDIENCE(HTTP_GET, "/viewers/active-count", READ, figures_active),
    AUDIENCE(HTTP_GET, "/viewers/total-attended-count", READ, figures_attended),
    AUDIENCE(HTTP_GET, "/viewers/max-concurrent-count", READ, figures_peak),
    AUDIENCE(HTTP_GET, "/viewers/total-login-count", READ, figures_logins),
    AUDIENCE(HTTP_GET, "/viewers/all-time-active-count", READ, figures_ever),
    {HTTP_GET, EVENT "/viewers/count", IDS_EVENT, READ, figures_profiles},
    AUDIENCE(HTTP_GET, "/viewers/viewing-stats", READ, viewing_stats_get),
    AUDIENCE(HTTP_GET, "/viewers/concurrent", READ, concurrent_get),
    {HTTP_POST, EVENT "/heartbeat-report", IDS_EVENT, READ, report_post},
    AUDIENCE(HTTP_GET, "/statistics", READ, statistics_get),
    AUDIENCE(HTTP_GET, "/statistics/live", READ, statistics_live),
    {HTTP_GET, EVENT "/overview", IDS_EVENT, READ, overview_get},
    {HTTP_GET, PERSON, IDS_EVENT_VIEWER, READ, viewers_get},
    {HTTP_PUT, PERSON, IDS_EVENT_VIEWER, ADMIN, viewers_put},
    {HTTP_DELETE, PERSON, IDS_EVENT_VIEWER, ADMIN, viewers_delete},
    {HTTP_GET, EVENT "/viewers", IDS_EVENT, READ, profiles_list},
    {HTTP_POST, EVENT "/viewers", IDS_EVENT, ADMIN, profiles_import},
    {HTTP_GET, EVENTS, IDS_NONE, READ, events_list},
    {HTTP_GET, EVENT, IDS_EVENT, READ, directory_get},
    {HTTP_PUT, EVENT, IDS_EVENT, ADMIN, directory_put},
    {HTTP_DELETE, EVENT, IDS_EVENT, ADMIN, events_delete},
    {HTTP_GET, EVENT "/sessions", IDS_EVENT, READ, sessions_list},
    {HTTP_GET, SESSION, IDS_EVENT_SESSION, READ, directory_get},
    {HTTP_PUT, SESSION, IDS_EVENT_SESSION, ADMIN, directory_put},
    {HTTP_DELETE, SESSION, IDS_EVENT_SESSION, ADMIN, sessions_delete},
    {HTTP_POST, KEYS, IDS_NONE, ADMIN, keys_post},
    {HTTP_GET, KEYS, IDS_NONE, ADMIN, keys_list},
    {HTTP_DELETE, KEYS "/{keyId}", IDS_KEY, ADMIN, keys_delete},
    {HTTP_GET, "/openapi.json", IDS_NONE, OPEN, openapi_get},
    {HTTP_GET, "/healthz", IDS_NONE, OPEN, health_alive},
    {HTTP_GET, "/readyz", IDS_NONE, OPEN, health_ready},
    {HTTP_GET, "/metrics", IDS_NONE, READ, health_metrics},
};

#define ENDPOINTS (sizeof endpoints / sizeof endpoints[0])
static_assert(ENDPOINTS <= ENDPOINTS_MAX, "the routes of all endpoints have a place");

/* ---- one request ---- */

/* The ids of the path, checked.  False: answered. */
static bool take_ids(struct call *call, enum ids ids, const struct route_match *match)
{
    if (ids == IDS_NONE) {
        return true;
    }
    if (ids == IDS_KEY) {
        call->key_id = match->values[0]; /* one that is none is not found */
        return true;
    }
    call->event = match->values[0];
    if (!id_event_valid(call->event)) {
        call_problem(call, 400, "eventId", "\"eventId\" " EVENT_RULE);
        return false;
    }
    if (ids == IDS_EVENT_SESSION) {
        call->session = match->values[1];
        if (!id_session_valid(call->session)) {
            call_problem(call, 400, "sessionId", "\"sessionId\" " SESSION_RULE);
            return false;
        }
    } else if (ids == IDS_EVENT_VIEWER) {
        call->viewer = match->values[1];
        if (!id_viewer_valid(call->viewer)) {
            call_problem(call, 400, "viewerId", "\"viewerId\" " VIEWER_RULE);
            return false;
        }
    }
    return true;
}

static void bad_encoding(struct call *call, struct slice parameter)
{
    char field[32];
    snprintf(field, sizeof field, "%.*s", SLICE_ARG(parameter));
    call_problem(call, 400, field, "the path's percent-encoding is wrong");
}

/* Also a browser's preflight (Fetch standard, 4.8): to one that may call, what it may send. */
static void answer_options(struct call *call, struct slice allow)
{
    const struct cors *cors = call->worker->api->config.cors;
    struct slice preflight =
        cors == NULL ? SLICE_EMPTY : cors_preflight(cors, call->exchange->request.origin);
    char lines[CORS_PREFLIGHT_BYTES + ROUTE_ALLOW_BYTES];
    ASSERT(allow.len + preflight.len <= sizeof lines);
    memcpy(lines, allow.ptr, allow.len);
    if (preflight.len > 0) {
        memcpy(lines + allow.len, preflight.ptr, preflight.len);
    }
    const struct http_response response = {.status = 204,
                                           .headers = slice_of(lines, allow.len + preflight.len)};
    http_respond(call->exchange, &response);
}

/* A known path with another method: what it does know (RFC 9110, 15.5.6 and 9.3.7). */
static void other_method(struct call *call, unsigned allowed)
{
    char text[ROUTE_ALLOW_BYTES];
    struct slice allow = router_allow(allowed | 1u << HTTP_OPTIONS, text);
    if (call->exchange->request.method == HTTP_OPTIONS) {
        answer_options(call, allow);
        return;
    }
    http_problem_headers(call->exchange, 405, NULL, "the path does not know this method", allow);
}

static void unknown_path(struct call *call)
{
    const struct http_request *request = &call->exchange->request;
    if (request->method == HTTP_OPTIONS && slice_equal(request->path, SLICE_LIT("*"))) {
        other_method(call, 1u << HTTP_GET | 1u << HTTP_POST | 1u << HTTP_PUT | 1u << HTTP_DELETE);
        return;
    }
    call_problem(call, 404, NULL, "there is nothing at this path");
}

static void handle(void *ctx, struct http_exchange *exchange)
{
    struct api *api = ctx;
    struct api_worker *worker = exchange->worker_ctx;
    struct call call = {.exchange = exchange,
                        .worker = worker,
                        .scratch = {.bytes = worker->scratch, .size = SCRATCH_BYTES}};
    struct route_match match;
    if (api->config.cors != NULL) { /* also without an Origin: a cache must know that it matters */
        exchange->headers =
            cors_headers(api->config.cors, exchange->request.origin, exchange->headers_room);
    }
    if (worker->stopping) {
        call_problem(&call, 503, NULL, "the server is stopping");
        return;
    }
    switch (router_match(api->router, exchange->request.method, exchange->request.path,
                         &call.scratch, &match)) {
    case ROUTE_FOUND:
        if (take_ids(&call, endpoints[match.id].ids, &match) &&
            auth_allowed(&call, endpoints[match.id].role)) {
            endpoints[match.id].handle(&call);
        }
        return;
    case ROUTE_NO_PATH:
        unknown_path(&call);
        return;
    case ROUTE_NO_METHOD:
        other_method(&call, match.allowed);
        return;
    case ROUTE_BAD_PARAMETER:
        bad_encoding(&call, match.bad);
        return;
    }
}

static bool slice_has_suffix(struct slice s, struct slice suffix)
{
    return s.len >= suffix.len && memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

/* Nobody makes us keep a large body who has no key for it. */
static uint32_t large_body(struct api *api, const struct http_request *request, unsigned role,
                           uint32_t bytes_max)
{
    return auth_has_role(api, request, role) ? bytes_max : HEARTBEAT_BODY_BYTES_MAX;
}

/* By the path alone, before it is routed: what is none of ours still gets its 404 and not a 413. */
static uint32_t body_bytes_max(void *ctx, const struct http_request *request)
{
    struct api *api = ctx;
    if (slice_equal(request->path, SLICE_LIT("/analytics/heartbeats"))) {
        return large_body(api, request, INGEST, api->config.batch_bytes_max);
    }
    static const struct slice events = {EVENTS "/", sizeof EVENTS};
    static const struct slice viewers = {"/viewers", sizeof "/viewers" - 1};
    struct slice path = request->path;
    if (slice_has_prefix(path, events)) {
        struct slice rest = slice_of(path.ptr + events.len, path.len - events.len);
        if (request->method == HTTP_POST && slice_has_suffix(rest, viewers)) {
            return large_body(api, request, ADMIN, api->config.batch_bytes_max);
        }
        if (request->method == HTTP_PUT && memchr(rest.ptr, '/', rest.len) == NULL) {
            return large_body(api, request, ADMIN, DIRECTORY_BODY_BYTES_MAX);
        }
    }
    return request->method == HTTP_PUT ? PROFILE_BODY_BYTES_MAX : HEARTBEAT_BODY_BYTES_MAX;
}

/* ---- to live/ and back ---- */

bool call_submit(struct call *call, struct live_request *request)
{
    struct api_worker *worker = call->worker;
    ASSERT(!worker->stopping);
    if (!live_submit(worker->port, request)) {
        respond_live_problem(call->exchange, LIVE_BUSY, slice_str(worker->api->retry_after));
        return false;
    }
    worker->in_flight++;
    worker->handed_on = true;
    return true;
}

bool worker_submit(struct api_worker *worker, struct live_request *request)
{
    if (worker->stopping || !live_submit(worker->port, request)) {
        return false;
    }
    worker->in_flight++;
    worker->handed_on = true;
    return true;
}

void worker_returned(struct api_worker *worker)
{
    ASSERT(worker->in_flight > 0);
    worker->in_flight--;
}

/* live/ has answers: called by its threads. */
static void on_live_wake(void *ctx)
{
    struct api_worker *worker = ctx;
    http_worker_wake(atomic_load_explicit(&worker->http, memory_order_acquire));
}

static void *worker_start(void *ctx, struct http_worker *http)
{
    struct api *api = ctx;
    unsigned index = http_worker_index(http);
    ASSERT(index < api->config.workers);
    struct api_worker *worker = &api->workers[index];
    /* Release: whoever wakes by it finds the worker set up. */
    atomic_store_explicit(&worker->http, http, memory_order_release);
    worker->port = live_port_open(api->config.live, index, on_live_wake, worker);
    return worker;
}

/* One message to the engine for all that the turn brought. */
static void worker_turn_end(void *ctx)
{
    struct api_worker *worker = ctx;
    if (worker->handed_on) {
        worker->handed_on = false;
        live_port_flush(worker->port);
    }
}

static void stream_ready(struct http_exchange *exchange)
{
    const struct stream *stream = (const struct stream *)(const void *)exchange->user;
    stream->ready(exchange);
}

static void worker_wake(void *ctx)
{
    struct api_worker *worker = ctx;
    if (worker->stopping && worker->in_flight == 0) {
        return; /* live/ may be gone */
    }
    live_port_drain(worker->port);
    worker_turn_end(worker); /* answers may have led to further questions */
    /* Acquire and release below: with `stopped`, all that we did with live/ lies behind. */
    if (atomic_load_explicit(&worker->api->stopping, memory_order_acquire)) {
        worker->stopping = true;
        if (worker->in_flight == 0) {
            atomic_store_explicit(&worker->stopped, true, memory_order_release);
        }
    }
}

void api_stop(struct api *api)
{
    atomic_store_explicit(&api->stopping, true, memory_order_release);
}

bool api_stopped(struct api *api)
{
    bool stopped = true;
    for (unsigned i = 0; i < api->config.workers; i++) {
        struct api_worker *worker = &api->workers[i];
        struct http_worker *http = atomic_load_explicit(&worker->http, memory_order_acquire);
        if (!atomic_load_explicit(&worker->stopped, memory_order_acquire)) {
            stopped = false;
            if (http != NULL) {
                http_worker_wake(http);
            }
        }
    }
    return stopped;
}

/* ---- the whole ---- */

struct api *api_new(const struct api_config *config)
{
    ASSERT(config->live != NULL && config->workers > 0);
    ASSERT(config->country_headers <= HTTP_WATCHED_MAX && config->session_pattern.len > 0);
    struct api *api = memory_zalloc(sizeof *api);
    api->config = *config;
    pthread_mutex_init(&api->keys_load_lock, NULL);
    pthread_rwlock_init(&api->keys_lock, NULL);
    randombytes_buf(&api->rate_key, sizeof api->rate_key);
    api->shared = shared_answers_new();
    for (size_t i = 0; i < ENDPOINTS; i++) {
        api->routes[i] = (struct route){endpoints[i].method, endpoints[i].pattern, (int)i};
    }
    api->router = router_new(api->routes, ENDPOINTS);
    ASSERT(api->router != NULL);
    snprintf(api->acknowledgement, sizeof api->acknowledgement, "{\"intervalMs\":%lld}",
             (long long)config->interval_ms);
    snprintf(api->retry_after, sizeof api->retry_after, "Retry-After: %lld\r\n",
             (long long)((config->interval_ms + 999) / 1000));
    size_t bytes = config->workers * sizeof *api->workers;
    api->workers = aligned_alloc(alignof(struct api_worker), bytes);
    ASSERT(api->workers != NULL);
    memset(api->workers, 0, bytes);
    for (unsigned i = 0; i < config->workers; i++) {
        api->workers[i].api = api;
        buffer_init(&api->workers[i].answer, ANSWER_BYTES_MAX);
        list_init(&api->workers[i].reports);
        if (config->viewer_rate > 0) {
            api->workers[i].rate = rate_new(config->viewer_rate);
        }
    }
    return api;
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    for (unsigned i = 0; i < api->config.workers; i++) {
        buffer_fini(&api->workers[i].answer);
        report_drop_all(&api->workers[i]);
        rate_free(api->workers[i].rate);
    }
    free(api->workers);
    free(api->keys.keys);
    shared_answers_free(api->shared);
    pthread_rwlock_destroy(&api->keys_lock);
    pthread_mutex_destroy(&api->keys_load_lock);
    router_free(api->router);
    free(api);
}

struct http_handler api_handler(struct api *api)
{
    return (struct http_handler){
        .ctx = api,
        .worker_start = worker_start,
        .body_bytes_max = body_bytes_max,
        .request = handle,
        .wake = worker_wake,
        .stream_ready = stream_ready,
        .turn_end = worker_turn_end,
    };
}

void api_attach(struct api *api, const struct http_server *server)
{
    atomic_store_explicit(&api->server, server, memory_order_release);
}
