/* report_page.c -- the rows of a report: picked and written by the reader's thread, a page at a
 * time. */
#include "api/report.h"

#include "base/csv.h"
#include "core/country.h"
#include "core/groups.h"

#define PAGE_MEMBERS 4096 /* looked at by one query */

/* ---- rows ---- */

struct row {
    int64_t first_ms, last_ms, total_ms;
    uint64_t viewings;
};

/* What of the viewings lies inside of the range; false: nothing. */
static bool clip(const struct records_member *member, int64_t from_ms, int64_t to_ms,
                 struct row *row)
{
    *row = (struct row){.first_ms = INT64_MAX};
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        int64_t start_ms = member->viewings[i].start_ms, end_ms = member->viewings[i].end_ms;
        start_ms = start_ms < from_ms ? from_ms : start_ms;
        end_ms = end_ms > to_ms ? to_ms : end_ms;
        if (start_ms > end_ms) {
            continue;
        }
        row->viewings++;
        row->total_ms += end_ms - start_ms;
        row->first_ms = start_ms < row->first_ms ? start_ms : row->first_ms;
        row->last_ms = end_ms > row->last_ms ? end_ms : row->last_ms;
    }
    return row->viewings > 0;
}

/* In any of the wanted groups; both lists are in order. */
static bool has_group(struct slice groups, struct slice wanted)
{
    struct slice group, want;
    bool more = groups_next(&groups, &group) && groups_next(&wanted, &want);
    while (more) {
        int order = slice_compare(group, want);
        if (order == 0) {
            return true;
        }
        more = order < 0 ? groups_next(&groups, &group) : groups_next(&wanted, &want);
    }
    return false;
}

static void put_json_row(struct buffer *out, const struct records_member *member,
                         const struct row *row)
{
    char country[2];
    country_text(member->country, country);
    buffer_put_lit(out, "{\"viewerId\":");
    buffer_put_json_string(out, member->viewer);
    buffer_put_lit(out, ",\"name\":");
    buffer_put_json_string(out, member->name);
    buffer_put_lit(out, ",\"groups\":");
    put_groups(out, member->groups);
    buffer_put_lit(out, ",\"country\":");
    buffer_put_json_string(out, slice_of(country, sizeof country));
    buffer_put_lit(out, ",\"firstSeenMs\":");
    buffer_put_i64(out, row->first_ms);
    buffer_put_lit(out, ",\"lastSeenMs\":");
    buffer_put_i64(out, row->last_ms);
    buffer_put_lit(out, ",\"viewings\":");
    buffer_put_u64(out, row->viewings);
    buffer_put_lit(out, ",\"totalMs\":");
    buffer_put_i64(out, row->total_ms);
    buffer_put_char(out, '}');
}

/* Between semicolons, as in the files of `novabeat viewers`: in an id, these and backslashes get a
 * backslash. */
static struct slice join_groups(struct slice packed, char joined[2 * GROUPS_PACKED_BYTES_MAX])
{
    size_t len = 0;
    for (struct slice id; groups_next(&packed, &id);) {
        if (len > 0) {
            joined[len++] = ';';
        }
        for (size_t i = 0; i < id.len; i++) {
            if (id.ptr[i] == ';' || id.ptr[i] == '\\') {
                joined[len++] = '\\';
            }
            joined[len++] = id.ptr[i];
        }
    }
    return slice_of(joined, len);
}

/* 90500 ms are 1.508: rounded to a thousandth. */
static void put_minutes(struct buffer *out, int64_t ms)
{
    uint64_t thousandths = ((uint64_t)ms + 30) / 60;
    uint64_t part = thousandths % 1000;
    buffer_put_u64(out, thousandths / 1000);
    const char text[4] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10),
                          (char)('0' + part % 10)};
    buffer_put(out, slice_of(text, sizeof text));
}

const char report_csv_header[] =
    "viewerId,name,groups,country,firstSeen,lastSeen,viewings,minutes,totalMs,firstSeenMs,"
    "lastSeenMs\r\n";

static void put_csv_row(struct buffer *out, const struct zone *zone,
                        const struct records_member *member, const struct row *row)
{
    char joined[2 * GROUPS_PACKED_BYTES_MAX], country[2], time[ZONE_TEXT_BYTES];
    country_text(member->country, country);
    csv_put_cell(out, member->viewer);
    buffer_put_char(out, ',');
    csv_put_cell(out, member->name);
    buffer_put_char(out, ',');
    csv_put_cell(out, join_groups(member->groups, joined));
    buffer_put_char(out, ',');
    buffer_put(out, slice_of(country, sizeof country));
    buffer_put_char(out, ',');
    buffer_put(out, zone_format(zone, row->first_ms, time));
    buffer_put_char(out, ',');
    buffer_put(out, zone_format(zone, row->last_ms, time));
    buffer_put_char(out, ',');
    buffer_put_u64(out, row->viewings);
    buffer_put_char(out, ',');
    put_minutes(out, row->total_ms);
    buffer_put_char(out, ',');
    buffer_put_i64(out, row->total_ms);
    buffer_put_char(out, ',');
    buffer_put_i64(out, row->first_ms);
    buffer_put_char(out, ',');
    buffer_put_i64(out, row->last_ms);
    csv_put_end(out);
}

/* ---- one page, on a thread that may block ---- */

static enum err take_member(void *ctx, const struct records_member *member)
{
    struct report *report = ctx;
    int64_t to_ms = report->to_ms < report->moment_ms ? report->to_ms : report->moment_ms;
    struct row row;
    if (!clip(member, report->from_ms, to_ms, &row) || row.total_ms < report->minimum_ms ||
        (report->groups_len > 0 &&
         !has_group(member->groups, slice_of(report->groups, report->groups_len)))) {
        return ERR_NONE;
    }
    /* Only a viewer who belongs to the report stops the page, so a cursor promises one more row. */
    uint32_t rows = report->rows + report->page_rows;
    report->at_limit =
        rows == report->limit ||
        (!report->csv && rows > 0 &&
         buffer_slice(&report->text).len + buffer_slice(&report->page).len >= JSON_BYTES);
    if (report->at_limit || buffer_slice(&report->page).len >= PAGE_BYTES) {
        report->page_next = member->member_no;
        return ERR_FULL;
    }
    if (report->csv) {
        put_csv_row(&report->page, report->zone, member, &row);
    } else {
        if (rows > 0) {
            buffer_put_char(&report->page, ',');
        }
        put_json_row(&report->page, member, &row);
    }
    report->page_rows++;
    return ERR_NONE;
}

/* False: `problem` or *err says why. */
static bool zone_ready(struct report *report, enum err *err)
{
    if (report->zone != NULL) {
        return true;
    }
    struct slice name =
        report->zone_len == 0 ? SLICE_LIT("UTC") : slice_of(report->zone_name, report->zone_len);
    enum err opened = zone_open(name, &report->zone);
    if (opened == ERR_NONE) {
        return true;
    }
    report->zone = NULL;
    *err = ERR_NONE;
    report->problem = (struct problem){
        400, "timeZone",
        opened == ERR_INVALID || opened == ERR_NOT_FOUND
            ? "\"timeZone\" must be UTC, an offset such as +08:00, or a name such as Asia/Hong_Kong"
            : "the data of this \"timeZone\" cannot be read"};
    return false;
}

enum err report_read_page(struct records_link *link, struct live_query *query)
{
    struct report *report = query->arg;
    const struct records_members_query members = {
        .event = query->event,
        .session = query->session,
        .first = report->next,
        .rows_max = PAGE_MEMBERS,
        .want = MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME,
    };
    enum err err;
    if (!zone_ready(report, &err)) {
        return err;
    }
    if (report->moment_ms == 0) {
        report->moment_ms = query->now_ms;
    }
    if (report->moment_ms > query->now_ms) {
        report->problem = (struct problem){400, "cursor",
                                           "\"cursor\" must be what \"next\" said: it is of a "
                                           "time that is still to come"};
        return ERR_NONE;
    }
    buffer_reset(&report->page); /* it may run again */
    report->page_rows = 0;
    report->at_limit = false;
    uint32_t next = MEMBERS_END;
    err = records_members_each(link, &members, &next, take_member, report);
    if (err == ERR_FULL) {
        return ERR_NONE; /* page_next is set */
    }
    report->page_next = next;
    return err;
}
