/* postgres.c -- opening, statements and transactions of the PostgreSQL backend. */
#include "records/postgres.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

static void close_link(struct records_link *link);

static const struct records_backend backend = {
    .close = close_link,
    .commit = postgres_commit,
    .profiles_put = postgres_profiles_put,
    .profile_delete = postgres_profile_delete,
    .wipe = postgres_wipe_now,
    .covered = postgres_covered,
    .live_events = postgres_live_events,
    .event_load = postgres_event_load,
    .profiles_get = postgres_profiles_get,
    .profile_get = postgres_profile_get,
    .profiles_each = postgres_profiles_each,
    .profiles_count = postgres_profiles_count,
    .events_each = postgres_events_each,
    .audiences = postgres_audiences,
    .frames = postgres_frames,
    .members_each = postgres_members_each,
    .directory_put = postgres_directory_put,
    .directory_get = postgres_directory_get,
    .directory_sessions = postgres_directory_sessions,
    .directory_events = postgres_directory_events,
    .directory_delete = postgres_directory_delete,
    .key_put = postgres_key_put,
    .key_delete = postgres_key_delete,
    .keys_each = postgres_keys_each,
    .keys_version = postgres_keys_version,
    .retain = postgres_retain,
    .idle_events = postgres_idle_events,
    .backup = postgres_backup,
    .viewings = postgres_viewings,
    .check = postgres_check,
};

/* ---- opening ---- */

#define TEXT_OF(macro)  TEXT_OF_(macro)
#define TEXT_OF_(macro) #macro

/* Plans are made once per statement, for whatever parameters, and may be made while a table is
 * still empty: so they are not left to estimates.  Each of our statements has one good plan, along
 * the keys in their order.  (A page of a long read as a bitmap scan reads all that comes after it
 * and sorts it: measured, 28 s instead of 1.3 s for a million members.)  (postgres_check.c, which
 * reads everything, allows the others again.)  Compiling plans costs more than running them. */
#define STATEMENT_MS TEXT_OF(POSTGRES_STATEMENT_MS)
#define LOCK_MS      TEXT_OF(POSTGRES_LOCK_MS)
static const char setup[] =
    "SET search_path = novabeat; SET client_min_messages = warning; SET jit = off; "
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
    "SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET statement_timeout = " STATEMENT_MS "; SET lock_timeout = " LOCK_MS "; "
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'";

enum err records_postgres_open(const char *uri, bool create, struct records_link **out, char *why,
                               size_t why_bytes)
{
    struct postgres_link *link = memory_zalloc(sizeof *link);
    link->link.backend = &backend;
    postgres_conn_init(&link->conn, uri, setup);
    buffer_init(&link->groups, POSTGRES_TEXT_BYTES_MAX);
    buffer_init(&link->countries, POSTGRES_TEXT_BYTES_MAX);
    enum err err = postgres_conn_ready(&link->conn);
    err = err != ERR_NONE
              ? postgres_fail(link, err, "")
              : postgres_migrate(link, postgres_migrations, postgres_migrations_count, create);
    if (err != ERR_NONE) {
        snprintf(why, why_bytes, "%s", link->link.why);
        close_link(&link->link);
        return err;
    }
    *out = &link->link;
    return ERR_NONE;
}

static void close_link(struct records_link *base)
{
    struct postgres_link *link = postgres_link_of(base);
    ASSERT(link->read_depth == 0 && !link->writing);
    postgres_commit_fini(link);
    postgres_conn_fini(&link->conn);
    buffer_fini(&link->groups);
    buffer_fini(&link->countries);
    free(link);
}

/* ---- statements ---- */

enum err postgres_fail(struct postgres_link *link, enum err err, const char *doing)
{
    return records_fail(&link->link, err, "%s%s%.480s", doing, doing[0] == '\0' ? "" : ": ",
                        link->conn.why);
}

/* Connected, or in a transaction whose connection may be gone: then the statement says so. */
static enum err ready(struct postgres_link *link)
{
    if (link->read_depth > 0 || link->writing) {
        return ERR_NONE;
    }
    enum err err = postgres_conn_ready(&link->conn);
    return err == ERR_NONE ? err : postgres_fail(link, err, "");
}

const char *postgres_name(enum postgres_statement which)
{
    static const char *const names[] = {
#define PG_NAME(name, text) #name,
        POSTGRES_STATEMENTS(PG_NAME)
#undef PG_NAME
    };
    return names[which];
}

enum err postgres_prepare(struct postgres_link *link, enum postgres_statement which)
{
    static const char *const texts[] = {
#define PG_TEXT(name, text) text,
        POSTGRES_STATEMENTS(PG_TEXT)
#undef PG_TEXT
    };
    if (link->conn.db != NULL && link->prepared[which] == link->conn.connections) {
        return ERR_NONE;
    }
    enum err err = postgres_conn_prepare(&link->conn, postgres_name(which), texts[which], NULL, 0);
    if (err != ERR_NONE) {
        return postgres_fail(link, err, postgres_name(which));
    }
    link->prepared[which] = link->conn.connections;
    return ERR_NONE;
}

enum err postgres_run(struct postgres_link *link, enum postgres_statement which,
                      const struct postgres_args *args, PGresult **result)
{
    PGresult *unused = NULL;
    enum err err = ready(link);
    if (err == ERR_NONE) {
        err = postgres_prepare(link, which);
    }
    if (err == ERR_NONE) {
        err = postgres_conn_run(&link->conn, postgres_name(which), args, true, &unused);
        if (err != ERR_NONE) {
            postgres_fail(link, err, postgres_name(which));
        }
    }
    if (result != NULL) {
        *result = unused;
    } else {
        PQclear(unused);
    }
    return err;
}

enum err postgres_one(struct postgres_link *link, enum postgres_statement which,
                      const struct postgres_args *args, int64_t *value)
{
    PGresult *result;
    enum err err = postgres_run(link, which, args, &result);
    if (err == ERR_NONE && PQntuples(result) == 0) {
        err = ERR_NOT_FOUND;
    } else if (err == ERR_NONE) {
        *value = postgres_i64(result, 0, 0);
    }
    PQclear(result);
    return err;
}

/* ---- transactions ---- */

enum err postgres_read_begin(struct postgres_link *link)
{
    if (link->read_depth > 0) {
        link->read_depth++;
        return ERR_NONE;
    }
    ASSERT(!link->writing);
    enum err err = ready(link);
    if (err == ERR_NONE) {
        err = postgres_conn_text(&link->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                                 NULL);
        err = err == ERR_NONE ? err : postgres_fail(link, err, "");
    }
    link->read_depth += err == ERR_NONE;
    return err;
}

/* Ends whatever transaction there is. */
static void roll_back(struct postgres_link *link)
{
    struct postgres_conn *conn = &link->conn;
    if (conn->db != NULL && PQtransactionStatus(conn->db) != PQTRANS_IDLE &&
        postgres_conn_text(conn, "ROLLBACK", NULL) != ERR_NONE) {
        postgres_conn_lose(conn, "postgresql: the connection was lost");
    }
}

void postgres_read_end(struct postgres_link *link)
{
    ASSERT(link->read_depth > 0);
    if (--link->read_depth == 0) {
        roll_back(link); /* nothing was written; the words of an earlier failure stay the link's */
    }
}

enum err postgres_write_begin(struct postgres_link *link)
{
    ASSERT(link->read_depth == 0 && !link->writing); /* not from a callback */
    enum err err = ready(link);
    if (err == ERR_NONE) {
        err = postgres_conn_text(&link->conn, "BEGIN", NULL);
        err = err == ERR_NONE ? err : postgres_fail(link, err, "");
    }
    link->writing = err == ERR_NONE;
    return err;
}

enum err postgres_write_end(struct postgres_link *link, enum err err)
{
    ASSERT(link->writing);
    if (err == ERR_NONE) {
        err = postgres_conn_text(&link->conn, "COMMIT", NULL);
        err = err == ERR_NONE ? err : postgres_fail(link, err, "committing");
    }
    if (err != ERR_NONE) {
        roll_back(link);
    }
    link->writing = false;
    return err;
}
