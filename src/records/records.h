/* records.h -- the record store: profiles, viewings, attendance, frames, peaks.
 *
 * Model: one database (an SQLite file, or PostgreSQL) reached over links.  A link is one
 * connection and belongs to one thread at a time; open as many as there are threads.  Any link may
 * read.  At any moment at most one thread commits and retains: the records thread of a server, or a
 * command while no server runs.  Profiles, directory entries and keys may be put by others beside
 * it: whoever comes second waits some seconds, then gets ERR_BUSY.
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

/* where: "sqlite:/path/to/records.db" (or just a path), or a connection URI
 * "postgresql://user@host:port/database" as libpq takes it.  create: make file and schema when
 * missing, migrate an older schema; without it the store must exist (ERR_NOT_FOUND).  ERR_INVALID:
 * no record store that is built in.  *link is NULL on error; why (may be NULL) gets the words,
 * which never say a password.  PostgreSQL must be there now; later a connection that was lost is
 * made anew by the next call. */
enum err records_open(const char *where, bool create, struct records_link **link, char *why,
                      size_t why_bytes) WARN_UNUSED;
void records_close(struct records_link *link);
/* where, for people and logs: without the password of a connection URI.  Cut to bytes. */
void records_label(const char *where, char *label, size_t bytes);
const char *records_why(const struct records_link *link); /* of the last failure on this link */

/* ---- the records thread ---- */

/* One transaction: every row of changes, then its erasures and purges, and covered_seq when it is
 * not 0.  changes->erased gets the earlier viewings that went with erased viewers; they are already
 * subtracted from the stored audience rows.  (So in SQLite a commit that erases is made once;
 * others may be made again.  With PostgreSQL an error may mean that the answer was lost and all of
 * it is stored: made again, any commit changes nothing and gets the same answer.)  What is erased
 * is then wiped from the files' bytes; that is put off, and tried again with each commit, while
 * somebody reads: records_wipe tells. A purged event is found by nothing from then on; its rows go
 * with records_retain. ERR_DAMAGED also: an erasure's viewer_no is another viewer's. */
enum err records_commit(struct records_link *link, struct changes *changes) WARN_UNUSED;

/* Where profiles come from instead of the table in the store: the platform's own database.  Call
 * once per link that looks profiles up, after records_open.  database: path of an SQLite file, only
 * with records in SQLite, or "postgresql://…"; only read either way.  query: one SELECT with the
 * parameters :event and :viewer that gives at most one row of (name, groups), or of (groups), or of
 * (name, groups) in any order when the columns are so named; groups: a JSON array of strings, or
 * text with commas, or NULL.  count_query: one SELECT with :event that gives one number; NULL:
 * records_profiles_count answers ERR_NOT_FOUND.  ERR_INVALID, with words in records_why: what is
 * wrong with which of them. Look-ups then answer ERR_DATABASE, with words, for a row that cannot be
 * used (records_profiles_get and records_members_each go on without it), and records_profiles_put
 * and _each ERR_INVALID. */
struct records_profile_source {
    const char *database, *query, *count_query;
};
enum err records_profiles_from(struct records_link *link,
                               const struct records_profile_source *source) WARN_UNUSED;

struct profile {
    struct slice event, viewer;
    struct slice name;   /* may be empty */
    struct slice groups; /* packed */
};
/* Insert or replace one; or `count` in one transaction. */
enum err records_profiles_put(struct records_link *link, const struct profile *profiles,
                              size_t count) WARN_UNUSED;

/* Deletes one profile of the store's own table; ERR_NOT_FOUND: there was none. */
enum err records_profile_delete(struct records_link *link, struct slice event,
                                struct slice viewer) WARN_UNUSED;
/* What was deleted leaves the bytes of the files too.  ERR_BUSY: somebody reads what was before;
 * call again. */
enum err records_wipe(struct records_link *link) WARN_UNUSED;

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
    bool broken;       /* out: not found, because its row elsewhere cannot be used (it is logged) */
    size_t groups_len; /* out */
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

/* Members of one audience in order of member_no with all their viewings: what reports and
 * statistics are made of.  Erased ones are passed over.  Two sorted scans merged, so a page costs
 * what it holds.  ERR_NONE without a call: nobody was seen. */
enum records_members_want {
    MEMBERS_WANT_VIEWER = 1, /* viewer, groups (of its profile, as last known) */
    MEMBERS_WANT_NAME = 2,   /* name: one look-up of its profile each */
};
struct records_members_query {
    struct slice event, session;
    uint32_t first;    /* member_no to begin with */
    uint32_t rows_max; /* members looked at; 0: all */
    unsigned want;
};
struct records_viewing_span {
    int64_t start_ms, end_ms;
};
struct records_member {
    uint32_t member_no;
    struct slice viewer, name, groups; /* groups packed; empty unless wanted */
    country_t country;
    int64_t expiry_ms;
    const struct records_viewing_span *viewings; /* oldest first; the last one is the latest */
    uint32_t viewings_count;                     /* at least 1 */
};
typedef enum err records_member_fn(void *ctx, const struct records_member *member);
/* *next: the member_no to go on with; UINT32_MAX: that was the end. */
enum err records_members_each(struct records_link *link, const struct records_members_query *query,
                              uint32_t *next, records_member_fn *fn, void *ctx) WARN_UNUSED;

/* ---- the directory: what an organiser says about events and sessions beforehand ---- */

struct directory_entry {
    struct slice event, session; /* session empty: the event itself */
    struct slice title;          /* may be empty */
    int64_t start_ms;            /* 0: not said */
};
typedef enum err records_directory_fn(void *ctx, const struct directory_entry *entry);
/* Insert or replace, in one transaction. */
enum err records_directory_put(struct records_link *link, const struct directory_entry *entries,
                               size_t count) WARN_UNUSED;
/* One entry; ERR_NOT_FOUND. */
enum err records_directory_get(struct records_link *link, struct slice event, struct slice session,
                               records_directory_fn *fn, void *ctx) WARN_UNUSED;
/* Declared sessions of an event in order of id, after `after`, at most limit (0: all). */
enum err records_directory_sessions(struct records_link *link, struct slice event,
                                    struct slice after, uint64_t limit, records_directory_fn *fn,
                                    void *ctx) WARN_UNUSED;
/* Declared or ever seen events in order of id, after `after`, at most limit (0: all); those that
 * were only seen have neither title nor start. */
enum err records_directory_events(struct records_link *link, struct slice after, uint64_t limit,
                                  records_directory_fn *fn, void *ctx) WARN_UNUSED;
/* The entry alone, not what was counted; ERR_NOT_FOUND. */
enum err records_directory_delete(struct records_link *link, struct slice event,
                                  struct slice session) WARN_UNUSED;

/* ---- API keys ---- */

#define API_KEY_ID_BYTES   12 /* characters, A-Z a-z 0-9 */
#define API_KEY_HASH_BYTES 32
struct api_key_row {
    char id[API_KEY_ID_BYTES];
    unsigned char hash[API_KEY_HASH_BYTES]; /* identity/api_key.h: the secret itself is not kept */
    unsigned roles;                         /* bits of identity/api_key.h */
    struct slice event;                     /* empty: all events */
    struct slice name;                      /* what it is for; may be empty */
    int64_t created_ms;
};
typedef enum err records_key_fn(void *ctx, const struct api_key_row *key);
enum err records_key_put(struct records_link *link, const struct api_key_row *key) WARN_UNUSED;
enum err records_key_delete(struct records_link *link, const char id[API_KEY_ID_BYTES]) WARN_UNUSED;
enum err records_keys_each(struct records_link *link, records_key_fn *fn, void *ctx) WARN_UNUSED;
/* Grows with every put and delete, by whatever process; 0: there never was a key.  Cheap. */
enum err records_keys_version(struct records_link *link, uint64_t *version) WARN_UNUSED;

/* ---- retention ---- */

/* A short transaction.  Deletes at most rows_max rows (> 0) of what is detached (purged events), of
 * earlier viewings that ended before viewings_before_ms and of frames that ended before
 * frames_before_ms (0: none of these).  Figures stay as they are.  *more: call again, there is or
 * may be more: viewings are looked through in pieces, call by call of the same link.
 * Any age is safe: viewings that end while a start catches up with the journal are not kept. */
struct records_retention {
    int64_t viewings_before_ms, frames_before_ms;
    uint64_t *rows; /* out: how many were deleted; may be NULL */
};
enum err records_retain(struct records_link *link, const struct records_retention *retention,
                        uint32_t rows_max, bool *more) WARN_UNUSED;
/* Events that are not in memory, whose newest figure is from before before_ms and covered by the
 * journal position, and that by the directory do not start later (nor a session of them); people:
 * only those that still have viewers or profiles stored.  Oldest first, at most limit. */
enum err records_idle_events(struct records_link *link, int64_t before_ms, bool people,
                             uint64_t limit, records_event_fn *fn, void *ctx) WARN_UNUSED;

/* ---- backup ---- */

/* A copy of the whole store as of one moment into a new file, while others read and write.  On the
 * disk when it returns ERR_NONE; else there is no such file.  ERR_INVALID: there is one already, or
 * the store is in PostgreSQL, which has pg_dump. */
enum err records_backup(struct records_link *link, const char *path) WARN_UNUSED;

/* All stored viewings of one viewer in the event and its sessions, in order of (start, session), at
 * most limit; with what the member rows say (country and lease of that audience).  viewer_no: what
 * the engine knows it by, which spares a scan of the event's viewers; -1: not known.
 * ERR_NOT_FOUND: the viewer never attended (as far as is stored). */
struct viewing_of_viewer {
    struct slice session; /* empty: the event itself */
    int64_t start_ms, end_ms;
    int64_t expiry_ms;
    country_t country;
};
typedef enum err records_viewing_fn(void *ctx, const struct viewing_of_viewer *viewing);
enum err records_viewings(struct records_link *link, struct slice event, struct slice viewer,
                          int64_t viewer_no, uint64_t limit, records_viewing_fn *fn,
                          void *ctx) WARN_UNUSED;

/* ---- novabeat check ---- */

/* Runs the database's own integrity check and ours (every member has its audience, counts agree
 * with the audience rows' unless the journal holds more, viewings of one viewer do not overlap …):
 * each finding is one call.  */
typedef void records_finding_fn(void *ctx, const char *text);
enum err records_check(struct records_link *link, records_finding_fn *fn, void *ctx) WARN_UNUSED;

#endif
