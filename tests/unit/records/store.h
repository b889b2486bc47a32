/* store.h -- a record store of its own for each test: an SQLite file in a folder, or a database of
 * a PostgreSQL server that this test program starts.
 *
 * The common suite is one list of tests that store_suite runs with either backend; what is about
 * files, PRAGMAs and locks of SQLite is in lists of its own. */
#ifndef NOVABEAT_TESTS_STORE_H
#define NOVABEAT_TESTS_STORE_H

#include "tap.h"

#include "core/groups.h"
#include "records/records.h"
#include "records/postgres.h"
#include "records/sqlite.h"

#include "postgres_server.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

/* The server of this run; pid 0: the backend is SQLite. */
static struct postgres_server store_server;

static inline bool store_is_postgres(void)
{
    return store_server.pid > 0;
}

struct store {
    char folder[64];
    char path[160]; /* or the URI */
    struct records_link *link;
};

static inline void store_open(struct store *store)
{
    char why[256];
    if (store_is_postgres()) {
        store->folder[0] = '\0';
        postgres_database(&store_server, store->path, sizeof store->path);
        if (records_open(store->path, true, &store->link, why, sizeof why) != ERR_NONE) {
            fail_msg("%s", why);
        }
        return;
    }
    strcpy(store->folder, "/tmp/novabeat_records_XXXXXX");
    assert_non_null(mkdtemp(store->folder));
    snprintf(store->path, sizeof store->path, "%s/records.db", store->folder);
    if (records_open(store->path, true, &store->link, why, sizeof why) != ERR_NONE) {
        fail_msg("%s", why);
    }
}

/* Another link, that does not wait for a writer. */
static inline struct records_link *store_link(const struct store *store)
{
    struct records_link *link;
    assert_int_equal(records_open(store->path, false, &link, NULL, 0), ERR_NONE);
    if (!store_is_postgres()) {
        sqlite3_busy_timeout(sqlite_link_of(link)->db, 0);
    }
    return link;
}

static inline void store_close(struct store *store)
{
    records_close(store->link);
    if (store->folder[0] == '\0') {
        return; /* goes with its server */
    }
    DIR *folder = opendir(store->folder);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", store->folder, entry->d_name);
        unlink(path);
    }
    closedir(folder);
    assert_int_equal(rmdir(store->folder), 0);
}

/* A single number, or 0 when the statement gives none. */
static inline int64_t store_ask_postgres(const struct store *store, const char *sql)
{
    PGconn *db = postgres_link_of(store->link)->conn.db;
    PGresult *result = PQexec(db, sql);
    int64_t number = 0;
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0) {
        number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    } else if (PQresultStatus(result) != PGRES_COMMAND_OK &&
               PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(db));
    }
    PQclear(result);
    return number;
}

static inline void store_sql(const struct store *store, const char *sql)
{
    char *why = NULL;
    if (store_is_postgres()) {
        store_ask_postgres(store, sql);
    } else if (sqlite3_exec(sqlite_link_of(store->link)->db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", sql, why);
    }
}

/* The single number that a query gives. */
static inline int64_t store_number(const struct store *store, const char *sql)
{
    if (store_is_postgres()) {
        return store_ask_postgres(store, sql);
    }
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(sqlite_link_of(store->link)->db, sql, -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return number;
}

/* SQL that has to be said in two ways; postgres NULL: in one. */
struct store_sql {
    const char *sqlite, *postgres;
};

static inline const char *store_say(const struct store_sql *sql)
{
    return store_is_postgres() && sql->postgres != NULL ? sql->postgres : sql->sqlite;
}

/* Between BEGIN and ROLLBACK by store_sql: readers read inside, as nested ones do. */
static inline void store_nest(const struct store *store, int by)
{
    unsigned *depth = store_is_postgres() ? &postgres_link_of(store->link)->read_depth
                                          : &sqlite_link_of(store->link)->read_depth;
    *depth = (unsigned)((int)*depth + by);
}

static inline void store_must(const struct store *store, enum err err)
{
    if (err != ERR_NONE) {
        fail_msg("%s: %s", err_name(err), records_why(store->link));
    }
}

/* Prints the findings and counts them in *ctx. */
static inline void store_finding(void *ctx, const char *text)
{
    printf("# finding: %s\n", text);
    ++*(int *)ctx;
}

static inline int store_findings(const struct store *store)
{
    int findings = 0;
    store_must(store, records_check(store->link, store_finding, &findings));
    return findings;
}

/* Starts a server for the tests that follow; false, and the plan says why, where there is none. */
static inline bool store_with_postgres(void)
{
    const char *why;
    bool able = postgres_server_init(&store_server, &why);
    if (able && !postgres_start(&store_server)) {
        able = false;
        why = "PostgreSQL's server does not start";
    }
    if (!able) {
        printf("1..0 # skip %s\n", why);
        postgres_server_fini(&store_server);
    }
    return able;
}

/* Runs the common tests with SQLite and with PostgreSQL; returns how many failed. */
#define store_suite(tests)                                                                         \
    (tap_run(tests) + (store_with_postgres() ? tap_run(tests) + store_end() : 0))

static inline int store_end(void)
{
    postgres_server_fini(&store_server);
    return 0;
}

#endif
