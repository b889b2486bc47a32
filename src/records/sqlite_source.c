/* sqlite_source.c -- profiles from the platform's own database, by a query that the operator wrote.
 *
 * The file is opened read-only on a connection of its own, so that the query sees the platform's
 * tables and none of ours (both may have a table "viewer").  While the query is prepared, an
 * authorizer allows nothing but reading; so what is wrong with it is known at once, not at the
 * first look-up.
 *
 * A platform may put a new file in the place of the old one; the open one would then be read for
 * ever.  So a look-up looks, once a second at most, whether the path still leads to it.
 * Source: https://www.sqlite.org/c3ref/set_authorizer.html */
#include "records/sqlite.h"

#include "records/profile_source.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often a look-up looks at the path. */
#define SOURCE_LOOK_MS 1000

struct source_query {
    sqlite3_stmt *stmt;
    int event, viewer; /* parameters; 0: not used */
};

struct sqlite_source {
    sqlite3 *db;
    struct source_query profile, count;
    int name, groups;                     /* columns; name -1: none */
    char *database, *query, *count_query; /* copies of what was asked for; count_query or NULL */
    dev_t device;                         /* which file is open */
    ino_t inode;
    int64_t looked_ms; /* monotonic: when the path was looked at */
};

/* What a journal or a WAL needs and cannot have here, in words that help.  NULL: the code is
 * about something else.  (The file itself is open: these codes come from the files beside it.) */
static const char *needs_writing(const struct sqlite_source *source, int code)
{
    char journal[4096];
    switch (code & 0xff) {
    case SQLITE_READONLY: /* _DIRECTORY, _CANTINIT, _CANTLOCK, _RECOVERY, _ROLLBACK */
    case SQLITE_CANTOPEN:
        break;
    default:
        return NULL;
    }
    (void)snprintf(journal, sizeof journal, "%s-journal", source->database);
    if (code == SQLITE_READONLY_ROLLBACK || access(journal, F_OK) == 0) {
        return "a transaction of the platform was cut off and has to be rolled back, which cannot "
               "be done by reading: let the platform, or sqlite3 with its user, open it once";
    }
    return "a database in WAL mode is read by way of its -wal and -shm files, which this user may "
           "not make or open: let the platform keep it open, give this user write access to the "
           "folder, or point at a copy made with VACUUM INTO";
}

/* The database's words for its failure, or better ones. */
static const char *source_words(const struct sqlite_source *source)
{
    const char *words = needs_writing(source, sqlite3_extended_errcode(source->db));
    return words != NULL ? words : sqlite3_errmsg(source->db);
}

static enum err source_fail(struct sqlite_link *link, const struct sqlite_source *source,
                            const char *what)
{
    int code = sqlite3_extended_errcode(source->db);
    enum err err = sqlite_err(source->db, code);
    /* Our own store is not damaged, and not of another version, when the platform's file is. */
    err = err == ERR_BUSY || err == ERR_MEMORY ? err : ERR_DATABASE;
    return records_fail(&link->link, err, "%s: %s (sqlite %d)", what, source_words(source), code);
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
        return records_fail(&link->link, ERR_INVALID, "%s: %s", what, source_words(source));
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

static enum err open_source(struct sqlite_link *link, struct sqlite_source *source)
{
    struct stat is;
    source->looked_ms = clock_mono_ms();
    /* Before it is opened: if another one comes in between, the next look finds that out. */
    if (stat(source->database, &is) == 0) {
        source->device = is.st_dev;
        source->inode = is.st_ino;
    }
    /* The usual VFS: it is not our file. */
    if (sqlite3_open_v2(source->database, &source->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        return records_fail(&link->link, ERR_INVALID, "the profiles' database %s: %s",
                            source->database, sqlite3_errmsg(source->db));
    }
    sqlite3_extended_result_codes(source->db, 1);
    sqlite3_busy_timeout(source->db, SQLITE_BUSY_MS);
    sqlite3_db_config(source->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(source->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    enum err err = prepare(link, source, "the profile query", source->query, &source->profile);
    if (err == ERR_NONE) {
        err = find_columns(link, source);
    }
    if (err == ERR_NONE && source->count_query != NULL) {
        err = prepare(link, source, "the count query", source->count_query, &source->count);
        if (err == ERR_NONE && sqlite3_column_count(source->count.stmt) != 1) {
            err = records_fail(&link->link, ERR_INVALID, "the count query must give one column");
        }
    }
    return err;
}

static void close_file(struct sqlite_source *source)
{
    sqlite3_finalize(source->profile.stmt);
    sqlite3_finalize(source->count.stmt);
    int code = sqlite3_close(source->db);
    ASSERT(code == SQLITE_OK);
}

static void close_source(struct sqlite_source *source)
{
    close_file(source);
    free(source->database);
    free(source->query);
    free(source->count_query);
    free(source);
}

static char *copy_text(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    const size_t bytes = strlen(text) + 1;
    return memcpy(memory_alloc(bytes), text, bytes);
}

enum err sqlite_profiles_from(struct records_link *base, const struct records_profile_source *from)
{
    struct sqlite_link *link = sqlite_link_of(base);
    ASSERT(link->source == NULL); /* once per link */
    if (from->database == NULL || from->database[0] == '\0' || from->query == NULL ||
        from->query[0] == '\0') {
        return records_fail(base, ERR_INVALID, "the profiles' %s is not given",
                            from->query == NULL || from->query[0] == '\0' ? "query" : "database");
    }
    struct sqlite_source *source = memory_zalloc(sizeof *source);
    source->database = copy_text(from->database);
    source->query = copy_text(from->query);
    source->count_query = copy_text(from->count_query);
    enum err err = open_source(link, source);
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

/* ---- another file in its place ---- */

/* Opens what is there now.  What cannot be opened is tried again a second later; until then what is
 * open goes on. */
static void open_anew(struct sqlite_link *link, struct sqlite_source *source)
{
    struct sqlite_source fresh = *source;
    fresh.db = NULL;
    fresh.profile = fresh.count = (struct source_query){0};
    if (open_source(link, &fresh) != ERR_NONE) {
        close_file(&fresh);
        LOG_EVERY(10000, LOG_WARN, "profiles",
                  "%s is another file now, but it cannot be used; going on with the one before: %s",
                  source->database, records_why(&link->link));
        return;
    }
    close_file(source);
    *source = fresh;
    LOG_EVERY(1000, LOG_INFO, "profiles", "%s is another file now: opened it", source->database);
}

/* Sees to it that the file that is open is the one at the path. */
static void follow_path(struct sqlite_link *link, struct sqlite_source *source)
{
    int64_t now_ms = clock_mono_ms();
    struct stat is;
    /* A callback that asks on, over the same link, must not lose its row. */
    if (now_ms - source->looked_ms < SOURCE_LOOK_MS || sqlite3_stmt_busy(source->profile.stmt) ||
        (source->count.stmt != NULL && sqlite3_stmt_busy(source->count.stmt))) {
        return;
    }
    source->looked_ms = now_ms;
    if (stat(source->database, &is) != 0) {
        LOG_EVERY(10000, LOG_WARN, "profiles", "%s: %s; going on with the file that was there",
                  source->database, strerror(errno));
    } else if (is.st_dev != source->device || is.st_ino != source->inode) {
        open_anew(link, source);
        source->looked_ms = clock_mono_ms(); /* opening may have taken long */
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
    follow_path(link, link->source);
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
    follow_path(link, link->source);
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
