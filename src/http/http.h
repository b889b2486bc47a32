/* http.h -- the HTTP/1.1 server: epoll workers that turn bytes into requests and answers into
 * bytes.
 *
 * It knows nothing of viewers.  A worker is one thread with one epoll instance; a connection stays
 * with its worker.  A connection works on one request at a time: the next one (pipelined or not) is
 * parsed after the answer to this one was queued, so answers keep their order and the input buffer
 * does not move while a request is open.  Slices of a request borrow from that buffer until
 * http_respond returns.
 *
 * Sources: RFC 9112 (HTTP/1.1), RFC 9110 (semantics), RFC 9457 (problem details).  Parser: llhttp.
 * Threads: every call but http_worker_wake, http_server_drain and http_server_stop is made on the
 * exchange's own worker thread. */
#ifndef NOVABEAT_HTTP_HTTP_H
#define NOVABEAT_HTTP_HTTP_H

#include "base/err.h"
#include "base/slice.h"

struct http_server;
struct http_worker;

#include <netinet/in.h>
#include <stdalign.h>
#include <stdint.h>

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER
};

/* Headers that are kept: the fixed ones, and up to HTTP_WATCHED_MAX more by configured name. */
#define HTTP_WATCHED_MAX 6
/* Room for the handler's own state in each exchange: no allocation for a heartbeat. */
#define HTTP_USER_BYTES   768
#define HTTP_HEADERS_ROOM 384
/* What a request takes in http/ while it is read or answered, unless it or its answer is large. */
#define HTTP_REQUEST_BYTES (19u * 1024)

struct http_request {
    enum http_method method;
    struct slice path;  /* raw, before '?', starts with '/'; or "*" (OPTIONS only) */
    struct slice query; /* raw, after '?', or empty */
    struct slice authorization, content_type, referer, origin, accept, forwarded_for;
    struct slice watched[HTTP_WATCHED_MAX]; /* values in the order of http_config.watched; the first
                                               one if a header comes twice; several lines of
                                               X-Forwarded-For are joined with ", " */
    struct slice body;                      /* contiguous, chunks removed */
};

struct http_exchange {
    struct slice headers; /* complete header lines that every answer to this request gets besides
                             its own (CORS); set by the handler, must outlive the answer (of a
                             stream: http_stream_begin).  With the answer's own: 8 KiB at most */
    bool gone;            /* streaming: the peer is gone; only http_stream_end is left to call */
    /* first is what every answer reads: one cache line with the method */
    struct http_request request;
    struct sockaddr_storage peer; /* of the socket */
    void *worker_ctx;             /* what http_handler.worker_start returned */
    alignas(
        16) unsigned char user[HTTP_USER_BYTES]; /* the handler's, zeroed when a request starts */
    char headers_room[HTTP_HEADERS_ROOM]; /* the handler's, not zeroed: where `headers` may lie */
};

struct http_config {
    const char *host; /* numeric address, "127.0.0.1" or "::1" */
    uint16_t port;    /* 0: any free one, see http_server_port */
    unsigned workers;
    unsigned connections_max; /* of all workers; above it a connection is answered 503 and closed */
    uint32_t head_bytes_max;  /* request line and headers: 431 above, 414 for the line */
    uint32_t header_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms;
    const char *watched[HTTP_WATCHED_MAX]; /* header names, NULL-ended when fewer */
    /* Bounds that seldom need a change; 0: the default. */
    unsigned buffers_max;      /* per worker: requests being read or answered at one time,
                                  HTTP_REQUEST_BYTES each; above it a request waits unread.  8192 */
    uint32_t output_bytes_max; /* what one peer may leave unread of an answer.  64 MiB */
};

struct http_handler {
    void *ctx;
    /* Once per worker, on its thread, before and after its loop. */
    void *(*worker_start)(void *ctx, struct http_worker *worker);
    void (*worker_stop)(void *worker_ctx);
    /* The head is there: how large may the body be (413 above it)?  May be 0. */
    uint32_t (*body_bytes_max)(void *ctx, const struct http_request *request);
    /* The request is whole.  Answer now or later, exactly once, with http_respond. */
    void (*request)(void *ctx, struct http_exchange *exchange);
    /* Streaming: less than HTTP_STREAM_LOW bytes are pending now, or the peer is gone. */
    void (*stream_ready)(struct http_exchange *exchange);
    /* After http_worker_wake; and at the end of each loop turn that handled requests: the place to
     * hand on what was gathered. */
    void (*wake)(void *worker_ctx);
    void (*turn_end)(void *worker_ctx);
};

/* The answer.  content_type NULL: none and no body.  `headers`: further complete header lines, each
 * with CRLF, or empty.  Date, Content-Length and Connection are added (a HEAD request gets the
 * length but not the body; 204 and 304 get neither).  Everything is copied or sent before it
 * returns: nothing needs to outlive the call.  Pending output above a bound closes the connection.
 */
struct http_response {
    int status;
    const char *content_type;
    struct slice headers;
    struct slice body;
    bool close; /* close the connection after it */
};
void http_respond(struct http_exchange *exchange, const struct http_response *response);

/* An answer of unknown length, written in pieces from the exchange's worker thread: begin (body is
 * ignored; chunked, or up to the close for an HTTP/1.0 peer; a HEAD request gets the head alone),
 * write as much as is wanted, end.  The exchange, and its request's slices, stay until
 * http_stream_end.  After a write that left HTTP_STREAM_LOW bytes or more pending, write no more
 * until stream_ready is called: so memory is bounded by the pieces.  Each write is a chunk and, if
 * the peer keeps up, a system call: gather small pieces to some 16 to 64 KiB.  Status 204 and 304
 * are not for streams.
 * A peer that resets, does not read for write-timeout, or would have more than output_bytes_max
 * pending is gone: `gone` is set and stream_ready called once (from the loop, never from inside one
 * of these calls; not at all if http_stream_end comes first).  To one that is gone a write does
 * nothing and returns HTTP_STREAM_LOW.  http_stream_end must be called all the same, exactly once.
 * A peer that closed without a reset is noticed at the second write after it: one that sends
 * seldom should send something now and then (server-sent events: a comment).
 * complete = false: something failed half-way; the connection is closed without the last chunk (to
 * an HTTP/1.0 peer: reset), so that the peer sees that it is not whole.  Draining does not end
 * streams: that is for whoever writes them. */
#define HTTP_STREAM_LOW (256u << 10)
void http_stream_begin(struct http_exchange *exchange, const struct http_response *head);
/* Bytes pending after it. */
size_t http_stream_write(struct http_exchange *exchange, struct slice bytes);
void http_stream_end(struct http_exchange *exchange, bool complete);

/* application/problem+json: {"type":"about:blank","title":…,"status":…,"detail":…,"field":…}; field
 * NULL: none.  Text is escaped. */
void http_problem(struct http_exchange *exchange, int status, const char *field,
                  const char *detail);
/* The same with further header lines (such as "Retry-After: 5\r\n"). */
void http_problem_headers(struct http_exchange *exchange, int status, const char *field,
                          const char *detail, struct slice headers);

enum err http_server_start(const struct http_config *config, const struct http_handler *handler,
                           struct http_server **server, char *why, size_t why_bytes) WARN_UNUSED;
uint16_t http_server_port(const struct http_server *server);
/* Any thread: have the worker's `wake` called soon; many wakes may make one call. */
void http_worker_wake(struct http_worker *worker);
unsigned http_worker_index(const struct http_worker *worker);
/* Stop accepting; answer what is open with "Connection: close"; idle connections are closed. Any
 * thread, returns at once. */
void http_server_drain(struct http_server *server);
/* True when no request is open on any connection. */
bool http_server_drained(const struct http_server *server);
/* Ends and joins the workers; open exchanges are dropped without an answer (the handler must not
 * touch them any more: stop whatever could answer first). */
void http_server_stop(struct http_server *server);

/* Counters for /metrics; relaxed sums over the workers. */
struct http_counters {
    uint64_t connections_open, connections_total, connections_refused;
    uint64_t requests_total, responses_2xx, responses_3xx, responses_4xx, responses_5xx;
    uint64_t parse_errors, timeouts, bytes_in, bytes_out;
    uint64_t accept_pauses; /* times that no descriptor was left and accepting stopped for 100 ms */
    uint64_t buffer_waits;  /* times that a request had to wait for one of buffers_max */
};
void http_server_counters(const struct http_server *server, struct http_counters *counters);

#endif
