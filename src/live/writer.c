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

#define RETRY_MS_FIRST 50 /* after a commit that failed; then twice as long each time */
#define RETRY_MS_MAX   2000

static void post_wrote(struct live *live, struct live_query *query)
{
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = MESSAGE_WROTE; /* in force at once: the engine gives the answer */
    message->query = query;
    engine_post(live, message);
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
            post_wrote(live, queries[i]);
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
        post_wrote(live, query); /* also when it failed half way */
    } else {
        answer_done(query);
    }
}

/* One round of what waits: some profiles, or one other thing.  Not all: those who write without a
 * pause must not keep the parts waiting. */
static void write_round(struct live *live, struct records_link *link)
{
    struct live_query *queries[PUTS_A_ROUND];
    size_t count = 0;
    pthread_mutex_lock(&live->writes.lock);
    while (count < PUTS_A_ROUND && live->writes.first != NULL) {
        const struct live_query *next = (const struct live_query *)live->writes.first;
        if (count > 0 && next->kind != LIVE_PROFILE_PUT) {
            break;
        }
        queries[count++] = work_take_now(&live->writes);
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
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = MESSAGE_COMMITTED;
    engine_post(live, message);
}

/* Waits for a part (until retry_ms when there is one that could not be stored) or something to
 * write.  False at stop. */
static bool wait_for_writing(struct live *live, int64_t retry_ms, bool *part)
{
    struct timespec until = at_ms(retry_ms);
    pthread_mutex_lock(&live->part_lock);
    while (!live->part_stop && !work_waits(&live->writes)) {
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
        write_round(live, link);
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
