/* sqlite_load.c -- what a start and a returning event need: the covered position, the live events,
 * and a whole event for the engine. */
#include "records/sqlite.h"

#include "records/json_text.h"
#include "core/ids.h"

enum err sqlite_covered(struct records_link *base, uint64_t *covered_seq)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    int64_t value = 0;
    enum err err = sqlite_prepare(link, SQL_COVERED_GET, &stmt);
    if (err == ERR_NONE) {
        err = sqlite_one(link, stmt, &value);
    }
    *covered_seq = (uint64_t)value;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

enum err sqlite_live_events(struct records_link *base, records_event_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_EVENTS_LIVE, &stmt);
    while (err == ERR_NONE && sqlite_row(link, stmt, &err)) {
        err = fn(ctx, sqlite_column_slice(stmt, 0));
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
        }
    }
    sqlite_read_end(link);
    return err;
}

/* ---- a whole event ---- */

struct loading {
    struct sqlite_link *link;
    struct slice event;
    int64_t event_id;
    struct event_builder *builder;
};

static enum err damaged(struct loading *loading, struct slice session, const char *why)
{
    return records_fail(&loading->link->link, ERR_DAMAGED, "event %.*s, session \"%.*s\": %s",
                        SLICE_ARG(loading->event), SLICE_ARG(session), why);
}

static enum err load_groups(struct loading *loading, sqlite3_stmt *stmt)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t len = 0;
    bool sane = true;
    struct groups_row row = {.set_no = (uint16_t)sqlite_column_number(stmt, 0, UINT16_MAX, &sane)};
    if (!sane || !json_groups_read(sqlite_column_slice(stmt, 1), packed, &len)) {
        return damaged(loading, SLICE_LIT(""), "a group set is no list of groups");
    }
    row.packed = slice_of(packed, len);
    const char *why = "";
    enum err err = event_builder_groups(loading->builder, &row, &why);
    return err == ERR_DAMAGED ? damaged(loading, SLICE_LIT(""), why) : err;
}

/* Columns: SQL_MEMBER_COLUMNS. */
static bool read_member(sqlite3_stmt *stmt, struct member_row *row)
{
    bool sane = true;
    *row = (struct member_row){
        .member_no = (uint32_t)sqlite3_column_int64(stmt, 0), /* the key's lower half */
        .viewer_no = (uint32_t)sqlite_column_number(stmt, 1, VIEWERS_PER_EVENT_MAX, &sane),
        .groups = (uint16_t)sqlite_column_number(stmt, 2, UINT16_MAX, &sane),
        .lease_groups = (uint16_t)sqlite_column_number(stmt, 3, UINT16_MAX, &sane),
        .country = sqlite_column_country(stmt, 4, &sane),
        .profile_due_ms = sqlite3_column_int64(stmt, 5),
        .start_ms = sqlite3_column_int64(stmt, 6),
        .end_ms = sqlite3_column_int64(stmt, 7),
        .expiry_ms = sqlite3_column_int64(stmt, 8),
        .counted_frame_ms = sqlite3_column_int64(stmt, 9),
    };
    return sane && row->start_ms <= row->end_ms;
}

/* The viewers of the event's own audience, in step with its members; erased ones have none. */
static bool next_viewer(struct loading *loading, sqlite3_stmt *viewers, struct member_row *row,
                        enum err *err)
{
    if (member_row_empty(row)) {
        return row->viewer_no == row->member_no;
    }
    if (!sqlite_row(loading->link, viewers, err)) {
        return false;
    }
    row->viewer = sqlite_column_slice(viewers, 1);
    return sqlite3_column_int64(viewers, 0) == sqlite_key(loading->event_id, row->member_no) &&
           row->viewer_no == row->member_no && id_viewer_valid(row->viewer);
}

static enum err each_member(struct loading *loading, sqlite3_stmt *members, sqlite3_stmt *viewers,
                            struct slice session)
{
    struct member_row row;
    enum err err = ERR_NONE;
    while (sqlite_row(loading->link, members, &err)) {
        const char *why = "a member's row holds what nothing writes";
        bool sane = read_member(members, &row);
        if (sane && viewers != NULL && !next_viewer(loading, viewers, &row, &err)) {
            sane = false;
            why = "members and viewers do not match";
        }
        if (err == ERR_NONE) {
            err = sane ? event_builder_member(loading->builder, session, &row, &why) : ERR_DAMAGED;
            err = err == ERR_DAMAGED ? damaged(loading, session, why) : err;
        }
        if (err != ERR_NONE) {
            sqlite3_reset(members);
            return err;
        }
    }
    return err;
}

static enum err load_members(struct loading *loading, int64_t audience_id, struct slice session)
{
    sqlite3_stmt *members, *viewers = NULL;
    enum err err = sqlite_prepare(loading->link, SQL_MEMBERS, &members);
    if (err == ERR_NONE && session.len == 0) {
        err = sqlite_prepare(loading->link, SQL_VIEWERS, &viewers);
    }
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(members, 1, audience_id);
    if (viewers != NULL) {
        sqlite_bind_i64(viewers, 1, loading->event_id);
    }
    err = each_member(loading, members, viewers, session);
    sqlite3_reset(viewers); /* it may stand on its last row; NULL is fine */
    return err;
}

/* Twice over the audiences: the rows first, then all members, as the builder wants them. */
static enum err load_audiences(struct loading *loading, bool members)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(loading->link, SQL_AUDIENCES, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, loading->event_id);
    while (sqlite_row(loading->link, stmt, &err)) {
        struct audience_row row;
        int64_t id;
        err = sqlite_read_audience(loading->link, stmt, &id, &row);
        if (err == ERR_NONE && members) {
            err = load_members(loading, id, row.session);
        } else if (err == ERR_NONE) {
            const char *why = "";
            err = event_builder_audience(loading->builder, &row, &why);
            err = err == ERR_DAMAGED ? damaged(loading, row.session, why) : err;
        }
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

static enum err load_group_sets(struct loading *loading)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(loading->link, SQL_GROUP_SETS, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, loading->event_id);
    while (sqlite_row(loading->link, stmt, &err)) {
        err = load_groups(loading, stmt);
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

enum err sqlite_event_load(struct records_link *base, const struct engine_config *cfg,
                           struct slice event, struct event **out)
{
    struct loading loading = {.link = sqlite_link_of(base), .event = event};
    *out = NULL;
    enum err err = sqlite_read_begin(loading.link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_event_id(loading.link, event, &loading.event_id);
    if (err != ERR_NONE) {
        goto end_read;
    }
    loading.builder = event_builder_new(cfg, event);
    err = load_group_sets(&loading);
    if (err == ERR_NONE) {
        err = load_audiences(&loading, false);
    }
    if (err == ERR_NONE) {
        err = load_audiences(&loading, true);
    }
    if (err != ERR_NONE) {
        event_builder_free(loading.builder);
        goto end_read;
    }
    const char *why = "";
    err = event_builder_finish(loading.builder, out, &why);
    if (err == ERR_DAMAGED) {
        err = damaged(&loading, SLICE_LIT(""), why);
    }
end_read:
    sqlite_read_end(loading.link);
    return err;
}
