/* worker.h -- one thread, one epoll, its connections.
 *
 * Inside http/ only.  Threads: all of it belongs to the worker's thread but for the bands marked
 * otherwise. */
#ifndef NOVABEAT_HTTP_WORKER_H
#define NOVABEAT_HTTP_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/connection.h"
#include "http/response.h"

/* Requests of one connection in one turn of the loop: pipelining does not starve others. */
#define REQUESTS_PER_TURN 16
#define ACCEPTS_PER_TURN  64
/* How long accepting stops when no descriptor is left. */
#define ACCEPT_PAUSE_MS 100
/* After our last answer: what a peer may still send, and for how long (RFC 9112, 9.6). */
#define LINGER_MS        1000
#define LINGER_BYTES_MAX (256u << 10)
/* Inputs a worker always keeps for reuse; beyond that, as many as it needed at one time within the
 * last second or two. */
#define INPUTS_KEPT_MIN 64
/* Answers up to this size are put together in one buffer and sent in one call. */
#define WORKER_SCRATCH_BYTES 16384
/* Per worker: bodies above INPUT_BYTES being received, and answers being waited for. */
#define WORKER_BODY_BYTES_MAX   (256u << 20)
#define WORKER_OUTPUT_BYTES_MAX (256u << 20)
#define BUFFERS_MAX_DEFAULT     8192u
#define OUTPUT_BYTES_DEFAULT    (64u << 20)

/* The counters of http.h, one list. */
#define COUNTER_LIST(X)                                                                            \
    X(connections_open)                                                                            \
    X(connections_total)                                                                           \
    X(connections_refused)                                                                         \
    X(requests_total)                                                                              \
    X(responses_2xx)                                                                               \
    X(responses_3xx)                                                                               \
    X(responses_4xx)                                                                               \
    X(responses_5xx)                                                                               \
    X(parse_errors)                                                                                \
    X(timeouts)                                                                                    \
    X(bytes_in)                                                                                    \
    X(bytes_out)                                                                                   \
    X(accept_pauses)                                                                               \
    X(buffer_waits)

/* Written by the worker, read by anyone. */
struct worker_counters {
#define COUNTER_FIELD(name) _Atomic uint64_t name;
    COUNTER_LIST(COUNTER_FIELD)
#undef COUNTER_FIELD
};

struct http_worker {
    /* set before the thread starts, then read only */
    struct http_server *server;
    const struct http_config *config;
    const struct http_handler *handler;
    pthread_t thread;
    unsigned index;
    int epoll_fd, wake_fd;
    int64_t timeouts_ms[STATES]; /* 0: none */
    struct parser_names names;

    /* the worker's */
    int listen_fd;  /* -1 once draining */
    int reserve_fd; /* given up for a moment when no descriptor is left; or -1 */
    void *worker_ctx;
    int64_t now_ms;    /* monotonic, read once a turn */
    int64_t date_s;    /* what `date` says */
    int64_t accept_ms; /* when accepting goes on; 0: it is on */
    struct list lists[STATES];
    struct list again, starved, streams;
    struct input *inputs_free;
    unsigned inputs_free_count, inputs_count; /* count: in use */
    unsigned inputs_peak;                     /* most in use since the last trim */
    unsigned connections;
    unsigned lingering;
    uint64_t body_bytes, output_bytes; /* held in large bodies and in unsent answers */
    bool draining;
    bool handled; /* a request went to the handler in this turn */
    char date[RESPONSE_DATE_BYTES + 1];
    char scratch[WORKER_SCRATCH_BYTES];

    /* written by any thread, cleared by the worker; cold but for woken */
    alignas(64) _Atomic bool woken; /* a wake is on its way: further ones need no system call */
    _Atomic bool handler_woken;     /* …and it is meant for the handler */
    _Atomic bool drain_asked, stop_asked;
    _Atomic bool drained; /* written by the worker */

    /* written by the worker only */
    alignas(64) struct worker_counters counters;
};

struct http_server {
    struct http_config config;
    struct http_handler handler;
    uint16_t port;
    unsigned workers_count; /* started */
    struct http_worker *workers;
    alignas(64) _Atomic unsigned connections; /* of all workers; changes per connection only */
};

/* Relaxed load and store suffice: one writer, and a reader that wants a figure, not an order. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* The thread.  `argument` is the worker. */
void *worker_run(void *argument);
/* Any thread: the loop takes a turn soon. */
void worker_nudge(struct http_worker *worker);

/* NULL when buffers_max are in use, or memory is short. */
struct input *worker_input_take(struct http_worker *worker);
void worker_input_release(struct http_worker *worker, struct input *input);
/* Lets the first connection that waits for an input read on, if there is one for it. */
void worker_let_in(struct http_worker *worker);

#endif
