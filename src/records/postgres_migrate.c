/* postgres_migrate.c -- the schema and its versions: meta counts the migrations that were made. */
#include "records/postgres.h"

#include <stdlib.h>

#include <stdio.h>

/* Whether our schema has tables, ours among them; then its version. */
static const char look[] =
    "SELECT (SELECT count(*) FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS n "
    "ON n.oid = relnamespace WHERE nspname = 'novabeat'), "
    "(to_regclass('novabeat.meta') IS NOT NULL)::integer";
static const char ask[] = "SELECT value FROM novabeat.meta WHERE name = 'schema_version'";

static enum err text(struct postgres_link *link, const char *sql, const char *doing,
                     PGresult **result)
{
    enum err err = postgres_conn_text(&link->conn, sql, result);
    return err == ERR_NONE ? err : postgres_fail(link, err, doing);
}

/* The version of a schema that is ours or not there (then 0). */
static enum err read_version(struct postgres_link *link, int64_t *version)
{
    PGresult *result;
    *version = 0;
    enum err err = text(link, look, "looking for the schema", &result);
    if (err != ERR_NONE) {
        return err;
    }
    const bool empty = strcmp(PQgetvalue(result, 0, 0), "0") == 0;
    const bool meta = strcmp(PQgetvalue(result, 0, 1), "1") == 0;
    PQclear(result);
    if (meta) {
        err = text(link, ask, "reading the schema's version", &result);
        if (err == ERR_NONE && PQntuples(result) == 1) {
            *version = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
        }
        PQclear(result);
    }
    if (err == ERR_NONE && !empty && *version == 0) {
        err = records_fail(&link->link, ERR_VERSION,
                           "the database has a schema \"novabeat\" of another program");
    }
    return err;
}

static enum err run_from(struct postgres_link *link, const struct postgres_migration *migrations,
                         size_t count)
{
    int64_t version = 0;
    PGresult *result;
    /* Whoever was here before has migrated; whoever comes now waits. */
    enum err err = text(link, "SELECT pg_advisory_xact_lock(" POSTGRES_MIGRATION_LOCK ")",
                        "waiting to migrate", &result);
    PQclear(err == ERR_NONE ? result : NULL);
    if (err == ERR_NONE) {
        err = read_version(link, &version);
    }
    for (size_t i = version < 0 ? 0 : (size_t)version; i < count && err == ERR_NONE; i++) {
        char sql[256];
        snprintf(sql, sizeof sql,
                 "INSERT INTO novabeat.meta (name, value) VALUES ('schema_version', %zu) "
                 "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                 i + 1);
        err = text(link, migrations[i].sql, migrations[i].name, NULL);
        err = err == ERR_NONE ? text(link, sql, migrations[i].name, NULL) : err;
    }
    return err;
}

enum err postgres_migrate(struct postgres_link *link, const struct postgres_migration *migrations,
                          size_t count, bool create)
{
    int64_t version = 0;
    enum err err = read_version(link, &version);
    if (err != ERR_NONE) {
        return err;
    }
    if (version == 0 && !create) {
        return records_fail(&link->link, ERR_NOT_FOUND, "the database has no schema \"novabeat\"");
    }
    if (version < 0 || version > (int64_t)count || (version < (int64_t)count && !create)) {
        return records_fail(&link->link, ERR_VERSION,
                            "the schema is version %lld, this program needs version %zu",
                            (long long)version, count);
    }
    if (version == (int64_t)count) {
        return ERR_NONE;
    }
    err = postgres_write_begin(link);
    if (err == ERR_NONE) {
        err = run_from(link, migrations, count);
        err = postgres_write_end(link, err);
    }
    return err;
}
