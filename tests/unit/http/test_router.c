/* test_router.c -- routes, parameters, queries. */
#include "tap.h"

#include "http/router.h"

enum { BEAT, COUNT, SESSION_COUNT, VIEWER, VIEWER_PUT, VIEWER_DELETE, EVENTS, ROOT, EVENT_VIEWERS };

static const struct route routes[] = {
    {HTTP_POST, "/analytics/events/{event}/heartbeat", BEAT},
    {HTTP_GET, "/analytics/events/{event}/viewers/active-count", COUNT},
    {HTTP_GET, "/analytics/events/{event}/sessions/{session}/viewers/active-count", SESSION_COUNT},
    {HTTP_GET, "/analytics/events/{event}/viewers/{viewer}", VIEWER},
    {HTTP_PUT, "/analytics/events/{event}/viewers/{viewer}", VIEWER_PUT},
    {HTTP_DELETE, "/analytics/events/{e}/viewers/{v}", VIEWER_DELETE},
    {HTTP_GET, "/analytics/events", EVENTS},
    {HTTP_GET, "/", ROOT},
    {HTTP_GET, "/analytics/events/{event}/viewers", EVENT_VIEWERS},
};

static struct router *router;
static char scratch_bytes[256];
static struct scratch scratch;
static struct route_match match;

static enum route_outcome find(enum http_method method, const char *path)
{
    scratch = (struct scratch){scratch_bytes, sizeof scratch_bytes, 0};
    return router_match(router, method, slice_str(path), &scratch, &match);
}

static int set_up(void **state)
{
    (void)state;
    router = router_new(routes, sizeof routes / sizeof routes[0]);
    return router == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    router_free(router);
    return 0;
}

static void expect_found(enum http_method method, const char *path, int id, const char *first,
                         const char *second)
{
    assert_int_equal(find(method, path), ROUTE_FOUND);
    assert_int_equal(match.id, id);
    assert_int_equal(match.count, (first != NULL) + (second != NULL));
    if (first != NULL) {
        assert_true(slice_equal(match.values[0], slice_str(first)));
    }
    if (second != NULL) {
        assert_true(slice_equal(match.values[1], slice_str(second)));
    }
}

static void test_found(void **state)
{
    (void)state;
    expect_found(HTTP_POST, "/analytics/events/E1/heartbeat", BEAT, "E1", NULL);
    expect_found(HTTP_GET, "/analytics/events/E/viewers/active-count", COUNT, "E", NULL);
    expect_found(HTTP_GET, "/analytics/events/E/sessions/S/viewers/active-count", SESSION_COUNT,
                 "E", "S");
    expect_found(HTTP_GET, "/analytics/events/E/viewers/anna", VIEWER, "E", "anna");
    expect_found(HTTP_PUT, "/analytics/events/E/viewers/anna", VIEWER_PUT, "E", "anna");
    expect_found(HTTP_GET, "/analytics/events", EVENTS, NULL, NULL);
    expect_found(HTTP_GET, "/", ROOT, NULL, NULL);
    /* HEAD is GET without the body. */
    expect_found(HTTP_HEAD, "/analytics/events", EVENTS, NULL, NULL);
    expect_found(HTTP_GET, "/analytics/events/E/viewers", EVENT_VIEWERS, "E", NULL);
}

static void test_literal_wins_unless_the_method_is_missing(void **state)
{
    (void)state;
    expect_found(HTTP_GET, "/analytics/events/E/viewers/active-count", COUNT, "E", NULL);
    /* A viewer may be called active-count. */
    expect_found(HTTP_DELETE, "/analytics/events/E/viewers/active-count", VIEWER_DELETE, "E",
                 "active-count");
}

static void test_backtracks(void **state)
{
    (void)state;
    const struct route two[] = {{HTTP_GET, "/a/{x}/b", 1}, {HTTP_GET, "/a/lit/c", 2}};
    struct router *other = router_new(two, 2);
    struct scratch none = {NULL, 0, 0};
    assert_int_equal(router_match(other, HTTP_GET, SLICE_LIT("/a/lit/b"), &none, &match),
                     ROUTE_FOUND);
    assert_int_equal(match.id, 1);
    assert_true(slice_equal(match.values[0], SLICE_LIT("lit")));
    router_free(other);
}

static void test_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/analytics",
        "/analytics/",
        "/analytics/events/",
        "/analytics/events/E",
        "/analytics/events//heartbeat",
        "/analytics/events/E/heartbeat/",
        "/analytics/events/E/heartbeats",
        "/analytics/events/E/heartbea",
        "/Analytics/events",
        "//",
        "*",
        "",
        "/%61nalytics/events",
        "/analytics/events/E/sessions/S/viewers/active-count/x/y/z/x/y/z/x/y/z/x/y/z/x/y/z",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(find(HTTP_GET, paths[i]), ROUTE_NO_PATH);
    }
}

static void test_wrong_method(void **state)
{
    (void)state;
    char allow[ROUTE_ALLOW_BYTES];
    assert_int_equal(find(HTTP_GET, "/analytics/events/E/heartbeat"), ROUTE_NO_METHOD);
    assert_true(slice_equal(router_allow(match.allowed, allow), SLICE_LIT("Allow: POST\r\n")));
    assert_int_equal(find(HTTP_POST, "/analytics/events/E/viewers/anna"), ROUTE_NO_METHOD);
    assert_true(slice_equal(router_allow(match.allowed, allow),
                            SLICE_LIT("Allow: GET, HEAD, PUT, DELETE\r\n")));
    assert_int_equal(find(HTTP_OTHER, "/"), ROUTE_NO_METHOD);
    assert_true(slice_equal(router_allow(0x3f, allow),
                            SLICE_LIT("Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n")));
    assert_true(slice_equal(router_allow(0, allow), SLICE_LIT("Allow: \r\n")));
}

static void test_decodes(void **state)
{
    (void)state;
    expect_found(HTTP_GET, "/analytics/events/E/viewers/a%20b%2Fc", VIEWER, "E", "a b/c");
    expect_found(HTTP_GET, "/analytics/events/%45/viewers/%c3%A4+x", VIEWER, "E", "\xc3\xa4+x");
    static const char *const bad[] = {"%", "%4", "x%4", "%zz", "%4g", "%00", "a%00b", "%%20"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "/analytics/events/E/viewers/%s", bad[i]);
        assert_int_equal(find(HTTP_GET, path), ROUTE_BAD_PARAMETER);
        assert_true(slice_equal(match.bad, SLICE_LIT("viewer")));
        snprintf(path, sizeof path, "/analytics/events/%s/viewers/x", bad[i]);
        assert_int_equal(find(HTTP_GET, path), ROUTE_BAD_PARAMETER);
        assert_true(slice_equal(match.bad, SLICE_LIT("event")));
    }
    /* Nothing to decode: the value lies in the path itself, the scratch is not needed. */
    struct slice path = SLICE_LIT("/analytics/events/E/heartbeat");
    struct scratch none = {NULL, 0, 0};
    assert_int_equal(router_match(router, HTTP_POST, path, &none, &match), ROUTE_FOUND);
    assert_ptr_equal(match.values[0].ptr, path.ptr + 18);
    /* A scratch that is too small is said, not overrun. */
    char small[2];
    struct scratch tiny = {small, sizeof small, 0};
    assert_int_equal(router_match(router, HTTP_POST,
                                  SLICE_LIT("/analytics/events/%45%45/heartbeat"), &tiny, &match),
                     ROUTE_BAD_PARAMETER);
}

static void test_query(void **state)
{
    (void)state;
    struct slice rest = SLICE_LIT("&from=12&&to=a%20b+c&flag&=x&empty=&q=a=b&%66=%2b&");
    static const char *const expected[][2] = {{"from", "12"}, {"to", "a b c"}, {"flag", ""},
                                              {"", "x"},      {"empty", ""},   {"q", "a=b"},
                                              {"f", "+"}};
    struct slice name, value;
    scratch = (struct scratch){scratch_bytes, sizeof scratch_bytes, 0};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_PAIR);
        assert_true(slice_equal(name, slice_str(expected[i][0])));
        assert_true(slice_equal(value, slice_str(expected[i][1])));
    }
    assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_END);
    rest = SLICE_EMPTY;
    assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_END);
    rest = SLICE_LIT("a=1&to=%4&b=2");
    assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_PAIR);
    assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_BAD);
    assert_true(slice_equal(name, SLICE_LIT("to")));
    /* The rest is still readable. */
    assert_int_equal(query_next(&rest, &scratch, &name, &value), QUERY_PAIR);
    assert_true(slice_equal(name, SLICE_LIT("b")));
}

/* Random paths from the routes' own words: a naive matcher (compare segment by segment, literals
 * first) agrees. */
static int naive(enum http_method method, const char *path)
{
    int best = -1;
    char best_kinds[64] = "";
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const char *p = path, *q = routes[i].pattern;
        char kinds[64] = "";
        bool fits = routes[i].method == method;
        while (fits && *p != '\0' && *q != '\0') {
            size_t a = strcspn(p + 1, "/"), b = strcspn(q + 1, "/");
            if (q[1] == '{') {
                strcat(kinds, "p");
                fits = a > 0;
            } else {
                strcat(kinds, "l");
                fits = a == b && memcmp(p + 1, q + 1, a) == 0;
            }
            p += 1 + a;
            q += 1 + b;
        }
        if (fits && *p == '\0' && *q == '\0' && (best < 0 || strcmp(kinds, best_kinds) < 0)) {
            best = routes[i].id;
            strcpy(best_kinds, kinds);
        }
    }
    return best;
}

static void test_against_a_naive_matcher(void **state)
{
    (void)state;
    static const char *const words[] = {"analytics", "events", "viewers",   "sessions",
                                        "E",         "",       "heartbeat", "active-count"};
    uint64_t seed = tap_seed();
    for (int round = 0; round < 200000; round++) {
        char path[128] = "/analytics/events";
        unsigned segments = (unsigned)(tap_random(&seed) % 6);
        for (unsigned i = 0; i < segments; i++) {
            strcat(path, "/");
            strcat(path, words[tap_random(&seed) % 8]);
        }
        enum http_method method = (enum http_method)(tap_random(&seed) % HTTP_OTHER);
        method = method == HTTP_HEAD ? HTTP_GET : method;
        int expected = naive(method, path);
        enum route_outcome outcome = find(method, path);
        assert_int_equal(outcome == ROUTE_FOUND ? match.id : -1, expected);
    }
}

static void test_speed(void **state)
{
    (void)state;
    struct slice path = SLICE_LIT("/analytics/events/summit-2026/heartbeat");
    struct timespec begin, end;
    unsigned found = 0;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 1000000; i++) {
        scratch.used = 0;
        found += router_match(router, HTTP_POST, path, &scratch, &match) == ROUTE_FOUND;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_int_equal(found, 1000000);
    printf("# a heartbeat's match: %.1f ns\n",
           ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
               1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_literal_wins_unless_the_method_is_missing),
        cmocka_unit_test(test_backtracks),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_wrong_method),
        cmocka_unit_test(test_decodes),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_against_a_naive_matcher),
        cmocka_unit_test(test_speed),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
