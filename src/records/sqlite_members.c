/* sqlite_members.c -- the members of one audience with all their viewings, for reports.
 *
 * Two scans in the same order, members and earlier viewings, advance together; the rest (the
 * viewer's id, the groups of its profile, its name) is joined to the first one, where SQLite finds
 * neighbours without searching. */
#include "records/sqlite.h"

#include "records/json_text.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdlib.h>

struct packed_set {
    bool known;
    uint16_t len;
    char *packed;
};

struct members {
    struct sqlite_link *link;
    const struct records_members_query *query;
    int64_t event_id, audience_id, own_id;
    sqlite3_stmt *rows, *earlier;
    bool earlier_row; /* `earlier` stands on a row */
    struct records_viewing_span *spans;
    uint32_t spans_max;
    struct packed_set *sets; /* by number; looked up when first met */
    uint32_t sets_count, sets_max;
    char name[NAME_BYTES_MAX]; /* from the platform's database */
    size_t name_len;
};

/* ---- what belongs to one member ---- */

static enum err load_set(struct members *members, uint16_t set_no, struct packed_set *set)
{
    struct sqlite_link *link = members->link;
    sqlite3_stmt *stmt;
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t len = 0;
    bool sane = false;
    enum err err = sqlite_prepare(link, SQL_GROUP_SET_GET, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, members->event_id);
    sqlite_bind_i64(stmt, 2, set_no);
    while (sqlite_row(link, stmt, &err)) {
        sane = json_groups_read(sqlite_column_slice(stmt, 0), packed, &len);
    }
    if (err == ERR_NONE && !sane) {
        err = records_fail(&link->link, ERR_DAMAGED, "group set %u is no list of groups", set_no);
    }
    if (err == ERR_NONE) {
        *set = (struct packed_set){true, (uint16_t)len, memory_alloc(len + 1)};
        memcpy(set->packed, packed, len);
    }
    return err;
}

static enum err set_of(struct members *members, uint16_t set_no, struct slice *groups)
{
    *groups = SLICE_EMPTY;
    if (set_no == 0) {
        return ERR_NONE;
    }
    const uint32_t needed = set_no + 1u;
    if (needed > members->sets_count) {
        members->sets =
            memory_grow(members->sets, &members->sets_max, needed, sizeof *members->sets);
        memset(members->sets + members->sets_count, 0,
               (needed - members->sets_count) * sizeof *members->sets);
        members->sets_count = needed;
    }
    struct packed_set *set = &members->sets[set_no];
    enum err err = set->known ? ERR_NONE : load_set(members, set_no, set);
    *groups = err == ERR_NONE ? slice_of(set->packed, set->len) : SLICE_EMPTY;
    return err;
}

static enum err copy_name(void *ctx, const struct profile *profile)
{
    struct members *members = ctx;
    members->name_len = profile->name.len;
    if (profile->name.len > 0) {
        memcpy(members->name, profile->name.ptr, profile->name.len);
    }
    return ERR_NONE;
}

/* From elsewhere: its database is asked, which knows nothing of our order. */
static enum err source_name(struct members *members, struct slice viewer, struct slice *name)
{
    members->name_len = 0;
    enum err err =
        sqlite_source_get(members->link, members->query->event, viewer, copy_name, members);
    *name = slice_of(members->name, members->name_len);
    if (err == ERR_INVALID) { /* one broken row is no reason not to report the rest */
        LOG_EVERY(10000, LOG_WARN, "records", "%s", members->link->link.why);
    }
    return err == ERR_NOT_FOUND || err == ERR_INVALID ? ERR_NONE : err;
}

/* False: no commit writes such a viewing, and whoever sums up relies on that. */
static bool add_span(struct members *members, uint32_t *count, int64_t start_ms, int64_t end_ms)
{
    members->spans =
        memory_grow(members->spans, &members->spans_max, *count + 1, sizeof *members->spans);
    members->spans[(*count)++] = (struct records_viewing_span){start_ms, end_ms};
    return start_ms >= 0 && start_ms <= end_ms;
}

/* Earlier viewings up to this member; those of members that were passed over are passed over. */
static enum err earlier_viewings(struct members *members, int64_t key, uint32_t *count, bool *sane)
{
    enum err err = ERR_NONE;
    while (members->earlier_row) {
        int64_t at = sqlite3_column_int64(members->earlier, 0);
        if (at > key) {
            break;
        }
        if (at == key) {
            *sane &= add_span(members, count, sqlite3_column_int64(members->earlier, 1),
                              sqlite3_column_int64(members->earlier, 2));
        }
        members->earlier_row = sqlite_row(members->link, members->earlier, &err);
    }
    return err;
}

/* Columns: SQL_EACH. */
static enum err read_member(struct members *members, struct records_member *member)
{
    sqlite3_stmt *rows = members->rows;
    const unsigned want = members->query->want;
    bool sane = true;
    uint32_t count = 0;
    int64_t key = sqlite3_column_int64(rows, 0);
    *member = (struct records_member){
        .member_no = (uint32_t)key, /* the lower half */
        .country = sqlite_column_country(rows, 1, &sane),
        .expiry_ms = sqlite3_column_int64(rows, 4),
    };
    uint16_t set_no = (uint16_t)sqlite_column_number(rows, 5, UINT16_MAX, &sane);
    enum err err = earlier_viewings(members, key, &count, &sane);
    sane &= add_span(members, &count, sqlite3_column_int64(rows, 2), sqlite3_column_int64(rows, 3));
    if (err == ERR_NONE && !sane) {
        err = records_fail(&members->link->link, ERR_DAMAGED,
                           "member %u of event %.*s holds what nothing writes", member->member_no,
                           SLICE_ARG(members->query->event));
    }
    member->viewings = members->spans;
    member->viewings_count = count;
    if (err == ERR_NONE && (want & MEMBERS_WANT_VIEWER) != 0) {
        err = set_of(members, set_no, &member->groups);
    }
    if (err == ERR_NONE && want != 0) {
        struct slice viewer = sqlite_column_slice(rows, 6);
        member->name = sqlite_column_slice(rows, 7);
        if ((want & MEMBERS_WANT_NAME) != 0 && members->link->source != NULL) {
            err = source_name(members, viewer, &member->name);
        }
        if ((want & MEMBERS_WANT_VIEWER) != 0) {
            member->viewer = viewer;
        }
    }
    return err;
}

/* ---- the scans ---- */

static enum sqlite_statement which_rows(const struct members *members)
{
    const bool own = members->query->session.len == 0;
    if (members->query->want == 0) {
        return SQL_EACH_MEMBER;
    }
    if ((members->query->want & MEMBERS_WANT_NAME) != 0 && members->link->source == NULL) {
        return own ? SQL_EACH_OWN_NAME : SQL_EACH_SESSION_NAME;
    }
    return own ? SQL_EACH_OWN_VIEWER : SQL_EACH_SESSION_VIEWER;
}

static enum err begin_scans(struct members *members, int64_t first_key, int64_t last_key)
{
    enum err err = sqlite_prepare(members->link, which_rows(members), &members->rows);
    if (err == ERR_NONE) {
        err = sqlite_prepare(members->link, SQL_EACH_VIEWING, &members->earlier);
    }
    if (err != ERR_NONE) {
        return err;
    }
    const int64_t numbers[] = {first_key, last_key, members->event_id, members->own_id};
    const int parameters = sqlite3_bind_parameter_count(members->rows);
    for (int i = 1; i <= parameters && i <= 4; i++) {
        sqlite_bind_i64(members->rows, i, numbers[i - 1]);
    }
    if (parameters == 5) {
        sqlite_bind_slice(members->rows, 5, members->query->event);
    }
    sqlite_bind_i64(members->earlier, 1, first_key);
    sqlite_bind_i64(members->earlier, 2, last_key);
    members->earlier_row = sqlite_row(members->link, members->earlier, &err);
    return err;
}

/* Numbers have no holes: so the next page begins at its number if anything comes at all. */
static enum err find_next(struct members *members, int64_t last_key, uint32_t *next)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(members->link, SQL_MEMBER_AFTER, &stmt);
    *next = UINT32_MAX;
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, last_key + 1);
        sqlite_bind_i64(stmt, 2, sqlite_key(members->audience_id, UINT32_MAX));
        while (sqlite_row(members->link, stmt, &err)) {
            *next = (uint32_t)(last_key + 1);
        }
    }
    return err;
}

static enum err scan(struct members *members, uint32_t *next, records_member_fn *fn, void *ctx)
{
    const struct records_members_query *query = members->query;
    const int64_t first_key = sqlite_key(members->audience_id, query->first);
    const uint32_t left = UINT32_MAX - query->first;
    const int64_t last_key =
        query->rows_max == 0 || query->rows_max > left
            ? sqlite_key(members->audience_id, UINT32_MAX)
            : sqlite_key(members->audience_id, query->first + query->rows_max - 1);
    enum err err = begin_scans(members, first_key, last_key);
    if (err == ERR_NONE) {
        while (sqlite_row(members->link, members->rows, &err)) {
            struct records_member member;
            err = read_member(members, &member);
            if (err == ERR_NONE) {
                err = fn(ctx, &member);
            }
            if (err != ERR_NONE) {
                break;
            }
        }
    }
    /* Either may be in the middle; NULL is fine. */
    sqlite3_reset(members->rows);
    sqlite3_reset(members->earlier);
    return err != ERR_NONE ? err : find_next(members, last_key, next);
}

enum err sqlite_members_each(struct records_link *base, const struct records_members_query *query,
                             uint32_t *next, records_member_fn *fn, void *ctx)
{
    struct members members = {.link = sqlite_link_of(base), .query = query};
    *next = UINT32_MAX;
    enum err err = sqlite_read_begin(members.link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_audience_id(members.link, query->event, query->session, &members.event_id,
                             &members.audience_id);
    members.own_id = members.audience_id;
    if (err == ERR_NONE && query->session.len > 0) {
        err = sqlite_audience_id(members.link, query->event, SLICE_EMPTY, &members.event_id,
                                 &members.own_id);
    }
    if (err == ERR_NONE) {
        err = scan(&members, next, fn, ctx);
    }
    err = err == ERR_NOT_FOUND ? ERR_NONE : err; /* nobody has been there */
    sqlite_read_end(members.link);
    for (uint32_t i = 0; i < members.sets_count; i++) {
        free(members.sets[i].packed);
    }
    free(members.sets);
    free(members.spans);
    return err;
}
