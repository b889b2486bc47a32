/* question.c -- endpoints that are one query to live/: ask, wait, write the answer. */
#include "api/internal.h"

#include <stdlib.h>

#include "base/assert.h"

/* Who reads figures comes again soon; the heartbeats' interval is for viewers. */
#define READ_AGAIN SLICE_LIT("Retry-After: 1\r\n")

struct slice call_keep(const struct call *call, struct slice text, char *room)
{
    uintptr_t begin = (uintptr_t)call->scratch.bytes, at = (uintptr_t)text.ptr;
    if (text.len == 0 || at < begin || at >= begin + call->scratch.size) {
        return text;
    }
    memcpy(room, text.ptr, text.len);
    return slice_of(room, text.len);
}

static void question_done(struct live_request *request)
{
    struct question *question = (struct question *)(void *)request;
    static_assert(offsetof(struct question, query) == 0 &&
                      offsetof(struct live_query, request) == 0,
                  "a request is where its question begins");
    struct http_exchange *exchange = exchange_of(question);
    struct api_worker *worker = exchange->worker_ctx;
    worker_returned(worker);
    enum live_status status = question->query.status;
    if (status == LIVE_OK) {
        buffer_reset(&worker->answer);
        question->write(&worker->answer, question);
    }
    /* Before the answer: with it, the exchange's bytes are the next request's. */
    live_query_fini(&question->query);
    free(question->arena);
    if (status == LIVE_OK) {
        respond_answer(exchange);
    } else {
        respond_live_problem(exchange, status, READ_AGAIN);
    }
}

struct question *question_new(struct call *call, enum live_query_kind kind,
                              void (*write)(struct buffer *out, const struct question *question))
{
    struct question *question = (struct question *)(void *)call->exchange->user;
    question->write = write;
    struct live_query *query = &question->query;
    query->request.kind = LIVE_QUERY;
    query->request.done = question_done;
    query->kind = kind;
    query->event = call_keep(call, call->event, question->event);
    query->session = call_keep(call, call->session, question->other);
    query->viewer = call_keep(call, call->viewer, question->other);
    return question;
}

void question_ask(struct call *call, struct question *question)
{
    void *arena = question->arena;
    if (!call_submit(call, &question->query.request)) {
        free(arena); /* the question itself has gone with the answer */
    }
}
