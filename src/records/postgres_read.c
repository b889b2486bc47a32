/* postgres_read.c -- what the API reads: events, audiences, frames, one viewer's viewings. */
#include "records/postgres.h"

#include "records/json_text.h"
#include "core/country.h"

/* ---- shared readers ---- */

uint64_t postgres_column_number(const PGresult *result, int row, int column, uint64_t max,
                                bool *sane)
{
    int64_t number = postgres_i64(result, row, column);
    if (number < 0 || (uint64_t)number > max) {
        *sane = false;
        return 0;
    }
    return (uint64_t)number;
}

country_t postgres_column_country(const PGresult *result, int row, int column, bool *sane)
{
    country_t country;
    if (!country_pack(postgres_text(result, row, column), &country)) {
        *sane = false;
    }
    return country;
}

enum err postgres_event_id(struct postgres_link *link, struct slice event, int64_t *id)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, event);
    enum err err = postgres_one(link, PG_EVENT_FIND, &args, id);
    return err != ERR_NOT_FOUND
               ? err
               : records_fail(&link->link, err, "event %.*s was never seen", SLICE_ARG(event));
}

/* Two columns of JSON tallies, into the link's buffers. */
static bool read_tallies(struct postgres_link *link, const PGresult *result, int row, int first,
                         struct slice *groups, struct slice *countries)
{
    buffer_reset(&link->groups);
    buffer_reset(&link->countries);
    if (!json_tally_read(postgres_text(result, row, first), &link->groups) ||
        !json_tally_read(postgres_text(result, row, first + 1), &link->countries)) {
        return false;
    }
    *groups = buffer_slice(&link->groups);
    *countries = buffer_slice(&link->countries);
    return true;
}

enum err postgres_read_audience(struct postgres_link *link, const PGresult *result, int at,
                                int64_t *id, struct audience_row *row)
{
    bool sane = true;
    *id = postgres_i64(result, at, 0);
    *row = (struct audience_row){
        .event = postgres_text(result, at, 1),
        .session = postgres_text(result, at, 2),
        .seq = postgres_column_number(result, at, 3, INT64_MAX, &sane),
        .as_of_ms = postgres_i64(result, at, 4),
        .attended = (uint32_t)postgres_column_number(result, at, 5, UINT32_MAX, &sane),
        .logins = postgres_column_number(result, at, 6, INT64_MAX, &sane),
        .total_ms = postgres_i64(result, at, 7),
        .peak_count = (uint32_t)postgres_column_number(result, at, 8, UINT32_MAX, &sane),
        .peak_ms = postgres_i64(result, at, 9),
        .frame_start_ms = postgres_i64(result, at, 10),
        .frame_length_ms = postgres_i64(result, at, 11),
        .frame_viewers = (uint32_t)postgres_column_number(result, at, 12, UINT32_MAX, &sane),
    };
    row->members = (uint32_t)postgres_column_number(result, at, 16, UINT32_MAX, &sane);
    row->idle = row->session.len == 0 && postgres_i64(result, at, 15) == 0;
    if (!sane || !read_tallies(link, result, at, 13, &row->frame_groups, &row->frame_countries)) {
        return records_fail(&link->link, ERR_DAMAGED,
                            "the row of audience %.*s/%.*s holds what nothing writes",
                            SLICE_ARG(row->event), SLICE_ARG(row->session));
    }
    return ERR_NONE;
}

enum err postgres_audience_id(struct postgres_link *link, struct slice event, struct slice session,
                              int64_t *event_id, int64_t *id)
{
    struct postgres_args args = {0};
    enum err err = postgres_event_id(link, event, event_id);
    if (err == ERR_NONE) {
        postgres_arg_i64(&args, *event_id);
        postgres_arg_text(&args, session);
        err = postgres_one(link, PG_AUDIENCE_FIND, &args, id);
    }
    return err;
}

/* How many rows the next page may have. */
static uint64_t page_of(uint64_t left)
{
    return left == 0 || left > POSTGRES_PAGE_ROWS ? POSTGRES_PAGE_ROWS : left;
}

/* ---- events ---- */

/* Page by page, in one snapshot.  left: at most so many; 0: all. */
static enum err each_event(struct postgres_link *link, enum postgres_statement which,
                           struct slice after, uint64_t left, records_event_fn *fn, void *ctx)
{
    char last[EVENT_ID_BYTES_MAX];
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        const uint64_t page = page_of(left);
        struct postgres_args args = {0};
        PGresult *result;
        postgres_arg_text(&args, after);
        postgres_arg_i64(&args, (int64_t)page);
        err = postgres_run(link, which, &args, &result);
        const int rows = err == ERR_NONE ? PQntuples(result) : 0;
        for (int i = 0; i < rows && err == ERR_NONE; i++) {
            err = fn(ctx, postgres_text(result, i, 0));
        }
        more = (uint64_t)rows == page && left != page;
        left -= left == 0 ? 0 : page;
        if (more && err == ERR_NONE) {
            after = postgres_text(result, rows - 1, 0);
            if (after.len > sizeof last) {
                err = records_fail(&link->link, ERR_DAMAGED, "an event's name is too long");
            } else {
                memcpy(last, after.ptr, after.len);
                after.ptr = last;
            }
        }
        PQclear(result);
    }
    return err;
}

enum err postgres_events_each(struct records_link *base, struct slice after, uint64_t limit,
                              records_event_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err == ERR_NONE) {
        err = each_event(link, PG_EVENTS_EACH, after, limit, fn, ctx);
        postgres_read_end(link);
    }
    return err;
}

enum err postgres_live_events(struct records_link *base, records_event_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err == ERR_NONE) {
        err = each_event(link, PG_EVENTS_LIVE, SLICE_EMPTY, 0, fn, ctx);
        postgres_read_end(link);
    }
    return err;
}

enum err postgres_idle_events(struct records_link *base, int64_t before_ms, bool people,
                              uint64_t limit, records_event_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    struct postgres_args args = {0};
    PGresult *result = NULL;
    postgres_arg_i64(&args, before_ms);
    postgres_arg_i64(&args, people);
    postgres_arg_limit(&args, limit);
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = postgres_run(link, PG_IDLE_EVENTS, &args, &result);
    for (int i = 0; err == ERR_NONE && i < PQntuples(result); i++) {
        err = fn(ctx, postgres_text(result, i, 0));
    }
    PQclear(result);
    postgres_read_end(link);
    return err;
}

/* ---- audiences ---- */

static enum err each_row(struct postgres_link *link, const PGresult *result,
                         records_audience_fn *fn, void *ctx)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < PQntuples(result) && err == ERR_NONE; i++) {
        struct audience_row row;
        int64_t id;
        err = postgres_read_audience(link, result, i, &id, &row);
        err = err == ERR_NONE ? fn(ctx, &row) : err;
    }
    return err;
}

/* With its sessions, page by page: the next one begins with a session greater than the last. */
static enum err each_audience(struct postgres_link *link, int64_t event_id, records_audience_fn *fn,
                              void *ctx, bool *any)
{
    char from[SESSION_ID_BYTES_MAX + 1] = "";
    size_t from_len = 0;
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        struct postgres_args args = {0};
        PGresult *result;
        postgres_arg_i64(&args, event_id);
        postgres_arg_text(&args, slice_of(from, from_len));
        postgres_arg_i64(&args, POSTGRES_PAGE_ROWS);
        err = postgres_run(link, PG_AUDIENCES, &args, &result);
        const int rows = err == ERR_NONE ? PQntuples(result) : 0;
        *any |= rows > 0;
        err = err == ERR_NONE ? each_row(link, result, fn, ctx) : err;
        more = rows == POSTGRES_PAGE_ROWS;
        if (more && err == ERR_NONE) {
            struct slice last = postgres_text(result, rows - 1, 2);
            if (last.len > SESSION_ID_BYTES_MAX) {
                err = records_fail(&link->link, ERR_DAMAGED, "a session's name is too long");
            } else {
                memcpy(from, last.ptr, last.len);
                from[last.len] = 1; /* nothing stands between the two */
                from_len = last.len + 1;
            }
        }
        PQclear(result);
    }
    return err;
}

static enum err one_audience(struct postgres_link *link, int64_t event_id, struct slice session,
                             records_audience_fn *fn, void *ctx, bool *any)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, event_id);
    postgres_arg_text(&args, session);
    enum err err = postgres_run(link, PG_AUDIENCE_ONE, &args, &result);
    if (err == ERR_NONE) {
        *any = PQntuples(result) > 0;
        err = each_row(link, result, fn, ctx);
    }
    PQclear(result);
    return err;
}

enum err postgres_audiences(struct records_link *base, struct slice event, struct slice session,
                            bool sessions, records_audience_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id;
    bool any = false;
    err = postgres_event_id(link, event, &event_id);
    if (err == ERR_NONE) {
        err = sessions ? each_audience(link, event_id, fn, ctx, &any)
                       : one_audience(link, event_id, session, fn, ctx, &any);
        if (err == ERR_NONE && !any) {
            err = records_fail(base, ERR_NOT_FOUND, "session %.*s was never seen",
                               SLICE_ARG(session));
        }
    }
    postgres_read_end(link);
    return err;
}

/* ---- frames ---- */

static enum err read_frame(struct postgres_link *link, const PGresult *result, int at,
                           struct frame_row *row)
{
    bool sane = true;
    *row = (struct frame_row){
        .start_ms = postgres_i64(result, at, 0),
        .end_ms = postgres_i64(result, at, 1),
        .viewers = (uint32_t)postgres_column_number(result, at, 2, UINT32_MAX, &sane),
    };
    return sane && read_tallies(link, result, at, 3, &row->groups, &row->countries)
               ? ERR_NONE
               : records_fail(&link->link, ERR_DAMAGED,
                              "the frame of %lld holds what nothing writes",
                              (long long)row->start_ms);
}

static enum err each_frame(struct postgres_link *link, int64_t id, int64_t from_ms, int64_t to_ms,
                           uint64_t left, records_frame_fn *fn, void *ctx)
{
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        const uint64_t page = page_of(left);
        struct postgres_args args = {0};
        PGresult *result;
        postgres_arg_i64(&args, id);
        postgres_arg_i64(&args, from_ms);
        postgres_arg_i64(&args, to_ms);
        postgres_arg_i64(&args, (int64_t)page);
        err = postgres_run(link, PG_FRAMES, &args, &result);
        const int rows = err == ERR_NONE ? PQntuples(result) : 0;
        for (int i = 0; i < rows && err == ERR_NONE; i++) {
            struct frame_row row;
            err = read_frame(link, result, i, &row);
            err = err == ERR_NONE ? fn(ctx, &row) : err;
            from_ms = row.start_ms + 1;
        }
        PQclear(result);
        more = (uint64_t)rows == page && left != page;
        left -= left == 0 ? 0 : page;
    }
    return err;
}

enum err postgres_frames(struct records_link *base, struct slice event, struct slice session,
                         int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                         void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id, id;
    err = postgres_audience_id(link, event, session, &event_id, &id);
    if (err == ERR_NONE) {
        err = each_frame(link, id, from_ms, to_ms, limit, fn, ctx);
    }
    postgres_read_end(link);
    return err == ERR_NOT_FOUND ? ERR_NONE : err; /* an audience that nobody has seen has none */
}

/* ---- one viewer ---- */

static enum err never(struct postgres_link *link)
{
    return records_fail(&link->link, ERR_NOT_FOUND, "the viewer never attended");
}

/* Found by a scan of the event's viewers, as in SQLite: an index over a million random ids would
 * cost every commit more than this costs a rare reader. */
static enum err find_viewer(struct postgres_link *link, int64_t event_id, struct slice viewer,
                            int64_t *viewer_no)
{
    struct postgres_args args = {0};
    postgres_arg_i64(&args, event_id);
    postgres_arg_text(&args, viewer);
    enum err err = postgres_one(link, PG_VIEWER_FIND, &args, viewer_no);
    return err == ERR_NOT_FOUND ? never(link) : err;
}

/* Is it (still, or already) this number's viewer? */
static enum err expect_viewer(struct postgres_link *link, int64_t event_id, struct slice viewer,
                              int64_t viewer_no)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, postgres_key(event_id, (uint32_t)viewer_no));
    enum err err = postgres_run(link, PG_VIEWER_AT, &args, &result);
    if (err == ERR_NONE &&
        (PQntuples(result) == 0 || !slice_equal(postgres_text(result, 0, 0), viewer))) {
        err = never(link);
    }
    PQclear(result);
    return err;
}

static enum err each_viewing(struct postgres_link *link, int64_t event_id, int64_t viewer_no,
                             uint64_t limit, records_viewing_fn *fn, void *ctx)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, event_id);
    postgres_arg_i64(&args, viewer_no);
    postgres_arg_limit(&args, limit);
    enum err err = postgres_run(link, PG_VIEWINGS, &args, &result);
    for (int i = 0; err == ERR_NONE && i < PQntuples(result); i++) {
        bool sane = true;
        const struct viewing_of_viewer viewing = {
            .session = postgres_text(result, i, 0),
            .start_ms = postgres_i64(result, i, 1),
            .end_ms = postgres_i64(result, i, 2),
            .expiry_ms = postgres_i64(result, i, 3),
            .country = postgres_column_country(result, i, 4, &sane),
        };
        err = sane ? fn(ctx, &viewing)
                   : records_fail(&link->link, ERR_DAMAGED, "a member's country is none");
    }
    PQclear(result);
    return err;
}

enum err postgres_viewings(struct records_link *base, struct slice event, struct slice viewer,
                           int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    int64_t event_id;
    err = postgres_event_id(link, event, &event_id);
    if (err == ERR_NONE) {
        err = viewer_no < 0 ? find_viewer(link, event_id, viewer, &viewer_no)
                            : expect_viewer(link, event_id, viewer, viewer_no);
    }
    if (err == ERR_NONE) {
        err = each_viewing(link, event_id, viewer_no, limit, fn, ctx);
    }
    postgres_read_end(link);
    return err;
}
