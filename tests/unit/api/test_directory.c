/* test_directory.c -- events and sessions: declared, listed with what was only seen, taken back. */
#include "worked.h"

#define EVENTS "/analytics/events"

static void put(const char *path, const char *body, const char *answer)
{
    fake_request(HTTP_PUT, path, body);
    worked_do(LIVE_WRITE);
    assert_json(answer);
}

static void test_put_and_get(void **state)
{
    (void)state;
    put(EVENTS "/E",
        "{\"title\":\"La\\u0075nch \\\"1\\\"\",\"startMs\":1637661623070,\"sessions\":["
        "{\"sessionId\":\"b\",\"title\":\"B\"},{\"sessionId\":\"a\",\"startMs\":5,\"title\":null}]"
        "}",
        "{\"eventId\":\"E\",\"title\":\"Launch \\\"1\\\"\",\"startMs\":1637661623070,\"sessions\":["
        "{\"sessionId\":\"b\",\"title\":\"B\"},{\"sessionId\":\"a\",\"startMs\":5}]}");
    fake_request(HTTP_GET, EVENTS "/E", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"title\":\"Launch \\\"1\\\"\",\"startMs\":1637661623070,"
                "\"sessions\":[{\"sessionId\":\"a\",\"startMs\":5},"
                "{\"sessionId\":\"b\",\"title\":\"B\"}]}");
    /* Title and start are replaced; sessions stay. */
    put(EVENTS "/E", "{}", "{\"eventId\":\"E\",\"sessions\":[]}");
    put(EVENTS "/E/sessions/b", "{\"startMs\":6,\"sessions\":7}",
        "{\"eventId\":\"E\",\"sessionId\":\"b\",\"startMs\":6}");
    fake_request(HTTP_GET, EVENTS "/E", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"sessions\":[{\"sessionId\":\"a\",\"startMs\":5},"
                "{\"sessionId\":\"b\",\"startMs\":6}]}");
    fake_request(HTTP_GET, EVENTS "/E/sessions/%62", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"sessionId\":\"b\",\"startMs\":6}");
}

static void test_seen_only(void **state)
{
    (void)state;
    struct figures come = {.attended = 1}, none = {0};
    for (int seen = 0; seen < 2; seen++) {
        for (int session = 0; session < 2; session++) {
            fake_request(HTTP_GET, session ? EVENTS "/new/sessions/s" : EVENTS "/new", "");
            worked_do(LIVE_READ);
            assert_int_equal(fake.answer.status, 0);
            assert_int_equal(fake.flushes > 0, true);
            struct live_query *query = fake_query(LIVE_FIGURES);
            assert_slice(query->event, "new");
            assert_slice(query->session, session ? "s" : "");
            query->status = LIVE_OK;
            query->figures = seen ? &come : &none;
            query->rows = 1;
            worked_give_back();
            if (seen) {
                assert_json(session ? "{\"eventId\":\"new\",\"sessionId\":\"s\"}"
                                    : "{\"eventId\":\"new\",\"sessions\":[]}");
            } else {
                assert_problem(404, session ? "sessionId" : "eventId");
            }
        }
    }
}

/* One page of the events; seen[] is what live/ answers. */
static void list_events(const char *path, struct slice *seen, uint32_t count, bool more,
                        const char *answer)
{
    fake_request(HTTP_GET, path, "");
    struct live_query *query = fake_query(LIVE_EVENTS);
    query->status = LIVE_OK;
    query->events = seen;
    query->rows = count;
    query->more = more;
    unsigned flushes = fake.flushes;
    worked_give_back();
    assert_int_equal(fake.flushes, flushes + 1); /* the second question is told of at once */
    worked_do(LIVE_READ);
    assert_json(answer);
}

static void test_list_events(void **state)
{
    (void)state;
    put(EVENTS "/m2", "{\"title\":\"two\"}",
        "{\"eventId\":\"m2\",\"title\":\"two\",\"sessions\":[]}");
    put(EVENTS "/m4", "{}", "{\"eventId\":\"m4\",\"sessions\":[]}");
    struct slice seen[] = {SLICE_LIT("m1"), SLICE_LIT("m2"), SLICE_LIT("m3"), SLICE_LIT("m5")};
    fake_request(HTTP_GET, EVENTS "?limit=2&cursor=%6D", "");
    struct live_query *query = fake_query(LIVE_EVENTS);
    assert_slice(query->after, "m");
    assert_int_equal(query->limit, 2);
    query->status = LIVE_RECORDS_AWAY;
    worked_give_back();
    list_events(EVENTS "?cursor=m", seen, 4, false,
                "{\"events\":[{\"eventId\":\"m1\"},{\"eventId\":\"m2\",\"title\":\"two\"},"
                "{\"eventId\":\"m3\"},{\"eventId\":\"m4\"},{\"eventId\":\"m5\"}]}");
    list_events(EVENTS "?cursor=m&limit=2", seen, 2, true,
                "{\"events\":[{\"eventId\":\"m1\"},{\"eventId\":\"m2\",\"title\":\"two\"}],"
                "\"next\":\"m2\"}");
    list_events(EVENTS "?cursor=m2&limit=2", seen + 2, 2, false,
                "{\"events\":[{\"eventId\":\"m3\"},{\"eventId\":\"m4\"}],\"next\":\"m4\"}");
    list_events(EVENTS "?cursor=m4&limit=2", seen + 3, 1, false,
                "{\"events\":[{\"eventId\":\"m5\"}]}");
    /* The page is full, and only live/ knows of more. */
    list_events(EVENTS "?cursor=m4&limit=1", seen + 3, 1, true,
                "{\"events\":[{\"eventId\":\"m5\"}],\"next\":\"m5\"}");
    list_events(EVENTS "?cursor=zzz", seen, 0, false, "{\"events\":[]}");
    fake_request(HTTP_GET, EVENTS "?cursor=a%20b", "");
    assert_problem(400, "cursor");
    fake_request(HTTP_GET, EVENTS "?limit=1001", "");
    assert_problem(400, "limit");
}

static void test_list_is_refused(void **state)
{
    (void)state;
    fake_request(HTTP_GET, EVENTS, "");
    struct live_query *query = fake_query(LIVE_EVENTS);
    query->status = LIVE_OK;
    fake.refuse = true; /* the second question finds no room */
    worked_give_back();
    fake.refuse = false;
    assert_problem(503, "");
    fake_request(HTTP_GET, EVENTS, "");
    fake_query(LIVE_EVENTS)->status = LIVE_RECORDS_AWAY;
    worked_give_back();
    assert_problem(503, "");
}

static void list_sessions(const char *path, struct figures *rows, uint32_t count,
                          const char *answer)
{
    fake_request(HTTP_GET, path, "");
    struct live_query *query = fake_query(LIVE_OVERVIEW);
    query->status = LIVE_OK;
    query->figures = rows;
    query->rows = count;
    worked_give_back();
    worked_do(LIVE_READ);
    assert_json(answer);
}

static void test_list_sessions(void **state)
{
    (void)state;
    put(EVENTS "/L", "{\"sessions\":[{\"sessionId\":\"b\",\"title\":\"B\"}]}",
        "{\"eventId\":\"L\",\"sessions\":[{\"sessionId\":\"b\",\"title\":\"B\"}]}");
    struct figures rows[] = {{.attended = 3},
                             {.session = SLICE_LIT("c")},
                             {.session = SLICE_LIT("a")},
                             {.session = SLICE_LIT("b")}};
    list_sessions(EVENTS "/L/sessions", rows, 4,
                  "{\"eventId\":\"L\",\"sessions\":[{\"sessionId\":\"a\"},"
                  "{\"sessionId\":\"b\",\"title\":\"B\"},{\"sessionId\":\"c\"}]}");
    list_sessions(EVENTS "/L/sessions?limit=1", rows, 4,
                  "{\"eventId\":\"L\",\"sessions\":[{\"sessionId\":\"a\"}],\"next\":\"a\"}");
    list_sessions(EVENTS "/L/sessions?limit=1&cursor=a", rows, 4,
                  "{\"eventId\":\"L\",\"sessions\":[{\"sessionId\":\"b\",\"title\":\"B\"}],"
                  "\"next\":\"b\"}");
    list_sessions(EVENTS "/L/sessions?limit=1&cursor=b", rows, 4,
                  "{\"eventId\":\"L\",\"sessions\":[{\"sessionId\":\"c\"}]}");
    list_sessions(EVENTS "/none/sessions", rows, 1, "{\"eventId\":\"none\",\"sessions\":[]}");
}

static void test_delete(void **state)
{
    (void)state;
    put(EVENTS "/D/sessions/s", "{\"title\":\"S\"}",
        "{\"eventId\":\"D\",\"sessionId\":\"s\",\"title\":\"S\"}");
    fake_request(HTTP_DELETE, EVENTS "/D/sessions/s", "");
    worked_do(LIVE_WRITE);
    assert_int_equal(fake.answer.status, 204);
    assert_string_equal(fake.answer.body, "");
    fake_request(HTTP_DELETE, EVENTS "/D/sessions/s", "");
    worked_do(LIVE_WRITE);
    assert_problem(404, "sessionId");

    fake_request(HTTP_DELETE, EVENTS "/D", "");
    assert_slice(fake_query(LIVE_PURGE)->event, "D");
    worked_give_back();
    assert_int_equal(fake.answer.status, 204);
    fake_request(HTTP_DELETE, EVENTS "/D", "");
    fake_query(LIVE_PURGE)->status = LIVE_NOT_FOUND;
    worked_give_back();
    assert_problem(404, "eventId");
}

static void test_bad_declarations(void **state)
{
    (void)state;
    char title[300];
    memset(title, 'x', sizeof title);
    char body[600];
    snprintf(body, sizeof body, "{\"title\":\"%.257s\"}", title);
    static const struct {
        const char *body, *field;
    } cases[] = {
        {"{\"title\":7}", "title"},
        {"{\"title\":\"a\\u0001\"}", "title"},
        {"{\"startMs\":\"7\"}", "startMs"},
        {"{\"startMs\":0}", "startMs"},
        {"{\"startMs\":1.5}", "startMs"},
        {"{\"startMs\":9007199254740993}", "startMs"},
        {"{\"sessions\":{}}", "sessions"},
        {"{\"sessions\":[7]}", "sessions"},
        {"{\"sessions\":[{}]}", "sessions[0].sessionId"},
        {"{\"sessions\":[{\"sessionId\":7}]}", "sessions[0].sessionId"},
        {"{\"sessions\":[{\"sessionId\":\"a\"},{\"sessionId\":\"a b\"}]}", "sessions[1].sessionId"},
        {"{\"sessions\":[{\"sessionId\":\"a\",\"title\":\"\\u007f\"}]}", "sessions[0].title"},
        {"{\"sessions\":[{\"sessionId\":\"a\",\"startMs\":-1}]}", "sessions[0].startMs"},
        {"{\"sessions\":[{\"sessionId\":\"b\"},{\"sessionId\":\"a\"},{\"sessionId\":\"ab\"},"
         "{\"sessionId\":\"\\u0061\"}]}",
         "sessions[3].sessionId"},
        {"", ""},
        {"[]", ""},
        {"{\"title\":\"a\"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_PUT, EVENTS "/bad", cases[i].body);
        assert_problem(400, cases[i].field);
    }
    fake_request(HTTP_PUT, EVENTS "/bad", body);
    assert_problem(400, "title");
    fake_request(HTTP_PUT, EVENTS "/bad/sessions/s", "{\"startMs\":true}");
    assert_problem(400, "startMs");

    static char many[1001 * 20 + 40];
    size_t len = (size_t)snprintf(many, sizeof many, "{\"sessions\":[{\"sessionId\":\"a\"}");
    for (int i = 0; i < 1000; i++) {
        len += (size_t)snprintf(many + len, sizeof many - len, ",{\"sessionId\":\"a\"}");
    }
    snprintf(many + len, sizeof many - len, "]}");
    fake_request(HTTP_PUT, EVENTS "/bad", many);
    assert_problem(400, "sessions");
}

/* A thousand sessions are one page, and the event says how to go on. */
static void test_many_sessions(void **state)
{
    (void)state;
    static char body[1000 * 24];
    for (int part = 0; part < 2; part++) {
        size_t len = (size_t)snprintf(body, sizeof body, "{\"sessions\":[");
        for (int i = 0; i < 600; i++) {
            len += (size_t)snprintf(body + len, sizeof body - len, "%s{\"sessionId\":\"s%04d\"}",
                                    i > 0 ? "," : "", part * 600 + i);
        }
        snprintf(body + len, sizeof body - len, "]}");
        fake_request(HTTP_PUT, EVENTS "/many", body);
        worked_do(LIVE_WRITE);
        assert_int_equal(fake.answer.status, 200);
    }
    fake_request(HTTP_GET, EVENTS "/many", "");
    worked_do(LIVE_READ);
    assert_int_equal(fake.answer.status, 200);
    json_t *answer = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(answer);
    assert_int_equal(json_array_size(json_object_get(answer, "sessions")), 1000);
    assert_string_equal(json_string_value(json_object_get(answer, "next")), "s0999");
    json_decref(answer);
    struct figures row = {.attended = 1};
    fake_request(HTTP_GET, EVENTS "/many/sessions?cursor=s0999", "");
    struct live_query *query = fake_query(LIVE_OVERVIEW);
    query->status = LIVE_OK;
    query->figures = &row;
    query->rows = 1;
    worked_give_back();
    worked_do(LIVE_READ);
    answer = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(json_object_get(answer, "sessions")), 200);
    assert_null(json_object_get(answer, "next"));
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),      cmocka_unit_test(test_seen_only),
        cmocka_unit_test(test_list_events),      cmocka_unit_test(test_list_is_refused),
        cmocka_unit_test(test_list_sessions),    cmocka_unit_test(test_delete),
        cmocka_unit_test(test_bad_declarations), cmocka_unit_test(test_many_sessions),
    };
    return worked_test(tests);
}
