/* test_shared.c -- answers that many readers share: the table, and who waits for what. */
#include "fake.h"

#include "api/shared.h"

static enum err work_a(struct records_link *link, struct live_query *query)
{
    (void)link;
    (void)query;
    return ERR_NONE;
}

static enum err work_b(struct records_link *link, struct live_query *query)
{
    (void)link;
    (void)query;
    return ERR_IO;
}

static struct shared_key key_of(live_work_fn *work, const char *event, const char *session,
                                int64_t from_ms)
{
    struct shared_key key = {.work = work,
                             .range = {from_ms, RANGE_ABSENT, RANGE_ABSENT},
                             .event_len = (uint8_t)strlen(event),
                             .session_len = (uint8_t)strlen(session)};
    memcpy(key.event, event, strlen(event));
    memcpy(key.session, session, strlen(session));
    return key;
}

/* Asked and answered in the same ms. */
static struct shared_text *keep_slice(struct shared_answers *answers, const struct shared_key *key,
                                      struct slice text, int64_t now_ms)
{
    return shared_answers_keep(answers, key, text, shared_answers_moment(answers, key, now_ms),
                               now_ms);
}

static void keep(struct shared_answers *answers, const struct shared_key *key, const char *text,
                 int64_t now_ms)
{
    shared_text_free(answers, keep_slice(answers, key, slice_str(text), now_ms));
    shared_answers_check(answers);
}

static void assert_found(struct shared_answers *answers, const struct shared_key *key,
                         int64_t now_ms, const char *expected)
{
    struct shared_text *text = shared_answers_find(answers, key, now_ms);
    if (expected == NULL) {
        assert_null(text);
        return;
    }
    assert_non_null(text);
    assert_slice(shared_text_slice(text), expected);
    shared_text_free(answers, text);
}

static void test_keys(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    const struct shared_key keys[] = {
        key_of(work_a, "E", "", 1),  key_of(work_b, "E", "", 1),
        key_of(work_a, "ES", "", 1), key_of(work_a, "E", "S", 1),
        key_of(work_a, "E", "", 2),  key_of(work_a, "E", "", RANGE_ABSENT),
    };
    char text[2] = "0";
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_found(answers, &keys[i], 0, NULL);
        text[0] = (char)('0' + i);
        keep(answers, &keys[i], text, 0);
    }
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        text[0] = (char)('0' + i);
        assert_found(answers, &keys[i], SHARED_MS - 1, text);
        assert_found(answers, &keys[i], SHARED_MS, NULL);
    }
    keep(answers, &keys[0], "newer", 5000);
    assert_found(answers, &keys[0], 5000, "newer");
    assert_int_equal(shared_answers_check(answers), 5 + 5);
    shared_answers_free(answers);
}

static void test_oldest_goes(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    for (int i = 0; i < SHARED_ANSWERS_MAX + 3; i++) {
        struct shared_key key = key_of(work_a, "E", "", i);
        keep(answers, &key, "text", i);
    }
    assert_int_equal(shared_answers_check(answers), 4 * SHARED_ANSWERS_MAX);
    for (int i = 0; i < SHARED_ANSWERS_MAX + 3; i++) {
        struct shared_key key = key_of(work_a, "E", "", i);
        assert_found(answers, &key, 40, i < 3 ? NULL : "text");
    }
    shared_answers_free(answers);
}

static void test_bytes(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    size_t size = SHARED_BYTES_MAX / 3;
    char *bytes = memory_zalloc(SHARED_BYTES_MAX + 1);
    for (int i = 0; i < 5; i++) {
        struct shared_key key = key_of(work_a, "E", "", i);
        struct shared_text *text = keep_slice(answers, &key, slice_of(bytes, size), i);
        /* A text that is being sent outlives its place in the table. */
        keep(answers, &key, "other", i);
        assert_int_equal(shared_text_slice(text).len, size);
        shared_text_free(answers, text);
        shared_text_free(answers, keep_slice(answers, &key, slice_of(bytes, size), i));
        assert_true(shared_answers_check(answers) <= SHARED_BYTES_MAX);
    }
    assert_int_equal(shared_answers_check(answers), 3 * size);
    /* One that is larger than the table is not kept, and drives nothing out. */
    struct shared_key key = key_of(work_a, "E", "", 9);
    struct shared_text *text = keep_slice(answers, &key, slice_of(bytes, SHARED_BYTES_MAX + 1), 9);
    assert_int_equal(shared_text_slice(text).len, SHARED_BYTES_MAX + 1);
    shared_text_free(answers, text);
    assert_found(answers, &key, 9, NULL);
    assert_int_equal(shared_answers_check(answers), 3 * size);
    free(bytes);
    shared_answers_free(answers);
}

/* The age of an answer is that of its question, however long the scan took. */
static void test_age(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    const struct shared_key key = key_of(work_a, "E", "", 1);
    struct shared_moment early = shared_answers_moment(answers, &key, 10000);
    struct shared_moment late = shared_answers_moment(answers, &key, 10300);
    shared_text_free(answers, shared_answers_keep(answers, &key, SLICE_LIT("early"), early, 10900));
    assert_found(answers, &key, 10000 + SHARED_MS - 1, "early");
    assert_found(answers, &key, 10000 + SHARED_MS, NULL);
    shared_text_free(answers, shared_answers_keep(answers, &key, SLICE_LIT("late"), late, 10950));
    /* What was asked before that and is answered after it comes too late. */
    shared_text_free(answers, shared_answers_keep(answers, &key, SLICE_LIT("early"), early, 10960));
    assert_found(answers, &key, 10960, "late");
    /* A scan of more than a second: nobody can use it, so it takes nobody's place. */
    const struct shared_key slow = key_of(work_a, "E", "", 2);
    shared_text_free(
        answers, shared_answers_keep(answers, &slow, SLICE_LIT("slow"), early, 10000 + SHARED_MS));
    assert_found(answers, &slow, 10000 + SHARED_MS, NULL);
    assert_int_equal(shared_answers_check(answers), 4);
    shared_answers_free(answers);
}

static void test_forgotten(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    const struct shared_key event = key_of(work_a, "E", "", 1);
    const struct shared_key session = key_of(work_b, "E", "S", 1);
    const struct shared_key other = key_of(work_a, "F", "", 1);
    keep(answers, &event, "event", 0);
    keep(answers, &session, "session", 0);
    keep(answers, &other, "other", 0);
    struct shared_moment before = shared_answers_moment(answers, &event, 0);
    struct shared_moment of_other = shared_answers_moment(answers, &other, 0);
    shared_answers_forget(answers, SLICE_LIT("E"));
    assert_found(answers, &event, 0, NULL);
    assert_found(answers, &session, 0, NULL);
    assert_found(answers, &other, 0, "other");
    assert_int_equal(shared_answers_check(answers), 5);
    /* And what was asked before is not kept after. */
    shared_text_free(answers, shared_answers_keep(answers, &event, SLICE_LIT("old"), before, 1));
    assert_found(answers, &event, 1, NULL);
    shared_text_free(answers, shared_answers_keep(answers, &other, SLICE_LIT("F"), of_other, 1));
    assert_found(answers, &other, 1, "F");
    keep(answers, &event, "new", 1);
    assert_found(answers, &event, 1, "new");
    shared_answers_free(answers);
}

/* A dashboard of 50 sessions that asks its five questions one after the other finds each again. */
static void test_dashboard(void **state)
{
    (void)state;
    struct shared_answers *answers = shared_answers_new();
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50; i++) {
            char session[16];
            snprintf(session, sizeof session, "s%d", i);
            for (int what = 0; what < 5; what++) {
                struct shared_key key = key_of(work_a, "E", session, what);
                assert_found(answers, &key, round, round == 0 ? NULL : "text");
                if (round == 0) {
                    keep(answers, &key, "text", 0);
                }
            }
        }
    }
    shared_answers_free(answers);
}

/* ---- with exchanges ---- */

/* Another exchange asks the same as fake_request would. */
static void other_asks(unsigned other, const char *target)
{
    struct http_exchange *exchange = &fake.others[other];
    memset(exchange, 0, sizeof *exchange);
    fake.other_status[other] = 0;
    exchange->worker_ctx = fake.worker;
    exchange->request.method = HTTP_GET;
    const char *mark = strchr(target, '?');
    exchange->request.path =
        mark == NULL ? slice_str(target) : slice_of(target, (size_t)(mark - target));
    exchange->request.query = mark == NULL ? SLICE_EMPTY : slice_str(mark + 1);
    fake.handler.request(fake.handler.ctx, exchange);
    fake.handler.turn_end(fake.worker);
}

static struct live_query *computation(void)
{
    struct live_query *query = fake_query(LIVE_READ);
    return query;
}

static void test_waiting(void **state)
{
    (void)state;
    fake_request(HTTP_GET, "/analytics/events/W/viewers/viewing-stats", "");
    struct live_query *query = computation();
    assert_true(query->fresh);
    assert_slice(query->event, "W");
    for (unsigned i = 0; i < FAKE_OTHERS; i++) {
        other_asks(i, "/analytics/events/W/viewers/viewing-stats"); /* no second one is submitted */
    }
    struct shared_question *question = query->arg;
    buffer_put_lit(&question->text, "{\"x\":1}");
    fake_finish();
    assert_json("{\"x\":1}");
    for (unsigned i = 0; i < FAKE_OTHERS; i++) {
        assert_int_equal(fake.other_status[i], 200);
    }
    /* And whoever comes within the second. */
    fake_request(HTTP_GET, "/analytics/events/W/viewers/viewing-stats", "");
    assert_json("{\"x\":1}");
    assert_null(fake.submitted);
    /* But not who asks something else. */
    fake_request(HTTP_GET, "/analytics/events/W/sessions/S/viewers/viewing-stats", "");
    query = computation();
    assert_slice(query->session, "S");
    query->status = LIVE_BUSY;
    fake_finish();
    assert_problem(503, "");
}

static void test_problem_for_all(void **state)
{
    (void)state;
    static const char target[] = "/analytics/events/P/viewers/concurrent?from=1&to=2&step=1";
    for (int round = 0; round < 2; round++) { /* a problem is not kept */
        fake_request(HTTP_GET, target, "");
        struct shared_question *question = computation()->arg;
        other_asks(0, "/analytics/events/P/viewers/concurrent?step=1&to=2&x=&from=1");
        if (round == 0) {
            question->problem = (struct problem){400, "step", "too small"};
        } else {
            question->query.status = LIVE_RECORDS_AWAY;
        }
        fake_finish();
        assert_problem(round == 0 ? 400 : 503, round == 0 ? "step" : "");
        assert_int_equal(fake.other_status[0], round == 0 ? 400 : 503);
    }
}

static void answer_with(struct shared_question *question, const char *text)
{
    buffer_reset(&question->text);
    buffer_put(&question->text, slice_str(text));
    fake.handler.wake(fake.worker);
}

/* Who asks when a scan has been under way for a second must not get what may lack that second: all
 * of those wait for the next scan, which is asked when the first one is done. */
static void test_successor(void **state)
{
    (void)state;
    static const char target[] = "/analytics/events/SLOW/viewers/viewing-stats";
    for (int round = 0; round < 2; round++) {
        bool refuse = round == 1;
        fake_request(HTTP_GET, target, "");
        struct shared_question *first = computation()->arg;
        first->moment.asked_ms -= SHARED_MS - 500;
        other_asks(0, target); /* still young enough */
        first->moment.asked_ms -= 500;
        other_asks(1, target);
        other_asks(2, target);
        assert_ptr_equal(fake.submitted, &first->query.request); /* one at a time */
        fake.refuse = refuse;
        answer_with(first, "{\"n\":1}");
        fake.refuse = false;
        assert_json("{\"n\":1}");
        assert_int_equal(fake.other_status[0], 200);
        if (refuse) {
            assert_int_equal(fake.other_status[1], 503);
            assert_int_equal(fake.other_status[2], 503);
            assert_null(fake.submitted);
            continue;
        }
        assert_int_equal(fake.other_status[1], 0);
        struct shared_question *second = computation()->arg;
        assert_true(second->query.fresh && second->query.long_read);
        other_asks(0, target); /* and these wait for it too */
        answer_with(second, "{\"n\":2}");
        for (int i = 0; i < 3; i++) {
            assert_int_equal(fake.other_status[i], 200);
        }
        fake_request(HTTP_GET, target, "");
        assert_json("{\"n\":2}"); /* the first one was not kept */
        shared_answers_forget(((struct api_worker *)fake.worker)->api->shared, SLICE_LIT("SLOW"));
    }
}

/* Once an erasure or a purge is answered, nobody gets what was asked before it. */
static void test_erased(void **state)
{
    (void)state;
    static const char target[] = "/analytics/events/GONE/sessions/S/viewers/viewing-stats";
    static const struct {
        const char *path;
        enum live_query_kind kind;
    } deletes[] = {{"/analytics/events/GONE/viewers/v", LIVE_ERASE},
                   {"/analytics/events/GONE", LIVE_PURGE}};
    for (int i = 0; i < 2; i++) {
        other_asks(0, target);
        struct shared_question *before = computation()->arg;
        fake_request(HTTP_DELETE, deletes[i].path, "");
        fake_query(deletes[i].kind)->status = LIVE_OK;
        fake_finish();
        assert_int_equal(fake.answer.status, 204);
        other_asks(1, target);
        assert_null(fake.submitted); /* it waits for the successor */
        fake.submitted = &before->query.request;
        answer_with(before, "{\"v\":1}");
        assert_int_equal(fake.other_status[0], 200);
        assert_int_equal(fake.other_status[1], 0);
        answer_with(computation()->arg, "{\"v\":0}");
        assert_int_equal(fake.other_status[1], 200);
        fake_request(HTTP_GET, target, "");
        assert_json("{\"v\":0}");
        /* A kept answer goes as well. */
        fake_request(HTTP_DELETE, deletes[i].path, "");
        fake_query(deletes[i].kind)->status = LIVE_OK;
        fake_finish();
        fake_request(HTTP_GET, target, "");
        computation()->status = LIVE_BUSY;
        fake_finish();
        assert_problem(503, "");
    }
}

static void test_no_room(void **state)
{
    (void)state;
    fake_new(HTTP_GET, "/analytics/events/R/viewers/viewing-stats", SLICE_EMPTY);
    fake.refuse = true;
    fake_handle();
    fake.refuse = false;
    assert_problem(503, "");
    /* Nobody can wait for what was never asked. */
    fake_request(HTTP_GET, "/analytics/events/R/viewers/viewing-stats", "");
    computation()->status = LIVE_BUSY;
    fake_finish();
    assert_problem(503, "");
}

static void test_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query, *field;
    } bad[] = {{"from=x", "from"}, {"to=-1", "to"},
               {"step=0", "step"}, {"from=9007199254740993", "from"},
               {"step=", "step"},  {"from=2&to=1", "to"},
               {"to=%zz", "to"},   {"step=1%00", "step"}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char target[128];
        snprintf(target, sizeof target, "/analytics/events/E/viewers/concurrent?%s", bad[i].query);
        fake_request(HTTP_GET, target, "");
        assert_problem(400, bad[i].field);
    }
    fake_request(HTTP_GET, "/analytics/events/E/viewers/all-time-active-count?from=2&to=1", "");
    assert_problem(400, "to");
    /* Without a range it is what the engine knows. */
    fake_request(HTTP_GET, "/analytics/events/E/viewers/all-time-active-count?step=x", "");
    fake_query(LIVE_FIGURES)->status = LIVE_BUSY;
    fake_finish();
    fake_request(HTTP_GET, "/analytics/events/E/viewers/all-time-active-count?to=5", "");
    struct shared_question *question = computation()->arg;
    assert_true(question->key.range.from_ms == RANGE_ABSENT && question->key.range.to_ms == 5);
    question->query.status = LIVE_BUSY;
    fake_finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),      cmocka_unit_test(test_oldest_goes),
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_age),
        cmocka_unit_test(test_forgotten), cmocka_unit_test(test_dashboard),
        cmocka_unit_test(test_waiting),   cmocka_unit_test(test_problem_for_all),
        cmocka_unit_test(test_successor), cmocka_unit_test(test_erased),
        cmocka_unit_test(test_no_room),   cmocka_unit_test(test_parameters),
    };
    return fake_run(tests);
}
