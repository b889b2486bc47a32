/* test_profiles.c -- the profiles of an event: imported, listed; one viewer page by page, erased.
 */
#include "worked.h"

#define VIEWERS "/analytics/events/E/viewers"

static void import(const char *type, const char *body)
{
    fake_new(HTTP_POST, VIEWERS, slice_str(body))->content_type = slice_str(type);
    fake_handle();
}

static void test_ndjson(void **state)
{
    (void)state;
    import("application/x-ndjson",
           "{\"viewer\":\"ada\",\"name\":\"Ada \\u00e9\",\"groups\":[\"b\",\"a\",\"b\"]}\n"
           "\n"
           "{\"viewer\":\"\"}\r\n"
           "{\"viewer\":\"bob\",\"name\":null,\"groups\":null,\"event\":\"E\"}\n"
           "{\"viewer\":\"eve\",\"event\":\"F\"}\n"
           "nonsense\n"
           "{\"viewer\":\"zoe\",\"name\":7}");
    struct live_query *query = worked_run(LIVE_WRITE);
    assert_true(query->profiles_changed);
    assert_slice(query->event, "E");
    worked_give_back();
    assert_json("{\"accepted\":2,\"rejected\":["
                "{\"line\":3,\"reason\":\"\\\"viewer\\\" is missing\"},"
                "{\"line\":5,\"reason\":\"\\\"event\\\" is F, but only E is wanted\"},"
                "{\"line\":6,\"reason\":\"a JSON object is expected (at byte 0)\"},"
                "{\"line\":7,\"reason\":\"\\\"name\\\" must be a string or null\"}]}");
    fake_request(HTTP_GET, VIEWERS, "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"viewers\":["
                "{\"viewerId\":\"ada\",\"name\":\"Ada \xc3\xa9\",\"groups\":[\"a\",\"b\"]},"
                "{\"viewerId\":\"bob\",\"name\":\"\",\"groups\":[]}]}");
}

static void test_pages(void **state)
{
    (void)state;
    fake_request(HTTP_GET, VIEWERS "?limit=1", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"viewers\":["
                "{\"viewerId\":\"ada\",\"name\":\"Ada \xc3\xa9\",\"groups\":[\"a\",\"b\"]}],"
                "\"next\":\"616461\"}");
    fake_request(HTTP_GET, VIEWERS "?limit=1&cursor=616461", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"viewers\":["
                "{\"viewerId\":\"bob\",\"name\":\"\",\"groups\":[]}]}");
    static const char *const bad[] = {"ada", "6", "6161G1", "01", "ff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, VIEWERS "?cursor=%s", bad[i]);
        fake_request(HTTP_GET, path, "");
        assert_problem(400, "cursor");
    }
}

static void test_csv(void **state)
{
    (void)state;
    import("text/csv; charset=utf-8", "viewer,name,groups\r\n"
                                      "cy,\"C, \"\"Y\"\"\",x;y\r\n"
                                      "di,'=1+1,\r\n"
                                      "bad\r\n");
    worked_do(LIVE_WRITE);
    assert_json("{\"accepted\":2,\"rejected\":["
                "{\"line\":4,\"reason\":\"the line has 1 cells, the header 3\"}]}");
    fake_request(HTTP_GET, VIEWERS "?cursor=626f62", "");
    worked_do(LIVE_READ);
    assert_json("{\"eventId\":\"E\",\"viewers\":["
                "{\"viewerId\":\"cy\",\"name\":\"C, \\\"Y\\\"\",\"groups\":[\"x\",\"y\"]},"
                "{\"viewerId\":\"di\",\"name\":\"=1+1\",\"groups\":[]}]}");
    import("text/csv", "viewer,colour\nv,red\n");
    worked_do(LIVE_WRITE);
    assert_problem(400, "header");
    import("TEXT/CSV", "name\nv\n");
    worked_do(LIVE_WRITE);
    assert_problem(400, "header");
    import("text/csv", "");
    assert_problem(400, "");
}

/* 2500 lines go to the store in three pieces; one that finds it busy is stored once, and whole. */
static void test_pieces(void **state)
{
    (void)state;
    enum { LINES = 2500 };
    char *body = memory_alloc(LINES * 64);
    size_t len = 0;
    for (int i = 0; i < LINES; i++) {
        len +=
            (size_t)sprintf(body + len, "{\"viewer\":\"p%05d\",\"groups\":[\"g%d\"]}\n", i, i % 7);
    }
    fake_new(HTTP_POST, "/analytics/events/P/viewers", slice_of(body, len));
    fake_handle();
    worked_do(LIVE_WRITE);
    assert_int_equal(fake.answer.status, 0);

    struct records_link *other = store_link(&worked);
    sqlite3 *db = sqlite_link_of(other)->db;
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_busy_timeout(sqlite_link_of(worked.link)->db, 0);
    struct live_query *query = fake_query(LIVE_WRITE);
    assert_int_equal(query->work(worked.link, query), ERR_BUSY);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    records_close(other);
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM profile WHERE event = 'P'"), 1000);
    worked_do(LIVE_WRITE); /* again, as live/ does */
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM profile WHERE event = 'P'"), 2000);
    worked_do(LIVE_WRITE);
    assert_json("{\"accepted\":2500,\"rejected\":[]}");
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM profile WHERE event = 'P'"), 2500);
    free(body);
}

static void test_many_refusals(void **state)
{
    (void)state;
    enum { LINES = 1500 };
    char body[2 * LINES + 1];
    for (int i = 0; i < LINES; i++) {
        memcpy(body + 2 * i, "x\n", 2);
    }
    fake_new(HTTP_POST, VIEWERS, slice_of(body, 2 * LINES));
    fake_handle();
    worked_do(LIVE_WRITE);
    worked_do(LIVE_WRITE);
    assert_int_equal(fake.answer.status, 200);
    json_t *answer = json_loads(fake.answer.body, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(answer, "rejected")), 1000);
    assert_int_equal(json_integer_value(json_object_get(answer, "rejectedCount")), LINES);
    assert_int_equal(json_integer_value(json_object_get(answer, "accepted")), 0);
    json_decref(answer);
}

/* What was refused at the door is not among the imports under way: the fifth would be. */
static void test_import_without_room(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        fake_new(HTTP_POST, VIEWERS, SLICE_LIT("{\"viewer\":\"a\"}"));
        fake.refuse = true;
        fake_handle();
        assert_problem(503, "");
    }
    fake.refuse = false;
    fake_new(HTTP_POST, VIEWERS, SLICE_LIT("{\"viewer\":\"a\"}"));
    fake_handle();
    fake_query(LIVE_WRITE)->status = LIVE_REFUSED; /* another database's profiles */
    worked_give_back();
    assert_problem(409, "");
}

/* ---- one viewer ---- */

static void viewer_page(const char *query_text, const char *rest)
{
    static struct live_viewing viewings[] = {
        {.start_ms = 5, .end_ms = 9},
        {.session = {"s.1", 3}, .start_ms = 5, .end_ms = 8},
        {.session = {"t", 1}, .start_ms = 5, .end_ms = 8},
        {.start_ms = 20, .end_ms = 30},
    };
    char path[128], answer[512];
    snprintf(path, sizeof path, VIEWERS "/v%s", query_text);
    fake_request(HTTP_GET, path, "");
    struct live_query *query = fake_query(LIVE_VIEWER);
    assert_true(query->limit > 1000);
    query->viewings = viewings;
    query->rows = 4;
    query->now_ms = 40;
    worked_give_back();
    snprintf(answer, sizeof answer,
             "{\"eventId\":\"E\",\"viewerId\":\"v\",\"name\":\"\",\"groups\":[],\"country\":\"ZZ\","
             "\"alive\":false,\"timestamp\":40,%s}",
             rest);
    assert_json(answer);
}

static void test_viewings(void **state)
{
    (void)state;
    viewer_page("", "\"viewings\":[{\"startedMs\":5,\"endedMs\":9},"
                    "{\"sessionId\":\"s.1\",\"startedMs\":5,\"endedMs\":8},"
                    "{\"sessionId\":\"t\",\"startedMs\":5,\"endedMs\":8},"
                    "{\"startedMs\":20,\"endedMs\":30}]");
    viewer_page("?limit=1", "\"viewings\":[{\"startedMs\":5,\"endedMs\":9}],"
                            "\"more\":true,\"next\":\"5\"");
    viewer_page("?limit=1&cursor=5",
                "\"viewings\":[{\"sessionId\":\"s.1\",\"startedMs\":5,\"endedMs\":8}],"
                "\"more\":true,\"next\":\"5.s.1\"");
    viewer_page("?limit=1&cursor=5.s.1",
                "\"viewings\":[{\"sessionId\":\"t\",\"startedMs\":5,\"endedMs\":8}],"
                "\"more\":true,\"next\":\"5.t\"");
    viewer_page("?limit=1&cursor=5.t", "\"viewings\":[{\"startedMs\":20,\"endedMs\":30}]");
    viewer_page("?cursor=20", "\"viewings\":[]");
    static const char *const bad[] = {"", "x", "5.", "5.a%20b", "-1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, VIEWERS "/v?cursor=%s", bad[i]);
        fake_request(HTTP_GET, path, "");
        assert_problem(400, "cursor");
    }
}

static void test_erase(void **state)
{
    (void)state;
    fake_request(HTTP_DELETE, VIEWERS "/a%2Fb", "");
    struct live_query *query = fake_query(LIVE_ERASE);
    assert_slice(query->event, "E");
    assert_slice(query->viewer, "a/b");
    worked_give_back();
    assert_int_equal(fake.answer.status, 204);
    fake_request(HTTP_DELETE, VIEWERS "/x", "");
    fake_query(LIVE_ERASE)->status = LIVE_NOT_FOUND;
    worked_give_back();
    assert_problem(404, "viewerId");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ndjson),        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_csv),           cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_many_refusals), cmocka_unit_test(test_import_without_room),
        cmocka_unit_test(test_viewings),      cmocka_unit_test(test_erase),
    };
    return worked_test(tests);
}
