/* events.c -- events and sessions one by one: what is said about them, and the list of events.
 *
 * An entry is what an organiser says beforehand (a title, a start), or the bare id of what was only
 * seen.  Who is asked first for one entry is the record store, since that is where it is said; only
 * when it knows nothing at all, live/ is asked whether somebody has come a moment ago. */
#include "api/directory.h"
#include "api/shared.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"
#include "core/ids.h"

/* ---- GET /analytics/events ---- */

static bool events_go_on(struct question *question)
{
    const struct live_query *query = &question->query;
    struct directory_list *list = question->arena;
    if (list->merged || query->status != LIVE_OK) {
        return false;
    }
    for (uint32_t i = 0; i < query->rows; i++) {
        directory_seen_add(list, query->events[i]);
    }
    list->seen_more |= query->more;
    list->merged = true;
    return question_again(question, LIVE_READ, directory_merge);
}

static void write_events(struct buffer *out, const struct question *question)
{
    const struct directory_list *list = question->arena;
    buffer_put_lit(out, "{\"events\":[");
    buffer_put(out, buffer_slice(&list->out));
    buffer_put_char(out, ']');
    directory_put_next(out, list);
    buffer_put_char(out, '}');
}

void events_list(struct call *call)
{
    struct directory_list *list = directory_list_new(call, false);
    if (list == NULL) {
        return;
    }
    struct question *question = question_new(call, LIVE_EVENTS, write_events);
    question->arena = question->query.arg = list;
    question->fini = directory_list_free;
    question->go_on = events_go_on;
    question->query.after = slice_of(list->after.bytes, list->after.len);
    question->query.limit = list->limit;
    question_ask(call, question);
}

/* ---- one entry ---- */

/* The arena of a question for one entry. */
struct entry {
    struct buffer out; /* ,"title":…,"startMs":…,"sessions":[…] */
    uint32_t rows;     /* sessions written */
    bool declared;
    bool asked_live;
    struct entry_id last;
};

static void entry_free(void *arena)
{
    struct entry *entry = arena;
    buffer_fini(&entry->out);
    free(entry);
}

static struct entry *entry_new(void)
{
    struct entry *entry = memory_zalloc(sizeof *entry);
    buffer_init(&entry->out, ENTRIES_BYTES_MAX);
    return entry;
}

static enum err read_said(void *ctx, const struct directory_entry *said)
{
    struct entry *entry = ctx;
    entry->declared = true;
    directory_put_said(&entry->out, said->title, said->start_ms);
    return ERR_NONE;
}

static enum err read_row(void *ctx, const struct audience_row *row)
{
    (void)row;
    ++*(uint64_t *)ctx;
    return ERR_NONE;
}

static void put_session(struct entry *entry, const struct directory_entry *session)
{
    if (entry->rows++ > 0) {
        buffer_put_char(&entry->out, ',');
    }
    buffer_put_lit(&entry->out, "{\"sessionId\":");
    buffer_put_json_string(&entry->out, session->session);
    directory_put_said(&entry->out, session->title, session->start_ms);
    buffer_put_char(&entry->out, '}');
}

static enum err read_session(void *ctx, const struct directory_entry *session)
{
    struct entry *entry = ctx;
    if (entry->rows == ROWS_MAX) {
        buffer_put_lit(&entry->out, "],\"next\":");
        buffer_put_json_string(&entry->out, slice_of(entry->last.bytes, entry->last.len));
        entry->rows++;
        return ERR_NONE;
    }
    put_session(entry, session);
    entry->last.len = (uint8_t)session->session.len;
    memcpy(entry->last.bytes, session->session.ptr, session->session.len);
    return ERR_NONE;
}

static enum err read_sessions(struct records_link *link, struct live_query *query)
{
    struct entry *entry = query->arg;
    buffer_put_lit(&entry->out, ",\"sessions\":[");
    enum err err = records_directory_sessions(link, query->event, SLICE_EMPTY, ROWS_MAX + 1,
                                              read_session, entry);
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        return err;
    }
    if (entry->rows <= ROWS_MAX) {
        buffer_put_char(&entry->out, ']');
    }
    return ERR_NONE;
}

static enum err work_entry(struct records_link *link, struct live_query *query)
{
    struct entry *entry = query->arg;
    buffer_reset(&entry->out);
    entry->rows = 0;
    entry->declared = false;
    enum err err = records_directory_get(link, query->event, query->session, read_said, entry);
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        return err;
    }
    if (query->session.len == 0) {
        err = read_sessions(link, query);
        if (err != ERR_NONE) {
            return err;
        }
    }
    if (entry->declared || entry->rows > 0) {
        return ERR_NONE; /* an event is declared with its sessions */
    }
    uint64_t rows = 0;
    err = records_audiences(link, query->event, query->session, false, read_row, &rows);
    return err == ERR_NONE && rows == 0 ? ERR_NOT_FOUND : err;
}

static bool entry_go_on(struct question *question)
{
    struct live_query *query = &question->query;
    struct entry *entry = question->arena;
    if (!entry->asked_live) {
        entry->asked_live = query->status == LIVE_NOT_FOUND;
        return entry->asked_live && question_again(question, LIVE_FIGURES, NULL);
    }
    if (query->status == LIVE_OK && (query->rows == 0 || query->figures[0].attended == 0)) {
        query->status = LIVE_NOT_FOUND;
    }
    return false;
}

static void write_entry(struct buffer *out, const struct question *question)
{
    const struct entry *entry = question->arena;
    put_audience(out, question->query.event, question->query.session);
    if (entry->asked_live && question->query.session.len == 0) {
        buffer_put_lit(out, ",\"sessions\":[]"); /* none is declared */
    } else if (!entry->asked_live) {
        buffer_put(out, buffer_slice(&entry->out));
    }
    buffer_put_char(out, '}');
}

static bool explain_unknown(const struct question *question, struct problem *problem)
{
    *problem = (struct problem){404, "eventId", "the event is not declared and was never seen"};
    if (question->query.session.len > 0) {
        *problem =
            (struct problem){404, "sessionId", "the session is not declared and was never seen"};
    }
    return question->query.status == LIVE_NOT_FOUND;
}

/* GET of an event or of a session. */
void directory_get(struct call *call)
{
    struct question *question = question_new(call, LIVE_READ, write_entry);
    question->arena = question->query.arg = entry_new();
    question->fini = entry_free;
    question->query.work = work_entry;
    question->go_on = entry_go_on;
    question->explain = explain_unknown;
    question_ask(call, question);
}

/* ---- PUT ---- */

/* The arena of a declaration: entries[0] is what the path names. */
struct declaration {
    char *text; /* what had to be unescaped: never longer than the body */
    size_t text_used, text_size;
    struct directory_entry *entries;
    uint32_t count;
    bool with_sessions;
};

#define FIELD_BYTES 64
#define TITLE_RULE  "must be at most 256 bytes of UTF-8 without control characters"
#define START_RULE  "must be a time in ms since the epoch, from 1 to 2^53"

static struct declaration *declaration_new(size_t body_bytes, uint32_t count)
{
    struct declaration *declaration =
        memory_alloc(sizeof *declaration + count * sizeof *declaration->entries + body_bytes);
    static_assert(sizeof *declaration % alignof(struct directory_entry) == 0, "entries follow");
    *declaration = (struct declaration){.count = count, .text_size = body_bytes};
    declaration->entries = (struct directory_entry *)(void *)(declaration + 1);
    declaration->text = (char *)(declaration->entries + count);
    return declaration;
}

static struct slice text_of(struct declaration *declaration, const struct json_value *value)
{
    struct slice text;
    char *room = declaration->text + declaration->text_used;
    bool fits = json_text(value, room, declaration->text_size - declaration->text_used, &text);
    ASSERT(fits); /* all texts of a body together are no longer than the body */
    if (text.ptr == room) {
        declaration->text_used += text.len;
    }
    return text;
}

/* NULL, or what the member `field` must be. */
static const char *take_said(struct declaration *declaration, const struct json_value *title,
                             const struct json_value *start, struct directory_entry *entry,
                             const char **field)
{
    *field = "title";
    if (title->kind == JSON_IS_STRING) {
        entry->title = text_of(declaration, title);
        if (!name_valid(entry->title)) {
            return TITLE_RULE;
        }
    }
    *field = "startMs";
    if (start->kind == JSON_IS_NUMBER &&
        (!json_i64(start, &entry->start_ms) || entry->start_ms < 1 ||
         entry->start_ms > (int64_t)TIME_MS_MAX)) {
        return START_RULE;
    }
    return NULL;
}

/* False: answered. */
static bool take_session(struct call *call, struct declaration *declaration, uint32_t number,
                         const struct json_value *item)
{
    enum { SESSION_ID, TITLE, START, FIELDS };
    static const struct json_field fields[FIELDS] = {
        [SESSION_ID] = JSON_FIELD("sessionId", JSON_IS_STRING, JSON_REQUIRED),
        [TITLE] = JSON_FIELD("title", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [START] = JSON_FIELD("startMs", JSON_IS_NUMBER | JSON_IS_NULL, JSON_OPTIONAL),
    };
    struct directory_entry *entry = &declaration->entries[number];
    struct json_value values[FIELDS];
    struct json_fault fault;
    char name[FIELD_BYTES], detail[JSON_FAULT_TEXT_BYTES + FIELD_BYTES];
    if (item->kind != JSON_IS_OBJECT) {
        call_problem(call, 400, "sessions", "\"sessions\" must be an array of objects");
        return false;
    }
    if (json_object_read(item->raw, fields, FIELDS, values, &fault) != JSON_OK) {
        char text[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, text);
        snprintf(name, sizeof name, "sessions[%u]%s%s", number - 1, fault.field == NULL ? "" : ".",
                 fault.field == NULL ? "" : fault.field);
        call_problem(call, 400, name, text);
        return false;
    }
    *entry = (struct directory_entry){.event = declaration->entries[0].event};
    entry->session = text_of(declaration, &values[SESSION_ID]);
    const char *field = "sessionId", *rule = SESSION_RULE;
    if (id_session_valid(entry->session)) {
        rule = take_said(declaration, &values[TITLE], &values[START], entry, &field);
    }
    if (rule != NULL) {
        snprintf(name, sizeof name, "sessions[%u].%s", number - 1, field);
        snprintf(detail, sizeof detail, "\"%s\" %s", name, rule);
        call_problem(call, 400, name, detail);
    }
    return rule == NULL;
}

static int session_order(const void *a, const void *b)
{
    const struct directory_entry *one = *(const struct directory_entry *const *)a;
    const struct directory_entry *other = *(const struct directory_entry *const *)b;
    int order = slice_compare(one->session, other->session);
    return order != 0 ? order : (one > other) - (one < other); /* in the order of the body */
}

/* False: answered, since a session is there twice. */
static bool check_twice(struct call *call, const struct declaration *declaration)
{
    const struct directory_entry *sorted[DECLARED_SESSIONS_MAX];
    uint32_t count = declaration->count - 1;
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = &declaration->entries[i + 1];
    }
    if (count > 1) {
        qsort(sorted, count, sizeof sorted[0], session_order);
    }
    for (uint32_t i = 1; i < count; i++) {
        if (slice_equal(sorted[i - 1]->session, sorted[i]->session)) {
            char name[FIELD_BYTES], detail[3 * FIELD_BYTES];
            snprintf(name, sizeof name, "sessions[%u].sessionId",
                     (unsigned)(sorted[i] - declaration->entries) - 1);
            snprintf(detail, sizeof detail, "\"%s\" is that of \"sessions[%u]\"", name,
                     (unsigned)(sorted[i - 1] - declaration->entries) - 1);
            call_problem(call, 400, name, detail);
            return false;
        }
    }
    return true;
}

static uint32_t items_of(const struct json_value *array)
{
    uint32_t count = 0;
    struct json_value item;
    if (array->kind == JSON_IS_ARRAY) {
        for (struct slice rest = array->raw; json_array_next(&rest, &item);) {
            count++;
        }
    }
    return count;
}

static enum err work_put(struct records_link *link, struct live_query *query)
{
    struct declaration *declaration = query->arg;
    for (uint32_t i = 0; i < declaration->count; i++) {
        declaration->entries[i].event = query->event;
    }
    declaration->entries[0].session = query->session;
    return records_directory_put(link, declaration->entries, declaration->count);
}

static void write_put(struct buffer *out, const struct question *question)
{
    const struct declaration *declaration = question->arena;
    const struct directory_entry *entry = &declaration->entries[0];
    put_audience(out, question->query.event, question->query.session);
    directory_put_said(out, entry->title, entry->start_ms);
    if (declaration->with_sessions) {
        buffer_put_lit(out, ",\"sessions\":[");
        for (uint32_t i = 1; i < declaration->count; i++) {
            entry = &declaration->entries[i];
            if (i > 1) {
                buffer_put_char(out, ',');
            }
            buffer_put_lit(out, "{\"sessionId\":");
            buffer_put_json_string(out, entry->session);
            directory_put_said(out, entry->title, entry->start_ms);
            buffer_put_char(out, '}');
        }
        buffer_put_char(out, ']');
    }
    buffer_put_char(out, '}');
}

/* NULL: answered. */
static struct declaration *read_declaration(struct call *call)
{
    enum { TITLE, START, SESSIONS, FIELDS };
    static const struct json_field fields[FIELDS] = {
        [TITLE] = JSON_FIELD("title", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [START] = JSON_FIELD("startMs", JSON_IS_NUMBER | JSON_IS_NULL, JSON_OPTIONAL),
        [SESSIONS] = JSON_FIELD("sessions", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    };
    struct slice body = call->exchange->request.body;
    struct json_value values[FIELDS];
    struct json_fault fault;
    size_t wanted = call->session.len > 0 ? SESSIONS : FIELDS; /* a session has no sessions */
    if (json_object_read(body, fields, wanted, values, &fault) != JSON_OK) {
        char detail[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, detail);
        call_problem(call, 400, fault.field, detail);
        return NULL;
    }
    uint32_t sessions = wanted == FIELDS ? items_of(&values[SESSIONS]) : 0;
    if (sessions > DECLARED_SESSIONS_MAX) {
        call_problem(call, 400, "sessions",
                     "\"sessions\" must be at most 1000; the rest in a further request");
        return NULL;
    }
    struct declaration *declaration = declaration_new(body.len, sessions + 1);
    declaration->entries[0] = (struct directory_entry){0};
    declaration->with_sessions = wanted == FIELDS;
    const char *field;
    const char *rule =
        take_said(declaration, &values[TITLE], &values[START], &declaration->entries[0], &field);
    if (rule != NULL) {
        char detail[128];
        snprintf(detail, sizeof detail, "\"%s\" %s", field, rule);
        call_problem(call, 400, field, detail);
        free(declaration);
        return NULL;
    }
    struct json_value item;
    struct slice rest = sessions > 0 ? values[SESSIONS].raw : SLICE_EMPTY;
    for (uint32_t i = 1; i <= sessions && json_array_next(&rest, &item); i++) {
        if (!take_session(call, declaration, i, &item)) {
            free(declaration);
            return NULL;
        }
    }
    if (!check_twice(call, declaration)) {
        free(declaration);
        return NULL;
    }
    return declaration;
}

/* PUT of an event, also with sessions, or of a session. */
void directory_put(struct call *call)
{
    struct declaration *declaration = read_declaration(call);
    if (declaration == NULL) {
        return;
    }
    struct question *question = question_new(call, LIVE_WRITE, write_put);
    question->arena = question->query.arg = declaration;
    question->query.work = work_put;
    question_ask(call, question);
}

/* ---- DELETE ---- */

void events_delete(struct call *call)
{
    struct question *question = question_new(call, LIVE_PURGE, NULL);
    question->status = 204;
    question->go_on = shared_forget;
    question->explain = explain_unknown;
    question_ask(call, question);
}
