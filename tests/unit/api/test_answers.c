/* test_answers.c -- the shapes of answers, read back by jansson, and the questions that led there.
 */
#include "fake.h"

#include "core/country.h"
#include "core/groups.h"

#define EVENT   "/analytics/events/E"
#define SESSION EVENT "/sessions/S"

static struct figures figures_a = {.active = 42,
                                   .attended = 99,
                                   .logins = 3,
                                   .total_ms = 1000,
                                   .peak_count = 50,
                                   .peak_ms = 1637661600000};

static void ask_figures(const char *path, struct figures *figures)
{
    fake_request(HTTP_GET, path, "");
    struct live_query *query = fake_query(LIVE_FIGURES);
    assert_slice(query->event, "E");
    query->figures = figures;
    query->rows = 1;
    query->now_ms = 1637661623070;
    fake_finish();
    assert_string_equal(fake.answer.headers, "Cache-Control: no-store\r\n");
}

static void test_counts(void **state)
{
    (void)state;
    ask_figures(EVENT "/viewers/active-count", &figures_a);
    assert_json("{\"eventId\":\"E\",\"count\":42,\"timestamp\":1637661623070}");
    ask_figures(SESSION "/viewers/active-count", &figures_a);
    assert_json("{\"eventId\":\"E\",\"sessionId\":\"S\",\"count\":42,\"timestamp\":1637661623070}");
    ask_figures(EVENT "/viewers/total-attended-count", &figures_a);
    assert_json("{\"eventId\":\"E\",\"count\":99,\"timestamp\":1637661623070}");
    ask_figures(SESSION "/viewers/max-concurrent-count", &figures_a);
    assert_json("{\"eventId\":\"E\",\"sessionId\":\"S\",\"count\":50,\"timestamp\":1637661623070,"
                "\"at\":1637661600000}");
    struct figures none = {0};
    ask_figures(EVENT "/viewers/max-concurrent-count", &none);
    assert_json("{\"eventId\":\"E\",\"count\":0,\"timestamp\":1637661623070,\"at\":null}");
}

static void test_overview(void **state)
{
    (void)state;
    struct figures rows[] = {figures_a, {.session = SLICE_LIT("S")}, {.session = SLICE_LIT("T")}};
    rows[2].active = 1;
    fake_request(HTTP_GET, EVENT "/overview", "");
    struct live_query *query = fake_query(LIVE_OVERVIEW);
    query->figures = rows;
    query->rows = 3;
    query->now_ms = 7;
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"timestamp\":7,\"active\":42,\"attended\":99,\"logins\":3,"
                "\"maxConcurrent\":{\"count\":50,\"at\":1637661600000},\"totalViewingMs\":1000,"
                "\"averageViewingMs\":333,\"sessions\":["
                "{\"sessionId\":\"S\",\"active\":0,\"attended\":0,\"logins\":0,\"maxConcurrent\":{"
                "\"count\":0,\"at\":null},\"totalViewingMs\":0,\"averageViewingMs\":0},"
                "{\"sessionId\":\"T\",\"active\":1,\"attended\":0,\"logins\":0,\"maxConcurrent\":{"
                "\"count\":0,\"at\":null},\"totalViewingMs\":0,\"averageViewingMs\":0}]}");
}

static void test_statistics(void **state)
{
    (void)state;
    char groups[64], countries[64];
    size_t groups_len = tally_put(groups, SLICE_LIT("staff \"x\""), 3);
    groups_len += tally_put(groups + groups_len, SLICE_LIT("\xc3\xa9"), 1);
    size_t countries_len = tally_put(countries, SLICE_LIT("HK"), 100);
    struct frame_row frames[] = {
        {.start_ms = 300000,
         .end_ms = 600000,
         .viewers = 100,
         .groups = slice_of(groups, groups_len),
         .countries = slice_of(countries, countries_len)},
        {.start_ms = 600000, .end_ms = 900000},
    };
    fake_request(HTTP_GET, SESSION "/statistics?from=1&to=900000&limit=2&else=%zz", "");
    struct live_query *query = fake_query(LIVE_FRAMES);
    assert_slice(query->session, "S");
    assert_int_equal(query->from_ms, 1);
    assert_int_equal(query->to_ms, 900000);
    assert_int_equal(query->limit, 2);
    query->frames = frames;
    query->rows = 2;
    query->more = true;
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"sessionId\":\"S\",\"statistics\":["
                "{\"viewerCount\":100,\"timestamp\":600000,\"frameStart\":300000,"
                "\"countByUserGroup\":{\"staff \\\"x\\\"\":3,\"\xc3\xa9\":1},"
                "\"countByViewingCountry\":{\"HK\":100}},"
                "{\"viewerCount\":0,\"timestamp\":900000,\"frameStart\":600000,"
                "\"countByUserGroup\":{},\"countByViewingCountry\":{}}],\"next\":\"600000\"}");
    /* The cursor goes on behind the newest frame given, and never before `from`. */
    fake_request(HTTP_GET, EVENT "/statistics?from=1&cursor=600000", "");
    query = fake_query(LIVE_FRAMES);
    assert_int_equal(query->from_ms, 600001);
    assert_true(query->to_ms > 4102444800000);
    assert_int_equal(query->limit, 1000);
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"statistics\":[]}");
    fake_request(HTTP_GET, EVENT "/statistics?from=700000&cursor=600000", "");
    assert_int_equal(fake_query(LIVE_FRAMES)->from_ms, 700000);
    fake_finish();
}

static void test_live(void **state)
{
    (void)state;
    struct live_count counts[] = {{true, SLICE_LIT("press"), 2},
                                  {false, SLICE_LIT("HK"), 1},
                                  {false, SLICE_LIT("ZZ"), 2},
                                  {true, SLICE_LIT("staff"), 1}};
    fake_request(HTTP_GET, EVENT "/statistics/live", "");
    struct live_query *query = fake_query(LIVE_COUNTS);
    query->active = 3;
    query->now_ms = 9;
    query->counts = counts;
    query->rows = 4;
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"viewerCount\":3,\"timestamp\":9,\"countByUserGroup\":{"
                "\"press\":2,\"staff\":1},\"countByViewingCountry\":{\"HK\":1,\"ZZ\":2}}");
}

static void test_viewer(void **state)
{
    (void)state;
    struct live_viewing viewings[] = {{SLICE_EMPTY, 1, 5}, {SLICE_LIT("S"), 2, 3}};
    fake_request(HTTP_GET, EVENT "/viewers/a%2Fb%20%22", "");
    struct live_query *query = fake_query(LIVE_VIEWER);
    assert_slice(query->viewer, "a/b \"");
    query->name = SLICE_LIT("Ada \\ \"L\"");
    query->groups = SLICE_LIT("\5press\5staff");
    query->alive = true;
    query->now_ms = 6;
    assert_true(country_pack(SLICE_LIT("HK"), &query->country));
    query->viewings = viewings;
    query->rows = 2;
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"viewerId\":\"a/b \\\"\",\"name\":\"Ada \\\\ \\\"L\\\"\","
                "\"groups\":[\"press\",\"staff\"],\"country\":\"HK\",\"alive\":true,"
                "\"timestamp\":6,\"viewings\":[{\"startedMs\":1,\"endedMs\":5},"
                "{\"sessionId\":\"S\",\"startedMs\":2,\"endedMs\":3}]}");
    /* A profile, and never here. */
    fake_request(HTTP_GET, EVENT "/viewers/v", "");
    fake_query(LIVE_VIEWER);
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"viewerId\":\"v\",\"name\":\"\",\"groups\":[],\"country\":"
                "\"ZZ\",\"alive\":false,\"timestamp\":0,\"viewings\":[]}");
    fake_request(HTTP_GET, EVENT "/viewers/v", "");
    fake_query(LIVE_VIEWER)->status = LIVE_NOT_FOUND;
    fake_finish();
    assert_problem(404, "viewerId");
}

static void test_profile_put(void **state)
{
    (void)state;
    fake_request(HTTP_PUT, EVENT "/viewers/ada",
                 "{\"name\":\"\\u0041da\",\"groups\":[\"staff\",\"press\",\"staff\"]}");
    struct live_query *query = fake_query(LIVE_PROFILE_PUT);
    assert_slice(query->event, "E");
    assert_slice(query->viewer, "ada");
    assert_slice(query->name, "Ada");
    assert_slice(query->groups, "\5press\5staff");
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"viewerId\":\"ada\",\"name\":\"Ada\",\"groups\":[\"press\","
                "\"staff\"]}");
    fake_request(HTTP_PUT, EVENT "/viewers/ada", "{}");
    assert_slice(fake_query(LIVE_PROFILE_PUT)->name, "");
    fake_finish();
    assert_json("{\"eventId\":\"E\",\"viewerId\":\"ada\",\"name\":\"\",\"groups\":[]}");
    fake_request(HTTP_PUT, EVENT "/viewers/ada", "{}");
    fake_query(LIVE_PROFILE_PUT)->status = LIVE_RECORDS_AWAY;
    fake_finish();
    assert_problem(503, "");
    assert_string_equal(fake.answer.headers, "Retry-After: 1\r\n");
    fake.refuse = true; /* and nothing leaks: ASan */
    fake_request(HTTP_PUT, EVENT "/viewers/ada", "{}");
    fake.refuse = false;
    assert_problem(503, "");
}

static void test_bad_profiles(void **state)
{
    (void)state;
    char long_name[400], many[400] = "{\"groups\":[";
    snprintf(long_name, sizeof long_name, "{\"name\":\"%0257d\"}", 7);
    for (int i = 0; i < 33; i++) {
        char group[16];
        snprintf(group, sizeof group, "%s\"g%d\"", i > 0 ? "," : "", i);
        strcat(many, group);
    }
    strcat(many, "]}");
    const struct {
        const char *body, *field;
    } cases[] = {
        {"", ""},
        {"[]", ""},
        {"{\"name\":7}", "name"},
        {"{\"name\":\"a\\u0007\"}", "name"},
        {long_name, "name"},
        {"{\"groups\":\"staff\"}", "groups"},
        {"{\"groups\":[7]}", "groups"},
        {"{\"groups\":[\"\"]}", "groups"},
        {many, "groups"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_PUT, EVENT "/viewers/ada", cases[i].body);
        assert_problem(400, cases[i].field);
    }
}

static void test_bad_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *target, *field;
    } cases[] = {
        {EVENT "/statistics?from=x", "from"},
        {EVENT "/statistics?from=", "from"},
        {EVENT "/statistics?from=-1", "from"},
        {EVENT "/statistics?from=1.5", "from"},
        {EVENT "/statistics?from=%zz", "from"},
        {EVENT "/statistics?to=99999999999999999999999", "to"},
        {EVENT "/statistics?from=5&to=4", "to"},
        {EVENT "/statistics?limit=0", "limit"},
        {EVENT "/statistics?limit=1001", "limit"},
        {EVENT "/statistics?cursor=abc", "cursor"},
        {"/analytics/events?limit=1001", "limit"},
        {"/analytics/events?cursor=a%20b", "cursor"},
        {"/analytics/events?cursor=", "cursor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_GET, cases[i].target, "");
        assert_problem(400, cases[i].field);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_overview),
        cmocka_unit_test(test_statistics),   cmocka_unit_test(test_live),
        cmocka_unit_test(test_viewer),       cmocka_unit_test(test_profile_put),
        cmocka_unit_test(test_bad_profiles), cmocka_unit_test(test_bad_parameters),
    };
    return fake_run(tests);
}
