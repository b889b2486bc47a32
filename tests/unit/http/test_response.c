/* test_response.c -- the bytes of answers and problem documents. */
#include "tap.h"

#include <jansson.h>
#include <string.h>

#include "http/response.h"

static char buffer[20000];

static struct slice head_of(const struct http_response *response, bool is_head, bool is_old,
                            bool close, struct slice *body)
{
    static char date[RESPONSE_DATE_BYTES];
    response_date(784111777, date); /* RFC 9110, 5.6.7's own example */
    const struct response_frame frame = {
        .date = date, .is_head = is_head, .is_old = is_old, .close = close};
    size_t len = response_head(response, &frame, buffer, body);
    assert_true(len <= response_head_bytes_max(response, &frame));
    return slice_of(buffer, len);
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static void expect_text(struct slice head, const char *text)
{
    assert_int_equal(head.len, strlen(text));
    assert_memory_equal(head.ptr, text, head.len);
}

static void test_heads(void **state)
{
    (void)state;
    struct slice body;
    struct http_response response = {
        .status = 200, .content_type = "application/json", .body = SLICE_LIT("{}")};
    expect_text(head_of(&response, false, false, false, &body),
                "HTTP/1.1 200 OK\r\n" DATE
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n");
    assert_true(slice_equal(body, SLICE_LIT("{}")));
    expect_text(head_of(&response, true, false, true, &body),
                "HTTP/1.1 200 OK\r\n" DATE "Content-Type: application/json\r\nContent-Length: "
                "2\r\nConnection: close\r\n\r\n");
    assert_int_equal(body.len, 0); /* HEAD */
    response.headers = SLICE_LIT("Retry-After: 5\r\n");
    response.status = 503;
    expect_text(head_of(&response, false, true, false, &body),
                "HTTP/1.1 503 Service Unavailable\r\n" DATE
                "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: "
                "keep-alive\r\nRetry-After: 5\r\n\r\n");
}

static void test_without_body(void **state)
{
    (void)state;
    struct slice body;
    struct http_response response = {.status = 200};
    expect_text(head_of(&response, false, false, false, &body),
                "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
    response.status = 204;
    expect_text(head_of(&response, false, false, false, &body),
                "HTTP/1.1 204 No Content\r\n" DATE "\r\n");
    response = (struct http_response){
        .status = 304, .content_type = "text/html", .body = SLICE_LIT("never sent")};
    expect_text(head_of(&response, false, false, false, &body),
                "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n");
    assert_int_equal(body.len, 0);
}

/* Of unknown length; and the lines of the exchange behind those of the answer. */
static void test_in_pieces(void **state)
{
    (void)state;
    static char date[RESPONSE_DATE_BYTES];
    struct slice body;
    const struct http_response response = {.status = 200,
                                           .content_type = "text/csv",
                                           .headers = SLICE_LIT("A: a\r\n"),
                                           .body = SLICE_LIT("never sent")};
    struct response_frame frame = {
        .date = date, .end = RESPONSE_CHUNKED, .headers = SLICE_LIT("B: b\r\n")};
    response_date(784111777, date);
    size_t len = response_head(&response, &frame, buffer, &body);
    assert_true(len <= response_head_bytes_max(&response, &frame));
    expect_text(slice_of(buffer, len),
                "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/csv\r\nTransfer-Encoding: "
                "chunked\r\nA: a\r\nB: b\r\n\r\n");
    assert_int_equal(body.len, 0);
    frame.end = RESPONSE_CLOSE;
    frame.close = true;
    len = response_head(&response, &frame, buffer, &body);
    expect_text(slice_of(buffer, len),
                "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/csv\r\nConnection: close\r\nA: "
                "a\r\nB: b\r\n\r\n");
    assert_int_equal(body.len, 0);
}

static void test_dates(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    for (int i = 0; i < 20000; i++) {
        time_t at = (time_t)(tap_random(&seed) % 4102444800u); /* up to the year 2100 */
        struct tm utc;
        char expected[64], line[RESPONSE_DATE_BYTES];
        gmtime_r(&at, &utc);
        strftime(expected, sizeof expected, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
        response_date(at, line);
        assert_int_equal(strlen(expected), RESPONSE_DATE_BYTES);
        assert_memory_equal(line, expected, RESPONSE_DATE_BYTES);
    }
}

static json_t *problem(int status, const char *field, const char *detail)
{
    struct buffer text;
    buffer_init(&text, PROBLEM_BYTES_MAX);
    problem_write(&text, status, field, detail);
    assert_int_equal(buffer_outcome(&text), BUFFER_OK);
    struct slice slice = buffer_slice(&text);
    json_t *json = json_loadb(slice.ptr, slice.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    buffer_fini(&text);
    return json;
}

static void test_problem(void **state)
{
    (void)state;
    json_t *json = problem(404, "event", "say \"what\"\\\n\x01 \xc3\xa4 \xff.");
    assert_string_equal(json_string_value(json_object_get(json, "type")), "about:blank");
    assert_string_equal(json_string_value(json_object_get(json, "title")), "Not Found");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 404);
    assert_string_equal(json_string_value(json_object_get(json, "detail")),
                        "say \"what\"\\\n\x01 \xc3\xa4 \xef\xbf\xbd.");
    assert_string_equal(json_string_value(json_object_get(json, "field")), "event");
    json_decref(json);
    json = problem(500, NULL, NULL);
    assert_null(json_object_get(json, "field"));
    assert_null(json_object_get(json, "detail"));
    json_decref(json);
}

static void test_problem_is_bounded(void **state)
{
    (void)state;
    static char detail[100000];
    memset(detail, '\x02', sizeof detail - 1); /* six bytes each, escaped */
    json_t *json = problem(400, detail, detail);
    assert_int_equal(strlen(json_string_value(json_object_get(json, "detail"))),
                     PROBLEM_TEXT_BYTES_MAX);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),     cmocka_unit_test(test_without_body),
        cmocka_unit_test(test_in_pieces), cmocka_unit_test(test_dates),
        cmocka_unit_test(test_problem),   cmocka_unit_test(test_problem_is_bounded),
    };
    return tap_run(tests);
}
