/* test_api.c -- routing, ids in paths, bounds of bodies, health and metrics, stopping. */
#include "fake.h"

#define EVENT "/analytics/events/E"

static void test_unknown_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/",
        "/nothing",
        "/analytics",
        "/analytics/events/",
        EVENT "/nothing",
        EVENT "/heartbeat/",
        "/analytics/events//heartbeat",
        "/healthz/",
        EVENT "/sessions/s/heartbeat",
        EVENT "/sessions/s/nothing",
        "*",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        fake_request(HTTP_GET, paths[i], "");
        assert_problem(404, "");
        fake_request(HTTP_POST, paths[i], "{}");
        assert_problem(404, "");
    }
}

static void test_methods(void **state)
{
    (void)state;
    fake_request(HTTP_GET, EVENT "/heartbeat", "");
    assert_problem(405, "");
    assert_string_equal(fake.answer.headers, "Allow: POST, OPTIONS\r\n");
    fake_request(HTTP_OTHER, EVENT "/viewers/ada", "");
    assert_problem(405, "");
    assert_string_equal(fake.answer.headers, "Allow: GET, HEAD, PUT, DELETE, OPTIONS\r\n");
    fake_request(HTTP_OPTIONS, EVENT "/overview", "");
    assert_int_equal(fake.answer.status, 204);
    assert_string_equal(fake.answer.headers, "Allow: GET, HEAD, OPTIONS\r\n");
    fake_request(HTTP_OPTIONS, "*", "");
    assert_int_equal(fake.answer.status, 204);
    fake_request(HTTP_HEAD, EVENT "/overview", "");
    fake_query(LIVE_OVERVIEW)->status = LIVE_BUSY;
    fake_finish();
    assert_problem(503, "");
}

/* A viewer may be called like a figure; only GET goes to the figure. */
static void test_viewer_named_like_a_figure(void **state)
{
    (void)state;
    fake_request(HTTP_PUT, EVENT "/viewers/active-count", "{}");
    assert_slice(fake_query(LIVE_PROFILE_PUT)->viewer, "active-count");
    fake_finish();
    fake_request(HTTP_GET, EVENT "/viewers/active%2Dcount", "");
    assert_slice(fake_query(LIVE_VIEWER)->viewer, "active-count");
    fake_finish();
}

static void test_ids(void **state)
{
    (void)state;
    static const struct {
        const char *path, *field;
    } cases[] = {
        {"/analytics/events/a%20b/overview", "eventId"},
        {"/analytics/events/a%/overview", "eventId"},
        {"/analytics/events/a%00/overview", "eventId"},
        {"/analytics/events/%C3%A9/overview", "eventId"},
        {"/analytics/events/"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/overview",
         "eventId"},
        {EVENT "/sessions/a+b/statistics", "sessionId"},
        {EVENT "/sessions/%zz/statistics", "sessionId"},
        {"/analytics/events/a%20b/sessions/a+b/statistics", "eventId"},
        {EVENT "/viewers/%01", "viewerId"},
        {EVENT "/viewers/%ff", "viewerId"},
        {EVENT "/viewers/%c2%85", "viewerId"},
        {EVENT "/viewers/%", "viewerId"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_GET, cases[i].path, "");
        assert_problem(400, cases[i].field);
    }
    /* Decoded ids outlive the handler. */
    fake_request(HTTP_GET, "/analytics/events/%45/sessions/%53/statistics", "");
    struct live_query *query = fake_query(LIVE_FRAMES);
    assert_slice(query->event, "E");
    assert_slice(query->session, "S");
    const char *begin = (const char *)fake.exchange.user;
    assert_true(query->event.ptr >= begin && query->event.ptr < begin + HTTP_USER_BYTES);
    assert_true(query->session.ptr >= begin && query->session.ptr < begin + HTTP_USER_BYTES);
    fake_finish();
}

static uint32_t bound(enum http_method method, const char *path)
{
    const struct http_request request = {.method = method, .path = slice_str(path)};
    return fake.handler.body_bytes_max(fake.handler.ctx, &request);
}

static void test_body_bounds(void **state)
{
    (void)state;
    assert_int_equal(bound(HTTP_POST, EVENT "/heartbeat"), 8192);
    assert_int_equal(bound(HTTP_POST, "/analytics/heartbeats"), 1 << 20);
    assert_int_equal(bound(HTTP_POST, "/nothing"), 8192);
    /* The largest profile, every character escaped. */
    assert_true(bound(HTTP_PUT, EVENT "/viewers/v") > 6 * (256 + 32 * 64));
}

static void test_health(void **state)
{
    (void)state;
    fake_request(HTTP_GET, "/healthz", "");
    assert_json("{\"status\":\"ok\"}");
    fake_request(HTTP_GET, "/readyz", "");
    assert_json("{\"status\":\"ready\"}");
    fake.ready = false;
    fake_request(HTTP_GET, "/readyz", "");
    fake.ready = true;
    assert_problem(503, "");
    assert_string_equal(fake.answer.headers, "Retry-After: 1\r\n");
}

static bool has_line(const char *line)
{
    const char *at = strstr(fake.answer.body, line);
    return at != NULL && (at == fake.answer.body || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void test_metrics(void **state)
{
    (void)state;
    fake_request(HTTP_GET, "/metrics", "");
    assert_int_equal(fake.answer.status, 200);
    assert_string_equal(fake.answer.type, "text/plain; version=0.0.4; charset=utf-8");
    assert_true(has_line("novabeat_build_info{version=\"1.2.3\"} 1"));
    assert_true(has_line("# TYPE novabeat_heartbeats_counted_total counter"));
    assert_true(has_line("# HELP novabeat_heartbeats_counted_total heartbeats counted"));
    assert_true(has_line("novabeat_heartbeats_counted_total 1"));
    assert_true(has_line("# TYPE novabeat_events gauge"));
    assert_null(strstr(fake.answer.body, "novabeat_http_")); /* no server yet */
    api_attach(fake.api, (const struct http_server *)&fake);
    fake_request(HTTP_GET, "/metrics", "");
    assert_true(has_line("novabeat_http_requests_total 10"));
    assert_true(has_line("novabeat_http_responses_total{class=\"4xx\"} 4"));
    /* Every sample comes after a TYPE of its own name. */
    for (char *line = strtok(fake.answer.body, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        static char type[128];
        if (sscanf(line, "# TYPE %127s", type) != 1 && line[0] != '#') {
            assert_int_equal(strncmp(line, type, strlen(type)), 0);
        }
    }
}

/* What live/ has is waited for; nothing more is handed to it; and then it is not touched again. */
static void test_stop(void **state)
{
    (void)state;
    unsigned wakes = fake.wakes;
    assert_false(api_stopped(fake.api));
    fake_request(HTTP_GET, EVENT "/overview", "");
    struct live_request *request = fake.submitted;
    struct http_exchange exchange = fake.exchange;
    fake.submitted = NULL; /* live/ keeps it for a while */
    api_stop(fake.api);
    fake.handler.wake(fake.worker);
    assert_false(api_stopped(fake.api));
    assert_true(fake.wakes > wakes);
    fake_request(HTTP_POST, EVENT "/heartbeat", "{\"viewerId\":\"ada\"}");
    assert_problem(503, "");
    assert_false(api_stopped(fake.api));
    fake_new(HTTP_GET, EVENT "/overview", SLICE_EMPTY);
    fake.exchange = exchange;
    fake.submitted = request;
    fake_query(LIVE_OVERVIEW)->status = LIVE_BUSY;
    fake_finish();
    assert_true(api_stopped(fake.api));
    fake_request(HTTP_GET, "/metrics", "");
    assert_problem(503, "");
    wakes = fake.wakes;
    assert_true(api_stopped(fake.api));
    assert_int_equal(fake.wakes, wakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_paths),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_viewer_named_like_a_figure),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_body_bounds),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_stop), /* last: it does not start again */
    };
    return fake_run(tests);
}
