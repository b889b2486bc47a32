/* report_request.c -- what a report is asked for: the members of the body, and the Accept header.
 */
#include "api/report.h"

#include <stdio.h>
#include <strings.h>

#include "base/duration.h"
#include "core/ids.h"

#define MINUTES_MAX      (60 * 24 * 366)
#define CURSOR_BYTES_MAX 48

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

static bool wrong(struct report_fault *fault, const char *field, const char *rule)
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
                        const char *rule, int64_t *number, struct report_fault *fault)
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
                         struct report_fault *fault)
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
static bool take_cursor(struct report *report, const struct json_value *cursor,
                        struct report_fault *fault)
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

static bool take_texts(struct report *report, const struct json_value *values,
                       struct report_fault *fault)
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
                        const struct http_request *request, struct report_fault *fault)
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

bool report_read_request(struct report *report, const struct http_request *request,
                         struct report_fault *fault)
{
    struct slice body = request->body.len == 0 ? SLICE_LIT("{}") : request->body;
    struct json_value values[FIELDS];
    struct json_fault json_fault;
    if (json_object_read(body, fields, FIELDS, values, &json_fault) != JSON_OK) {
        json_fault_text(&json_fault, fault->detail);
        fault->field = json_fault.field;
        return false;
    }
    return take_format(report, values, request, fault) && take_numbers(report, values, fault) &&
           take_cursor(report, &values[CURSOR], fault) && take_texts(report, values, fault);
}
