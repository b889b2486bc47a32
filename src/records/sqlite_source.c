/* sqlite_source.c -- profiles from the platform's own database, by a query that the operator wrote.
 *
 * The file is opened read-only on a connection of its own, so that the query sees the platform's
 * tables and none of ours (both may have a table "viewer").  While the query is prepared, an
 * authorizer allows nothing but reading; so what is wrong with it is known at once, not at the
 * first look-up.
 * Source: https://www.sqlite.org/c3ref/set_authorizer.html */
#include "records/sqlite.h"

#include "records/profile_source.h"
#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>
#include <strings.h>

struct source_query {
    sqlite3_stmt *stmt;
    int event, viewer; /* parameters; 0: not used */
};

struct sqlite_source {
    sqlite3 *db;
    struct source_query profile, count;
    int name, groups; /* columns; name -1: none */
};

static enum err source_fail(struct sqlite_link *link, const struct sqlite_source *source,
                            const char *what)
{
    int code = sqlite3_extended_errcode(source->db);
    enum err err = sqlite_err(source->db, code);
    /* Our own store is not damaged, and not of another version, when the platform's file is. */
    err = err == ERR_BUSY || err == ERR_MEMORY ? err : ERR_DATABASE;
    return records_fail(&link->link, err, "%s: %s (sqlite %d)", what, sqlite3_errmsg(source->db),
                        code);
}

/* ---- opening ---- */

static int only_reading(void *ctx, int action, const char *one, const char *two, const char *db,
                        const char *by)
{
    (void)ctx, (void)one, (void)db, (void)by;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_FUNCTION:
        return strcasecmp(two, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
    default:
        return SQLITE_DENY;
    }
}

/* Parameters are named ones only: a "?" would be bound to nothing. */
static enum err find_parameters(struct sqlite_link *link, const char *what,
                                struct source_query *query, bool viewer)
{
    for (int i = sqlite3_bind_parameter_count(query->stmt); i > 0; i--) {
        const char *name = sqlite3_bind_parameter_name(query->stmt, i);
        if (name != NULL && strcmp(name, ":event") == 0) {
            query->event = i;
        } else if (name != NULL && viewer && strcmp(name, ":viewer") == 0) {
            query->viewer = i;
        } else {
            return records_fail(&link->link, ERR_INVALID, "%s has the parameter %s; there %s", what,
                                name == NULL ? "?" : name,
                                viewer ? "are :event and :viewer" : "is only :event");
        }
    }
    return ERR_NONE;
}

static bool only_space(const char *text)
{
    return text[strspn(text, " \t\r\n;")] == '\0';
}

static enum err prepare(struct sqlite_link *link, struct sqlite_source *source, const char *what,
                        const char *sql, struct source_query *query)
{
    const char *tail = "";
    sqlite3_set_authorizer(source->db, only_reading, NULL);
    int code =
        sqlite3_prepare_v3(source->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &query->stmt, &tail);
    sqlite3_set_authorizer(source->db, NULL, NULL);
    if (code == SQLITE_AUTH) {
        return records_fail(&link->link, ERR_INVALID, "%s may only read: it must be one SELECT",
                            what);
    }
    if (code != SQLITE_OK) {
        return records_fail(&link->link, ERR_INVALID, "%s: %s", what, sqlite3_errmsg(source->db));
    }
    if (query->stmt == NULL) {
        return records_fail(&link->link, ERR_INVALID, "%s is empty", what);
    }
    if (!only_space(tail)) {
        return records_fail(&link->link, ERR_INVALID, "%s goes on after its one SELECT: %.40s",
                            what, tail);
    }
    if (!sqlite3_stmt_readonly(query->stmt) || sqlite3_stmt_isexplain(query->stmt) != 0 ||
        sqlite3_column_count(query->stmt) == 0) {
        return records_fail(&link->link, ERR_INVALID, "%s must be one SELECT", what);
    }
    return find_parameters(link, what, query, query == &source->profile);
}

/* By name where there is one, else by position. */
static enum err find_columns(struct sqlite_link *link, struct sqlite_source *source)
{
    const int count = sqlite3_column_count(source->profile.stmt);
    int name = -1, groups = -1;
    for (int i = 0; i < count; i++) {
        const char *is = sqlite3_column_name(source->profile.stmt, i);
        name = is != NULL && strcasecmp(is, "name") == 0 ? i : name;
        groups = is != NULL && strcasecmp(is, "groups") == 0 ? i : groups;
    }
    if (count > 2) {
        return records_fail(&link->link, ERR_INVALID,
                            "the profile query gives %d columns; it must give name and groups, or "
                            "groups alone",
                            count);
    }
    if (count == 1 && name == 0) {
        return records_fail(&link->link, ERR_INVALID,
                            "the profile query gives a name alone; it must give groups");
    }
    if (count == 2) {
        groups = groups >= 0 ? groups : name >= 0 ? 1 - name : 1;
        name = 1 - groups;
    }
    source->name = name;
    source->groups = groups >= 0 ? groups : 0;
    return ERR_NONE;
}

static enum err open_source(struct sqlite_link *link, struct sqlite_source *source,
                            const struct records_profile_source *from)
{
    if (from->database == NULL || from->database[0] == '\0' || from->query == NULL ||
        from->query[0] == '\0') {
        return records_fail(&link->link, ERR_INVALID, "the profiles' %s is not given",
                            from->query == NULL || from->query[0] == '\0' ? "query" : "database");
    }
    /* The usual VFS: it is not our file. */
    if (sqlite3_open_v2(from->database, &source->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        return records_fail(&link->link, ERR_INVALID, "the profiles' database %s: %s",
                            from->database, sqlite3_errmsg(source->db));
    }
    sqlite3_extended_result_codes(source->db, 1);
    sqlite3_busy_timeout(source->db, SQLITE_BUSY_MS);
    sqlite3_db_config(source->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(source->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    enum err err = prepare(link, source, "the profile query", from->query, &source->profile);
    if (err == ERR_NONE) {
        err = find_columns(link, source);
    }
    if (err == ERR_NONE && from->count_query != NULL) {
        err = prepare(link, source, "the count query", from->count_query, &source->count);
        if (err == ERR_NONE && sqlite3_column_count(source->count.stmt) != 1) {
            err = records_fail(&link->link, ERR_INVALID, "the count query must give one column");
        }
    }
    return err;
}

static void close_source(struct sqlite_source *source)
{
    sqlite3_finalize(source->profile.stmt);
    sqlite3_finalize(source->count.stmt);
    int code = sqlite3_close(source->db);
    ASSERT(code == SQLITE_OK);
    free(source);
}

enum err sqlite_profiles_from(struct records_link *base, const struct records_profile_source *from)
{
    struct sqlite_link *link = sqlite_link_of(base);
    struct sqlite_source *source = memory_zalloc(sizeof *source);
    ASSERT(link->source == NULL); /* once per link */
    enum err err = open_source(link, source, from);
    if (err != ERR_NONE) {
        close_source(source);
        return err;
    }
    link->source = source;
    return ERR_NONE;
}

void sqlite_source_fini(struct sqlite_link *link)
{
    if (link->source != NULL) {
        close_source(link->source);
        link->source = NULL;
    }
}

/* ---- look-ups ---- */

static enum err bad_column(struct sqlite_link *link, const char *column, struct slice event,
                           struct slice viewer, const char *what)
{
    return records_fail(&link->link, ERR_INVALID,
                        "the profile query's column \"%s\" of viewer %.*s in event %.*s %s", column,
                        SLICE_ARG(viewer), SLICE_ARG(event), what);
}

/* Text, or a number as text; NULL reads as empty. */
static bool text_column(sqlite3_stmt *stmt, int column, struct slice *text)
{
    *text = SLICE_EMPTY;
    if (sqlite3_column_type(stmt, column) == SQLITE_BLOB) {
        return false;
    }
    *text = sqlite_column_slice(stmt, column);
    return true;
}

static enum err read_row(struct sqlite_link *link, struct profile *profile,
                         char packed[GROUPS_PACKED_BYTES_MAX])
{
    const struct sqlite_source *source = link->source;
    sqlite3_stmt *stmt = source->profile.stmt;
    struct slice groups;
    size_t len;
    if (source->name >= 0 && !text_column(stmt, source->name, &profile->name)) {
        return bad_column(link, "name", profile->event, profile->viewer, "is no text");
    }
    const char *wrong = profile_source_name(profile->name);
    if (wrong != NULL) {
        return bad_column(link, "name", profile->event, profile->viewer, wrong);
    }
    if (!text_column(stmt, source->groups, &groups)) {
        return bad_column(link, "groups", profile->event, profile->viewer, "is no text");
    }
    wrong = profile_source_groups(groups, packed, &len);
    if (wrong != NULL) {
        return bad_column(link, "groups", profile->event, profile->viewer, wrong);
    }
    profile->groups = slice_of(packed, len);
    return ERR_NONE;
}

static void bind(const struct source_query *query, struct slice event, struct slice viewer)
{
    if (query->event > 0) {
        sqlite_bind_slice(query->stmt, query->event, event);
    }
    if (query->viewer > 0) {
        sqlite_bind_slice(query->stmt, query->viewer, viewer);
    }
}

enum err sqlite_source_get(struct sqlite_link *link, struct slice event, struct slice viewer,
                           records_profile_fn *fn, void *ctx)
{
    sqlite3_stmt *stmt = link->source->profile.stmt;
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct profile profile = {.event = event, .viewer = viewer};
    ASSERT(!sqlite3_stmt_busy(stmt));
    bind(&link->source->profile, event, viewer);
    int code = sqlite3_step(stmt);
    enum err err;
    if (code == SQLITE_ROW) { /* a second row does not count */
        err = read_row(link, &profile, packed);
        err = err == ERR_NONE ? fn(ctx, &profile) : err;
    } else if (code == SQLITE_DONE) {
        err = ERR_NOT_FOUND;
    } else {
        err = source_fail(link, link->source, "the profile query");
    }
    sqlite3_reset(stmt);
    return err;
}

enum err sqlite_source_count(struct sqlite_link *link, struct slice event, uint64_t *count)
{
    sqlite3_stmt *stmt = link->source->count.stmt;
    *count = 0;
    if (stmt == NULL || event.len == 0) {
        return records_fail(&link->link, ERR_NOT_FOUND,
                            "profiles come from elsewhere and are not counted");
    }
    bind(&link->source->count, event, SLICE_EMPTY);
    int code = sqlite3_step(stmt);
    enum err err = ERR_NONE;
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        err = source_fail(link, link->source, "the count query");
    } else if (code == SQLITE_DONE || sqlite3_column_type(stmt, 0) != SQLITE_INTEGER ||
               sqlite3_column_int64(stmt, 0) < 0) {
        err = records_fail(&link->link, ERR_DATABASE,
                           "the count query gives no number for event %.*s", SLICE_ARG(event));
    } else {
        *count = (uint64_t)sqlite3_column_int64(stmt, 0);
    }
    sqlite3_reset(stmt);
    return err;
}
