/* worker.c -- the loop of one thread: readiness, pipelined rests, wakes, timers. */
#define _GNU_SOURCE
#include "http/worker.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "http/accept.h"
#include "http/stream.h"

/* Small enough that what recv touched is still in the cache when the answer is sent. */
#define READY_MAX 128

/* ---- inputs ---- */

struct input *worker_input_take(struct http_worker *worker)
{
    if (worker->inputs_count >= worker->config->buffers_max) {
        return NULL;
    }
    struct input *input = worker->inputs_free;
    if (input != NULL) {
        worker->inputs_free = input->next_free; /* the last one given back: still in the cache */
        worker->inputs_free_count--;
    } else {
        input = malloc(sizeof *input);
        if (input == NULL) {
            return NULL;
        }
    }
    worker->inputs_count++;
    if (worker->inputs_count > worker->inputs_peak) {
        worker->inputs_peak = worker->inputs_count;
    }
    input->bytes = input->small;
    input->capacity = INPUT_BYTES;
    input->begin = 0;
    input->end = 0;
    input->used = 0;
    input->started = false;
    return input;
}

void worker_input_release(struct http_worker *worker, struct input *input)
{
    if (input->bytes != input->small) {
        worker->body_bytes -= input->capacity;
        free(input->bytes);
    }
    ASSERT(worker->inputs_count > 0);
    worker->inputs_count--;
    input->next_free = worker->inputs_free;
    worker->inputs_free = input;
    worker->inputs_free_count++;
    worker_let_in(worker);
}

void worker_let_in(struct http_worker *worker)
{
    if (!list_empty(&worker->starved) && worker->inputs_count < worker->config->buffers_max) {
        connection_unstarve(LIST_ENTRY(worker->starved.next, struct connection, again));
    }
}

/* Once a second: gives back what the last burst needed and this second did not.  Giving each input
 * back at once would cost a page fault or two per request (27 us, measured). */
static void inputs_trim(struct http_worker *worker)
{
    unsigned keep = worker->inputs_peak > INPUTS_KEPT_MIN ? worker->inputs_peak : INPUTS_KEPT_MIN;
    while (worker->inputs_free != NULL && worker->inputs_count + worker->inputs_free_count > keep) {
        struct input *input = worker->inputs_free;
        worker->inputs_free = input->next_free;
        worker->inputs_free_count--;
        free(input);
    }
    worker->inputs_peak = worker->inputs_count;
}

/* ---- the parts of a turn ---- */

/* Once a turn; nothing else in http/ asks for the time. */
static void clocks_read(struct http_worker *worker)
{
    worker->now_ms = clock_mono_ms();
    int64_t wall_s = clock_wall_us() / 1000000;
    if (wall_s != worker->date_s) {
        worker->date_s = wall_s;
        response_date(wall_s, worker->date);
        inputs_trim(worker);
    }
}

/* How long epoll may wait, in ms. */
static int wait_ms(const struct http_worker *worker)
{
    if (!list_empty(&worker->again) || !list_empty(&worker->streams)) {
        return 0;
    }
    int64_t first_ms = worker->accept_ms > 0 ? worker->accept_ms : INT64_MAX;
    for (unsigned state = 0; state < STATES; state++) {
        const struct list *list = &worker->lists[state];
        if (worker->timeouts_ms[state] > 0 && !list_empty(list)) {
            int64_t deadline_ms = LIST_ENTRY(list->next, struct connection, node)->deadline_ms;
            first_ms = deadline_ms < first_ms ? deadline_ms : first_ms;
        }
    }
    if (first_ms == INT64_MAX) {
        return -1;
    }
    int64_t wait = first_ms - worker->now_ms;
    return wait < 0 ? 0 : wait > INT_MAX ? INT_MAX : (int)wait;
}

static void expire(struct http_worker *worker)
{
    for (unsigned state = 0; state < STATES; state++) {
        struct list *list = &worker->lists[state];
        while (worker->timeouts_ms[state] > 0 && !list_empty(list)) {
            struct connection *first = LIST_ENTRY(list->next, struct connection, node);
            if (first->deadline_ms > worker->now_ms) {
                break;
            }
            connection_expire(first);
        }
    }
}

/* One round: those that ask for more again have their turn in the next. */
static void run_round(struct list *list, void (*run)(struct connection *connection))
{
    struct list round;
    list_init(&round);
    while (!list_empty(list)) {
        struct list *node = list->next;
        list_unlink(node);
        list_append(&round, node);
    }
    while (!list_empty(&round)) {
        run(LIST_ENTRY(round.next, struct connection, again));
    }
}

static void free_closed(struct http_worker *worker)
{
    struct list *list = &worker->lists[STATE_CLOSED];
    while (!list_empty(list)) {
        struct connection *connection = LIST_ENTRY(list->next, struct connection, node);
        list_unlink(&connection->node);
        free(connection);
    }
}

static void start_drain(struct http_worker *worker)
{
    worker->draining = true;
    accept_finish(worker);
    /* Each leaves the state IDLE, one way or the other. */
    while (!list_empty(&worker->lists[STATE_IDLE])) {
        connection_drain(LIST_ENTRY(worker->lists[STATE_IDLE].next, struct connection, node));
    }
}

static void on_wake(struct http_worker *worker)
{
    /* Before the reasons are looked at, and acquiring what their writers released: a wake that
     * comes later than this writes to the eventfd again. */
    atomic_exchange_explicit(&worker->woken, false, memory_order_acq_rel);
    if (!worker->draining && atomic_load_explicit(&worker->drain_asked, memory_order_acquire)) {
        start_drain(worker);
    }
    if (atomic_exchange_explicit(&worker->handler_woken, false, memory_order_acq_rel) &&
        worker->handler->wake != NULL) {
        worker->handler->wake(worker->worker_ctx);
    }
}

static void turn(struct http_worker *worker)
{
    struct epoll_event ready[READY_MAX];
    int count = epoll_wait(worker->epoll_fd, ready, READY_MAX, wait_ms(worker));
    ASSERT(count >= 0 || errno == EINTR);
    clocks_read(worker);
    bool woken = false;
    for (int i = 0; i < count; i++) {
        void *what = ready[i].data.ptr;
        if (what == &worker->wake_fd) {
            woken = true;
        } else if (what == &worker->listen_fd) {
            accept_ready(worker);
        } else {
            connection_ready(what, ready[i].events);
        }
    }
    run_round(&worker->again, connection_again);
    run_round(&worker->streams, stream_tell);
    if (woken) {
        on_wake(worker);
    }
    if (worker->handled) {
        worker->handled = false;
        if (worker->handler->turn_end != NULL) {
            worker->handler->turn_end(worker->worker_ctx);
        }
    }
    expire(worker);
    accept_resume(worker);
    free_closed(worker);
    if (worker->draining) {
        atomic_store_explicit(&worker->drained, worker->connections == worker->lingering,
                              memory_order_release);
    }
}

static void close_all(struct http_worker *worker)
{
    for (unsigned state = 0; state < STATE_CLOSED; state++) {
        struct list *list = &worker->lists[state];
        while (!list_empty(list)) {
            struct connection *connection = LIST_ENTRY(list->next, struct connection, node);
            connection_check(connection);
            connection_drop(connection);
        }
    }
    free_closed(worker);
    ASSERT(worker->connections == 0 && worker->inputs_count == 0);
    ASSERT(worker->body_bytes == 0 && worker->output_bytes == 0 && worker->lingering == 0);
    while (worker->inputs_free != NULL) {
        struct input *input = worker->inputs_free;
        worker->inputs_free = input->next_free;
        free(input);
    }
    accept_close(worker);
}

void *worker_run(void *argument)
{
    struct http_worker *worker = argument;
    const struct http_handler *handler = worker->handler;
    clocks_read(worker);
    if (handler->worker_start != NULL) {
        worker->worker_ctx = handler->worker_start(handler->ctx, worker);
    }
    while (!atomic_load_explicit(&worker->stop_asked, memory_order_acquire)) {
        turn(worker);
    }
    close_all(worker);
    if (handler->worker_stop != NULL) {
        handler->worker_stop(worker->worker_ctx);
    }
    return NULL;
}

/* ---- any thread ---- */

void worker_nudge(struct http_worker *worker)
{
    /* acq_rel: releases the reason set before; and when another wake is still on its way, the
     * worker's exchange, which comes later, acquires ours. */
    if (!atomic_exchange_explicit(&worker->woken, true, memory_order_acq_rel)) {
        uint64_t one = 1;
        ssize_t written = write(worker->wake_fd, &one, sizeof one);
        ASSERT(written == (ssize_t)sizeof one || errno == EAGAIN);
    }
}

void http_worker_wake(struct http_worker *worker)
{
    atomic_store_explicit(&worker->handler_woken, true, memory_order_release);
    worker_nudge(worker);
}

unsigned http_worker_index(const struct http_worker *worker)
{
    return worker->index;
}
