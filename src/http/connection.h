/* connection.h -- one peer: the states it goes through, and what it owns in each.
 *
 * Inside http/ only.  A connection is in exactly one list of its worker: that of its state.  All
 * connections of a state have the same timeout, so a state's list is in the order of deadlines, and
 * a timer costs two pointer writes.  Between requests a connection owns nothing but this struct; an
 * `input` (buffer, parser, exchange) is held from a request's first byte until its answer is sent.
 *
 * Invariants (connection_check): a state's `input` and `output` columns below; fd >= 0 unless
 * OPEN or STREAM (the peer is gone, the handler has not finished) or CLOSED.
 * Memory: one allocation each; inputs come from the worker's pool.  Threads: the worker's. */
#ifndef NOVABEAT_HTTP_CONNECTION_H
#define NOVABEAT_HTTP_CONNECTION_H

#include "http/http.h"
#include "http/list.h"
#include "http/parser.h"
#include "http/response.h"

/*    state   input output  meaning */
#define CONNECTION_STATES(X)                                                                       \
    X(IDLE, "no", "no", "between requests; holds no buffer")                                       \
    X(HEAD, "yes", "no", "a part of a request's head is there")                                    \
    X(BODY, "yes", "no", "the head is there, a part of the body is missing")                       \
    X(OPEN, "yes", "no", "the handler has the request")                                            \
    X(STREAM, "yes", "no",                                                                         \
      "the handler writes an answer in pieces; the peer has taken all so far")                     \
    X(STREAM_WRITE, "yes", "yes", "as STREAM, but a part waits for the peer")                      \
    X(WRITE, "any", "yes", "the peer has not yet taken all of an answer")                          \
    X(LINGER, "no", "no", "our side is shut; what still comes is thrown away for a while")         \
    X(CLOSED, "no", "no", "to be freed at the end of the turn")

enum connection_state {
#define STATE_ENUM(name, input, output, meaning) STATE_##name,
    CONNECTION_STATES(STATE_ENUM)
#undef STATE_ENUM
        STATES
};

/* One buffer holds the largest head, and a heartbeat's head and body together. */
#define INPUT_BYTES 16384u

struct connection;

/* What a request needs while it is read and answered. */
struct input {
    struct connection *connection;
    struct input *next_free; /* in the worker's pool */
    char *bytes;             /* `small`, or allocated for a large body */
    uint32_t capacity;
    uint32_t begin; /* where the request being read or answered begins */
    uint32_t end;   /* behind the last byte received */
    uint32_t used;  /* once complete: the request's own length; what follows is the next one's */
    bool started;   /* the parser has been started for the bytes at `begin` */
    /* of an answer in pieces */
    bool chunked;    /* else up to the close */
    bool silent;     /* the request was HEAD: what is written is thrown away */
    bool wants_more; /* the handler waits for stream_ready */
    struct parser parser;
    struct http_exchange exchange;
    char small[INPUT_BYTES];
};

/* Bytes that the socket did not take yet: bytes[sent] to bytes[size - 1]. */
struct output {
    size_t sent, size, capacity;
    char bytes[];
};

struct connection {
    struct list node;  /* in the worker's list of this state */
    struct list again; /* in the worker's `again` (more bytes to parse), `starved` (no input) or
                          `streams` (to be told) */
    int64_t deadline_ms;
    struct http_worker *worker;
    struct input *input;
    struct output *output;
    int fd;
    uint32_t interest;        /* what epoll watches: EPOLLIN, EPOLLOUT or 0 */
    uint32_t linger_bytes;    /* thrown away so far */
    uint8_t state;            /* enum connection_state */
    bool in_handler;          /* the handler is being called: do not parse on under its feet */
    bool peer_finished;       /* the peer has shut its side; it may still wait for its answer */
    bool close_after;         /* after the answer being written */
    bool linger_after;        /* and bytes of the peer may still be on their way */
    struct sockaddr_in6 peer; /* or a sockaddr_in: the larger of the two that we listen on */
};

/* A new connection, registered with the worker's epoll.  Takes fd (closes it on failure). */
void connection_open(struct http_worker *worker, int fd, const struct sockaddr_in6 *peer);
/* What epoll said. */
void connection_ready(struct connection *connection, uint32_t events);
/* It has bytes of a further request, and its turn has come. */
void connection_again(struct connection *connection);
/* An input has become free for it. */
void connection_unstarve(struct connection *connection);
/* Its deadline has passed. */
void connection_expire(struct connection *connection);
/* The server drains: an idle one is served what it has already sent, or closed. */
void connection_drain(struct connection *connection);
/* Closes it, whatever its state; an open exchange is dropped (http_server_stop only). */
void connection_drop(struct connection *connection);
void connection_check(const struct connection *connection);

/* ---- for stream.c ---- */

static inline bool connection_is_open(const struct connection *connection)
{
    return connection->state == STATE_OPEN || connection->state == STATE_STREAM ||
           connection->state == STATE_STREAM_WRITE;
}

void connection_enter(struct connection *connection, enum connection_state state);
/* What epoll shall watch: EPOLLIN, EPOLLOUT or 0. */
void connection_watch(struct connection *connection, uint32_t events);
/* The one teardown, good for every state. */
void connection_destroy(struct connection *connection);
/* All of an answer was sent: the next request, or the end. */
void connection_answered(struct connection *connection);
/* Writes a head of an open exchange into the worker's scratch; the result is its length. */
size_t connection_head(struct connection *connection, const struct http_response *response,
                       enum response_end end, struct slice *body);

#endif
