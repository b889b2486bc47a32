/* postgres_load.c -- what a start and a returning event need: the covered position, and a whole
 * event for the engine.  (The live events: postgres_read.c.) */
#include "records/postgres.h"

#include "records/json_text.h"
#include "core/ids.h"

enum err postgres_covered(struct records_link *base, uint64_t *covered_seq)
{
    static const struct postgres_args none;
    int64_t value = 0;
    enum err err = postgres_one(postgres_link_of(base), PG_COVERED_GET, &none, &value);
    *covered_seq = (uint64_t)value;
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* ---- a whole event ---- */

struct loading {
    struct postgres_link *link;
    struct slice event;
    int64_t event_id;
    struct event_builder *builder;
};

static enum err damaged(struct loading *loading, struct slice session, const char *why)
{
    return records_fail(&loading->link->link, ERR_DAMAGED, "event %.*s, session \"%.*s\": %s",
                        SLICE_ARG(loading->event), SLICE_ARG(session), why);
}

static enum err load_groups(struct loading *loading, const PGresult *result, int at)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t len = 0;
    bool sane = true;
    struct groups_row row = {
        .set_no = (uint16_t)postgres_column_number(result, at, 0, UINT16_MAX, &sane)};
    if (!sane || !json_groups_read(postgres_text(result, at, 1), packed, &len)) {
        return damaged(loading, SLICE_LIT(""), "a group set is no list of groups");
    }
    row.packed = slice_of(packed, len);
    const char *why = "";
    enum err err = event_builder_groups(loading->builder, &row, &why);
    return err == ERR_DAMAGED ? damaged(loading, SLICE_LIT(""), why) : err;
}

static enum err load_group_sets(struct loading *loading)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, loading->event_id);
    enum err err = postgres_run(loading->link, PG_GROUP_SETS, &args, &result);
    for (int i = 0; err == ERR_NONE && i < PQntuples(result); i++) {
        err = load_groups(loading, result, i);
    }
    PQclear(result);
    return err;
}

/* Columns: PG_MEMBER_COLUMNS. */
static bool read_member(const PGresult *result, int at, struct member_row *row)
{
    bool sane = true;
    *row = (struct member_row){
        .member_no = (uint32_t)postgres_i64(result, at, 0), /* the key's lower half */
        .viewer_no = (uint32_t)postgres_column_number(result, at, 1, VIEWERS_PER_EVENT_MAX, &sane),
        .groups = (uint16_t)postgres_column_number(result, at, 2, UINT16_MAX, &sane),
        .lease_groups = (uint16_t)postgres_column_number(result, at, 3, UINT16_MAX, &sane),
        .country = postgres_column_country(result, at, 4, &sane),
        .profile_due_ms = postgres_i64(result, at, 5),
        .start_ms = postgres_i64(result, at, 6),
        .end_ms = postgres_i64(result, at, 7),
        .expiry_ms = postgres_i64(result, at, 8),
        .counted_frame_ms = postgres_i64(result, at, 9),
    };
    return sane && row->start_ms <= row->end_ms;
}

/* The viewers of the event's own audience, in step with its members; erased ones have none. */
static bool next_viewer(struct loading *loading, const PGresult *viewers, int *at,
                        struct member_row *row)
{
    if (member_row_empty(row)) {
        return row->viewer_no == row->member_no;
    }
    if (*at >= PQntuples(viewers)) {
        return false;
    }
    row->viewer = postgres_text(viewers, *at, 1);
    return postgres_i64(viewers, (*at)++, 0) == postgres_key(loading->event_id, row->member_no) &&
           row->viewer_no == row->member_no && id_viewer_valid(row->viewer);
}

/* One page; viewers: NULL for a session's audience. */
static enum err each_member(struct loading *loading, const PGresult *members,
                            const PGresult *viewers, struct slice session)
{
    struct member_row row;
    int viewer = 0;
    enum err err = ERR_NONE;
    for (int i = 0; i < PQntuples(members) && err == ERR_NONE; i++) {
        const char *why = "a member's row holds what nothing writes";
        bool sane = read_member(members, i, &row);
        if (sane && viewers != NULL && !next_viewer(loading, viewers, &viewer, &row)) {
            sane = false;
            why = "members and viewers do not match";
        }
        err = sane ? event_builder_member(loading->builder, session, &row, &why) : ERR_DAMAGED;
        err = err == ERR_DAMAGED ? damaged(loading, session, why) : err;
    }
    return err;
}

/* The ids of the members of one page. */
static enum err load_viewers(struct loading *loading, const PGresult *members, PGresult **viewers)
{
    struct postgres_args args = {0};
    const int last = PQntuples(members) - 1;
    *viewers = NULL;
    postgres_arg_i64(&args, postgres_key(loading->event_id, (uint32_t)postgres_i64(members, 0, 0)));
    postgres_arg_i64(&args,
                     postgres_key(loading->event_id, (uint32_t)postgres_i64(members, last, 0)));
    return postgres_run(loading->link, PG_VIEWERS, &args, viewers);
}

static enum err load_members(struct loading *loading, int64_t audience_id, struct slice session)
{
    const int64_t last_key = postgres_key(audience_id, UINT32_MAX);
    int64_t key = postgres_key(audience_id, 0);
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        struct postgres_args args = {0};
        PGresult *members, *viewers = NULL;
        postgres_arg_i64(&args, key);
        postgres_arg_i64(&args, last_key);
        postgres_arg_i64(&args, POSTGRES_PAGE_ROWS);
        err = postgres_run(loading->link, PG_MEMBERS, &args, &members);
        const int rows = err == ERR_NONE ? PQntuples(members) : 0;
        if (rows > 0 && session.len == 0) {
            err = load_viewers(loading, members, &viewers);
        }
        if (err == ERR_NONE && rows > 0) {
            err = each_member(loading, members, viewers, session);
            key = postgres_i64(members, rows - 1, 0) + 1;
        }
        more = rows == POSTGRES_PAGE_ROWS;
        PQclear(members);
        PQclear(viewers);
    }
    return err;
}

/* Twice over the audiences: the rows first, then all members, as the builder wants them.  (They are
 * as many as an event has sessions: one result holds them.) */
static enum err load_audiences(struct loading *loading, const PGresult *audiences, bool members)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < PQntuples(audiences) && err == ERR_NONE; i++) {
        struct audience_row row;
        int64_t id;
        err = postgres_read_audience(loading->link, audiences, i, &id, &row);
        if (err == ERR_NONE && members) {
            err = load_members(loading, id, row.session);
        } else if (err == ERR_NONE) {
            const char *why = "";
            err = event_builder_audience(loading->builder, &row, &why);
            err = err == ERR_DAMAGED ? damaged(loading, row.session, why) : err;
        }
    }
    return err;
}

static enum err load_parts(struct loading *loading)
{
    struct postgres_args args = {0};
    PGresult *audiences = NULL;
    postgres_arg_i64(&args, loading->event_id);
    postgres_arg_text(&args, SLICE_EMPTY);
    postgres_arg_limit(&args, 0);
    enum err err = load_group_sets(loading);
    if (err == ERR_NONE) {
        err = postgres_run(loading->link, PG_AUDIENCES, &args, &audiences);
    }
    if (err == ERR_NONE) {
        err = load_audiences(loading, audiences, false);
    }
    if (err == ERR_NONE) {
        err = load_audiences(loading, audiences, true);
    }
    PQclear(audiences);
    return err;
}

enum err postgres_event_load(struct records_link *base, const struct engine_config *cfg,
                             struct slice event, struct event **out)
{
    struct loading loading = {.link = postgres_link_of(base), .event = event};
    *out = NULL;
    enum err err = postgres_read_begin(loading.link);
    if (err != ERR_NONE) {
        return err;
    }
    err = postgres_event_id(loading.link, event, &loading.event_id);
    if (err == ERR_NONE) {
        loading.builder = event_builder_new(cfg, event);
        err = load_parts(&loading);
        const char *why = "";
        if (err != ERR_NONE) {
            event_builder_free(loading.builder);
        } else {
            err = event_builder_finish(loading.builder, out, &why);
            err = err == ERR_DAMAGED ? damaged(&loading, SLICE_LIT(""), why) : err;
        }
    }
    postgres_read_end(loading.link);
    return err;
}
