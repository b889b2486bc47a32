/* accept.c -- accepting, refusing, and running out of descriptors. */
#define _GNU_SOURCE
#include "http/accept.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

/* Says "come again" for the price of two or three system calls and no memory. */
static void refuse_busy(struct http_worker *worker, int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        "Content-Length: 108\r\n"
        "Retry-After: 5\r\n"
        "Connection: close\r\n"
        "\r\n"
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"detail\":\"too many connections, try later\"}";
    static const char body[] =
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"detail\":\"too many connections, try later\"}";
    static_assert(sizeof body - 1 == 108, "as its Content-Length says");
    counter_add(&worker->counters.connections_refused, 1);
    counter_add(&worker->counters.responses_5xx, 1);
    /* Bytes left unread would turn the close into a reset that overtakes the answer. */
    ssize_t got = recv(fd, worker->scratch, sizeof worker->scratch, MSG_DONTWAIT);
    ssize_t sent = send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)got;
    (void)sent; /* a courtesy: nothing depends on it */
    shutdown(fd, SHUT_WR);
    close(fd);
}

void accept_reserve(struct http_worker *worker)
{
    if (worker->reserve_fd < 0) {
        worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

static int accept_next(struct http_worker *worker, struct sockaddr_in6 *peer)
{
    socklen_t peer_bytes = sizeof *peer;
    memset(peer, 0, sizeof *peer);
    return accept4(worker->listen_fd, (struct sockaddr *)peer, &peer_bytes,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void listen_interest(struct http_worker *worker, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = &worker->listen_fd};
    int failed = epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, worker->listen_fd, &event);
    ASSERT(failed == 0);
}

/* No descriptor is left.  The queue stays readable, so going on would be a busy loop: with the
 * reserve's descriptor those who wait are told, then accepting stops for a moment. */
static void out_of_descriptors(struct http_worker *worker)
{
    LOG_EVERY(10000, LOG_WARN, "http", "no file descriptor for a new connection: %s",
              strerror(errno));
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && worker->reserve_fd >= 0; i++) {
        struct sockaddr_in6 peer;
        close(worker->reserve_fd);
        worker->reserve_fd = -1;
        int fd = accept_next(worker, &peer);
        if (fd >= 0) {
            refuse_busy(worker, fd);
        }
        accept_reserve(worker);
        if (fd < 0) {
            break;
        }
    }
    listen_interest(worker, 0);
    worker->accept_ms = worker->now_ms + ACCEPT_PAUSE_MS;
    counter_add(&worker->counters.accept_pauses, 1);
}

/* Accepts one.  False when the queue is empty or accepting must stop. */
static bool accept_one(struct http_worker *worker)
{
    struct http_server *server = worker->server;
    struct sockaddr_in6 peer;
    int fd = accept_next(worker, &peer);
    if (fd < 0) {
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            out_of_descriptors(worker);
            return false;
        case EAGAIN:
            return false;
        default:
            return true; /* ECONNABORTED and the like concern that one connection */
        }
    }
    /* Relaxed: a limit, not an order; the count itself is exact. */
    unsigned before = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
    if (before >= server->config.connections_max) {
        atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
        refuse_busy(worker, fd);
        return true;
    }
    connection_open(worker, fd, &peer);
    return true;
}

void accept_ready(struct http_worker *worker)
{
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && worker->listen_fd >= 0; i++) {
        if (!accept_one(worker)) {
            return;
        }
    }
}

void accept_resume(struct http_worker *worker)
{
    if (worker->accept_ms == 0 || worker->now_ms < worker->accept_ms) {
        return;
    }
    worker->accept_ms = 0;
    accept_reserve(worker); /* another thread may have been given its number meanwhile */
    if (worker->listen_fd >= 0) {
        listen_interest(worker, EPOLLIN);
    }
}

void accept_finish(struct http_worker *worker)
{
    while (worker->listen_fd >= 0 && worker->accept_ms == 0 && accept_one(worker)) {
    }
    accept_close(worker);
}

void accept_close(struct http_worker *worker)
{
    if (worker->listen_fd >= 0) {
        close(worker->listen_fd);
        worker->listen_fd = -1;
    }
    worker->accept_ms = 0;
    if (worker->reserve_fd >= 0) {
        close(worker->reserve_fd);
        worker->reserve_fd = -1;
    }
}
