/* question.c -- endpoints that are one query to live/: ask, wait, write the answer. */
#include "api/internal.h"

#include <stdlib.h>

#include "base/assert.h"

struct slice call_keep(const struct call *call, struct slice text, char *room)
{
    uintptr_t begin = (uintptr_t)call->scratch.bytes, at = (uintptr_t)text.ptr;
    if (text.len == 0 || at < begin || at >= begin + call->scratch.size) {
        return text;
    }
    memcpy(room, text.ptr, text.len);
    return slice_of(room, text.len);
}

static void free_arena(void *arena, void (*fini)(void *arena))
{
    if (fini != NULL) {
        fini(arena);
    } else {
        free(arena);
    }
}

static void respond_good(struct http_exchange *exchange, int status)
{
    const struct api_worker *worker = exchange->worker_ctx;
    if (status == 204) {
        http_respond(exchange, &(struct http_response){.status = 204});
    } else if (status == 0 || buffer_outcome(&worker->answer) != BUFFER_OK) {
        respond_answer(exchange);
    } else {
        respond_json_status(exchange, status, buffer_slice(&worker->answer));
    }
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
    if (question->go_on != NULL && question->go_on(question)) {
        return;
    }
    enum live_status status = question->query.status;
    int good = question->status;
    struct problem problem;
    bool explained = false;
    if (status == LIVE_OK) {
        buffer_reset(&worker->answer);
        if (question->write != NULL) {
            question->write(&worker->answer, question);
        }
    } else if (question->explain != NULL) {
        explained = question->explain(question, &problem);
    }
    /* Before the answer: with it, the exchange's bytes are the next request's. */
    live_query_fini(&question->query);
    free_arena(question->arena, question->fini);
    if (status == LIVE_OK) {
        respond_good(exchange, good);
    } else if (explained) {
        http_problem(exchange, problem.status, problem.field, problem.detail);
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
    void (*fini)(void *) = question->fini;
    if (!call_submit(call, &question->query.request)) {
        free_arena(arena, fini); /* the question itself has gone with the answer */
    }
}

bool question_again(struct question *question, enum live_query_kind kind, live_work_fn *work)
{
    struct http_exchange *exchange = exchange_of(question);
    struct api_worker *worker = exchange->worker_ctx;
    struct live_query *query = &question->query;
    live_query_fini(query);
    *query = (struct live_query){.request = {.kind = LIVE_QUERY, .done = question_done},
                                 .kind = kind,
                                 .event = query->event,
                                 .session = query->session,
                                 .viewer = query->viewer,
                                 .work = work,
                                 .arg = query->arg};
    if (!worker_submit(worker, &query->request)) {
        query->status = LIVE_BUSY;
        return false;
    }
    return true;
}
