/* postgres_profiles.c -- what is known about viewers beforehand. */
#include "records/postgres.h"

#include "records/json_text.h"
#include "base/assert.h"

/* ---- writing ---- */

/* One statement of at most POSTGRES_BATCH_ROWS rows. */
static enum err put_batch(struct postgres_link *link, struct postgres_array columns[4],
                          const struct profile *profiles, size_t count)
{
    struct postgres_args args = {0};
    for (int i = 0; i < 4; i++) {
        postgres_array_reset(&columns[i]);
    }
    for (size_t i = 0; i < count; i++) {
        buffer_reset(&link->groups);
        json_groups_write(&link->groups, profiles[i].groups);
        ASSERT(buffer_outcome(&link->groups) == BUFFER_OK);
        postgres_array_text(&columns[0], profiles[i].event);
        postgres_array_text(&columns[1], profiles[i].viewer);
        postgres_array_text(&columns[2], profiles[i].name);
        postgres_array_text(&columns[3], buffer_slice(&link->groups));
    }
    for (int i = 0; i < 4; i++) {
        postgres_arg_array(&args, &columns[i]);
    }
    return postgres_run(link, PG_PROFILES_PUT, &args, NULL);
}

enum err postgres_profiles_put(struct records_link *base, const struct profile *profiles,
                               size_t count)
{
    struct postgres_link *link = postgres_link_of(base);
    struct postgres_array columns[4];
    enum err err = postgres_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    for (int i = 0; i < 4; i++) {
        postgres_array_init(&columns[i], POSTGRES_TEXT);
    }
    for (size_t i = 0, rows; i < count && err == ERR_NONE; i += rows) {
        rows = count - i < POSTGRES_BATCH_ROWS ? count - i : POSTGRES_BATCH_ROWS;
        err = put_batch(link, columns, profiles + i, rows);
    }
    for (int i = 0; i < 4; i++) {
        postgres_array_fini(&columns[i]);
    }
    return postgres_write_end(link, err);
}

enum err postgres_profile_delete(struct records_link *base, struct slice event, struct slice viewer)
{
    struct postgres_args args = {0};
    int64_t one;
    postgres_arg_text(&args, event);
    postgres_arg_text(&args, viewer);
    return postgres_one(postgres_link_of(base), PG_PROFILE_DELETE, &args, &one);
}

/* ---- reading ---- */

/* `packed` holds the groups until the next row. */
static enum err read_profile(struct postgres_link *link, const PGresult *result, int at,
                             char packed[GROUPS_PACKED_BYTES_MAX], struct profile *profile)
{
    size_t len;
    profile->event = postgres_text(result, at, 0);
    profile->viewer = postgres_text(result, at, 1);
    profile->name = postgres_text(result, at, 2);
    if (!json_groups_read(postgres_text(result, at, 3), packed, &len)) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the profile of %.*s in event %.*s has no list of groups",
                            SLICE_ARG(profile->viewer), SLICE_ARG(profile->event));
    }
    profile->groups = slice_of(packed, len);
    return ERR_NONE;
}

static enum err each_row(struct postgres_link *link, const PGresult *result, records_profile_fn *fn,
                         void *ctx)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < PQntuples(result) && err == ERR_NONE; i++) {
        char packed[GROUPS_PACKED_BYTES_MAX];
        struct profile profile;
        err = read_profile(link, result, i, packed, &profile);
        err = err == ERR_NONE ? fn(ctx, &profile) : err;
    }
    return err;
}

/* All waiters' at once: the answer says whose each row is. */
enum err postgres_profiles_get(struct records_link *base, struct profile_lookup *lookups,
                               size_t count)
{
    struct postgres_link *link = postgres_link_of(base);
    struct postgres_array events, viewers;
    struct postgres_args args = {0};
    PGresult *result;
    if (count == 0) {
        return ERR_NONE;
    }
    postgres_array_init(&events, POSTGRES_TEXT);
    postgres_array_init(&viewers, POSTGRES_TEXT);
    for (size_t i = 0; i < count; i++) {
        lookups[i].found = lookups[i].broken = false;
        lookups[i].groups_len = 0;
        postgres_array_text(&events, lookups[i].event);
        postgres_array_text(&viewers, lookups[i].viewer);
    }
    postgres_arg_array(&args, &events);
    postgres_arg_array(&args, &viewers);
    enum err err = postgres_run(link, PG_PROFILES_GET, &args, &result);
    for (int i = 0; err == ERR_NONE && i < PQntuples(result); i++) {
        const uint64_t no = (uint64_t)postgres_i64(result, i, 0) - 1;
        ASSERT(no < count);
        struct profile_lookup *lookup = &lookups[no];
        lookup->found =
            json_groups_read(postgres_text(result, i, 1), lookup->groups, &lookup->groups_len);
        if (!lookup->found) {
            err = records_fail(base, ERR_DAMAGED,
                               "the profile of %.*s in event %.*s has no list of groups",
                               SLICE_ARG(lookup->viewer), SLICE_ARG(lookup->event));
        }
    }
    PQclear(result);
    postgres_array_fini(&events);
    postgres_array_fini(&viewers);
    return err;
}

enum err postgres_profile_get(struct records_link *base, struct slice event, struct slice viewer,
                              records_profile_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    struct postgres_args args = {0};
    PGresult *result;
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    postgres_arg_text(&args, event);
    postgres_arg_text(&args, viewer);
    err = postgres_run(link, PG_PROFILE_GET, &args, &result);
    if (err == ERR_NONE) {
        err = PQntuples(result) == 0 ? ERR_NOT_FOUND : each_row(link, result, fn, ctx);
    }
    PQclear(result);
    postgres_read_end(link);
    return err;
}

/* Where the next page goes on. */
struct cursor {
    char event[EVENT_ID_BYTES_MAX], viewer[VIEWER_ID_BYTES_MAX];
    struct slice after_event, after_viewer;
};

static bool go_on(struct cursor *cursor, const PGresult *result)
{
    const int last = PQntuples(result) - 1;
    cursor->after_event = postgres_text(result, last, 0);
    cursor->after_viewer = postgres_text(result, last, 1);
    if (cursor->after_event.len > sizeof cursor->event ||
        cursor->after_viewer.len > sizeof cursor->viewer) {
        return false;
    }
    memcpy(cursor->event, cursor->after_event.ptr, cursor->after_event.len);
    memcpy(cursor->viewer, cursor->after_viewer.ptr, cursor->after_viewer.len);
    cursor->after_event.ptr = cursor->event;
    cursor->after_viewer.ptr = cursor->viewer;
    return true;
}

static enum err each_page(struct postgres_link *link, struct slice event, struct cursor *cursor,
                          uint64_t left, records_profile_fn *fn, void *ctx)
{
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        const uint64_t page = left == 0 || left > POSTGRES_PAGE_ROWS ? POSTGRES_PAGE_ROWS : left;
        struct postgres_args args = {0};
        PGresult *result;
        postgres_arg_text(&args, event.len > 0 ? event : cursor->after_event);
        postgres_arg_text(&args, cursor->after_viewer);
        postgres_arg_i64(&args, (int64_t)page);
        err = postgres_run(link, event.len > 0 ? PG_PROFILES_OF : PG_PROFILES_ALL, &args, &result);
        if (err == ERR_NONE) {
            more = (uint64_t)PQntuples(result) == page && left != page;
            left -= left == 0 ? 0 : page;
            err = each_row(link, result, fn, ctx);
        }
        if (err == ERR_NONE && more && !go_on(cursor, result)) {
            err = records_fail(&link->link, ERR_DAMAGED, "a profile's ids are too long");
        }
        PQclear(result);
    }
    return err;
}

enum err postgres_profiles_each(struct records_link *base, struct slice event,
                                struct slice after_event, struct slice after_viewer, uint64_t limit,
                                records_profile_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    struct cursor cursor = {.after_event = after_event, .after_viewer = after_viewer};
    enum err err = postgres_read_begin(link);
    if (err == ERR_NONE) {
        err = each_page(link, event, &cursor, limit, fn, ctx);
        postgres_read_end(link);
    }
    return err;
}

enum err postgres_profiles_count(struct records_link *base, struct slice event, uint64_t *count)
{
    struct postgres_args args = {0};
    int64_t value = 0;
    if (event.len > 0) {
        postgres_arg_text(&args, event);
    }
    enum err err =
        postgres_one(postgres_link_of(base),
                     event.len > 0 ? PG_PROFILES_COUNT : PG_PROFILES_COUNT_ALL, &args, &value);
    *count = (uint64_t)value;
    return err;
}
