/* memory.c -- the memory engine: one thread that owns all audiences.
 *
 * A turn: take the messages of other threads and what the ports submitted; look everything up at
 * once; write the journal; apply; hand back.  Heartbeats that need an event or a profile first go
 * to lookups.c and come back with a later turn.  Then questions, then rows for the record store. */
#define _GNU_SOURCE
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "journal/entry.h"
#include "live/live_state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRY_MS 200 /* the journal's full disk is looked at again */

/* One turn's work: too large for a stack, owned by the engine's thread. */
struct turn {
    struct live_beat *beats[TURN_BEATS_MAX];
    const struct heartbeat *heartbeats[TURN_BEATS_MAX];
    struct place places[TURN_BEATS_MAX];
    uint32_t count;
    struct live_query *queries_first, *queries_last;
    bool more; /* the ports hold more than fits a turn */
};

/* ---- handing back ---- */

void beat_finish(struct live *live, struct live_beat *beat, enum live_status status, uint64_t seq)
{
    struct live_heartbeats *request = beat->request;
    beat->status = status;
    free(beat->groups);
    beat->groups = NULL;
    switch (status) {
    case LIVE_OK:
        break; /* counted by the batch */
    case LIVE_BUSY:
    case LIVE_NO_SPACE:
    case LIVE_RECORDS_AWAY:
    case LIVE_ERASING:
        COUNT(live, heartbeats_unavailable, 1);
        break;
    case LIVE_UNKNOWN_VIEWER:
    case LIVE_UNKNOWN_EVENT:
    case LIVE_EVENTS_FULL:
    case LIVE_SESSIONS_FULL:
    case LIVE_VIEWERS_FULL:
    case LIVE_GROUPS_FULL:
    case LIVE_NOT_FOUND:
    case LIVE_REFUSED:
        COUNT(live, heartbeats_refused, 1);
        break;
    }
    if (seq > request->request.seq) {
        request->request.seq = seq;
    }
    if (++request->finished == request->count) {
        bool put = ring_put(&request->request.port->acks, request);
        ASSERT(put); /* as many slots as requests in flight */
        live->handed_back = true;
    }
}

/* Wakes the ports that have something they may drain. */
static void wake_ports(struct live *live)
{
    if (!live->handed_back) {
        return;
    }
    live->handed_back = false;
    meet(live); /* the sync thread, which stores durable_seq and then looks at the rings */
    uint64_t durable_seq = atomic_load_explicit(&live->durable_seq, memory_order_acquire);
    bool sync = live->options.durability == LIVE_SYNC;
    for (uint32_t i = 0; i < live->options.ports; i++) {
        struct live_port *port = &live->ports[i];
        if (port->open && !ring_empty(&port->acks) &&
            (!sync || durable_seq >= engine_seq(live->engine))) {
            port->wake(port->ctx);
        }
    }
}

/* ---- messages ---- */

void engine_post(struct live *live, struct message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&live->messages_lock);
    if (live->messages_last != NULL) {
        live->messages_last->next = message;
    } else {
        live->messages_first = message;
    }
    live->messages_last = message;
    atomic_store_explicit(&live->messages_there, true, memory_order_relaxed);
    pthread_mutex_unlock(&live->messages_lock);
    if (atomic_fetch_add(&live->engine_wait, 0) != ENGINE_AWAKE) { /* see enum engine_wait */
        uint64_t one = 1;
        ssize_t written = write(live->wake_fd, &one, sizeof one);
        (void)written; /* full means awake */
    }
}

void put_later(struct live *live, struct message *message)
{
    message->next = NULL;
    if (live->puts_last != NULL) {
        live->puts_last->next = message;
    } else {
        live->puts_first = message;
    }
    live->puts_last = message;
}

/* The put is in force, or it was not journaled: whoever put it may try again. */
static void end_put(struct live *live, struct message *message, enum live_status status)
{
    if (message->kind == MESSAGE_WROTE) {
        message->query->status = status;
        answer_done(message->query);
    } else if (message->kind == MESSAGE_ERASED) {
        ASSERT(status != LIVE_OK); /* then it has a way to go */
        erasures_refused(live, message->query);
    } else {
        lookups_applied(live, message->waiting);
    }
    free(message);
}

/* True: it changes a profile in memory, so it has to be journaled first. */
static bool take_written(struct live *live, struct message *message)
{
    struct live_query *query = message->query;
    if (query->kind == LIVE_WRITE) {
        lookups_changed(live, query->event);
        answer_done(query);
        return false;
    }
    lookups_put(live, query->event, query->viewer, query->groups);
    if (engine_has_event(live->engine, query->event)) {
        return true;
    }
    query->status = LIVE_OK; /* changes nothing in memory: no input */
    answer_done(query);
    return false;
}

static void take_message(struct live *live, struct message *message)
{
    switch (message->kind) {
    case MESSAGE_LOADED:
        if (lookups_answered(live, message->waiting)) {
            put_later(live, message);
            return;
        }
        break;
    case MESSAGE_WROTE:
        if (take_written(live, message)) {
            put_later(live, message);
            return;
        }
        break;
    case MESSAGE_ERASED:
        erasures_written(live, message->query);
        break;
    case MESSAGE_RETIRE:
        erasures_retire(live, message->query);
        break;
    case MESSAGE_COMMITTED:
        passes_committed(live);
        break;
    }
    free(message);
}

static void take_messages(struct live *live)
{
    if (!atomic_load_explicit(&live->messages_there, memory_order_relaxed)) {
        return; /* a hint; whoever sets it wakes us */
    }
    pthread_mutex_lock(&live->messages_lock);
    struct message *first = live->messages_first;
    live->messages_first = live->messages_last = NULL;
    atomic_store_explicit(&live->messages_there, false, memory_order_relaxed);
    pthread_mutex_unlock(&live->messages_lock);
    while (first != NULL) {
        struct message *message = first;
        first = message->next;
        take_message(live, message);
    }
}

/* ---- taking from the ports ---- */

/* What the I/O threads wrote is in their caches: each line that is asked for early is one that is
 * not waited for.  First the requests, a few ahead of the one at hand, then their texts. */
#define REQUESTS_AHEAD 4

static void prefetch_request(const struct live_port *port)
{
    const char *request = ring_ahead(&port->inbox, REQUESTS_AHEAD);
    if (request != NULL) {
        for (size_t at = 0; at < sizeof(struct live_heartbeats) + sizeof(struct live_beat);
             at += 64) {
            __builtin_prefetch(request + at, 1); /* a single heartbeat lies behind its request */
        }
    }
}

static void add_beat(struct turn *turn, struct live_beat *beat)
{
    __builtin_prefetch(beat->heartbeat.event.ptr);
    __builtin_prefetch(beat->heartbeat.session.ptr);
    __builtin_prefetch(beat->heartbeat.viewer.ptr);
    turn->beats[turn->count] = beat;
    turn->heartbeats[turn->count] = &beat->heartbeat;
    turn->count++;
}

static void take_query(struct turn *turn, struct live_query *query)
{
    query->request.next = NULL;
    if (turn->queries_last != NULL) {
        turn->queries_last->request.next = &query->request;
    } else {
        turn->queries_first = query;
    }
    turn->queries_last = query;
}

static void take_queries(struct live *live, struct turn *turn)
{
    turn->queries_first = turn->queries_last = NULL;
    for (uint32_t i = 0; i < live->options.ports; i++) {
        struct live_port *port = &live->ports[i];
        struct live_query *query;
        while (port->open && (query = ring_take(&port->questions)) != NULL) {
            take_query(turn, query);
        }
    }
}

static void take_from_port(struct turn *turn, struct live_port *port)
{
    struct live_heartbeats *beats;
    while ((beats = ring_peek(&port->inbox)) != NULL) {
        prefetch_request(port);
        while (beats->taken < beats->count) {
            if (turn->count == TURN_BEATS_MAX) {
                turn->more = true;
                return;
            }
            struct live_beat *beat = &beats->beats[beats->taken++];
            beat->request = beats;
            add_beat(turn, beat);
        }
        (void)ring_take(&port->inbox);
    }
}

static void take_beats(struct live *live, struct turn *turn)
{
    live->turn++;
    while (live->ready_first != NULL && turn->count < TURN_BEATS_MAX) {
        struct live_beat *beat = live->ready_first;
        live->ready_first = beat->next;
        if (live->ready_first == NULL) {
            live->ready_last = NULL;
        }
        add_beat(turn, beat);
    }
    /* Each turn another port comes first: one that always fills the turn must not starve others. */
    for (uint32_t i = 0; i < live->options.ports; i++) {
        struct live_port *port = &live->ports[(live->turn + i) % live->options.ports];
        if (port->open) {
            take_from_port(turn, port);
        }
    }
    turn->more |= live->ready_first != NULL;
}

/* ---- a batch ---- */

static enum live_status status_of(enum place_outcome outcome)
{
    switch (outcome) {
    case PLACE_SESSIONS_FULL:
        return LIVE_SESSIONS_FULL;
    case PLACE_VIEWERS_FULL:
        return LIVE_VIEWERS_FULL;
    case PLACE_GROUPS_FULL:
        return LIVE_GROUPS_FULL;
    case PLACE_BACKLOG:
        return LIVE_BUSY;
    case PLACE_ERASING:
        return LIVE_ERASING;
    case PLACE_READY:
    case PLACE_NEED_EVENT:
    case PLACE_NEED_PROFILE:
        break;
    }
    ASSERT(!"not an outcome that refuses");
    return LIVE_BUSY;
}

/* Sends away what cannot be applied now. */
static void sort_out(struct live *live, struct turn *turn)
{
    bool erasing = live->erasures.count > 0;
    for (uint32_t i = 0; i < turn->count; i++) {
        struct place *place = &turn->places[i];
        struct live_beat *beat = turn->beats[i];
        if (erasing && erasures_hold(live, beat->heartbeat.event, beat->heartbeat.viewer)) {
            place->outcome = PLACE_ERASING;
        }
        switch (place->outcome) {
        case PLACE_READY:
            if (lookups_follow(live, beat)) {
                turn->beats[i] = NULL;
            } else if (place->refresh) {
                lookups_refresh(live, beat, place);
            }
            break;
        case PLACE_NEED_EVENT:
            lookups_event(live, beat);
            turn->beats[i] = NULL;
            break;
        case PLACE_NEED_PROFILE:
            lookups_profile(live, beat);
            turn->beats[i] = NULL;
            break;
        case PLACE_SESSIONS_FULL:
        case PLACE_VIEWERS_FULL:
        case PLACE_GROUPS_FULL:
        case PLACE_BACKLOG:
        case PLACE_ERASING:
            beat_finish(live, beat, status_of(place->outcome), 0);
            turn->beats[i] = NULL;
            break;
        }
    }
}

static size_t encode_settings(struct live *live)
{
    size_t used = 0;
    if (live->settings_due) {
        struct entry entry = store_settings_entry(live->engine);
        used += entry_encode(&entry, live->payload);
    }
    return used;
}

static struct entry put_entry(const struct live *live, const struct message *message)
{
    struct entry entry = {.kind = ENTRY_PROFILE};
    if (message->kind == MESSAGE_ERASED) {
        return erasures_entry(live, message->query);
    }
    if (message->kind == MESSAGE_WROTE) {
        entry.heartbeat.event = message->query->event;
        entry.heartbeat.viewer = message->query->viewer;
        entry.heartbeat.groups = message->query->groups;
    } else {
        entry.heartbeat.event = waiting_event(message->waiting);
        entry.heartbeat.viewer = waiting_viewer(message->waiting);
        entry.heartbeat.groups = slice_of(message->waiting->groups, message->waiting->groups_len);
    }
    return entry;
}

/* Erasures whose event left memory since they came here go another way. */
static void recall_erasures(struct live *live)
{
    struct message *at = live->puts_first;
    live->puts_first = live->puts_last = NULL;
    while (at != NULL) {
        struct message *message = at;
        at = message->next;
        if (message->kind == MESSAGE_ERASED && !erasures_recordable(live, message->query)) {
            free(message);
        } else {
            put_later(live, message);
        }
    }
}

/* Encodes the profiles and erasures that fit; *end is the first that does not. */
static size_t encode_puts(struct live *live, size_t used, struct message **end)
{
    if (live->erasures.count > 0) {
        recall_erasures(live);
    }
    struct message *at = live->puts_first;
    while (at != NULL && used + JOURNAL_ENTRY_BYTES_MAX <= JOURNAL_RECORD_BYTES_MAX) {
        struct entry entry = put_entry(live, at);
        used += entry_encode(&entry, live->payload + used);
        at = at->next;
    }
    *end = at;
    return used;
}

static void apply_puts(struct live *live, const struct message *end)
{
    struct message *at = live->puts_first;
    while (live->puts_first != end) { /* first out of the list: what comes of them may add to it */
        live->puts_first = live->puts_first->next;
    }
    if (live->puts_first == NULL) {
        live->puts_last = NULL;
    }
    while (at != end) {
        struct message *message = at;
        at = message->next;
        if (message->kind == MESSAGE_ERASED) {
            erasures_journaled(live, message->query);
            free(message);
            continue;
        }
        struct entry entry = put_entry(live, message);
        engine_profile(live->engine, entry.heartbeat.event, entry.heartbeat.viewer,
                       entry.heartbeat.groups);
        end_put(live, message, LIVE_OK);
    }
}

/* The disk is full: nobody waits for an answer until there is room.  (The record store has the
 * profile already; to put it again does no harm.)  What was only looked up stays: as many as the
 * table of those who wait may hold. */
static void refuse_puts(struct live *live)
{
    struct message *at = live->puts_first;
    live->puts_first = live->puts_last = NULL;
    while (at != NULL) {
        struct message *message = at;
        at = message->next;
        if (message->kind == MESSAGE_LOADED) {
            put_later(live, message);
        } else {
            end_put(live, message, LIVE_NO_SPACE);
        }
    }
}

static void wake_sync(struct live *live, uint64_t seq)
{
    if (live->options.durability == LIVE_OS) {
        return;
    }
    pthread_mutex_lock(&live->sync_lock);
    live->sync_appended_seq = seq;
    if (live->options.durability == LIVE_SYNC) {
        pthread_cond_signal(&live->sync_wanted);
    }
    pthread_mutex_unlock(&live->sync_lock);
}

/* Appends one record.  False when the disk is full (nothing was written). */
static bool append(struct live *live, size_t used, uint64_t *seq)
{
    enum err err = journal_append(live->journal, engine_now_ms(live->engine),
                                  slice_of(live->payload, used), seq);
    bool full = err == ERR_NOSPACE || err == ERR_FULL;
    if (err != ERR_NONE && !full) {
        live_die(err_text(err));
    }
    atomic_store_explicit(&live->no_space, full, memory_order_relaxed);
    if (!full) {
        return true;
    }
    LOG_EVERY(5000, LOG_ERROR, "journal", "heartbeats are answered 503: %s",
              err == ERR_FULL ? "journal-max is reached" : err_text(err));
    live->retry_ms = clock_mono_ms() + RETRY_MS;
    if (covered_seq(live) < engine_seq(live->engine)) {
        live->full_wanted = true; /* segments that the records cover go, and make room */
    }
    return false;
}

/* Encodes heartbeats from `first` on, as many as fit; *end is the first that does not. */
static size_t encode_beats(struct live *live, struct turn *turn, size_t used, uint32_t first,
                           uint32_t *end)
{
    uint32_t i = first;
    for (; i < turn->count && used + JOURNAL_ENTRY_BYTES_MAX <= JOURNAL_RECORD_BYTES_MAX; i++) {
        if (turn->beats[i] == NULL) {
            continue;
        }
        struct heartbeat *heartbeat = &turn->beats[i]->heartbeat;
        if (turn->places[i].same_groups && !(heartbeat->flags & HEARTBEAT_PROFILE)) {
            heartbeat->flags &= (uint8_t)~HEARTBEAT_GROUPS;
            heartbeat->groups = SLICE_EMPTY;
        }
        used += entry_heartbeat_encode(heartbeat, live->payload + used);
    }
    *end = i;
    return used;
}

/* One journal record and what it holds: heartbeats from *next on, as many as fit; behind the last
 * of them profiles.  (Not before: the places were looked up with the groups of before.) */
static void commit_record(struct live *live, struct turn *turn, uint32_t *next)
{
    struct message *puts_end = live->puts_first;
    uint32_t first = *next, end;
    size_t used = encode_beats(live, turn, encode_settings(live), first, &end);
    if (end == turn->count) {
        used = encode_puts(live, used, &puts_end);
    }
    *next = end;
    if (used == 0) {
        return; /* nothing of the batch can be applied */
    }
    uint64_t seq = 0;
    bool written = append(live, used, &seq);
    if (written) {
        live->settings_due = false;
        engine_begin(live->engine, seq, engine_now_ms(live->engine));
        wake_sync(live, seq); /* the disk works while we do */
        COUNT(live, batches, 1);
    }
    uint32_t applied = 0;
    for (uint32_t i = first; i < end; i++) {
        if (turn->beats[i] == NULL) {
            continue;
        }
        if (written) {
            applied++;
            engine_apply(live->engine, turn->heartbeats[i], &turn->places[i]);
        }
        beat_finish(live, turn->beats[i], written ? LIVE_OK : LIVE_NO_SPACE, seq);
    }
    COUNT(live, heartbeats_counted, applied);
    if (written) {
        apply_puts(live, puts_end);
    } else {
        refuse_puts(live);
    }
}

/* Is there something to write besides heartbeats?  While the disk is full: whether it still is.
 * (Whoever sends heartbeats may have gone away, because live_ready says no.) */
static bool record_due(struct live *live)
{
    if (!atomic_load_explicit(&live->no_space, memory_order_relaxed)) {
        if (live->record_wanted || erasures_want_record(live)) {
            live->record_wanted = false;
            live->settings_due = true; /* says nothing new, but has a number */
        } else if (live->puts_first == NULL) {
            return false;
        }
        return true;
    }
    if (clock_mono_ms() < live->retry_ms) {
        return false;
    }
    live->settings_due = true;
    return true;
}

static void run_batch(struct live *live, struct turn *turn)
{
    engine_begin(live->engine, engine_seq(live->engine), clock_now_ms(&live->clock));
    engine_place(live->engine, turn->heartbeats, turn->places, turn->count);
    sort_out(live, turn);
    uint32_t next = 0;
    do {
        commit_record(live, turn, &next);
    } while (next < turn->count);
    live->batch_us = turn->more ? 0 : clock_mono_us(); /* there is enough: gather nothing */
}

/* ---- questions ---- */

static void run_queries(struct live *live, struct turn *turn)
{
    if (turn->queries_first == NULL) {
        return;
    }
    engine_begin(live->engine, engine_seq(live->engine), clock_now_ms(&live->clock));
    struct live_request *at = &turn->queries_first->request;
    while (at != NULL) {
        struct live_query *query = (struct live_query *)at;
        at = at->next;
        COUNT(live, queries, 1);
        answer_query(live, query);
    }
}

/* ---- gauges ---- */

static void run_gauges(struct live *live)
{
    int64_t mono_ms = clock_mono_ms();
    if (mono_ms < live->gauges_ms) {
        return;
    }
    live->gauges_ms = mono_ms + 1000;
    struct engine_sizes sizes;
    engine_sizes(live->engine, &sizes);
    GAUGE(live, events, sizes.events);
    GAUGE(live, audiences, sizes.audiences);
    GAUGE(live, viewers, sizes.viewers);
    GAUGE(live, members, sizes.members);
    GAUGE(live, backlog, sizes.backlog);
    GAUGE(live, waiting, live->waiting.beats);
    GAUGE(live, journal_bytes, journal_bytes(live->journal));
    GAUGE(live, journal_seq, engine_seq(live->engine));
    atomic_store_explicit(&live->now_ms, engine_now_ms(live->engine), memory_order_relaxed);
}

/* ---- sleeping ---- */

/* Is there something that must not wait?  Asked after engine_wait was exchanged. */
static bool something_there(struct live *live, bool gathering)
{
    if (atomic_load_explicit(&live->messages_there, memory_order_relaxed)) {
        return true;
    }
    for (uint32_t i = 0; i < live->options.ports; i++) {
        struct live_port *port = &live->ports[i];
        if (!ring_empty(&port->questions) || (!gathering && !ring_empty(&port->inbox))) {
            return true;
        }
    }
    return !live->stopping && atomic_load(&live->stop_engine);
}

static void at_most(int64_t *sleep_us, int64_t us)
{
    *sleep_us = *sleep_us > us ? us : *sleep_us;
}

/* How long until the next thing is due, when nothing comes. */
static int64_t idle_us(struct live *live, int64_t now_us)
{
    int64_t sleep_us = 1000000; /* gauges */
    at_most(&sleep_us, passes_idle_us(live, now_us));
    if (live->waiting.count > 0 || live->fresh_first != NULL || live->erasures.count > 0) {
        at_most(&sleep_us, 50000);
    }
    if (atomic_load_explicit(&live->no_space, memory_order_relaxed)) {
        at_most(&sleep_us, live->retry_ms * 1000 - now_us);
    } else if (live->puts_first != NULL || erasures_want_record(live)) {
        at_most(&sleep_us, 0);
    }
    if (live->stopping) {
        int64_t by_ms = atomic_load_explicit(&live->stop_by_ms, memory_order_relaxed);
        at_most(&sleep_us, by_ms * 1000 - now_us);
    }
    return sleep_us;
}

/* How long heartbeats are still to be gathered for the next batch; 0 or less: not. */
static int64_t gather_us_left(const struct live *live, int64_t now_us)
{
    return live->batch_us + live->options.sync_gather_ms * 1000 - now_us;
}

/* Sleeps until something comes, at most until the next thing is due. */
static void wait_for_work(struct live *live)
{
    int64_t now_us = clock_mono_us();
    int64_t gather_us = gather_us_left(live, now_us);
    bool gathering = gather_us > 0;
    if (!gathering && live->ready_first != NULL) {
        return;
    }
    int64_t sleep_us = gathering ? gather_us : idle_us(live, now_us);
    if (sleep_us <= 0) {
        return;
    }
    (void)atomic_exchange(&live->engine_wait, gathering ? ENGINE_GATHERING : ENGINE_ASLEEP);
    if (!something_there(live, gathering)) {
        struct pollfd wake = {.fd = live->wake_fd, .events = POLLIN};
        struct timespec timeout = {sleep_us / 1000000, sleep_us % 1000000 * 1000};
        if (ppoll(&wake, 1, &timeout, NULL) == 1) {
            uint64_t count;
            ssize_t bytes = read(live->wake_fd, &count, sizeof count);
            (void)bytes;
        }
    }
    atomic_store(&live->engine_wait, ENGINE_AWAKE);
}

/* True when all is stored that there is, or will not be: at stop. */
static bool all_stored(struct live *live)
{
    if (clock_mono_ms() >= atomic_load_explicit(&live->stop_by_ms, memory_order_relaxed)) {
        log_line(LOG_WARN, "records", "gave up storing; the journal has it all");
        live->gave_up = true;
        return true;
    }
    if (live->part_out || engine_collecting(live->engine)) {
        return false;
    }
    if (covered_seq(live) >= engine_seq(live->engine) && live->erasures.count == 0) {
        return true;
    }
    /* Those that are being forgotten ask for their passes themselves. */
    live->full_wanted |= live->erasures.count == 0;
    return false;
}

void *engine_run(void *ctx)
{
    struct live *live = ctx;
    pthread_setname_np(pthread_self(), "engine");
    struct turn *turn = memory_alloc(sizeof *turn);
    for (;;) {
        take_messages(live);
        take_queries(live, turn);
        /* Questions do not wait, but neither do they end the gathering. */
        bool gathering = gather_us_left(live, clock_mono_us()) > 0;
        turn->count = 0;
        turn->more = false;
        if (!gathering) {
            take_beats(live, turn);
        }
        if (!gathering && (turn->count > 0 || record_due(live))) {
            run_batch(live, turn);
        }
        run_queries(live, turn);
        lookups_time_out(live);
        passes_time_out(live);
        erasures_run(live);
        wake_ports(live);
        passes_run(live);
        run_gauges(live);
        live->stopping = live->stopping || atomic_load(&live->stop_engine);
        if (live->stopping && !gathering && turn->count == 0 && all_stored(live)) {
            break;
        }
        if (!turn->more) {
            wait_for_work(live);
        }
    }
    free(turn);
    return NULL;
}
