/* connection.c -- the life of one connection.
 *
 *     bytes arrive -> receive -> advance -> step_head -> step_body -> deliver -> the handler
 *     the handler -> http_respond -> transmit -> connection_answered -> the next request, or
 *                                                                       farewell
 *
 * An answer in pieces (stream.c) comes back here with connection_answered too.
 *
 * A heartbeat on a kept connection is one recv, one parse in place and one send.  Everything else
 * here is for those who do not behave.  Nothing calls itself: when the handler answers at once,
 * connection_answered only prepares, and the loop in `advance` goes on; when it answers later, the
 * next request waits in the worker's `again` list. */
#define _GNU_SOURCE
#include "http/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "http/output.h"
#include "http/stream.h"
#include "http/worker.h"

/* Further header lines, of the answer and of the exchange, must leave room for the rest of a head
 * in the worker's scratch. */
#define HEADERS_BYTES_MAX 8192
/* A body longer than this is not copied behind its head but sent from where it is. */
#define BODY_COPY_BYTES_MAX 4096

static_assert(HEADERS_BYTES_MAX + BODY_COPY_BYTES_MAX + RESPONSE_HEAD_BYTES + 256 <=
                  WORKER_SCRATCH_BYTES,
              "a head and a short body fit the scratch");
static_assert(sizeof(struct input) <= HTTP_REQUEST_BYTES, "the contract says so");
static_assert(sizeof(struct connection) <= 128, "100,000 idle connections are cheap");

/* ---- states ---- */

void connection_enter(struct connection *connection, enum connection_state state)
{
    struct http_worker *worker = connection->worker;
    list_unlink(&connection->node);
    worker->lingering += (state == STATE_LINGER);
    worker->lingering -= (connection->state == STATE_LINGER);
    connection->state = (uint8_t)state;
    connection->deadline_ms = worker->now_ms + worker->timeouts_ms[state];
    list_append(&worker->lists[state], &connection->node);
}

void connection_watch(struct connection *connection, uint32_t events)
{
    if (connection->interest == events) {
        return; /* always so for a heartbeat */
    }
    struct epoll_event event = {.events = events, .data.ptr = connection};
    int failed = epoll_ctl(connection->worker->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    ASSERT(failed == 0); /* the descriptor is ours and registered */
    connection->interest = events;
}

static void input_release(struct connection *connection)
{
    if (connection->input != NULL) {
        worker_input_release(connection->worker, connection->input);
        connection->input = NULL;
    }
}

/* The struct lives on until the turn ends: the batch of
 * ready connections may still hold a pointer to it. */
void connection_destroy(struct connection *connection)
{
    if (connection->state == STATE_CLOSED) {
        return;
    }
    struct http_worker *worker = connection->worker;
    if (connection->fd >= 0) {
        close(connection->fd); /* also leaves epoll */
        connection->fd = -1;
    }
    list_unlink(&connection->again);
    input_release(connection);
    if (connection->state == STATE_IDLE) {
        worker_let_in(worker); /* it may have been let in itself, and now takes no input */
    }
    output_free(connection);
    connection_enter(connection, STATE_CLOSED);
    worker->connections--;
    counter_add(&worker->counters.connections_open, (uint64_t)-1);
    atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
}

/* The peer is gone for good.  An open request keeps the struct until its handler has finished. */
static void lost(struct connection *connection)
{
    if (connection->state == STATE_STREAM || connection->state == STATE_STREAM_WRITE) {
        stream_lost(connection);
        return;
    }
    if (connection->state == STATE_OPEN) {
        if (connection->fd >= 0) {
            close(connection->fd);
            connection->fd = -1;
        }
        return;
    }
    connection_destroy(connection);
}

/* ---- sending ---- */

/* The last answer was sent.  Closing while the peer still sends would make the kernel reset the
 * connection and the peer might lose the answer: shut our side, then listen for a while (RFC 9112,
 * 9.6). */
static void farewell(struct connection *connection)
{
    input_release(connection);
    if (!connection->linger_after || connection->peer_finished ||
        shutdown(connection->fd, SHUT_WR) != 0) {
        connection_destroy(connection);
        return;
    }
    connection_enter(connection, STATE_LINGER);
    connection_watch(connection, EPOLLIN);
}

/* Bytes of the next request are already here; a large body's buffer is not kept for them. */
static void keep_rest(struct input *input, struct http_worker *worker)
{
    uint32_t rest = input->end - input->begin;
    if (input->bytes != input->small && rest <= INPUT_BYTES) {
        memcpy(input->small, input->bytes + input->begin, rest);
        free(input->bytes);
        worker->body_bytes -= input->capacity;
        input->bytes = input->small;
        input->capacity = INPUT_BYTES;
        input->begin = 0;
        input->end = rest;
    }
    input->started = false;
}

void connection_answered(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    if (connection->close_after) {
        farewell(connection);
        return;
    }
    struct input *input = connection->input;
    input->begin += input->used;
    ASSERT(input->begin <= input->end);
    bool more = input->begin < input->end;
    if (!more && (worker->draining || connection->peer_finished)) {
        farewell(connection);
        return;
    }
    if (!more) {
        input_release(connection);
        connection_enter(connection, STATE_IDLE);
    } else {
        keep_rest(input, worker);
        connection_enter(connection, STATE_HEAD);
        if (!connection->in_handler) {
            list_append(&worker->again, &connection->again);
        }
    }
    connection_watch(connection, connection->peer_finished ? 0 : EPOLLIN);
}

/* What the socket did not take waits in memory, within bounds. */
static void keep_output(struct connection *connection, struct slice head, struct slice body,
                        size_t sent)
{
    if (!output_reserve(connection, head.len + body.len - sent)) {
        connection_destroy(connection); /* the peer does not read; others want the memory */
        return;
    }
    size_t of_head = sent < head.len ? sent : head.len;
    size_t of_body = sent - of_head;
    output_put(connection, slice_of(head.ptr + of_head, head.len - of_head));
    if (body.len > of_body) {
        output_put(connection, slice_of(body.ptr + of_body, body.len - of_body));
    }
    connection_enter(connection, STATE_WRITE);
    connection_watch(connection, EPOLLOUT);
}

/* `head` lies in the worker's scratch, with room behind it for a short body. */
static void transmit(struct connection *connection, size_t head_bytes, struct slice body)
{
    struct http_worker *worker = connection->worker;
    struct slice head = slice_of(worker->scratch, head_bytes);
    if (body.len > 0 && body.len <= BODY_COPY_BYTES_MAX) {
        memcpy(worker->scratch + head.len, body.ptr, body.len);
        head.len += body.len;
        body = SLICE_EMPTY;
    }
    ssize_t sent;
    if (body.len == 0) {
        sent = send(connection->fd, head.ptr, head.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        struct iovec parts[] = {{worker->scratch, head.len},
                                {(void *)(uintptr_t)body.ptr, body.len}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (sent < 0 && !would_block(errno)) {
        connection_destroy(connection);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    counter_add(&worker->counters.bytes_out, (uint64_t)sent);
    if ((size_t)sent == head.len + body.len) {
        connection_answered(connection);
    } else {
        keep_output(connection, head, body, (size_t)sent);
    }
}

static void flush_output(struct connection *connection)
{
    struct output *output = connection->output;
    ssize_t sent = send(connection->fd, output->bytes + output->sent, output->size - output->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (!would_block(errno)) {
            lost(connection);
        }
        return;
    }
    counter_add(&connection->worker->counters.bytes_out, (uint64_t)sent);
    output->sent += (size_t)sent;
    if (output->sent == output->size) {
        output_free(connection);
    }
    if (connection->state == STATE_STREAM_WRITE) {
        stream_flushed(connection);
    } else if (connection->output == NULL) {
        connection_answered(connection);
    } else {
        connection_enter(connection, STATE_WRITE); /* progress: a new deadline */
    }
}

static void count_response(struct http_worker *worker, int status)
{
    struct worker_counters *counters = &worker->counters;
    counter_add(status < 300   ? &counters->responses_2xx
                : status < 400 ? &counters->responses_3xx
                : status < 500 ? &counters->responses_4xx
                               : &counters->responses_5xx,
                1);
}

static size_t write_head(struct connection *connection, const struct http_response *response,
                         const struct response_frame *frame, struct slice *body)
{
    struct http_worker *worker = connection->worker;
    ASSERT(response->headers.len + frame->headers.len <= HEADERS_BYTES_MAX);
    ASSERT(response_head_bytes_max(response, frame) + BODY_COPY_BYTES_MAX <=
           sizeof worker->scratch);
    connection->close_after = frame->close;
    count_response(worker, response->status);
    return response_head(response, frame, worker->scratch, body);
}

static void respond(struct connection *connection, const struct http_response *response,
                    const struct response_frame *frame)
{
    struct slice body;
    size_t head_bytes = write_head(connection, response, frame, &body);
    transmit(connection, head_bytes, body);
}

/* The server's own answer to what is no request, or too much of one; then it is over. */
static void refuse(struct connection *connection, int status, const char *detail)
{
    struct buffer problem;
    buffer_init(&problem, PROBLEM_BYTES_MAX);
    problem_write(&problem, status, NULL, detail);
    const struct http_response response = {.status = status,
                                           .content_type = "application/problem+json",
                                           .body = buffer_slice(&problem)};
    const struct parser *parser = &connection->input->parser;
    const struct response_frame frame = {
        .date = connection->worker->date,
        .is_head = connection->input->started && parser->target.at > 0 &&
                   parser->llhttp.method == LLHTTP_HEAD,
        .close = true,
    };
    input_release(connection);
    list_unlink(&connection->again); /* what else it has sent is not looked at */
    connection->linger_after = true;
    respond(connection, &response, &frame);
    buffer_fini(&problem);
}

static void refuse_fault(struct connection *connection)
{
    const struct parser *parser = &connection->input->parser;
    char detail[160];
    snprintf(detail, sizeof detail, "%s (byte %u)", parser->detail, parser->fault_at);
    counter_add(&connection->worker->counters.parse_errors, 1);
    refuse(connection, parser->status, detail);
}

size_t connection_head(struct connection *connection, const struct http_response *response,
                       enum response_end end, struct slice *body)
{
    const struct input *input = connection->input;
    const struct parser *parser = &input->parser;
    bool rest = input->begin + input->used < input->end;
    const struct response_frame frame = {
        .date = connection->worker->date,
        .is_head = input->exchange.request.method == HTTP_HEAD,
        .is_old = parser->llhttp.http_minor == 0,
        .close = response->close || !parser->keep_alive || connection->worker->draining ||
                 (connection->peer_finished && !rest) || end == RESPONSE_CLOSE,
        .end = end,
        .headers = input->exchange.headers,
    };
    /* A peer that asked for the end sends nothing more: a plain close loses nothing. */
    connection->linger_after = parser->keep_alive || rest;
    return write_head(connection, response, &frame, body);
}

void http_respond(struct http_exchange *exchange, const struct http_response *response)
{
    struct input *input = LIST_ENTRY(exchange, struct input, exchange);
    struct connection *connection = input->connection;
    ASSERT(connection->state == STATE_OPEN && connection->input == input);
    if (connection->fd < 0) {
        connection_destroy(connection); /* the peer did not wait */
        return;
    }
    struct slice body;
    size_t head_bytes = connection_head(connection, response, RESPONSE_LENGTH, &body);
    transmit(connection, head_bytes, body);
}

void http_problem_headers(struct http_exchange *exchange, int status, const char *field,
                          const char *detail, struct slice headers)
{
    struct buffer problem;
    buffer_init(&problem, PROBLEM_BYTES_MAX);
    problem_write(&problem, status, field, detail);
    const struct http_response response = {.status = status,
                                           .content_type = "application/problem+json",
                                           .headers = headers,
                                           .body = buffer_slice(&problem)};
    http_respond(exchange, &response);
    buffer_fini(&problem);
}

void http_problem(struct http_exchange *exchange, int status, const char *field, const char *detail)
{
    http_problem_headers(exchange, status, field, detail, SLICE_EMPTY);
}

/* ---- requests ---- */

/* Hands a complete request to the handler.  True when it was answered at once and bytes of a
 * further request are waiting. */
static bool deliver(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    struct input *input = connection->input;
    struct http_exchange *exchange = &input->exchange;
    /* The buffer may have moved while the body came in. */
    parser_request(&input->parser, input->bytes + input->begin, &exchange->request);
    exchange->headers = SLICE_EMPTY;
    exchange->gone = false;
    memset(exchange->user, 0, sizeof exchange->user);
    counter_add(&worker->counters.requests_total, 1);
    worker->handled = true;
    connection_enter(connection, STATE_OPEN);
    connection->in_handler = true;
    worker->handler->request(worker->handler->ctx, exchange);
    connection->in_handler = false;
    return connection->state == STATE_HEAD;
}

/* The request is incomplete and its bytes are used up. */
static bool wait_in(struct connection *connection, enum connection_state state)
{
    if (connection->peer_finished) {
        connection_destroy(connection); /* half a request, and no more to come */
    } else if (connection->state != state) {
        connection_enter(connection, state);
    }
    return false;
}

static void send_continue(struct connection *connection)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ssize_t sent = send(connection->fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)sizeof text - 1) {
        connection_destroy(
            connection); /* nothing else is unsent, so this peer's window is absurd */
    }
}

static bool step_body(struct connection *connection)
{
    struct input *input = connection->input;
    size_t len = input->end - input->begin;
    size_t used = 0;
    enum parser_result result =
        parser_body(&input->parser, input->bytes + input->begin, &len, &used);
    input->end = input->begin + (uint32_t)len;
    switch (result) {
    case PARSER_MORE: {
        bool first = connection->state != STATE_BODY;
        wait_in(connection, STATE_BODY);
        if (first && connection->state == STATE_BODY && len == input->parser.head_bytes &&
            parser_expects_continue(&input->parser)) {
            send_continue(connection);
        }
        return false;
    }
    case PARSER_COMPLETE:
        input->used = (uint32_t)used;
        return deliver(connection);
    case PARSER_FAULT:
    case PARSER_HEAD_END:
        break;
    }
    ASSERT(result == PARSER_FAULT);
    refuse_fault(connection);
    return false;
}

/* Empty lines before a request are passed over (RFC 9112, 2.2).  False when nothing else is there
 * yet. */
static bool skip_empty_lines(struct input *input)
{
    const char *bytes = input->bytes;
    while (input->end - input->begin >= 2 && bytes[input->begin] == '\r' &&
           bytes[input->begin + 1] == '\n') {
        input->begin += 2;
    }
    return input->end - input->begin > 1 ||
           (input->end - input->begin == 1 && bytes[input->begin] != '\r');
}

static bool step_head(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    struct input *input = connection->input;
    if (!input->started) {
        if (!skip_empty_lines(input)) {
            if (input->begin < input->end) { /* half an empty line */
                return wait_in(connection, STATE_HEAD);
            }
            input_release(connection);
            return wait_in(connection, STATE_IDLE); /* it was idle: no new deadline for nothing */
        }
        parser_start(&input->parser, &worker->names, worker->config->head_bytes_max);
        input->started = true;
    }
    const char *base = input->bytes + input->begin;
    switch (parser_head(&input->parser, base, input->end - input->begin)) {
    case PARSER_MORE:
        return wait_in(connection, STATE_HEAD);
    case PARSER_HEAD_END: {
        struct http_request *request = &input->exchange.request;
        uint32_t body_bytes_max = 0;
        if (input->parser.phase == PARSER_CHUNKED || input->parser.content_length > 0) {
            parser_request(&input->parser, base, request);
            body_bytes_max = worker->handler->body_bytes_max(worker->handler->ctx, request);
        }
        if (parser_body_limit(&input->parser, body_bytes_max) != PARSER_FAULT) {
            return step_body(connection);
        }
        break;
    }
    case PARSER_FAULT:
    case PARSER_COMPLETE:
        break;
    }
    refuse_fault(connection);
    return false;
}

/* The driver: as many requests as are there, but not more than a fair share of the turn. */
static void advance(struct connection *connection)
{
    for (unsigned work = 0; work < REQUESTS_PER_TURN; work++) {
        bool more = connection->state == STATE_BODY ? step_body(connection) : step_head(connection);
        if (!more) {
            return;
        }
    }
    list_append(&connection->worker->again, &connection->again);
}

/* ---- receiving ---- */

static bool input_grow(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    struct input *input = connection->input;
    /* Doubling follows the bytes that did come, not those that were announced. */
    size_t capacity = (size_t)input->capacity * 2;
    size_t needed = parser_bytes_needed(&input->parser);
    if (input->parser.phase == PARSER_LENGTH && needed < capacity) {
        capacity = needed;
    }
    bool is_small = input->bytes == input->small;
    char *bytes = NULL;
    if (capacity <= UINT32_MAX / 2 && capacity <= WORKER_BODY_BYTES_MAX - worker->body_bytes) {
        bytes = realloc(is_small ? NULL : input->bytes, capacity);
    }
    if (bytes == NULL) {
        refuse(connection, 503, "too many large requests at one time");
        return false;
    }
    if (is_small) {
        memcpy(bytes, input->small, input->end);
    }
    worker->body_bytes += capacity - (is_small ? 0 : input->capacity);
    input->bytes = bytes;
    input->capacity = (uint32_t)capacity;
    return true;
}

/* Room for at least one more byte; false when there is none and none can be made. */
static bool make_room(struct connection *connection)
{
    struct input *input = connection->input;
    if (input->end < input->capacity) {
        return true;
    }
    if (connection_is_open(connection)) {
        connection_watch(connection, 0); /* the handler borrows the buffer: the peer has to wait */
        return false;
    }
    if (input->begin > 0) {
        memmove(input->bytes, input->bytes + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
        return true;
    }
    ASSERT(connection->state == STATE_BODY); /* the largest head fits */
    return input_grow(connection);
}

/* A buffer for the first bytes of a request, or a place in the queue for one. */
static bool input_attach(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    struct input *input = worker_input_take(worker);
    if (input == NULL) {
        counter_add(&worker->counters.buffer_waits, 1);
        list_unlink(&connection->again);
        list_append(&worker->starved, &connection->again);
        connection_watch(connection, 0);
        return false;
    }
    input->connection = connection;
    input->exchange.worker_ctx = worker->worker_ctx;
    memcpy(&input->exchange.peer, &connection->peer, sizeof connection->peer);
    connection->input = input;
    return true;
}

/* The peer has sent its last byte; it may be waiting for answers all the same. */
static void peer_finished(struct connection *connection)
{
    bool queued = !list_empty(&connection->again);
    if (!connection_is_open(connection) && !queued) {
        connection_destroy(connection);
        return;
    }
    connection->peer_finished = true;
    connection_watch(connection, 0); /* the end stays readable for ever */
}

static void receive(struct connection *connection)
{
    if (connection->input == NULL ? !input_attach(connection) : !make_room(connection)) {
        return;
    }
    struct input *input = connection->input;
    ssize_t got =
        recv(connection->fd, input->bytes + input->end, input->capacity - input->end, MSG_DONTWAIT);
    if (got > 0) {
        input->end += (uint32_t)got;
        counter_add(&connection->worker->counters.bytes_in, (uint64_t)got);
        if (!connection_is_open(connection) && list_empty(&connection->again)) {
            advance(connection);
        }
        return;
    }
    int error = errno;
    if (connection->state == STATE_IDLE) {
        input_release(connection);
    }
    if (got == 0) {
        peer_finished(connection);
    } else if (!would_block(error)) {
        lost(connection);
    }
}

/* In LINGER: throw away what comes. */
static void discard(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    ssize_t got = recv(connection->fd, worker->scratch, sizeof worker->scratch, MSG_DONTWAIT);
    if (got > 0) {
        connection->linger_bytes += (uint32_t)got;
    }
    if (got == 0 || (got < 0 && !would_block(errno)) ||
        connection->linger_bytes > LINGER_BYTES_MAX) {
        connection_destroy(connection);
    }
}

/* ---- what the worker calls ---- */

void connection_open(struct http_worker *worker, int fd, const struct sockaddr_in6 *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (connection == NULL || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        atomic_fetch_sub_explicit(&worker->server->connections, 1, memory_order_relaxed);
        counter_add(&worker->counters.connections_refused, 1);
        return;
    }
    list_init(&connection->node);
    list_init(&connection->again);
    connection->worker = worker;
    connection->fd = fd;
    connection->interest = EPOLLIN;
    connection->peer = *peer;
    connection_enter(connection, STATE_IDLE);
    worker->connections++;
    counter_add(&worker->counters.connections_open, 1);
    counter_add(&worker->counters.connections_total, 1);
}

void connection_ready(struct connection *connection, uint32_t events)
{
    if (connection->state == STATE_CLOSED || connection->fd < 0) {
        return; /* closed earlier in this turn */
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        lost(connection);
        return;
    }
    switch ((enum connection_state)connection->state) {
    case STATE_IDLE:
    case STATE_HEAD:
    case STATE_BODY:
    case STATE_OPEN:
    case STATE_STREAM:
        if ((events & EPOLLIN) != 0 && (connection->interest & EPOLLIN) != 0) {
            receive(connection);
        }
        break;
    case STATE_STREAM_WRITE:
    case STATE_WRITE:
        if ((events & EPOLLOUT) != 0) {
            flush_output(connection);
        }
        break;
    case STATE_LINGER:
        discard(connection);
        break;
    case STATE_CLOSED:
    case STATES:
        break;
    }
}

void connection_again(struct connection *connection)
{
    list_unlink(&connection->again);
    ASSERT(connection->state == STATE_HEAD);
    advance(connection);
}

void connection_unstarve(struct connection *connection)
{
    list_unlink(&connection->again);
    ASSERT(connection->state == STATE_IDLE);
    connection_watch(connection, EPOLLIN);
}

void connection_expire(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    if (connection->state != STATE_LINGER) {
        counter_add(&worker->counters.timeouts, 1);
    }
    switch ((enum connection_state)connection->state) {
    case STATE_HEAD:
        refuse(connection, 408, "the request's head did not come in time");
        break;
    case STATE_BODY:
        refuse(connection, 408, "the request's body did not come in time");
        break;
    case STATE_IDLE:
    case STATE_WRITE:
    case STATE_LINGER:
        connection_destroy(connection);
        break;
    case STATE_STREAM_WRITE:
        stream_lost(connection);
        break;
    case STATE_OPEN:
    case STATE_STREAM:
    case STATE_CLOSED:
    case STATES:
        ASSERT(!"these states have no timeout");
    }
}

void connection_drain(struct connection *connection)
{
    ASSERT(connection->state == STATE_IDLE);
    if (connection->interest != 0) {
        receive(connection); /* a request that had reached us is answered */
    }
    if (connection->state == STATE_IDLE) {
        connection_destroy(connection);
    }
}

void connection_drop(struct connection *connection)
{
    connection_destroy(connection);
}

void connection_check(const struct connection *connection)
{
    ASSERT(connection->fd >= 0 || connection->state == STATE_OPEN ||
           connection->state == STATE_STREAM || connection->state == STATE_CLOSED);
    const struct output *output = connection->output;
    ASSERT((output != NULL) ==
           (connection->state == STATE_WRITE || connection->state == STATE_STREAM_WRITE));
    ASSERT(output == NULL || (output->sent < output->size && output->size <= output->capacity));
    ASSERT(!connection->in_handler);
    const struct input *input = connection->input;
    switch ((enum connection_state)connection->state) {
    case STATE_IDLE:
    case STATE_LINGER:
    case STATE_CLOSED:
        ASSERT(input == NULL);
        break;
    case STATE_HEAD:
    case STATE_BODY:
    case STATE_OPEN:
    case STATE_STREAM:
    case STATE_STREAM_WRITE:
        ASSERT(input != NULL);
        break;
    case STATE_WRITE:
    case STATES:
        break;
    }
    if (input != NULL) {
        ASSERT(input->connection == connection);
        ASSERT(input->begin <= input->end && input->end <= input->capacity);
    }
}
