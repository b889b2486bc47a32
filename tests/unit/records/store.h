/* store.h -- a record store in a folder of its own, for the tests. */
#ifndef NOVABEAT_TESTS_STORE_H
#define NOVABEAT_TESTS_STORE_H

#include "tap.h"

#include "core/groups.h"
#include "records/records.h"
#include "records/sqlite.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

struct store {
    char folder[64];
    char path[128];
    struct records_link *link;
};

static inline void store_open(struct store *store)
{
    char why[256];
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
    sqlite3_busy_timeout(sqlite_link_of(link)->db, 0);
    return link;
}

static inline void store_close(struct store *store)
{
    records_close(store->link);
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

static inline void store_sql(const struct store *store, const char *sql)
{
    char *why = NULL;
    if (sqlite3_exec(sqlite_link_of(store->link)->db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", sql, why);
    }
}

/* The single number that a query gives. */
static inline int64_t store_number(const struct store *store, const char *sql)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(sqlite_link_of(store->link)->db, sql, -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return number;
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

#endif
