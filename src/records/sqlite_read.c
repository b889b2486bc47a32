/* sqlite_read.c -- what the API reads: events, audiences, frames, one viewer's viewings. */
#include "records/sqlite.h"

#include "records/json_text.h"
#include "core/country.h"

/* ---- shared readers ---- */

uint64_t sqlite_column_number(sqlite3_stmt *stmt, int column, uint64_t max, bool *sane)
{
    int64_t number = sqlite3_column_int64(stmt, column);
    if (number < 0 || (uint64_t)number > max) {
        *sane = false;
        return 0;
    }
    return (uint64_t)number;
}

country_t sqlite_column_country(sqlite3_stmt *stmt, int column, bool *sane)
{
    country_t country;
    if (!country_pack(sqlite_column_slice(stmt, column), &country)) {
        *sane = false;
    }
    return country;
}

enum err sqlite_event_id(struct sqlite_link *link, struct slice event, int64_t *id)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_EVENT_FIND, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_slice(stmt, 1, event);
    err = sqlite_one(link, stmt, id);
    return err != ERR_NOT_FOUND
               ? err
               : records_fail(&link->link, err, "event %.*s was never seen", SLICE_ARG(event));
}

/* Two columns of JSON tallies, into the link's buffers. */
static bool read_tallies(struct sqlite_link *link, sqlite3_stmt *stmt, int first,
                         struct slice *groups, struct slice *countries)
{
    buffer_reset(&link->groups);
    buffer_reset(&link->countries);
    if (!json_tally_read(sqlite_column_slice(stmt, first), &link->groups) ||
        !json_tally_read(sqlite_column_slice(stmt, first + 1), &link->countries)) {
        return false;
    }
    *groups = buffer_slice(&link->groups);
    *countries = buffer_slice(&link->countries);
    return true;
}

enum err sqlite_read_audience(struct sqlite_link *link, sqlite3_stmt *stmt, int64_t *id,
                              struct audience_row *row)
{
    bool sane = true;
    *id = sqlite3_column_int64(stmt, 0);
    *row = (struct audience_row){
        .event = sqlite_column_slice(stmt, 1),
        .session = sqlite_column_slice(stmt, 2),
        .seq = sqlite_column_number(stmt, 3, INT64_MAX, &sane),
        .as_of_ms = sqlite3_column_int64(stmt, 4),
        .attended = (uint32_t)sqlite_column_number(stmt, 5, UINT32_MAX, &sane),
        .logins = sqlite_column_number(stmt, 6, INT64_MAX, &sane),
        .total_ms = sqlite3_column_int64(stmt, 7),
        .peak_count = (uint32_t)sqlite_column_number(stmt, 8, UINT32_MAX, &sane),
        .peak_ms = sqlite3_column_int64(stmt, 9),
        .frame_start_ms = sqlite3_column_int64(stmt, 10),
        .frame_length_ms = sqlite3_column_int64(stmt, 11),
        .frame_viewers = (uint32_t)sqlite_column_number(stmt, 12, UINT32_MAX, &sane),
    };
    row->members = (uint32_t)sqlite_column_number(stmt, 16, UINT32_MAX, &sane);
    row->idle = row->session.len == 0 && sqlite3_column_int(stmt, 15) != 0;
    if (!sane || !read_tallies(link, stmt, 13, &row->frame_groups, &row->frame_countries)) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the row of audience %.*s/%.*s holds what nothing writes",
                            SLICE_ARG(row->event), SLICE_ARG(row->session));
    }
    return ERR_NONE;
}

/* ---- events ---- */

enum err sqlite_events_each(struct records_link *base, struct slice after, uint64_t limit,
                            records_event_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_EVENTS_EACH, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, after);
        sqlite_bind_limit(stmt, 2, limit);
        while (sqlite_row(link, stmt, &err)) {
            err = fn(ctx, sqlite_column_slice(stmt, 0));
            if (err != ERR_NONE) {
                sqlite3_reset(stmt);
                break;
            }
        }
    }
    sqlite_read_end(link);
    return err;
}

/* ---- audiences ---- */

static enum err each_audience(struct sqlite_link *link, int64_t event_id, struct slice session,
                              bool sessions, records_audience_fn *fn, void *ctx)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, sessions ? SQL_AUDIENCES : SQL_AUDIENCE_ONE, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, event_id);
    if (!sessions) {
        sqlite_bind_slice(stmt, 2, session);
    }
    bool any = false;
    while (sqlite_row(link, stmt, &err)) {
        struct audience_row row;
        int64_t id;
        any = true;
        err = sqlite_read_audience(link, stmt, &id, &row);
        if (err == ERR_NONE) {
            err = fn(ctx, &row);
        }
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    if (err == ERR_NONE && !any) {
        err = records_fail(&link->link, ERR_NOT_FOUND, "session %.*s was never seen",
                           SLICE_ARG(session));
    }
    return err;
}

enum err sqlite_audiences(struct records_link *base, struct slice event, struct slice session,
                          bool sessions, records_audience_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id;
    err = sqlite_event_id(link, event, &event_id);
    if (err == ERR_NONE) {
        err = each_audience(link, event_id, session, sessions, fn, ctx);
    }
    sqlite_read_end(link);
    return err;
}

enum err sqlite_audience_id(struct sqlite_link *link, struct slice event, struct slice session,
                            int64_t *event_id, int64_t *id)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_event_id(link, event, event_id);
    if (err == ERR_NONE) {
        err = sqlite_prepare(link, SQL_AUDIENCE_FIND, &stmt);
    }
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, *event_id);
        sqlite_bind_slice(stmt, 2, session);
        err = sqlite_one(link, stmt, id);
    }
    return err;
}

/* ---- frames ---- */

static enum err each_frame(struct sqlite_link *link, sqlite3_stmt *stmt, records_frame_fn *fn,
                           void *ctx)
{
    enum err err = ERR_NONE;
    while (sqlite_row(link, stmt, &err)) {
        bool sane = true;
        struct frame_row row = {
            .start_ms = sqlite3_column_int64(stmt, 0),
            .end_ms = sqlite3_column_int64(stmt, 1),
            .viewers = (uint32_t)sqlite_column_number(stmt, 2, UINT32_MAX, &sane),
        };
        if (sane && read_tallies(link, stmt, 3, &row.groups, &row.countries)) {
            err = fn(ctx, &row);
        } else {
            err = records_fail(&link->link, ERR_DAMAGED,
                               "the frame of %lld holds what nothing writes",
                               (long long)row.start_ms);
        }
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

enum err sqlite_frames(struct records_link *base, struct slice event, struct slice session,
                       int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                       void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id, id;
    err = sqlite_audience_id(link, event, session, &event_id, &id);
    if (err == ERR_NONE) {
        err = sqlite_prepare(link, SQL_FRAMES, &stmt);
    }
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, id);
        sqlite_bind_i64(stmt, 2, from_ms);
        sqlite_bind_i64(stmt, 3, to_ms);
        sqlite_bind_limit(stmt, 4, limit);
        err = each_frame(link, stmt, fn, ctx);
    }
    sqlite_read_end(link);
    return err == ERR_NOT_FOUND ? ERR_NONE : err; /* an audience that nobody has seen has none */
}

/* ---- one viewer ---- */

/* Found by a scan of the event's viewers: an index over a million random ids would cost every
 * commit more than this costs a rare reader (docs/RECORDS.md, figures). */
static enum err find_viewer(struct sqlite_link *link, int64_t event_id, struct slice viewer,
                            int64_t *viewer_no)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_VIEWER_FIND, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, event_id);
    sqlite_bind_slice(stmt, 2, viewer);
    if (sqlite_row(link, stmt, &err)) {
        *viewer_no = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt); /* there is no second one: do not scan on for it */
        return ERR_NONE;
    }
    return err != ERR_NONE ? err
                           : records_fail(&link->link, ERR_NOT_FOUND, "the viewer never attended");
}

/* Is it (still, or already) this number's viewer? */
static enum err expect_viewer(struct sqlite_link *link, int64_t event_id, struct slice viewer,
                              int64_t viewer_no)
{
    sqlite3_stmt *stmt;
    bool found = false;
    enum err err = sqlite_prepare(link, SQL_VIEWER_AT, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, sqlite_key(event_id, (uint32_t)viewer_no));
    while (sqlite_row(link, stmt, &err)) {
        found = slice_equal(sqlite_column_slice(stmt, 0), viewer);
    }
    return err != ERR_NONE || found
               ? err
               : records_fail(&link->link, ERR_NOT_FOUND, "the viewer never attended");
}

static enum err each_viewing(struct sqlite_link *link, int64_t event_id, int64_t viewer_no,
                             uint64_t limit, records_viewing_fn *fn, void *ctx)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_VIEWINGS, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, event_id);
    sqlite_bind_i64(stmt, 2, viewer_no);
    sqlite_bind_limit(stmt, 3, limit);
    while (sqlite_row(link, stmt, &err)) {
        bool sane = true;
        struct viewing_of_viewer viewing = {
            .session = sqlite_column_slice(stmt, 0),
            .start_ms = sqlite3_column_int64(stmt, 1),
            .end_ms = sqlite3_column_int64(stmt, 2),
            .expiry_ms = sqlite3_column_int64(stmt, 3),
            .country = sqlite_column_country(stmt, 4, &sane),
        };
        err = sane ? fn(ctx, &viewing)
                   : records_fail(&link->link, ERR_DAMAGED, "a member's country is none");
        if (err != ERR_NONE) {
            sqlite3_reset(stmt);
            break;
        }
    }
    return err;
}

enum err sqlite_viewings(struct records_link *base, struct slice event, struct slice viewer,
                         int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id;
    err = sqlite_event_id(link, event, &event_id);
    if (err == ERR_NONE) {
        err = viewer_no < 0 ? find_viewer(link, event_id, viewer, &viewer_no)
                            : expect_viewer(link, event_id, viewer, viewer_no);
    }
    if (err == ERR_NONE) {
        err = each_viewing(link, event_id, viewer_no, limit, fn, ctx);
    }
    sqlite_read_end(link);
    return err;
}
