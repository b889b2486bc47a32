/* report.h -- what the files of heartbeat-report share: report.c, report_page.c, report_request.c.
 *
 * Threads: the worker's; the `page` band is the reader's while a query is under way. */
#ifndef NOVABEAT_API_REPORT_H
#define NOVABEAT_API_REPORT_H

#include "api/internal.h"
#include "base/zone.h"

/* Of a worker, under way: each may hold a page (256 KiB with its growth), and a JSON one what it
 * has gathered: JSON_BYTES and a row.  So 328 MiB of a worker at most, which cli/serve.c adds to
 * what it prints at the start. */
#define REPORTS_MAX    256
#define ZONE_BYTES_MAX 64
#define MEMBERS_END    UINT32_MAX

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
    uint32_t next;      /* the member to go on with */
    uint32_t rows;      /* JSON: in `text` */
    bool asking;        /* live/ has the query */
    bool began;         /* the stream */
    struct buffer text; /* JSON: what is gathered; the reader looks at its length */
    /* page: the reader's while asking */
    int64_t moment_ms; /* 0: not known before the first page */
    struct zone *zone; /* NULL: not opened yet */
    struct problem problem;
    struct buffer page;
    uint32_t page_next, page_rows;
    bool at_limit; /* the page ends before a row that the limit leaves out */
};

/* ---- report_page.c ---- */

#define PAGE_BYTES     (128u << 10)
#define PAGE_BYTES_MAX ((size_t)1 << 20) /* with the row that crossed PAGE_BYTES */

/* The text of a JSON answer: with the row that crosses this it ends, with a `next`. */
#define JSON_BYTES ((size_t)1 << 20)
/* A row's JSON: its texts, each byte maybe escaped as \u00XX, and its numbers. */
#define ROW_BYTES_MAX (6 * (VIEWER_ID_BYTES_MAX + NAME_BYTES_MAX + GROUPS_PACKED_BYTES_MAX) + 1024)
static_assert(PAGE_BYTES + ROW_BYTES_MAX <= PAGE_BYTES_MAX, "a page has room for its last row");

/* The work of each query: rows from report->next on become the text of `page`. */
enum err report_read_page(struct records_link *link, struct live_query *query);

extern const char report_csv_header[];

/* ---- report_request.c ---- */

/* What of the body is wrong. */
struct report_fault {
    const char *field; /* NULL: it is no JSON object */
    char detail[JSON_FAULT_TEXT_BYTES];
};

/* Fills in what was asked. */
bool report_read_request(struct report *report, const struct http_request *request,
                         struct report_fault *fault) WARN_UNUSED;

#endif
