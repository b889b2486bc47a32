/* sqlite_migrate.c -- the schema and its versions: PRAGMA user_version counts the migrations that
 * were made. */
#include "records/sqlite.h"

#include "base/assert.h"

#include <stdio.h>

static enum err pragma(struct sqlite_link *link, const char *sql, int64_t *value)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(link->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_fail(link, sql);
    }
    enum err err = sqlite_one(link, stmt, value);
    ASSERT(err != ERR_NOT_FOUND);
    sqlite3_finalize(stmt);
    return err;
}

/* The version of a file that is ours or empty (then 0). */
static enum err read_version(struct sqlite_link *link, int64_t *version)
{
    int64_t application = 0, tables = 0;
    enum err err = pragma(link, "PRAGMA application_id", &application);
    if (err == ERR_NONE) {
        err = pragma(link, "PRAGMA user_version", version);
    }
    if (err == ERR_NONE) {
        err = pragma(link, "SELECT count(*) FROM sqlite_schema", &tables);
    }
    if (err == ERR_NONE && application != SQLITE_APPLICATION_ID &&
        (application != 0 || *version != 0 || tables != 0)) {
        err = records_fail(&link->link, ERR_VERSION, "the file is a database of another program");
    }
    return err;
}

static enum err migrate_one(struct sqlite_link *link, const struct sqlite_migration *migration,
                            int64_t version)
{
    enum err err = sqlite_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t now;
    err = read_version(link, &now);
    if (err == ERR_NONE && now < version) { /* else another process was faster */
        char sql[128];
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %lld",
                 SQLITE_APPLICATION_ID, (long long)version);
        if (sqlite3_exec(link->db, migration->sql, NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(link->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
            err = sqlite_fail(link, migration->name);
        }
    }
    return sqlite_write_end(link, err);
}

enum err sqlite_migrate(struct sqlite_link *link, const struct sqlite_migration *migrations,
                        size_t count, bool create)
{
    int64_t version = 0;
    enum err err = read_version(link, &version);
    if (err != ERR_NONE) {
        return err;
    }
    if (version == 0 && !create) {
        return records_fail(&link->link, ERR_NOT_FOUND, "the file is empty");
    }
    if (version < 0 || version > (int64_t)count || (version < (int64_t)count && !create)) {
        return records_fail(&link->link, ERR_VERSION,
                            "the schema is version %lld, this program needs version %zu",
                            (long long)version, count);
    }
    for (size_t i = (size_t)version; i < count && err == ERR_NONE; i++) {
        err = migrate_one(link, &migrations[i], (int64_t)i + 1);
    }
    return err;
}
