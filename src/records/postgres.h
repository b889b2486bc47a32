/* postgres.h -- the PostgreSQL backend's inside; private to this folder (and to its tests).
 *
 * Model: one database, our tables in its schema "novabeat".  A link is one connection with its
 * prepared statements.  What calls back reads in one REPEATABLE READ transaction, page by page:
 * what a function reports is of one moment, also what a callback reads over the same link.
 *
 * A connection that is lost ends the call with ERR_DATABASE; the next one connects anew.  A commit
 * is the only call that can have been stored all the same: made again, it changes nothing and gets
 * the same answer (the table `erased`).  A connection that was given up while a commit was under
 * way may finish it later, when rows are newer: so each commit first asks whether its connection
 * may still write (the table `writer`).
 *
 * Durability: synchronous_commit as the server has it, but never "off".
 *
 * Source: https://www.postgresql.org/docs/15/libpq-pipeline-mode.html,
 * https://www.postgresql.org/docs/15/sql-insert.html#SQL-ON-CONFLICT */
#ifndef NOVABEAT_RECORDS_POSTGRES_H
#define NOVABEAT_RECORDS_POSTGRES_H

#include "records/backend.h"
#include "records/postgres_conn.h"
#include "records/postgres_statements.h"

/* Rows of one page of a long read, and of one statement of a commit. */
#define POSTGRES_PAGE_ROWS  4096
#define POSTGRES_BATCH_ROWS 8192

/* Text of one tally or group list. */
#define POSTGRES_TEXT_BYTES_MAX (16 * 1024 * 1024)

/* Whoever migrates the schema holds this advisory lock ("NvB1" twice). */
#define POSTGRES_MIGRATION_LOCK "5643108374529229361"

struct postgres_writer;

struct postgres_link {
    struct records_link link; /* first */
    struct postgres_conn conn;
    uint64_t prepared[POSTGRES_STATEMENTS_COUNT]; /* on which connection; 0: never */
    unsigned read_depth;                          /* of nested read transactions */
    bool writing;                                 /* inside a writing transaction */
    struct buffer groups, countries;              /* the row at hand, as text or tally */
    struct postgres_writer *writer;               /* NULL until the first commit */
    bool vacuum_due;                              /* what was erased still stands in the tables */
    int64_t retain_key, retain_start_ms;          /* viewings up to here were looked at */
};

/* The key of viewer or member `no` of the event or audience with this id. */
static inline int64_t postgres_key(int64_t id, uint32_t no)
{
    return (int64_t)((uint64_t)id << 32 | no);
}

static inline struct postgres_link *postgres_link_of(struct records_link *link)
{
    return (struct postgres_link *)link;
}

/* ---- postgres.c: statements, transactions ---- */

/* The connection's words become the link's; returns err. */
enum err postgres_fail(struct postgres_link *link, enum err err, const char *doing);

/* Makes the statement known to the connection. */
enum err postgres_prepare(struct postgres_link *link, enum postgres_statement which) WARN_UNUSED;
const char *postgres_name(enum postgres_statement which); /* static */
/* Runs it.  *result is to be cleared, NULL on error; result may be NULL.  Outside of a transaction
 * it is one of its own. */
enum err postgres_run(struct postgres_link *link, enum postgres_statement which,
                      const struct postgres_args *args, PGresult **result) WARN_UNUSED;
/* The single number that it gives; ERR_NOT_FOUND when there is no row. */
enum err postgres_one(struct postgres_link *link, enum postgres_statement which,
                      const struct postgres_args *args, int64_t *value) WARN_UNUSED;

enum err postgres_read_begin(struct postgres_link *link) WARN_UNUSED;
void postgres_read_end(struct postgres_link *link);
enum err postgres_write_begin(struct postgres_link *link) WARN_UNUSED;
/* Commits when err is ERR_NONE, else rolls back; returns err, or why the commit failed. */
enum err postgres_write_end(struct postgres_link *link, enum err err) WARN_UNUSED;

/* ---- postgres_migrate.c ---- */

struct postgres_migration {
    const char *name; /* "001_init.sql" */
    const char *sql;
};

/* Made from sql/postgresql/ by sql/embed.cmake; the n-th (from 1) leads to version n. */
extern const struct postgres_migration postgres_migrations[];
extern const size_t postgres_migrations_count;

/* Brings the schema to version `count` when `create`, else only looks at it; whoever comes second
 * waits.  ERR_VERSION: of a newer version, of another program, or (without create) older.
 * ERR_NOT_FOUND: without create, no schema. */
enum err postgres_migrate(struct postgres_link *link, const struct postgres_migration *migrations,
                          size_t count, bool create) WARN_UNUSED;

/* ---- postgres_erase.c: inside a commit's transaction ---- */

enum err postgres_erase(struct postgres_link *link, struct changes *changes) WARN_UNUSED;
enum err postgres_purge(struct postgres_link *link, const struct purge_row *purge) WARN_UNUSED;
/* After it: what was deleted goes from the tables' pages, as far as no other transaction still sees
 * it.  Never fails: what could not be done is tried again after the next commit that erases. */
void postgres_vacuum(struct postgres_link *link);

/* ---- shared readers (postgres_read.c) ---- */

/* The number of a stored event; ERR_NOT_FOUND. */
enum err postgres_event_id(struct postgres_link *link, struct slice event, int64_t *id) WARN_UNUSED;
/* The numbers of an audience and its event; ERR_NOT_FOUND. */
enum err postgres_audience_id(struct postgres_link *link, struct slice event, struct slice session,
                              int64_t *event_id, int64_t *id) WARN_UNUSED;
/* A row of PG_AUDIENCE_COLUMNS; text lends until the result is cleared and the next use of the
 * link's buffers.  ERR_DAMAGED when it holds what no commit writes. */
enum err postgres_read_audience(struct postgres_link *link, const PGresult *result, int at,
                                int64_t *id, struct audience_row *row) WARN_UNUSED;
/* The column as a number from 0 to max; *sane turns false when it is not. */
uint64_t postgres_column_number(const PGresult *result, int row, int column, uint64_t max,
                                bool *sane);
country_t postgres_column_country(const PGresult *result, int row, int column, bool *sane);

/* ---- the slots of backend.h ---- */

enum err postgres_commit(struct records_link *link, struct changes *changes);
void postgres_commit_fini(struct postgres_link *link);
enum err postgres_profile_delete(struct records_link *link, struct slice event,
                                 struct slice viewer);
enum err postgres_wipe_now(struct records_link *link);
enum err postgres_profiles_put(struct records_link *link, const struct profile *profiles,
                               size_t count);
enum err postgres_covered(struct records_link *link, uint64_t *covered_seq);
enum err postgres_live_events(struct records_link *link, records_event_fn *fn, void *ctx);
enum err postgres_event_load(struct records_link *link, const struct engine_config *cfg,
                             struct slice event, struct event **out);
enum err postgres_profiles_get(struct records_link *link, struct profile_lookup *lookups,
                               size_t count);
enum err postgres_profile_get(struct records_link *link, struct slice event, struct slice viewer,
                              records_profile_fn *fn, void *ctx);
enum err postgres_profiles_each(struct records_link *link, struct slice event,
                                struct slice after_event, struct slice after_viewer, uint64_t limit,
                                records_profile_fn *fn, void *ctx);
enum err postgres_profiles_count(struct records_link *link, struct slice event, uint64_t *count);
enum err postgres_events_each(struct records_link *link, struct slice after, uint64_t limit,
                              records_event_fn *fn, void *ctx);
enum err postgres_audiences(struct records_link *link, struct slice event, struct slice session,
                            bool sessions, records_audience_fn *fn, void *ctx);
enum err postgres_frames(struct records_link *link, struct slice event, struct slice session,
                         int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                         void *ctx);
enum err postgres_members_each(struct records_link *link, const struct records_members_query *query,
                               uint32_t *next, records_member_fn *fn, void *ctx);
enum err postgres_directory_put(struct records_link *link, const struct directory_entry *entries,
                                size_t count);
enum err postgres_directory_get(struct records_link *link, struct slice event, struct slice session,
                                records_directory_fn *fn, void *ctx);
enum err postgres_directory_sessions(struct records_link *link, struct slice event,
                                     struct slice after, uint64_t limit, records_directory_fn *fn,
                                     void *ctx);
enum err postgres_directory_events(struct records_link *link, struct slice after, uint64_t limit,
                                   records_directory_fn *fn, void *ctx);
enum err postgres_directory_delete(struct records_link *link, struct slice event,
                                   struct slice session);
enum err postgres_key_put(struct records_link *link, const struct api_key_row *key);
enum err postgres_key_delete(struct records_link *link, const char id[API_KEY_ID_BYTES]);
enum err postgres_keys_each(struct records_link *link, records_key_fn *fn, void *ctx);
enum err postgres_keys_version(struct records_link *link, uint64_t *version);
enum err postgres_retain(struct records_link *link, const struct records_retention *retention,
                         uint32_t rows_max, bool *more);
enum err postgres_idle_events(struct records_link *link, int64_t before_ms, bool people,
                              uint64_t limit, records_event_fn *fn, void *ctx);
enum err postgres_backup(struct records_link *link, const char *path);
enum err postgres_viewings(struct records_link *link, struct slice event, struct slice viewer,
                           int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx);
enum err postgres_check(struct records_link *link, records_finding_fn *fn, void *ctx);

#endif
