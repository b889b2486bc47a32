/* test_server.c -- the server over real sockets: order, bounds, timeouts, peers that misbehave.
 *
 * NOVABEAT_HTTP_WORKERS=2 runs all of it with two workers (for TSan). */
#define _GNU_SOURCE
#include "tap.h"

#include <sys/resource.h>

#include "serving.h"

#define H "Host: h\r\n"

static struct client one, two;

static int set_up(void **state)
{
    (void)state;
    if (server != NULL) {
        stop(); /* a test before this one failed */
    }
    config_reset();
    return 0;
}

static void test_keep_alive(void **state)
{
    (void)state;
    serve();
    dial(&one);
    for (int i = 0; i < 100; i++) {
        say(&one, "POST /now?q HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
        expect(&one, 200, "POST|/now|q|abc");
        assert_null(strstr(reply.head, "Connection:"));
    }
    /* Empty lines between requests are nothing. */
    say(&one, "\r\n\r\nGET /now HTTP/1.1\r\n" H "\r\n\r\n");
    expect(&one, 200, "GET|/now||");
    say(&one, "GET /problem HTTP/1.1\r\n" H "\r\n");
    expect(&one, 404,
           "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"no such "
           "event\",\"field\":\"event\"}");
    say(&one, "GET /now HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
    expect(&one, 200, NULL);
    assert_non_null(strstr(reply.head, "\r\nConnection: close\r\n"));
    expect_end(&one);
    struct http_counters now = counters();
    assert_int_equal(now.requests_total, 103);
    assert_int_equal(now.responses_2xx, 102);
    assert_int_equal(now.responses_4xx, 1);
    assert_int_equal(now.connections_total, 1);
    stop_empty();
}

static void test_http_1_0(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(&one, 200, "GET|/now||");
    assert_non_null(strstr(reply.head, "Connection: keep-alive\r\n"));
    say(&one, "GET /now HTTP/1.0\r\n\r\n");
    expect(&one, 200, "GET|/now||");
    expect_end(&one);
    stop_empty();
}

static void test_head_has_no_body(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "HEAD /now HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\n");
    assert_true(hear(&one, true));
    assert_non_null(strstr(reply.head, "Content-Length: 11\r\n"));
    expect(&one, 200, "GET|/now||");                /* comes right behind it */
    say(&one, "HEAD /now HTTP/1.1\r\n" H H "\r\n"); /* refused, and still no body */
    assert_true(hear(&one, true));
    assert_int_equal(reply.status, 400);
    expect_end(&one);
    stop_empty();
}

/* More requests in one write than a turn takes; answers in order. */
static void test_pipelining(void **state)
{
    (void)state;
    static char text[200 * 100];
    serve();
    dial(&one);
    size_t len = 0;
    for (int i = 0; i < 200; i++) {
        len += (size_t)sprintf(text + len, "PUT /%d HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n%02d",
                               i, i % 100);
    }
    say_bytes(&one, text, len);
    for (int i = 0; i < 200; i++) {
        char body[50];
        sprintf(body, "PUT|/%d||%02d", i, i % 100);
        expect(&one, 200, body);
    }
    hang_up(&one);
    stop_empty();
}

/* Answers keep their order when some come at once and some later; what is pipelined behind an open
 * request, even more than the buffer holds, waits. */
static void test_pipelining_across_deferred_answers(void **state)
{
    (void)state;
    static char text[400 * 100];
    serve();
    dial(&one);
    atomic_store(&app.hold, true);
    size_t len = 0;
    for (int i = 0; i < 400; i++) {
        len += (size_t)sprintf(text + len,
                               "POST /%s?%d HTTP/1.1\r\n" H "Content-Length: 30\r\n\r\n%030d",
                               i % 3 == 0 ? "later" : "now", i, i);
    }
    assert_true(len > 16384 * 2); /* the server must stop reading in the middle */
    say_bytes(&one, text, len);
    UNTIL(atomic_load(&app.waiting) == 1);
    app_release();
    for (int i = 0; i < 400; i++) {
        char body[100];
        sprintf(body, "POST|/%s|%d|%030d", i % 3 == 0 ? "later" : "now", i, i);
        expect(&one, 200, body);
    }
    hang_up(&one);
    stop_empty();
}

static void test_many_deferred_in_one_go(void **state)
{
    (void)state;
    static struct client clients[100];
    serve();
    atomic_store(&app.hold, true);
    for (int i = 0; i < 100; i++) {
        char text[100];
        dial(&clients[i]);
        sprintf(text, "GET /later?%d HTTP/1.1\r\n" H "\r\n", i);
        say(&clients[i], text);
    }
    UNTIL(atomic_load(&app.waiting) == 100);
    app_release();
    for (int i = 0; i < 100; i++) {
        char body[100];
        sprintf(body, "GET|/later|%d|", i);
        expect(&clients[i], 200, body);
        hang_up(&clients[i]);
    }
    stop_empty();
}

static const char *const split_requests[][2] = {
    {"GET /now?a=b HTTP/1.1\r\n" H "\r\n", "GET|/now|a=b|"},
    {"POST /later HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\nhello world",
     "POST|/later||hello world"},
    {"POST /now HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n "
     "world\r\n0\r\nT: t\r\n\r\n",
     "POST|/now||hello world"},
    {"\r\nPUT http://h/x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc", "PUT|/x||abc"},
};

/* Two writes, with the server having read the first before the second is made. */
static void test_split_at_every_byte(void **state)
{
    (void)state;
    serve();
    dial(&one);
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof split_requests / sizeof split_requests[0]; i++) {
        const char *text = split_requests[i][0];
        size_t len = strlen(text);
        for (size_t at = 1; at < len; at++) {
            say_bytes(&one, text, at);
            bytes += at;
            UNTIL(counters().bytes_in == bytes);
            say_bytes(&one, text + at, len - at);
            bytes += len - at;
            expect(&one, 200, split_requests[i][1]);
        }
    }
    hang_up(&one);
    stop_empty();
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    serve();
    dial(&one);
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof split_requests / sizeof split_requests[0]; i++) {
        for (const char *at = split_requests[i][0]; *at != '\0'; at++) {
            say_bytes(&one, at, 1);
            bytes++;
            UNTIL(counters().bytes_in == bytes);
        }
        expect(&one, 200, split_requests[i][1]);
    }
    hang_up(&one);
    stop_empty();
}

static void test_continue(void **state)
{
    (void)state;
    serve();
    dial(&one);
    say(&one, "POST /now HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
    expect(&one, 100, NULL);
    say(&one, "abc");
    expect(&one, 200, "POST|/now||abc");
    say(&one, "POST /now HTTP/1.1\r\n" H "Expect: 100-continue\r\nTransfer-Encoding: "
              "chunked\r\n\r\n");
    expect(&one, 100, NULL);
    say(&one, "3\r\nabc\r\n0\r\n\r\n");
    expect(&one, 200, "POST|/now||abc");
    /* Not asked for when the body is already here, and useless when it is too large. */
    say(&one, "POST /now HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    expect(&one, 200, "POST|/now||abc");
    say(&one, "POST /small HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    expect_refusal(&one, 413);
    stop_empty();
}

static void test_large_bodies(void **state)
{
    (void)state;
    static char text[BODY_MAX + 4096];
    uint64_t seed = tap_seed();
    serve();
    dial(&one);
    for (int chunked = 0; chunked < 2; chunked++) {
        size_t body_len = BODY_MAX - (size_t)(tap_random(&seed) % 1000), len;
        uint32_t sum = 0;
        char expected[64];
        static char body[BODY_MAX];
        for (size_t i = 0; i < body_len; i++) {
            body[i] = (char)tap_random(&seed);
            sum = sum * 31 + (unsigned char)body[i];
        }
        sprintf(expected, "%zu %u", body_len, sum);
        if (chunked == 0) {
            len = (size_t)sprintf(text, "POST /sum HTTP/1.1\r\n" H "Content-Length: %zu\r\n\r\n",
                                  body_len);
            memcpy(text + len, body, body_len);
            len += body_len;
        } else {
            len = (size_t)sprintf(text,
                                  "POST /sum HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");
            for (size_t at = 0; at < body_len;) {
                size_t chunk = 1 + (size_t)(tap_random(&seed) % 70000);
                chunk = chunk < body_len - at ? chunk : body_len - at;
                len += (size_t)sprintf(text + len, "%zx\r\n", chunk);
                memcpy(text + len, body + at, chunk);
                len += chunk;
                len += (size_t)sprintf(text + len, "\r\n");
                at += chunk;
            }
            len += (size_t)sprintf(text + len, "0\r\n\r\n");
        }
        len += (size_t)sprintf(text + len, "GET /now HTTP/1.1\r\n" H "\r\n");
        say_bytes(&one, text, len);
        expect(&one, 200, expected);
        expect(&one, 200, "GET|/now||"); /* the one behind it is whole */
    }
    hang_up(&one);
    stop_empty();
}

static void test_header_timeout(void **state)
{
    (void)state;
    config.header_timeout_ms = 50;
    serve();
    dial(&one);
    /* Slow-loris: a byte now and then does not help. */
    const char *text = "GET /now HTTP/1.1\r\n";
    uint64_t bytes = 0;
    while (counters().timeouts == 0) {
        ssize_t sent = send(one.fd, *text == '\0' ? "x" : text++, 1, MSG_NOSIGNAL);
        bytes += sent > 0;
        assert_true(bytes < 10000);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    expect_refusal(&one, 408);
    stop_empty();
}

static void test_body_timeout(void **state)
{
    (void)state;
    config.body_timeout_ms = 50;
    serve();
    dial(&one);
    say(&one, "POST /now HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab");
    expect_refusal(&one, 408);
    dial(&one);
    say(&one, "POST /now HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    expect_refusal(&one, 408);
    assert_int_equal(counters().timeouts, 2);
    stop_empty();
}

static void test_idle_timeout(void **state)
{
    (void)state;
    config.idle_timeout_ms = 50;
    serve();
    dial(&one);
    expect_end(&one); /* never said a word */
    dial(&one);
    say(&one, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&one, 200, NULL);
    expect_end(&one);
    /* An open request is not idle, however long its answer takes. */
    atomic_store(&app.hold, true);
    dial(&one);
    say(&one, "GET /later HTTP/1.1\r\n" H "\r\n");
    UNTIL(atomic_load(&app.waiting) == 1);
    dial(&two);
    expect_end(&two); /* its 50 ms began later */
    app_release();
    expect(&one, 200, NULL);
    hang_up(&one);
    assert_int_equal(counters().timeouts, 3);
    stop_empty();
}

#define BIG_BYTES (32u << 20)

static void ask_big(struct client *client)
{
    int small = 4096;
    client->fd = socket_new();
    client->len = 0;
    setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_true(try_connect(client->fd));
    char text[100];
    sprintf(text, "GET /big?%u HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\n", BIG_BYTES);
    say(client, text);
}

static void test_write_timeout(void **state)
{
    (void)state;
    config.write_timeout_ms = 50;
    serve();
    ask_big(&one);
    UNTIL(counters().timeouts == 1);
    hang_up(&one);
    stop_empty();
}

static void test_slow_reader_gets_everything(void **state)
{
    (void)state;
    serve();
    ask_big(&one);
    uint64_t got = 0;
    while (got < BIG_BYTES) {
        static char sink[1 << 16];
        ssize_t n = recv(one.fd, sink, sizeof sink, 0);
        assert_true(n > 0);
        got += (uint64_t)n;
        if (got >= BIG_BYTES) {
            /* The rest of the body and the next answer; keep what came. */
            size_t rest = (size_t)n < 500 ? (size_t)n : 500;
            memcpy(one.bytes, sink + n - rest, rest);
            one.len = rest;
        }
    }
    while (memmem(one.bytes, one.len, "GET|/now||", 10) == NULL) {
        assert_true(fill(&one));
    }
    hang_up(&one);
    stop_empty();
}

static void test_output_bound(void **state)
{
    (void)state;
    config.output_bytes_max = 100000;
    serve();
    ask_big(&one);
    UNTIL(counters().connections_open == 0);
    hang_up(&one);
    stop_empty();
}

static void test_limits(void **state)
{
    (void)state;
    static char text[20000];
    config.head_bytes_max = 1000;
    serve();
    dial(&one);
    sprintf(text, "GET /now HTTP/1.1\r\n" H "A: %01000d\r\n\r\n", 0);
    say(&one, text);
    expect_refusal(&one, 431);
    dial(&one);
    sprintf(text, "GET /%01000d HTTP/1.1\r\n" H "\r\n", 0);
    say(&one, text);
    expect_refusal(&one, 414);
    dial(&one);
    say(&one, "POST /small HTTP/1.1\r\n" H "Content-Length: 11\r\n\r\nhello world");
    expect_refusal(&one, 413);
    dial(&one);
    say(&one, "POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n8\r\nhello "
              "wo\r\n3\r\nrld\r\n0\r\n\r\n");
    expect_refusal(&one, 413);
    dial(&one);
    say(&one, "POST /small HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nhello worl");
    expect(&one, 200, "POST|/small||hello worl");
    hang_up(&one);
    stop_empty();
}

static void test_connections_max(void **state)
{
    (void)state;
    config.connections_max = 1;
    serve();
    dial(&one);
    say(&one, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&one, 200, NULL);
    dial(&two);
    expect_refusal(&two, 503);
    assert_non_null(strstr(reply.head, "Retry-After: 5\r\n"));
    assert_int_equal(counters().connections_refused, 1);
    hang_up(&one);
    UNTIL(counters().connections_open == 0);
    dial(&two);
    say(&two, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&two, 200, NULL);
    hang_up(&two);
    stop_empty();
}

/* One buffer: whoever has begun a request holds it, others wait their turn. */
static void test_buffers_max(void **state)
{
    (void)state;
    config.workers = 1;
    config.buffers_max = 1;
    serve();
    dial(&one);
    say(&one, "GET /now HTTP/1.1\r\n");
    UNTIL(counters().bytes_in > 0);
    dial(&two);
    say(&two, "GET /now?two HTTP/1.1\r\n" H "\r\n");
    UNTIL(counters().buffer_waits == 1);
    say(&one, H "\r\n");
    expect(&one, 200, "GET|/now||");
    expect(&two, 200, "GET|/now|two|");
    /* A waiting one that leaves does no harm. */
    say(&one, "GET /now HTTP/1.1\r\n");
    UNTIL(counters().bytes_in > 80);
    say(&two, "GET /now?two HTTP/1.1\r\n" H "\r\n");
    UNTIL(counters().buffer_waits == 2);
    vanish(&two);
    UNTIL(counters().connections_open == 1);
    say(&one, H "\r\n");
    expect(&one, 200, "GET|/now||");
    hang_up(&one);
    stop_empty();
}

/* The peer is still sending when it is refused; it must get its answer, not a reset. */
static void test_refusal_is_polite(void **state)
{
    (void)state;
    static char filler[100000];
    memset(filler, 'x', sizeof filler);
    serve();
    dial(&one);
    say(&one, "NONSENSE\r\n\r\n");
    say_bytes(&one, filler, sizeof filler);
    expect_refusal(&one, 501);
    dial(&one);
    say(&one, "POST /small HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
    say_bytes(&one, filler, sizeof filler);
    expect_refusal(&one, 413);
    dial(&one);
    say(&one, "GET /close HTTP/1.1\r\n" H "\r\nGET /now HTTP/1.1\r\n" H "\r\n");
    expect(&one, 200, "GET|/close||");
    expect_end(&one);
    assert_int_equal(counters().requests_total, 1);
    stop_empty();
}

/* …but it cannot keep us listening for ever. */
static void test_linger_is_bounded(void **state)
{
    (void)state;
    config.write_timeout_ms = 50; /* also bounds lingering */
    serve();
    dial(&one);
    say(&one, "NONSENSE\r\n\r\n");
    expect(&one, 501, NULL);
    UNTIL(counters().connections_open == 0); /* although we never closed */
    hang_up(&one);
    dial(&one);
    say(&one, "NONSENSE\r\n\r\n");
    static char filler[65536];
    for (size_t sent = 0; counters().connections_open > 0; sent += sizeof filler) {
        if (send(one.fd, filler, sizeof filler, MSG_NOSIGNAL) < 0) {
            break;
        }
        assert_true(sent < (64u << 20));
    }
    hang_up(&one);
    stop_empty();
}

static void test_half_requests(void **state)
{
    (void)state;
    static const char *const halves[] = {"G",
                                         "GET /now HTTP/1.1\r\n",
                                         "GET /now HTTP/1.1\r\n" H "\r",
                                         "POST /now HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nab",
                                         "POST /now HTTP/1.1\r\n" H
                                         "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
                                         "\r",
                                         ""};
    serve();
    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        dial(&one);
        say(&one, halves[i]);
        shutdown(one.fd, SHUT_WR);
        expect_end(&one);
        dial(&one);
        say(&one, halves[i]);
        vanish(&one);
    }
    assert_int_equal(counters().requests_total, 0);
    stop_empty();
}

/* A peer that has shut its side may still wait for its answers (as "nc" does). */
static void test_half_closed_peers_are_answered(void **state)
{
    (void)state;
    serve();
    atomic_store(&app.hold, true);
    dial(&one);
    say(&one, "GET /later HTTP/1.1\r\n" H "\r\n");
    for (int i = 0; i < 40; i++) { /* more than one turn's worth behind it */
        say(&one, "GET /now HTTP/1.1\r\n" H "\r\n");
    }
    UNTIL(atomic_load(&app.waiting) == 1);
    shutdown(one.fd, SHUT_WR);
    app_release();
    expect(&one, 200, "GET|/later||");
    for (int i = 0; i < 40; i++) {
        expect(&one, 200, "GET|/now||");
    }
    expect_end(&one);
    stop_empty();
}

static void test_peers_that_vanish(void **state)
{
    (void)state;
    serve();
    for (int round = 0; round < 20; round++) {
        atomic_store(&app.hold, true);
        dial(&one);
        dial(&two);
        say(&one, "GET /later HTTP/1.1\r\n" H "\r\nGET /later HTTP/1.1\r\n" H "\r\n");
        say(&two, "POST /later HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
        UNTIL(atomic_load(&app.waiting) == 2);
        vanish(&one);  /* reset */
        hang_up(&two); /* FIN only */
        /* The handler still holds both: they count as open until it has answered. */
        assert_int_equal(counters().connections_open, 2);
        app_release();
        UNTIL(counters().connections_open == 0 && atomic_load(&app.waiting) == 0);
    }
    stop_empty();
}

/* No descriptor left: those who wait are told or wait, nothing spins, and it heals. */
static void test_out_of_descriptors(void **state)
{
    (void)state;
    enum { CLIENTS = 40, SPARE = 5 };
    static struct client clients[CLIENTS];
    struct rlimit before, tight;
    serve();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].fd = socket_new();
        clients[i].len = 0;
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)clients[CLIENTS - 1].fd + 1 + SPARE;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < CLIENTS; i++) {
        if (try_connect(clients[i].fd)) {
            say(&clients[i], "GET /now HTTP/1.1\r\n" H "\r\n");
        }
    }
    /* With one worker all others are told.  With two, one may be given the number of the other's
     * reserve; that one's peers have to wait until there are descriptors again. */
    UNTIL(counters().accept_pauses > 0 &&
          (config.workers > 1 || counters().connections_refused >= CLIENTS / 2));
    struct http_counters now = counters();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    unsigned served = 0, refused = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (hear(&clients[i], false)) {
            served += reply.status == 200;
            refused += reply.status == 503;
        }
    }
    assert_true(served >= SPARE); /* and those for which a gap was left below */
    assert_true(refused > 0 || config.workers > 1);
    assert_int_equal(served + refused, CLIENTS);
    assert_int_equal(counters().connections_refused, refused);
    assert_true(now.accept_pauses <= CLIENTS);
    dial(&one);
    say(&one, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&one, 200, NULL);
    hang_up(&one);
    for (int i = 0; i < CLIENTS; i++) {
        hang_up(&clients[i]);
    }
    stop_empty();
}

static void test_drain(void **state)
{
    (void)state;
    static struct client half;
    serve();
    atomic_store(&app.hold, true);
    dial(&one); /* open */
    dial(&two); /* idle */
    dial(&half);
    say(&two, "GET /now HTTP/1.1\r\n" H "\r\n");
    expect(&two, 200, NULL);
    say(&one, "GET /later HTTP/1.1\r\n" H "\r\n");
    say(&half, "GET /now HTTP/1.1\r\n");
    UNTIL(atomic_load(&app.waiting) == 1);
    assert_false(http_server_drained(server));
    http_server_drain(server);
    expect_end(&two);
    for (bool listening = true; listening;) { /* until the last worker has stopped */
        int fd = socket_new();
        listening = try_connect(fd);
        close(fd);
    }
    assert_false(http_server_drained(server));
    app_release();
    expect(&one, 200, "GET|/later||");
    assert_non_null(strstr(reply.head, "Connection: close\r\n"));
    assert_false(http_server_drained(server)); /* a half request is still coming in */
    say(&half, H "\r\n");
    expect(&half, 200, "GET|/now||");
    assert_non_null(strstr(reply.head, "Connection: close\r\n"));
    UNTIL(http_server_drained(server));
    expect_end(&half);
    expect_end(&one);
    stop_empty();
}

/* Requests that had reached the machine when the drain began are answered. */
static void test_drain_answers_what_has_arrived(void **state)
{
    (void)state;
    static struct client clients[50];
    serve();
    for (int i = 0; i < 50; i++) {
        dial(&clients[i]);
        say(&clients[i], "GET /now HTTP/1.1\r\n" H "\r\n");
    }
    http_server_drain(server);
    for (int i = 0; i < 50; i++) {
        expect(&clients[i], 200, NULL);
    }
    UNTIL(http_server_drained(server));
    for (int i = 0; i < 50; i++) {
        hang_up(&clients[i]);
    }
    stop_empty();
}

/* Stopping drops what is open; the handler has let go of it. */
static void test_stop_with_open_requests(void **state)
{
    (void)state;
    static struct client other;
    serve();
    atomic_store(&app.hold, true);
    dial(&one);
    dial(&two);
    dial(&other);
    say(&one, "GET /later HTTP/1.1\r\n" H "\r\n");
    say(&two, "GET /now HTTP/1.1\r\n");
    ask_big(&other);
    UNTIL(atomic_load(&app.waiting) == 1 && counters().bytes_out > 0);
    stop();
    expect_end(&one);
    expect_end(&two);
    hang_up(&other);
}

static void test_start_fails_clearly(void **state)
{
    (void)state;
    char why[200];
    struct http_server *none = NULL;
    serve();
    config.port = http_server_port(server); /* taken, also when both would share it */
    for (config.workers = 1; config.workers <= 2; config.workers++) {
        assert_int_equal(http_server_start(&config, &handler, &none, why, sizeof why), ERR_IO);
        assert_non_null(strstr(why, "in use"));
    }
    stop();
    config_reset();
    config.host = "localhost";
    assert_int_equal(http_server_start(&config, &handler, &none, why, sizeof why), ERR_INVALID);
    config_reset();
    config.watched[0] = "";
    assert_int_equal(http_server_start(&config, &handler, &none, why, sizeof why), ERR_INVALID);
    config_reset();
    config.host = "::1";
    if (http_server_start(&config, &handler, &none, why, sizeof why) == ERR_NONE) {
        http_server_stop(none);
    } else {
        printf("# SKIP ::1: %s\n", why);
    }
    assert_null(config.watched[0]);
}

static void *hammer(void *argument)
{
    static _Atomic unsigned bad;
    (void)argument;
    struct client *client = calloc(1, sizeof *client);
    struct timeval patience = {.tv_sec = 10};
    for (int i = 0; i < 20; i++) {
        client->fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (!try_connect(client->fd)) {
            atomic_fetch_add(&bad, 1);
        }
        for (int k = 0; k < 20; k++) {
            static const char text[] = "GET /later HTTP/1.1\r\n" H "\r\n";
            char answer[1000];
            if (send(client->fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0 ||
                recv(client->fd, answer, sizeof answer, 0) <= 0) {
                atomic_fetch_add(&bad, 1);
            }
        }
        close(client->fd);
    }
    free(client);
    return &bad;
}

/* Several workers, clients and wakes at once: for TSan. */
static void test_workers_together(void **state)
{
    (void)state;
    pthread_t threads[4];
    config.workers = 2;
    serve();
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    }
    for (int i = 0; i < 200; i++) {
        app_release();
        nap();
    }
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        assert_int_equal(atomic_load((_Atomic unsigned *)bad), 0);
    }
    assert_int_equal(counters().requests_total, 4 * 20 * 20);
    stop_empty();
    assert_true(app.workers[0].turns > 0 && app.workers[1].turns > 0); /* both had work */
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    app.big = calloc(1, BIG_BYTES);
    ASSERT(app.big != NULL);
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
        TEST(test_http_1_0),
        TEST(test_head_has_no_body),
        TEST(test_pipelining),
        TEST(test_pipelining_across_deferred_answers),
        TEST(test_many_deferred_in_one_go),
        TEST(test_split_at_every_byte),
        TEST(test_byte_by_byte),
        TEST(test_continue),
        TEST(test_large_bodies),
        TEST(test_header_timeout),
        TEST(test_body_timeout),
        TEST(test_idle_timeout),
        TEST(test_write_timeout),
        TEST(test_slow_reader_gets_everything),
        TEST(test_output_bound),
        TEST(test_limits),
        TEST(test_connections_max),
        TEST(test_buffers_max),
        TEST(test_refusal_is_polite),
        TEST(test_linger_is_bounded),
        TEST(test_half_requests),
        TEST(test_half_closed_peers_are_answered),
        TEST(test_peers_that_vanish),
        TEST(test_out_of_descriptors),
        TEST(test_drain),
        TEST(test_drain_answers_what_has_arrived),
        TEST(test_stop_with_open_requests),
        TEST(test_start_fails_clearly),
        TEST(test_workers_together),
    };
    int failed = tap_run(tests);
    free(app.big);
    return failed;
}
