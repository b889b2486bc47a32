/* sqlite.c -- opening, settings, failures, statements and transactions of the SQLite backend. */
#include "records/sqlite.h"

#include "base/assert.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void close_link(struct records_link *link);

static const struct records_backend backend = {
    .close = close_link,
    .commit = sqlite_commit,
    .profiles_from = sqlite_profiles_from,
    .profiles_put = sqlite_profiles_put,
    .profile_delete = sqlite_profile_delete,
    .wipe = sqlite_wipe_now,
    .covered = sqlite_covered,
    .live_events = sqlite_live_events,
    .event_load = sqlite_event_load,
    .profiles_get = sqlite_profiles_get,
    .profile_get = sqlite_profile_get,
    .profiles_each = sqlite_profiles_each,
    .profiles_count = sqlite_profiles_count,
    .events_each = sqlite_events_each,
    .audiences = sqlite_audiences,
    .frames = sqlite_frames,
    .members_each = sqlite_members_each,
    .directory_put = sqlite_directory_put,
    .directory_get = sqlite_directory_get,
    .directory_sessions = sqlite_directory_sessions,
    .directory_events = sqlite_directory_events,
    .directory_delete = sqlite_directory_delete,
    .key_put = sqlite_key_put,
    .key_delete = sqlite_key_delete,
    .keys_each = sqlite_keys_each,
    .keys_version = sqlite_keys_version,
    .retain = sqlite_retain,
    .idle_events = sqlite_idle_events,
    .backup = sqlite_backup,
    .viewings = sqlite_viewings,
    .check = sqlite_check,
};

/* ---- opening ---- */

/* A store that is gone after a power cut while the journal was already cut would lose everything.
 */
enum err sqlite_sync_folder(struct sqlite_link *link, const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) {
        return records_fail(&link->link, ERR_INVALID, "the path is too long");
    }
    strcpy(copy, path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        enum err err = fd < 0 ? ERR_IO : ERR_SYNC;
        records_fail(&link->link, err, "syncing the folder of %s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    close(fd);
    return ERR_NONE;
}

/* An empty file, readable to its owner only: it will hold who watched what. */
static enum err create_file(struct sqlite_link *link, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        enum err err = errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : ERR_IO;
        return errno == EEXIST
                   ? ERR_NONE
                   : records_fail(&link->link, err, "creating %s: %s", path, strerror(errno));
    }
    close(fd);
    return sqlite_sync_folder(link, path);
}

static enum err execute(struct sqlite_link *link, const char *sql)
{
    return sqlite3_exec(link->db, sql, NULL, NULL, NULL) == SQLITE_OK ? ERR_NONE
                                                                      : sqlite_fail(link, sql);
}

/* SQLite answers with the mode that it could get. */
static enum err set_wal(struct sqlite_link *link)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(link->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_fail(link, "setting WAL mode");
    }
    enum err err = ERR_NONE;
    if (sqlite3_step(stmt) != SQLITE_ROW) {
        err = sqlite_fail(link, "setting WAL mode");
    } else if (!slice_equal(sqlite_column_slice(stmt, 0), SLICE_LIT("wal"))) {
        err = records_fail(&link->link, ERR_DATABASE, "the file does not take WAL mode");
    }
    sqlite3_finalize(stmt);
    return err;
}

static enum err configure(struct sqlite_link *link)
{
    char sql[512];
    sqlite3_extended_result_codes(link->db, 1);
    sqlite3_busy_timeout(link->db, SQLITE_BUSY_MS);
    sqlite3_db_config(link->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(link->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* The page size counts only before the first page is written. */
    snprintf(sql, sizeof sql, "PRAGMA page_size = %d", SQLITE_PAGE_BYTES);
    enum err err = execute(link, sql);
    if (err == ERR_NONE) {
        err = set_wal(link);
    }
    if (err == ERR_NONE) {
        snprintf(sql, sizeof sql,
                 "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = OFF; "
                 "PRAGMA cache_size = -%d; "
                 "PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d",
                 SQLITE_READER_CACHE_KIB, SQLITE_CHECKPOINT_PAGES, SQLITE_WAL_BYTES_KEPT);
        err = execute(link, sql);
    }
    return err == ERR_NONE ? sqlite_changed_register(link) : err;
}

/* SQLite's own statistics would take a lock at each allocation of each link. */
static void configure_library(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* no harm when another part was first */
}

static enum err open_link(struct sqlite_link *link, const char *path, bool create)
{
    if (create) {
        enum err err = create_file(link, path);
        if (err != ERR_NONE) {
            return err;
        }
    } else if (access(path, F_OK) != 0) {
        return records_fail(&link->link, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path,
                            strerror(errno));
    }
    /* No mutexes: a link belongs to one thread at a time. */
    if (sqlite3_open_v2(path, &link->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        sqlite_wipe_vfs()) != SQLITE_OK) {
        return sqlite_fail(link, path);
    }
    enum err err = configure(link);
    if (err == ERR_NONE) {
        err = sqlite_migrate(link, sqlite_migrations, sqlite_migrations_count, create);
    }
    if (err == ERR_NONE && create) {
        sqlite_rewrite_if_due(link);
    }
    return err;
}

enum err records_sqlite_open(const char *path, bool create, struct records_link **out, char *why,
                             size_t why_bytes)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_library);
    struct sqlite_link *link = memory_zalloc(sizeof *link);
    link->link.backend = &backend;
    buffer_init(&link->groups, SQLITE_TEXT_BYTES_MAX);
    buffer_init(&link->countries, SQLITE_TEXT_BYTES_MAX);
    enum err err = open_link(link, path, create);
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
    struct sqlite_link *link = sqlite_link_of(base);
    ASSERT(link->read_depth == 0);
    for (int i = 0; i < SQLITE_STATEMENTS_COUNT; i++) {
        sqlite3_finalize(link->statements[i]);
    }
    sqlite_source_fini(link);
    int code = sqlite3_close(link->db);
    ASSERT(code == SQLITE_OK); /* else a statement was left open */
    sqlite_commit_fini(link);
    buffer_fini(&link->groups);
    buffer_fini(&link->countries);
    free(link);
}

/* ---- failures ---- */

static enum err io_err(sqlite3 *db, int code)
{
    int number = sqlite3_system_errno(db);
    if (number == ENOSPC || number == EDQUOT) {
        return ERR_NOSPACE;
    }
    switch (code) {
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        return ERR_SYNC;
    case SQLITE_IOERR_NOMEM:
        return ERR_MEMORY;
    default:
        return ERR_IO;
    }
}

enum err sqlite_err(sqlite3 *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_NONE;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: /* lost a race for the WAL's locks too often */
        return ERR_BUSY;
    case SQLITE_FULL:
        return ERR_NOSPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_DAMAGED;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    case SQLITE_IOERR:
        return io_err(db, code);
    case SQLITE_CANTOPEN:
        return ERR_IO;
    default:
        return ERR_DATABASE;
    }
}

enum err sqlite_fail(struct sqlite_link *link, const char *doing)
{
    int code = sqlite3_extended_errcode(link->db);
    enum err err = sqlite_err(link->db, code);
    if (err == ERR_NONE) {
        err = ERR_DATABASE; /* a call that was refused before it reached the database */
    }
    return records_fail(&link->link, err, "%s: %s (sqlite %d)", doing, sqlite3_errmsg(link->db),
                        code);
}

/* ---- statements ---- */

enum err sqlite_prepare(struct sqlite_link *link, enum sqlite_statement which, sqlite3_stmt **stmt)
{
    static const char *const texts[] = {
#define SQL_TEXT(name, text) text,
        SQLITE_STATEMENTS(SQL_TEXT)
#undef SQL_TEXT
    };
    sqlite3_stmt **slot = &link->statements[which];
    *stmt = NULL;
    if (*slot == NULL && sqlite3_prepare_v3(link->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                            slot, NULL) != SQLITE_OK) {
        return sqlite_fail(link, texts[which]);
    }
    ASSERT(!sqlite3_stmt_busy(*slot)); /* a callback called the function that called it */
    *stmt = *slot;
    return ERR_NONE;
}

enum err sqlite_do(struct sqlite_link *link, enum sqlite_statement which, int64_t first,
                   int64_t second)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, which, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    int parameters = sqlite3_bind_parameter_count(stmt);
    if (parameters >= 1) {
        sqlite_bind_i64(stmt, 1, first);
    }
    if (parameters >= 2) {
        sqlite_bind_i64(stmt, 2, second);
    }
    return sqlite_run(link, stmt);
}

enum err sqlite_run(struct sqlite_link *link, sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);
    if (code == SQLITE_DONE) {
        sqlite3_reset(stmt);
        return ERR_NONE;
    }
    ASSERT(code != SQLITE_ROW);
    enum err err = sqlite_fail(link, sqlite3_sql(stmt));
    sqlite3_reset(stmt);
    return err;
}

bool sqlite_row(struct sqlite_link *link, sqlite3_stmt *stmt, enum err *err)
{
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code != SQLITE_DONE) {
        *err = sqlite_fail(link, sqlite3_sql(stmt));
    }
    sqlite3_reset(stmt);
    return false;
}

enum err sqlite_one(struct sqlite_link *link, sqlite3_stmt *stmt, int64_t *value)
{
    enum err err = ERR_NOT_FOUND;
    while (sqlite_row(link, stmt, &err)) { /* to its end: RETURNING works only then */
        *value = sqlite3_column_int64(stmt, 0);
        err = ERR_NONE;
    }
    return err;
}

void sqlite_bind_slice(sqlite3_stmt *stmt, int parameter, struct slice text)
{
    /* A NULL pointer would bind NULL, not ''. */
    const char *ptr = text.len == 0 ? "" : text.ptr;
    int code = sqlite3_bind_text64(stmt, parameter, ptr, text.len, SQLITE_STATIC, SQLITE_UTF8);
    ASSERT(code == SQLITE_OK);
}

void sqlite_bind_i64(sqlite3_stmt *stmt, int parameter, int64_t number)
{
    int code = sqlite3_bind_int64(stmt, parameter, number);
    ASSERT(code == SQLITE_OK);
}

void sqlite_bind_limit(sqlite3_stmt *stmt, int parameter, uint64_t limit)
{
    sqlite_bind_i64(stmt, parameter, limit == 0 || limit > INT64_MAX ? -1 : (int64_t)limit);
}

struct slice sqlite_column_slice(sqlite3_stmt *stmt, int column)
{
    const char *ptr = (const char *)sqlite3_column_text(stmt, column);
    return slice_of(ptr, ptr == NULL ? 0 : (size_t)sqlite3_column_bytes(stmt, column));
}

/* ---- transactions ---- */

static enum err run(struct sqlite_link *link, enum sqlite_statement which)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, which, &stmt);
    return err != ERR_NONE ? err : sqlite_run(link, stmt);
}

enum err sqlite_read_begin(struct sqlite_link *link)
{
    enum err err = link->read_depth > 0 ? ERR_NONE : run(link, SQL_BEGIN_READ);
    link->read_depth += err == ERR_NONE;
    return err;
}

void sqlite_read_end(struct sqlite_link *link)
{
    ASSERT(link->read_depth > 0);
    if (--link->read_depth > 0 || sqlite3_get_autocommit(link->db)) {
        return; /* an outer reader goes on; or a failure has ended the transaction already */
    }
    /* Nothing was written, so there is nothing that could fail and matter; the words of an earlier
     * failure must stay. */
    char why[RECORDS_WHY_BYTES];
    memcpy(why, link->link.why, sizeof why);
    if (run(link, SQL_COMMIT) != ERR_NONE) {
        sqlite3_exec(link->db, "ROLLBACK", NULL, NULL, NULL);
        memcpy(link->link.why, why, sizeof why);
    }
}

enum err sqlite_write_begin(struct sqlite_link *link)
{
    ASSERT(link->read_depth == 0); /* not from a callback */
    return run(link, SQL_BEGIN_WRITE);
}

enum err sqlite_write_end(struct sqlite_link *link, enum err err)
{
    if (err == ERR_NONE) {
        err = run(link, SQL_COMMIT);
    }
    if (err != ERR_NONE && !sqlite3_get_autocommit(link->db)) {
        /* Some failures have rolled back already.  This one cannot fail: it only forgets. */
        sqlite3_exec(link->db, "ROLLBACK", NULL, NULL, NULL);
    }
    ASSERT(sqlite3_get_autocommit(link->db));
    return err;
}
