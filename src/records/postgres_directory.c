/* postgres_directory.c -- what organisers say beforehand, and API keys. */
#include "records/postgres.h"

/* ---- the directory ---- */

enum err postgres_directory_put(struct records_link *base, const struct directory_entry *entries,
                                size_t count)
{
    struct postgres_array columns[4];
    struct postgres_args args = {0};
    enum err err = ERR_NONE;
    if (count == 0) {
        return ERR_NONE;
    }
    for (int i = 0; i < 4; i++) {
        postgres_array_init(&columns[i], i == 3 ? POSTGRES_I64 : POSTGRES_TEXT);
    }
    for (size_t i = 0; i < count; i++) {
        postgres_array_text(&columns[0], entries[i].event);
        postgres_array_text(&columns[1], entries[i].session);
        postgres_array_text(&columns[2], entries[i].title);
        postgres_array_i64(&columns[3], entries[i].start_ms);
    }
    for (int i = 0; i < 4 && err == ERR_NONE; i++) {
        err = buffer_outcome(&columns[i].bytes) == BUFFER_OK
                  ? ERR_NONE
                  : records_fail(base, ERR_FULL, "too many entries at once");
        if (err == ERR_NONE) {
            postgres_arg_array(&args, &columns[i]);
        }
    }
    err =
        err == ERR_NONE ? postgres_run(postgres_link_of(base), PG_DIRECTORY_PUT, &args, NULL) : err;
    for (int i = 0; i < 4; i++) {
        postgres_array_fini(&columns[i]);
    }
    return err;
}

static struct directory_entry read_entry(const PGresult *result, int at)
{
    return (struct directory_entry){
        .event = postgres_text(result, at, 0),
        .session = postgres_text(result, at, 1),
        .title = postgres_text(result, at, 2),
        .start_ms = postgres_i64(result, at, 3),
    };
}

/* Page by page, in one snapshot; by_session: the cursor is the session, else the event. */
static enum err each_entry(struct postgres_link *link, enum postgres_statement which,
                           struct slice event, struct slice after, bool by_session, uint64_t left,
                           records_directory_fn *fn, void *ctx)
{
    char last[EVENT_ID_BYTES_MAX];
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        const uint64_t page = left == 0 || left > POSTGRES_PAGE_ROWS ? POSTGRES_PAGE_ROWS : left;
        struct postgres_args args = {0};
        PGresult *result;
        if (by_session) {
            postgres_arg_text(&args, event);
        }
        postgres_arg_text(&args, after);
        postgres_arg_i64(&args, (int64_t)page);
        err = postgres_run(link, which, &args, &result);
        const int rows = err == ERR_NONE ? PQntuples(result) : 0;
        for (int i = 0; i < rows && err == ERR_NONE; i++) {
            const struct directory_entry entry = read_entry(result, i);
            err = fn(ctx, &entry);
        }
        more = (uint64_t)rows == page && left != page;
        left -= left == 0 ? 0 : page;
        if (more && err == ERR_NONE) {
            after = postgres_text(result, rows - 1, by_session ? 1 : 0);
            if (after.len > sizeof last) {
                err = records_fail(&link->link, ERR_DAMAGED, "a name in the directory is too long");
            } else {
                memcpy(last, after.ptr, after.len);
                after.ptr = last;
            }
        }
        PQclear(result);
    }
    return err;
}

static_assert(EVENT_ID_BYTES_MAX == SESSION_ID_BYTES_MAX, "each_entry's cursor holds either");

static enum err not_there(struct records_link *base)
{
    return records_fail(base, ERR_NOT_FOUND, "the directory does not have it");
}

enum err postgres_directory_get(struct records_link *base, struct slice event, struct slice session,
                                records_directory_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    struct postgres_args args = {0};
    PGresult *result;
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    postgres_arg_text(&args, event);
    postgres_arg_text(&args, session);
    err = postgres_run(link, PG_DIRECTORY_GET, &args, &result);
    if (err == ERR_NONE && PQntuples(result) == 0) {
        err = not_there(base);
    } else if (err == ERR_NONE) {
        const struct directory_entry entry = read_entry(result, 0);
        err = fn(ctx, &entry);
    }
    PQclear(result);
    postgres_read_end(link);
    return err;
}

enum err postgres_directory_sessions(struct records_link *base, struct slice event,
                                     struct slice after, uint64_t limit, records_directory_fn *fn,
                                     void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err == ERR_NONE) { /* the event itself has the session '' */
        err = each_entry(link, PG_DIRECTORY_SESSIONS, event, after, true, limit, fn, ctx);
        postgres_read_end(link);
    }
    return err;
}

enum err postgres_directory_events(struct records_link *base, struct slice after, uint64_t limit,
                                   records_directory_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err == ERR_NONE) {
        err = each_entry(link, PG_DIRECTORY_EVENTS, SLICE_EMPTY, after, false, limit, fn, ctx);
        postgres_read_end(link);
    }
    return err;
}

enum err postgres_directory_delete(struct records_link *base, struct slice event,
                                   struct slice session)
{
    struct postgres_args args = {0};
    int64_t one;
    postgres_arg_text(&args, event);
    postgres_arg_text(&args, session);
    enum err err = postgres_one(postgres_link_of(base), PG_DIRECTORY_DELETE, &args, &one);
    return err == ERR_NOT_FOUND ? not_there(base) : err;
}

/* ---- API keys ---- */

enum err postgres_key_put(struct records_link *base, const struct api_key_row *key)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, slice_of(key->id, sizeof key->id));
    postgres_arg_text(&args, slice_of((const char *)key->hash, sizeof key->hash)); /* bytea */
    postgres_arg_i64(&args, key->roles);
    postgres_arg_text(&args, key->event);
    postgres_arg_text(&args, key->name);
    postgres_arg_i64(&args, key->created_ms);
    return postgres_run(postgres_link_of(base), PG_KEY_PUT, &args, NULL);
}

enum err postgres_key_delete(struct records_link *base, const char id[API_KEY_ID_BYTES])
{
    struct postgres_args args = {0};
    int64_t one;
    postgres_arg_text(&args, slice_of(id, API_KEY_ID_BYTES));
    enum err err = postgres_one(postgres_link_of(base), PG_KEY_DELETE, &args, &one);
    return err == ERR_NOT_FOUND
               ? records_fail(base, err, "there is no key %.*s", API_KEY_ID_BYTES, id)
               : err;
}

static enum err read_key(struct postgres_link *link, const PGresult *result, int at,
                         struct api_key_row *key)
{
    bool sane = true;
    const struct slice id = postgres_text(result, at, 0), hash = postgres_text(result, at, 1);
    *key = (struct api_key_row){
        .roles = (unsigned)postgres_column_number(result, at, 2, UINT16_MAX, &sane),
        .event = postgres_text(result, at, 3),
        .name = postgres_text(result, at, 4),
        .created_ms = postgres_i64(result, at, 5),
    };
    if (!sane || id.len != sizeof key->id || hash.len != sizeof key->hash) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the row of API key %.*s holds what nothing writes", SLICE_ARG(id));
    }
    memcpy(key->id, id.ptr, sizeof key->id);
    memcpy(key->hash, hash.ptr, sizeof key->hash);
    return ERR_NONE;
}

enum err postgres_keys_each(struct records_link *base, records_key_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    struct api_key_row key;
    size_t after = 0; /* bytes of key.id that count as the cursor */
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    for (bool more = true; more && err == ERR_NONE;) {
        struct postgres_args args = {0};
        PGresult *result;
        postgres_arg_text(&args, slice_of(key.id, after));
        postgres_arg_i64(&args, POSTGRES_PAGE_ROWS);
        err = postgres_run(link, PG_KEYS, &args, &result);
        const int rows = err == ERR_NONE ? PQntuples(result) : 0;
        for (int i = 0; i < rows && err == ERR_NONE; i++) {
            err = read_key(link, result, i, &key);
            err = err == ERR_NONE ? fn(ctx, &key) : err;
        }
        after = sizeof key.id;
        more = rows == POSTGRES_PAGE_ROWS;
        PQclear(result);
    }
    postgres_read_end(link);
    return err;
}

enum err postgres_keys_version(struct records_link *base, uint64_t *version)
{
    static const struct postgres_args none;
    int64_t value = 0;
    enum err err = postgres_one(postgres_link_of(base), PG_KEYS_VERSION, &none, &value);
    *version = (uint64_t)value;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* ---- backup ---- */

enum err postgres_backup(struct records_link *base, const char *path)
{
    (void)path;
    return records_fail(base, ERR_INVALID,
                        "the records are in PostgreSQL: use pg_dump --schema=novabeat for them");
}
