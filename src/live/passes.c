/* passes.c -- passes over what changed, part by part to the record store, and the reads that wait
 * for one: on the engine's thread.
 *
 * A read that is to be exact waits for a full pass that began after it was asked.  Such passes take
 * at most half of the time, however many readers there are: those that wait share the next one. */
#include "base/assert.h"
#include "base/log.h"
#include "live/live_state.h"

#define FRESH_WAIT_MS     60000 /* a read waits for passes so long, however busy the store is */
#define TIME_OUT_EVERY_MS 20

uint64_t covered_seq(struct live *live)
{
    /* The engine's thread's own. */
    return atomic_load_explicit(&live->counters.covered_seq, memory_order_relaxed);
}

/* ---- reads that wait ---- */

void passes_wait(struct live *live, struct live_query *query)
{
    if (covered_seq(live) >= engine_seq(live->engine)) {
        answer_pass_on(live, query); /* all is stored as it is */
        return;
    }
    if (live->fresh_count >= READS_MAX) {
        query->status = LIVE_BUSY;
        answer_done(query);
        return;
    }
    query->part = live->passes_begun + 1;
    query->asked_ms = clock_mono_ms();
    query->request.next = NULL;
    if (live->fresh_last != NULL) {
        live->fresh_last->request.next = &query->request;
    } else {
        live->fresh_first = query;
    }
    live->fresh_last = query;
    live->fresh_count++;
}

/* The query after `before` (NULL: the first one) leaves the list. */
static struct live_query *fresh_take(struct live *live, struct live_query *before)
{
    struct live_query *query =
        before == NULL ? live->fresh_first : (struct live_query *)before->request.next;
    struct live_query *next = (struct live_query *)query->request.next;
    if (before == NULL) {
        live->fresh_first = next;
    } else {
        before->request.next = query->request.next;
    }
    if (next == NULL) {
        live->fresh_last = before;
    }
    live->fresh_count--;
    return query;
}

/* Does one wait for a pass that has not begun? */
static bool fresh_wants(const struct live *live)
{
    return live->fresh_last != NULL && live->fresh_last->part > live->passes_begun;
}

void passes_time_out(struct live *live)
{
    int64_t now_ms = clock_mono_ms();
    if (live->fresh_first == NULL || now_ms < live->fresh_time_out_ms) {
        return;
    }
    live->fresh_time_out_ms = now_ms + TIME_OUT_EVERY_MS;
    bool stuck = live->part_out && now_ms - live->part_out_ms > READ_WAIT_MS;
    struct live_query *before = NULL, *at = live->fresh_first;
    while (at != NULL) {
        int64_t waited_ms = now_ms - at->asked_ms;
        struct live_query *next = (struct live_query *)at->request.next;
        if ((stuck && waited_ms > READ_WAIT_MS) || waited_ms > FRESH_WAIT_MS) {
            (void)fresh_take(live, before);
            at->status = LIVE_RECORDS_AWAY;
            answer_done(at);
        } else {
            before = at;
        }
        at = next;
    }
}

/* ---- passes ---- */

void passes_committed(struct live *live)
{
    live->part_out = false;
    engine_committed(live->engine, &live->part);
    uint64_t covered = live->part.covered_seq;
    if (covered == 0) {
        return;
    }
    GAUGE(live, covered_seq, covered);
    COUNT(live, viewers_erased, live->part.erasures_count);
    COUNT(live, events_purged, live->part.purges_count);
    enum err err = journal_remove_covered(live->journal, covered);
    if (err != ERR_NONE) {
        LOG_EVERY(60000, LOG_WARN, "journal", "an old segment could not be removed: %s",
                  err_text(err));
    }
}

/* All parts of the pass are stored. */
static void end_pass(struct live *live)
{
    if (!live->pass_full) {
        return;
    }
    live->pass_full = false;
    live->passes_done = live->passes_begun;
    int64_t now_ms = clock_mono_ms();
    live->fresh_ms = now_ms + (now_ms - live->pass_begin_ms);
    while (live->fresh_first != NULL && live->fresh_first->part <= live->passes_done) {
        answer_pass_on(live, fresh_take(live, NULL));
    }
    erasures_pass_done(live);
}

/* Is a pass to begin now, and is it a full one? */
static bool pass_due(const struct live *live, int64_t mono_ms, bool *full)
{
    bool readers = fresh_wants(live) && mono_ms >= live->fresh_ms;
    *full = mono_ms >= live->full_ms || live->full_wanted || readers;
    return mono_ms >= live->flush_ms || live->full_wanted || readers;
}

static void begin_pass(struct live *live, int64_t mono_ms, bool full)
{
    engine_collect_begin(live->engine, full);
    live->flush_ms = mono_ms + live->options.records_flush_ms;
    if (full) {
        live->full_ms = mono_ms + live->options.records_interval_ms;
        live->full_wanted = false;
        live->settings_due = true; /* replay will begin with the next record */
        live->pass_full = true;
        live->pass_begin_ms = mono_ms;
        live->passes_begun++;
        if (erasures_want_turn(live)) {
            journal_turn(live->journal); /* what the pass covers can go as whole segments */
        }
    }
}

void passes_run(struct live *live)
{
    if (live->part_out) {
        return; /* one part at a time: the record store sets the pace */
    }
    int64_t mono_ms = clock_mono_ms();
    bool full;
    if (!engine_collecting(live->engine)) {
        end_pass(live); /* its last part was stored */
        if (!pass_due(live, mono_ms, &full)) {
            return;
        }
        engine_begin(live->engine, engine_seq(live->engine), clock_now_ms(&live->clock));
        begin_pass(live, mono_ms, full);
    }
    engine_begin(live->engine, engine_seq(live->engine), clock_now_ms(&live->clock));
    if (!engine_collect(live->engine, &live->part, PART_ROWS_MAX)) {
        end_pass(live); /* there was nothing */
        return;
    }
    live->part_out = true;
    live->part_out_ms = mono_ms;
    live->part_seq = engine_seq(live->engine);
    live->parts_collected++;
    pthread_mutex_lock(&live->part_lock);
    live->part_ready = true;
    pthread_cond_broadcast(&live->part_changed);
    pthread_mutex_unlock(&live->part_lock);
}

int64_t passes_idle_us(const struct live *live, int64_t now_us)
{
    if (live->part_out) {
        return INT64_MAX;
    }
    int64_t due_ms = live->full_wanted ? 0 : live->flush_ms;
    if (fresh_wants(live) && live->fresh_ms < due_ms) {
        due_ms = live->fresh_ms;
    }
    return due_ms * 1000 - now_us;
}
