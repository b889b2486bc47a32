/* report.c -- heartbeat-report: a row per viewer of an event or a session, as JSON or CSV.
 *
 * Model: a report reads the viewers in order of their numbers, page by page: each page is one
 * LIVE_READ, whose work picks rows and writes their text on the reader's thread.
 *
 * CSV: each page goes out when it is there, and the next one is asked for when the peer has taken
 * most of it: one page of memory per stream, and a slow peer holds no reader.
 * JSON: pages are gathered until the limit, JSON_BYTES or the end, and answered as a whole.
 *
 * Only the first page waits until everything counted so far is stored.  It sets the moment that the
 * report is of: what is later is left out of further pages, too, so all rows are of one moment.  A
 * cursor carries that moment on.
 *
 * Memory: one allocation per report, at most REPORTS_MAX; while it reads, a page of PAGE_BYTES and
 * a row; JSON what it has gathered, at most JSON_BYTES and a row.
 *
 * Threads: the worker's; the `page` band is the reader's while a query is under way. */
#include "api/report.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"

struct report_stream {
    struct stream stream; /* first */
    struct report *report;
};
static_assert(sizeof(struct report_stream) <= HTTP_USER_BYTES, "a stream fits its exchange");

static void report_free(struct report *report)
{
    list_unlink(&report->node);
    report->worker->reports_count--;
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
        .work = report_read_page,
        .arg = report,
        .fresh = fresh,
        .long_read = true,
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
    http_stream_write(report->exchange, slice_str(report_csv_header));
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
    } else if (pending >= HTTP_STREAM_LOW) {
        buffer_fini(&report->page); /* it may wait for long */
        buffer_init(&report->page, PAGE_BYTES_MAX);
    } else if (!ask_page(report, false)) {
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

static struct report *report_new(struct call *call)
{
    struct report *report = memory_zalloc(sizeof *report);
    report->exchange = call->exchange;
    report->worker = call->worker;
    memcpy(report->event, call->event.ptr, call->event.len);
    report->event_id = slice_of(report->event, call->event.len);
    buffer_init(&report->text, JSON_BYTES + ROW_BYTES_MAX);
    buffer_init(&report->page, PAGE_BYTES_MAX);
    list_append(&call->worker->reports, &report->node);
    call->worker->reports_count++;
    return report;
}

void report_post(struct call *call)
{
    if (call->worker->reports_count >= REPORTS_MAX) {
        respond_live_problem(call->exchange, LIVE_BUSY, READ_AGAIN);
        return;
    }
    struct report *report = report_new(call);
    struct report_fault fault;
    if (!report_read_request(report, &call->exchange->request, &fault)) {
        report_free(report);
        call_problem(call, 400, fault.field, fault.detail);
        return;
    }
    if (!ask_page(report, report->moment_ms == 0)) {
        fail(report, LIVE_BUSY);
    }
}
