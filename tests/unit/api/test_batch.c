/* test_batch.c -- NDJSON lines into heartbeats, and what is said about the bad ones. */
#include "fake.h"

#include "core/groups.h"

#define PATH "/analytics/heartbeats"

static void finish_all(uint32_t count)
{
    struct live_beat *beats = fake_beats(count);
    for (uint32_t i = 0; i < count; i++) {
        beats[i].status = LIVE_OK;
    }
    fake_finish();
}

static void test_members(void **state)
{
    (void)state;
    fake_request(HTTP_POST, PATH,
                 "{\"event\":\"E\",\"session\":\"S\",\"viewer\":\"V\",\"country\":\"hk\","
                 "\"groups\":[\"staff\",\"press\",\"staff\"],\"hidden\":true}\r\n"
                 "\n \t\r\n"
                 "{\"event\":\"\\u0045\",\"viewer\":\"\\u540d\",\"groups\":[]}\n"
                 "{\"event\":\"F\",\"viewer\":\"W\",\"session\":null,\"country\":null,"
                 "\"groups\":null,\"leaving\":true,\"other\":{}}");
    struct live_beat *beats = fake_beats(3);
    struct heartbeat *heartbeat = &beats[0].heartbeat;
    assert_slice(heartbeat->event, "E");
    assert_slice(heartbeat->session, "S");
    assert_slice(heartbeat->viewer, "V");
    assert_slice(heartbeat->groups, "\5press\5staff");
    assert_int_equal(heartbeat->flags, HEARTBEAT_HIDDEN | HEARTBEAT_GROUPS);
    assert_int_not_equal(heartbeat->country, 0);
    heartbeat = &beats[1].heartbeat;
    assert_slice(heartbeat->event, "E");
    assert_slice(heartbeat->viewer, "\xe5\x90\x8d");
    assert_slice(heartbeat->groups, "");
    assert_int_equal(heartbeat->flags, HEARTBEAT_GROUPS);
    heartbeat = &beats[2].heartbeat;
    assert_slice(heartbeat->session, "");
    assert_int_equal(heartbeat->flags, HEARTBEAT_LEAVING);
    assert_int_equal(heartbeat->country, 0);
    finish_all(3);
    assert_json("{\"accepted\":3,\"rejected\":[]}");
}

/* The reason names the field, and lines are counted as a person does. */
static void test_bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *named;
    } cases[] = {
        {"{\"event\":\"a b\",\"viewer\":\"v\"}", "\"event\""},
        {"{\"event\":\"\",\"viewer\":\"v\"}", "\"event\""},
        {"{\"viewer\":\"v\"}", "\"event\""},
        {"{\"event\":null,\"viewer\":\"v\"}", "\"event\""},
        {"{\"event\":\"e\"}", "\"viewer\""},
        {"{\"event\":\"e\",\"viewer\":7}", "\"viewer\""},
        {"{\"event\":\"e\",\"viewer\":\"\\u0007\"}", "\"viewer\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"session\":\"a/b\"}", "\"session\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"session\":\"\"}", "\"session\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"country\":\"Hong Kong\"}", "\"country\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"groups\":\"g\"}", "\"groups\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"groups\":[7]}", "\"groups\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"groups\":[\"\"]}", "\"groups\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"hidden\":\"yes\"}", "\"hidden\""},
        {"{\"event\":\"e\",\"viewer\":\"v\",\"leaving\":1}", "\"leaving\""},
        {"{\"event\":\"e\",\"viewer\":\"v\"} {}", ""},
        {"[\"e\",\"v\"]", ""},
        {"{\"event\":\"e\"", ""},
        {"x", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[512];
        snprintf(
            body, sizeof body,
            "\n{\"event\":\"e\",\"viewer\":\"good\"}\n%s\n{\"event\":\"e\",\"viewer\":\"too\"}\n",
            cases[i].line);
        fake_request(HTTP_POST, PATH, body);
        finish_all(2);
        json_t *answer = json_loads(fake.answer.body, 0, NULL);
        long long accepted, line;
        const char *reason;
        json_t *rejected;
        assert_int_equal(
            json_unpack(answer, "{s:I,s:o}", "accepted", &accepted, "rejected", &rejected), 0);
        assert_int_equal(accepted, 2);
        assert_int_equal(json_array_size(rejected), 1);
        assert_int_equal(
            json_unpack(json_array_get(rejected, 0), "{s:I,s:s}", "line", &line, "reason", &reason),
            0);
        assert_int_equal(line, 3);
        if (strstr(reason, cases[i].named) == NULL || reason[0] == '\0') {
            fail_msg("%s: %s", cases[i].line, reason);
        }
        json_decref(answer);
    }
}

/* All texts of a line with escapes, and more lines than the first block could hold unescaped. */
static void test_many_escapes(void **state)
{
    (void)state;
    enum { LINES = 500 };
    static char body[LINES * 200];
    size_t len = 0;
    for (int i = 0; i < LINES; i++) {
        len += (size_t)snprintf(body + len, sizeof body - len,
                                "{\"event\":\"\\u0045%d\",\"session\":\"\\u0053%d\",\"viewer\":"
                                "\"\\u00e9%d\",\"groups\":[\"\\u0067%d\",\"h\"]}\n",
                                i, i, i, i);
    }
    fake_request(HTTP_POST, PATH, body);
    struct live_beat *beats = fake_beats(LINES);
    for (int i = 0; i < LINES; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "E%d", i);
        assert_slice(beats[i].heartbeat.event, expected);
        snprintf(expected, sizeof expected, "S%d", i);
        assert_slice(beats[i].heartbeat.session, expected);
        snprintf(expected, sizeof expected, "\xc3\xa9%d", i);
        assert_slice(beats[i].heartbeat.viewer, expected);
        assert_true(groups_valid(beats[i].heartbeat.groups));
        snprintf(expected, sizeof expected, "%cg%d\1h", i < 10 ? 2 : i < 100 ? 3 : 4, i);
        assert_slice(beats[i].heartbeat.groups, expected);
    }
    finish_all(LINES);
    assert_json("{\"accepted\":500,\"rejected\":[]}");
}

/* What is wrong in itself and what live/ refuses is one list, in the order of lines. */
static void test_refused_by_live(void **state)
{
    (void)state;
    fake_request(HTTP_POST, PATH,
                 "{\"event\":\"e\",\"viewer\":\"a\"}\n"
                 "{\"event\":\"e\",\"viewer\":\"b\"}\n"
                 "x\n"
                 "{\"event\":\"e\",\"viewer\":\"c\"}\n"
                 "x\n");
    struct live_beat *beats = fake_beats(3);
    beats[0].status = LIVE_OK;
    beats[1].status = LIVE_UNKNOWN_VIEWER;
    beats[2].status = LIVE_BUSY;
    fake_finish();
    assert_json("{\"accepted\":1,\"rejected\":["
                "{\"line\":2,\"reason\":\"the viewer has no profile and unknown viewers are "
                "refused\"},"
                "{\"line\":3,\"reason\":\"a JSON object is expected (at byte 0)\"},"
                "{\"line\":4,\"reason\":\"a queue is full; come again\"},"
                "{\"line\":5,\"reason\":\"a JSON object is expected (at byte 0)\"}]}");
}

/* Nothing was counted, and it will pass: the whole batch may come again. */
static void test_unavailable(void **state)
{
    (void)state;
    fake_request(HTTP_POST, PATH, "{\"event\":\"e\",\"viewer\":\"a\"}\nx\n");
    fake_beats(1)[0].status = LIVE_NO_SPACE;
    fake_finish();
    assert_problem(503, "");
    assert_string_equal(fake.answer.headers, "Retry-After: 30\r\n");
    fake.refuse = true;
    fake_request(HTTP_POST, PATH, "{\"event\":\"e\",\"viewer\":\"a\"}\n");
    fake.refuse = false;
    assert_problem(503, "");
}

static void test_nothing(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "\n", "\n\n \r\n\t"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        fake_request(HTTP_POST, PATH, bodies[i]);
        assert_null(fake.submitted);
        assert_json("{\"accepted\":0,\"rejected\":[]}");
    }
}

static void test_the_list_is_bounded(void **state)
{
    (void)state;
    enum { LINES = 1500 };
    char body[2 * LINES + 1];
    for (int i = 0; i < LINES; i++) {
        memcpy(body + (size_t)i * 2, "x\n", 2);
    }
    body[2 * LINES] = '\0';
    fake_request(HTTP_POST, PATH, body);
    assert_int_equal(fake.answer.status, 200);
    json_t *answer = json_loads(fake.answer.body, 0, NULL);
    json_t *rejected = json_object_get(answer, "rejected");
    assert_int_equal(json_array_size(rejected), 1000);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(rejected, 999), "line")),
                     1000);
    assert_int_equal(json_integer_value(json_object_get(answer, "rejectedCount")), LINES);
    json_decref(answer);
}

/* Batches that wait take no more than their bound: one more is sent away, and the way is free again
 * when they are done. */
static void test_batches_are_bounded(void **state)
{
    (void)state;
    size_t len = (size_t)60 << 20;
    char *body = malloc(len);
    memset(body, ' ', len);
    static const char line[] = "{\"event\":\"a\",\"viewer\":\"b\"}\n";
    for (size_t at = 0; at + sizeof line <= len; at += sizeof line - 1) {
        memcpy(body + at, line, sizeof line - 1);
    }
    fake_new(HTTP_POST, PATH, slice_of(body, len)); /* alone it may take what it needs */
    fake_handle();
    struct live_request *large = fake.submitted;
    assert_non_null(large);
    struct http_exchange exchange = fake.exchange;
    fake_request(HTTP_POST, PATH, "{\"event\":\"a\",\"viewer\":\"b\"}\n");
    assert_problem(503, "");
    /* The large one again. */
    fake_new(HTTP_POST, PATH, slice_of(body, len));
    fake.exchange = exchange;
    fake.submitted = large;
    fake_finish();
    assert_int_equal(fake.answer.status, 200);
    fake_request(HTTP_POST, PATH, "{\"event\":\"a\",\"viewer\":\"b\"}\n");
    finish_all(1);
    assert_json("{\"accepted\":1,\"rejected\":[]}");
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_many_escapes),
        cmocka_unit_test(test_refused_by_live),
        cmocka_unit_test(test_unavailable),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_the_list_is_bounded),
        cmocka_unit_test(test_batches_are_bounded),
    };
    return fake_run(tests);
}
