/* threads.c -- the threads that may block: fdatasync, look-ups, commits, reading. */
#define _GNU_SOURCE
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS_FIRST 50 /* after a commit that failed; then twice as long each time */
#define RETRY_MS_MAX   2000

void live_die(const char *why)
{
    log_line(LOG_ERROR, "journal",
             "%s. Nothing more is acknowledged; the journal holds what was. Exiting.", why);
    _exit(1);
}

/* A monotonic time as pthread_cond_timedwait takes it. */
static struct timespec at_ms(int64_t ms)
{
    return (struct timespec){ms / 1000, ms % 1000 * 1000000};
}

/* ---- the journal ---- */

static void publish_durable(struct live *live, uint64_t seq)
{
    /* Never back: the sync thread and the records thread may come in either order.  Release: who
     * sees the number may rely on all that was done for it. */
    uint64_t before = atomic_load_explicit(&live->durable_seq, memory_order_relaxed);
    while (before < seq &&
           !atomic_compare_exchange_weak_explicit(&live->durable_seq, &before, seq,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    COUNT(live, syncs, 1);
    meet(live); /* the engine, which puts acks and then looks at durable_seq: see wake_ports */
    for (uint32_t i = 0; live->options.durability == LIVE_SYNC && i < live->options.ports; i++) {
        struct live_port *port = &live->ports[i];
        if (port->open && !ring_empty(&port->acks)) {
            port->wake(port->ctx);
        }
    }
}

static void sync_now(struct live *live)
{
    uint64_t durable_seq;
    enum err err = journal_sync(live->journal, &durable_seq);
    if (err != ERR_NONE) {
        live_die(err_text(err)); /* never retried: the kernel reports a lost page once */
    }
    publish_durable(live, durable_seq);
}

void *sync_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "sync");
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&live->sync_lock);
        uint64_t durable_seq = atomic_load_explicit(&live->durable_seq, memory_order_relaxed);
        if (live->options.durability == LIVE_SYNC) {
            while (live->sync_appended_seq <= durable_seq && !live->sync_stop) {
                pthread_cond_wait(&live->sync_wanted, &live->sync_lock);
            }
        } else if (!live->sync_stop) {
            struct timespec until = at_ms(clock_mono_ms() + 1000);
            pthread_cond_timedwait(&live->sync_wanted, &live->sync_lock, &until);
        }
        stop = live->sync_stop;
        bool wanted = live->sync_appended_seq > durable_seq;
        pthread_mutex_unlock(&live->sync_lock);
        if (wanted) {
            sync_now(live);
        }
    }
    return NULL;
}

/* ---- look-ups ---- */

static void post_loaded(struct live *live, struct waiting *waiting)
{
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = MESSAGE_LOADED;
    message->waiting = waiting;
    engine_post(live, message);
}

static void load_event(struct live *live, struct records_link *link, struct waiting *waiting)
{
    waiting->err =
        records_event_load(link, &live->options.engine, waiting_event(waiting), &waiting->loaded);
    if (waiting->err != ERR_NONE && waiting->err != ERR_NOT_FOUND) {
        LOG_EVERY(10000, LOG_WARN, "records", "event %.*s could not be loaded: %s",
                  SLICE_ARG(waiting_event(waiting)), records_why(link));
    }
    post_loaded(live, waiting);
}

static void load_profiles(struct live *live, struct records_link *link, struct waiting *first,
                          struct profile_lookup *lookups)
{
    size_t count = 0;
    for (struct waiting *at = first; at != NULL; at = at->queue_next) {
        lookups[count++] =
            (struct profile_lookup){.event = waiting_event(at), .viewer = waiting_viewer(at)};
    }
    enum err err = records_profiles_get(link, lookups, count);
    struct waiting *at = first;
    for (size_t i = 0; i < count; i++) {
        struct waiting *next = at->queue_next; /* before it is the engine's again */
        at->err = err;
        at->found = err == ERR_NONE && lookups[i].found;
        if (at->found && lookups[i].groups_len > 0) {
            at->groups_len = lookups[i].groups_len;
            at->groups = memory_alloc(at->groups_len);
            memcpy(at->groups, lookups[i].groups, at->groups_len);
        }
        post_loaded(live, at);
        at = next;
    }
}

static struct records_link *open_link(struct live *live, const char *who)
{
    struct records_link *link;
    char why[256] = "";
    enum err err = records_open(live->store.where, false, &link, why, sizeof why);
    if (err != ERR_NONE) {
        LOG_EVERY(10000, LOG_ERROR, "records", "the %s has no link: %s", who, why);
        return NULL;
    }
    return link;
}

void *loader_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "loader");
    struct records_link *link = open_link(live, "loader");
    struct profile_lookup *lookups = memory_alloc(LOOKUPS_MAX * sizeof *lookups);
    struct waiting *first;
    while ((first = waiting_queue_take(&live->lookups, LOOKUPS_MAX)) != NULL) {
        if (link == NULL) {
            link = open_link(live, "loader");
        }
        if (link == NULL) {
            while (first != NULL) {
                struct waiting *next = first->queue_next;
                first->err = ERR_DATABASE;
                post_loaded(live, first);
                first = next;
            }
        } else if (first->is_event) {
            load_event(live, link, first);
        } else {
            load_profiles(live, link, first, lookups);
        }
    }
    free(lookups);
    records_close(link);
    return NULL;
}

/* ---- commits ---- */

static bool work_waits(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    bool waits = work->first != NULL;
    pthread_mutex_unlock(&work->lock);
    return waits;
}

/* The oldest; NULL: there is none. */
static struct live_query *work_take_now(struct work *work)
{
    struct live_request *request = work->first;
    if (request != NULL) {
        work->first = request->next;
        work->count--;
        if (work->first == NULL) {
            work->last = NULL;
        }
    }
    return (struct live_query *)request;
}

/* A queue that the record store has blocked for long is answered without asking it once more for
 * each: else the last one would wait for hours. */
static bool too_old(const struct live_query *query)
{
    return clock_mono_ms() - query->asked_ms > READ_WAIT_MS;
}

static void put_failed(struct live_query *query)
{
    query->status = LIVE_RECORDS_AWAY;
    answer_done(query);
}

/* Some of the profiles that wait, in one transaction.  Not all: those who put without a pause must
 * not keep the parts waiting. */
static void put_profiles(struct live *live, struct records_link *link)
{
    struct live_query *queries[PUTS_A_ROUND];
    struct profile profiles[PUTS_A_ROUND];
    size_t count = 0;
    pthread_mutex_lock(&live->puts.lock);
    while (count < PUTS_A_ROUND && (queries[count] = work_take_now(&live->puts)) != NULL) {
        count++;
    }
    pthread_mutex_unlock(&live->puts.lock);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct live_query *query = queries[i];
        if (link == NULL || too_old(query)) {
            put_failed(query);
            continue;
        }
        profiles[kept] = (struct profile){query->event, query->viewer, query->name, query->groups};
        queries[kept++] = query;
    }
    enum err err = kept == 0 ? ERR_NONE : records_profiles_put(link, profiles, kept);
    if (err != ERR_NONE) {
        LOG_EVERY(10000, LOG_WARN, "records", "profiles could not be written: %s",
                  records_why(link));
    }
    for (size_t i = 0; i < kept; i++) {
        if (err != ERR_NONE) {
            put_failed(queries[i]);
            continue;
        }
        struct message *message = memory_zalloc(sizeof *message);
        message->kind = MESSAGE_PUT; /* in force at once: the engine gives the answer */
        message->query = queries[i];
        engine_post(live, message);
    }
}

/* The rows exist nowhere else but in the journal, which waits for them. */
static bool commit_part(struct live *live, struct records_link *link)
{
    /* The journal first, as for an acknowledgement: after a power cut no row may be newer than
     * the journal's end, or other heartbeats would get its records' numbers. */
    if (atomic_load_explicit(&live->durable_seq, memory_order_acquire) < live->part_seq) {
        sync_now(live);
    }
    enum err err = link == NULL ? ERR_DATABASE : records_commit(link, &live->part);
    if (err == ERR_NONE) {
        COUNT(live, commits, 1);
        COUNT(live, rows_stored,
              live->part.members_count + live->part.viewings_count + live->part.frames_count);
        return true;
    }
    COUNT(live, commits_failed, 1);
    LOG_EVERY(10000, LOG_WARN, "records", "not stored, will try again: %s (%s)", err_text(err),
              link == NULL ? "no link" : records_why(link));
    return false;
}

static void part_stored(struct live *live)
{
    pthread_mutex_lock(&live->part_lock);
    live->part_ready = false;
    live->parts_done++;
    pthread_cond_broadcast(&live->part_changed);
    pthread_mutex_unlock(&live->part_lock);
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = MESSAGE_COMMITTED;
    engine_post(live, message);
}

/* Waits for a part (until retry_ms when there is one that could not be stored) or a profile.  False
 * at stop. */
static bool wait_for_writing(struct live *live, int64_t retry_ms, bool *part)
{
    struct timespec until = at_ms(retry_ms);
    pthread_mutex_lock(&live->part_lock);
    while (!live->part_stop && !work_waits(&live->puts)) {
        if (!live->part_ready) {
            pthread_cond_wait(&live->part_changed, &live->part_lock);
        } else if (clock_mono_ms() >= retry_ms) {
            break;
        } else {
            pthread_cond_timedwait(&live->part_changed, &live->part_lock, &until);
        }
    }
    *part = live->part_ready && clock_mono_ms() >= retry_ms;
    bool go_on = !live->part_stop;
    pthread_mutex_unlock(&live->part_lock);
    return go_on;
}

void *records_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "records");
    struct records_link *link = NULL;
    int64_t pause_ms = RETRY_MS_FIRST, retry_ms = 0;
    bool part;
    while (wait_for_writing(live, retry_ms, &part)) {
        if (link == NULL) {
            link = open_link(live, "records thread");
        }
        put_profiles(live, link);
        if (part && commit_part(live, link)) {
            pause_ms = RETRY_MS_FIRST;
            part_stored(live);
        } else if (part) {
            retry_ms = clock_mono_ms() + pause_ms;
            pause_ms = pause_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : pause_ms * 2;
        }
    }
    records_close(link);
    return NULL;
}

/* ---- reading ---- */

void work_init(struct work *work)
{
    *work = (struct work){0};
    pthread_mutex_init(&work->lock, NULL);
    pthread_cond_init(&work->changed, NULL);
}

bool work_put(struct work *work, struct live_request *request, uint32_t max)
{
    request->next = NULL;
    pthread_mutex_lock(&work->lock);
    bool room = work->count < max;
    if (room) {
        if (work->last != NULL) {
            work->last->next = request;
        } else {
            work->first = request;
        }
        work->last = request;
        work->count++;
        pthread_cond_signal(&work->changed);
    }
    pthread_mutex_unlock(&work->lock);
    return room;
}

static struct live_query *work_take(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    while (work->first == NULL && !work->stop) {
        pthread_cond_wait(&work->changed, &work->lock);
    }
    struct live_query *query = work_take_now(work);
    pthread_mutex_unlock(&work->lock);
    return query;
}

/* Waits until the parts that the engine had handed over when it passed the query on are stored. */
static bool wait_for_part(struct live *live, const struct live_query *query)
{
    struct timespec until = at_ms(query->asked_ms + READ_WAIT_MS);
    pthread_mutex_lock(&live->part_lock);
    int timed_out = 0;
    while (live->parts_done < query->part && timed_out == 0) {
        timed_out = pthread_cond_timedwait(&live->part_changed, &live->part_lock, &until);
    }
    bool done = live->parts_done >= query->part;
    pthread_mutex_unlock(&live->part_lock);
    return done;
}

void *reader_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "reader");
    struct records_link *link = open_link(live, "reader");
    struct live_query *query;
    while ((query = work_take(&live->reads)) != NULL) {
        if (too_old(query) || !wait_for_part(live, query)) {
            query->status = LIVE_RECORDS_AWAY;
            answer_done(query);
            continue;
        }
        if (link == NULL) {
            link = open_link(live, "reader");
        }
        answer_read(link, query);
    }
    records_close(link);
    return NULL;
}
