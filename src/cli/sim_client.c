#include "cli/sim_client.h"

#include "cli/sim_response.h"

#include "base/assert.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES   (256u << 10)
#define READY_MAX    512
#define RESERVED_FDS 32 /* standard streams, epoll, files */
#define SWEEP_US     500000

/* CLOSED and OPEN are idle; a request waits in CONNECTING and is under way in BUSY. */
enum state { CLOSED, CONNECTING, OPEN, BUSY };

struct connection {
    int fd;
    enum state state;
    bool writable_watched; /* the kernel shall tell when there is room to write on */
    bool failed;           /* a write failed in sim_client_send: told by the next poll */
    char *out;
    size_t out_len, out_sent, out_max;
    char *in; /* an answer of which a part has come */
    size_t in_len, in_max;
    int64_t sent_us;  /* BUSY */
    int64_t begun_us; /* CONNECTING, BUSY: for the timeout */
};

struct sim_client {
    struct sockaddr_storage address;
    socklen_t address_len;
    int64_t answer_timeout_us, sweep_us;
    int epoll_fd;
    uint32_t connections_count, open_count;
    uint64_t opened_count;
    struct connection *connections;
    uint32_t *failed; /* connections whose `failed` is set, and as many of the turn before */
    size_t failed_count;
    char buffer[READ_BYTES];
};

int64_t sim_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

enum err sim_target_parse(const char *url, struct sim_target *target)
{
    const char *rest = url;
    if (strncmp(rest, "http://", 7) != 0) {
        return ERR_INVALID;
    }
    rest += 7;
    size_t len = strcspn(rest, "/?#");
    if (len == 0 || len >= sizeof(target->host) || (rest[len] != '\0' && rest[len + 1] != '\0')) {
        return ERR_INVALID; /* a path of its own would be lost */
    }
    snprintf(target->host, sizeof(target->host), "%.*s", (int)len, rest);
    const char *name = target->host, *colon;
    size_t name_len;
    if (name[0] == '[') {
        const char *close = strchr(name, ']');
        if (close == NULL) {
            return ERR_INVALID;
        }
        name_len = (size_t)(close - ++name);
        colon = close[1] == ':' ? close + 1 : NULL;
    } else {
        colon = strchr(name, ':');
        name_len = colon == NULL ? len : (size_t)(colon - name);
    }
    if (name_len == 0 || (colon != NULL && (colon[1] == '\0' || strlen(colon + 1) > 5))) {
        return ERR_INVALID;
    }
    snprintf(target->name, sizeof(target->name), "%.*s", (int)name_len, name);
    snprintf(target->port, sizeof(target->port), "%.5s", colon == NULL ? "80" : colon + 1);
    return ERR_NONE;
}

uint32_t sim_client_connections_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 256;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* when refused, the soft limit below is the truth */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= 2 * RESERVED_FDS) {
        return RESERVED_FDS;
    }
    rlim_t most = limit.rlim_cur - RESERVED_FDS;
    return most > 1000000 ? 1000000 : (uint32_t)most;
}

static bool address_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static enum err look_up(struct sim_client *client, const struct sim_target *target, char *why,
                        size_t why_bytes)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(target->name, target->port, &hints, &found);
    if (error != 0) {
        snprintf(why, why_bytes, "%s: %s", target->host, gai_strerror(error));
        return ERR_IO;
    }
    memcpy(&client->address, found->ai_addr, found->ai_addrlen);
    client->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return ERR_NONE;
}

enum err sim_client_new(const struct sim_client_options *options, struct sim_client **out,
                        bool *loopback, char *why, size_t why_bytes)
{
    *out = NULL;
    struct sim_client *client = calloc(1, sizeof(*client));
    ASSERT(client != NULL && options->connections > 0);
    client->epoll_fd = -1;
    enum err err = look_up(client, options->target, why, why_bytes);
    if (err != ERR_NONE) {
        goto fail;
    }
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (client->epoll_fd < 0) {
        snprintf(why, why_bytes, "epoll: %s", strerror(errno));
        err = ERR_IO;
        goto fail;
    }
    *loopback = address_is_loopback(&client->address);
    client->answer_timeout_us = options->answer_timeout_us;
    client->connections_count = options->connections;
    client->connections = calloc(options->connections, sizeof(*client->connections));
    client->failed = calloc(2 * (size_t)options->connections, sizeof(*client->failed));
    ASSERT(client->connections != NULL && client->failed != NULL);
    for (uint32_t i = 0; i < options->connections; i++) {
        client->connections[i].fd = -1;
    }
    *out = client;
    return ERR_NONE;
fail:
    sim_client_free(client);
    return err;
}

void sim_client_free(struct sim_client *client)
{
    if (client == NULL) {
        return;
    }
    for (uint32_t i = 0; i < client->connections_count; i++) {
        struct connection *connection = &client->connections[i];
        if (connection->fd >= 0) {
            close(connection->fd);
        }
        free(connection->out);
        free(connection->in);
    }
    if (client->epoll_fd >= 0) {
        close(client->epoll_fd);
    }
    free(client->connections);
    free(client->failed);
    free(client);
}

static bool is_idle(const struct connection *connection)
{
    return connection->state == CLOSED || connection->state == OPEN;
}

bool sim_client_idle(const struct sim_client *client, uint32_t i)
{
    ASSERT(i < client->connections_count);
    return is_idle(&client->connections[i]);
}

int64_t sim_client_sent_us(const struct sim_client *client, uint32_t i)
{
    ASSERT(i < client->connections_count);
    return client->connections[i].state == BUSY ? client->connections[i].sent_us : INT64_MAX;
}

uint32_t sim_client_open(const struct sim_client *client)
{
    return client->open_count;
}

uint64_t sim_client_opened(const struct sim_client *client)
{
    return client->opened_count;
}

/* ---- sending ---- */

/* What the kernel shall tell: readable always, writable only while something waits to be written.
 */
static void watch(struct sim_client *client, uint32_t i, int operation, bool writable)
{
    struct epoll_event ready = {.events = EPOLLIN | (writable ? (uint32_t)EPOLLOUT : 0),
                                .data.u32 = i};
    int result = epoll_ctl(client->epoll_fd, operation, client->connections[i].fd, &ready);
    client->connections[i].writable_watched = writable;
    ASSERT(result == 0); /* the descriptor is ours and open */
}

static void disconnect(struct sim_client *client, struct connection *connection)
{
    if (connection->fd >= 0) {
        close(connection->fd);
        client->open_count -= connection->state != CONNECTING;
    }
    connection->fd = -1;
    connection->state = CLOSED;
    connection->in_len = 0;
    if (connection->in_max > READ_BYTES) {
        free(connection->in);
        connection->in = NULL;
        connection->in_max = 0;
    }
}

/* Writes on; false when the connection is broken. */
static bool write_more(struct sim_client *client, uint32_t i)
{
    struct connection *connection = &client->connections[i];
    ssize_t written = send(connection->fd, connection->out + connection->out_sent,
                           connection->out_len - connection->out_sent, MSG_NOSIGNAL);
    if (written < 0 && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    connection->out_sent += written > 0 ? (size_t)written : 0;
    bool whole = connection->out_sent == connection->out_len;
    if (whole == connection->writable_watched) {
        watch(client, i, EPOLL_CTL_MOD, !whole);
    }
    return true;
}

static bool request_begin(struct sim_client *client, uint32_t i)
{
    struct connection *connection = &client->connections[i];
    connection->state = BUSY;
    connection->sent_us = sim_now_us();
    return write_more(client, i);
}

static bool connect_begin(struct sim_client *client, uint32_t i)
{
    struct connection *connection = &client->connections[i];
    int fd =
        socket(client->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        return false;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (const struct sockaddr *)&client->address, client->address_len) != 0 &&
        errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    connection->fd = fd;
    connection->state = CONNECTING;
    watch(client, i, EPOLL_CTL_ADD, true);
    return true;
}

void sim_client_send(struct sim_client *client, uint32_t i, struct slice request)
{
    ASSERT(i < client->connections_count && request.len > 0);
    struct connection *connection = &client->connections[i];
    ASSERT(is_idle(connection) && !connection->failed);
    if (request.len > connection->out_max) {
        free(connection->out);
        connection->out_max = request.len * 5 / 4;
        connection->out = malloc(connection->out_max);
        ASSERT(connection->out != NULL);
    }
    memcpy(connection->out, request.ptr, request.len);
    connection->out_len = request.len;
    connection->out_sent = 0;
    connection->sent_us = connection->begun_us = sim_now_us();
    bool well = connection->state == OPEN ? request_begin(client, i) : connect_begin(client, i);
    if (!well) { /* not told from here: the caller is in the middle of something */
        connection->state = connection->fd >= 0 ? BUSY : CONNECTING;
        connection->failed = true;
        client->failed[client->failed_count++] = i;
    }
}

/* ---- receiving ---- */

struct delivery {
    sim_answer_fn *fn;
    void *ctx;
};

static void lose(struct sim_client *client, uint32_t i, struct delivery delivery)
{
    struct connection *connection = &client->connections[i];
    bool waiting = !is_idle(connection);
    struct sim_answer answer = {
        .connection = i,
        .retry_after_s = -1,
        .sent = connection->state == BUSY && connection->out_sent > 0,
        .sent_us = connection->sent_us,
        .done_us = sim_now_us(),
    };
    disconnect(client, connection);
    if (waiting) { /* else an idle connection was closed by the server, as it may */
        delivery.fn(delivery.ctx, &answer);
    }
}

/* An answer is whole: all bytes of it, and no byte more. */
static void answered(struct sim_client *client, uint32_t i, const struct sim_response *response,
                     int64_t done_us, struct delivery delivery)
{
    struct connection *connection = &client->connections[i];
    struct sim_answer answer = {
        .connection = i,
        .status = response->status,
        .retry_after_s = response->retry_after_s,
        .sent = true,
        .sent_us = connection->sent_us,
        .done_us = done_us,
        .body = response->body,
    };
    /* The body may be in connection->in, which the callback must not lose by sending again: a
     * request that is sent writes to `out` only, and `in` is written by the next poll. */
    connection->in_len = 0;
    connection->state = OPEN;
    if (response->close) {
        char *in = connection->in;
        connection->in = NULL; /* kept until the callback has read the body */
        connection->in_max = 0;
        disconnect(client, connection);
        delivery.fn(delivery.ctx, &answer);
        free(in);
        return;
    }
    delivery.fn(delivery.ctx, &answer);
}

/* Adds what was read to what came before; most answers come in one piece and are never copied. */
static struct slice gather(struct connection *connection, struct slice piece)
{
    if (connection->in_len == 0) {
        return piece;
    }
    if (connection->in_len + piece.len > connection->in_max) {
        connection->in_max = (connection->in_len + piece.len) * 2;
        connection->in = realloc(connection->in, connection->in_max);
        ASSERT(connection->in != NULL);
    }
    memcpy(connection->in + connection->in_len, piece.ptr, piece.len);
    connection->in_len += piece.len;
    return slice_of(connection->in, connection->in_len);
}

static void keep(struct connection *connection, struct slice bytes)
{
    if (connection->in_len > 0) {
        return; /* gathered already */
    }
    if (bytes.len > connection->in_max) {
        connection->in_max = bytes.len * 2;
        free(connection->in);
        connection->in = malloc(connection->in_max);
        ASSERT(connection->in != NULL);
    }
    memcpy(connection->in, bytes.ptr, bytes.len);
    connection->in_len = bytes.len;
}

static void read_some(struct sim_client *client, uint32_t i, struct delivery delivery)
{
    struct connection *connection = &client->connections[i];
    ssize_t got = recv(connection->fd, client->buffer, sizeof(client->buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0 || connection->state != BUSY) { /* closed, or bytes that nobody asked for */
        lose(client, i, delivery);
        return;
    }
    int64_t done_us = sim_now_us();
    struct slice bytes = gather(connection, slice_of(client->buffer, (size_t)got));
    struct sim_response response;
    switch (sim_response_parse(bytes, &response)) {
    case SIM_RESPONSE_WHOLE:
        answered(client, i, &response, done_us, delivery);
        return;
    case SIM_RESPONSE_PART:
        keep(connection, bytes);
        return;
    case SIM_RESPONSE_WRONG:
        lose(client, i, delivery);
        return;
    }
}

static void handle_ready(struct sim_client *client, const struct epoll_event *ready,
                         struct delivery delivery)
{
    uint32_t i = ready->data.u32;
    struct connection *connection = &client->connections[i];
    if (connection->fd < 0) {
        return; /* lost earlier in this turn */
    }
    if (connection->state == CONNECTING) {
        int error = 0;
        socklen_t len = sizeof(error);
        (void)getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error != 0 || (ready->events & EPOLLHUP) != 0) {
            lose(client, i, delivery);
            return;
        }
        client->open_count++;
        client->opened_count++;
        if (!request_begin(client, i)) {
            lose(client, i, delivery);
        }
        return;
    }
    if ((ready->events & EPOLLOUT) != 0 && connection->state == BUSY &&
        connection->out_sent < connection->out_len && !write_more(client, i)) {
        lose(client, i, delivery);
        return;
    }
    if ((ready->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_some(client, i, delivery);
    }
}

/* Connections whose server says nothing are lost. */
static void sweep(struct sim_client *client, struct delivery delivery)
{
    int64_t now = sim_now_us();
    if (now < client->sweep_us) {
        return;
    }
    client->sweep_us = now + SWEEP_US;
    for (uint32_t i = 0; i < client->connections_count; i++) {
        struct connection *connection = &client->connections[i];
        if (!is_idle(connection) && !connection->failed &&
            now - connection->begun_us > client->answer_timeout_us) {
            lose(client, i, delivery);
        }
    }
}

void sim_client_poll(struct sim_client *client, int64_t timeout_us, sim_answer_fn *fn, void *ctx)
{
    struct delivery delivery = {fn, ctx};
    struct epoll_event ready[READY_MAX];
    size_t failed_count = client->failed_count; /* those that fail again wait for the next turn */
    int timeout_ms = failed_count > 0 || timeout_us <= 0 ? 0 : (int)((timeout_us + 999) / 1000);
    int count = epoll_wait(client->epoll_fd, ready, READY_MAX, timeout_ms);
    for (int i = 0; i < count; i++) {
        if (!client->connections[ready[i].data.u32].failed) {
            handle_ready(client, &ready[i], delivery);
        }
    }
    for (size_t i = 0; i < failed_count; i++) {
        client->connections[client->failed[i]].failed = false;
    }
    for (size_t i = 0; i < failed_count; i++) {
        lose(client, client->failed[i], delivery);
    }
    memmove(client->failed, client->failed + failed_count,
            (client->failed_count - failed_count) * sizeof(*client->failed));
    client->failed_count -= failed_count;
    sweep(client, delivery);
}
