/* test_report.c -- heartbeat-report between a fake http and a fake live, over a real record store:
 * page after page, and each way in which it can end. */
#include "fake.h"

#include "api/report.h"
#include "core/country.h"
#include "unit/records/store.h"

#define PATH     "/analytics/events/E/heartbeat-report"
#define MEMBERS  3000
#define LARGE    600 /* in event L */
#define START_MS 1700000000000
#define NOW_MS   (START_MS + 3600000)

static struct store store;

/* Thirty-two groups whose ids are as long as may be, and escaped: more than 4 KiB of JSON a row. */
static struct slice large_groups(char packed[GROUPS_PACKED_BYTES_MAX])
{
    size_t len = 0;
    for (int i = 0; i < GROUPS_PER_VIEWER_MAX; i++) {
        packed[len++] = GROUP_ID_BYTES_MAX;
        memset(packed + len, '"', GROUP_ID_BYTES_MAX);
        len += GROUP_ID_BYTES_MAX;
        packed[len - 1] = (char)('A' + i);
    }
    return slice_of(packed, len);
}

static void fill_large(struct changes *changes, char packed[GROUPS_PACKED_BYTES_MAX])
{
    struct change *change = changes_add(changes);
    change->audience = (struct audience_row){.event = SLICE_LIT("L"),
                                             .seq = 1,
                                             .as_of_ms = NOW_MS,
                                             .members = LARGE,
                                             .attended = LARGE,
                                             .logins = LARGE};
    *changes_add_groups(changes) = (struct groups_row){1, large_groups(packed)};
    change->groups_count = 1;
    for (uint32_t i = 0; i < LARGE; i++) {
        char viewer[16];
        snprintf(viewer, sizeof viewer, "w%u", i);
        *changes_add_member(changes) = (struct member_row){
            .member_no = i,
            .viewer_no = i,
            .created = true,
            .viewer = changes_copy(changes, slice_str(viewer)),
            .groups = 1,
            .start_ms = START_MS,
            .end_ms = START_MS,
            .expiry_ms = START_MS,
            .counted_frame_ms = -1,
        };
    }
    change->members_count = LARGE;
}

/* Viewer v<n> came at START_MS + n, stayed for n seconds, and every third one had come before. */
static int fill(void **state)
{
    struct changes changes;
    country_t hk;
    assert_true(country_pack(SLICE_LIT("HK"), &hk));
    store_open(&store);
    changes_init(&changes);
    struct change *change = changes_add(&changes);
    change->audience = (struct audience_row){.event = SLICE_LIT("E"),
                                             .seq = 1,
                                             .as_of_ms = NOW_MS,
                                             .members = MEMBERS,
                                             .attended = MEMBERS,
                                             .logins = MEMBERS + MEMBERS / 3};
    *changes_add_groups(&changes) = (struct groups_row){1, SLICE_LIT("\5press")};
    change->groups_count = 1;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        char viewer[16];
        snprintf(viewer, sizeof viewer, "v%u", i);
        *changes_add_member(&changes) = (struct member_row){
            .member_no = i,
            .viewer_no = i,
            .created = true,
            .viewer = changes_copy(&changes, slice_str(viewer)),
            .groups = i % 2,
            .country = hk,
            .start_ms = START_MS + i,
            .end_ms = START_MS + i + i * 1000,
            .expiry_ms = START_MS + i,
            .counted_frame_ms = -1,
        };
        if (i % 3 == 0) {
            *changes_add_viewing(&changes) =
                (struct viewing_row){i, START_MS - 5000, START_MS - 4000};
        }
    }
    change->members_count = MEMBERS;
    change->viewings_count = MEMBERS / 3;
    char packed[GROUPS_PACKED_BYTES_MAX];
    fill_large(&changes, packed);
    changes.covered_seq = 1;
    store_must(&store, records_commit(store.link, &changes));
    changes_fini(&changes);
    return fake_start(state);
}

static int empty(void **state)
{
    store_close(&store);
    return fake_stop(state);
}

/* The query that is under way is worked on and given back; its answer may lead to the next one. */
static void give(enum live_status status)
{
    struct live_query *query = fake_query(LIVE_READ);
    query->now_ms = NOW_MS;
    query->status = status;
    if (status == LIVE_OK) {
        assert_int_equal(query->work(store.link, query), ERR_NONE);
        /* And again, as after ERR_BUSY. */
        assert_int_equal(query->work(store.link, query), ERR_NONE);
    }
    fake.handler.wake(fake.worker);
}

static unsigned give_all(void)
{
    unsigned pages = 0;
    for (; fake.submitted != NULL; pages++) {
        assert_int_equal(fake_query(LIVE_READ)->fresh, pages == 0);
        give(LIVE_OK);
        assert_true(pages < 100);
    }
    return pages;
}

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; (text = strstr(text, "\r\n")) != NULL; text += 2) {
        lines++;
    }
    return lines;
}

static void test_json_pages(void **state)
{
    (void)state;
    unsigned seen = 0;
    char body[128] = "{\"limit\":999}";
    for (bool more = true; more;) {
        fake_request(HTTP_POST, PATH, body);
        assert_int_equal(fake_query(LIVE_READ)->fresh, seen == 0);
        give(LIVE_OK);
        while (fake.answer.status == 0) {
            give(LIVE_OK);
        }
        json_t *answer = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(answer);
        json_t *rows = json_object_get(answer, "viewers");
        size_t count = json_array_size(rows), i;
        json_t *row;
        assert_int_equal(count, seen + 999 < MEMBERS ? 999 : MEMBERS - seen);
        json_array_foreach(rows, i, row)
        {
            char viewer[16];
            unsigned n = seen + (unsigned)i;
            snprintf(viewer, sizeof viewer, "v%u", n);
            assert_string_equal(json_string_value(json_object_get(row, "viewerId")), viewer);
            assert_int_equal(json_integer_value(json_object_get(row, "viewings")),
                             n % 3 == 0 ? 2 : 1);
            assert_int_equal(json_integer_value(json_object_get(row, "totalMs")),
                             n * 1000 + (n % 3 == 0 ? 1000 : 0));
            assert_int_equal(json_array_size(json_object_get(row, "groups")), n % 2);
        }
        seen += (unsigned)count;
        json_t *next = json_object_get(answer, "next");
        more = next != NULL;
        if (more) {
            snprintf(body, sizeof body, "{\"limit\":999,\"cursor\":\"%s\"}",
                     json_string_value(next));
        }
        json_decref(answer);
    }
    assert_int_equal(seen, MEMBERS);
}

/* A JSON answer of large rows ends before its limit, with a cursor; no row is lost or twice. */
static void test_large_rows(void **state)
{
    (void)state;
    unsigned seen = 0, answers = 0;
    char body[128] = "{}";
    for (bool more = true; more; answers++) {
        fake_request(HTTP_POST, "/analytics/events/L/heartbeat-report", body);
        while (fake.answer.status == 0) {
            give(LIVE_OK);
        }
        assert_int_equal(fake.answer.status, 200);
        assert_true(strlen(fake.answer.body) < JSON_BYTES + ROW_BYTES_MAX + 256);
        json_t *answer = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(answer);
        json_t *rows = json_object_get(answer, "viewers"), *row;
        size_t i;
        json_array_foreach(rows, i, row)
        {
            char viewer[16];
            snprintf(viewer, sizeof viewer, "w%u", seen++);
            assert_string_equal(json_string_value(json_object_get(row, "viewerId")), viewer);
            assert_int_equal(json_array_size(json_object_get(row, "groups")), 32);
        }
        assert_true(json_array_size(rows) > 0);
        json_t *next = json_object_get(answer, "next");
        more = next != NULL;
        if (more) {
            assert_true(strlen(fake.answer.body) >= JSON_BYTES);
            snprintf(body, sizeof body, "{\"cursor\":\"%s\"}", json_string_value(next));
        }
        json_decref(answer);
    }
    assert_int_equal(seen, LARGE);
    assert_int_equal(answers, 3);
}

static void test_filters(void **state)
{
    (void)state;
    /* The range cuts viewings; of v2 only a second is inside, of v1 nothing. */
    char body[256];
    snprintf(body, sizeof body,
             "{\"from\":%lld,\"to\":%lld,\"groups\":[\"vip\",\"press\"],\"limit\":1}",
             START_MS + 2000ll, START_MS + 3000ll);
    fake_request(HTTP_POST, PATH, body);
    give_all();
    assert_json("{\"eventId\":\"E\",\"timestamp\":1700003600000,\"viewers\":[{\"viewerId\":\"v3\","
                "\"name\":\"\",\"groups\":[\"press\"],\"country\":\"HK\",\"firstSeenMs\":"
                "1700000002000,\"lastSeenMs\":1700000003000,\"viewings\":1,\"totalMs\":1000}],"
                "\"next\":\"5.1700003600000\"}");
    /* 2999 s are not 50 minutes; nobody is in vip: the answer comes when all were looked at. */
    fake_request(HTTP_POST, PATH, "{\"minimumMinutes\":50}");
    give_all();
    assert_json("{\"eventId\":\"E\",\"timestamp\":1700003600000,\"viewers\":[]}");
    fake_request(HTTP_POST, PATH, "{\"groups\":[\"vip\"],\"sessionId\":null}");
    give_all();
    assert_json("{\"eventId\":\"E\",\"timestamp\":1700003600000,\"viewers\":[]}");
    fake_request(HTTP_POST, PATH, "{\"minimumMinutes\":49,\"limit\":59,\"groups\":[]}");
    give_all();
    assert_non_null(strstr(fake.answer.body, "\"v2940\""));
    assert_null(strstr(fake.answer.body, "\"v2939\""));
    assert_non_null(strstr(fake.answer.body, "\"next\""));
    fake_request(HTTP_POST, PATH, "{\"minimumMinutes\":49,\"limit\":60}");
    give_all();
    assert_null(strstr(fake.answer.body, "\"next\"")); /* 60 there are, and no more */
    fake_request(HTTP_POST, PATH, "{\"sessionId\":\"S\"}");
    give_all();
    assert_json("{\"eventId\":\"E\",\"sessionId\":\"S\",\"timestamp\":1700003600000,"
                "\"viewers\":[]}");
}

static void ask_csv(void)
{
    fake_request(HTTP_POST, PATH, "{\"format\":\"csv\",\"timeZone\":\"+08:00\"}");
}

static void test_csv(void **state)
{
    (void)state;
    ask_csv();
    assert_false(fake.stream.begun);
    assert_true(give_all() > 1);
    assert_true(fake.stream.ended && fake.stream.complete);
    assert_string_equal(fake.stream.type, "text/csv; charset=utf-8; header=present");
    assert_string_equal(fake.stream.headers,
                        "Cache-Control: no-store\r\nContent-Disposition: attachment; "
                        "filename=\"report-E.csv\"\r\n");
    assert_int_equal(lines_of(fake.stream.body), MEMBERS + 1);
    assert_non_null(strstr(fake.stream.body,
                           "\r\nv3,,press,HK,2023-11-15T06:13:15.000+08:00,"
                           "2023-11-15T06:13:23.003+08:00,2,0.067,4000,1699999995000,"
                           "1700000003003\r\n"));
}

static void test_back_pressure(void **state)
{
    (void)state;
    ask_csv();
    fake.stream.pending = HTTP_STREAM_LOW;
    give(LIVE_OK);
    size_t len = fake.stream.len;
    assert_true(len > 0 && len < HTTP_STREAM_LOW);
    assert_null(fake.submitted); /* no further page before the peer has taken this one */
    fake.handler.stream_ready(&fake.exchange);
    assert_non_null(fake.submitted);
    fake.handler.stream_ready(&fake.exchange); /* not a second one */
    assert_int_equal(fake.stream.len, len);
    fake.stream.pending = HTTP_STREAM_LOW - 1;
    give(LIVE_OK);
    assert_true(fake.stream.len > len);
    while (fake.submitted != NULL) {
        give(LIVE_OK);
    }
    assert_true(fake.stream.complete);
    assert_int_equal(lines_of(fake.stream.body), MEMBERS + 1);
}

static void test_failure_half_way(void **state)
{
    (void)state;
    ask_csv();
    give(LIVE_OK);
    assert_false(fake.stream.ended);
    give(LIVE_RECORDS_AWAY);
    assert_true(fake.stream.ended && !fake.stream.complete);
    assert_null(fake.submitted);
    /* Before the first page it is a problem. */
    ask_csv();
    give(LIVE_RECORDS_AWAY);
    assert_problem(503, "");
    assert_false(fake.stream.begun);
    fake_request(HTTP_POST, PATH, "");
    give(LIVE_BUSY);
    assert_problem(503, "");
    fake_new(HTTP_POST, PATH, SLICE_EMPTY);
    fake.refuse = true;
    fake_handle();
    fake.refuse = false;
    assert_problem(503, "");
}

static void test_peer_gone(void **state)
{
    (void)state;
    /* While a page is read, and while nothing is. */
    ask_csv();
    give(LIVE_OK);
    fake.exchange.gone = true;
    fake.handler.stream_ready(&fake.exchange);
    assert_false(fake.stream.ended); /* live/ still has the query */
    give(LIVE_OK);
    assert_true(fake.stream.ended && !fake.stream.complete);
    ask_csv();
    fake.stream.pending = HTTP_STREAM_LOW;
    give(LIVE_OK);
    fake.exchange.gone = true;
    fake.handler.stream_ready(&fake.exchange);
    assert_true(fake.stream.ended && !fake.stream.complete);
    assert_null(fake.submitted);
    /* live/ takes no more. */
    ask_csv();
    fake.stream.pending = HTTP_STREAM_LOW;
    give(LIVE_OK);
    fake.refuse = true;
    fake.handler.stream_ready(&fake.exchange);
    fake.refuse = false;
    assert_true(fake.stream.ended && !fake.stream.complete);
}

static void test_bad_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field;
    } bad[] = {
        {"{\"sessionId\":\"a b\"}", "sessionId"},
        {"{\"sessionId\":\"\"}", "sessionId"},
        {"{\"from\":-1}", "from"},
        {"{\"to\":1.0}", "to"},
        {"{\"from\":2,\"to\":1}", "to"},
        {"{\"groups\":\"vip\"}", "groups"},
        {"{\"groups\":[\"\"]}", "groups"},
        {"{\"minimumMinutes\":0.5}", "minimumMinutes"},
        {"{\"limit\":0}", "limit"},
        {"{\"limit\":1001}", "limit"},
        {"{\"cursor\":\"1\"}", "cursor"},
        {"{\"cursor\":\"4294967295.1\"}", "cursor"},
        {"{\"cursor\":\"1.0\"}", "cursor"},
        {"{\"format\":\"xml\"}", "format"},
        {"{\"timeZone\":\"\"}", "timeZone"},
        {"{\"format\":\"csv\",\"limit\":1}", "limit"},
        {"{\"format\":\"csv\",\"cursor\":\"1.1\"}", "cursor"},
        {"[]", ""},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fake_request(HTTP_POST, PATH, bad[i].body);
        assert_problem(400, bad[i].field);
    }
    /* Zones are files: they are opened where reading may block. */
    fake_request(HTTP_POST, PATH, "{\"timeZone\":\"Mars/Olympus\"}");
    give(LIVE_OK);
    assert_problem(400, "timeZone");
    /* Whether a cursor is of a time that was is seen by the engine's clock. */
    fake_request(HTTP_POST, PATH, "{\"cursor\":\"0.9007199254740992\"}");
    give(LIVE_OK);
    assert_problem(400, "cursor");
    char body[64];
    for (int64_t after_ms = 0; after_ms < 2; after_ms++) {
        snprintf(body, sizeof body, "{\"cursor\":\"2999.%lld\"}", NOW_MS + (long long)after_ms);
        fake_request(HTTP_POST, PATH, body);
        give(LIVE_OK);
        assert_int_equal(fake.answer.status, after_ms == 0 ? 200 : 400);
    }
}

static void test_accept(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool csv;
    } cases[] = {
        {"text/csv", true},
        {"TEXT/CSV;q=0.1", true},
        {"text/html, text/csv;header=present;q=0.9, */*;q=0.1", true},
        {"application/json;q=0.5,text/csv;q=0.501", true},
        {"application/json,text/csv", false},
        {"text/csv;q=0", false},
        {"text/csv;q=0.000", false},
        {"text/csvx", false},
        {"text/*", false},
        {",,;", false},
        {"", false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_new(HTTP_POST, PATH, SLICE_LIT("{\"minimumMinutes\":50}"))->accept =
            slice_str(cases[i].accept);
        fake_handle();
        give_all();
        assert_int_equal(fake.stream.begun, cases[i].csv);
        assert_int_equal(fake.answer.status, cases[i].csv ? 0 : 200);
    }
}

/* Last: the worker stops.  A stream that waits for its peer then ends, or is dropped by the server
 * and freed with the api. */
static void test_stop(void **state)
{
    (void)state;
    for (int i = 0; i < REPORTS_MAX; i++) { /* all but the last are dropped */
        ask_csv();
        fake.stream.pending = HTTP_STREAM_LOW;
        give(LIVE_OK);
    }
    struct http_exchange last = fake.exchange;
    ask_csv();
    assert_problem(503, "");
    assert_string_equal(fake.answer.headers, "Retry-After: 1\r\n");
    free(fake.answer.body);
    memset(&fake.answer, 0, sizeof fake.answer);
    fake.exchange = last;
    fake.stream.begun = true;
    api_stop(fake.api);
    fake.handler.wake(fake.worker);
    assert_true(api_stopped(fake.api));
    fake.handler.stream_ready(&fake.exchange);
    assert_true(fake.stream.ended && !fake.stream.complete);
    assert_null(fake.submitted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_pages),    cmocka_unit_test(test_large_rows),
        cmocka_unit_test(test_filters),       cmocka_unit_test(test_csv),
        cmocka_unit_test(test_back_pressure), cmocka_unit_test(test_failure_half_way),
        cmocka_unit_test(test_peer_gone),     cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_accept),        cmocka_unit_test(test_stop),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, fill, empty);
}
