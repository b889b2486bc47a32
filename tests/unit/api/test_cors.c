/* test_cors.c -- which origins may call, and that nothing else gets into a header. */
#include "api/cors.h"

#include "tap.h"

#define EXPOSE "Access-Control-Expose-Headers: Retry-After\r\n"
#define VARY   "Vary: Origin\r\n"

static char why[256];

static struct cors *cors_of(const char *origins)
{
    struct cors *cors = cors_new(origins, 3600 * 1000, why, sizeof why);
    if (cors == NULL) {
        fail_msg("%s: %s", origins, why);
    }
    return cors;
}

static void check_lines(struct slice lines, const char *expected)
{
    if (!slice_equal(lines, slice_str(expected))) {
        fail_msg("%.*s instead of %s", SLICE_ARG(lines), expected);
    }
}

/* As browsers see it: the origin itself is what they are told, or nothing. */
static void check_may_call(const struct cors *cors, struct slice origin, bool expected)
{
    char room[CORS_ROOM_BYTES], lines[CORS_ROOM_BYTES];
    memset(room, '!', sizeof room);
    snprintf(lines, sizeof lines, "Access-Control-Allow-Origin: %.*s\r\n" EXPOSE VARY,
             SLICE_ARG(origin));
    check_lines(cors_headers(cors, origin, room), expected ? lines : VARY);
    assert_int_equal(cors_preflight(cors, origin).len > 0, expected);
}

static void test_listed(void **state)
{
    (void)state;
    struct cors *cors = cors_of(" https://app.example.com,http://localhost:5173 , \t"
                                "https://[2001:db8::1]:8443,capacitor://localhost,");
    static const char *const may[] = {"https://app.example.com", "http://localhost:5173",
                                      "https://[2001:db8::1]:8443", "capacitor://localhost"};
    static const char *const may_not[] = {"",
                                          "null",
                                          "*",
                                          "https://app.example.co",
                                          "https://app.example.com.",
                                          "https://app.example.com:443",
                                          "https://app.example.com/",
                                          "https://app.example.comm",
                                          "https://app.example.com.evil.example",
                                          "http://app.example.com",
                                          "https://APP.example.com",
                                          "https://example.com",
                                          "https://x.app.example.com",
                                          " https://app.example.com",
                                          "http://localhost",
                                          "http://localhost:51730",
                                          "https://app.example.com,http://localhost:5173",
                                          "https://app.example.com http://localhost:5173"};
    for (size_t i = 0; i < sizeof may / sizeof may[0]; i++) {
        check_may_call(cors, slice_str(may[i]), true);
    }
    for (size_t i = 0; i < sizeof may_not / sizeof may_not[0]; i++) {
        check_may_call(cors, slice_str(may_not[i]), false);
    }
    check_may_call(cors, SLICE_EMPTY, false);
    cors_free(cors);
    cors_free(NULL);
}

static void test_any_label(void **state)
{
    (void)state;
    struct cors *cors = cors_of("https://*.example.org https://*.b.example:8443");
    static const char *const may[] = {"https://a.example.org", "https://a-1_b.example.org",
                                      "https://xn--bcher-kva.example.org",
                                      "https://tenant.b.example:8443"};
    static const char *const may_not[] = {
        "https://example.org",        "https://.example.org",
        "https://a.b.example.org",    "https://*.example.org",
        "https://a.example.org:8443", "https://tenant.b.example",
        "https://A.example.org",      "https://evil.example/.example.org",
        "https://a@b.example.org",    "https://evil:1.example.org",
        "https://a.example.org.evil", "https://a.notexample.org",
        "https://a example.org",      "http://a.example.org",
        "https://evil#.example.org",  "https://\xc3\xa4.example.org",
        "https://a%2e.example.org",   "https://x.b.example:84433"};
    for (size_t i = 0; i < sizeof may / sizeof may[0]; i++) {
        check_may_call(cors, slice_str(may[i]), true);
    }
    for (size_t i = 0; i < sizeof may_not / sizeof may_not[0]; i++) {
        check_may_call(cors, slice_str(may_not[i]), false);
    }
    cors_free(cors);
}

/* The longest origin fits its room; one more byte may not call. */
static void test_longest(void **state)
{
    (void)state;
    static const char front[] = "https://", back[] = ".example.org";
    char text[CORS_ORIGIN_BYTES_MAX + 2];
    struct cors *cors = cors_of("https://*.example.org");
    for (size_t len = CORS_ORIGIN_BYTES_MAX; len <= CORS_ORIGIN_BYTES_MAX + 1; len++) {
        memset(text, 'a', sizeof text);
        memcpy(text, front, strlen(front));
        memcpy(text + len - strlen(back), back, strlen(back));
        check_may_call(cors, slice_of(text, len), len == CORS_ORIGIN_BYTES_MAX);
    }
    cors_free(cors);
    size_t len = 0;
    for (const char *part = "https://"; len + strlen(part) <= CORS_ORIGIN_BYTES_MAX;
         part = "b.c-d.") {
        memcpy(text + len, part, strlen(part));
        len += strlen(part);
    }
    memset(text + len, 'e', CORS_ORIGIN_BYTES_MAX - len);
    if (text[CORS_ORIGIN_BYTES_MAX - 1] == '.') {
        text[CORS_ORIGIN_BYTES_MAX - 1] = 'e';
    }
    text[CORS_ORIGIN_BYTES_MAX] = '\0';
    cors = cors_of(text);
    check_may_call(cors, slice_str(text), true);
    cors_free(cors);
    text[CORS_ORIGIN_BYTES_MAX] = 'e';
    text[CORS_ORIGIN_BYTES_MAX + 1] = '\0';
    assert_null(cors_new(text, 0, why, sizeof why));
    assert_non_null(strstr(why, "longer than 255"));
}

/* Two requests of one worker may be under way at once, each with its own room; a listed origin
 * needs none. */
static void test_rooms(void **state)
{
    (void)state;
    struct cors *cors = cors_of("https://listed.example, https://*.example.org");
    char rooms[3][CORS_ROOM_BYTES];
    struct slice a = cors_headers(cors, SLICE_LIT("https://a.example.org"), rooms[0]);
    struct slice b = cors_headers(cors, SLICE_LIT("https://bb.example.org"), rooms[1]);
    struct slice listed = cors_headers(cors, SLICE_LIT("https://listed.example"), rooms[2]);
    memset(rooms[2], '!', sizeof rooms[2]);
    check_lines(a, "Access-Control-Allow-Origin: https://a.example.org\r\n" EXPOSE VARY);
    check_lines(b, "Access-Control-Allow-Origin: https://bb.example.org\r\n" EXPOSE VARY);
    check_lines(listed, "Access-Control-Allow-Origin: https://listed.example\r\n" EXPOSE VARY);
    cors_free(cors);
}

static void test_everybody(void **state)
{
    (void)state;
    struct cors *cors = cors_of("https://a.example, *");
    static const char *const origins[] = {"", "null", "https://b.example", "x\r\ny"};
    for (size_t i = 0; i < 4; i++) {
        char room[CORS_ROOM_BYTES];
        check_lines(cors_headers(cors, slice_str(origins[i]), room),
                    "Access-Control-Allow-Origin: *\r\n" EXPOSE);
        assert_true(cors_preflight(cors, slice_str(origins[i])).len > 0);
    }
    cors_free(cors);
}

static void test_nobody(void **state)
{
    (void)state;
    static const char *const lists[] = {"", " ", ", ,\t"};
    for (size_t i = 0; i < 3; i++) {
        struct cors *cors = cors_of(lists[i]);
        check_may_call(cors, SLICE_EMPTY, false);
        check_may_call(cors, SLICE_LIT("null"), false);
        check_may_call(cors, SLICE_LIT("https://a.example"), false);
        cors_free(cors);
    }
}

static void test_preflight(void **state)
{
    (void)state;
    static const int64_t max_ages_ms[] = {0, 999, 86400000, 7ll * 86400000};
    static const char *const seconds[] = {"0", "0", "86400", "604800"};
    for (size_t i = 0; i < 4; i++) {
        char expected[CORS_PREFLIGHT_BYTES];
        struct cors *cors = cors_new("https://a.example", max_ages_ms[i], why, sizeof why);
        assert_non_null(cors);
        snprintf(expected, sizeof expected,
                 "Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
                 "Access-Control-Allow-Headers: Authorization, Content-Type\r\n"
                 "Access-Control-Max-Age: %s\r\n",
                 seconds[i]);
        check_lines(cors_preflight(cors, SLICE_LIT("https://a.example")), expected);
        cors_free(cors);
    }
}

static void test_bad_lists(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"app.example.com", "scheme"},
        {"HTTPS://app.example.com", "scheme"},
        {"https:/app.example.com", "scheme"},
        {"://app.example.com", "scheme"},
        {"1https://app.example.com", "scheme"},
        {"null", "scheme"},
        {"**", "scheme"},
        {"https://", "host"},
        {"https://:80", "host"},
        {"https://*", "host"},
        {"https://*.", "host"},
        {"https://a.*.example", "host"},
        {"https://*.*.example", "host"},
        {"https://*a.example", "host"},
        {"https://a..example", "host"},
        {"https://.example", "host"},
        {"https://app.example.com.", "host"},
        {"https://[]", "IPv6"},
        {"https://[2001:db8::1", "IPv6"},
        {"https://[2001:DB8::1]", "IPv6"},
        {"https://[\r\n]", "IPv6"},
        {"https://app.example.com:", "port"},
        {"https://app.example.com:0", "port"},
        {"https://app.example.com:080", "port"},
        {"https://app.example.com:65536", "port"},
        {"https://app.example.com:123456", "port"},
        {"https://app.example.com:99999999999", "port"},
        {"https://app.example.com:443", "own port"},
        {"http://app.example.com:80", "own port"},
        {"https://app.example.com:1/", "ends after"},
        {"https://app.example.com/", "ends after"},
        {"https://App.example.com", "host"},
        {"https://app.Example.com", "host"},
        {"https://app.exaMple.com", "lower case"},
        {"https://app.example.com?a", "ends after"},
        {"https://ada@app.example.com", "ends after"},
        {"https://app.example.com\r\nSet-Cookie:a=b", "ends after"},
        {"https://good.example, https://bad.example/path", "bad.example/path"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        why[0] = '\0';
        struct cors *cors = cors_new(cases[i].text, 0, why, sizeof why);
        if (cors != NULL || strstr(why, cases[i].words) == NULL) {
            fail_msg("%s: %s", cases[i].text, cors != NULL ? "accepted" : why);
        }
    }
    char many[CORS_ORIGINS_MAX * 32 + 64] = "";
    for (int i = 0; i <= CORS_ORIGINS_MAX; i++) {
        size_t len = strlen(many);
        snprintf(many + len, sizeof many - len, "https://a%d.example ", i);
        struct cors *cors = cors_new(many, 0, why, sizeof why);
        assert_int_equal(cors != NULL, i < CORS_ORIGINS_MAX);
        cors_free(cors);
    }
    assert_non_null(strstr(why, "more than 64"));
}

/* Whatever an Origin holds: no line begins that is not ours, and no byte but of an origin gets
 * out. */
static void test_nothing_injected(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct cors *cors = cors_of("https://listed.example https://*.example.org");
    static const char *const starts[] = {"https://listed.example", "https://a.example.org"};
    unsigned allowed = 0, rounds = 200000;
    for (unsigned round = 0; round < rounds; round++) {
        char text[64], room[CORS_ROOM_BYTES];
        size_t len = strlen(starts[round % 2]);
        memcpy(text, starts[round % 2], len);
        for (uint64_t left = tap_random(&random) % 3; left > 0; left--) {
            static const char bytes[] = "\r\n\0 :/.aZ*@%\t,\x7f\x80";
            size_t at = tap_random(&random) % (len + 1);
            if (tap_random(&random) % 2 == 0) {
                memmove(text + at + 1, text + at, len - at);
                len++;
            } else if (at == len) {
                continue;
            }
            text[at] = bytes[tap_random(&random) % (sizeof bytes - 1)];
        }
        struct slice lines = cors_headers(cors, slice_of(text, len), room);
        if (slice_equal(lines, SLICE_LIT(VARY))) {
            continue;
        }
        allowed++;
        for (size_t i = 0; i < len; i++) {
            bool fine = (text[i] >= 'a' && text[i] <= 'z') || strchr(":/.-_", text[i]) != NULL;
            assert_true(fine && text[i] != '\0');
        }
        check_may_call(cors, slice_of(text, len), true);
    }
    printf("# %u of %u spoiled origins may call\n", allowed, rounds);
    assert_in_range(allowed, rounds / 4, rounds - 1);
    cors_free(cors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listed),           cmocka_unit_test(test_any_label),
        cmocka_unit_test(test_longest),          cmocka_unit_test(test_rooms),
        cmocka_unit_test(test_everybody),        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_preflight),        cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_nothing_injected),
    };
    return tap_run(tests);
}
