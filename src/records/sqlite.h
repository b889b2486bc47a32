/* sqlite.h -- the SQLite backend's inside; private to this folder (and to its tests).
 *
 * Model: one file in WAL mode, so that reading goes on while something is written.  A link is one
 * connection with its prepared statements.  Every read happens in one read transaction: what a
 * function reports is of one moment.  A callback may call other functions that read over the same
 * link; they then see the same moment.
 *
 * Durability: synchronous = FULL makes COMMIT wait for the fsync of the WAL.  A failed fsync is no
 * trap here, as it is for the journal: the transaction is rolled back, and the same frames are
 * written again by the next commit, so nothing rests on pages that the kernel may have dropped.
 *
 * Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous */
#ifndef NOVABEAT_RECORDS_SQLITE_H
#define NOVABEAT_RECORDS_SQLITE_H

#include "records/backend.h"
#include "records/sqlite_statements.h"
#include "base/buffer.h"

#include <sqlite3.h>

/* "NvB1": marks the file as ours (PRAGMA application_id). */
#define SQLITE_APPLICATION_ID 0x4e764231

/* Page caches.  A sweep over an audience goes in key order and touches each page once, so a larger
 * cache would only cost memory. */
#define SQLITE_READER_CACHE_KIB 2048
#define SQLITE_WRITER_CACHE_KIB 8192

/* A page holds some 160 members.  Larger than SQLite's 4096, because members are rewritten by whole
 * stretches and a page costs a system call. */
#define SQLITE_PAGE_BYTES 8192

/* After a commit that leaves more than this in the WAL, its pages go into the file; what a large
 * commit made of the WAL beyond the limit is given back. */
#define SQLITE_CHECKPOINT_PAGES (4 * 1024 * 1024 / SQLITE_PAGE_BYTES)
#define SQLITE_WAL_BYTES_KEPT   (16 * 1024 * 1024)

/* How long a second writer (an import while the server runs) is waited for. */
#define SQLITE_BUSY_MS 5000

/* Text of one tally or group list. */
#define SQLITE_TEXT_BYTES_MAX (16 * 1024 * 1024)

struct sqlite_audience_cache;

/* Countries are two digits of base 36 (core/country.h). */
#define SQLITE_COUNTRIES (36 * 36)

/* What the virtual table changed_member shows: the members of the change at hand. */
struct sqlite_changed {
    const struct member_row *rows;
    size_t count;
    int64_t event_id, audience_id;
    /* The letters of each country, at an address that stays. */
    char countries[SQLITE_COUNTRIES][2];
};

struct sqlite_link {
    struct records_link link; /* first */
    sqlite3 *db;
    sqlite3_stmt *statements[SQLITE_STATEMENTS_COUNT]; /* prepared when first needed */
    unsigned read_depth;                               /* of nested read transactions */
    struct buffer groups, countries;                   /* the row at hand, as text or tally */
    struct sqlite_changed changed;                     /* what is being written */
    struct sqlite_audience_cache *audiences;           /* NULL until the first commit */
    bool wipe_due;                                     /* what was erased may stand in the WAL */
    int64_t retain_key, retain_start_ms;               /* viewings up to here were looked at */
    struct sqlite_source *source;                      /* profiles from elsewhere; or NULL */
};

/* The key of viewer or member `no` of the event or audience with this id. */
static inline int64_t sqlite_key(int64_t id, uint32_t no)
{
    return (int64_t)((uint64_t)id << 32 | no);
}

static inline struct sqlite_link *sqlite_link_of(struct records_link *link)
{
    return (struct sqlite_link *)link;
}

/* ---- sqlite.c: failures, statements, transactions ---- */

/* What an (extended) result code of db means. */
enum err sqlite_err(sqlite3 *db, int code);
/* Notes the database's words for the failure of `doing` and returns what it means. */
enum err sqlite_fail(struct sqlite_link *link, const char *doing);

enum err sqlite_prepare(struct sqlite_link *link, enum sqlite_statement which,
                        sqlite3_stmt **stmt) WARN_UNUSED;
/* Prepares, binds up to two integers (those that the statement has), runs. */
enum err sqlite_do(struct sqlite_link *link, enum sqlite_statement which, int64_t first,
                   int64_t second) WARN_UNUSED;
/* Runs a statement that gives no rows, and resets it. */
enum err sqlite_run(struct sqlite_link *link, sqlite3_stmt *stmt) WARN_UNUSED;
/* True: stmt stands on a row.  False: no more rows, or *err is a failure; stmt is reset. */
bool sqlite_row(struct sqlite_link *link, sqlite3_stmt *stmt, enum err *err);
/* For statements with one integer: ERR_NOT_FOUND when there is no row. */
enum err sqlite_one(struct sqlite_link *link, sqlite3_stmt *stmt, int64_t *value) WARN_UNUSED;

/* The bytes must stay until the statement is reset. */
void sqlite_bind_slice(sqlite3_stmt *stmt, int parameter, struct slice text);
void sqlite_bind_i64(sqlite3_stmt *stmt, int parameter, int64_t number);
/* A number of rows at most; 0: all. */
void sqlite_bind_limit(sqlite3_stmt *stmt, int parameter, uint64_t limit);
/* Lends until the next step or reset; NULL reads as empty. */
struct slice sqlite_column_slice(sqlite3_stmt *stmt, int column);

/* Makes the entry of a new file in its folder durable. */
enum err sqlite_sync_folder(struct sqlite_link *link, const char *path) WARN_UNUSED;

enum err sqlite_read_begin(struct sqlite_link *link) WARN_UNUSED;
void sqlite_read_end(struct sqlite_link *link);
enum err sqlite_write_begin(struct sqlite_link *link) WARN_UNUSED;
/* Commits when err is ERR_NONE, else rolls back; returns err, or why the commit failed: then
 * nothing of the transaction is stored. */
enum err sqlite_write_end(struct sqlite_link *link, enum err err) WARN_UNUSED;

/* ---- sqlite_migrate.c ---- */

struct sqlite_migration {
    const char *name; /* "001_init.sql" */
    const char *sql;
};

/* Made from sql/sqlite/ by sql/embed.cmake; the n-th (from 1) leads to version n. */
extern const struct sqlite_migration sqlite_migrations[];
extern const size_t sqlite_migrations_count;

/* Brings the schema to version `count` when `create`, else only looks at it.  Each migration is a
 * transaction.  ERR_VERSION: of a newer version, of another program, or (without create) older.
 * ERR_NOT_FOUND: without create, an empty file. */
enum err sqlite_migrate(struct sqlite_link *link, const struct sqlite_migration *migrations,
                        size_t count, bool create) WARN_UNUSED;

/* ---- sqlite_changed.c ---- */

/* Makes the table changed_member known to the link's statements. */
enum err sqlite_changed_register(struct sqlite_link *link) WARN_UNUSED;

/* ---- sqlite_wipe.c: what is deleted is to be gone ---- */

/* Registers the VFS whose files hold no stale bytes between rows; every link opens through it. */
const char *sqlite_wipe_vfs(void);
/* After a transaction that erased: moves the WAL into the file and empties it.  Never fails: what
 * could not be done now (somebody is reading) is tried again after each commit. */
void sqlite_wipe(struct sqlite_link *link);
/* Writes the file anew when a migration asks for it. */
void sqlite_rewrite_if_due(struct sqlite_link *link);

/* ---- sqlite_erase.c: inside a commit's transaction ---- */

enum err sqlite_erase(struct sqlite_link *link, struct changes *changes) WARN_UNUSED;
enum err sqlite_purge(struct sqlite_link *link, const struct purge_row *purge) WARN_UNUSED;

/* ---- sqlite_source.c: profiles from the platform's database ---- */

/* One profile, for fn; ERR_NOT_FOUND; ERR_INVALID: there is one, but it cannot be used. */
enum err sqlite_source_get(struct sqlite_link *link, struct slice event, struct slice viewer,
                           records_profile_fn *fn, void *ctx) WARN_UNUSED;
enum err sqlite_source_count(struct sqlite_link *link, struct slice event,
                             uint64_t *count) WARN_UNUSED;
void sqlite_source_fini(struct sqlite_link *link);

/* ---- the slots of backend.h ---- */

enum err sqlite_commit(struct records_link *link, struct changes *changes);
void sqlite_commit_fini(struct sqlite_link *link);
enum err sqlite_profiles_from(struct records_link *link,
                              const struct records_profile_source *source);
enum err sqlite_profile_delete(struct records_link *link, struct slice event, struct slice viewer);
enum err sqlite_wipe_now(struct records_link *link);
enum err sqlite_profiles_put(struct records_link *link, const struct profile *profiles,
                             size_t count);
enum err sqlite_covered(struct records_link *link, uint64_t *covered_seq);
enum err sqlite_live_events(struct records_link *link, records_event_fn *fn, void *ctx);
enum err sqlite_event_load(struct records_link *link, const struct engine_config *cfg,
                           struct slice event, struct event **out);
enum err sqlite_profiles_get(struct records_link *link, struct profile_lookup *lookups,
                             size_t count);
enum err sqlite_profile_get(struct records_link *link, struct slice event, struct slice viewer,
                            records_profile_fn *fn, void *ctx);
enum err sqlite_profiles_each(struct records_link *link, struct slice event,
                              struct slice after_event, struct slice after_viewer, uint64_t limit,
                              records_profile_fn *fn, void *ctx);
enum err sqlite_profiles_count(struct records_link *link, struct slice event, uint64_t *count);
enum err sqlite_events_each(struct records_link *link, struct slice after, uint64_t limit,
                            records_event_fn *fn, void *ctx);
enum err sqlite_audiences(struct records_link *link, struct slice event, struct slice session,
                          bool sessions, records_audience_fn *fn, void *ctx);
enum err sqlite_frames(struct records_link *link, struct slice event, struct slice session,
                       int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                       void *ctx);
enum err sqlite_members_each(struct records_link *link, const struct records_members_query *query,
                             uint32_t *next, records_member_fn *fn, void *ctx);
enum err sqlite_directory_put(struct records_link *link, const struct directory_entry *entries,
                              size_t count);
enum err sqlite_directory_get(struct records_link *link, struct slice event, struct slice session,
                              records_directory_fn *fn, void *ctx);
enum err sqlite_directory_sessions(struct records_link *link, struct slice event,
                                   struct slice after, uint64_t limit, records_directory_fn *fn,
                                   void *ctx);
enum err sqlite_directory_events(struct records_link *link, struct slice after, uint64_t limit,
                                 records_directory_fn *fn, void *ctx);
enum err sqlite_directory_delete(struct records_link *link, struct slice event,
                                 struct slice session);
enum err sqlite_key_put(struct records_link *link, const struct api_key_row *key);
enum err sqlite_key_delete(struct records_link *link, const char id[API_KEY_ID_BYTES]);
enum err sqlite_keys_each(struct records_link *link, records_key_fn *fn, void *ctx);
enum err sqlite_keys_version(struct records_link *link, uint64_t *version);
enum err sqlite_retain(struct records_link *link, const struct records_retention *retention,
                       uint32_t rows_max, bool *more);
enum err sqlite_idle_events(struct records_link *link, int64_t before_ms, bool people,
                            uint64_t limit, records_event_fn *fn, void *ctx);
enum err sqlite_backup(struct records_link *link, const char *path);
enum err sqlite_viewings(struct records_link *link, struct slice event, struct slice viewer,
                         int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx);
enum err sqlite_check(struct records_link *link, records_finding_fn *fn, void *ctx);

/* ---- shared readers (sqlite_read.c) ---- */

/* The number of a stored event; ERR_NOT_FOUND. */
enum err sqlite_event_id(struct sqlite_link *link, struct slice event, int64_t *id) WARN_UNUSED;
/* The numbers of an audience and its event; ERR_NOT_FOUND. */
enum err sqlite_audience_id(struct sqlite_link *link, struct slice event, struct slice session,
                            int64_t *event_id, int64_t *id) WARN_UNUSED;
/* The row under SQL_AUDIENCE_COLUMNS; text lends until the next step and the next use of the link's
 * buffers.  ERR_DAMAGED when it holds what no commit writes. */
enum err sqlite_read_audience(struct sqlite_link *link, sqlite3_stmt *stmt, int64_t *id,
                              struct audience_row *row) WARN_UNUSED;
/* The column as a number from 0 to max; *sane turns false when it is not. */
uint64_t sqlite_column_number(sqlite3_stmt *stmt, int column, uint64_t max, bool *sane);
country_t sqlite_column_country(sqlite3_stmt *stmt, int column, bool *sane);

#endif
