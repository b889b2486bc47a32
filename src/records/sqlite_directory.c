/* sqlite_directory.c -- what organisers say beforehand, and API keys. */
#include "records/sqlite.h"

#include "base/assert.h"

/* ---- the directory ---- */

static enum err put_entries(struct sqlite_link *link, const struct directory_entry *entries,
                            size_t count)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_DIRECTORY_PUT, &stmt);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        sqlite_bind_slice(stmt, 1, entries[i].event);
        sqlite_bind_slice(stmt, 2, entries[i].session);
        sqlite_bind_slice(stmt, 3, entries[i].title);
        sqlite_bind_i64(stmt, 4, entries[i].start_ms);
        err = sqlite_run(link, stmt);
    }
    return err;
}

enum err sqlite_directory_put(struct records_link *base, const struct directory_entry *entries,
                              size_t count)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_write_begin(link);
    if (err == ERR_NONE) {
        err = put_entries(link, entries, count);
        err = sqlite_write_end(link, err);
    }
    return err;
}

static enum err each_entry(struct sqlite_link *link, sqlite3_stmt *stmt, records_directory_fn *fn,
                           void *ctx, uint64_t *found)
{
    enum err err = ERR_NONE;
    for (*found = 0; sqlite_row(link, stmt, &err); ++*found) {
        const struct directory_entry entry = {
            .event = sqlite_column_slice(stmt, 0),
            .session = sqlite_column_slice(stmt, 1),
            .title = sqlite_column_slice(stmt, 2),
            .start_ms = sqlite3_column_int64(stmt, 3),
        };
        err = fn(ctx, &entry);
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

enum err sqlite_directory_get(struct records_link *base, struct slice event, struct slice session,
                              records_directory_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    uint64_t found = 0;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_DIRECTORY_GET, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        sqlite_bind_slice(stmt, 2, session);
        err = each_entry(link, stmt, fn, ctx, &found);
    }
    if (err == ERR_NONE && found == 0) {
        err = records_fail(base, ERR_NOT_FOUND, "the directory does not have it");
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_directory_sessions(struct records_link *base, struct slice event,
                                   struct slice after, uint64_t limit, records_directory_fn *fn,
                                   void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    uint64_t found;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_DIRECTORY_SESSIONS, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        sqlite_bind_slice(stmt, 2, after); /* the event itself has the session '' */
        sqlite_bind_limit(stmt, 3, limit);
        err = each_entry(link, stmt, fn, ctx, &found);
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_directory_events(struct records_link *base, struct slice after, uint64_t limit,
                                 records_directory_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    uint64_t found;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_DIRECTORY_EVENTS, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, after);
        sqlite_bind_limit(stmt, 2, limit);
        err = each_entry(link, stmt, fn, ctx, &found);
    }
    sqlite_read_end(link);
    return err;
}

static enum err delete_entry(struct sqlite_link *link, struct slice event, struct slice session)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_DIRECTORY_DELETE, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        sqlite_bind_slice(stmt, 2, session);
        err = sqlite_run(link, stmt);
    }
    if (err == ERR_NONE && sqlite3_changes(link->db) == 0) {
        err = records_fail(&link->link, ERR_NOT_FOUND, "the directory does not have it");
    }
    return err;
}

enum err sqlite_directory_delete(struct records_link *base, struct slice event,
                                 struct slice session)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_write_begin(link);
    if (err == ERR_NONE) {
        err = delete_entry(link, event, session);
        err = sqlite_write_end(link, err);
    }
    return err;
}

/* ---- API keys ---- */

static enum err put_key(struct sqlite_link *link, const struct api_key_row *key)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_KEY_PUT, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    int code = sqlite3_bind_blob(stmt, 2, key->hash, sizeof key->hash, SQLITE_STATIC);
    ASSERT(code == SQLITE_OK);
    sqlite_bind_slice(stmt, 1, slice_of(key->id, sizeof key->id));
    sqlite_bind_i64(stmt, 3, key->roles);
    sqlite_bind_slice(stmt, 4, key->event);
    sqlite_bind_slice(stmt, 5, key->name);
    sqlite_bind_i64(stmt, 6, key->created_ms);
    return sqlite_run(link, stmt);
}

enum err sqlite_key_put(struct records_link *base, const struct api_key_row *key)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_write_begin(link);
    if (err == ERR_NONE) {
        err = put_key(link, key);
        if (err == ERR_NONE) {
            err = sqlite_do(link, SQL_KEYS_CHANGED, 0, 0);
        }
        err = sqlite_write_end(link, err);
    }
    return err;
}

static enum err delete_key(struct sqlite_link *link, const char id[API_KEY_ID_BYTES])
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_KEY_DELETE, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, slice_of(id, API_KEY_ID_BYTES));
        err = sqlite_run(link, stmt);
    }
    if (err == ERR_NONE && sqlite3_changes(link->db) == 0) {
        err =
            records_fail(&link->link, ERR_NOT_FOUND, "there is no key %.*s", API_KEY_ID_BYTES, id);
    }
    return err;
}

enum err sqlite_key_delete(struct records_link *base, const char id[API_KEY_ID_BYTES])
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_write_begin(link);
    if (err == ERR_NONE) {
        err = delete_key(link, id);
        if (err == ERR_NONE) {
            err = sqlite_do(link, SQL_KEYS_CHANGED, 0, 0);
        }
        err = sqlite_write_end(link, err);
    }
    return err;
}

static enum err read_key(struct sqlite_link *link, sqlite3_stmt *stmt, struct api_key_row *key)
{
    bool sane = true;
    struct slice id = sqlite_column_slice(stmt, 0);
    *key = (struct api_key_row){
        .roles = (unsigned)sqlite_column_number(stmt, 2, UINT16_MAX, &sane),
        .event = sqlite_column_slice(stmt, 3),
        .name = sqlite_column_slice(stmt, 4),
        .created_ms = sqlite3_column_int64(stmt, 5),
    };
    const void *hash = sqlite3_column_blob(stmt, 1);
    if (!sane || id.len != sizeof key->id ||
        sqlite3_column_bytes(stmt, 1) != (int)sizeof key->hash) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the row of API key %.*s holds what nothing "
                            "writes",
                            SLICE_ARG(id));
    }
    memcpy(key->id, id.ptr, sizeof key->id);
    memcpy(key->hash, hash, sizeof key->hash);
    return ERR_NONE;
}

enum err sqlite_keys_each(struct records_link *base, records_key_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_KEYS, &stmt);
    while (err == ERR_NONE && sqlite_row(link, stmt, &err)) {
        struct api_key_row key;
        err = read_key(link, stmt, &key);
        if (err == ERR_NONE) {
            err = fn(ctx, &key);
        }
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
        }
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_keys_version(struct records_link *base, uint64_t *version)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    int64_t value = 0;
    enum err err = sqlite_prepare(link, SQL_KEYS_VERSION, &stmt);
    if (err == ERR_NONE) {
        err = sqlite_one(link, stmt, &value);
    }
    *version = (uint64_t)value;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}
