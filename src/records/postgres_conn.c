/* postgres_conn.c -- connecting, waiting with a limit, arguments and results. */
#include "records/postgres_conn.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* Statements of one array: what a message can hold is a gigabyte, what we send is far less. */
#define ARRAY_BYTES_MAX (256u << 20)

/* Array header: dimensions, "has NULLs", type, length, first index. */
#define ARRAY_HEADER_BYTES 20

/* ---- words ---- */

/* The first line of libpq's words, without the password whatever it may be part of. */
static void note(struct postgres_conn *conn, const char *what, const char *words,
                 const char *password)
{
    size_t len = strcspn(words, "\r\n");
    snprintf(conn->why, sizeof conn->why, "%s%s%.*s", what, what[0] == '\0' ? "" : ": ", (int)len,
             words);
    size_t secret = password == NULL ? 0 : strlen(password);
    for (char *at = conn->why; secret > 0 && (at = strstr(at, password)) != NULL;) {
        const size_t rest = strlen(at + secret);
        at[0] = '*';
        memmove(at + 1, at + secret, rest + 1);
        at++;
    }
}

enum err postgres_conn_lose(struct postgres_conn *conn, const char *why)
{
    if (conn->db != NULL) {
        if (why != conn->why) {
            note(conn, "", why, PQpass(conn->db));
        }
        PQfinish(conn->db);
        conn->db = NULL;
    }
    conn->sqlstate[0] = '\0';
    return ERR_DATABASE;
}

static enum err lost(struct postgres_conn *conn, const char *what)
{
    note(conn, what, PQerrorMessage(conn->db), PQpass(conn->db));
    return postgres_conn_lose(conn, conn->why);
}

/* What an SQLSTATE means: https://www.postgresql.org/docs/15/errcodes-appendix.html */
static enum err sqlstate_err(const char *state)
{
    if (strcmp(state, "53100") == 0) {
        return ERR_NOSPACE;
    }
    if (strcmp(state, "55P03") == 0 || strncmp(state, "40", 2) == 0) {
        return ERR_BUSY; /* a lock that was not had in time; a deadlock */
    }
    if (strcmp(state, "XX001") == 0 || strcmp(state, "XX002") == 0) {
        return ERR_DAMAGED;
    }
    return strcmp(state, "58030") == 0 ? ERR_IO : ERR_DATABASE;
}

static enum err told(struct postgres_conn *conn, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *words = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    words = words == NULL ? PQresultErrorMessage(result) : words;
    state = state == NULL ? "" : state;
    if (PQresultStatus(result) == PGRES_EMPTY_QUERY) { /* no error to PostgreSQL */
        words = "the statement is empty";
        state = "03000";
    }
    snprintf(conn->sqlstate, sizeof conn->sqlstate, "%s", state);
    char with_state[POSTGRES_WHY_BYTES];
    snprintf(with_state, sizeof with_state, "%.400s%s%.5s%s", words, state[0] == '\0' ? "" : " (",
             state, state[0] == '\0' ? "" : ")");
    note(conn, "postgresql", with_state, conn->db == NULL ? NULL : PQpass(conn->db));
    return sqlstate_err(state);
}

/* ---- connecting ---- */

void postgres_conn_init(struct postgres_conn *conn, const char *uri, const char *setup)
{
    *conn = (struct postgres_conn){.setup = setup, .answer_ms = POSTGRES_ANSWER_MS};
    size_t bytes = strlen(uri) + 1;
    conn->uri = memory_alloc(bytes);
    memcpy(conn->uri, uri, bytes);
}

void postgres_conn_fini(struct postgres_conn *conn)
{
    PQfinish(conn->db); /* NULL is fine */
    free(conn->uri);
    *conn = (struct postgres_conn){0};
}

/* libpq's words for a URI that it does not take may hold all of it: they are used only when there
 * is nothing to hide. */
static enum err bad_uri(struct postgres_conn *conn)
{
    char *words = NULL;
    PQconninfoOption *options = PQconninfoParse(conn->uri, &words);
    enum err err = ERR_NONE;
    if (options == NULL) {
        const bool secret = strchr(conn->uri, '@') != NULL || strstr(conn->uri, "password") != NULL;
        note(conn, "no connection URI like postgresql://USER@HOST:PORT/DATABASE",
             secret || words == NULL ? "its syntax is not understood" : words, NULL);
        err = ERR_INVALID;
    }
    PQfreemem(words);
    PQconninfoFree(options);
    return err;
}

/* Later keywords win: what the URI says counts before what stands before it. */
static PGconn *start(const char *uri)
{
    static const char *const keywords[] = {
        "fallback_application_name",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "dbname",
        "client_encoding",
        NULL,
    };
    const char *const values[] = {
        "novabeat", POSTGRES_CONNECT_S, "1", "15", "5", "3", "30000", uri, "UTF8", NULL,
    };
    return PQconnectdbParams(keywords, values, 1);
}

/* libpq would print to stderr what a server says before it goes; the failure that follows is told.
 */
static void ignore_notice(void *ctx, const PGresult *notice)
{
    (void)ctx, (void)notice;
}

static enum err connect_now(struct postgres_conn *conn)
{
    enum err err = bad_uri(conn);
    if (err != ERR_NONE) {
        return err;
    }
    conn->db = start(conn->uri);
    if (conn->db == NULL || PQstatus(conn->db) != CONNECTION_OK) {
        return conn->db == NULL ? ERR_MEMORY : lost(conn, "postgresql");
    }
    const char *encoding = PQparameterStatus(conn->db, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        return postgres_conn_lose(
            conn,
            "postgresql: the database's encoding is not UTF8: create it with ENCODING 'UTF8'");
    }
    conn->connections++;
    PQsetNoticeReceiver(conn->db, ignore_notice, NULL);
    PQsetnonblocking(conn->db, 1);
    err = postgres_conn_text(conn, conn->setup, NULL);
    if (err != ERR_NONE && conn->db != NULL) {
        PQfinish(conn->db);
        conn->db = NULL;
    }
    return err;
}

/* A server that was stopped in good order, or died, has closed its side: then what comes is the
 * end.  (Between statements it sends nothing else but notices.) */
static bool alive(struct postgres_conn *conn)
{
    struct pollfd waiting = {.fd = PQsocket(conn->db), .events = POLLIN};
    while (poll(&waiting, 1, 0) > 0) {
        if (PQconsumeInput(conn->db) == 0 || PQstatus(conn->db) != CONNECTION_OK ||
            (waiting.revents & (POLLERR | POLLNVAL)) != 0) {
            return false;
        }
    }
    return PQtransactionStatus(conn->db) == PQTRANS_IDLE;
}

enum err postgres_conn_ready(struct postgres_conn *conn)
{
    if (conn->db != NULL && alive(conn)) {
        return ERR_NONE;
    }
    if (conn->db != NULL) {
        postgres_conn_lose(conn, "postgresql: the connection was lost");
    }
    if (clock_mono_ms() < conn->retry_at_ms) {
        return conn->refused; /* and its words stay */
    }
    enum err err = connect_now(conn);
    if (err != ERR_NONE) {
        conn->refused = err;
        conn->retry_at_ms = clock_mono_ms() + POSTGRES_RETRY_MS;
    }
    return err;
}

/* ---- waiting ---- */

/* Something came, or something can be sent. */
static enum err wait_for(struct postgres_conn *conn, short events, int64_t until_ms)
{
    struct pollfd waiting = {.fd = PQsocket(conn->db), .events = events};
    for (;;) {
        int64_t left_ms = until_ms - clock_mono_ms();
        int ready = left_ms <= 0 ? 0 : poll(&waiting, 1, left_ms > 60000 ? 60000 : (int)left_ms);
        if (ready > 0) {
            break;
        }
        if (ready < 0 && errno != EINTR) {
            return postgres_conn_lose(conn, "postgresql: waiting for the server failed");
        }
        if (left_ms <= 0) {
            return postgres_conn_lose(conn, "postgresql: the server did not answer in time");
        }
    }
    if ((waiting.revents & ~POLLOUT) != 0 && PQconsumeInput(conn->db) == 0) {
        return lost(conn, "postgresql: the connection was lost");
    }
    return ERR_NONE;
}

/* All that was sent is on its way; what comes meanwhile is taken in, or both sides could wait. */
static enum err flush(struct postgres_conn *conn)
{
    const int64_t until_ms = clock_mono_ms() + conn->answer_ms;
    for (int left; (left = PQflush(conn->db)) != 0;) {
        if (left < 0) {
            return lost(conn, "postgresql: the connection was lost");
        }
        enum err err = wait_for(conn, POLLIN | POLLOUT, until_ms);
        if (err != ERR_NONE) {
            return err;
        }
    }
    return ERR_NONE;
}

/* The next result; *result NULL: the statement's last one was had. */
static enum err next_result(struct postgres_conn *conn, PGresult **result)
{
    const int64_t until_ms = clock_mono_ms() + conn->answer_ms;
    while (PQisBusy(conn->db)) {
        enum err err = wait_for(conn, POLLIN, until_ms);
        if (err != ERR_NONE) {
            return err;
        }
    }
    *result = PQgetResult(conn->db);
    return ERR_NONE;
}

static bool good(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
}

/* What was sent is answered: the last good result goes to *out (may be NULL), the first failure is
 * noted. */
static enum err take_answer(struct postgres_conn *conn, PGresult **out)
{
    enum err failure = ERR_NONE, err = flush(conn);
    PGresult *kept = NULL, *result = NULL;
    while (err == ERR_NONE && (err = next_result(conn, &result)) == ERR_NONE && result != NULL) {
        if (good(result)) {
            PQclear(kept);
            kept = result;
            continue;
        }
        failure = failure == ERR_NONE ? told(conn, result) : failure;
        PQclear(result);
        if (PQstatus(conn->db) != CONNECTION_OK) {
            err = postgres_conn_lose(conn, conn->why);
        }
    }
    err = err == ERR_NONE ? failure : err;
    if (err != ERR_NONE || out == NULL) {
        PQclear(kept);
        kept = NULL;
    }
    if (out != NULL) {
        *out = kept;
    }
    ASSERT(err != ERR_NONE || out == NULL || kept != NULL);
    return err;
}

static enum err gone(struct postgres_conn *conn)
{
    /* The words of what lost it stay. */
    if (conn->why[0] == '\0') {
        snprintf(conn->why, sizeof conn->why, "postgresql: the connection was lost");
    }
    return ERR_DATABASE;
}

/* ---- statements ---- */

enum err postgres_conn_prepare(struct postgres_conn *conn, const char *name, const char *sql,
                               const Oid *types, int types_count)
{
    if (conn->db == NULL) {
        return gone(conn);
    }
    if (!PQsendPrepare(conn->db, name, sql, types_count, types)) {
        return lost(conn, "postgresql");
    }
    return take_answer(conn, NULL);
}

enum err postgres_conn_run(struct postgres_conn *conn, const char *name,
                           const struct postgres_args *args, bool binary, PGresult **result)
{
    *result = NULL;
    if (conn->db == NULL) {
        return gone(conn);
    }
    if (!PQsendQueryPrepared(conn->db, name, args->count, args->values, args->lengths,
                             args->formats, binary)) {
        return lost(conn, "postgresql");
    }
    return take_answer(conn, result);
}

enum err postgres_conn_text(struct postgres_conn *conn, const char *sql, PGresult **result)
{
    if (result != NULL) {
        *result = NULL;
    }
    if (conn->db == NULL) {
        return gone(conn);
    }
    return !PQsendQuery(conn->db, sql) ? lost(conn, "postgresql") : take_answer(conn, result);
}

/* ---- pipelines ---- */

enum err postgres_pipe_begin(struct postgres_conn *conn)
{
    if (conn->db == NULL) {
        return gone(conn);
    }
    return PQenterPipelineMode(conn->db) ? ERR_NONE : lost(conn, "postgresql: pipelining");
}

enum err postgres_pipe_text(struct postgres_conn *conn, const char *sql, uint32_t *sent)
{
    if (conn->db == NULL) {
        return gone(conn);
    }
    ++*sent;
    return PQsendQueryParams(conn->db, sql, 0, NULL, NULL, NULL, NULL, 1)
               ? flush(conn)
               : lost(conn, "postgresql");
}

enum err postgres_pipe_run(struct postgres_conn *conn, const char *name,
                           const struct postgres_args *args, bool binary, uint32_t *sent)
{
    if (conn->db == NULL) {
        return gone(conn);
    }
    ++*sent;
    return PQsendQueryPrepared(conn->db, name, args->count, args->values, args->lengths,
                               args->formats, binary)
               ? flush(conn)
               : lost(conn, "postgresql");
}

/* One statement's answer in a pipeline. */
static enum err take_piped(struct postgres_conn *conn, uint32_t number, postgres_pipe_fn *each,
                           void *ctx, enum err *failure)
{
    PGresult *result = NULL;
    enum err err;
    while ((err = next_result(conn, &result)) == ERR_NONE && result != NULL) {
        enum err is = ERR_NONE;
        if (good(result)) {
            is = each == NULL ? ERR_NONE : each(ctx, number, result);
        } else if (PQresultStatus(result) != PGRES_PIPELINE_ABORTED) {
            is = told(conn, result);
        }
        *failure = *failure == ERR_NONE ? is : *failure;
        PQclear(result);
        if (PQstatus(conn->db) != CONNECTION_OK) {
            return postgres_conn_lose(conn, conn->why);
        }
    }
    return err;
}

enum err postgres_pipe_end(struct postgres_conn *conn, uint32_t sent, postgres_pipe_fn *each,
                           void *ctx)
{
    if (conn->db == NULL) {
        return gone(conn);
    }
    if (!PQpipelineSync(conn->db)) {
        return lost(conn, "postgresql");
    }
    enum err failure = ERR_NONE, err = flush(conn);
    for (uint32_t i = 0; i < sent && err == ERR_NONE; i++) {
        err = take_piped(conn, i, each, ctx, &failure);
    }
    PGresult *result = NULL;
    if (err == ERR_NONE) {
        err = next_result(conn, &result); /* of the sync: no NULL follows it */
    }
    if (err == ERR_NONE) {
        bool end = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
        PQclear(result);
        if (!end || !PQexitPipelineMode(conn->db)) {
            return lost(conn, "postgresql: pipelining");
        }
    }
    return err != ERR_NONE ? err : failure;
}

/* ---- arguments ---- */

static int next_arg(struct postgres_args *args)
{
    ASSERT(args->count < POSTGRES_ARGS_MAX);
    args->formats[args->count] = 1;
    return args->count++;
}

void postgres_arg_text(struct postgres_args *args, struct slice text)
{
    int at = next_arg(args);
    args->values[at] = text.len == 0 ? "" : text.ptr; /* a NULL pointer would be NULL, not '' */
    args->lengths[at] = (int)text.len;
}

void postgres_arg_i64(struct postgres_args *args, int64_t number)
{
    int at = next_arg(args);
    const uint64_t bytes = htobe64((uint64_t)number);
    memcpy(args->numbers[at], &bytes, sizeof bytes);
    args->values[at] = args->numbers[at];
    args->lengths[at] = sizeof bytes;
}

void postgres_arg_limit(struct postgres_args *args, uint64_t limit)
{
    postgres_arg_i64(args, limit == 0 || limit > INT64_MAX ? INT64_MAX : (int64_t)limit);
}

void postgres_array_init(struct postgres_array *array, enum postgres_type type)
{
    array->type = type;
    array->count = 0;
    buffer_init(&array->bytes, ARRAY_BYTES_MAX);
    postgres_array_reset(array);
}

void postgres_array_fini(struct postgres_array *array)
{
    buffer_fini(&array->bytes);
}

static char *room(struct postgres_array *array, size_t bytes)
{
    char *at = buffer_room(&array->bytes, bytes);
    if (at != NULL) {
        buffer_used(&array->bytes, bytes);
    }
    return at;
}

static void put32(char *at, uint32_t number)
{
    const uint32_t bytes = htobe32(number);
    memcpy(at, &bytes, sizeof bytes);
}

void postgres_array_reset(struct postgres_array *array)
{
    buffer_reset(&array->bytes);
    array->count = 0;
    char *header = room(array, ARRAY_HEADER_BYTES);
    put32(header, 1);
    put32(header + 4, 0);
    put32(header + 8, (uint32_t)array->type);
    put32(header + 16, 1);
}

void postgres_array_i64(struct postgres_array *array, int64_t number)
{
    ASSERT(array->type == POSTGRES_I64);
    const uint64_t bytes = htobe64((uint64_t)number);
    char *at = room(array, 12);
    if (at != NULL) {
        put32(at, 8);
        memcpy(at + 4, &bytes, sizeof bytes);
        array->count++;
    }
}

void postgres_array_i32(struct postgres_array *array, int32_t number)
{
    ASSERT(array->type == POSTGRES_I32);
    char *at = room(array, 8);
    if (at != NULL) {
        put32(at, 4);
        put32(at + 4, (uint32_t)number);
        array->count++;
    }
}

void postgres_array_text(struct postgres_array *array, struct slice text)
{
    ASSERT(array->type == POSTGRES_TEXT);
    char *at = room(array, 4 + text.len);
    if (at != NULL) {
        put32(at, (uint32_t)text.len);
        if (text.len > 0) {
            memcpy(at + 4, text.ptr, text.len);
        }
        array->count++;
    }
}

void postgres_arg_array(struct postgres_args *args, struct postgres_array *array)
{
    ASSERT(array->count > 0 && buffer_outcome(&array->bytes) == BUFFER_OK);
    put32(array->bytes.ptr + 12, array->count);
    postgres_arg_text(args, buffer_slice(&array->bytes));
}

/* ---- results ---- */

int64_t postgres_i64(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column)) {
        return 0;
    }
    const unsigned char *at = (const unsigned char *)PQgetvalue(result, row, column);
    const int len = PQgetlength(result, row, column);
    int64_t number = (signed char)at[0];
    ASSERT(len == 8 || len == 4 || len == 2 || len == 1);
    for (int i = 1; i < len; i++) {
        number = (int64_t)((uint64_t)number << 8 | at[i]);
    }
    return number;
}

struct slice postgres_text(const PGresult *result, int row, int column)
{
    return slice_of(PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column));
}
