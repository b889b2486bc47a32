/* viewers.c -- one viewer of an event: the viewings, and the profile. */
#include "api/shared.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/duration.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"

/* ---- GET ---- */

static void put_viewing(struct buffer *out, const struct live_viewing *viewing)
{
    buffer_put_char(out, '{');
    if (viewing->session.len > 0) {
        buffer_put_lit(out, "\"sessionId\":");
        buffer_put_json_string(out, viewing->session);
        buffer_put_char(out, ',');
    }
    buffer_put_lit(out, "\"startedMs\":");
    buffer_put_i64(out, viewing->start_ms);
    buffer_put_lit(out, ",\"endedMs\":");
    buffer_put_i64(out, viewing->end_ms);
    buffer_put_char(out, '}');
}

static void put_viewer(struct buffer *out, const struct live_query *query)
{
    put_audience(out, query->event, SLICE_EMPTY);
    buffer_put_lit(out, ",\"viewerId\":");
    buffer_put_json_string(out, query->viewer);
    buffer_put_lit(out, ",\"name\":");
    buffer_put_json_string(out, query->name);
    buffer_put_lit(out, ",\"groups\":");
    put_groups(out, query->groups);
}

/* Where a page of viewings begins: behind "start", or "start.session".  One viewer has few
 * viewings: so all are asked for, and the page is cut out of them. */
struct viewings_page {
    uint32_t limit;
    bool after;
    int64_t after_ms;
    size_t session_len;
    char session[SESSION_ID_BYTES_MAX];
};

/* A viewer who comes and goes all the time begins one in every viewing gap. */
#define VIEWINGS_MAX 100000

static bool is_behind(const struct viewings_page *page, const struct live_viewing *viewing)
{
    if (!page->after || viewing->start_ms != page->after_ms) {
        return !page->after || viewing->start_ms > page->after_ms;
    }
    return slice_compare(viewing->session, slice_of(page->session, page->session_len)) > 0;
}

static void put_viewings(struct buffer *out, const struct live_query *query,
                         const struct viewings_page *page)
{
    uint32_t at = 0, written = 0;
    while (at < query->rows && !is_behind(page, &query->viewings[at])) {
        at++;
    }
    buffer_put_lit(out, ",\"viewings\":[");
    for (; at < query->rows && written < page->limit; at++, written++) {
        if (written > 0) {
            buffer_put_char(out, ',');
        }
        put_viewing(out, &query->viewings[at]);
    }
    buffer_put_char(out, ']');
    if (at < query->rows || query->more) {
        buffer_put_lit(out, ",\"more\":true");
    }
    if (at < query->rows) {
        const struct live_viewing *last = &query->viewings[at - 1];
        buffer_put_lit(out, ",\"next\":\"");
        buffer_put_i64(out, last->start_ms);
        if (last->session.len > 0) {
            buffer_put_char(out, '.');
            buffer_put(out, last->session); /* its characters need no escape */
        }
        buffer_put_char(out, '"');
    }
}

static void write_viewer(struct buffer *out, const struct question *question)
{
    const struct live_query *query = &question->query;
    char country[2];
    country_text(query->country, country);
    put_viewer(out, query);
    buffer_put_lit(out, ",\"country\":");
    buffer_put_json_string(out, slice_of(country, sizeof country));
    buffer_put_lit(out, ",\"alive\":");
    buffer_put(out, query->alive ? SLICE_LIT("true") : SLICE_LIT("false"));
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
    put_viewings(out, query, question->arena);
    buffer_put_char(out, '}');
}

static bool take_cursor(struct slice cursor, struct viewings_page *page)
{
    const char *dot = cursor.len == 0 ? NULL : memchr(cursor.ptr, '.', cursor.len);
    struct slice start = dot == NULL ? cursor : slice_of(cursor.ptr, (size_t)(dot - cursor.ptr));
    uint64_t start_ms;
    if (!integer_parse(start, &start_ms) || start_ms > INT64_MAX) {
        return false;
    }
    page->after = true;
    page->after_ms = (int64_t)start_ms;
    if (dot != NULL) {
        struct slice session = slice_of(dot + 1, cursor.len - start.len - 1);
        if (!id_session_valid(session)) {
            return false;
        }
        page->session_len = session.len;
        memcpy(page->session, session.ptr, session.len);
    }
    return true;
}

void viewers_get(struct call *call)
{
    struct parameter cursor;
    uint32_t limit;
    if (!page_parameters(call, &limit, &cursor)) {
        return;
    }
    struct viewings_page *page = memory_zalloc(sizeof *page);
    page->limit = limit;
    if (cursor.given && !take_cursor(cursor.value, page)) {
        free(page);
        call_bad_cursor(call);
        return;
    }
    struct question *question = question_new(call, LIVE_VIEWER, write_viewer);
    question->arena = page;
    question->query.limit = VIEWINGS_MAX;
    question_ask(call, question);
}

/* ---- DELETE ---- */

void viewers_delete(struct call *call)
{
    struct question *question = question_new(call, LIVE_ERASE, NULL);
    question->status = 204;
    question->go_on = shared_forget;
    question_ask(call, question);
}

/* ---- PUT ---- */

#define WHY_BYTES 128

/* What of a profile had to be unescaped or packed; the question's arena. */
struct profile_text {
    char name[NAME_BYTES_MAX];
    char groups[GROUPS_PACKED_BYTES_MAX];
};

static void write_profile(struct buffer *out, const struct question *question)
{
    put_viewer(out, &question->query);
    buffer_put_char(out, '}');
}

/* NULL, or the field that is wrong; why then says what it must be. */
static const char *take_profile(const struct json_value *name, const struct json_value *groups,
                                struct profile_text *text, struct live_query *query,
                                char why[WHY_BYTES])
{
    if (name->kind == JSON_IS_STRING &&
        (!json_text(name, text->name, sizeof text->name, &query->name) ||
         !name_valid(query->name))) {
        snprintf(why, WHY_BYTES,
                 "\"name\" must be at most 256 bytes of UTF-8 without control characters");
        return "name";
    }
    if (groups->kind == JSON_IS_ARRAY) {
        size_t len;
        const char *rule = groups_read(groups, text->groups, &len);
        if (rule != NULL) {
            snprintf(why, WHY_BYTES, "\"groups\" %s", rule);
            return "groups";
        }
        query->groups = slice_of(text->groups, len);
    }
    return NULL;
}

void viewers_put(struct call *call)
{
    enum { NAME, GROUPS, FIELDS };
    /* Absent is empty: a PUT replaces the whole profile. */
    static const struct json_field fields[FIELDS] = {
        [NAME] = JSON_FIELD("name", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [GROUPS] = JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    };
    struct json_value values[FIELDS];
    struct json_fault fault;
    if (call->worker->api->config.profiles_elsewhere) {
        call_problem(call, 409, NULL, ELSEWHERE);
        return;
    }
    if (json_object_read(call->exchange->request.body, fields, FIELDS, values, &fault) != JSON_OK) {
        char detail[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, detail);
        call_problem(call, 400, fault.field, detail);
        return;
    }
    struct question *question = question_new(call, LIVE_PROFILE_PUT, write_profile);
    struct profile_text *text = memory_alloc(sizeof *text);
    char why[WHY_BYTES];
    const char *field = take_profile(&values[NAME], &values[GROUPS], text, &question->query, why);
    if (field != NULL) {
        free(text);
        call_problem(call, 400, field, why);
        return;
    }
    question->arena = text;
    question->explain = profiles_explain;
    question_ask(call, question);
}
