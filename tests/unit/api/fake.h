/* fake.h -- an api between a fake http/ and a fake live/, linked in place of the real ones.
 *
 * fake_request() is a request as http/ would give it; what is answered stands in `fake.answer`.
 * What was submitted to live/ waits in `fake.submitted` until the test finishes it, so that the
 * test says what live/ answers.  One request at a time. */
#ifndef NOVABEAT_TESTS_API_FAKE_H
#define NOVABEAT_TESTS_API_FAKE_H

#include "api/api.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "tap.h"

#define FAKE_OTHERS 4

static struct {
    struct api *api;
    struct http_handler handler;
    void *worker;
    struct http_exchange exchange;
    struct live_request *submitted; /* NULL: nothing */
    bool refuse;                    /* live_submit has no room */
    bool ready;
    unsigned flushes, wakes;
    struct {
        int status; /* 0: not answered */
        char type[64], headers[256], field[64];
        char *body;
    } answer;
    /* an answer in pieces */
    struct {
        bool begun, ended, complete;
        char type[64], headers[256];
        char *body; /* NUL-terminated */
        size_t len;
        size_t pending; /* what the next write says */
    } stream;
    /* Further exchanges, for those that wait for one answer together. */
    struct http_exchange others[FAKE_OTHERS];
    int other_status[FAKE_OTHERS]; /* 0: not answered */
} fake;

/* ---- live/ ---- */

struct live_port {
    int unused;
};
static struct live_port fake_port;

struct live_port *live_port_open(struct live *live, uint32_t index, void (*wake)(void *ctx),
                                 void *ctx)
{
    (void)live;
    (void)wake;
    (void)ctx;
    assert_int_equal(index, 0);
    return &fake_port;
}

bool live_submit(struct live_port *port, struct live_request *request)
{
    assert_ptr_equal(port, &fake_port);
    assert_null(fake.submitted);
    if (fake.refuse) {
        return false;
    }
    fake.submitted = request;
    return true;
}

void live_port_flush(struct live_port *port)
{
    assert_ptr_equal(port, &fake_port);
    fake.flushes++;
}

void live_port_drain(struct live_port *port)
{
    assert_ptr_equal(port, &fake_port);
    struct live_request *request = fake.submitted;
    fake.submitted = NULL;
    if (request != NULL) {
        request->done(request);
    }
}

void live_query_fini(struct live_query *query)
{
    (void)query; /* the tests' rows are their own */
}

void live_counters(struct live *live, struct live_counters *counters)
{
    (void)live;
    uint64_t number = 1;
    memset(counters, 0, sizeof *counters);
#define FAKE_COUNTER(name, text) counters->name = number++;
    LIVE_COUNTER_LIST(FAKE_COUNTER)
    LIVE_GAUGE_LIST(FAKE_COUNTER)
#undef FAKE_COUNTER
}

bool live_ready(struct live *live)
{
    (void)live;
    return fake.ready;
}

/* ---- http/ ---- */

static void fake_answer(int status, const char *type, struct slice headers, struct slice body)
{
    assert_int_equal(fake.answer.status, 0); /* exactly once */
    assert_true(status >= 200);
    fake.answer.status = status;
    snprintf(fake.answer.type, sizeof fake.answer.type, "%s", type == NULL ? "" : type);
    snprintf(fake.answer.headers, sizeof fake.answer.headers, "%.*s", SLICE_ARG(headers));
    fake.answer.body = memory_zalloc(body.len + 1);
    if (body.len > 0) {
        memcpy(fake.answer.body, body.ptr, body.len);
    }
    /* With the answer the exchange's bytes are the next request's: nobody may look at them again.
     */
    memset(fake.exchange.user, 0xdd, sizeof fake.exchange.user);
}

/* One of the further exchanges: only that it is answered once, and how. */
static bool fake_other(struct http_exchange *exchange, int status)
{
    if (exchange < fake.others || exchange >= fake.others + FAKE_OTHERS) {
        return false;
    }
    assert_int_equal(fake.other_status[exchange - fake.others], 0);
    fake.other_status[exchange - fake.others] = status;
    memset(exchange->user, 0xdd, sizeof exchange->user);
    return true;
}

void http_respond(struct http_exchange *exchange, const struct http_response *response)
{
    if (fake_other(exchange, response->status)) {
        return;
    }
    assert_ptr_equal(exchange, &fake.exchange);
    fake_answer(response->status, response->content_type, response->headers, response->body);
}

void http_problem_headers(struct http_exchange *exchange, int status, const char *field,
                          const char *detail, struct slice headers)
{
    if (fake_other(exchange, status)) {
        return;
    }
    assert_ptr_equal(exchange, &fake.exchange);
    assert_true(status >= 400 && detail != NULL && detail[0] != '\0');
    fake_answer(status, "application/problem+json", headers, slice_str(detail));
    snprintf(fake.answer.field, sizeof fake.answer.field, "%s", field == NULL ? "" : field);
}

void http_problem(struct http_exchange *exchange, int status, const char *field, const char *detail)
{
    http_problem_headers(exchange, status, field, detail, SLICE_EMPTY);
}

void http_stream_begin(struct http_exchange *exchange, const struct http_response *head)
{
    assert_ptr_equal(exchange, &fake.exchange);
    assert_false(fake.stream.begun);
    assert_int_equal(fake.answer.status, 0);
    assert_int_equal(head->status, 200);
    fake.stream.begun = true;
    snprintf(fake.stream.type, sizeof fake.stream.type, "%s", head->content_type);
    snprintf(fake.stream.headers, sizeof fake.stream.headers, "%.*s", SLICE_ARG(head->headers));
    fake.stream.body = memory_zalloc(1);
}

size_t http_stream_write(struct http_exchange *exchange, struct slice bytes)
{
    assert_true(fake.stream.begun && !fake.stream.ended && !exchange->gone);
    fake.stream.body = memory_resize(fake.stream.body, fake.stream.len + bytes.len + 1);
    memcpy(fake.stream.body + fake.stream.len, bytes.ptr, bytes.len);
    fake.stream.len += bytes.len;
    fake.stream.body[fake.stream.len] = '\0';
    return fake.stream.pending;
}

void http_stream_end(struct http_exchange *exchange, bool complete)
{
    assert_true(fake.stream.begun && !fake.stream.ended);
    fake.stream.ended = true;
    fake.stream.complete = complete;
    memset(exchange->user, 0xdd, sizeof exchange->user);
}

void http_worker_wake(struct http_worker *worker)
{
    (void)worker;
    fake.wakes++;
}

unsigned http_worker_index(const struct http_worker *worker)
{
    (void)worker;
    return 0;
}

void http_server_counters(const struct http_server *server, struct http_counters *counters)
{
    (void)server;
    memset(counters, 0, sizeof *counters);
    counters->responses_4xx = 4;
    counters->requests_total = 10;
}

/* ---- driving it ---- */

static struct network fake_proxies[1];

/* A group setup. */
static int fake_start(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.ready = true;
    assert_true(network_parse(SLICE_LIT("10.0.0.0/8"), &fake_proxies[0]));
    const struct api_config config = {
        .live = (struct live *)&fake, /* never looked into */
        .workers = 1,
        .interval_ms = 30000,
        .session_pattern = SLICE_LIT("/sessions/"),
        .trusted_proxies = fake_proxies,
        .trusted_proxies_count = 1,
        .country_headers = 2,
        .batch_bytes_max = 1 << 20,
        .version = "1.2.3",
    };
    fake.api = api_new(&config);
    fake.handler = api_handler(fake.api);
    fake.worker = fake.handler.worker_start(fake.handler.ctx, (struct http_worker *)&fake);
    return 0;
}

static int fake_stop(void **state)
{
    (void)state;
    free(fake.answer.body);
    free(fake.stream.body);
    api_free(fake.api);
    return 0;
}

static void fake_peer(const char *address)
{
    struct sockaddr_in *peer = (struct sockaddr_in *)&fake.exchange.peer;
    peer->sin_family = AF_INET;
    assert_int_equal(inet_pton(AF_INET, address, &peer->sin_addr), 1);
}

/* A fresh exchange, to be filled further before fake_handle. */
static struct http_request *fake_new(enum http_method method, const char *target, struct slice body)
{
    free(fake.answer.body);
    memset(&fake.answer, 0, sizeof fake.answer);
    free(fake.stream.body);
    memset(&fake.stream, 0, sizeof fake.stream);
    memset(&fake.exchange, 0, sizeof fake.exchange);
    fake.submitted = NULL;
    fake.exchange.worker_ctx = fake.worker;
    fake_peer("192.0.2.1");
    struct http_request *request = &fake.exchange.request;
    const char *mark = strchr(target, '?');
    request->method = method;
    request->path = slice_of(target, mark == NULL ? strlen(target) : (size_t)(mark - target));
    request->query = mark == NULL ? SLICE_EMPTY : slice_str(mark + 1);
    request->body = body;
    return request;
}

static void fake_handle(void)
{
    fake.handler.request(fake.handler.ctx, &fake.exchange);
    fake.handler.turn_end(fake.worker);
}

static void fake_request(enum http_method method, const char *target, const char *body)
{
    fake_new(method, target, slice_str(body));
    fake_handle();
}

/* live/ gives back what was submitted. */
static inline void fake_finish(void)
{
    assert_non_null(fake.submitted);
    assert_int_equal(fake.answer.status, 0);
    fake.handler.wake(fake.worker);
    assert_int_not_equal(fake.answer.status, 0);
}

static inline struct live_beat *fake_beats(uint32_t count)
{
    assert_non_null(fake.submitted);
    assert_int_equal(fake.submitted->kind, LIVE_HEARTBEATS);
    struct live_heartbeats *beats = (struct live_heartbeats *)fake.submitted;
    assert_int_equal(beats->count, count);
    return beats->beats;
}

static inline struct live_query *fake_query(enum live_query_kind kind)
{
    assert_non_null(fake.submitted);
    assert_int_equal(fake.submitted->kind, LIVE_QUERY);
    struct live_query *query = (struct live_query *)fake.submitted;
    assert_int_equal(query->kind, kind);
    return query;
}

static inline void assert_slice(struct slice slice, const char *expected)
{
    if (!slice_equal(slice, slice_str(expected))) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_ARG(slice), expected);
    }
}

/* The answer is this problem. */
static inline void assert_problem(int status, const char *field)
{
    if (fake.answer.status != status || strcmp(fake.answer.field, field) != 0) {
        fail_msg("%d \"%s\" (%s) is not %d \"%s\"", fake.answer.status, fake.answer.field,
                 fake.answer.body == NULL ? "" : fake.answer.body, status, field);
    }
    assert_string_equal(fake.answer.type, "application/problem+json");
    assert_null(fake.submitted);
}

/* The answer is 200 with JSON equal to this one, member order aside. */
static inline void assert_json(const char *expected)
{
    json_error_t error;
    assert_int_equal(fake.answer.status, 200);
    assert_string_equal(fake.answer.type, "application/json");
    json_t *is = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, &error);
    if (is == NULL) {
        fail_msg("%s: %s", error.text, fake.answer.body);
    }
    json_t *should = json_loads(expected, 0, &error);
    assert_non_null(should);
    if (!json_equal(is, should)) {
        fail_msg("%s is not %s", fake.answer.body, expected);
    }
    json_decref(is);
    json_decref(should);
}

#define fake_run(tests)                                                                            \
    (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, fake_start, fake_stop))

#endif
