/* test_stream.c -- answers in pieces, over real sockets: back pressure, peers that go, ends.
 *
 * NOVABEAT_HTTP_WORKERS=2 runs all of it with two workers (for TSan).
 *
 *     /stream?TOTAL&PIECE     TOTAL bytes of the pattern in pieces of PIECE; &x: then breaks off
 *     /live                   "tick" and then nothing until the release: "tock", and the end
 *     /begin                  begins only at the release, writes "late", ends */
#define _GNU_SOURCE
#include "tap.h"

#include <poll.h>

#include "serving.h"

#define H "Host: h\r\n"

/* Chunk framing that pending may contain besides the piece. */
#define FRAMING 32

struct source {
    uint64_t at, total;
    size_t piece;
    bool broken, live;
};

static_assert(sizeof(struct source) <= HTTP_USER_BYTES, "");

static struct {
    _Atomic uint64_t pending_max; /* over all streams */
    _Atomic unsigned begun, ended, gone, ready;
} seen;

static char pattern[(4u << 20) + 251];

static struct client one, two;

/* ---- the handler ---- */

static size_t put(struct http_exchange *exchange, struct slice bytes)
{
    size_t pending = http_stream_write(exchange, bytes);
    if (!exchange->gone && pending > atomic_load(&seen.pending_max)) {
        atomic_store(&seen.pending_max, pending);
    }
    return pending;
}

static void end(struct http_exchange *exchange, bool complete)
{
    atomic_fetch_add(&seen.ended, 1);
    http_stream_end(exchange, complete);
}

static void produce(struct http_exchange *exchange)
{
    struct source *source = (struct source *)exchange->user;
    while (source->at < source->total) {
        uint64_t left = source->total - source->at;
        size_t len = left < source->piece ? (size_t)left : source->piece;
        const char *from = pattern + source->at % 251;
        source->at += len;
        if (put(exchange, slice_of(from, len)) >= HTTP_STREAM_LOW) {
            return;
        }
    }
    end(exchange, !source->broken);
}

static void begin(struct http_exchange *exchange)
{
    atomic_fetch_add(&seen.begun, 1);
    http_stream_begin(exchange, &(struct http_response){.status = 200, .content_type = "text/csv"});
}

static void wait_for_release(struct http_exchange *exchange)
{
    struct app_worker *own = exchange->worker_ctx;
    ASSERT(own->pending_count < PENDING_MAX);
    own->pending[own->pending_count++] = exchange;
    atomic_fetch_add(&app.waiting, 1);
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
    struct slice path = exchange->request.path;
    struct source *source = (struct source *)exchange->user;
    ASSERT(!exchange->gone && exchange->headers.len == 0);
    if (slice_equal(path, SLICE_LIT("/stream"))) {
        char query[100], *rest;
        snprintf(query, sizeof query, "%.*s", SLICE_ARG(exchange->request.query));
        source->total = strtoull(query, &rest, 10);
        source->piece = strtoul(rest + 1, &rest, 10);
        source->broken = *rest == '&';
        ASSERT(source->piece > 0 && source->piece <= sizeof pattern - 251);
        begin(exchange);
        produce(exchange);
    } else if (slice_equal(path, SLICE_LIT("/live"))) {
        source->live = true;
        begin(exchange);
        put(exchange, SLICE_LIT("tick"));
        put(exchange, SLICE_EMPTY); /* not the last chunk */
        wait_for_release(exchange);
    } else if (slice_equal(path, SLICE_LIT("/begin"))) {
        wait_for_release(exchange);
    } else {
        exchange->headers = SLICE_LIT("Vary: Origin\r\n");
        app_request(ctx, exchange);
    }
}

static void forget(struct http_exchange *exchange)
{
    struct app_worker *own = exchange->worker_ctx;
    for (unsigned i = 0; i < own->pending_count; i++) {
        if (own->pending[i] == exchange) {
            own->pending[i] = own->pending[--own->pending_count];
            atomic_fetch_sub(&app.waiting, 1);
            return;
        }
    }
    ASSERT(!"it waits");
}

static void on_stream_ready(struct http_exchange *exchange)
{
    struct source *source = (struct source *)exchange->user;
    atomic_fetch_add(&seen.ready, 1);
    if (!exchange->gone) {
        ASSERT(!source->live); /* it never wrote that much */
        produce(exchange);
        return;
    }
    atomic_fetch_add(&seen.gone, 1);
    if (source->live) {
        forget(exchange);
    }
    size_t pending = http_stream_write(exchange, SLICE_LIT("into the void"));
    ASSERT(pending == HTTP_STREAM_LOW);
    end(exchange, true);
}

static void on_wake(void *worker_ctx)
{
    struct app_worker *own = worker_ctx;
    if (atomic_load(&app.hold)) {
        return;
    }
    while (own->pending_count > 0) {
        struct http_exchange *exchange = own->pending[--own->pending_count];
        struct source *source = (struct source *)exchange->user;
        atomic_fetch_sub(&app.waiting, 1);
        if (!source->live) {
            begin(exchange);
        }
        put(exchange, source->live ? SLICE_LIT("tock") : SLICE_LIT("late"));
        end(exchange, true);
    }
}

static int set_up(void **state)
{
    (void)state;
    if (server != NULL) {
        stop(); /* a test before this one failed */
    }
    config_reset();
    memset(&seen, 0, sizeof seen);
    atomic_store(&app.hold, true);
    handler.request = on_request;
    handler.stream_ready = on_stream_ready;
    handler.wake = on_wake;
    return 0;
}

/* ---- the client ---- */

/* With a small window, so that the server feels it early. */
static void dial_slow(struct client *client)
{
    int small = 4096;
    client->fd = socket_new();
    client->len = 0;
    setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_true(try_connect(client->fd));
}

static void head(struct client *client)
{
    assert_true(hear(client, true));
    assert_int_equal(reply.status, 200);
    assert_null(strstr(reply.head, "Content-Length"));
    assert_non_null(strstr(reply.head, "Content-Type: text/csv\r\n"));
}

static void drop(struct client *client, size_t len)
{
    client->len -= len;
    memmove(client->bytes, client->bytes + len, client->len);
}

/* One chunk's size line; false when the connection ended before it. */
static bool chunk_size(struct client *client, size_t *size)
{
    char *line_end;
    while ((line_end = memmem(client->bytes, client->len, "\r\n", 2)) == NULL) {
        if (!fill(client)) {
            return false;
        }
    }
    char *rest;
    *size = strtoul(client->bytes, &rest, 16);
    assert_ptr_equal(rest, line_end); /* hex, and nothing else */
    drop(client, (size_t)(line_end + 2 - client->bytes));
    return true;
}

/* Up to `len` bytes of the pattern from *at on; false at the connection's end. */
static bool same(struct client *client, uint64_t *at, size_t len)
{
    while (len > 0) {
        if (client->len == 0 && !fill(client)) {
            return false;
        }
        size_t some = len < client->len ? len : client->len;
        assert_memory_equal(client->bytes, pattern + *at % 251, some);
        *at += some;
        len -= some;
        drop(client, some);
    }
    return true;
}

/* A chunked body of the pattern: its length.  *whole: did its last chunk come? */
static uint64_t chunks(struct client *client, bool *whole)
{
    uint64_t at = 0;
    size_t size;
    *whole = false;
    while (chunk_size(client, &size)) {
        if (!same(client, &at, size)) {
            return at;
        }
        while (client->len < 2) {
            if (!fill(client)) {
                return at;
            }
        }
        assert_memory_equal(client->bytes, "\r\n", 2);
        drop(client, 2);
        if (size == 0) {
            *whole = true;
            return at;
        }
    }
    return at;
}

static void expect_stream(struct client *client, uint64_t total)
{
    bool whole;
    head(client);
    assert_non_null(strstr(reply.head, "Transfer-Encoding: chunked\r\n"));
    assert_int_equal(chunks(client, &whole), total);
    assert_true(whole);
}

static void ask(struct client *client, uint64_t total, size_t piece, const char *more)
{
    char text[200];
    sprintf(text, "GET /stream?%llu&%zu%s HTTP/1.1\r\n" H "\r\n", (unsigned long long)total, piece,
            more);
    say(client, text);
}

/* The server has sent what the peer's window takes, and waits. */
static void stalled(void)
{
    uint64_t before;
    do {
        before = counters().bytes_out;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    } while (counters().bytes_out != before || before == 0);
}

static void finished(unsigned streams, unsigned gone)
{
    UNTIL(atomic_load(&seen.ended) == streams);
    assert_int_equal(atomic_load(&seen.begun), streams);
    assert_int_equal(atomic_load(&seen.gone), gone);
    stop_empty();
    assert_int_equal(atomic_load(&seen.ended), streams);
    assert_int_equal(atomic_load(&seen.gone), gone);
}

/* ---- tests ---- */

static void test_bytes_on_the_wire(void **state)
{
    (void)state;
    static const char expected[] = "4\r\ntick\r\n4\r\ntock\r\n0\r\n\r\n";
    serve();
    dial(&one);
    say(&one, "GET /live HTTP/1.1\r\n" H "\r\n");
    head(&one);
    assert_null(strstr(reply.head, "Connection:"));
    while (one.len < 9) { /* what was written is there before the end is */
        assert_true(fill(&one));
    }
    assert_memory_equal(one.bytes, expected, 9);
    app_release();
    while (one.len < sizeof expected - 1) {
        assert_true(fill(&one));
    }
    assert_int_equal(one.len, sizeof expected - 1);
    assert_memory_equal(one.bytes, expected, one.len);
    one.len = 0;
    say(&one, "GET /now HTTP/1.1\r\n" H "\r\n"); /* the connection goes on */
    expect(&one, 200, "GET|/now||");
    hang_up(&one);
    finished(1, 0);
}

static void test_sizes(void **state)
{
    (void)state;
    static const uint64_t cases[][2] = {
        {0, 1},         {1, 1},   {15, 15},           {16, 16},     {1000, 7},
        {300000, 4096}, {9, 100}, {1 << 20, 1 << 16}, {5000, 4999}, {4 << 20, 4 << 20}};
    serve();
    dial(&one);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(&one, cases[i][0], cases[i][1], "");
        expect_stream(&one, cases[i][0]);
    }
    hang_up(&one);
    struct http_counters now = counters();
    assert_int_equal(now.responses_2xx, sizeof cases / sizeof cases[0]);
    finished(sizeof cases / sizeof cases[0], 0);
}

static void test_slow_reader_bounds_memory(void **state)
{
    (void)state;
    enum { TOTAL = 24 << 20, PIECE = 50000 };
    serve();
    dial_slow(&one);
    ask(&one, TOTAL, PIECE, "");
    stalled();
    assert_true(atomic_load(&seen.pending_max) >= HTTP_STREAM_LOW);
    assert_true(counters().bytes_out < TOTAL / 2); /* so the source did wait */
    expect_stream(&one, TOTAL);
    assert_true(atomic_load(&seen.pending_max) < HTTP_STREAM_LOW + PIECE + FRAMING);
    assert_true(atomic_load(&seen.ready) > 1);
    hang_up(&one);
    finished(1, 0);
}

static void test_head(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "HEAD /stream?20000000&1000 HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\n");
    head(&one);
    assert_non_null(strstr(reply.head, "Transfer-Encoding: chunked\r\n"));
    expect(&one, 200, "GET|/now||"); /* comes right behind it */
    assert_int_equal(atomic_load(&seen.pending_max), 0);
    say(&one, "HEAD /stream?10&10 HTTP/1.0\r\n\r\n");
    head(&one);
    expect_end(&one);
    finished(2, 0);
}

static void test_http_1_0(void **state)
{
    (void)state;
    uint64_t at = 0;
    serve();
    dial(&one);
    say(&one, "GET /stream?3000000&70000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    head(&one);
    assert_null(strstr(reply.head, "Transfer-Encoding"));
    assert_non_null(strstr(reply.head, "Connection: close\r\n"));
    assert_true(same(&one, &at, 3000000));
    expect_end(&one);
    /* Broken off, it must not look whole: a reset, not a FIN. */
    dial(&one);
    say(&one, "GET /stream?3000&70&x HTTP/1.0\r\n\r\n");
    ssize_t got;
    char bytes[1000];
    do {
        got = recv(one.fd, bytes, sizeof bytes, 0);
    } while (got > 0);
    assert_int_equal(got, -1);
    assert_int_equal(errno, ECONNRESET);
    hang_up(&one);
    finished(2, 0);
}

static void test_incomplete(void **state)
{
    (void)state;
    bool whole;
    serve();
    dial(&one);
    ask(&one, 1000000, 10000, "&x");
    ask(&one, 10, 10, ""); /* never looked at */
    head(&one);
    assert_int_equal(chunks(&one, &whole), 1000000);
    assert_false(whole);
    hang_up(&one);
    finished(1, 0);
}

/* What is pipelined behind a stream waits for it, even more than the buffer holds. */
static void test_pipelined(void **state)
{
    (void)state;
    static char text[400 * 100];
    serve();
    dial(&one);
    size_t len = (size_t)sprintf(text, "GET /live HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 300; i++) {
        const char *path = i % 3 == 0   ? "/stream?900&17"
                           : i % 3 == 1 ? "/now"
                                        : "/stream?300000&5000";
        len += (size_t)sprintf(text + len,
                               "POST %s HTTP/1.1\r\n" H "Content-Length: 50\r\n\r\n%050d", path, i);
    }
    assert_true(len > 16384 * 2);
    say_bytes(&one, text, len);
    UNTIL(atomic_load(&app.waiting) == 1);
    stalled();
    assert_int_equal(counters().requests_total, 1);
    app_release();
    head(&one);
    while (one.len < 23) {
        assert_true(fill(&one));
    }
    drop(&one, 23); /* tick, tock, the end */
    for (int i = 0; i < 300; i++) {
        char body[100];
        sprintf(body, "POST|/now||%050d", i);
        if (i % 3 == 1) {
            expect(&one, 200, body);
        } else {
            expect_stream(&one, i % 3 == 0 ? 900 : 300000);
        }
    }
    hang_up(&one);
    finished(201, 0);
}

static void test_half_closed(void **state)
{
    (void)state;
    serve();
    dial_slow(&one);
    ask(&one, 2000000, 10000, "");
    ask(&one, 1000, 10, "");
    shutdown(one.fd, SHUT_WR);
    expect_stream(&one, 2000000);
    expect_stream(&one, 1000);
    expect_end(&one);
    finished(2, 0);
}

/* Once told, one end each: with bytes pending, with none, with the window shut. */
static void test_peers_that_vanish(void **state)
{
    (void)state;
    serve();
    for (int round = 0; round < 20; round++) {
        unsigned ended = atomic_load(&seen.ended);
        atomic_store(&seen.pending_max, 0);
        dial_slow(&one);
        dial(&two);
        ask(&one, 100u << 20, 10000, "");
        say(&two, "GET /live HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\n");
        UNTIL(atomic_load(&app.waiting) == 1 && atomic_load(&seen.pending_max) >= HTTP_STREAM_LOW);
        vanish(&one);
        vanish(&two);
        UNTIL(atomic_load(&seen.ended) == ended + 2);
        UNTIL(counters().connections_open == 0);
    }
    finished(40, 40);
}

/* A FIN of one that reads no more shows as a reset when something is written to it. */
static void test_peer_that_closes(void **state)
{
    (void)state;
    serve();
    dial(&one);
    ask(&one, 100u << 20, 10000, "");
    UNTIL(atomic_load(&seen.pending_max) >= HTTP_STREAM_LOW);
    hang_up(&one);
    finished(1, 1);
}

static void test_gone_before_it_begins(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "GET /begin HTTP/1.1\r\n" H "\r\n");
    UNTIL(atomic_load(&app.waiting) == 1);
    vanish(&one);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* either way is right */
    app_release();
    finished(1, 0); /* it was ended before it could be told */
}

static void test_write_timeout(void **state)
{
    (void)state;
    config.write_timeout_ms = 50;
    config.idle_timeout_ms = 50;
    serve();
    dial_slow(&one);
    ask(&one, 100u << 20, 10000, "");
    dial(&two);
    say(&two, "GET /live HTTP/1.1\r\n" H "\r\n"); /* owes nothing: no timeout */
    UNTIL(counters().timeouts == 1);
    UNTIL(atomic_load(&seen.gone) == 1);
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
    assert_int_equal(counters().timeouts, 1);
    app_release();
    head(&two);
    while (two.len < 23) {
        assert_true(fill(&two));
    }
    hang_up(&one);
    hang_up(&two);
    finished(2, 1);
}

static void test_output_bound(void **state)
{
    (void)state;
    config.output_bytes_max = 100000; /* less than the handler was promised */
    serve();
    dial_slow(&one);
    ask(&one, 100u << 20, 10000, "");
    UNTIL(atomic_load(&seen.gone) == 1);
    assert_true(atomic_load(&seen.pending_max) <= 100000);
    hang_up(&one);
    finished(1, 1);
}

static void test_drain(void **state)
{
    (void)state;
    enum { TOTAL = 8 << 20 };
    serve();
    dial_slow(&one);
    dial(&two);
    ask(&one, TOTAL, 10000, "");
    say(&two, "GET /live HTTP/1.1\r\n" H "\r\n");
    UNTIL(atomic_load(&app.waiting) == 1 && atomic_load(&seen.pending_max) >= HTTP_STREAM_LOW);
    http_server_drain(server);
    expect_stream(&one, TOTAL); /* it began before, so its head could not say "close"… */
    expect_end(&one);           /* …but it is the last */
    assert_false(http_server_drained(server));
    app_release();
    head(&two);
    UNTIL(http_server_drained(server));
    hang_up(&two);
    finished(2, 0);
}

static void test_stop_with_open_streams(void **state)
{
    (void)state;
    serve();
    dial_slow(&one);
    dial(&two);
    ask(&one, 100u << 20, 10000, "");
    say(&two, "GET /live HTTP/1.1\r\n" H "\r\n");
    UNTIL(atomic_load(&app.waiting) == 1 && atomic_load(&seen.pending_max) >= HTTP_STREAM_LOW);
    stop();
    assert_int_equal(atomic_load(&seen.ended), 0);
    hang_up(&one);
    hang_up(&two);
}

/* Streams of one, two, … readers of different speed at one time, none of which waits for another.
 */
static void test_many_at_once(void **state)
{
    (void)state;
    enum { CLIENTS = 60 };
    static struct client clients[CLIENTS];
    static uint64_t at[CLIENTS];
    uint64_t seed = tap_seed();
    serve();
    for (int i = 0; i < CLIENTS; i++) {
        char text[100];
        at[i] = 0;
        dial_slow(&clients[i]);
        sprintf(text, "GET /stream?%u&%u HTTP/1.0\r\n\r\n", 1000000 + i, 1000 * (i + 1));
        say(&clients[i], text);
    }
    for (int i = CLIENTS - 1; i >= 0; i--) {
        head(&clients[i]);
    }
    for (int left = CLIENTS; left > 0;) {
        int i = (int)(tap_random(&seed) % CLIENTS);
        uint64_t total = 1000000 + (uint64_t)i;
        uint64_t some = 1 + tap_random(&seed) % 50000;
        if (at[i] < total) {
            assert_true(same(&clients[i], &at[i], some < total - at[i] ? some : total - at[i]));
            left -= at[i] == total;
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        expect_end(&clients[i]);
    }
    assert_true(atomic_load(&seen.pending_max) < HTTP_STREAM_LOW + 1000 * CLIENTS + FRAMING);
    finished(CLIENTS, 0);
}

/* The exchange's lines are in every kind of answer, and are no other request's. */
static void test_headers_of_the_exchange(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&one, 200, "GET|/now||");
    assert_non_null(strstr(reply.head, "\r\nVary: Origin\r\n\r\n"));
    say(&one, "GET /problem HTTP/1.1\r\n" H "\r\n");
    expect(&one, 404, NULL);
    assert_non_null(strstr(reply.head, "\r\nVary: Origin\r\n\r\n"));
    ask(&one, 10, 10, "");
    expect_stream(&one, 10);
    assert_null(strstr(reply.head, "Vary"));
    say(&one, "NONSENSE\r\n\r\n");
    expect_refusal(&one, 501);
    assert_null(strstr(reply.head, "Vary"));
    finished(1, 0);
}

static void on_request_with_headers(void *ctx, struct http_exchange *exchange)
{
    (void)ctx;
    exchange->headers = SLICE_LIT("Vary: Origin\r\n");
    begin(exchange);
    put(exchange, SLICE_LIT("x"));
    end(exchange, true);
}

static void test_headers_of_a_stream(void **state)
{
    (void)state;
    handler.request = on_request_with_headers;
    serve();
    dial(&one);
    say(&one, "GET / HTTP/1.1\r\n" H "\r\n");
    head(&one);
    assert_non_null(strstr(reply.head, "\r\nVary: Origin\r\n\r\n"));
    hang_up(&one);
    finished(1, 0);
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (char)(i % 251); /* also CR, LF and zero */
    }
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_on_the_wire),
        TEST(test_sizes),
        TEST(test_slow_reader_bounds_memory),
        TEST(test_head),
        TEST(test_http_1_0),
        TEST(test_incomplete),
        TEST(test_pipelined),
        TEST(test_half_closed),
        TEST(test_peers_that_vanish),
        TEST(test_peer_that_closes),
        TEST(test_gone_before_it_begins),
        TEST(test_write_timeout),
        TEST(test_output_bound),
        TEST(test_drain),
        TEST(test_stop_with_open_streams),
        TEST(test_many_at_once),
        TEST(test_headers_of_the_exchange),
        TEST(test_headers_of_a_stream),
    };
    return tap_run(tests);
}
