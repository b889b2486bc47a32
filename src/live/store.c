/* store.c -- opening a data folder: lock, records, journal, recovery. */
#define _GNU_SOURCE
#include "live/store.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "journal/entry.h"
#include "live/erasures.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLAY_BATCH 256

atomic_bool store_open_cancel;

void store_paths(const char *data, const char *records, char journal[STORE_PATH_BYTES],
                 char where[STORE_PATH_BYTES])
{
    (void)snprintf(journal, STORE_PATH_BYTES, "%s/journal", data);
    if (strcmp(records, "sqlite") == 0) {
        (void)snprintf(where, STORE_PATH_BYTES, "sqlite:%s/records.db", data);
    } else {
        (void)snprintf(where, STORE_PATH_BYTES, "%s", records);
    }
}

enum err store_lock(const char *data, int *lock_fd, char *why, size_t why_bytes)
{
    char path[STORE_PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/lock", data) > sizeof path - 32) {
        (void)snprintf(why, why_bytes, "data: the path is too long");
        return ERR_INVALID;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        (void)snprintf(why, why_bytes, "data: %s: %s", path, strerror(errno));
        return errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : ERR_IO;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)snprintf(why, why_bytes, "data: %s is in use by another process", data);
        close(fd);
        return ERR_LOCKED;
    }
    *lock_fd = fd;
    return ERR_NONE;
}

static enum err make_folder(const char *data, char *why, size_t why_bytes)
{
    if (mkdir(data, 0750) != 0) { /* ids of people will be in it */
        if (errno == EEXIST) {
            return ERR_NONE;
        }
        (void)snprintf(why, why_bytes, "data: %s: %s", data, strerror(errno));
        return errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : ERR_IO;
    }
    /* Its name must survive a power cut as well as what will be acknowledged in it. */
    char path[STORE_PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/..", data);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (!synced) {
        (void)snprintf(why, why_bytes, "data: syncing the folder of %s: %s", data, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return synced ? ERR_NONE : ERR_SYNC;
}

/* ---- recovery ---- */

struct recovery {
    struct store *store;
    const char *failure; /* static */
    uint64_t heartbeats, records;
    uint32_t count; /* of the batch at hand */
    struct heartbeat heartbeats_at[REPLAY_BATCH];
    const struct heartbeat *pointers[REPLAY_BATCH];
    struct place places[REPLAY_BATCH];
};

/* Brings an event to memory as it was stored; ERR_NOT_FOUND: never. */
static enum err load(struct store *store, struct slice event)
{
    struct event *loaded;
    enum err err = records_event_load(store->link, &store->cfg, event, &loaded);
    if (err == ERR_NONE) {
        bool adopted = engine_adopt(store->engine, loaded, false);
        ASSERT(adopted); /* bounds hold for a server that runs, not for what it left */
    }
    return err;
}

/* The same; or new. */
static enum err fetch(struct store *store, struct slice event)
{
    enum err err = load(store, event);
    if (err == ERR_NOT_FOUND) {
        bool added = engine_add_event(store->engine, event);
        ASSERT(added);
        err = ERR_NONE;
    }
    return err;
}

/* The time goes on after everything that was stored.  The journal's newest record says it nearly
 * always, but rows are brought up to date later (a frame ends), and it may be empty. */
static enum err note_time(void *ctx, const struct audience_row *row)
{
    struct store *store = ctx;
    store->last_ms = row->as_of_ms > store->last_ms ? row->as_of_ms : store->last_ms;
    return ERR_NONE;
}

static enum err note_times(void *ctx, struct slice event)
{
    struct store *store = ctx;
    return records_audiences(store->link, event, SLICE_EMPTY, true, note_time, store);
}

static enum err fetch_live(void *ctx, struct slice event)
{
    if (atomic_load_explicit(&store_open_cancel, memory_order_relaxed)) {
        return ERR_STOPPED;
    }
    enum err err = fetch(ctx, event);
    return err == ERR_NONE ? note_times(ctx, event) : err;
}

/* An event whose heartbeats were all refused was in memory too when a profile came. */
static enum err fetch_known(struct store *store, struct slice event)
{
    enum err err = engine_has_event(store->engine, event) ? ERR_NONE : load(store, event);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* Applies the heartbeats gathered so far. */
static enum err apply(struct recovery *recovery)
{
    struct store *store = recovery->store;
    for (uint32_t i = 0; i < recovery->count; i++) {
        struct slice event = recovery->heartbeats_at[i].event;
        if (!engine_has_event(store->engine, event)) {
            enum err err = fetch(store, event);
            if (err != ERR_NONE) {
                return err;
            }
        }
        recovery->pointers[i] = &recovery->heartbeats_at[i];
    }
    engine_place(store->engine, recovery->pointers, recovery->places, recovery->count);
    engine_place_again(recovery->places, recovery->count);
    for (uint32_t i = 0; i < recovery->count; i++) {
        engine_apply(store->engine, recovery->pointers[i], &recovery->places[i]);
    }
    recovery->heartbeats += recovery->count;
    recovery->count = 0;
    return ERR_NONE;
}

struct entry store_settings_entry(const struct engine *engine)
{
    const struct engine_windows *windows = engine_windows(engine);
    return (struct entry){.kind = ENTRY_SETTINGS,
                          .settings = {.alive_window_ms = windows->alive_ms,
                                       .hidden_window_ms = windows->hidden_ms,
                                       .leaving_window_ms = windows->leaving_ms,
                                       .viewing_gap_ms = windows->gap_ms,
                                       .frame_ms = windows->frame_ms}};
}

/* For whoever goes on with the folder: they are over when a full pass was stored. */
static void note_erasure(struct store *store, const struct entry *entry)
{
    struct erasure *erasure =
        erasure_new(entry->heartbeat.event, entry->heartbeat.viewer, entry->keep_statistics);
    erasure->event_next = store->erasures;
    store->erasures = erasure;
}

static enum err replay_erasure(struct store *store, const struct entry *entry)
{
    struct slice event = entry->heartbeat.event;
    bool known = true;
    enum err err = ERR_NONE;
    if (entry->kind == ENTRY_PURGE) {
        engine_purge(store->engine, event, entry->keep_statistics);
    } else {
        err = fetch_known(store, event);
        enum figures_outcome outcome =
            engine_erase(store->engine, event, entry->heartbeat.viewer, &known);
        known = known && outcome == FIGURES_OK;
    }
    if (err == ERR_NONE && known) {
        note_erasure(store, entry);
    }
    return err;
}

static enum err replay_entry(struct recovery *recovery, const struct entry *entry)
{
    struct engine *engine = recovery->store->engine;
    if (entry->kind == ENTRY_HEARTBEAT) {
        recovery->heartbeats_at[recovery->count++] = entry->heartbeat;
        return recovery->count == REPLAY_BATCH ? apply(recovery) : ERR_NONE;
    }
    enum err err = apply(recovery); /* in their order */
    if (err == ERR_NONE && entry->kind == ENTRY_TIME) {
        engine_begin(engine, engine_seq(engine), engine_now_ms(engine) + entry->later_ms);
    } else if (err == ERR_NONE && entry->kind == ENTRY_PROFILE) {
        err = fetch_known(recovery->store, entry->heartbeat.event);
        engine_profile(engine, entry->heartbeat.event, entry->heartbeat.viewer,
                       entry->heartbeat.groups);
    } else if (err == ERR_NONE && (entry->kind == ENTRY_ERASE || entry->kind == ENTRY_PURGE)) {
        err = replay_erasure(recovery->store, entry);
    } else if (err == ERR_NONE) {
        struct engine_windows windows = {.alive_ms = entry->settings.alive_window_ms,
                                         .hidden_ms = entry->settings.hidden_window_ms,
                                         .leaving_ms = entry->settings.leaving_window_ms,
                                         .gap_ms = entry->settings.viewing_gap_ms,
                                         .frame_ms = entry->settings.frame_ms};
        engine_set_windows(engine, &windows);
    }
    return err;
}

static enum err replay_record(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct recovery *recovery = ctx;
    struct engine *engine = recovery->store->engine;
    if (atomic_load_explicit(&store_open_cancel, memory_order_relaxed)) {
        recovery->failure = "asked to stop";
        return ERR_STOPPED;
    }
    if (time_ms < engine_now_ms(engine)) {
        recovery->failure = "its time goes back";
        return ERR_DAMAGED;
    }
    engine_begin(engine, seq, time_ms);
    recovery->records++;
    struct entry entry;
    enum err err;
    while ((err = entry_next(&payload, &entry)) == ERR_NONE) {
        err = replay_entry(recovery, &entry);
        if (err != ERR_NONE) {
            break;
        }
    }
    if (err == ERR_NOT_FOUND) {
        err = apply(recovery);
    }
    if (err != ERR_NONE && recovery->failure == NULL) {
        recovery->failure = err_text(err);
    }
    return err;
}

/* Where number and time go on: nothing that is stored may be newer. */
static enum err settle_time(struct store *store, const struct journal_report *report)
{
    struct engine *engine = store->engine;
    if (report->records == 0) { /* the covered ones are gone: only the rows know the time */
        enum err err = records_events_each(store->link, SLICE_EMPTY, 0, note_times, store);
        if (err != ERR_NONE) {
            return err;
        }
    }
    const int64_t times_ms[] = {report->last_time_ms, engine_now_ms(engine)};
    for (size_t i = 0; i < sizeof times_ms / sizeof times_ms[0]; i++) {
        store->last_ms = times_ms[i] > store->last_ms ? times_ms[i] : store->last_ms;
    }
    uint64_t seq = engine_seq(engine);
    engine_begin(engine, seq < store->covered_seq ? store->covered_seq : seq, store->last_ms);
    return ERR_NONE;
}

static enum err recover(struct store *store, const char *folder, struct journal_report *report,
                        char *why, size_t why_bytes)
{
    int64_t begin_ms = clock_mono_ms();
    enum err err = records_live_events(store->link, fetch_live, store);
    if (err != ERR_NONE) {
        (void)snprintf(why, why_bytes, "records: %s",
                       err == ERR_STOPPED ? err_text(err) : records_why(store->link));
        return err;
    }
    static struct recovery recovery; /* large; one recovery at a time */
    recovery = (struct recovery){.store = store};
    err = journal_scan(folder, store->covered_seq + 1, replay_record, &recovery, report);
    if (err != ERR_NONE) {
        (void)snprintf(why, why_bytes, "journal: %s%s%s (novabeat check says more)", report->text,
                       recovery.failure != NULL ? ": " : "",
                       recovery.failure != NULL ? recovery.failure : "");
        return err;
    }
    engine_settle(store->engine);
    err = settle_time(store, report);
    if (err != ERR_NONE) {
        (void)snprintf(why, why_bytes, "records: %s", records_why(store->link));
        return err;
    }
    struct engine_sizes sizes;
    engine_sizes(store->engine, &sizes);
    log_line(LOG_INFO, "recovery",
             "%llu events, %llu viewers; %llu heartbeats replayed from %llu journal records after "
             "%llu; %lld ms",
             (unsigned long long)sizes.events, (unsigned long long)sizes.viewers,
             (unsigned long long)recovery.heartbeats, (unsigned long long)recovery.records,
             (unsigned long long)store->covered_seq, (long long)(clock_mono_ms() - begin_ms));
    if (report->torn_bytes > 0) {
        log_line(LOG_WARN, "recovery", "a torn tail of %llu bytes is cut off the journal: %s",
                 (unsigned long long)report->torn_bytes, report->text);
    }
    return ERR_NONE;
}

/* A crash may have come after an erasure was stored and before the journal had forgotten it. */
static enum err find_erasure(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct store *store = ctx;
    struct entry entry;
    (void)time_ms;
    while (seq <= store->covered_seq && entry_next(&payload, &entry) == ERR_NONE) {
        store->journal_remembers |= entry.kind == ENTRY_ERASE || entry.kind == ENTRY_PURGE;
    }
    return seq <= store->covered_seq && !store->journal_remembers ? ERR_NONE : ERR_STOPPED;
}

static void look_back(struct store *store, const char *folder)
{
    struct journal_report report = {0};
    enum err err = journal_scan(folder, 0, find_erasure, store, &report);
    (void)err; /* what is not covered was scanned already */
}

/* The engine with room for whatever was left, then with the configured bounds. */
static void make_engine(struct store *store, const struct engine_config *cfg)
{
    store->cfg = *cfg;
    randombytes_buf(&store->cfg.hash_key, sizeof store->cfg.hash_key);
    struct engine_config open_cfg = store->cfg;
    open_cfg.events_max = UINT32_MAX;
    store->engine = engine_new(&open_cfg);
}

enum err store_open(const struct store_options *options, struct store *store, char *why,
                    size_t why_bytes)
{
    char folder[STORE_PATH_BYTES];
    struct journal_report report = {0};
    struct journal_options journal_options = {.folder = folder,
                                              .segment_bytes = options->journal_segment_bytes,
                                              .total_bytes_max = options->journal_max_bytes};
    *store = (struct store){.lock_fd = -1};
    if (sodium_init() < 0) {
        (void)snprintf(why, why_bytes, "libsodium does not start");
        return ERR_IO;
    }
    store_paths(options->data, options->records, folder, store->where);
    enum err err = make_folder(options->data, why, why_bytes);
    if (err == ERR_NONE) {
        err = store_lock(options->data, &store->lock_fd, why, why_bytes);
    }
    if (err == ERR_NONE) {
        err = records_open(store->where, true, &store->link, why, why_bytes);
    }
    if (err == ERR_NONE) {
        err = records_covered(store->link, &store->covered_seq);
        if (err != ERR_NONE) {
            (void)snprintf(why, why_bytes, "records: %s", records_why(store->link));
        }
    }
    if (err == ERR_NONE) {
        make_engine(store, &options->engine);
        err = recover(store, folder, &report, why, why_bytes);
    }
    if (err == ERR_NONE) {
        look_back(store, folder);
    }
    if (err == ERR_NONE) {
        err = journal_open(&journal_options, store->covered_seq, &report, &store->journal);
        if (err != ERR_NONE) {
            (void)snprintf(why, why_bytes, "journal: %s",
                           report.text[0] ? report.text : err_text(err));
        }
    }
    if (err == ERR_NONE) {
        engine_set_bounds(store->engine, &options->engine);
        engine_set_windows(store->engine, &options->engine.windows);
        return ERR_NONE;
    }
    store_close(store);
    return err;
}

void store_close(struct store *store)
{
    if (store->journal != NULL) {
        journal_close(store->journal);
    }
    records_close(store->link);
    engine_free(store->engine);
    while (store->erasures != NULL) {
        struct erasure *erasure = store->erasures;
        store->erasures = erasure->event_next;
        erasure_free(erasure);
    }
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    *store = (struct store){.lock_fd = -1};
}
