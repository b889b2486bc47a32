/* offline.c -- the engine run over a trace in one thread. */
#include "live/offline.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "journal/entry.h"

#include <stdio.h>
#include <stdlib.h>

#define PART_ROWS_MAX 65536
/* Heartbeats between looks at the clock and at the backlog. */
#define LOOK_EVERY 65536

struct offline {
    struct store store;
    struct engine_config cfg;
    int64_t store_every_ms, store_next_ms; /* monotonic */
    uint64_t since_look;
    bool settings_due;
    bool no_profiles; /* the record store has none at all */
    bool stuck;       /* a commit failed: nothing more can be stored */
    struct changes changes;
    size_t used; /* bytes of the record at hand */
    int64_t record_ms, time_ms;
    const struct heartbeat *pointers[OFFLINE_BATCH_MAX];
    struct place places[OFFLINE_BATCH_MAX];
    struct profile_lookup lookups[OFFLINE_BATCH_MAX];
    uint32_t lookup_beats[OFFLINE_BATCH_MAX];
    char payload[JOURNAL_RECORD_BYTES_MAX];
};

static enum err store_all(struct offline *offline, char *why, size_t why_bytes);

enum err offline_open(const struct store_options *options, int64_t store_every_ms,
                      struct offline **out, char *why, size_t why_bytes)
{
    struct offline *offline = memory_zalloc(sizeof *offline);
    *out = NULL;
    enum err err = store_open(options, &offline->store, why, why_bytes);
    if (err != ERR_NONE) {
        free(offline);
        return err;
    }
    uint64_t profiles = 0;
    err = records_profiles_count(offline->store.link, SLICE_EMPTY, &profiles);
    offline->no_profiles = err == ERR_NONE && profiles == 0;
    offline->settings_due = true;
    offline->store_every_ms = store_every_ms;
    offline->store_next_ms = clock_mono_ms() + store_every_ms;
    changes_init(&offline->changes);
    /* What a server left half erased is forgotten first: its heartbeats would be refused.  Twice,
     * so that the journal begins anew behind it. */
    for (int i = 0; i < 2 && err == ERR_NONE && offline->store.erasures != NULL; i++) {
        err = store_all(offline, why, why_bytes);
    }
    if (err != ERR_NONE) {
        changes_fini(&offline->changes);
        store_close(&offline->store);
        free(offline);
        return err;
    }
    *out = offline;
    return ERR_NONE;
}

int64_t offline_last_ms(const struct offline *offline)
{
    return offline->store.last_ms;
}

/* ---- storing ---- */

static void encode_settings(struct offline *offline)
{
    struct entry entry = store_settings_entry(offline->store.engine);
    offline->used += entry_encode(&entry, offline->payload + offline->used);
    offline->settings_due = false;
}

/* A record with the time reached: what comes after the records' position must not be earlier. */
static enum err append_time(struct offline *offline)
{
    struct engine *engine = offline->store.engine;
    uint64_t seq;
    offline->used = 0;
    encode_settings(offline);
    enum err err = journal_append(offline->store.journal, engine_now_ms(engine),
                                  slice_of(offline->payload, offline->used), &seq);
    if (err == ERR_NONE) {
        engine_begin(engine, seq, engine_now_ms(engine));
    }
    return err;
}

static enum err commit_all(struct offline *offline, char *why, size_t why_bytes)
{
    struct store *store = &offline->store;
    uint64_t durable_seq;
    /* The journal first: after a power cut no row may be newer than its end. */
    enum err err = journal_sync(store->journal, &durable_seq);
    if (err != ERR_NONE) {
        (void)snprintf(why, why_bytes, "journal: %s", err_text(err));
        return err;
    }
    if (engine_erasing(store->engine) > 0) {
        journal_turn(store->journal); /* all from before can go */
    }
    engine_collect_begin(store->engine, true);
    while (engine_collect(store->engine, &offline->changes, PART_ROWS_MAX)) {
        err = records_commit(store->link, &offline->changes);
        if (err != ERR_NONE) {
            (void)snprintf(why, why_bytes, "records: %s", records_why(store->link));
            return err;
        }
        engine_committed(store->engine, &offline->changes);
        if (offline->changes.covered_seq > 0) {
            err = journal_remove_covered(store->journal, offline->changes.covered_seq);
            if (err != ERR_NONE) {
                (void)snprintf(why, why_bytes, "journal: %s", err_text(err));
                return err;
            }
        }
    }
    return ERR_NONE;
}

static enum err store_all(struct offline *offline, char *why, size_t why_bytes)
{
    if (offline->stuck) {
        return ERR_DATABASE; /* a part is lost; recovery makes it anew from the journal */
    }
    enum err appended = append_time(offline);
    enum err err = ERR_NONE;
    if (appended == ERR_NONE || appended == ERR_FULL) { /* full: storing makes room */
        err = commit_all(offline, why, why_bytes);
        offline->stuck = err != ERR_NONE;
    }
    if (err == ERR_NONE && appended == ERR_FULL) {
        appended = append_time(offline);
    }
    if (err == ERR_NONE && appended != ERR_NONE) {
        (void)snprintf(why, why_bytes, "journal: %s", err_text(appended));
        return appended;
    }
    offline->store_next_ms = clock_mono_ms() + offline->store_every_ms;
    offline->settings_due = true;
    return err;
}

/* Stores when it is time, or when half the bound on what waits is reached. */
static enum err store_some(struct offline *offline, size_t counted, char *why, size_t why_bytes)
{
    offline->since_look += counted;
    if (offline->since_look < LOOK_EVERY) {
        return ERR_NONE;
    }
    offline->since_look = 0;
    struct engine_sizes sizes;
    engine_sizes(offline->store.engine, &sizes);
    if (clock_mono_ms() < offline->store_next_ms &&
        sizes.backlog < offline->store.cfg.backlog_max / 2) {
        return ERR_NONE;
    }
    return store_all(offline, why, why_bytes);
}

/* ---- looking up ---- */

static enum err fetch_event(struct offline *offline, struct slice id, char *why, size_t why_bytes)
{
    struct store *store = &offline->store;
    /* Idle ones leave memory: stored by the first pass, found by the second. */
    for (int pass = 0; pass < 2; pass++) {
        if (engine_events_count(store->engine) < store->cfg.events_max) {
            break;
        }
        enum err err = store_all(offline, why, why_bytes);
        if (err != ERR_NONE) {
            return err;
        }
    }
    struct event *event = NULL;
    bool room;
    enum err err = records_event_load(store->link, &store->cfg, id, &event);
    if (err == ERR_NONE) {
        room = engine_adopt(store->engine, event, true);
    } else if (err == ERR_NOT_FOUND) {
        room = engine_add_event(store->engine, id);
    } else {
        (void)snprintf(why, why_bytes, "records: %s", records_why(store->link));
        return err;
    }
    if (!room) {
        event_free(event);
        (void)snprintf(why, why_bytes, "events-max is reached at event %.*s", SLICE_ARG(id));
        return ERR_FULL;
    }
    return ERR_NONE;
}

static enum err fetch_events(struct offline *offline, size_t count, char *why, size_t why_bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (offline->places[i].outcome == PLACE_NEED_EVENT &&
            !engine_has_event(offline->store.engine, offline->pointers[i]->event)) {
            enum err err = fetch_event(offline, offline->pointers[i]->event, why, why_bytes);
            if (err != ERR_NONE) {
                return err;
            }
        }
    }
    return ERR_NONE;
}

/* Gives groups to the heartbeats whose viewers' are not known. */
static enum err fetch_profiles(struct offline *offline, struct offline_beat *beats, size_t count,
                               char *why, size_t why_bytes)
{
    uint32_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        if (offline->places[i].outcome != PLACE_NEED_PROFILE) {
            continue;
        }
        beats[i].heartbeat.flags |= HEARTBEAT_GROUPS | HEARTBEAT_PROFILE;
        beats[i].heartbeat.groups = SLICE_EMPTY;
        if (!offline->no_profiles) {
            offline->lookups[wanted] = (struct profile_lookup){.event = beats[i].heartbeat.event,
                                                               .viewer = beats[i].heartbeat.viewer};
            offline->lookup_beats[wanted++] = (uint32_t)i;
        }
    }
    enum err err = wanted == 0
                       ? ERR_NONE
                       : records_profiles_get(offline->store.link, offline->lookups, wanted);
    if (err != ERR_NONE) {
        (void)snprintf(why, why_bytes, "records: %s", records_why(offline->store.link));
        return err;
    }
    for (uint32_t i = 0; i < wanted; i++) {
        struct profile_lookup *lookup = &offline->lookups[i];
        if (lookup->found) {
            beats[offline->lookup_beats[i]].heartbeat.groups =
                slice_of(lookup->groups, lookup->groups_len);
        }
    }
    return ERR_NONE;
}

static bool outcome_is(const struct offline *offline, size_t count, enum place_outcome outcome)
{
    for (size_t i = 0; i < count; i++) {
        if (offline->places[i].outcome == outcome) {
            return true;
        }
    }
    return false;
}

/* Finds all places, with events and profiles fetched on the way.  Storing lets idle events leave
 * memory, also one that the batch comes back to: so it begins anew. */
static enum err place_all(struct offline *offline, struct offline_beat *beats, size_t count,
                          char *why, size_t why_bytes)
{
    bool stored = false;
    for (;;) {
        enum err err;
        engine_place(offline->store.engine, offline->pointers, offline->places, count);
        if (outcome_is(offline, count, PLACE_NEED_EVENT)) {
            err = fetch_events(offline, count, why, why_bytes);
        } else if (outcome_is(offline, count, PLACE_NEED_PROFILE)) {
            err = fetch_profiles(offline, beats, count, why, why_bytes);
        } else if (!stored && outcome_is(offline, count, PLACE_BACKLOG)) {
            stored = true;
            err = store_all(offline, why, why_bytes);
        } else {
            return ERR_NONE;
        }
        if (err != ERR_NONE) {
            return err;
        }
    }
}

/* ---- counting ---- */

static void encode(struct offline *offline, const struct offline_beat *beat)
{
    if (beat->time_ms > offline->time_ms) {
        struct entry entry = {.kind = ENTRY_TIME,
                              .later_ms = (uint32_t)(beat->time_ms - offline->time_ms)};
        offline->used += entry_encode(&entry, offline->payload + offline->used);
        offline->time_ms = beat->time_ms;
    }
    offline->used += entry_heartbeat_encode(&beat->heartbeat, offline->payload + offline->used);
}

static size_t encode_record(struct offline *offline, const struct offline_beat *beats, size_t first,
                            size_t count)
{
    size_t end = first;
    offline->used = 0;
    offline->record_ms = offline->time_ms = beats[first].time_ms;
    if (offline->settings_due) {
        encode_settings(offline);
    }
    for (; end < count && offline->used + JOURNAL_ENTRY_BYTES_MAX * 2 <= JOURNAL_RECORD_BYTES_MAX &&
           beats[end].time_ms - offline->time_ms <= UINT32_MAX;
         end++) {
        if (offline->places[end].outcome == PLACE_READY) {
            encode(offline, &beats[end]);
        }
    }
    return end;
}

/* One record: beats from *next on, as many as fit.  Written, then applied.  ERR_FULL: nothing was
 * done. */
static enum err record(struct offline *offline, const struct offline_beat *beats, size_t count,
                       size_t *next, struct offline_result *result)
{
    struct engine *engine = offline->store.engine;
    bool settings = offline->settings_due;
    size_t first = *next, end = encode_record(offline, beats, first, count);
    uint64_t seq = engine_seq(engine);
    if (offline->used > 0) {
        enum err err = journal_append(offline->store.journal, offline->record_ms,
                                      slice_of(offline->payload, offline->used), &seq);
        if (err != ERR_NONE) {
            offline->settings_due = settings;
            return err;
        }
    }
    *next = end;
    for (size_t i = first; i < end; i++) {
        if (offline->places[i].outcome == PLACE_READY) {
            engine_begin(engine, seq, beats[i].time_ms);
            engine_apply(engine, &beats[i].heartbeat, &offline->places[i]);
            result->counted++;
        } else {
            result->refused++;
        }
    }
    return ERR_NONE;
}

enum err offline_count(struct offline *offline, struct offline_beat *beats, size_t count,
                       struct offline_result *result, char *why, size_t why_bytes)
{
    ASSERT(count <= OFFLINE_BATCH_MAX);
    size_t next = 0;
    bool stored = false; /* since the last record */
    while (next < count) {
        size_t left = count - next;
        for (size_t i = 0; i < left; i++) {
            offline->pointers[i] = &beats[next + i].heartbeat;
        }
        /* The time first: an event that is idle by then may have to make room. */
        engine_begin(offline->store.engine, engine_seq(offline->store.engine), beats[next].time_ms);
        enum err err = place_all(offline, beats + next, left, why, why_bytes);
        if (err != ERR_NONE) {
            return err;
        }
        size_t done = 0;
        err = record(offline, beats + next, left, &done, result);
        next += done;
        if (err == ERR_FULL && !stored) {
            stored = true; /* what the records cover leaves the journal; the places are void */
            err = store_all(offline, why, why_bytes);
            if (err != ERR_NONE) {
                return err;
            }
        } else if (err != ERR_NONE) {
            (void)snprintf(why, why_bytes, "journal: %s", err_text(err));
            return err;
        } else {
            stored = false;
        }
    }
    return store_some(offline, count, why, why_bytes);
}

enum err offline_close(struct offline *offline, char *why, size_t why_bytes)
{
    (void)snprintf(why, why_bytes, "records: not everything is stored; the journal has it");
    enum err err = store_all(offline, why, why_bytes);
    uint64_t durable_seq;
    enum err synced = journal_sync(offline->store.journal, &durable_seq);
    if (err == ERR_NONE && synced != ERR_NONE) {
        (void)snprintf(why, why_bytes, "journal: %s", err_text(synced));
        err = synced;
    }
    changes_fini(&offline->changes);
    store_close(&offline->store);
    free(offline);
    return err;
}
