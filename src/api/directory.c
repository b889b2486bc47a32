/* directory.c -- see directory.h; and the endpoints of sessions. */
#include "api/directory.h"

#include <stdlib.h>

#include "base/memory.h"
#include "core/ids.h"

/* ---- lists ---- */

static void id_set(struct entry_id *id, struct slice text)
{
    id->len = (uint8_t)text.len;
    if (text.len > 0) {
        memcpy(id->bytes, text.ptr, text.len);
    }
}

static struct slice id_get(const struct entry_id *id)
{
    return slice_of(id->bytes, id->len);
}

struct directory_list *directory_list_new(struct call *call, bool sessions)
{
    struct parameter cursor;
    uint32_t limit;
    if (!page_parameters(call, &limit, &cursor)) {
        return NULL;
    }
    if (cursor.given && !id_event_valid(cursor.value)) {
        call_bad_cursor(call);
        return NULL;
    }
    struct directory_list *list = memory_alloc(sizeof *list);
    list->limit = limit;
    list->rows = list->seen_count = list->seen_at = 0;
    list->sessions = sessions;
    list->more = list->merged = list->seen_more = false;
    id_set(&list->after, cursor.value);
    buffer_init(&list->out, ENTRIES_BYTES_MAX);
    return list;
}

void directory_list_free(void *arena)
{
    struct directory_list *list = arena;
    buffer_fini(&list->out);
    free(list);
}

void directory_seen_add(struct directory_list *list, struct slice id)
{
    if (slice_compare(id, id_get(&list->after)) <= 0) {
        return;
    }
    if (list->seen_count == list->limit) {
        list->seen_more = true;
        return;
    }
    id_set(&list->seen[list->seen_count++], id);
}

void directory_put_said(struct buffer *out, struct slice title, int64_t start_ms)
{
    if (title.len > 0) {
        buffer_put_lit(out, ",\"title\":");
        buffer_put_json_string(out, title);
    }
    if (start_ms > 0) {
        buffer_put_lit(out, ",\"startMs\":");
        buffer_put_i64(out, start_ms);
    }
}

static void list_put(struct directory_list *list, struct slice id, struct slice title,
                     int64_t start_ms)
{
    if (list->rows == list->limit) {
        list->more = true;
        return;
    }
    if (list->rows++ > 0) {
        buffer_put_char(&list->out, ',');
    }
    if (list->sessions) {
        buffer_put_lit(&list->out, "{\"sessionId\":");
    } else {
        buffer_put_lit(&list->out, "{\"eventId\":");
    }
    buffer_put_json_string(&list->out, id);
    directory_put_said(&list->out, title, start_ms);
    buffer_put_char(&list->out, '}');
    id_set(&list->last, id);
}

static enum err merge_entry(void *ctx, const struct directory_entry *entry)
{
    struct directory_list *list = ctx;
    struct slice id = list->sessions ? entry->session : entry->event;
    while (list->seen_at < list->seen_count) {
        struct slice seen = id_get(&list->seen[list->seen_at]);
        int order = slice_compare(seen, id);
        if (order > 0) {
            break;
        }
        if (order < 0) {
            list_put(list, seen, SLICE_EMPTY, 0);
        }
        list->seen_at++;
    }
    list_put(list, id, entry->title, entry->start_ms);
    return ERR_NONE;
}

enum err directory_merge(struct records_link *link, struct live_query *query)
{
    struct directory_list *list = query->arg;
    buffer_reset(&list->out);
    list->rows = list->seen_at = 0;
    list->more = list->seen_more;
    enum err err = list->sessions
                       ? records_directory_sessions(link, query->event, id_get(&list->after),
                                                    list->limit + 1, merge_entry, list)
                       : records_directory_events(link, id_get(&list->after), list->limit + 1,
                                                  merge_entry, list);
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        return err;
    }
    for (; list->seen_at < list->seen_count; list->seen_at++) {
        list_put(list, id_get(&list->seen[list->seen_at]), SLICE_EMPTY, 0);
    }
    return ERR_NONE;
}

void directory_put_next(struct buffer *out, const struct directory_list *list)
{
    if (list->more && list->rows > 0) {
        buffer_put_lit(out, ",\"next\":");
        buffer_put_json_string(out, id_get(&list->last));
    }
}

/* ---- GET …/sessions ---- */

static int figures_order(const void *a, const void *b)
{
    return slice_compare(((const struct figures *)a)->session,
                         ((const struct figures *)b)->session);
}

static bool sessions_go_on(struct question *question)
{
    struct live_query *query = &question->query;
    struct directory_list *list = question->arena;
    if (list->merged || query->status != LIVE_OK) {
        return false;
    }
    if (query->rows > 2) { /* the first one is the event itself */
        qsort(query->figures + 1, query->rows - 1, sizeof *query->figures, figures_order);
    }
    for (uint32_t i = 1; i < query->rows; i++) {
        directory_seen_add(list, query->figures[i].session);
    }
    list->merged = true;
    return question_again(question, LIVE_READ, directory_merge);
}

static void write_sessions(struct buffer *out, const struct question *question)
{
    const struct directory_list *list = question->arena;
    put_audience(out, question->query.event, SLICE_EMPTY);
    buffer_put_lit(out, ",\"sessions\":[");
    buffer_put(out, buffer_slice(&list->out));
    buffer_put_char(out, ']');
    directory_put_next(out, list);
    buffer_put_char(out, '}');
}

void sessions_list(struct call *call)
{
    struct directory_list *list = directory_list_new(call, true);
    if (list == NULL) {
        return;
    }
    struct question *question = question_new(call, LIVE_OVERVIEW, write_sessions);
    question->arena = question->query.arg = list;
    question->fini = directory_list_free;
    question->go_on = sessions_go_on;
    question_ask(call, question);
}

/* ---- DELETE …/sessions/{s} ---- */

static enum err work_delete(struct records_link *link, struct live_query *query)
{
    return records_directory_delete(link, query->event, query->session);
}

static bool explain_undeclared(const struct question *question, struct problem *problem)
{
    *problem = (struct problem){404, "sessionId", "the session is not declared"};
    return question->query.status == LIVE_NOT_FOUND;
}

void sessions_delete(struct call *call)
{
    struct question *question = question_new(call, LIVE_WRITE, NULL);
    question->query.work = work_delete;
    question->status = 204;
    question->explain = explain_undeclared;
    question_ask(call, question);
}
