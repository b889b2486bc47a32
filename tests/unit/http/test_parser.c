/* test_parser.c -- what is a request, what is refused and how; each case also split everywhere. */
#include "tap.h"

#include "drive.h"

static struct parser_names names;
static struct drive whole, split;

static const char *const watched[HTTP_WATCHED_MAX + 1] = {"CloudFront-Viewer-Country", "origin"};

#define H "Host: h\r\n"

/* Whole, then in two pieces at every byte, then byte by byte: the outcome must be the same text. */
static void run(const char *bytes, size_t len)
{
    drive_run(&whole, &names, bytes, len, 0, len);
    for (size_t at = 1; at < len; at++) {
        drive_run(&split, &names, bytes, len, at, len);
        assert_string_equal(split.text, whole.text);
    }
    drive_run(&split, &names, bytes, len, 0, 1);
    assert_string_equal(split.text, whole.text);
}

static void expect(const char *bytes, const char *text)
{
    run(bytes, strlen(bytes));
    assert_string_equal(whole.text, text);
}

static void test_accepts(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\n" H "\r\n", "0|/||||||||||\n");
    expect("POST /a/b?c=d HTTP/1.1\r\nHOST:h\r\ncontent-LENGTH: 3\r\nContent-Type:  text/plain \t"
           "\r\nAuthorization: Bearer x\r\nReferer: r\r\norigin: o\r\nAccept: */*\r\n"
           "X-Forwarded-For: 1.2.3.4\r\ncloudfront-viewer-country: HK\r\nEmpty:\r\nEmpty2:  \r\n"
           "\r\nabc",
           "2|/a/b|c=d|Bearer x|text/plain|r|o|*/*|1.2.3.4|HK|o|abc\n");
    /* HTTP/1.0, without Host, ends unless it asks to stay. */
    expect("GET / HTTP/1.0\r\n\r\n", "0 last|/||||||||||\n");
    expect("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "0|/||||||||||\n");
    expect("HEAD /x HTTP/1.1\r\nConnection: close\r\n" H "\r\n", "1 last|/x||||||||||\n");
    expect("GET /x HTTP/1.1\r\nConnection: a, ,Close\t\r\n" H "\r\n", "0 last|/x||||||||||\n");
    expect("GET /x HTTP/1.0\r\nConnection: a\r\nConnection: keep-alive ,b\r\n\r\n",
           "0|/x||||||||||\n");
    expect("GET /x HTTP/1.1\r\nConnection: closed\r\n" H "\r\n", "0|/x||||||||||\n");
    expect("PATCH /x HTTP/1.1\r\n" H "\r\n", "6|/x||||||||||\n");
    /* Empty lines before a request; two requests in a row. */
    expect("\r\n\r\nPUT /1 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nab\r\nDELETE /2 HTTP/1.1\r\n" H
           "\r\n",
           "3|/1||||||||||ab\n4|/2||||||||||\n");
    /* The first of two counts; X-Forwarded-For is one list (RFC 9110, 5.3). */
    expect("GET / HTTP/1.1\r\n" H "Accept: a\r\nAccept: b\r\nX-Forwarded-For: 1\r\n"
           "x-forwarded-for: 2, 3\r\nX-Forwarded-For:4\r\n\r\n",
           "0|/|||||"
           "|a|1, 2, 3, 4|||\n");
    /* An upgrade is not taken up; the request is answered as it is. */
    expect("GET /u HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /v "
           "HTTP/1.1\r\n" H "\r\n",
           "0|/u||||||||||\n0|/v||||||||||\n");
    expect("POST /u HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: "
           "chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /v HTTP/1.1\r\n" H "\r\n",
           "2|/u||||||||||a\n0|/v||||||||||\n");
}

static void test_targets(void **state)
{
    (void)state;
    expect("GET http://h HTTP/1.1\r\n" H "\r\n", "0|/||||||||||\n");
    expect("GET HTTPS://h:1/p?q HTTP/1.1\r\n" H "\r\n", "0|/p|q|||||||||\n");
    expect("GET http://[::1]:80?a?b HTTP/1.1\r\n" H "\r\n", "0|/|a?b|||||||||\n");
    expect("OPTIONS * HTTP/1.1\r\n" H "\r\n", "5|*||||||||||\n");
    expect("OPTIONS http://h HTTP/1.1\r\n" H "\r\n", "5|*||||||||||\n");
    expect("GET //x HTTP/1.1\r\n" H "\r\n", "0|//x||||||||||\n");
    static const char *const bad[] = {
        "*",          "h:80",     "ftp://h/",     "http:///p", "/p#f",      "http://u@h/",
        "http://h#f", "mailto:x", "http://u:p@h", "ws://h/",   "https://?x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\n" H "\r\n", bad[i]);
        run(text, strlen(text));
        assert_int_equal(whole.fault, 400);
    }
}

static void test_chunked(void **state)
{
    (void)state;
#define CHUNKED "POST /c HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
    expect(CHUNKED "3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", "2|/c||||||||||abc0123456789\n");
    expect(CHUNKED "0\r\n\r\n", "2|/c||||||||||\n");
    expect(CHUNKED "1\r\na\r\n000\r\nTrailer: t\r\nHost: other\r\n\r\nGET /n HTTP/1.1\r\n" H "\r\n",
           "2|/c||||||||||a\n0|/n||||||||||\n");
    static const char *const bad[] = {
        "x\r\n",          "-1\r\n",
        "3 \r\nabc\r\n",  "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n",  "3\r\nabc\n",
        "3;\r\nabc\r\n",  "3\r\nabc0\r\n\r\n",
        "3\r\r;abc\r\n",  "0\r\n\n",
        "0x3\r\nabc\r\n", "3\r\nab\rc",
        "3\r\nab\r",      "ffffffffffffffff1\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[200];
        snprintf(text, sizeof text, CHUNKED "%s", bad[i]);
        run(text, strlen(text));
        if (strcmp(bad[i], "3\r\nab\r") == 0) {
            assert_int_equal(whole.fault, 0); /* only incomplete: a body may hold any byte */
        } else {
            if (whole.fault != 400 && whole.fault != 413) {
                fail_msg("case %zu: %s: %s", i, text, whole.text);
            }
        }
    }
}

static void test_too_large(void **state)
{
    (void)state;
    static char text[DRIVE_BYTES];
    /* The announced body: the largest that is allowed, and one more. */
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n",
             DRIVE_BODY_MAX);
    run(text, strlen(text));
    assert_string_equal(whole.text, ""); /* waits for it */
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" H "Content-Length: %d\r\n\r\n",
             DRIVE_BODY_MAX + 1);
    run(text, strlen(text));
    assert_int_equal(whole.fault, 413);
    snprintf(text, sizeof text, CHUNKED "%x\r\n", DRIVE_BODY_MAX + 1);
    run(text, strlen(text));
    assert_int_equal(whole.fault, 413);
    snprintf(text, sizeof text, CHUNKED "1\r\na\r\n%x\r\n", DRIVE_BODY_MAX);
    run(text, strlen(text));
    assert_int_equal(whole.fault, 413);
    snprintf(text, sizeof text, CHUNKED "1;%020000d\r\n", 0);
    drive_run(&whole, &names, text, strlen(text), 0, 100);
    assert_int_equal(whole.fault, 400); /* endless extensions */
    drive_run(&whole, &names, text, strlen(text), 0, strlen(text));
    assert_int_equal(whole.fault, 400);
    /* The head: exactly the limit passes, one byte more does not. */
    for (int more = 0; more < 2; more++) {
        int filler = DRIVE_HEAD_MAX - (int)strlen("GET / HTTP/1.1\r\n" H "A: \r\n\r\n") + more;
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H "A: %0*d\r\n\r\n", filler, 0);
        for (size_t piece = 1; piece < 20000; piece = piece * 3 + 1) {
            drive_run(&whole, &names, text, strlen(text), 0, piece);
            assert_int_equal(whole.fault, more == 0 ? 0 : 431);
            assert_int_equal(whole.requests, more == 0);
        }
    }
    snprintf(text, sizeof text, "GET /%09000d HTTP/1.1\r\n", 0);
    for (size_t piece = 1; piece < 20000; piece = piece * 3 + 1) {
        drive_run(&whole, &names, text, strlen(text), 0, piece);
        assert_int_equal(whole.fault, 414);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *bytes;
    } cases[] = {
        /* RFC 9112, 3.2: Host */
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H H "\r\n"},
        {400, "GET / HTTP/1.0\r\n" H H "\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : h\r\n\r\n"},
        /* 6.3: framing */
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\na"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0"},
        {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0"},
        {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"},
        /* 5.2, 2.2: lines */
        {400, "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A:\r\n c\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A: \r\n \r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A: b\r\n\t\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n A: b\r\n" H "\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "Connection: a,\r\n close\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" H "Content-Length: 1\r\n 0\r\n\r\n0123456789"},
        {400, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n ,x\r\n\r\n"},
        {400, "GET / HTTP/1.1\n" H "\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: h\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "\n"},
        {400, "GET / HTTP/1.1\r\n" H "A: b\nC: d\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A: b\rC: d\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A:\rC: d\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A:\nC: d\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "\rX"},
        {400, "GET / HTTP/1.1\r\n" H "A b: c\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H ": c\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "A: \x01\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" H "Connection: \x01\r\n\r\n"},
        /* 3: the request line */
        {400, "GET  / HTTP/1.1\r\n" H "\r\n"},
        {400, "GET /  HTTP/1.1\r\n" H "\r\n"},
        {400, "GET / HTTP/1.1 \r\n" H "\r\n"},
        {400, "GET /a b HTTP/1.1\r\n" H "\r\n"},
        {400, "GET /\x7f HTTP/1.1\r\n" H "\r\n"},
        {400, "GET\t/ HTTP/1.1\r\n" H "\r\n"},
        {400, "\nGET / HTTP/1.1\r\n" H "\r\n"},
        {400, "\rGET / HTTP/1.1\r\n" H "\r\n"},
        {400, "GET / HTTP/x.y\r\n" H "\r\n"},
        {400, "GET / http/1.1\r\n" H "\r\n"},
        {400, "GET / RTSP/1.0\r\n" H "\r\n"},
        {400, "GET / ICE/1.0\r\n" H "\r\n"},
        {400, "\x16\x03\x01\x02"},
        {505, "GET /\r\n\r\n"},
        {505, "GET / HTTP/0.9\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\n" H "\r\n"},
        {505, "GET / HTTP/1.2\r\n" H "\r\n"},
        {505, "GET / HTTP/5.6\r\n" H "\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {501, "CONNECT h:80 HTTP/1.1\r\n" H "\r\n"},
        {501, "QUERY / HTTP/1.1\r\n" H "\r\n"},
        {501, "get / HTTP/1.1\r\n" H "\r\n"},
        /* RFC 9110, 10.1.1 */
        {417, "POST / HTTP/1.1\r\n" H "Expect: miracles\r\nContent-Length: 1\r\n\r\na"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(cases[i].bytes, strlen(cases[i].bytes));
        if (whole.fault != cases[i].status || whole.requests != 0) {
            fail_msg("case %zu: %s: %d %s", i, cases[i].bytes, whole.fault, whole.text);
        }
    }
    /* A NUL byte, which no C string can hold. */
    run("GET / HTTP/1.1\r\nHost: h\0\r\n\r\n", 28);
    assert_int_equal(whole.fault, 400);
    run("GET /\0 HTTP/1.1\r\n" H "\r\n", 28);
    assert_int_equal(whole.fault, 400);
}

static void test_watched_names(void **state)
{
    (void)state;
    struct parser_names other;
    char name[PARSER_NAME_BYTES_MAX + 2];
    memset(name, 'a', sizeof name);
    name[PARSER_NAME_BYTES_MAX + 1] = '\0';
    const char *const list[HTTP_WATCHED_MAX + 1] = {name};
    assert_false(parser_names_init(&other, list)); /* too long */
    name[PARSER_NAME_BYTES_MAX] = '\0';
    assert_true(parser_names_init(&other, list));
    const char *const empty[HTTP_WATCHED_MAX + 1] = {""};
    assert_false(parser_names_init(&other, empty));
}

static void test_long_forwarded_list(void **state)
{
    (void)state;
    static char text[4000];
    snprintf(text, sizeof text,
             "GET / HTTP/1.1\r\n" H "X-Forwarded-For: %0500d\r\nX-Forwarded-For: 1.2.3.4, "
             "5.6.7.8\r\n\r\n",
             0);
    expect(text, "0|/||||||"
                 "|1.2.3.4, 5.6.7.8|||\n");
}

/* Damage good requests in random places: never a crash, and never two outcomes for one text. */
static void test_random_damage(void **state)
{
    (void)state;
    static const char good[] =
        "POST /a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: "
        "1\r\nConnection: keep-alive\r\n\r\n3\r\nabc\r\n2;e=f\r\nde\r\n0\r\nT: t\r\n\r\nPUT "
        "http://h/x "
        "HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
    static const char spice[] = "\r\n \t:;,0aZ\x80%/?#*\x00";
    uint64_t seed = tap_seed();
    char text[sizeof good];
    for (int round = 0; round < 30000; round++) {
        memcpy(text, good, sizeof good);
        for (unsigned n = 1 + (unsigned)(tap_random(&seed) % 3); n > 0; n--) {
            text[tap_random(&seed) % (sizeof good - 1)] =
                spice[tap_random(&seed) % (sizeof spice - 1)];
        }
        drive_run(&whole, &names, text, sizeof good - 1, 0, sizeof good);
        drive_run(&split, &names, text, sizeof good - 1, 0, 1);
        assert_string_equal(split.text, whole.text);
        drive_run(&split, &names, text, sizeof good - 1, 0, 1 + tap_random(&seed) % 50);
        assert_string_equal(split.text, whole.text);
    }
}

int main(void)
{
    ASSERT(parser_names_init(&names, watched));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_watched_names),
        cmocka_unit_test(test_long_forwarded_list),
        cmocka_unit_test(test_random_damage),
    };
    return tap_run(tests);
}
