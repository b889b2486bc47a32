/* postgres_conn.h -- one connection to PostgreSQL that comes back when it was lost; private to this
 * folder (and to its tests).
 *
 * Model: libpq in non-blocking mode, because only then can an answer be waited for with a limit: a
 * server that was stopped (or whose host is gone) says nothing at all.  Whoever waits longer than
 * answer_ms gives the connection up.  A connection that was lost is made anew by the next
 * postgres_conn_ready; one that was refused is not tried again for RETRY_MS.
 *
 * Results are binary, arguments too.  Words of failures never contain the password.
 * Memory:  results are whole in memory: callers ask in pages.
 * Threads: one owner at a time; calls block.
 * Source:  https://www.postgresql.org/docs/15/libpq.html, sections 34.3 to 34.5. */
#ifndef NOVABEAT_RECORDS_POSTGRES_CONN_H
#define NOVABEAT_RECORDS_POSTGRES_CONN_H

#include "base/buffer.h"
#include "base/err.h"

#include <libpq-fe.h>

#define POSTGRES_WHY_BYTES 512

/* Unless the connection URI says otherwise.  A peer that is gone is noticed by TCP within 30 s also
 * where nobody waits. */
#define POSTGRES_CONNECT_S "5"

/* A statement that takes longer is ended by the server; an answer that takes longer than that and a
 * little is not waited for. */
#define POSTGRES_STATEMENT_MS 20000
#define POSTGRES_ANSWER_MS    (POSTGRES_STATEMENT_MS + 5000)

/* Another's lock is waited for so long, as for SQLite's. */
#define POSTGRES_LOCK_MS 5000

/* After a failure to connect the next try is not before this. */
#define POSTGRES_RETRY_MS 300

struct postgres_conn {
    PGconn *db;           /* NULL: not connected */
    const char *setup;    /* statements run at each start of a connection; static */
    char *uri;            /* owned */
    uint64_t connections; /* made so far; what was prepared on an earlier one is gone */
    int64_t retry_at_ms;  /* monotonic */
    int64_t answer_ms;    /* how long an answer is waited for */
    enum err refused;     /* of the last try to connect */
    char sqlstate[6];     /* of the last failure that the server told; else "" */
    char why[POSTGRES_WHY_BYTES];
};

/* Copies uri; connects not yet. */
void postgres_conn_init(struct postgres_conn *conn, const char *uri, const char *setup);
void postgres_conn_fini(struct postgres_conn *conn);

/* Connected, as far as can be known without asking: connects when it is not.  Not inside a
 * transaction. */
enum err postgres_conn_ready(struct postgres_conn *conn) WARN_UNUSED;
/* Gives the connection up; the words say why. */
enum err postgres_conn_lose(struct postgres_conn *conn, const char *why);

/* ---- arguments ---- */

#define POSTGRES_ARGS_MAX 16

struct postgres_args {
    int count;
    const char *values[POSTGRES_ARGS_MAX];
    int lengths[POSTGRES_ARGS_MAX];
    int formats[POSTGRES_ARGS_MAX];
    char numbers[POSTGRES_ARGS_MAX][8];
};

/* The bytes are borrowed until the statement was sent. */
void postgres_arg_text(struct postgres_args *args, struct slice text);
void postgres_arg_i64(struct postgres_args *args, int64_t number); /* bigint */
/* A number of rows at most; 0: all. */
void postgres_arg_limit(struct postgres_args *args, uint64_t limit);

/* An array in the making: one dimension, no NULLs.  Source: array_recv in PostgreSQL's
 * src/backend/utils/adt/arrayfuncs.c. */
enum postgres_type { POSTGRES_I64 = 20, POSTGRES_I32 = 23, POSTGRES_TEXT = 25 };
struct postgres_array {
    struct buffer bytes;
    enum postgres_type type;
    uint32_t count;
};
void postgres_array_init(struct postgres_array *array, enum postgres_type type);
void postgres_array_fini(struct postgres_array *array);
void postgres_array_reset(struct postgres_array *array);
void postgres_array_i64(struct postgres_array *array, int64_t number);
void postgres_array_i32(struct postgres_array *array, int32_t number);
void postgres_array_text(struct postgres_array *array, struct slice text);
/* Lends until the array's next use.  It must hold something (BUFFER_OK, count > 0). */
void postgres_arg_array(struct postgres_args *args, struct postgres_array *array);

/* ---- statements ---- */

/* Makes the prepared statement `name`.  types: OIDs of the first types_count parameters; NULL. */
enum err postgres_conn_prepare(struct postgres_conn *conn, const char *name, const char *sql,
                               const Oid *types, int types_count) WARN_UNUSED;
/* Runs a prepared statement.  *result: to be cleared by the caller; NULL on error. */
enum err postgres_conn_run(struct postgres_conn *conn, const char *name,
                           const struct postgres_args *args, bool binary,
                           PGresult **result) WARN_UNUSED;
/* Runs SQL text without parameters (several statements are one transaction).  result may be NULL.
 */
enum err postgres_conn_text(struct postgres_conn *conn, const char *sql,
                            PGresult **result) WARN_UNUSED;

/* Many statements, one answer: nothing is waited for until the end.  *sent counts them. */
enum err postgres_pipe_begin(struct postgres_conn *conn) WARN_UNUSED;
enum err postgres_pipe_text(struct postgres_conn *conn, const char *sql,
                            uint32_t *sent) WARN_UNUSED;
enum err postgres_pipe_run(struct postgres_conn *conn, const char *name,
                           const struct postgres_args *args, bool binary,
                           uint32_t *sent) WARN_UNUSED;
/* Takes all answers; the first failure is the pipe's.  each (may be NULL) gets the good ones with
 * their number; what it returns ends nothing but is returned. */
typedef enum err postgres_pipe_fn(void *ctx, uint32_t number, PGresult *result);
enum err postgres_pipe_end(struct postgres_conn *conn, uint32_t sent, postgres_pipe_fn *each,
                           void *ctx) WARN_UNUSED;

/* ---- results ---- */

/* bigint, integer, smallint or boolean; NULL reads as 0. */
int64_t postgres_i64(const PGresult *result, int row, int column);
/* Lends until the result is cleared; NULL reads as empty. */
struct slice postgres_text(const PGresult *result, int row, int column);

#endif
