/* live.c -- ports, start and stop of the memory engine. */
#define _GNU_SOURCE
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What options leave 0. */
#define EVENT_TIMEOUT_MS   10000
#define STOP_TIMEOUT_MS    60000
#define RETAIN_INTERVAL_MS 60000

/* ---- ports ---- */

struct live_port *live_port_open(struct live *live, uint32_t index, void (*wake)(void *ctx),
                                 void *ctx)
{
    ASSERT(index < live->options.ports);
    struct live_port *port = &live->ports[index];
    port->wake = wake;
    port->ctx = ctx;
    atomic_store_explicit(&port->open, true, memory_order_release);
    return port;
}

bool live_submit(struct live_port *port, struct live_request *request)
{
    if (port->in_flight == port->live->options.requests_max) {
        return false;
    }
    request->port = port;
    request->seq = 0;
    bool put;
    if (request->kind == LIVE_HEARTBEATS) {
        struct live_heartbeats *beats = (struct live_heartbeats *)request;
        ASSERT(beats->count > 0);
        beats->taken = beats->finished = 0;
        put = ring_put(&port->inbox, beats);
    } else {
        port->asked = true;
        put = ring_put(&port->questions, request);
    }
    ASSERT(put); /* as many slots as requests in flight */
    port->in_flight++;
    port->submitted = true;
    return true;
}

void live_port_flush(struct live_port *port)
{
    if (!port->submitted) {
        return;
    }
    struct live *live = port->live;
    int wait = atomic_fetch_add(&live->engine_wait, 0); /* see enum engine_wait */
    if (wait == ENGINE_ASLEEP || (wait == ENGINE_GATHERING && port->asked)) {
        uint64_t one = 1;
        ssize_t written = write(live->wake_fd, &one, sizeof one);
        (void)written; /* full means awake */
    }
    port->submitted = false;
    port->asked = false;
}

static void drain_acks(struct live_port *port)
{
    struct live *live = port->live;
    bool sync = live->options.durability == LIVE_SYNC;
    uint64_t durable_seq = atomic_load_explicit(&live->durable_seq, memory_order_acquire);
    struct live_request *request;
    while ((request = ring_peek(&port->acks)) != NULL) {
        if (sync && request->seq > durable_seq) {
            break; /* the sync thread wakes us again */
        }
        (void)ring_take(&port->acks);
        port->in_flight--;
        request->done(request);
    }
}

void live_port_drain(struct live_port *port)
{
    drain_acks(port);
    pthread_mutex_lock(&port->answers_lock);
    struct live_request *first = port->answers_first;
    port->answers_first = port->answers_last = NULL;
    pthread_mutex_unlock(&port->answers_lock);
    while (first != NULL) {
        struct live_request *request = first;
        first = request->next;
        port->in_flight--;
        request->done(request);
    }
}

/* ---- counters ---- */

void live_counters(struct live *live, struct live_counters *counters)
{
#define LIVE_COUNTER_READ(name, text)                                                              \
    counters->name = atomic_load_explicit(&live->counters.name, memory_order_relaxed);
    LIVE_COUNTER_LIST(LIVE_COUNTER_READ)
    LIVE_GAUGE_LIST(LIVE_COUNTER_READ)
#undef LIVE_COUNTER_READ
    counters->durable_seq = atomic_load_explicit(&live->durable_seq, memory_order_relaxed);
}

bool live_ready(struct live *live)
{
    return !atomic_load_explicit(&live->no_space, memory_order_relaxed);
}

/* ---- start ---- */

static void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void init_ports(struct live *live)
{
    live->ports = aligned_alloc(64, live->options.ports * sizeof *live->ports);
    ASSERT(live->ports != NULL);
    for (uint32_t i = 0; i < live->options.ports; i++) {
        struct live_port *port = &live->ports[i];
        memset(port, 0, sizeof *port);
        port->live = live;
        ring_init(&port->inbox, live->options.requests_max);
        ring_init(&port->questions, live->options.requests_max);
        ring_init(&port->acks, live->options.requests_max);
        pthread_mutex_init(&port->answers_lock, NULL);
    }
}

static void init_state(struct live *live)
{
    int64_t mono_ms = clock_mono_ms();
    int64_t wall_us = clock_wall_us();
    clock_init(&live->clock, clock_mono_us(), wall_us, live->store.last_ms);
    if (live->store.last_ms > wall_us / 1000) {
        log_line(LOG_WARN, "clock",
                 "the data folder is %lld ms ahead of this machine's clock; counting goes on from "
                 "there, and is drawn towards the clock by 1 %%",
                 (long long)(live->store.last_ms - wall_us / 1000));
    }
    live->settings_due = true;
    if (live->store.journal_remembers) { /* from here on another segment, and the old ones can go */
        journal_turn(live->journal);
        live->record_wanted = true;
    }
    live->flush_ms = mono_ms;
    live->full_ms = mono_ms; /* a full pass at once: it shortens the next recovery */
    live->payload = memory_alloc(JOURNAL_RECORD_BYTES_MAX);
    live->waiting.hash_key = live->store.cfg.hash_key;
    erasures_recovered(live, live->store.erasures);
    live->store.erasures = NULL;
    atomic_store(&live->now_ms, live->store.last_ms);
    atomic_store(&live->stop_by_ms, INT64_MAX);
    pthread_mutex_init(&live->messages_lock, NULL);
    pthread_mutex_init(&live->sync_lock, NULL);
    cond_init_monotonic(&live->sync_wanted);
    pthread_mutex_init(&live->part_lock, NULL);
    cond_init_monotonic(&live->part_changed);
    changes_init(&live->part);
    work_init(&live->writes);
    work_init(&live->reads);
    waiting_queue_init(&live->lookups);
    uint64_t durable_seq = journal_durable_seq(live->journal);
    atomic_store(&live->durable_seq, durable_seq);
    live->sync_appended_seq = durable_seq;
    GAUGE(live, covered_seq, live->store.covered_seq);
    GAUGE(live, journal_seq, journal_appended_seq(live->journal));
}

static void start_threads(struct live *live)
{
    int failed = pthread_create(&live->engine_thread, NULL, engine_run, live) |
                 pthread_create(&live->sync_thread, NULL, sync_run, live) |
                 pthread_create(&live->loader_thread, NULL, loader_run, live) |
                 pthread_create(&live->records_thread, NULL, records_run, live);
    for (int i = 0; i < READERS; i++) {
        failed |= pthread_create(&live->reader_threads[i], NULL, reader_run, live);
    }
    if (failed != 0) {
        live_die("a thread could not be started");
    }
}

enum err live_start(const struct live_options *options, struct live **out, char *why,
                    size_t why_bytes)
{
    *out = NULL;
    struct live *live = aligned_alloc(64, (sizeof *live + 63) / 64 * 64);
    ASSERT(live != NULL);
    memset(live, 0, sizeof *live);
    live->options = *options;
    if (options->event_timeout_ms == 0) {
        live->options.event_timeout_ms = EVENT_TIMEOUT_MS;
    }
    if (options->stop_timeout_ms == 0) {
        live->options.stop_timeout_ms = STOP_TIMEOUT_MS;
    }
    if (options->retain_interval_ms == 0) {
        live->options.retain_interval_ms = RETAIN_INTERVAL_MS;
    }
    struct store_options store_options = {
        .data = options->data,
        .records = options->records,
        .engine = options->engine,
        .journal_segment_bytes = options->journal_segment_bytes,
        .journal_max_bytes = options->journal_max_bytes,
    };
    enum err err = store_open(&store_options, &live->store, why, why_bytes);
    if (err != ERR_NONE) {
        free(live);
        return err;
    }
    if (options->profiles.query != NULL) { /* what is wrong there is said now */
        err = records_profiles_from(live->store.link, &options->profiles);
        if (err != ERR_NONE) {
            (void)snprintf(why, why_bytes, "profiles: %s", records_why(live->store.link));
            store_close(&live->store);
            free(live);
            return err;
        }
    }
    live->options.engine = live->store.cfg; /* with the hash key: for events that are loaded */
    live->engine = live->store.engine;
    live->journal = live->store.journal;
    records_close(live->store.link); /* each thread has its own */
    live->store.link = NULL;
    live->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (live->wake_fd < 0) {
        (void)snprintf(why, why_bytes, "eventfd: %s", strerror(errno));
        store_close(&live->store);
        free(live);
        return ERR_IO;
    }
    init_ports(live);
    init_state(live);
    start_threads(live);
    *out = live;
    return ERR_NONE;
}

void live_start_cancel(void)
{
    atomic_store_explicit(&store_open_cancel, true, memory_order_relaxed);
}

/* ---- stop ---- */

static void stop_work(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    work->stop = true;
    pthread_cond_broadcast(&work->changed);
    pthread_mutex_unlock(&work->lock);
}

static void stop_threads(struct live *live)
{
    atomic_store(&live->stop_by_ms, clock_mono_ms() + live->options.stop_timeout_ms);
    atomic_store(&live->stop_engine, true);
    (void)atomic_fetch_add(&live->engine_wait, 0);
    uint64_t one = 1;
    ssize_t written = write(live->wake_fd, &one, sizeof one);
    (void)written;
    pthread_join(live->engine_thread, NULL); /* after it has stored everything */
    pthread_mutex_lock(&live->part_lock);
    live->part_stop = true;
    pthread_cond_broadcast(&live->part_changed);
    pthread_mutex_unlock(&live->part_lock);
    pthread_join(live->records_thread, NULL);
    waiting_queue_stop(&live->lookups);
    pthread_join(live->loader_thread, NULL);
    stop_work(&live->reads);
    for (int i = 0; i < READERS; i++) {
        pthread_join(live->reader_threads[i], NULL);
    }
    pthread_mutex_lock(&live->sync_lock);
    live->sync_stop = true;
    pthread_cond_signal(&live->sync_wanted);
    pthread_mutex_unlock(&live->sync_lock);
    pthread_join(live->sync_thread, NULL);
}

static void free_list(struct message *first)
{
    while (first != NULL) {
        struct message *message = first;
        first = message->next;
        if (message->waiting != NULL) {
            event_free(message->waiting->loaded); /* else NULL */
        }
        if (message->kind == MESSAGE_RETIRE) {
            erasure_free((struct erasure *)message->query);
        }
        free(message);
    }
}

/* What came after the engine had ended, and refreshes that nobody waits for. */
static void free_messages(struct live *live)
{
    free_list(live->messages_first);
    free_list(live->puts_first);
    for (int list = 0; list < WAITING_LISTS; list++) {
        while (live->waiting.lists[list].oldest != NULL) {
            waiting_remove(&live->waiting, live->waiting.lists[list].oldest);
        }
    }
}

enum err live_stop(struct live *live)
{
    for (uint32_t i = 0; i < live->options.ports; i++) {
        ASSERT(live->ports[i].in_flight == 0);
    }
    stop_threads(live);
    uint64_t durable_seq;
    enum err err = journal_sync(live->journal, &durable_seq);
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "journal", "the last sync failed: %s", err_text(err));
    } else if (live->gave_up) {
        err = ERR_DATABASE;
    }
    free_messages(live);
    erasures_fini(live);
    for (uint32_t i = 0; i < live->options.ports; i++) {
        ring_fini(&live->ports[i].inbox);
        ring_fini(&live->ports[i].questions);
        ring_fini(&live->ports[i].acks);
    }
    changes_fini(&live->part);
    store_close(&live->store);
    close(live->wake_fd);
    free(live->payload);
    free(live->ports);
    free(live);
    return err;
}
