/* records.h -- the record store: profiles, viewings, attendance, frames, peaks.
 *
 * Model: one database (SQLite file now; PostgreSQL follows) reached over links.  A link is one
 * connection and belongs to one thread at a time; open as many as there are threads.  Any link may
 * read; at any moment at most one thread writes (commit, profile_put, profile_import): the records
 * thread of a server, or a command while no server runs.
 *
 * A commit is atomic and durable when the call returns ERR_NONE: the journal may then forget what
 * changes->covered_seq covers.  On any error nothing of it is stored and the same call may be made
 * again.
 *
 * Errors: ERR_BUSY and ERR_NOSPACE pass with time, ERR_SYNC and ERR_IO may (the next commit writes
 * again what was not confirmed); ERR_DATABASE carries the database's words, as records_why(link)
 * does for all; ERR_DAMAGED: the file is damaged or rows contradict each other; ERR_VERSION: schema
 * of another version, or another program's database.
 * Memory: slices given to callbacks borrow until the callback returns.  Ids given in are valid ids.
 * A callback that returns an error ends the call, which returns it.  It may call other functions
 * that read over the same link (and then sees the same moment), but not the one that called it, and
 * none that writes. */
#ifndef NOVABEAT_RECORDS_RECORDS_H
#define NOVABEAT_RECORDS_RECORDS_H

#include "base/err.h"
#include "base/limits.h"
#include "core/changes.h"

struct records_link;

/* where: "sqlite:/path/to/records.db" (or just a path).  create: make file and schema when missing,
 * migrate an older schema; without it the store must exist (ERR_NOT_FOUND).  ERR_INVALID: no record
 * store that is built in.  *link is NULL on error; why (may be NULL) gets the words. */
enum err records_open(const char *where, bool create, struct records_link **link, char *why,
                      size_t why_bytes) WARN_UNUSED;
void records_close(struct records_link *link);
const char *records_why(const struct records_link *link); /* of the last failure on this link */

/* ---- the records thread ---- */

/* One transaction: every row of changes, and covered_seq when it is not 0. */
enum err records_commit(struct records_link *link, const struct changes *changes) WARN_UNUSED;

struct profile {
    struct slice event, viewer;
    struct slice name;   /* may be empty */
    struct slice groups; /* packed */
};
/* Insert or replace one; or `count` in one transaction. */
enum err records_profiles_put(struct records_link *link, const struct profile *profiles,
                              size_t count) WARN_UNUSED;

/* ---- start and loading ---- */

enum err records_covered(struct records_link *link, uint64_t *covered_seq) WARN_UNUSED;

/* Events that were in memory (audience_row.idle not yet stored). */
typedef enum err records_event_fn(void *ctx, struct slice event);
enum err records_live_events(struct records_link *link, records_event_fn *fn,
                             void *ctx) WARN_UNUSED;

/* The whole event, ready for the engine to adopt; marks nothing.  ERR_NOT_FOUND: never seen. */
enum err records_event_load(struct records_link *link, const struct engine_config *cfg,
                            struct slice event, struct event **out) WARN_UNUSED;

/* One query for many waiters: looks up count profiles (of any events). */
struct profile_lookup {
    struct slice event, viewer; /* in */
    bool found;                 /* out */
    size_t groups_len;          /* out */
    char groups[GROUPS_PACKED_BYTES_MAX];
};
enum err records_profiles_get(struct records_link *link, struct profile_lookup *lookups,
                              size_t count) WARN_UNUSED;

/* ---- reading for the API ---- */

/* One profile with its name; ERR_NOT_FOUND. */
typedef enum err records_profile_fn(void *ctx, const struct profile *profile);
enum err records_profile_get(struct records_link *link, struct slice event, struct slice viewer,
                             records_profile_fn *fn, void *ctx) WARN_UNUSED;
/* Profiles in order of (event, viewer), of one event or of all (event empty), after the cursor
 * (after_event, after_viewer; both empty: from the start), at most limit (0: all). */
enum err records_profiles_each(struct records_link *link, struct slice event,
                               struct slice after_event, struct slice after_viewer, uint64_t limit,
                               records_profile_fn *fn, void *ctx) WARN_UNUSED;
enum err records_profiles_count(struct records_link *link, struct slice event,
                                uint64_t *count) WARN_UNUSED;

/* Stored events in order of id, after `after`, at most limit. */
enum err records_events_each(struct records_link *link, struct slice after, uint64_t limit,
                             records_event_fn *fn, void *ctx) WARN_UNUSED;

/* The stored aggregates of the event's audience and, with sessions = true, then those of its
 * sessions in order of id.  ERR_NOT_FOUND: never seen.  For events that are not in memory. */
typedef enum err records_audience_fn(void *ctx, const struct audience_row *row);
enum err records_audiences(struct records_link *link, struct slice event, struct slice session,
                           bool sessions, records_audience_fn *fn, void *ctx) WARN_UNUSED;

/* Frames of one audience with from_ms <= start and end <= to_ms, oldest first, at most limit. */
typedef enum err records_frame_fn(void *ctx, const struct frame_row *row);
enum err records_frames(struct records_link *link, struct slice event, struct slice session,
                        int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                        void *ctx) WARN_UNUSED;

/* All stored viewings of one viewer in the event and its sessions, in order of (start, session), at
 * most limit; with what the member rows say (country and lease of that audience).  ERR_NOT_FOUND:
 * the viewer never attended (as far as is stored). */
struct viewing_of_viewer {
    struct slice session; /* empty: the event itself */
    int64_t start_ms, end_ms;
    int64_t expiry_ms;
    country_t country;
};
typedef enum err records_viewing_fn(void *ctx, const struct viewing_of_viewer *viewing);
enum err records_viewings(struct records_link *link, struct slice event, struct slice viewer,
                          uint64_t limit, records_viewing_fn *fn, void *ctx) WARN_UNUSED;

/* ---- novabeat check ---- */

/* Runs the database's own integrity check and ours (every member has its audience, counts agree
 * with the audience rows' unless the journal holds more, viewings of one viewer do not overlap …):
 * each finding is one call.  */
typedef void records_finding_fn(void *ctx, const char *text);
enum err records_check(struct records_link *link, records_finding_fn *fn, void *ctx) WARN_UNUSED;

#endif
