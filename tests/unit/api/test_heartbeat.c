/* test_heartbeat.c -- from a request to a heartbeat for live/, and from its status to an answer. */
#include "fake.h"

#include "core/country.h"

#define PATH "/analytics/events/launch/heartbeat"

static struct heartbeat *beat(const char *body)
{
    fake_request(HTTP_POST, PATH, body);
    return &fake_beats(1)[0].heartbeat;
}

static void finish_ok(void)
{
    fake_beats(1)[0].status = LIVE_OK;
    fake_finish();
    assert_json("{\"intervalMs\":30000}");
}

static void test_plain(void **state)
{
    (void)state;
    unsigned flushes = fake.flushes;
    struct heartbeat *heartbeat = beat("{\"viewerId\":\"ada\"}");
    assert_slice(heartbeat->event, "launch");
    assert_slice(heartbeat->viewer, "ada");
    assert_slice(heartbeat->session, "");
    assert_slice(heartbeat->groups, "");
    assert_int_equal(heartbeat->country, 0);
    assert_int_equal(heartbeat->flags, 0);
    assert_int_equal(fake.flushes, flushes + 1);
    finish_ok();
}

static void test_flags_and_path(void **state)
{
    (void)state;
    struct heartbeat *heartbeat =
        beat("{\"viewerId\":\"ada\",\"path\":\"/events/x/sessions/talk-1/c"
             "hat\",\"hidden\":true,\"leaving\":true,\"more\":[{}]}");
    assert_slice(heartbeat->session, "talk-1");
    assert_int_equal(heartbeat->flags, HEARTBEAT_HIDDEN | HEARTBEAT_LEAVING);
    finish_ok();
    assert_int_equal(beat("{\"viewerId\":\"ada\",\"hidden\":true,\"leaving\":false}")->flags,
                     HEARTBEAT_HIDDEN);
    finish_ok();
    assert_int_equal(
        beat("{\"viewerId\":\"ada\",\"hidden\":null,\"leaving\":null,\"path\":null}")->flags, 0);
    finish_ok();
}

/* Text that needs no decoding stays where it is; text that does is the exchange's own, so that it
 * outlives the handler. */
static void test_escapes(void **state)
{
    (void)state;
    struct slice body = SLICE_LIT("{\"viewerId\":\"ada\",\"path\":\"/sessions/S\"}");
    fake_new(HTTP_POST, PATH, body);
    fake_handle();
    struct heartbeat *heartbeat = &fake_beats(1)[0].heartbeat;
    assert_true(heartbeat->viewer.ptr > body.ptr && heartbeat->viewer.ptr < body.ptr + body.len);
    assert_true(heartbeat->session.ptr > body.ptr && heartbeat->session.ptr < body.ptr + body.len);
    finish_ok();

    const char *begin = (const char *)fake.exchange.user, *end = begin + HTTP_USER_BYTES;
    fake_request(HTTP_POST, "/analytics/events/%6Caunch/heartbeat",
                 "{\"viewerId\":\"\\u540d\\u524d\",\"path\":\"\\/sessions\\/S\\u002D%31\"}");
    heartbeat = &fake_beats(1)[0].heartbeat;
    assert_slice(heartbeat->event, "launch");
    assert_slice(heartbeat->viewer, "\xe5\x90\x8d\xe5\x89\x8d");
    assert_slice(heartbeat->session, "S-1");
    assert_true(heartbeat->event.ptr >= begin && heartbeat->event.ptr < end);
    assert_true(heartbeat->viewer.ptr >= begin && heartbeat->viewer.ptr < end);
    assert_true(heartbeat->session.ptr >= begin && heartbeat->session.ptr < end);
    finish_ok();

    fake_request(HTTP_POST, PATH, "{\"viewerId\":\"ada\",\"path\":\"\\/sessions\\/plain\"}");
    heartbeat = &fake_beats(1)[0].heartbeat;
    assert_slice(heartbeat->session, "plain");
    assert_true(heartbeat->session.ptr >= begin && heartbeat->session.ptr < end);
    finish_ok();
}

static void test_referer(void **state)
{
    (void)state;
    static const struct {
        const char *body, *referer, *session;
    } cases[] = {
        {"{\"viewerId\":\"a\"}", "https://x.example/events/E/sessions/key?lang=en", "key"},
        {"{\"viewerId\":\"a\",\"path\":null}", "https://x.example/sessions/key", "key"},
        {"{\"viewerId\":\"a\",\"path\":\"/sessions/p\"}", "https://x.example/sessions/key", "p"},
        {"{\"viewerId\":\"a\",\"path\":\"/lobby\"}", "https://x.example/sessions/key", ""},
        {"{\"viewerId\":\"a\"}", "https://x.example/sessions/a%20b", ""},
        {"{\"viewerId\":\"a\"}", "https://x.example/lobby", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_new(HTTP_POST, PATH, slice_str(cases[i].body))->referer = slice_str(cases[i].referer);
        fake_handle();
        assert_slice(fake_beats(1)[0].heartbeat.session, cases[i].session);
        finish_ok();
    }
}

static void test_country(void **state)
{
    (void)state;
    static const struct {
        const char *peer, *first, *second, *country;
    } cases[] = {
        {"10.1.2.3", "HK", "", "HK"},   {"10.1.2.3", "", "us", "US"},
        {"10.1.2.3", "HK", "US", "HK"}, {"10.1.2.3", "nonsense", "US", "ZZ"},
        {"10.1.2.3", "", "", "ZZ"},     {"11.1.2.3", "HK", "US", "ZZ"},
        {"10.1.2.3", "", "XX", "ZZ"},   {"10.1.2.3", "", "T1", "T1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_request *request =
            fake_new(HTTP_POST, PATH, SLICE_LIT("{\"viewerId\":\"ada\"}"));
        fake_peer(cases[i].peer);
        request->watched[0] = slice_str(cases[i].first);
        request->watched[1] = slice_str(cases[i].second);
        fake_handle();
        char text[2];
        country_text(fake_beats(1)[0].heartbeat.country, text);
        assert_memory_equal(text, cases[i].country, 2);
        finish_ok();
    }
}

static void test_bad_bodies(void **state)
{
    (void)state;
    char long_viewer[200];
    snprintf(long_viewer, sizeof long_viewer, "{\"viewerId\":\"%0129d\"}", 7);
    const struct {
        const char *body, *field;
    } cases[] = {
        {"", "viewerId"},
        {"{}", "viewerId"},
        {"{\"viewerId\":\"\"}", "viewerId"},
        {"{\"viewerId\":7}", "viewerId"},
        {"{\"viewerId\":null}", "viewerId"},
        {long_viewer, "viewerId"},
        {"{\"viewerId\":\"a\\u0000b\"}", "viewerId"},
        {"{\"viewerId\":\"a\\nb\"}", "viewerId"},
        {"{\"viewerId\":\"a\\u0085b\"}", "viewerId"},
        {"{\"viewerId\":\"ada\",\"hidden\":1}", "hidden"},
        {"{\"viewerId\":\"ada\",\"leaving\":\"no\"}", "leaving"},
        {"{\"viewerId\":\"ada\",\"path\":7}", "path"},
        {"{\"viewerId\":\"ada\",\"path\":\"/sessions/a b\"}", "path"},
        {"{\"viewerId\":\"ada\",\"path\":\"/sessions/%\"}", "path"},
        {"null", ""},
        {"[]", ""},
        {"{", ""},
        {"viewerId=ada", ""},
        {"{\"viewerId\":\"ada\"} x", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_POST, PATH, cases[i].body);
        assert_problem(400, cases[i].field);
    }
}

static void test_statuses(void **state)
{
    (void)state;
    static const struct {
        enum live_status status;
        int http;
        const char *field, *headers;
    } cases[] = {
        {LIVE_UNKNOWN_VIEWER, 403, "viewerId", ""},
        {LIVE_UNKNOWN_EVENT, 404, "eventId", ""},
        {LIVE_EVENTS_FULL, 429, "", "Retry-After: 30\r\n"},
        {LIVE_SESSIONS_FULL, 429, "", "Retry-After: 30\r\n"},
        {LIVE_VIEWERS_FULL, 429, "", "Retry-After: 30\r\n"},
        {LIVE_GROUPS_FULL, 429, "", "Retry-After: 30\r\n"},
        {LIVE_BUSY, 503, "", "Retry-After: 30\r\n"},
        {LIVE_NO_SPACE, 503, "", "Retry-After: 30\r\n"},
        {LIVE_RECORDS_AWAY, 503, "", "Retry-After: 30\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        beat("{\"viewerId\":\"ada\"}");
        fake_beats(1)[0].status = cases[i].status;
        fake_finish();
        assert_problem(cases[i].http, cases[i].field);
        assert_string_equal(fake.answer.headers, cases[i].headers);
    }
    fake.refuse = true;
    fake_request(HTTP_POST, PATH, "{\"viewerId\":\"ada\"}");
    fake.refuse = false;
    assert_problem(503, "");
    assert_string_equal(fake.answer.headers, "Retry-After: 30\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),    cmocka_unit_test(test_flags_and_path),
        cmocka_unit_test(test_escapes),  cmocka_unit_test(test_referer),
        cmocka_unit_test(test_country),  cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_statuses),
    };
    return fake_run(tests);
}
