/* answer.c -- the ways to answer: JSON, problems, and the pieces of JSON that several share. */
#include "api/internal.h"

#include "base/assert.h"
#include "core/groups.h"

void respond_json(struct http_exchange *exchange, struct slice body)
{
    respond_json_status(exchange, 200, body);
}

void respond_json_status(struct http_exchange *exchange, int status, struct slice body)
{
    /* Figures are of a moment: no cache between us and whoever asks may keep them. */
    const struct http_response response = {
        .status = status,
        .content_type = "application/json",
        .headers = SLICE_LIT("Cache-Control: no-store\r\n"),
        .body = body,
    };
    http_respond(exchange, &response);
}

void respond_answer(struct http_exchange *exchange)
{
    const struct api_worker *worker = exchange->worker_ctx;
    switch (buffer_outcome(&worker->answer)) {
    case BUFFER_OK:
        respond_json(exchange, buffer_slice(&worker->answer));
        return;
    case BUFFER_FULL:
        http_problem(exchange, 500, NULL, "the answer is larger than the server may make it");
        return;
    }
}

void call_problem(struct call *call, int status, const char *field, const char *detail)
{
    http_problem(call->exchange, status, field, detail);
}

const char *live_status_text(enum live_status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) text,
        LIVE_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    };
    return texts[status];
}

void respond_live_problem(struct http_exchange *exchange, enum live_status status,
                          struct slice retry_after)
{
    const char *detail = live_status_text(status);
    switch (status) {
    case LIVE_OK:
        break;
    case LIVE_UNKNOWN_VIEWER:
        http_problem(exchange, 403, "viewerId", detail);
        return;
    case LIVE_UNKNOWN_EVENT:
        http_problem(exchange, 404, "eventId", detail);
        return;
    case LIVE_NOT_FOUND:
        /* Audiences that nobody has seen count 0; only a viewer is ever looked for in vain. */
        http_problem(exchange, 404, "viewerId",
                     "the event has not seen this viewer, and holds no profile");
        return;
    case LIVE_REFUSED:
        http_problem(exchange, 409, NULL, detail);
        return;
    case LIVE_EVENTS_FULL:
    case LIVE_SESSIONS_FULL:
    case LIVE_VIEWERS_FULL:
    case LIVE_GROUPS_FULL:
        http_problem_headers(exchange, 429, NULL, detail, retry_after);
        return;
    case LIVE_BUSY:
    case LIVE_NO_SPACE:
    case LIVE_RECORDS_AWAY:
    case LIVE_ERASING:
        http_problem_headers(exchange, 503, NULL, detail, retry_after);
        return;
    }
    ASSERT(!"a problem, or a status that there is");
}

void put_audience(struct buffer *out, struct slice event, struct slice session)
{
    buffer_put_lit(out, "{\"eventId\":");
    buffer_put_json_string(out, event);
    if (session.len > 0) {
        buffer_put_lit(out, ",\"sessionId\":");
        buffer_put_json_string(out, session);
    }
}

void put_groups(struct buffer *out, struct slice packed)
{
    char before = '[';
    for (struct slice id; groups_next(&packed, &id);) {
        buffer_put_char(out, before);
        buffer_put_json_string(out, id);
        before = ',';
    }
    if (before == '[') {
        buffer_put_char(out, before);
    }
    buffer_put_char(out, ']');
}
