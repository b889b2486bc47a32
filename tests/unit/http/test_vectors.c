/* test_vectors.c -- llhttp's own request vectors (Markdown: input above, expected parse below).
 *
 * Accepted there: accepted here, with the same number of complete requests; an error there: refused
 * here.  Where Novabeat differs, it is in `stricter` below, with the reason (docs/HTTP.md has the
 * same list).  Most vectors have no Host, without which HTTP/1.1 is refused: they get one, and are
 * refused without it.  Each also goes in byte by byte. */
#define _GNU_SOURCE /* memmem */
#include "tap.h"

#include <ctype.h>
#include <dirent.h>

#include "drive.h"

static const struct {
    const char *title;
    int status;
    bool by_version; /* llhttp's own doing in version 8.1; later ones accept it */
    const char *reason;
} stricter[] = {
    {"No HTTP version", 505, false, "HTTP/0.9 has no status, no headers and no keep-alive"},
    {"SOURCE request with ICE", 400, false, "not HTTP"},
    {"OPTIONS request with RTSP", 400, false, "not HTTP"},
    {"ANNOUNCE request with RTSP", 400, false, "not HTTP"},
    {"M-SEARCH request", 400, false, "the target \"*\" is for OPTIONS (RFC 9112, 3.2.4)"},
    {"CONNECT request", 501, false, "Novabeat is no proxy"},
    {"CONNECT request with CAPS", 501, false, "Novabeat is no proxy"},
    {"CONNECT with body", 501, false, "Novabeat is no proxy"},
    {"Underscore in hostname", 501, false, "CONNECT: Novabeat is no proxy"},
    {"Fragment in URI", 400, false, "a request target has no fragment (RFC 9112, 3.2)"},
    {"POST with `chunked` as last transfer-encoding", 400, false, "a fragment in the target"},
    {"POST with `chunked` as last transfer-encoding (multiple headers)", 400, false,
     "a fragment in the target"},
    {"POST with `chunkedchunked` as transfer-encoding", 400, false, "a fragment in the target"},
    {"`host:port` and basic auth", 400, false, "user information in a target (RFC 9110, 4.2.4)"},
    {"QUERY request", 501, true, "the method is younger than llhttp 8.1"},
    {"Tabs in `Content-Length` (surrounding)", 400, true, "spaces are taken, tabs are not"},
    {"Chunk extensions", 400, true, "an extension without a value"},
    {"Chunk extensions quoting", 400, true, "a quoted extension"},
};

/* Not refusals: after these, llhttp stops to let another protocol take over, and we go on. */
static const char pause_on_upgrade[] = "error code=22";

static struct parser_names names;
static struct drive whole, split;
static unsigned failures, seen, accepted, refused, skipped, differing;

/* As llhttp's test harness reads a block: the last newline goes, newlines are CRLF, an escaped
 * newline is none, and \r \n \t \f \xHH stand for bytes. */
static size_t unescape(const char *text, size_t len, char *out)
{
    size_t n = 0;
    len -= len > 0 && text[len - 1] == '\n';
    for (size_t i = 0; i < len; i++) {
        char next = i + 1 < len ? text[i + 1] : '\0';
        const char *known = next == '\0' ? NULL : strchr("r\rn\nt\tf\f", next);
        if (text[i] == '\n') {
            out[n++] = '\r';
            out[n++] = '\n';
        } else if (text[i] == '\\' && next == '\n') {
            i++;
        } else if (text[i] == '\\' && next == 'x') {
            out[n++] = (char)strtol((char[]){text[i + 2], text[i + 3], '\0'}, NULL, 16);
            i += 3;
        } else if (text[i] == '\\' && known != NULL && isalpha((unsigned char)next)) {
            out[n++] = known[1];
            i++;
        } else {
            out[n++] = text[i];
        }
    }
    out[n] = '\0';
    return n;
}

static bool line_has(const char *line, const char *end, const char *word)
{
    return memmem(line, (size_t)(end - line), word, strlen(word)) != NULL;
}

/* Puts a Host behind each HTTP/1.1 request line that has none before the head's end. */
static size_t add_hosts(const char *bytes, size_t len, char *out, bool *added)
{
    size_t n = 0;
    const char *end = bytes + len;
    *added = false;
    for (const char *line = bytes; line < end;) {
        const char *newline = memmem(line, (size_t)(end - line), "\r\n", 2);
        const char *next = newline == NULL ? end : newline + 2;
        memcpy(out + n, line, (size_t)(next - line));
        n += (size_t)(next - line);
        const char *head_end = memmem(line, (size_t)(end - line), "\r\n\r\n", 4);
        head_end = head_end == NULL ? end : head_end;
        bool is_request_line = newline != NULL && newline - line > 9 &&
                               memcmp(newline - 9, " HTTP/1.1", 9) == 0 && line[0] != ' ' &&
                               next[0] != ' ' && memchr(line, ':', strcspn(line, " ")) == NULL;
        if (is_request_line && !line_has(line, head_end, "\nHost:") &&
            !line_has(line, head_end, "\nHOST:")) {
            *added |= n == (size_t)(next - line); /* to the first request, that is */
            n += (size_t)sprintf(out + n, "Host: vector\r\n");
        }
        line = next;
    }
    return n;
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (; (text = strstr(text, word)) != NULL; text += strlen(word)) {
        n++;
    }
    return n;
}

static void check(const char *file, const char *title, const char *log)
{
    bool is_error = strstr(log, "error code=") != NULL;
    unsigned complete = count(log, "message complete");
    int status = 0;
    bool by_version = false;
    for (size_t i = 0; i < sizeof stricter / sizeof stricter[0]; i++) {
        if (strcmp(stricter[i].title, title) == 0) {
            status = stricter[i].status;
            by_version = stricter[i].by_version;
        }
    }
    const char *wrong = NULL;
    if (strcmp(split.text, whole.text) != 0) {
        wrong = "differs byte by byte";
    } else if (status != 0 && !(by_version && whole.fault == 0)) {
        differing++;
        wrong = whole.fault == status ? NULL : "not refused as the list of stricter cases says";
    } else if (strstr(log, pause_on_upgrade) != NULL) {
        accepted++;
        wrong = whole.requests >= 1 ? NULL : "the request before the upgrade is refused";
    } else if (is_error) {
        refused++;
        /* After "Connection: close", what follows is not even looked at. */
        bool unread = strstr(log, "error code=5 ") != NULL && whole.closed;
        wrong = whole.fault >= 400 || unread ? NULL : "not refused";
    } else {
        accepted++;
        wrong = whole.fault != 0 ? "refused" : whole.requests != complete ? "another count" : NULL;
    }
    if (wrong != NULL) {
        printf("# %s: %s: %s\nexpected:\n%s\ngot:\n%s\n", file, title, wrong, log, whole.text);
        failures++;
    }
}

static void run_case(const char *file, const char *title, const char *http, size_t http_len,
                     const char *log)
{
    static char bytes[DRIVE_BYTES], hosted[DRIVE_BYTES];
    bool added;
    size_t len = unescape(http, http_len, bytes);
    size_t hosted_len = add_hosts(bytes, len, hosted, &added);
    seen++;
    drive_run(&whole, &names, hosted, hosted_len, 0, hosted_len);
    drive_run(&split, &names, hosted, hosted_len, 0, 1);
    check(file, title, log);
    if (added && whole.requests > 0) {
        drive_run(&whole, &names, bytes, len, 0, len);
        assert_int_equal(whole.requests, 0);
        assert_int_equal(whole.fault, 400);
    }
}

/* The text between the next "```<kind>" line and its closing fence; moves *at behind it. */
static struct slice block(char **at, const char *kind)
{
    char fence[16];
    snprintf(fence, sizeof fence, "```%s\n", kind);
    char *begin = strstr(*at, fence);
    if (begin == NULL) {
        return SLICE_EMPTY;
    }
    begin += strlen(fence);
    char *end = strstr(begin, "```");
    assert_non_null(end);
    *at = end + 3;
    return slice_of(begin, (size_t)(end - begin));
}

static void run_file(const char *folder, const char *file)
{
    static char text[1 << 20], title[256];
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = '\0';
    fclose(stream);
    for (char *at = text, *meta; (meta = strstr(at, "<!-- meta=")) != NULL;) {
        char *heading = NULL;
        for (char *line = text; line != NULL && line < meta;) {
            heading = line[0] == '#' ? line : heading;
            line = strchr(line, '\n');
            line = line == NULL ? NULL : line + 1;
        }
        assert_non_null(heading);
        heading += strspn(heading, "# ");
        snprintf(title, sizeof title, "%.*s", (int)strcspn(heading, "\n"), heading);
        char *meta_end = strstr(meta, "-->");
        bool wanted =
            line_has(meta, meta_end, "\"request\"") && !line_has(meta, meta_end, "skipBody");
        at = meta_end;
        struct slice http = block(&at, "http");
        struct slice log = block(&at, "log");
        if (!wanted) {
            skipped++; /* lenient flags, and llhttp's own calls */
            continue;
        }
        static char log_text[1 << 16];
        snprintf(log_text, sizeof log_text, "%.*s", SLICE_ARG(log));
        run_case(file, title, http.ptr, http.len, log_text);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    const char *folder = NOVABEAT_VECTORS "/llhttp";
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        printf("# SKIP: %s is absent\n", folder);
        skip();
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len > 3 && strcmp(entry->d_name + len - 3, ".md") == 0) {
            run_file(folder, entry->d_name);
        }
    }
    closedir(dir);
    printf("# %u vectors: %u accepted, %u refused, %u stricter; %u of other kinds left out\n", seen,
           accepted, refused, differing, skipped);
    assert_int_equal(failures, 0);
    assert_true(seen > 100);
}

int main(void)
{
    static const char *const none[HTTP_WATCHED_MAX + 1] = {NULL};
    ASSERT(parser_names_init(&names, none));
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return tap_run(tests);
}
