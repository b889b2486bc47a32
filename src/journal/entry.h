/* entry.h -- the entries inside a journal record: the engine's inputs, in their order.
 *
 * Format: docs/JOURNAL.md, section 4.  Encoding is by hand, little-endian, no struct layout.
 * What is encoded is valid (heartbeat.h); what is decoded was checked.  Pure; any thread. */
#ifndef NOVABEAT_JOURNAL_ENTRY_H
#define NOVABEAT_JOURNAL_ENTRY_H

#include "base/err.h"
#include "core/heartbeat.h"

enum entry_kind {
    ENTRY_HEARTBEAT = 1, /* heartbeat: all fields */
    ENTRY_PROFILE = 2,   /* event, viewer, groups: a profile was loaded, refreshed or put */
    ENTRY_SETTINGS = 3,  /* the settings that the engine's answers rest on, from here on */
    ENTRY_TIME = 4,      /* what follows in this record is so many ms later: a replayed trace */
    ENTRY_ERASE = 5,     /* event, viewer: the viewer is forgotten */
    ENTRY_PURGE = 6,     /* event, keep_statistics: the event, or all its viewers, are forgotten */
};

/* The settings that change what a heartbeat does (DESIGN, semantics), all in ms: at least 0, the
 * frame at least 1. */
struct entry_settings {
    int64_t alive_window_ms, hidden_window_ms, leaving_window_ms, viewing_gap_ms, frame_ms;
};

struct entry {
    enum entry_kind kind;
    struct heartbeat heartbeat;     /* HEARTBEAT; PROFILE uses event, viewer, groups */
    struct entry_settings settings; /* SETTINGS */
    uint32_t later_ms;              /* TIME: at least 1 */
    bool keep_statistics;           /* PURGE; ERASE and PURGE use heartbeat's event and viewer */
};

/* Bytes that encoding takes: at most JOURNAL_ENTRY_BYTES_MAX. */
size_t entry_bytes(const struct entry *entry);

/* Writes the entry at out (room for entry_bytes) and returns the bytes written. */
size_t entry_encode(const struct entry *entry, char *out);
/* The same for the hot kind, without building an entry. */
size_t entry_heartbeat_bytes(const struct heartbeat *heartbeat);
size_t entry_heartbeat_encode(const struct heartbeat *heartbeat, char *out);

/* Takes the next entry off the front of a payload.  ERR_NOT_FOUND at the end; ERR_DAMAGED when the
 * bytes are no entry (also ids, groups or a country that are invalid: core/ids.h, groups_valid);
 * ERR_VERSION when its kind is one of a later Novabeat.  On any of these *rest stays as it was.
 * The slices in *entry borrow from the payload; parts that its kind does not use are empty or 0. */
enum err entry_next(struct slice *rest, struct entry *entry) WARN_UNUSED;

#endif
