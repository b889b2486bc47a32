/* bench_http.c -- the bare server, to be put under load (bench/http.sh): a constant answer to every
 * request, at once or (with "deferred") from the wake after a hand-over of the whole turn's batch.
 *
 *     bench_http PORT now|deferred     runs until SIGTERM */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "http/http.h"
#include "http/router.h"

enum { BATCH_MAX = 65536 };

static bool deferred;
static struct router *router;
static struct http_exchange *batch[BATCH_MAX];
static size_t batch_count;

static void answer(struct http_exchange *exchange)
{
    http_respond(exchange, &(struct http_response){.status = 200,
                                                   .content_type = "application/json",
                                                   .body = SLICE_LIT("{\"intervalMs\":30000}")});
}

static void on_request(void *ctx, struct http_exchange *exchange)
{
    (void)ctx;
    char bytes[256];
    struct scratch scratch = {bytes, sizeof bytes, 0};
    struct route_match match;
    if (router_match(router, exchange->request.method, exchange->request.path, &scratch, &match) !=
        ROUTE_FOUND) {
        http_problem(exchange, 404, NULL, "no such path");
    } else if (deferred && batch_count < BATCH_MAX) {
        batch[batch_count++] = exchange;
    } else {
        answer(exchange);
    }
}

static void on_wake(void *worker_ctx)
{
    (void)worker_ctx;
    size_t count = batch_count;
    batch_count = 0;
    for (size_t i = 0; i < count; i++) {
        answer(batch[i]);
    }
}

static void on_turn_end(void *worker_ctx)
{
    if (batch_count > 0) {
        http_worker_wake(worker_ctx);
    }
}

static void *on_start(void *ctx, struct http_worker *worker)
{
    (void)ctx;
    return worker;
}

static uint32_t body_bytes_max(void *ctx, const struct http_request *request)
{
    (void)ctx;
    (void)request;
    return 8192;
}

int main(int argc, char **argv)
{
    static const struct route routes[] = {{HTTP_POST, "/analytics/events/{event}/heartbeat", 1},
                                          {HTTP_GET, "/", 2}};
    if (argc != 3) {
        fprintf(stderr, "usage: bench_http PORT now|deferred\n");
        return 2;
    }
    deferred = strcmp(argv[2], "deferred") == 0;
    router = router_new(routes, 2);
    sigset_t set;
    int signal_number;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    const struct http_config config = {.host = "127.0.0.1",
                                       .port = (uint16_t)atoi(argv[1]),
                                       .workers = 1,
                                       .connections_max = 100000,
                                       .head_bytes_max = 16384,
                                       .header_timeout_ms = 10000,
                                       .body_timeout_ms = 30000,
                                       .idle_timeout_ms = 75000,
                                       .write_timeout_ms = 30000,
                                       .watched = {"cloudfront-viewer-country", "cf-ipcountry"}};
    const struct http_handler handler = {.worker_start = on_start,
                                         .body_bytes_max = body_bytes_max,
                                         .request = on_request,
                                         .wake = on_wake,
                                         .turn_end = on_turn_end};
    struct http_server *server;
    char why[200];
    if (http_server_start(&config, &handler, &server, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "bench_http: %s\n", why);
        return 1;
    }
    sigwait(&set, &signal_number);
    http_server_stop(server);
    router_free(router);
    return 0;
}
