/* shared.c -- see shared.h. */
#include "api/shared.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"

/* ---- answers that are finished ---- */

struct shared_text {
    unsigned references; /* behind the mutex: who responds with it, and the table */
    int64_t asked_ms;    /* monotonic: it may lack what was counted after this */
    size_t len;
    char bytes[];
};

struct shared_slot {
    struct shared_key key;
    struct shared_text *text; /* NULL: free */
};

#define FORGOTTEN_COUNTERS 256

struct shared_answers {
    pthread_mutex_t lock;
    uint32_t forgotten[FORGOTTEN_COUNTERS]; /* by a hash of the event: see shared.h */
    size_t bytes;                           /* of all texts in slots */
    struct shared_slot slots[SHARED_ANSWERS_MAX];
};

struct shared_answers *shared_answers_new(void)
{
    struct shared_answers *answers = memory_zalloc(sizeof *answers);
    ASSERT(pthread_mutex_init(&answers->lock, NULL) == 0);
    return answers;
}

static void unreference(struct shared_text *text)
{
    ASSERT(text->references > 0);
    if (--text->references == 0) {
        free(text);
    }
}

static void empty_slot(struct shared_answers *answers, struct shared_slot *slot)
{
    ASSERT(answers->bytes >= slot->text->len);
    answers->bytes -= slot->text->len;
    unreference(slot->text);
    slot->text = NULL;
}

void shared_answers_free(struct shared_answers *answers)
{
    if (answers == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        if (answers->slots[i].text != NULL) {
            empty_slot(answers, &answers->slots[i]);
        }
    }
    pthread_mutex_destroy(&answers->lock);
    free(answers);
}

static bool key_equal(const struct shared_key *a, const struct shared_key *b)
{
    return a->work == b->work && a->range.from_ms == b->range.from_ms &&
           a->range.to_ms == b->range.to_ms && a->range.step_ms == b->range.step_ms &&
           slice_equal(slice_of(a->event, a->event_len), slice_of(b->event, b->event_len)) &&
           slice_equal(slice_of(a->session, a->session_len), slice_of(b->session, b->session_len));
}

static struct shared_slot *slot_of(struct shared_answers *answers, const struct shared_key *key)
{
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        struct shared_slot *slot = &answers->slots[i];
        if (slot->text != NULL && key_equal(&slot->key, key)) {
            return slot;
        }
    }
    return NULL;
}

/* NULL: all are free. */
static struct shared_slot *oldest_slot(struct shared_answers *answers)
{
    struct shared_slot *oldest = NULL;
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        struct shared_slot *slot = &answers->slots[i];
        if (slot->text != NULL &&
            (oldest == NULL || slot->text->asked_ms < oldest->text->asked_ms)) {
            oldest = slot;
        }
    }
    return oldest;
}

static struct shared_slot *free_slot(struct shared_answers *answers)
{
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        if (answers->slots[i].text == NULL) {
            return &answers->slots[i];
        }
    }
    struct shared_slot *oldest = oldest_slot(answers);
    empty_slot(answers, oldest);
    return oldest;
}

struct shared_text *shared_answers_find(struct shared_answers *answers,
                                        const struct shared_key *key, int64_t now_ms)
{
    struct shared_text *text = NULL;
    pthread_mutex_lock(&answers->lock);
    struct shared_slot *slot = slot_of(answers, key);
    if (slot != NULL && now_ms - slot->text->asked_ms < SHARED_MS) {
        text = slot->text;
        text->references++;
    }
    pthread_mutex_unlock(&answers->lock);
    return text;
}

/* The counter of an event; another event may have the same one, which costs it a scan at times. */
static uint32_t *forgotten_of(struct shared_answers *answers, struct slice event)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < event.len; i++) {
        hash = hash * 31 + (unsigned char)event.ptr[i];
    }
    return &answers->forgotten[hash % FORGOTTEN_COUNTERS];
}

struct shared_moment shared_answers_moment(struct shared_answers *answers,
                                           const struct shared_key *key, int64_t now_ms)
{
    struct shared_moment moment = {.asked_ms = now_ms};
    pthread_mutex_lock(&answers->lock);
    moment.forgotten = *forgotten_of(answers, slice_of(key->event, key->event_len));
    pthread_mutex_unlock(&answers->lock);
    return moment;
}

void shared_answers_forget(struct shared_answers *answers, struct slice event)
{
    pthread_mutex_lock(&answers->lock);
    ++*forgotten_of(answers, event);
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        struct shared_slot *slot = &answers->slots[i];
        if (slot->text != NULL &&
            slice_equal(slice_of(slot->key.event, slot->key.event_len), event)) {
            empty_slot(answers, slot);
        }
    }
    pthread_mutex_unlock(&answers->lock);
}

/* Puts it in its place; under the lock. */
static void put_text(struct shared_answers *answers, const struct shared_key *key,
                     struct shared_text *text)
{
    struct shared_slot *same = slot_of(answers, key);
    if (same != NULL && same->text->asked_ms > text->asked_ms) {
        return; /* another worker was asked later and has answered first */
    }
    if (same != NULL) {
        empty_slot(answers, same);
    }
    while (answers->bytes + text->len > SHARED_BYTES_MAX) {
        empty_slot(answers, oldest_slot(answers));
    }
    struct shared_slot *slot = free_slot(answers);
    slot->key = *key;
    slot->text = text;
    text->references++;
    answers->bytes += text->len;
}

struct shared_text *shared_answers_keep(struct shared_answers *answers,
                                        const struct shared_key *key, struct slice bytes,
                                        struct shared_moment moment, int64_t now_ms)
{
    struct shared_text *text = memory_alloc(sizeof *text + bytes.len);
    text->references = 1;
    text->asked_ms = moment.asked_ms;
    text->len = bytes.len;
    if (bytes.len > 0) {
        memcpy(text->bytes, bytes.ptr, bytes.len);
    }
    if (bytes.len > SHARED_BYTES_MAX || now_ms - moment.asked_ms >= SHARED_MS) {
        return text; /* nobody else can use it */
    }
    pthread_mutex_lock(&answers->lock);
    if (moment.forgotten == *forgotten_of(answers, slice_of(key->event, key->event_len))) {
        put_text(answers, key, text);
    }
    pthread_mutex_unlock(&answers->lock);
    return text;
}

struct slice shared_text_slice(const struct shared_text *text)
{
    return slice_of(text->bytes, text->len);
}

void shared_text_free(struct shared_answers *answers, struct shared_text *text)
{
    pthread_mutex_lock(&answers->lock);
    unreference(text);
    pthread_mutex_unlock(&answers->lock);
}

size_t shared_answers_check(struct shared_answers *answers)
{
    size_t bytes = 0;
    pthread_mutex_lock(&answers->lock);
    for (size_t i = 0; i < SHARED_ANSWERS_MAX; i++) {
        const struct shared_slot *slot = &answers->slots[i];
        if (slot->text != NULL) {
            ASSERT(slot->text->references > 0);
            ASSERT(slot_of(answers, &slot->key) == slot); /* no key twice */
            bytes += slot->text->len;
        }
    }
    ASSERT(bytes == answers->bytes && bytes <= SHARED_BYTES_MAX);
    pthread_mutex_unlock(&answers->lock);
    return bytes;
}

/* ---- questions that are under way ---- */

/* In the `user` bytes of an exchange that waits. */
struct shared_waiter {
    struct http_exchange *next;
};
static_assert(sizeof(struct shared_waiter) <= HTTP_USER_BYTES, "who waits fits its exchange");

static void wait_for(struct shared_question *question, struct http_exchange *exchange)
{
    struct shared_waiter *waiter = (struct shared_waiter *)(void *)exchange->user;
    waiter->next = NULL;
    if (question->first == NULL) {
        question->first = exchange;
    } else {
        ((struct shared_waiter *)(void *)question->last->user)->next = exchange;
    }
    question->last = exchange;
}

static struct shared_question *under_way(struct api_worker *worker, const struct shared_key *key)
{
    struct shared_question *question = worker->shared;
    while (question != NULL && !key_equal(&question->key, key)) {
        question = question->next;
    }
    return question;
}

static void unlist(struct api_worker *worker, struct shared_question *question)
{
    if (!question->listed) {
        return;
    }
    struct shared_question **link = &worker->shared;
    while (*link != question) {
        link = &(*link)->next;
    }
    *link = question->next;
    question->listed = false;
    worker->shared_count--;
}

static void respond(struct http_exchange *exchange, const struct shared_question *question,
                    const struct shared_text *text)
{
    if (text != NULL) {
        respond_json(exchange, shared_text_slice(text));
    } else if (question->query.status != LIVE_OK) {
        respond_live_problem(exchange, question->query.status, READ_AGAIN);
    } else if (question->problem.status != 0) {
        http_problem(exchange, question->problem.status, question->problem.field,
                     question->problem.detail);
    } else {
        http_problem(exchange, 500, NULL, "the answer is larger than the server may make it");
    }
}

static void question_free(struct shared_question *question)
{
    live_query_fini(&question->query);
    buffer_fini(&question->text);
    free(question);
}

/* All who wait for it; it is gone. */
static void respond_all(struct shared_question *question, const struct shared_text *text)
{
    for (struct http_exchange *exchange = question->first; exchange != NULL;) {
        struct http_exchange *next = ((struct shared_waiter *)(void *)exchange->user)->next;
        respond(exchange, question, text);
        exchange = next;
    }
    question_free(question);
}

static void enlist(struct api_worker *worker, struct shared_question *question)
{
    if (worker->shared_count < SHARED_UNDER_WAY_MAX) {
        question->next = worker->shared;
        worker->shared = question;
        worker->shared_count++;
        question->listed = true;
    }
}

static void take_moment(struct shared_question *question)
{
    question->moment =
        shared_answers_moment(question->worker->api->shared, &question->key, clock_mono_ms());
}

/* Its predecessor is done. */
static bool ask_successor(struct shared_question *question)
{
    take_moment(question);
    if (!worker_submit(question->worker, &question->query.request)) {
        question->query.status = LIVE_BUSY;
        return false;
    }
    enlist(question->worker, question);
    return true;
}

static void shared_done(struct live_request *request)
{
    struct shared_question *question = (struct shared_question *)(void *)request;
    static_assert(offsetof(struct shared_question, query) == 0 &&
                      offsetof(struct live_query, request) == 0,
                  "a request is where its question begins");
    struct api_worker *worker = question->worker;
    struct shared_answers *answers = worker->api->shared;
    struct shared_question *successor = question->successor;
    worker_returned(worker);
    /* First: an answer may bring the connection's next request, which must find the text, or the
     * successor. */
    unlist(worker, question);
    struct shared_text *text = NULL;
    if (question->query.status == LIVE_OK && question->problem.status == 0 &&
        buffer_outcome(&question->text) == BUFFER_OK) {
        text = shared_answers_keep(answers, &question->key, buffer_slice(&question->text),
                                   question->moment, clock_mono_ms());
    }
    bool asked = successor != NULL && ask_successor(successor);
    respond_all(question, text);
    if (text != NULL) {
        shared_text_free(answers, text);
    }
    if (successor != NULL && !asked) {
        respond_all(successor, NULL);
    }
}

static struct shared_key key_of(const struct call *call, live_work_fn *work,
                                const struct shared_range *range)
{
    struct shared_key key = {.work = work,
                             .range = *range,
                             .event_len = (uint8_t)call->event.len,
                             .session_len = (uint8_t)call->session.len};
    ASSERT(call->event.len <= sizeof key.event && call->session.len <= sizeof key.session);
    memcpy(key.event, call->event.ptr, call->event.len);
    if (call->session.len > 0) {
        memcpy(key.session, call->session.ptr, call->session.len);
    }
    return key;
}

static struct shared_question *shared_question_new(struct call *call, const struct shared_key *key,
                                                   bool fresh)
{
    struct shared_question *question = memory_zalloc(sizeof *question);
    question->key = *key;
    question->worker = call->worker;
    buffer_init(&question->text, ANSWER_BYTES_MAX);
    question->query = (struct live_query){
        .request = {.kind = LIVE_QUERY, .done = shared_done},
        .kind = LIVE_READ,
        .event = slice_of(question->key.event, key->event_len),
        .session = slice_of(question->key.session, key->session_len),
        .work = key->work,
        .arg = question,
        .fresh = fresh,
        .long_read = true,
    };
    return question;
}

bool shared_range_read(struct call *call, bool step, struct shared_range *range)
{
    enum { FROM, TO, STEP, WANTED };
    struct parameter wanted[WANTED] = {
        [FROM] = {.name = "from"},
        [TO] = {.name = "to"},
        [STEP] = {.name = "step"},
    };
    static const char time_rule[] = "a time in ms since the epoch";
    uint64_t from_ms = 0, to_ms = 0, step_ms = 0;
    if (!call_parameters(call, wanted, step ? WANTED : STEP) ||
        !parameter_number(call, &wanted[FROM], 0, TIME_MS_MAX, time_rule, &from_ms) ||
        !parameter_number(call, &wanted[TO], 0, TIME_MS_MAX, time_rule, &to_ms) ||
        !parameter_number(call, &wanted[STEP], 1, TIME_MS_MAX, "a number of ms, from 1 on",
                          &step_ms)) {
        return false;
    }
    if (wanted[FROM].given && wanted[TO].given && to_ms < from_ms) {
        call_problem(call, 400, "to", "\"to\" must not be before \"from\"");
        return false;
    }
    range->from_ms = wanted[FROM].given ? (int64_t)from_ms : RANGE_ABSENT;
    range->to_ms = wanted[TO].given ? (int64_t)to_ms : RANGE_ABSENT;
    range->step_ms = wanted[STEP].given ? (int64_t)step_ms : RANGE_ABSENT;
    return true;
}

/* Does it see all that whoever asks now must get? */
static bool is_young(const struct shared_question *question)
{
    struct shared_moment now =
        shared_answers_moment(question->worker->api->shared, &question->key, clock_mono_ms());
    return now.asked_ms - question->moment.asked_ms < SHARED_MS &&
           now.forgotten == question->moment.forgotten;
}

void shared_ask(struct call *call, live_work_fn *work, bool fresh, const struct shared_range *range)
{
    struct api_worker *worker = call->worker;
    struct shared_answers *answers = worker->api->shared;
    struct shared_key key = key_of(call, work, range);
    struct shared_text *text = shared_answers_find(answers, &key, clock_mono_ms());
    if (text != NULL) {
        respond_json(call->exchange, shared_text_slice(text));
        shared_text_free(answers, text);
        return;
    }
    struct shared_question *question = under_way(worker, &key);
    if (question != NULL && is_young(question)) {
        wait_for(question, call->exchange);
        return;
    }
    if (question != NULL) {
        if (question->successor == NULL) {
            question->successor = shared_question_new(call, &key, fresh);
        }
        wait_for(question->successor, call->exchange);
        return;
    }
    question = shared_question_new(call, &key, fresh);
    take_moment(question);
    if (!call_submit(call, &question->query.request)) {
        question_free(question);
        return;
    }
    wait_for(question, call->exchange);
    enlist(worker, question);
}

bool shared_forget(struct question *question)
{
    const struct api_worker *worker = exchange_of(question)->worker_ctx;
    shared_answers_forget(worker->api->shared, question->query.event);
    return auth_forget(question);
}
