/* erasures.c -- viewers and events that are being forgotten: on the engine's thread. */
#include "live/erasures.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <sodium.h>
#include <stdlib.h>

#define RETRY_MS 200 /* a segment that could not be removed */

/* ---- the table ---- */

struct erasure *erasure_new(struct slice event, struct slice viewer, bool keep_statistics)
{
    struct erasure *erasure = memory_zalloc(sizeof *erasure);
    memcpy(erasure->event, event.ptr, event.len);
    if (viewer.len > 0) {
        memcpy(erasure->viewer, viewer.ptr, viewer.len);
    }
    erasure->work.kind = viewer.len > 0 ? LIVE_ERASE : LIVE_PURGE;
    erasure->work.event = slice_of(erasure->event, event.len);
    erasure->work.viewer = slice_of(erasure->viewer, viewer.len);
    erasure->keep_statistics = keep_statistics;
    erasure->asked_ms = clock_mono_ms();
    return erasure;
}

static struct erasure **bucket_of(struct live *live, struct slice event, struct slice viewer)
{
    return &live->erasures.buckets[waiting_hash(&live->waiting, event, viewer) % ERASURES_BUCKETS];
}

static bool find(struct live *live, struct slice event, struct slice viewer)
{
    const struct erasure *at = *bucket_of(live, event, viewer);
    while (at != NULL &&
           !(slice_equal(at->work.event, event) && slice_equal(at->work.viewer, viewer))) {
        at = at->bucket_next;
    }
    return at != NULL;
}

bool erasures_hold(struct live *live, struct slice event, struct slice viewer)
{
    return live->erasures.count > 0 &&
           (find(live, event, viewer) || find(live, event, SLICE_EMPTY));
}

/* Is the event, or any viewer of it, being erased? */
static bool event_concerned(const struct live *live, struct slice event)
{
    const struct erasure *at = live->erasures.oldest;
    while (at != NULL && !slice_equal(at->work.event, event)) {
        at = at->newer;
    }
    return at != NULL;
}

void erasures_add(struct live *live, struct erasure *erasure)
{
    struct erasures *erasures = &live->erasures;
    struct erasure **bucket = bucket_of(live, erasure->work.event, erasure->work.viewer);
    erasure->bucket_next = *bucket;
    *bucket = erasure;
    erasure->older = erasures->newest;
    if (erasures->newest != NULL) {
        erasures->newest->newer = erasure;
    } else {
        erasures->oldest = erasure;
    }
    erasures->newest = erasure;
    erasures->count++;
}

static void unlink_erasure(struct live *live, struct erasure *erasure)
{
    struct erasures *erasures = &live->erasures;
    struct erasure **link = bucket_of(live, erasure->work.event, erasure->work.viewer);
    while (*link != erasure) {
        link = &(*link)->bucket_next;
    }
    *link = erasure->bucket_next;
    if (erasure->older != NULL) {
        erasure->older->newer = erasure->newer;
    } else {
        erasures->oldest = erasure->newer;
    }
    if (erasure->newer != NULL) {
        erasure->newer->older = erasure->older;
    } else {
        erasures->newest = erasure->older;
    }
    erasures->count--;
}

void erasure_free(struct erasure *erasure)
{
    sodium_memzero(erasure, sizeof *erasure); /* this copy of the id, too */
    free(erasure);
}

/* Whatever the loader has read of it meanwhile is void, and so is what was read before. */
static void end(struct live *live, struct erasure *erasure, enum live_status status)
{
    lookups_forget(live, erasure->work.event, erasure->work.viewer);
    unlink_erasure(live, erasure);
    if (erasure->asked != NULL) {
        erasure->asked->status = status;
        answer_done(erasure->asked);
    }
    erasure_free(erasure);
}

static void end_well(struct live *live, struct erasure *erasure)
{
    bool known = erasure->found || erasure->work.kind == LIVE_PURGE;
    end(live, erasure, known ? LIVE_OK : LIVE_NOT_FOUND);
}

/* ---- step by step ---- */

void erasures_ask(struct live *live, struct live_query *query)
{
    bool purge = query->kind == LIVE_PURGE;
    struct slice viewer = purge ? SLICE_EMPTY : query->viewer;
    query->status = LIVE_BUSY;
    if (purge ? event_concerned(live, query->event) : erasures_hold(live, query->event, viewer)) {
        query->status = LIVE_ERASING;
    } else if (live->erasures.count < ERASURES_MAX) {
        struct erasure *erasure = erasure_new(query->event, viewer, false);
        erasure->asked = query;
        erasure->step = ERASURE_WRITE;
        if (answer_write(live, &erasure->work)) {
            erasures_add(live, erasure);
            return;
        }
        erasure_free(erasure);
    }
    answer_done(query);
}

/* Into the next journal record. */
static void to_record(struct live *live, struct erasure *erasure)
{
    struct message *message = memory_zalloc(sizeof *message);
    message->kind = MESSAGE_ERASED;
    message->query = &erasure->work;
    erasure->step = ERASURE_RECORD;
    put_later(live, message);
}

/* Waits until all that was journaled by now is stored.  The id is in no later record: what was put
 * before is journaled, and everything else is refused. */
static void to_pass(struct live *live, struct erasure *erasure)
{
    erasure->step = ERASURE_PASS;
    erasure->pass = live->passes_begun + 1;
    erasure->seq = engine_seq(live->engine);
    live->full_wanted = true;
}

static void ignore_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    (void)ctx, (void)viewing;
}

static void go_on(struct live *live, struct erasure *erasure)
{
    struct slice event = erasure->work.event, groups;
    bool in_memory = engine_has_event(live->engine, event), attended = false;
    if (erasure->work.kind == LIVE_PURGE) {
        /* One that is being loaded must not come to memory beside what is purged there. */
        if (!in_memory && lookups_event_waits(live, event, erasure)) {
            erasure->step = ERASURE_EVENT;
        } else {
            to_record(live, erasure);
        }
        return;
    }
    if (!in_memory) {
        erasure->step = ERASURE_EVENT;
        if (!lookups_event_wait(live, event, erasure)) {
            end(live, erasure, LIVE_BUSY);
        }
        return;
    }
    erasure->attended = engine_viewer(live->engine, event, erasure->work.viewer, &attended, &groups,
                                      ignore_viewing, NULL) == FIGURES_OK &&
                        attended;
    erasure->found |= erasure->attended;
    if (erasure->found) {
        to_record(live, erasure);
    } else {
        end_well(live, erasure);
    }
}

void erasures_written(struct live *live, struct live_query *work)
{
    struct erasure *erasure = (struct erasure *)work;
    if (erasure->step == ERASURE_WIPE && work->status == LIVE_OK) {
        end_well(live, erasure);
    } else if (erasure->step == ERASURE_WIPE) {
        end(live, erasure, LIVE_RECORDS_AWAY);
    } else if (work->status == LIVE_OK || work->status == LIVE_NOT_FOUND) {
        erasure->found = work->status == LIVE_OK;
        go_on(live, erasure);
    } else {
        end(live, erasure, work->status);
    }
}

void erasures_event(struct live *live, struct erasure *first, enum err err)
{
    while (first != NULL) {
        struct erasure *erasure = first;
        first = erasure->event_next;
        erasure->event_next = NULL;
        if (erasure->work.kind == LIVE_PURGE ||
            engine_has_event(live->engine, erasure->work.event)) {
            go_on(live, erasure);
        } else if (err == ERR_NOT_FOUND && erasure->found) {
            to_record(live, erasure);
        } else if (err == ERR_NOT_FOUND) {
            end_well(live, erasure);
        } else {
            end(live, erasure, err == ERR_NONE ? LIVE_BUSY : LIVE_RECORDS_AWAY);
        }
    }
}

bool erasures_recordable(struct live *live, struct live_query *work)
{
    struct erasure *erasure = (struct erasure *)work;
    if (!erasure->attended || engine_has_event(live->engine, work->event)) {
        return true;
    }
    go_on(live, erasure);
    return false;
}

struct entry erasures_entry(const struct live *live, const struct live_query *work)
{
    const struct erasure *erasure = (const struct erasure *)work;
    if (work->kind == LIVE_ERASE && !erasure->attended) {
        /* Only a profile: the engine knows nobody.  But one that was put may wait to be journaled,
         * and what stands behind it, though it says nothing new, tells when it was. */
        return store_settings_entry(live->engine);
    }
    return (struct entry){.kind = work->kind == LIVE_PURGE ? ENTRY_PURGE : ENTRY_ERASE,
                          .heartbeat = {.event = work->event, .viewer = work->viewer},
                          .keep_statistics = erasure->keep_statistics};
}

void erasures_journaled(struct live *live, struct live_query *work)
{
    struct erasure *erasure = (struct erasure *)work;
    bool known;
    if (work->kind == LIVE_PURGE) {
        engine_purge(live->engine, work->event, erasure->keep_statistics);
    } else if (erasure->attended) {
        enum figures_outcome outcome =
            engine_erase(live->engine, work->event, work->viewer, &known);
        ASSERT(outcome == FIGURES_OK); /* erasures_recordable has looked */
    }
    to_pass(live, erasure);
}

void erasures_refused(struct live *live, struct live_query *work)
{
    end(live, (struct erasure *)work, LIVE_NO_SPACE);
}

bool erasures_want_turn(const struct live *live)
{
    return live->erasures.count > 0 || engine_erasing(live->engine) > 0;
}

void erasures_pass_done(struct live *live)
{
    for (struct erasure *at = live->erasures.oldest; at != NULL; at = at->newer) {
        if (at->step == ERASURE_PASS && at->pass <= live->passes_done) {
            at->step = ERASURE_JOURNAL;
        }
    }
}

/* ---- the journal forgets ---- */

static bool wait_for_journal(const struct live *live)
{
    const struct erasure *at = live->erasures.oldest;
    while (at != NULL && at->step != ERASURE_JOURNAL) {
        at = at->newer;
    }
    return at != NULL;
}

bool erasures_want_record(const struct live *live)
{
    /* The journal was turned when the pass began.  Only what comes after is in another segment than
     * the id; and the segment that is written to cannot go.  (After one that could not be turned:
     * not at once.) */
    return live->erasures.count > 0 && wait_for_journal(live) &&
           clock_mono_ms() >= live->erasures.retry_ms &&
           atomic_load_explicit(&live->counters.covered_seq, memory_order_relaxed) >=
               engine_seq(live->engine);
}

static void journal_forgets(struct live *live, int64_t now_ms)
{
    if (now_ms < live->erasures.retry_ms || !wait_for_journal(live) || erasures_want_record(live)) {
        return;
    }
    enum err err = journal_remove_covered(live->journal, covered_seq(live));
    if (err != ERR_NONE) {
        live->erasures.retry_ms = now_ms + RETRY_MS;
        LOG_EVERY(60000, LOG_WARN, "journal", "erased ids are still in an old segment: %s",
                  err_text(err));
        return;
    }
    struct erasure *at = live->erasures.oldest;
    while (at != NULL) {
        struct erasure *erasure = at;
        at = at->newer;
        if (erasure->step != ERASURE_JOURNAL) {
            continue;
        }
        if (journal_first_seq(live->journal) <= erasure->seq) {
            /* It could not turn (no descriptor): what covers its segment's end is a later pass. */
            to_pass(live, erasure);
            live->erasures.retry_ms = now_ms + RETRY_MS;
        } else {
            erasure->step = ERASURE_WIPE;
            if (!answer_write(live, &erasure->work)) {
                erasure->step = ERASURE_JOURNAL; /* the queue is full: a little later */
                live->erasures.retry_ms = now_ms + RETRY_MS;
            }
        }
    }
}

void erasures_run(struct live *live)
{
    if (live->erasures.count == 0) {
        return;
    }
    int64_t now_ms = clock_mono_ms();
    journal_forgets(live, now_ms);
    for (struct erasure *at = live->erasures.oldest; at != NULL; at = at->newer) {
        if (at->asked != NULL && now_ms - at->asked_ms > ERASE_WAIT_MS) {
            at->asked->status = LIVE_RECORDS_AWAY;
            answer_done(at->asked);
            at->asked = NULL;
        }
    }
}

/* ---- those that nobody asks for ---- */

void erasures_retire(struct live *live, struct live_query *work)
{
    struct erasure *erasure = (struct erasure *)work;
    struct slice event = work->event;
    if (engine_has_event(live->engine, event) || event_concerned(live, event) ||
        lookups_event_waits(live, event, NULL) || live->erasures.count >= ERASURES_MAX / 2) {
        erasure_free(erasure); /* somebody is there again; or later */
        return;
    }
    erasures_add(live, erasure);
    to_record(live, erasure);
}

void erasures_recovered(struct live *live, struct erasure *first)
{
    while (first != NULL) {
        struct erasure *erasure = first;
        first = erasure->event_next;
        erasure->event_next = NULL;
        if (find(live, erasure->work.event, erasure->work.viewer)) {
            erasure_free(erasure); /* journaled twice */
            continue;
        }
        erasures_add(live, erasure);
        to_pass(live, erasure);
    }
}

void erasures_fini(struct live *live)
{
    while (live->erasures.oldest != NULL) {
        struct erasure *erasure = live->erasures.oldest;
        unlink_erasure(live, erasure);
        erasure_free(erasure);
    }
}
