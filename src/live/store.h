/* store.h -- a data folder opened and recovered: the state that a server or a replay begins with.
 *
 * The folder holds journal/ (docs/JOURNAL.md), records.db (docs/RECORDS.md) and `lock`, which one
 * process at a time holds.
 *
 * Recovery: the events that were in memory are loaded from the records as they were stored; then
 * the journal is replayed from the first batch that the records do not cover.  Rows may be newer
 * than that batch; core/audience.h (catching up) says how each is brought forward without counting
 * twice.
 *
 * Threads: one. */
#ifndef NOVABEAT_LIVE_STORE_H
#define NOVABEAT_LIVE_STORE_H

#include "core/engine.h"
#include "journal/entry.h"
#include "journal/journal.h"
#include "records/records.h"

#include <stdatomic.h>

struct erasure;

#define STORE_PATH_BYTES 4096

struct store {
    struct engine_config cfg; /* with its hash key */
    struct engine *engine;
    struct journal *journal;
    struct records_link *link;
    int64_t last_ms; /* engine time that everything in it was before, or 0 */
    uint64_t covered_seq;
    bool journal_remembers;   /* what was erased before a crash: turn it, write a record */
    struct erasure *erasures; /* not committed yet, by event_next; the caller's to take */
    int lock_fd;
    char where[STORE_PATH_BYTES]; /* for records_open */
};

struct store_options {
    const char *data;
    const char *records; /* "sqlite" */
    struct engine_config engine;
    uint64_t journal_segment_bytes, journal_max_bytes;
};

/* Creates the folder when it is missing.  On failure nothing stays open, and why says what is wrong
 * and where. */
enum err store_open(const struct store_options *options, struct store *store, char *why,
                    size_t why_bytes) WARN_UNUSED;
void store_close(struct store *store);
/* Set: store_open gives up soon, with ERR_STOPPED.  Any thread, also a signal's handler. */
extern atomic_bool store_open_cancel;

/* The engine's windows as the journal entry that replay takes them from: whoever appends begins
 * with it the first record after a start and after a full pass began. */
struct entry store_settings_entry(const struct engine *engine);

/* For `novabeat check`, which opens the parts by itself. */
enum err store_lock(const char *data, int *lock_fd, char *why, size_t why_bytes) WARN_UNUSED;
void store_paths(const char *data, const char *records, char journal[STORE_PATH_BYTES],
                 char where[STORE_PATH_BYTES]);

#endif
