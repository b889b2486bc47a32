/* serving.h -- a real server with a small handler, and a blocking client for it.
 *
 * Paths: /now answers at once with "METHOD|path|query|body"; /later waits until app_release; /big?N
 * answers N bytes; /sum answers length and sum of the body; /close closes after its answer. */
#ifndef NOVABEAT_TESTS_SERVING_H
#define NOVABEAT_TESTS_SERVING_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "http/http.h"

/* Not each test that includes this uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define SMALL_BODY_MAX 10
#define BODY_MAX       (1u << 20)
#define PENDING_MAX    256
#define WORKERS_LIMIT  4

struct app_worker {
    struct http_worker *worker;
    struct http_exchange *pending[PENDING_MAX];
    unsigned pending_count;
    unsigned turns;
};

static struct {
    struct app_worker workers[WORKERS_LIMIT];
    _Atomic bool hold;
    _Atomic unsigned ready;
    _Atomic unsigned waiting; /* requests for /later that wait */
    char *big;
} app;

static struct http_server *server;
static struct http_config config;

static void app_text(struct http_exchange *exchange, const char *text, size_t len, bool close)
{
    http_respond(exchange, &(struct http_response){.status = 200,
                                                   .content_type = "text/plain",
                                                   .body = slice_of(text, len),
                                                   .close = close});
}

static void app_echo(struct http_exchange *exchange)
{
    static const char *const methods[] = {"GET",    "HEAD",    "POST", "PUT",
                                          "DELETE", "OPTIONS", "OTHER"};
    static _Thread_local char text[BODY_MAX + 1000];
    const struct http_request *request = &exchange->request;
    int len =
        snprintf(text, sizeof text, "%s|%.*s|%.*s|%.*s", methods[request->method],
                 SLICE_ARG(request->path), SLICE_ARG(request->query), SLICE_ARG(request->body));
    app_text(exchange, text, (size_t)len, slice_equal(request->path, SLICE_LIT("/close")));
}

static void app_sum(struct http_exchange *exchange)
{
    uint32_t sum = 0;
    struct slice body = exchange->request.body;
    for (size_t i = 0; i < body.len; i++) {
        sum = sum * 31 + (unsigned char)body.ptr[i];
    }
    char text[64];
    int len = snprintf(text, sizeof text, "%zu %u", body.len, sum);
    app_text(exchange, text, (size_t)len, false);
}

static void app_request(void *ctx, struct http_exchange *exchange)
{
    (void)ctx;
    struct app_worker *own = exchange->worker_ctx;
    struct slice path = exchange->request.path;
    for (size_t i = 0; i < HTTP_USER_BYTES; i++) {
        ASSERT(exchange->user[i] == 0);
    }
    memset(exchange->user, 0xff, HTTP_USER_BYTES);
    if (slice_equal(path, SLICE_LIT("/later"))) {
        ASSERT(own->pending_count < PENDING_MAX);
        own->pending[own->pending_count++] = exchange;
        atomic_fetch_add(&app.waiting, 1);
        if (!atomic_load(&app.hold)) {
            http_worker_wake(own->worker);
        }
    } else if (slice_equal(path, SLICE_LIT("/big"))) {
        size_t len = (size_t)strtoul(exchange->request.query.ptr, NULL, 10);
        app_text(exchange, app.big, len, false);
    } else if (slice_equal(path, SLICE_LIT("/sum"))) {
        app_sum(exchange);
    } else if (slice_equal(path, SLICE_LIT("/problem"))) {
        http_problem(exchange, 404, "event", "no such event");
    } else {
        app_echo(exchange);
    }
}

/* Answers what waits: from `wake`, many in one go. */
static void app_wake(void *worker_ctx)
{
    struct app_worker *own = worker_ctx;
    if (atomic_load(&app.hold)) {
        return;
    }
    unsigned count = own->pending_count;
    struct http_exchange *pending[PENDING_MAX];
    memcpy(pending, own->pending, sizeof pending);
    own->pending_count = 0;
    for (unsigned i = 0; i < count; i++) {
        atomic_fetch_sub(&app.waiting, 1);
        app_echo(pending[i]);
    }
}

static void app_turn_end(void *worker_ctx)
{
    struct app_worker *own = worker_ctx;
    own->turns++;
}

static void *app_start(void *ctx, struct http_worker *worker)
{
    (void)ctx;
    struct app_worker *own = &app.workers[http_worker_index(worker)];
    memset(own, 0, sizeof *own);
    own->worker = worker;
    atomic_fetch_add(&app.ready, 1);
    return own;
}

static void app_stop(void *worker_ctx)
{
    struct app_worker *own = worker_ctx;
    own->worker = NULL;
    atomic_fetch_sub(&app.ready, 1);
}

static uint32_t app_body_max(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return slice_equal(request->path, SLICE_LIT("/small")) ? SMALL_BODY_MAX : BODY_MAX;
}

static void app_release(void)
{
    atomic_store(&app.hold, false);
    for (unsigned i = 0; i < config.workers; i++) {
        http_worker_wake(app.workers[i].worker);
    }
}

/* ---- the server ---- */

static void config_reset(void)
{
    const char *workers = getenv("NOVABEAT_HTTP_WORKERS");
    config = (struct http_config){.host = "127.0.0.1",
                                  .workers = workers == NULL ? 1 : (unsigned)atoi(workers),
                                  .connections_max = 1000,
                                  .head_bytes_max = 8192,
                                  .header_timeout_ms = 10000,
                                  .body_timeout_ms = 10000,
                                  .idle_timeout_ms = 10000,
                                  .write_timeout_ms = 10000};
    atomic_store(&app.hold, false);
    atomic_store(&app.waiting, 0);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

/* Waits until `condition` holds, at most ten seconds. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        unsigned naps_ = 0;                                                                        \
        while (!(condition)) {                                                                     \
            if (naps_++ > 50000) {                                                                 \
                fail_msg("waited in vain for " #condition);                                        \
            }                                                                                      \
            nap();                                                                                 \
        }                                                                                          \
    } while (0)

/* A test may put its own functions in before it serves. */
static struct http_handler handler = {.worker_start = app_start,
                                      .worker_stop = app_stop,
                                      .body_bytes_max = app_body_max,
                                      .request = app_request,
                                      .wake = app_wake,
                                      .turn_end = app_turn_end};

static void serve(void)
{
    char why[200] = "";
    if (http_server_start(&config, &handler, &server, why, sizeof why) != ERR_NONE) {
        fail_msg("%s", why);
    }
    UNTIL(atomic_load(&app.ready) == config.workers);
}

static struct http_counters counters(void)
{
    struct http_counters now;
    http_server_counters(server, &now);
    return now;
}

static void stop(void)
{
    http_server_stop(server);
    server = NULL;
}

/* Stops, but only when every connection is gone by itself: none may leak. */
static void stop_empty(void)
{
    UNTIL(counters().connections_open == 0);
    stop();
}

/* ---- the client ---- */

struct client {
    int fd;
    size_t len;
    char bytes[1 << 17];
};

struct reply {
    int status;
    char head[2048];
    size_t body_len;
    char body[1 << 17];
};

static struct reply reply;

static int socket_new(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval patience = {.tv_sec = 10};
    int on = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return fd;
}

static bool try_connect(int fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static void dial(struct client *client)
{
    client->fd = socket_new();
    client->len = 0;
    assert_true(try_connect(client->fd));
}

static void hang_up(struct client *client)
{
    close(client->fd);
    client->fd = -1;
}

/* Closes with a reset instead of a FIN. */
static void vanish(struct client *client)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    hang_up(client);
}

static void say_bytes(struct client *client, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(client->fd, bytes, len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        bytes += sent;
        len -= (size_t)sent;
    }
}

static void say(struct client *client, const char *text)
{
    say_bytes(client, text, strlen(text));
}

static bool fill(struct client *client)
{
    assert_true(client->len < sizeof client->bytes);
    ssize_t got =
        recv(client->fd, client->bytes + client->len, sizeof client->bytes - client->len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        fail_msg("%s", "no answer came");
    }
    client->len += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* Reads one answer into `reply`; to_head: it has no body, whatever its length says.  False when the
 * connection ended instead. */
static bool hear(struct client *client, bool to_head)
{
    char *head_end;
    while ((head_end = memmem(client->bytes, client->len, "\r\n\r\n", 4)) == NULL) {
        if (!fill(client)) {
            return false;
        }
    }
    size_t head_len = (size_t)(head_end + 4 - client->bytes);
    assert_true(head_len < sizeof reply.head);
    memcpy(reply.head, client->bytes, head_len);
    reply.head[head_len] = '\0';
    assert_int_equal(sscanf(reply.head, "HTTP/1.1 %d ", &reply.status), 1);
    const char *length = strstr(reply.head, "Content-Length: ");
    reply.body_len = length == NULL || to_head ? 0 : strtoul(length + 16, NULL, 10);
    assert_true(reply.body_len < sizeof reply.body);
    while (client->len < head_len + reply.body_len) {
        if (!fill(client)) {
            return false;
        }
    }
    memcpy(reply.body, client->bytes + head_len, reply.body_len);
    reply.body[reply.body_len] = '\0';
    client->len -= head_len + reply.body_len;
    memmove(client->bytes, client->bytes + head_len + reply.body_len, client->len);
    return true;
}

static void expect(struct client *client, int status, const char *body)
{
    assert_true(hear(client, false));
    assert_int_equal(reply.status, status);
    if (body != NULL) {
        assert_string_equal(reply.body, body);
    }
}

/* A problem document of this status, and then a polite end: no reset. */
static void expect_refusal(struct client *client, int status)
{
    expect(client, status, NULL);
    assert_non_null(strstr(reply.head, "Content-Type: application/problem+json\r\n"));
    assert_non_null(strstr(reply.head, "Connection: close\r\n"));
    assert_true(reply.body[0] == '{');
    char byte;
    assert_int_equal(recv(client->fd, &byte, 1, 0), 0);
    hang_up(client);
}

/* The connection ends, by FIN or reset, without another byte. */
static void expect_end(struct client *client)
{
    assert_int_equal(client->len, 0);
    assert_false(fill(client));
    hang_up(client);
}

#endif
