/* writer.c -- the records thread: the only one that writes to the record store.
 *
 * Parts of the engine's changes, profiles that are put, and the API's own writing (LIVE_WRITE), in
 * turns: one round of writing, then the part, so that neither keeps the other waiting for long.
 * What was asked for first is written first. */
#define _GNU_SOURCE
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <time.h>

#define RETRY_MS_FIRST  50 /* after a commit that failed; then twice as long each time */
#define RETRY_MS_MAX    2000
#define RETAIN_ROWS     1000 /* in one step: some ms */
#define RETAIN_PAUSE_MS 20   /* between two steps */
#define RETAIN_LATE_MS  1000 /* a step may be late before parts wait for it */
#define RETIRE_MAX      16   /* events that are found idle in one look */
#define WIPE_PAUSE_MS   20   /* before what is being read is tried again */

struct retaining {
    int64_t due_ms;  /* monotonic: the next step */
    int64_t look_ms; /* monotonic: the next look for idle events */
};

static void post(struct live *live, enum message_kind kind, struct live_query *query)
{
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = kind;
    message->query = query;
    engine_post(live, message);
}

static void nap_ms(int64_t ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- profiles and other writing ---- */

static void put_failed(struct live_query *query, enum err err)
{
    query->status = err == ERR_INVALID ? LIVE_REFUSED : LIVE_RECORDS_AWAY;
    answer_done(query);
}

/* Some of the profiles that wait, in one transaction. */
static void put_profiles(struct live *live, struct records_link *link, struct live_query **queries,
                         size_t count)
{
    struct profile profiles[PUTS_A_ROUND];
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct live_query *query = queries[i];
        if (link == NULL || too_old(query)) {
            put_failed(query, ERR_DATABASE);
            continue;
        }
        profiles[kept] = (struct profile){query->event, query->viewer, query->name, query->groups};
        queries[kept++] = query;
    }
    enum err err = kept == 0 ? ERR_NONE : records_profiles_put(link, profiles, kept);
    if (err != ERR_NONE && err != ERR_INVALID) {
        LOG_EVERY(10000, LOG_WARN, "records", "profiles could not be written: %s",
                  records_why(link));
    }
    for (size_t i = 0; i < kept; i++) {
        if (err == ERR_NONE) {
            post(live, MESSAGE_WROTE, queries[i]); /* in force at once: the engine answers */
        } else {
            put_failed(queries[i], err);
        }
    }
}

static void write_one(struct live *live, struct records_link *link, struct live_query *query)
{
    bool away = link == NULL || too_old(query);
    enum err err = away ? ERR_DATABASE : query->work(link, query);
    query->status = answer_status(err);
    if (query->status == LIVE_RECORDS_AWAY) {
        LOG_EVERY(10000, LOG_WARN, "records", "something could not be written: %s",
                  away ? "the record store is away" : records_why(link));
    }
    if (query->profiles_changed) {
        post(live, MESSAGE_WROTE, query); /* also when it failed half way */
    } else {
        answer_done(query);
    }
}

/* The first step of an erasure, behind everything that was asked to be written before; or the last
 * one.  What is still being read is tried again, between parts, for a while. */
static void erase(struct live *live, struct records_link *link, struct live_query *query)
{
    const struct erasure *erasure = (const struct erasure *)query;
    bool wipe = erasure->step == ERASURE_WIPE;
    enum err err = ERR_DATABASE;
    if (link != NULL && wipe) {
        err = records_wipe(link);
    } else if (link != NULL && query->kind == LIVE_ERASE) {
        err = records_profile_delete(link, query->event, query->viewer);
    } else if (link != NULL) {
        err = ERR_NONE; /* a purge takes its profiles along */
    }
    if (wipe && err == ERR_BUSY && clock_mono_ms() - query->asked_ms < ERASE_WAIT_MS &&
        work_put(&live->writes, &query->request, WRITES_MAX)) {
        nap_ms(WIPE_PAUSE_MS);
        return;
    }
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        LOG_EVERY(10000, LOG_WARN, "records", "not erased, or it may still stand in a file: %s",
                  link == NULL ? "no link" : records_why(link));
    }
    query->status = answer_status(err);
    post(live, MESSAGE_ERASED, query);
}

/* One round of what waits: some profiles, or one other thing.  Not all: those who write without a
 * pause must not keep the parts waiting. */
static void write_round(struct live *live, struct records_link *link)
{
    struct live_query *queries[PUTS_A_ROUND];
    size_t count = 0;
    pthread_mutex_lock(&live->writes.lock);
    while (count < PUTS_A_ROUND && live->writes.row.first != NULL) {
        const struct live_query *next = (const struct live_query *)live->writes.row.first;
        if (count > 0 && next->kind != LIVE_PROFILE_PUT) {
            break;
        }
        queries[count++] = work_take_now(&live->writes, &live->writes.row);
        if (next->kind != LIVE_PROFILE_PUT) {
            break;
        }
    }
    pthread_mutex_unlock(&live->writes.lock);
    if (count == 0) {
        return;
    }
    if (queries[0]->kind == LIVE_PROFILE_PUT) {
        put_profiles(live, link, queries, count);
    } else if (queries[0]->kind == LIVE_ERASE || queries[0]->kind == LIVE_PURGE) {
        erase(live, link, queries[0]);
    } else {
        write_one(live, link, queries[0]);
    }
}

/* ---- parts ---- */

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
    post(live, MESSAGE_COMMITTED, NULL);
}

/* ---- retention ---- */

static enum err retire(struct live *live, struct slice event, bool keep_statistics)
{
    struct erasure *erasure = erasure_new(event, SLICE_EMPTY, keep_statistics);
    post(live, MESSAGE_RETIRE, &erasure->work); /* before any part that says it is back */
    return ERR_NONE;
}

static enum err retire_event(void *live, struct slice event)
{
    return retire(live, event, false);
}

static enum err retire_people(void *live, struct slice event)
{
    return retire(live, event, true);
}

/* Events that nobody has come to for so long. */
static enum err look_for_idle(struct live *live, struct records_link *link, int64_t now_ms)
{
    const struct live_options *options = &live->options;
    enum err err = ERR_NONE;
    if (options->retain_events_ms > 0) {
        err = records_idle_events(link, now_ms - options->retain_events_ms, false, RETIRE_MAX,
                                  retire_event, live);
    }
    if (err == ERR_NONE && options->retain_viewers_ms > 0) {
        err = records_idle_events(link, now_ms - options->retain_viewers_ms, true, RETIRE_MAX,
                                  retire_people, live);
    }
    return err;
}

/* One small step. */
static enum err retain(struct live *live, struct records_link *link, struct retaining *retaining)
{
    const struct live_options *options = &live->options;
    int64_t now_ms = atomic_load_explicit(&live->now_ms, memory_order_relaxed);
    int64_t mono_ms = clock_mono_ms();
    enum err err = ERR_NONE;
    uint64_t rows = 0;
    bool more = false;
    if (mono_ms >= retaining->look_ms) {
        retaining->look_ms = mono_ms + options->retain_interval_ms;
        err = look_for_idle(live, link, now_ms);
    }
    struct records_retention retention = {
        .viewings_before_ms =
            options->retain_viewings_ms > 0 ? now_ms - options->retain_viewings_ms : 0,
        .frames_before_ms = options->retain_frames_ms > 0 ? now_ms - options->retain_frames_ms : 0,
        .rows = &rows,
    };
    if (err == ERR_NONE) {
        err = records_retain(link, &retention, RETAIN_ROWS, &more);
    }
    COUNT(live, rows_retired, rows);
    retaining->due_ms = more ? clock_mono_ms() + RETAIN_PAUSE_MS : retaining->look_ms;
    return err;
}

static void run_retention(struct live *live, struct records_link *link, struct retaining *retaining)
{
    if (clock_mono_ms() < retaining->due_ms) {
        return;
    }
    enum err err = link == NULL ? ERR_DATABASE : retain(live, link, retaining);
    if (err != ERR_NONE) {
        retaining->due_ms = retaining->look_ms = clock_mono_ms() + live->options.retain_interval_ms;
        LOG_EVERY(60000, LOG_WARN, "records", "what is old could not be deleted: %s",
                  link == NULL ? "no link" : records_why(link));
    }
}

/* ---- the thread ---- */

/* Waits for a part (until retry_ms when there is one that could not be stored), something to write,
 * or due_ms.  False at stop. */
static bool wait_for_writing(struct live *live, int64_t retry_ms, int64_t due_ms, bool *part)
{
    pthread_mutex_lock(&live->part_lock);
    while (!live->part_stop && !work_waits(&live->writes)) {
        int64_t until_ms = live->part_ready && retry_ms < due_ms ? retry_ms : due_ms;
        if (clock_mono_ms() >= until_ms) {
            break;
        }
        struct timespec until = at_ms(until_ms);
        pthread_cond_timedwait(&live->part_changed, &live->part_lock, &until);
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
    struct retaining retaining = {0};
    bool part;
    while (wait_for_writing(live, retry_ms, retaining.due_ms, &part)) {
        if (link == NULL) {
            link = open_link(live, "records thread");
        }
        write_round(live, link);
        if (part && commit_part(live, link)) {
            pause_ms = RETRY_MS_FIRST;
            if (live->part.purges_count > 0) {
                retaining.due_ms = 0; /* rows that nobody finds any more */
            }
            part_stored(live);
        } else if (part) {
            retry_ms = clock_mono_ms() + pause_ms;
            pause_ms = pause_ms * 2 > RETRY_MS_MAX ? RETRY_MS_MAX : pause_ms * 2;
        }
        /* When nothing else is there; but not never. */
        if (!part || clock_mono_ms() > retaining.due_ms + RETAIN_LATE_MS) {
            run_retention(live, link, &retaining);
        }
    }
    records_close(link);
    return NULL;
}
