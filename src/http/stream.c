/* stream.c -- an answer in pieces.
 *
 *     http_stream_begin -> http_stream_write, … -> http_stream_end
 *     the peer takes some -> stream_flushed -> (later in the turn) stream_tell -> the handler
 *     the peer is gone    -> stream_lost    -> (later in the turn) stream_tell -> the handler
 *
 * A piece goes to the socket at once, without a copy, when nothing is pending; what the socket does
 * not take waits in the output.  The handler is never called from inside one of its own calls: what
 * it is to be told waits in the worker's `streams` list for its place in the turn.
 * Source: RFC 9112, 7.1 (chunked), 6.3 and 9.6 (until the close). */
#define _GNU_SOURCE
#include "http/stream.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "http/output.h"
#include "http/worker.h"

/* A chunk's size in hex (16 digits at most), and CRLF. */
#define CHUNK_HEAD_BYTES 18

static struct connection *connection_of(struct http_exchange *exchange)
{
    struct input *input = LIST_ENTRY(exchange, struct input, exchange);
    struct connection *connection = input->connection;
    ASSERT(connection->input == input);
    return connection;
}

static bool is_stream(const struct connection *connection)
{
    return connection->state == STATE_STREAM || connection->state == STATE_STREAM_WRITE;
}

/* ---- what the handler is told ---- */

static void tell_later(struct connection *connection)
{
    list_unlink(&connection->again);
    list_append(&connection->worker->streams, &connection->again);
}

void stream_tell(struct connection *connection)
{
    struct http_worker *worker = connection->worker;
    struct input *input = connection->input;
    ASSERT(is_stream(connection));
    list_unlink(&connection->again);
    if (!input->exchange.gone && output_pending(connection) >= HTTP_STREAM_LOW) {
        return; /* the handler has written on all the same: stream_flushed comes again */
    }
    input->wants_more = false;
    if (worker->handler->stream_ready != NULL) {
        worker->handled = true;
        worker->handler->stream_ready(&input->exchange);
    }
}

void stream_lost(struct connection *connection)
{
    ASSERT(is_stream(connection));
    if (connection->fd >= 0) {
        close(connection->fd); /* also leaves epoll */
        connection->fd = -1;
    }
    output_free(connection);
    connection_enter(connection, STATE_STREAM); /* no deadline: it is the handler's turn */
    connection->input->exchange.gone = true;
    tell_later(connection);
}

/* Nothing is pending: watch for the peer's further requests, or its end. */
static void rest(struct connection *connection)
{
    connection_enter(connection, STATE_STREAM);
    connection_watch(connection, connection->peer_finished ? 0 : EPOLLIN);
}

void stream_flushed(struct connection *connection)
{
    if (connection->output == NULL) {
        rest(connection);
    } else {
        connection_enter(connection, STATE_STREAM_WRITE); /* progress: a new deadline */
    }
    if (connection->input->wants_more && output_pending(connection) < HTTP_STREAM_LOW) {
        tell_later(connection);
    }
}

/* ---- sending ---- */

/* Sends what the socket takes of the parts, which follow what is pending, and keeps the rest. */
static void emit(struct connection *connection, struct iovec *parts, size_t count)
{
    size_t bytes = 0, sent = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += parts[i].iov_len;
    }
    if (connection->output == NULL) {
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t result = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (result < 0 && !would_block(errno)) {
            stream_lost(connection);
            return;
        }
        sent = result < 0 ? 0 : (size_t)result;
        counter_add(&connection->worker->counters.bytes_out, sent);
        if (sent == bytes) {
            return;
        }
    }
    if (!output_reserve(connection, bytes - sent)) {
        stream_lost(connection); /* the peer does not read; others want the memory */
        return;
    }
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= skip;
        output_put(connection,
                   slice_of((const char *)parts[i].iov_base + skip, parts[i].iov_len - skip));
    }
    if (connection->state == STATE_STREAM) {
        connection_enter(connection, STATE_STREAM_WRITE);
        connection_watch(connection, EPOLLOUT);
    }
}

/* "1f4\r\n"; the result is its length. */
static size_t chunk_head(size_t bytes, char text[CHUNK_HEAD_BYTES])
{
    unsigned digits = 1;
    while (digits < 16 && bytes >> (4 * digits) > 0) {
        digits++;
    }
    for (unsigned i = 0; i < digits; i++) {
        text[i] = "0123456789abcdef"[(bytes >> (4 * (digits - 1 - i))) & 15];
    }
    memcpy(text + digits, "\r\n", 2);
    return digits + 2;
}

static struct iovec part(const char *bytes, size_t len)
{
    return (struct iovec){(void *)(uintptr_t)bytes, len};
}

/* ---- the contract ---- */

void http_stream_begin(struct http_exchange *exchange, const struct http_response *head)
{
    struct connection *connection = connection_of(exchange);
    struct input *input = connection->input;
    ASSERT(connection->state == STATE_OPEN && !exchange->gone);
    input->chunked = input->parser.llhttp.http_minor > 0;
    input->silent = exchange->request.method == HTTP_HEAD;
    input->wants_more = false;
    connection_enter(connection, STATE_STREAM);
    if (connection->fd < 0) {
        stream_lost(connection); /* the peer did not wait */
        return;
    }
    struct slice none;
    size_t head_bytes = connection_head(connection, head,
                                        input->chunked ? RESPONSE_CHUNKED : RESPONSE_CLOSE, &none);
    struct iovec bytes = part(connection->worker->scratch, head_bytes);
    emit(connection, &bytes, 1);
}

size_t http_stream_write(struct http_exchange *exchange, struct slice bytes)
{
    struct connection *connection = connection_of(exchange);
    struct input *input = connection->input;
    ASSERT(is_stream(connection));
    if (!exchange->gone && input->silent) {
        return 0;
    }
    if (!exchange->gone && bytes.len > 0) { /* an empty chunk would be the last one */
        char size[CHUNK_HEAD_BYTES];
        struct iovec parts[] = {part(size, chunk_head(bytes.len, size)), part(bytes.ptr, bytes.len),
                                part("\r\n", 2)};
        if (input->chunked) {
            emit(connection, parts, 3);
        } else {
            emit(connection, &parts[1], 1);
        }
    }
    /* One that is gone takes nothing more: the handler stops, as for one that does not read. */
    size_t pending = exchange->gone ? HTTP_STREAM_LOW : output_pending(connection);
    input->wants_more |= pending >= HTTP_STREAM_LOW;
    return pending;
}

/* An end that the peer must not take for the answer's: without chunks a FIN is one, a reset is
 * none. */
static void break_off(struct connection *connection)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    int failed = setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    ASSERT(failed == 0);
    connection_destroy(connection);
}

void http_stream_end(struct http_exchange *exchange, bool complete)
{
    struct connection *connection = connection_of(exchange);
    struct input *input = connection->input;
    ASSERT(is_stream(connection));
    if (!exchange->gone && complete && input->chunked && !input->silent) {
        struct iovec last = part("0\r\n\r\n", 5);
        emit(connection, &last, 1);
    }
    if (exchange->gone) {
        connection_destroy(connection);
        return;
    }
    list_unlink(&connection->again); /* there is nothing more to tell */
    if (!complete && !input->chunked) {
        break_off(connection);
        return;
    }
    connection->close_after |= !complete;
    if (connection->output != NULL) {
        connection_enter(connection, STATE_WRITE);
    } else {
        connection_answered(connection);
    }
}
