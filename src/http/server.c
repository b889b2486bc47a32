/* server.c -- start, drain, stop. */
#define _GNU_SOURCE
#include "http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "http/accept.h"
#include "http/worker.h"

static_assert(REQUEST_HEAD_BYTES_MAX <= INPUT_BYTES, "the largest head fits one buffer");
static_assert(HEARTBEAT_BODY_BYTES_MAX < INPUT_BYTES, "so does a heartbeat");

#define HEAD_BYTES_MIN 128
#define WORKERS_MAX    256

/* ---- sockets ---- */

static bool address_parse(const char *host, uint16_t port, struct sockaddr_storage *address,
                          socklen_t *bytes)
{
    memset(address, 0, sizeof *address);
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        *bytes = sizeof *four;
        return true;
    }
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        *bytes = sizeof *six;
        return true;
    }
    return false;
}

static void port_set(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET) {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    }
}

/* A bound socket; -1 with errno.  What is set here the accepted sockets inherit (Linux), so that an
 * accepted connection needs no call for it. */
static int socket_bound(const struct sockaddr_storage *address, socklen_t bytes, bool reuse_port)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
        (!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        bind(fd, (const struct sockaddr *)address, bytes) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Is the port free?  Asked without SO_REUSEPORT, which would share it with another process of ours
 * without a word. */
static bool port_probe(const struct sockaddr_storage *address, socklen_t bytes)
{
    int fd = socket_bound(address, bytes, false);
    bool is_free = fd >= 0 && listen(fd, 1) == 0;
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
    return is_free;
}

static bool listen_all(struct http_server *server, struct sockaddr_storage *address,
                       socklen_t bytes)
{
    if (server->config.port != 0 && !port_probe(address, bytes)) {
        return false;
    }
    for (unsigned i = 0; i < server->config.workers; i++) {
        struct http_worker *worker = &server->workers[i];
        worker->listen_fd = socket_bound(address, bytes, server->config.workers > 1);
        if (worker->listen_fd < 0 || listen(worker->listen_fd, 4096) != 0) {
            return false;
        }
        struct sockaddr_storage bound;
        socklen_t bound_bytes = sizeof bound;
        if (getsockname(worker->listen_fd, (struct sockaddr *)&bound, &bound_bytes) != 0) {
            return false;
        }
        server->port =
            ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                             : ((struct sockaddr_in6 *)&bound)->sin6_port);
        port_set(address, server->port); /* the others join the port that the first was given */
    }
    return true;
}

/* ---- workers ---- */

static bool worker_init(struct http_worker *worker, struct http_server *server, unsigned index)
{
    const struct http_config *config = &server->config;
    worker->server = server;
    worker->config = config;
    worker->handler = &server->handler;
    worker->index = index;
    worker->date_s = -1;
    for (unsigned state = 0; state < STATES; state++) {
        list_init(&worker->lists[state]);
    }
    list_init(&worker->again);
    list_init(&worker->starved);
    list_init(&worker->streams);
    worker->timeouts_ms[STATE_IDLE] = config->idle_timeout_ms;
    worker->timeouts_ms[STATE_HEAD] = config->header_timeout_ms;
    worker->timeouts_ms[STATE_BODY] = config->body_timeout_ms;
    worker->timeouts_ms[STATE_STREAM_WRITE] = config->write_timeout_ms;
    worker->timeouts_ms[STATE_WRITE] = config->write_timeout_ms;
    worker->timeouts_ms[STATE_LINGER] =
        config->write_timeout_ms < LINGER_MS ? config->write_timeout_ms : LINGER_MS;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (worker->epoll_fd < 0 || worker->wake_fd < 0) {
        return false;
    }
    accept_reserve(worker);
    /* Edge-triggered, and never read: each write is an edge, and 2^64 of them are enough. */
    struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.ptr = &worker->wake_fd};
    struct epoll_event listener = {.events = EPOLLIN, .data.ptr = &worker->listen_fd};
    return worker->reserve_fd >= 0 &&
           epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &wake) == 0 &&
           epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->listen_fd, &listener) == 0;
}

/* Signals are for the main thread: the workers inherit a mask that blocks all of them. */
static bool threads_start(struct http_server *server)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (error == 0 && server->workers_count < server->config.workers) {
        struct http_worker *worker = &server->workers[server->workers_count];
        error = pthread_create(&worker->thread, NULL, worker_run, worker);
        server->workers_count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return error == 0;
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

/* ---- the contract ---- */

static const char *config_fault(const struct http_config *config)
{
    if (config->workers == 0 || config->workers > WORKERS_MAX) {
        return "the number of workers is out of range";
    }
    if (config->head_bytes_max < HEAD_BYTES_MIN || config->head_bytes_max > INPUT_BYTES) {
        return "the limit of a request's head is out of range";
    }
    if (config->header_timeout_ms == 0 || config->body_timeout_ms == 0 ||
        config->idle_timeout_ms == 0 || config->write_timeout_ms == 0) {
        return "a timeout is 0";
    }
    return NULL;
}

static struct http_server *server_new(const struct http_config *config,
                                      const struct http_handler *handler)
{
    struct http_server *server = aligned_alloc(64, (sizeof *server + 63) / 64 * 64);
    struct http_worker *workers = aligned_alloc(64, config->workers * sizeof *workers);
    if (server == NULL || workers == NULL) {
        free(server);
        free(workers);
        return NULL;
    }
    memset(server, 0, sizeof *server);
    memset(workers, 0, config->workers * sizeof *workers);
    server->config = *config;
    server->handler = *handler;
    server->workers = workers;
    if (server->config.buffers_max == 0) {
        server->config.buffers_max = BUFFERS_MAX_DEFAULT;
    }
    if (server->config.output_bytes_max == 0) {
        server->config.output_bytes_max = OUTPUT_BYTES_DEFAULT;
    }
    for (unsigned i = 0; i < config->workers; i++) {
        workers[i].listen_fd = workers[i].reserve_fd = -1;
        workers[i].epoll_fd = workers[i].wake_fd = -1;
    }
    return server;
}

enum err http_server_start(const struct http_config *config, const struct http_handler *handler,
                           struct http_server **server_out, char *why, size_t why_bytes)
{
    ASSERT(handler->request != NULL && handler->body_bytes_max != NULL);
    struct sockaddr_storage address;
    socklen_t bytes;
    const char *fault = config_fault(config);
    if (fault == NULL && !address_parse(config->host, config->port, &address, &bytes)) {
        fault = "the host is not a numeric address";
    }
    if (fault != NULL) {
        snprintf(why, why_bytes, "%s", fault);
        return ERR_INVALID;
    }
    struct http_server *server = server_new(config, handler);
    if (server == NULL) {
        snprintf(why, why_bytes, "%s", err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    enum err err = ERR_IO;
    if (!listen_all(server, &address, bytes)) {
        snprintf(why, why_bytes, "cannot listen on %s port %u: %s", config->host, config->port,
                 strerror(errno));
        goto failed;
    }
    for (unsigned i = 0; i < config->workers; i++) {
        if (!parser_names_init(&server->workers[i].names, config->watched)) {
            snprintf(why, why_bytes, "a watched header's name is empty or too long");
            err = ERR_INVALID;
            goto failed;
        }
        if (!worker_init(&server->workers[i], server, i)) {
            snprintf(why, why_bytes, "cannot set up a worker: %s", strerror(errno));
            goto failed;
        }
    }
    if (!threads_start(server)) {
        snprintf(why, why_bytes, "cannot start a thread: %s", strerror(errno));
        goto failed;
    }
    *server_out = server;
    return ERR_NONE;
failed:
    http_server_stop(server);
    return err;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_drain(struct http_server *server)
{
    for (unsigned i = 0; i < server->workers_count; i++) {
        atomic_store_explicit(&server->workers[i].drain_asked, true, memory_order_release);
        worker_nudge(&server->workers[i]);
    }
}

bool http_server_drained(const struct http_server *server)
{
    bool drained = true;
    for (unsigned i = 0; i < server->workers_count; i++) {
        drained &= atomic_load_explicit(&server->workers[i].drained, memory_order_acquire);
    }
    return drained;
}

void http_server_stop(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    for (unsigned i = 0; i < server->workers_count; i++) {
        atomic_store_explicit(&server->workers[i].stop_asked, true, memory_order_release);
        worker_nudge(&server->workers[i]);
    }
    for (unsigned i = 0; i < server->workers_count; i++) {
        pthread_join(server->workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < server->config.workers; i++) {
        struct http_worker *worker = &server->workers[i];
        close_if_open(worker->listen_fd); /* of a worker that never ran */
        close_if_open(worker->reserve_fd);
        close_if_open(worker->wake_fd);
        close_if_open(worker->epoll_fd);
    }
    free(server->workers);
    free(server);
}

void http_server_counters(const struct http_server *server, struct http_counters *counters)
{
    memset(counters, 0, sizeof *counters);
    for (unsigned i = 0; i < server->workers_count; i++) {
        const struct worker_counters *own = &server->workers[i].counters;
#define COUNTER_SUM(name) counters->name += atomic_load_explicit(&own->name, memory_order_relaxed);
        COUNTER_LIST(COUNTER_SUM)
#undef COUNTER_SUM
    }
}
