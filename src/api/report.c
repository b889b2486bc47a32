/* report.c -- heartbeat-report: a row per viewer of an event or a session, as JSON or CSV.
 *
 * Model: a report reads the viewers in order of their numbers, page by page: each page is one
 * LIVE_READ, whose work picks rows and writes their text on the reader's thread.
 *   CSV:  each page goes out when it is there, and the next one is asked for when the peer has
 * taken most of it (http_stream_write, stream_ready): one page of memory per stream, and a slow
 *         peer holds no reader.
 *   JSON: pages are gathered until the limit or the end, and answered as a whole.
 * Only the first page waits until everything counted so far is stored.  It sets the moment that the
 * report is of: what is later is left out of further pages, too, so all rows are of one moment.  A
 * cursor carries that moment on.
 *
 * Memory: one allocation per report; a page of PAGE_BYTES and a row; JSON up to ANSWER_BYTES_MAX.
 * Threads: the worker's; the `page` band is the reader's while a query is under way. */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/csv.h"
#include "base/duration.h"
#include "base/memory.h"
#include "base/zone.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"

#define PAGE_MEMBERS     4096 /* looked at by one query */
#define PAGE_BYTES       (128u << 10)
#define PAGE_BYTES_MAX   ((size_t)1 << 20) /* with the row that crossed PAGE_BYTES */
#define MINUTES_MAX      (60 * 24 * 366)
#define ZONE_BYTES_MAX   64
#define CURSOR_BYTES_MAX 48
#define MEMBERS_END      UINT32_MAX

struct report {
    struct live_query query; /* first */
    struct http_exchange *exchange;
    struct api_worker *worker;
    struct list node; /* in worker->reports */
    /* what was asked: constant */
    char event[EVENT_ID_BYTES_MAX], session[SESSION_ID_BYTES_MAX];
    struct slice event_id, session_id; /* of these */
    int64_t from_ms, to_ms, minimum_ms;
    uint32_t limit;
    bool csv;
    char groups[GROUPS_PACKED_BYTES_MAX]; /* packed; none: all viewers */
    size_t groups_len;
    char zone_name[ZONE_BYTES_MAX];
    size_t zone_len;
    /* how far it is */
    uint32_t next; /* the member to go on with */
    uint32_t rows; /* JSON: in `text` */
    bool asking;   /* live/ has the query */
    bool began;    /* the stream */
    struct buffer text;
    /* page: the reader's while asking */
    int64_t moment_ms; /* 0: not known before the first page */
    struct zone *zone; /* NULL: not opened yet */
    struct problem problem;
    struct buffer page;
    uint32_t page_next, page_rows;
    bool at_limit; /* the page ends before a row that the limit leaves out */
};

struct report_stream {
    struct stream stream; /* first */
    struct report *report;
};
static_assert(sizeof(struct report_stream) <= HTTP_USER_BYTES, "a stream fits its exchange");

static void report_free(struct report *report)
{
    list_unlink(&report->node);
    zone_close(report->zone);
    buffer_fini(&report->text);
    buffer_fini(&report->page);
    free(report);
}

void report_drop_all(struct api_worker *worker)
{
    while (!list_empty(&worker->reports)) {
        struct report *report = LIST_ENTRY(worker->reports.next, struct report, node);
        ASSERT(!report->asking);
        report_free(report);
    }
}

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

static const char csv_header[] = "viewerId,name,groups,country,firstSeen,lastSeen,viewings,minutes,"
                                 "totalMs,firstSeenMs,lastSeenMs\r\n";

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
    report->at_limit = report->rows + report->page_rows == report->limit;
    if (report->at_limit || buffer_slice(&report->page).len >= PAGE_BYTES) {
        report->page_next = member->member_no;
        return ERR_FULL;
    }
    if (report->csv) {
        put_csv_row(&report->page, report->zone, member, &row);
    } else {
        if (report->rows + report->page_rows > 0) {
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

static enum err read_page(struct records_link *link, struct live_query *query)
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

/* ---- page after page, on the worker ---- */

static void page_done(struct live_request *request);

/* False: it cannot be asked now. */
static bool ask_page(struct report *report, bool fresh)
{
    ASSERT(!report->asking);
    report->query = (struct live_query){
        .request = {.kind = LIVE_QUERY, .done = page_done},
        .kind = LIVE_READ,
        .event = report->event_id,
        .session = report->session_id,
        .work = read_page,
        .arg = report,
        .fresh = fresh,
    };
    report->asking = worker_submit(report->worker, &report->query.request);
    return report->asking;
}

/* The report is gone when this returns, as with all that end it. */
static void end_stream(struct report *report, bool complete)
{
    struct http_exchange *exchange = report->exchange;
    ASSERT(report->began);
    report_free(report);
    http_stream_end(exchange, complete);
}

static void fail(struct report *report, enum live_status status)
{
    struct http_exchange *exchange = report->exchange;
    if (report->began) {
        end_stream(report, false);
        return;
    }
    struct problem problem = report->problem;
    report_free(report);
    if (status != LIVE_OK) {
        respond_live_problem(exchange, status, READ_AGAIN);
    } else if (problem.status != 0) {
        http_problem(exchange, problem.status, problem.field, problem.detail);
    } else {
        http_problem(exchange, 500, NULL, "the answer is larger than the server may make it");
    }
}

static void stream_ready(struct http_exchange *exchange)
{
    struct report *report = ((struct report_stream *)(void *)exchange->user)->report;
    if (report->asking) {
        return; /* the page comes first, and finds what has become of the peer */
    }
    if (exchange->gone || !ask_page(report, false)) {
        end_stream(report, false);
    }
}

static void begin_stream(struct report *report)
{
    char headers[256];
    bool session = report->session_id.len > 0;
    /* Ids are plain enough to stand in quotes; with our word before them they name no hidden file
     * and no folder. */
    int len = snprintf(headers, sizeof headers,
                       "Cache-Control: no-store\r\n"
                       "Content-Disposition: attachment; filename=\"report-%.*s%s%.*s.csv\"\r\n",
                       SLICE_ARG(report->event_id), session ? "-" : "", (int)report->session_id.len,
                       session ? report->session_id.ptr : "");
    ASSERT(len > 0 && (size_t)len < sizeof headers);
    const struct http_response head = {
        .status = 200,
        .content_type = "text/csv; charset=utf-8; header=present",
        .headers = slice_of(headers, (size_t)len),
    };
    report->began = true;
    struct report_stream *stream = (struct report_stream *)(void *)report->exchange->user;
    stream->stream.ready = stream_ready;
    stream->report = report;
    http_stream_begin(report->exchange, &head);
    http_stream_write(report->exchange, SLICE_LIT(csv_header));
}

static void page_to_stream(struct report *report)
{
    struct http_exchange *exchange = report->exchange;
    size_t pending = 0;
    if (!report->began) {
        begin_stream(report);
    }
    struct slice page = buffer_slice(&report->page);
    if (!exchange->gone && page.len > 0) {
        pending = http_stream_write(exchange, page);
    }
    if (exchange->gone) {
        end_stream(report, false);
    } else if (report->next == MEMBERS_END) {
        end_stream(report, true);
    } else if (pending < HTTP_STREAM_LOW && !ask_page(report, false)) {
        end_stream(report, false);
    }
}

static void respond_page(struct report *report)
{
    struct http_exchange *exchange = report->exchange;
    struct buffer *out = &report->worker->answer;
    buffer_reset(out);
    put_audience(out, report->event_id, report->session_id);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, report->moment_ms);
    buffer_put_lit(out, ",\"viewers\":[");
    buffer_put(out, buffer_slice(&report->text));
    buffer_put_char(out, ']');
    if (report->next != MEMBERS_END) {
        buffer_printf(out, ",\"next\":\"%lu.%lld\"", (unsigned long)report->next,
                      (long long)report->moment_ms);
    }
    buffer_put_char(out, '}');
    report_free(report);
    respond_answer(exchange);
}

static void page_to_json(struct report *report)
{
    buffer_put(&report->text, buffer_slice(&report->page));
    if (buffer_outcome(&report->text) != BUFFER_OK) {
        fail(report, LIVE_OK);
        return;
    }
    if (report->next == MEMBERS_END || report->at_limit) {
        respond_page(report);
    } else if (!ask_page(report, false)) {
        fail(report, LIVE_BUSY);
    }
}

static void page_done(struct live_request *request)
{
    struct report *report = (struct report *)(void *)request;
    static_assert(offsetof(struct report, query) == 0 && offsetof(struct live_query, request) == 0,
                  "a request is where its report begins");
    worker_returned(report->worker);
    report->asking = false;
    enum live_status status = report->query.status;
    live_query_fini(&report->query);
    if (status != LIVE_OK || report->problem.status != 0 ||
        buffer_outcome(&report->page) != BUFFER_OK) {
        fail(report, status);
        return;
    }
    report->next = report->page_next;
    if (report->csv) {
        page_to_stream(report);
    } else {
        report->rows += report->page_rows;
        page_to_json(report);
    }
}

/* ---- the request ---- */

enum { SESSION, FROM, TO, GROUPS, MINIMUM, LIMIT, CURSOR, FORMAT, ZONE, FIELDS };
#define OR_NULL(kind) ((kind) | JSON_IS_NULL)
static const struct json_field fields[FIELDS] = {
    [SESSION] = JSON_FIELD("sessionId", OR_NULL(JSON_IS_STRING), JSON_OPTIONAL),
    [FROM] = JSON_FIELD("from", OR_NULL(JSON_IS_NUMBER), JSON_OPTIONAL),
    [TO] = JSON_FIELD("to", OR_NULL(JSON_IS_NUMBER), JSON_OPTIONAL),
    [GROUPS] = JSON_FIELD("groups", OR_NULL(JSON_IS_ARRAY), JSON_OPTIONAL),
    [MINIMUM] = JSON_FIELD("minimumMinutes", OR_NULL(JSON_IS_NUMBER), JSON_OPTIONAL),
    [LIMIT] = JSON_FIELD("limit", OR_NULL(JSON_IS_NUMBER), JSON_OPTIONAL),
    [CURSOR] = JSON_FIELD("cursor", OR_NULL(JSON_IS_STRING), JSON_OPTIONAL),
    [FORMAT] = JSON_FIELD("format", OR_NULL(JSON_IS_STRING), JSON_OPTIONAL),
    [ZONE] = JSON_FIELD("timeZone", OR_NULL(JSON_IS_STRING), JSON_OPTIONAL),
};

/* What of the body is wrong. */
struct fault {
    const char *field;
    char detail[160];
};

static bool wrong(struct fault *fault, const char *field, const char *rule)
{
    fault->field = field;
    snprintf(fault->detail, sizeof fault->detail, "\"%s\" %s", field, rule);
    return false;
}

static bool given(const struct json_value *value)
{
    return value->kind != JSON_ABSENT && value->kind != JSON_IS_NULL;
}

/* *number is left alone when it is not given. */
static bool take_number(const struct json_value *values, int field, int64_t lowest, int64_t highest,
                        const char *rule, int64_t *number, struct fault *fault)
{
    int64_t is;
    if (!given(&values[field])) {
        return true;
    }
    if (!json_i64(&values[field], &is) || is < lowest || is > highest) {
        return wrong(fault, fields[field].name.ptr, rule);
    }
    *number = is;
    return true;
}

static bool take_numbers(struct report *report, const struct json_value *values,
                         struct fault *fault)
{
    static const char time_rule[] = "must be a time in whole ms since the epoch";
    int64_t minutes = 0, limit = report->csv ? (int64_t)UINT32_MAX : ROWS_MAX;
    report->to_ms = INT64_MAX;
    if (!take_number(values, FROM, 0, TIME_MS_MAX, time_rule, &report->from_ms, fault) ||
        !take_number(values, TO, 0, TIME_MS_MAX, time_rule, &report->to_ms, fault) ||
        !take_number(values, MINIMUM, 0, MINUTES_MAX, "must be whole minutes, 0 to 527040",
                     &minutes, fault) ||
        !take_number(values, LIMIT, 1, ROWS_MAX, "must be 1 to 1000", &limit, fault)) {
        return false;
    }
    if (report->from_ms > report->to_ms) {
        return wrong(fault, "to", "must not be before \"from\"");
    }
    report->minimum_ms = minutes * 60000;
    report->limit = (uint32_t)limit;
    return true;
}
static_assert(MINUTES_MAX == 527040 && ROWS_MAX == 1000, "the rules say so");

/* "4096.1637661623070": the member to go on with, and the moment that the report is of. */
static bool take_cursor(struct report *report, const struct json_value *cursor, struct fault *fault)
{
    char room[CURSOR_BYTES_MAX];
    struct slice text;
    uint64_t next, moment_ms;
    if (!given(cursor)) {
        return true;
    }
    if (json_text(cursor, room, sizeof room, &text)) {
        const char *point = text.len == 0 ? NULL : memchr(text.ptr, '.', text.len);
        size_t before = point == NULL ? text.len : (size_t)(point - text.ptr);
        if (point != NULL && integer_parse(slice_of(text.ptr, before), &next) &&
            integer_parse(slice_of(point + 1, text.len - before - 1), &moment_ms) &&
            next < MEMBERS_END && moment_ms > 0 && moment_ms <= TIME_MS_MAX) {
            report->next = (uint32_t)next;
            report->moment_ms = (int64_t)moment_ms;
            return true;
        }
    }
    return wrong(fault, "cursor", "must be what \"next\" said");
}

static bool take_texts(struct report *report, const struct json_value *values, struct fault *fault)
{
    struct slice text;
    if (given(&values[SESSION])) {
        if (!json_text(&values[SESSION], report->session, sizeof report->session, &text) ||
            !id_session_valid(text)) {
            return wrong(fault, "sessionId", SESSION_RULE);
        }
        memmove(report->session, text.ptr, text.len);
        report->session_id = slice_of(report->session, text.len);
    }
    if (given(&values[GROUPS])) {
        const char *rule = groups_read(&values[GROUPS], report->groups, &report->groups_len);
        if (rule != NULL) {
            return wrong(fault, "groups", rule);
        }
    }
    if (given(&values[ZONE])) {
        if (!json_text(&values[ZONE], report->zone_name, sizeof report->zone_name, &text) ||
            text.len == 0 || text.len > sizeof report->zone_name) {
            return wrong(fault, "timeZone", "must be a zone's name of 1 to 64 characters");
        }
        memmove(report->zone_name, text.ptr, text.len);
        report->zone_len = text.len;
    }
    return true;
}

/* How much an Accept header wants exactly this type, in thousandths (RFC 9110, 12.4.2 and 12.5.1);
 * 0: it does not name it. */
static unsigned wanted_much(struct slice accept, const char *type)
{
    size_t len = strlen(type);
    while (accept.len > 0) {
        const char *comma = memchr(accept.ptr, ',', accept.len);
        struct slice range = {accept.ptr,
                              comma == NULL ? accept.len : (size_t)(comma - accept.ptr)};
        size_t used = comma == NULL ? accept.len : range.len + 1;
        accept = slice_of(accept.ptr + used, accept.len - used);
        while (range.len > 0 && (range.ptr[0] == ' ' || range.ptr[0] == '\t')) {
            range = slice_of(range.ptr + 1, range.len - 1);
        }
        if (range.len < len || strncasecmp(range.ptr, type, len) != 0 ||
            (range.len > len && strchr("; \t", range.ptr[len]) == NULL)) {
            continue;
        }
        unsigned quality = 1000;
        for (size_t i = len + 1; i + 2 < range.len; i++) {
            if (strchr("; \t", range.ptr[i - 1]) != NULL && strchr("qQ", range.ptr[i]) != NULL &&
                range.ptr[i + 1] == '=' && range.ptr[i + 2] == '0') {
                quality = 0;
                unsigned unit = 100;
                for (size_t j = i + 4;
                     j < range.len && range.ptr[j] >= '0' && range.ptr[j] <= '9' && unit > 0;
                     j++, unit /= 10) {
                    quality += (unsigned)(range.ptr[j] - '0') * unit;
                }
            }
        }
        return quality;
    }
    return 0;
}

static bool take_format(struct report *report, const struct json_value *values,
                        const struct http_request *request, struct fault *fault)
{
    const struct json_value *format = &values[FORMAT];
    struct slice text;
    char room[8];
    if (!given(format)) {
        report->csv = wanted_much(request->accept, "text/csv") >
                      wanted_much(request->accept, "application/json");
    } else if (json_text(format, room, sizeof room, &text) &&
               (slice_equal(text, SLICE_LIT("csv")) || slice_equal(text, SLICE_LIT("json")))) {
        report->csv = slice_equal(text, SLICE_LIT("csv"));
    } else {
        return wrong(fault, "format", "must be \"json\" or \"csv\"");
    }
    if (report->csv && given(&values[LIMIT])) {
        return wrong(fault, "limit", "is for JSON: CSV is all of it");
    }
    if (report->csv && given(&values[CURSOR])) {
        return wrong(fault, "cursor", "is for JSON: CSV is all of it");
    }
    return true;
}

static struct report *report_new(struct call *call)
{
    struct report *report = memory_zalloc(sizeof *report);
    report->exchange = call->exchange;
    report->worker = call->worker;
    memcpy(report->event, call->event.ptr, call->event.len);
    report->event_id = slice_of(report->event, call->event.len);
    buffer_init(&report->text, ANSWER_BYTES_MAX);
    buffer_init(&report->page, PAGE_BYTES_MAX);
    list_append(&call->worker->reports, &report->node);
    return report;
}

void report_post(struct call *call)
{
    const struct http_request *request = &call->exchange->request;
    struct slice body = request->body.len == 0 ? SLICE_LIT("{}") : request->body;
    struct json_value values[FIELDS];
    struct json_fault json_fault;
    if (json_object_read(body, fields, FIELDS, values, &json_fault) != JSON_OK) {
        char detail[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&json_fault, detail);
        call_problem(call, 400, json_fault.field, detail);
        return;
    }
    struct report *report = report_new(call);
    struct fault fault;
    if (!take_format(report, values, request, &fault) || !take_numbers(report, values, &fault) ||
        !take_cursor(report, &values[CURSOR], &fault) || !take_texts(report, values, &fault)) {
        report_free(report);
        call_problem(call, 400, fault.field, fault.detail);
        return;
    }
    if (!ask_page(report, report->moment_ms == 0)) {
        fail(report, LIVE_BUSY);
    }
}
