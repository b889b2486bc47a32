/* sqlite_profiles.c -- what is known about viewers beforehand. */
#include "records/sqlite.h"

#include "records/json_text.h"
#include "base/assert.h"
#include "base/log.h"

/* ---- writing ---- */

static enum err put_all(struct sqlite_link *link, const struct profile *profiles, size_t count)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_PROFILE_PUT, &stmt);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        buffer_reset(&link->groups);
        json_groups_write(&link->groups, profiles[i].groups);
        ASSERT(buffer_outcome(&link->groups) == BUFFER_OK);
        sqlite_bind_slice(stmt, 1, profiles[i].event);
        sqlite_bind_slice(stmt, 2, profiles[i].viewer);
        sqlite_bind_slice(stmt, 3, profiles[i].name);
        sqlite_bind_slice(stmt, 4, buffer_slice(&link->groups));
        err = sqlite_run(link, stmt);
    }
    return err;
}

enum err sqlite_profiles_put(struct records_link *base, const struct profile *profiles,
                             size_t count)
{
    struct sqlite_link *link = sqlite_link_of(base);
    if (link->source != NULL) {
        return records_fail(base, ERR_INVALID, "profiles come from the platform's database");
    }
    enum err err = sqlite_write_begin(link);
    if (err == ERR_NONE) {
        err = put_all(link, profiles, count);
        err = sqlite_write_end(link, err);
    }
    return err;
}

/* ---- reading ---- */

/* `packed` holds the groups until the next row. */
static enum err read_profile(struct sqlite_link *link, sqlite3_stmt *stmt,
                             char packed[GROUPS_PACKED_BYTES_MAX], struct profile *profile)
{
    size_t len;
    profile->event = sqlite_column_slice(stmt, 0);
    profile->viewer = sqlite_column_slice(stmt, 1);
    profile->name = sqlite_column_slice(stmt, 2);
    if (!json_groups_read(sqlite_column_slice(stmt, 3), packed, &len)) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the profile of %.*s in event %.*s has no list of groups",
                            SLICE_ARG(profile->viewer), SLICE_ARG(profile->event));
    }
    profile->groups = slice_of(packed, len);
    return ERR_NONE;
}

/* Steps through bound profiles; *found: how many there were. */
static enum err each_profile(struct sqlite_link *link, sqlite3_stmt *stmt, records_profile_fn *fn,
                             void *ctx, uint64_t *found)
{
    enum err err = ERR_NONE;
    for (*found = 0; sqlite_row(link, stmt, &err); ++*found) {
        char packed[GROUPS_PACKED_BYTES_MAX];
        struct profile profile;
        err = read_profile(link, stmt, packed, &profile);
        if (err == ERR_NONE) {
            err = fn(ctx, &profile);
        }
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

static enum err copy_groups(void *ctx, const struct profile *profile)
{
    struct profile_lookup *lookup = ctx;
    lookup->found = true;
    lookup->groups_len = profile->groups.len;
    if (profile->groups.len > 0) {
        memcpy(lookup->groups, profile->groups.ptr, profile->groups.len);
    }
    return ERR_NONE;
}

/* A row that cannot be used must not cost the others of a batch theirs. */
static enum err get_from_source(struct sqlite_link *link, struct profile_lookup *lookup)
{
    enum err err = sqlite_source_get(link, lookup->event, lookup->viewer, copy_groups, lookup);
    if (err == ERR_INVALID) {
        lookup->broken = true;
        LOG_EVERY(10000, LOG_WARN, "records", "%s", link->link.why);
        err = ERR_NONE;
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err sqlite_profiles_get(struct records_link *base, struct profile_lookup *lookups,
                             size_t count)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        lookups[i].found = lookups[i].broken = false;
        lookups[i].groups_len = 0;
        if (link->source != NULL) {
            err = get_from_source(link, &lookups[i]);
            continue;
        }
        err =
            sqlite_profile_get(base, lookups[i].event, lookups[i].viewer, copy_groups, &lookups[i]);
        err = err == ERR_NOT_FOUND ? ERR_NONE : err;
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_profile_get(struct records_link *base, struct slice event, struct slice viewer,
                            records_profile_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    uint64_t found;
    if (link->source != NULL) {
        enum err broken = sqlite_source_get(link, event, viewer, fn, ctx);
        return broken == ERR_INVALID ? ERR_DATABASE : broken;
    }
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_PROFILE_GET, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        sqlite_bind_slice(stmt, 2, viewer);
        err = each_profile(link, stmt, fn, ctx, &found);
        err = err == ERR_NONE && found == 0 ? ERR_NOT_FOUND : err;
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_profiles_each(struct records_link *base, struct slice event,
                              struct slice after_event, struct slice after_viewer, uint64_t limit,
                              records_profile_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    uint64_t found;
    if (link->source != NULL) {
        return records_fail(base, ERR_INVALID,
                            "profiles come from the platform's database and are not listed");
    }
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, event.len > 0 ? SQL_PROFILES_OF : SQL_PROFILES_ALL, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event.len > 0 ? event : after_event);
        sqlite_bind_slice(stmt, 2, after_viewer);
        sqlite_bind_limit(stmt, 3, limit);
        err = each_profile(link, stmt, fn, ctx, &found);
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_profiles_count(struct records_link *base, struct slice event, uint64_t *count)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    int64_t value = 0;
    if (link->source != NULL) {
        return sqlite_source_count(link, event, count);
    }
    enum err err =
        sqlite_prepare(link, event.len > 0 ? SQL_PROFILES_COUNT : SQL_PROFILES_COUNT_ALL, &stmt);
    if (err == ERR_NONE) {
        if (event.len > 0) {
            sqlite_bind_slice(stmt, 1, event);
        }
        err = sqlite_one(link, stmt, &value);
    }
    *count = (uint64_t)value;
    return err;
}

/* ---- forgetting ---- */

enum err sqlite_profile_delete(struct records_link *base, struct slice event, struct slice viewer)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_ERASE_PROFILE, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        sqlite_bind_slice(stmt, 2, viewer);
        err = sqlite_run(link, stmt);
    }
    int rows = err == ERR_NONE ? sqlite3_changes(link->db) : 0;
    err = sqlite_write_end(link, err);
    return err == ERR_NONE && rows == 0 ? ERR_NOT_FOUND : err;
}

enum err sqlite_wipe_now(struct records_link *base)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite_wipe(link);
    return link->wipe_due ? records_fail(base, ERR_BUSY, "the WAL is being read") : ERR_NONE;
}
