/* threads.c -- the threads that may block: fdatasync, look-ups, reading (and writer.c: commits). */
#define _GNU_SOURCE
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void live_die(const char *why)
{
    log_line(LOG_ERROR, "journal",
             "%s. Nothing more is acknowledged; the journal holds what was. Exiting.", why);
    _exit(1);
}

struct timespec at_ms(int64_t ms)
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

void sync_now(struct live *live)
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

static enum err note_declared(void *ctx, const struct directory_entry *entry)
{
    (void)entry;
    ((struct waiting *)ctx)->declared = true;
    return ERR_NONE;
}

static void load_event(struct live *live, struct records_link *link, struct waiting *waiting)
{
    struct slice event = waiting_event(waiting);
    waiting->err = records_event_load(link, &live->options.engine, event, &waiting->loaded);
    if (waiting->err == ERR_NOT_FOUND && live->options.declared_events) {
        waiting->err = records_directory_get(link, event, SLICE_EMPTY, note_declared, waiting);
        waiting->err = waiting->err == ERR_NONE ? ERR_NOT_FOUND : waiting->err; /* but declared */
    }
    if (waiting->err != ERR_NONE && waiting->err != ERR_NOT_FOUND) {
        LOG_EVERY(10000, LOG_WARN, "records", "event %.*s could not be loaded: %s",
                  SLICE_ARG(waiting_event(waiting)), records_why(link));
    }
    post_loaded(live, waiting);
}

/* There is no link. */
static void load_failed(struct live *live, struct waiting *first)
{
    while (first != NULL) {
        struct waiting *next = first->queue_next;
        first->err = ERR_DATABASE;
        COUNT(live, profiles_failed, first->is_event ? 0 : 1);
        post_loaded(live, first);
        first = next;
    }
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
    if (err != ERR_NONE) {
        COUNT(live, profiles_failed, count);
        LOG_EVERY(10000, LOG_WARN, "profiles", "look-ups fail, viewers count without groups: %s",
                  records_why(link));
    }
    struct waiting *at = first;
    for (size_t i = 0; i < count; i++) {
        struct waiting *next = at->queue_next; /* before it is the engine's again */
        at->err = err;
        /* A row that cannot be used (it is logged) is one: the viewer is known, without groups. */
        at->found = err == ERR_NONE && (lookups[i].found || lookups[i].broken);
        COUNT(live, profiles_failed, err == ERR_NONE && lookups[i].broken ? 1 : 0);
        if (at->found && lookups[i].groups_len > 0) {
            at->groups_len = lookups[i].groups_len;
            at->groups = memory_alloc(at->groups_len);
            memcpy(at->groups, lookups[i].groups, at->groups_len);
        }
        post_loaded(live, at);
        at = next;
    }
}

struct records_link *open_link(struct live *live, const char *who)
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

/* The same, with the profiles from where they come from. */
static struct records_link *open_reading(struct live *live, const char *who)
{
    struct records_link *link = open_link(live, who);
    if (link != NULL && live->options.profiles.query != NULL &&
        records_profiles_from(link, &live->options.profiles) != ERR_NONE) {
        LOG_EVERY(10000, LOG_ERROR, "profiles", "the %s cannot look them up: %s", who,
                  records_why(link));
        records_close(link);
        link = NULL;
    }
    return link;
}

void *loader_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "loader");
    struct records_link *link = open_link(live, "loader");
    struct profile_lookup *lookups = memory_alloc(LOOKUPS_MAX * sizeof *lookups);
    struct records_link *profiles =
        NULL; /* events come also when the platform's database does not */
    struct waiting *first;
    while ((first = waiting_queue_take(&live->lookups, LOOKUPS_MAX)) != NULL) {
        struct records_link **used = first->is_event ? &link : &profiles;
        if (*used == NULL) {
            *used = first->is_event ? open_link(live, "loader") : open_reading(live, "loader");
        }
        if (*used == NULL) {
            load_failed(live, first);
        } else if (first->is_event) {
            load_event(live, link, first);
        } else {
            load_profiles(live, profiles, first, lookups);
        }
    }
    free(lookups);
    records_close(link);
    records_close(profiles);
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
    bool long_read = ((const struct live_query *)request)->long_read;
    struct work_row *row = long_read ? &work->long_row : &work->row;
    request->next = NULL;
    pthread_mutex_lock(&work->lock);
    bool room = work->count < max;
    if (room) {
        if (row->last != NULL) {
            row->last->next = request;
        } else {
            row->first = request;
        }
        row->last = request;
        work->count++;
        pthread_cond_signal(&work->changed);
    }
    pthread_mutex_unlock(&work->lock);
    return room;
}

bool work_waits(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    bool waits = work->count > 0;
    pthread_mutex_unlock(&work->lock);
    return waits;
}

struct live_query *work_take_now(struct work *work, struct work_row *row)
{
    struct live_request *request = row->first;
    if (request != NULL) {
        row->first = request->next;
        work->count--;
        if (row->first == NULL) {
            row->last = NULL;
        }
    }
    return (struct live_query *)request;
}

bool too_old(const struct live_query *query)
{
    return clock_mono_ms() - query->asked_ms > READ_WAIT_MS;
}

/* Under the lock: the row whose first query is to run now; NULL: none may. */
static struct work_row *next_row(struct work *work)
{
    const struct live_query *query = (const struct live_query *)work->row.first;
    const struct live_query *long_query = (const struct live_query *)work->long_row.first;
    if (long_query == NULL || work->long_running >= LONG_READERS) {
        return query == NULL ? NULL : &work->row;
    }
    return query != NULL && query->asked_ms <= long_query->asked_ms ? &work->row : &work->long_row;
}

struct live_query *work_take(struct work *work)
{
    pthread_mutex_lock(&work->lock);
    struct work_row *row = next_row(work);
    /* At stop, who runs a long one serves those that wait for it. */
    while (row == NULL && !work->stop) {
        pthread_cond_wait(&work->changed, &work->lock);
        row = next_row(work);
    }
    struct live_query *query = row == NULL ? NULL : work_take_now(work, row);
    if (query != NULL && query->long_read) {
        work->long_running++;
    }
    pthread_mutex_unlock(&work->lock);
    return query;
}

void work_ended(struct work *work, bool long_read)
{
    if (!long_read) {
        return;
    }
    pthread_mutex_lock(&work->lock);
    work->long_running--;
    pthread_cond_signal(&work->changed);
    pthread_mutex_unlock(&work->lock);
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
    struct records_link *link = open_reading(live, "reader");
    struct live_query *query;
    while ((query = work_take(&live->reads)) != NULL) {
        bool long_read = query->long_read; /* the query is not ours once it is answered */
        if (too_old(query) || !wait_for_part(live, query)) {
            query->status = LIVE_RECORDS_AWAY;
            answer_done(query);
        } else {
            if (link == NULL) {
                link = open_reading(live, "reader");
            }
            answer_read(link, query);
        }
        work_ended(&live->reads, long_read);
    }
    records_close(link);
    return NULL;
}
