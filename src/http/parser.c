/* parser.c -- llhttp's callbacks, and the judgement on what it found. */
#include "http/parser.h"

#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/limits.h"

/* Framing of a chunked body (size lines, extensions, trailers) may not dwarf the body: an endless
 * chunk extension would keep us busy for nothing (CVE-2024-22019 in other users of llhttp). */
#define FRAMING_BYTES_MAX 16384u
#define FRAMING_PER_BYTE  8u
/* A size line and the two CRLF of a chunk, at least. */
#define FRAMING_PER_CHUNK 5u

static const struct {
    const char *name;
    enum parser_header header;
} names_fixed[] = {
    {"host", HEADER_HOST},
    {"authorization", HEADER_AUTHORIZATION},
    {"content-type", HEADER_CONTENT_TYPE},
    {"referer", HEADER_REFERER},
    {"origin", HEADER_ORIGIN},
    {"accept", HEADER_ACCEPT},
    {"x-forwarded-for", HEADER_FORWARDED_FOR},
    {"expect", HEADER_EXPECT},
    {"connection", HEADER_CONNECTION},
    {"transfer-encoding", HEADER_TRANSFER_ENCODING},
};

bool parser_names_init(struct parser_names *names, const char *const watched[])
{
    struct parser_names unsorted = {0};
    unsigned count = 0;
    for (size_t i = 0; i < sizeof names_fixed / sizeof names_fixed[0]; i++) {
        unsorted.entries[count].name = names_fixed[i].name;
        unsorted.entries[count++].header = (uint8_t)names_fixed[i].header;
    }
    for (unsigned i = 0; i < HTTP_WATCHED_MAX && watched[i] != NULL; i++) {
        unsorted.entries[count].name = watched[i];
        unsorted.entries[count++].header = (uint8_t)(HEADER_WATCHED + i);
    }
    ASSERT(count <= HEADERS_KEPT);
    memset(names, 0, sizeof *names);
    unsigned sorted = 0;
    for (unsigned len = 0; len <= PARSER_NAME_BYTES_MAX; len++) {
        names->first[len] = (uint8_t)sorted;
        for (unsigned i = 0; i < count; i++) {
            if (strlen(unsorted.entries[i].name) == len) {
                names->entries[sorted] = unsorted.entries[i];
                names->entries[sorted++].len = (uint8_t)len;
            }
        }
    }
    names->first[PARSER_NAME_BYTES_MAX + 1] = (uint8_t)sorted;
    return sorted == count && names->first[1] == 0; /* none too long, none empty */
}

/* ---- faults ---- */

static enum parser_result fault(struct parser *parser, unsigned status, const char *detail,
                                size_t at)
{
    parser->phase = PARSER_FAULTY;
    parser->status = (uint16_t)status;
    parser->detail = detail;
    parser->fault_at = (uint32_t)at;
    return PARSER_FAULT;
}

/* The same inside a callback: llhttp stops at once. */
static int callback_fault(struct parser *parser, unsigned status, const char *detail)
{
    fault(parser, status, detail, 0);
    llhttp_set_error_reason(&parser->llhttp, detail);
    return HPE_USER;
}

/* A fault in the head's lines is noted, and told when the head is whole.  When a span's callback
 * comes depends on how the bytes were split; were it told at once, so would the answer. */
static void note_fault(struct parser *parser, const char *detail, size_t at)
{
    if (parser->status == 0) {
        parser->status = 400;
        parser->detail = detail;
        parser->fault_at = (uint32_t)at;
    }
}

/* ---- the lines of the head ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_token_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool name_matches(const char *lower, const char *text, size_t len)
{
    return strncasecmp(lower, text, len) == 0;
}

/* X-Forwarded-For comes once per proxy with some proxies; RFC 9110, 5.3: the lines are one list. */
static void join_forwarded(struct parser *parser, struct parser_span value)
{
    struct parser_span *kept = &parser->kept[HEADER_FORWARDED_FOR];
    const char *before = parser->joined_bytes > 0 ? parser->joined : parser->base + kept->at;
    size_t before_bytes = parser->joined_bytes > 0 ? parser->joined_bytes : kept->len;
    size_t joined_bytes = before_bytes + 2 + value.len;
    if (joined_bytes > sizeof parser->joined) {
        *kept = value; /* the nearest proxy's word counts most */
        parser->joined_bytes = 0;
        return;
    }
    memmove(parser->joined, before, before_bytes);
    memcpy(parser->joined + before_bytes, ", ", 2);
    memcpy(parser->joined + before_bytes + 2, parser->base + value.at, value.len);
    parser->joined_bytes = (uint16_t)joined_bytes;
}

/* RFC 9112, 9.3.  llhttp reads it too, but version 8.1 overlooks a "close" followed by a tab, and
 * then we would wait on a connection whose peer is done. */
static void read_connection(struct parser *parser, struct parser_span value)
{
    const char *at = parser->base + value.at, *end = at + value.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *next = comma == NULL ? end : comma;
        const char *stop = next;
        while (at < stop && is_space(*at)) {
            at++;
        }
        while (at < stop && is_space(stop[-1])) {
            stop--;
        }
        size_t len = (size_t)(stop - at);
        parser->said_close |= len == 5 && name_matches("close", at, len);
        parser->said_keep_alive |= len == 10 && name_matches("keep-alive", at, len);
        at = next + 1;
    }
}

static void keep_header(struct parser *parser, struct parser_span value)
{
    size_t len = parser->field.len;
    if (len > PARSER_NAME_BYTES_MAX) {
        return;
    }
    const char *name = parser->base + parser->field.at;
    const struct parser_names *names = parser->names;
    for (unsigned i = names->first[len]; i < names->first[len + 1]; i++) {
        if (!name_matches(names->entries[i].name, name, len)) {
            continue;
        }
        struct parser_span *kept = &parser->kept[names->entries[i].header];
        bool again = kept->at != 0;
        switch (names->entries[i].header) {
        case HEADER_HOST:
            parser->host_count++;
            break;
        case HEADER_TRANSFER_ENCODING:
            parser->coding_count++;
            break;
        case HEADER_CONNECTION:
            read_connection(parser, value);
            break;
        case HEADER_FORWARDED_FOR:
            if (again) {
                join_forwarded(parser, value);
            }
            break;
        default:
            break;
        }
        if (!again) {
            *kept = value;
        }
    }
}

/* The request line: it starts at once, one space stands before the target, and between the target
 * and the first header line (at `next`) exactly " HTTP/1.x" CRLF (RFC 9112, 3). */
static bool request_line_sound(const struct parser *parser, size_t next)
{
    const char *base = parser->base;
    size_t end = (size_t)parser->target.at + parser->target.len;
    const char *text = base + end;
    return parser->target.at >= 2 && is_token_char(base[0]) &&
           is_token_char(base[parser->target.at - 2]) && next == end + 11 &&
           memcmp(text, " HTTP/1.", 8) == 0 && text[9] == '\r' && text[10] == '\n';
}

/* A header line: name ":" spaces value CRLF, and the next line begins at `next`.  Whatever else
 * lies there (a folded line: RFC 9112, 5.2; a bare CR or LF: 2.2) is refused, because two readers
 * that see different lines are what request smuggling is made of. */
static bool header_line_sound(struct parser *parser, size_t next)
{
    const char *base = parser->base;
    size_t colon = (size_t)parser->field.at + parser->field.len;
    if (parser->field.len == 0 || parser->field.at != parser->line_at || base[colon] != ':' ||
        next < colon + 3 || base[next - 2] != '\r' || base[next - 1] != '\n') {
        return false;
    }
    size_t at = colon + 1;
    while (is_space(base[at])) {
        at++;
    }
    struct parser_span value = parser->value;
    if (value.len == 0) {
        value.at = (uint32_t)at;
    }
    if (value.at != at || at + value.len + 2 != next) {
        return false;
    }
    while (value.len > 0 && is_space(base[at + value.len - 1])) {
        value.len--;
    }
    keep_header(parser, value);
    return true;
}

/* The line before offset `next` has ended. */
static void line_end(struct parser *parser, size_t next)
{
    bool sound =
        parser->line_at == 0 ? request_line_sound(parser, next) : header_line_sound(parser, next);
    if (!sound) {
        note_fault(parser, "this line is malformed, folded, or does not end in CRLF",
                   parser->line_at);
    }
    parser->line_at = (uint32_t)next;
    parser->field = (struct parser_span){0, 0};
    parser->value = (struct parser_span){0, 0};
    parser->in_value = false;
}

/* ---- llhttp's callbacks ---- */

static struct parser *parser_of(llhttp_t *llhttp)
{
    return (struct parser *)(void *)llhttp; /* its first member */
}

/* A span comes in pieces when the bytes did; false when the pieces do not touch. */
static bool span_extend(struct parser_span *span, size_t at, size_t len)
{
    if (span->len == 0) {
        span->at = (uint32_t)at;
    } else if (span->at + span->len != at) {
        return false;
    }
    span->len += (uint32_t)len;
    return true;
}

static int on_url(llhttp_t *llhttp, const char *text, size_t len)
{
    struct parser *parser = parser_of(llhttp);
    span_extend(&parser->target, (size_t)(text - parser->base), len);
    return 0;
}

static const char version_detail[] = "only HTTP/1.1 and HTTP/1.0 are spoken here";

/* Trailers are read and thrown away (RFC 9110, 6.5.1: a recipient may); they only count. */
static int count_framing(struct parser *parser, size_t len)
{
    parser->framing_bytes += (uint32_t)len;
    if (parser->framing_bytes > FRAMING_BYTES_MAX + FRAMING_PER_BYTE * parser->body_bytes) {
        return callback_fault(parser, 400, "too much chunk framing for so little body");
    }
    return 0;
}

static int on_field(llhttp_t *llhttp, const char *text, size_t len)
{
    struct parser *parser = parser_of(llhttp);
    if (parser->phase != PARSER_HEAD) {
        return count_framing(parser, len);
    }
    size_t at = (size_t)(text - parser->base);
    if (parser->field.len == 0 || parser->in_value) {
        line_end(parser, at);
    }
    span_extend(&parser->field, at, len);
    return 0;
}

static int on_value(llhttp_t *llhttp, const char *text, size_t len)
{
    struct parser *parser = parser_of(llhttp);
    if (parser->phase != PARSER_HEAD) {
        return count_framing(parser, len);
    }
    parser->in_value = true;
    if (!span_extend(&parser->value, (size_t)(text - parser->base), len)) {
        note_fault(parser, "this header line is folded", parser->line_at);
    }
    return 0;
}

/* A header without a value may have no value callback with some versions. */
static int on_field_complete(llhttp_t *llhttp)
{
    parser_of(llhttp)->in_value = true;
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED; /* parser_head takes over: what the body is, we decide */
}

static int on_chunk_header(llhttp_t *llhttp)
{
    struct parser *parser = parser_of(llhttp);
    if (llhttp->content_length > parser->body_bytes_max - parser->body_bytes) {
        return callback_fault(parser, 413, "the request's body is too large");
    }
    return count_framing(parser, FRAMING_PER_CHUNK);
}

static int on_chunk_extension(llhttp_t *llhttp, const char *text, size_t len)
{
    (void)text;
    return count_framing(parser_of(llhttp), len);
}

static int on_body(llhttp_t *llhttp, const char *text, size_t len)
{
    struct parser *parser = parser_of(llhttp);
    ASSERT(len <= parser->body_bytes_max - parser->body_bytes); /* on_chunk_header saw to it */
    ASSERT(parser->body_write <= text);
    memmove(parser->body_write, text, len);
    parser->body_write += len;
    parser->body_bytes += (uint32_t)len;
    return 0;
}

static int on_message_complete(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED; /* what follows is the next request's */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_chunk_extension,
    .on_chunk_extension_value = on_chunk_extension,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- llhttp's verdicts ---- */

/* "HTTP/" digit "." digit just before or around the byte where llhttp stopped, and not a version
 * that we speak (then it was what follows that is wrong)? */
static bool version_foreign(const char *base, size_t at, size_t len)
{
    size_t end = at + 1 < len ? at + 1 : len;
    for (size_t back = 0; back < 2 && end >= 8 + back; back++) {
        const char *text = base + end - 8 - back;
        if (memcmp(text, "HTTP/", 5) == 0 && text[5] >= '0' && text[5] <= '9' && text[6] == '.' &&
            text[7] >= '0' && text[7] <= '9') {
            return text[5] != '1' || text[7] > '1';
        }
    }
    return false;
}

static enum parser_result llhttp_fault(struct parser *parser, llhttp_errno_t verdict, size_t len)
{
    if (parser->phase == PARSER_FAULTY) {
        return PARSER_FAULT; /* by a callback of ours */
    }
    const char *base = parser->base;
    size_t at = (size_t)(llhttp_get_error_pos(&parser->llhttp) - base);
    const char *reason = llhttp_get_error_reason(&parser->llhttp);
    if (verdict == HPE_PAUSED_H2_UPGRADE) {
        return fault(parser, 505, version_detail, at);
    }
    if (verdict == HPE_INVALID_METHOD) {
        /* A method we never heard of is 501 (RFC 9110, 9.1); what is no token at all is 400. */
        for (size_t i = 0; i <= at && i < len; i++) {
            if (!is_token_char(base[i])) {
                return fault(parser, 400, "the request does not start with a method", at);
            }
        }
        return fault(parser, 501, "the method is not known", at);
    }
    if (verdict == HPE_INVALID_VERSION && version_foreign(base, at, len)) {
        return fault(parser, 505, version_detail, at);
    }
    return fault(parser, 400, reason != NULL && *reason != '\0' ? reason : "malformed", at);
}

/* ---- the head as a whole ---- */

static bool host_sound(struct slice host)
{
    /* RFC 3986, 3.2.2: reg-name, IPv4, [IPv6], and a port.  A sieve, not a grammar: it keeps out
     * spaces, slashes and '@', which make two readers see two hosts. */
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool alphanumeric =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (c == '\0' || strchr("-._~%!$&'()*+,;=:[]", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static struct slice span_slice(const char *base, struct parser_span span)
{
    return span.at == 0 ? SLICE_EMPTY : slice_of(base + span.at, span.len);
}

struct target {
    struct slice path, query;
    const char *detail; /* NULL: the target is good */
};

/* Request targets (RFC 9112, 3.2): origin-form, absolute-form, and "*" for OPTIONS. */
static struct target target_split(struct slice text, bool is_options)
{
    struct target target = {text, SLICE_EMPTY, NULL};
    if (text.len == 1 && text.ptr[0] == '*') {
        target.detail = is_options ? NULL : "the target \"*\" is for OPTIONS only";
        return target;
    }
    if (memchr(text.ptr, '#', text.len) != NULL) {
        target.detail = "a request target has no fragment";
        return target;
    }
    const char *end = text.ptr + text.len;
    const char *path = text.ptr;
    if (*path != '/') {
        size_t scheme = text.len > 7 && strncasecmp(path, "http://", 7) == 0    ? 7
                        : text.len > 8 && strncasecmp(path, "https://", 8) == 0 ? 8
                                                                                : 0;
        const char *host = path + scheme;
        for (path = host; path < end && *path != '/' && *path != '?'; path++) {
        }
        if (scheme == 0) {
            target.detail = "the request target is neither a path nor an http URI";
        } else if (path == host || !host_sound(slice_of(host, (size_t)(path - host)))) {
            target.detail = "the host of the request target is malformed"; /* also userinfo */
        }
    }
    const char *question = memchr(path, '?', (size_t)(end - path));
    const char *path_end = question == NULL ? end : question;
    target.path = slice_of(path, (size_t)(path_end - path));
    if (question != NULL) {
        target.query = slice_of(question + 1, (size_t)(end - question - 1));
    }
    if (target.path.len == 0) { /* RFC 9112, 3.2.4: "http://host" alone */
        target.path = is_options && question == NULL ? SLICE_LIT("*") : SLICE_LIT("/");
    }
    return target;
}

static enum parser_result judge_framing(struct parser *parser, const char *base)
{
    const llhttp_t *llhttp = &parser->llhttp;
    struct slice coding = span_slice(base, parser->kept[HEADER_TRANSFER_ENCODING]);
    if (parser->coding_count > 0) {
        size_t at = parser->kept[HEADER_TRANSFER_ENCODING].at;
        if ((llhttp->flags & F_CONTENT_LENGTH) != 0) {
            /* RFC 9112, 6.3: possibly an attempt at smuggling. */
            return fault(parser, 400, "both Transfer-Encoding and Content-Length", at);
        }
        if (llhttp->http_minor == 0) {
            return fault(parser, 400, "HTTP/1.0 has no Transfer-Encoding", at); /* 6.1 */
        }
        if (parser->coding_count > 1 || coding.len != 7 ||
            strncasecmp(coding.ptr, "chunked", 7) != 0 || (llhttp->flags & F_CHUNKED) == 0) {
            return fault(parser, 501, "the only transfer coding known here is chunked", at);
        }
        parser->phase = PARSER_CHUNKED;
        return PARSER_HEAD_END;
    }
    parser->content_length = (llhttp->flags & F_CONTENT_LENGTH) != 0 ? llhttp->content_length : 0;
    parser->phase = PARSER_LENGTH;
    return PARSER_HEAD_END;
}

/* What the grammar leaves to the server, once the head is whole. */
static enum parser_result judge_head(struct parser *parser, const char *base)
{
    llhttp_t *llhttp = &parser->llhttp;
    if (llhttp_get_http_major(llhttp) != 1) {
        return fault(parser, 505, version_detail, 0);
    }
    line_end(parser, parser->head_bytes - 2);
    if (memcmp(base + parser->head_bytes - 2, "\r\n", 2) != 0) {
        note_fault(parser, "the head does not end in CRLF", parser->head_bytes - 2);
    }
    if (parser->status != 0) {
        return fault(parser, parser->status, parser->detail, parser->fault_at);
    }
    if (llhttp_get_method(llhttp) == HTTP_CONNECT) {
        return fault(parser, 501, "CONNECT is not supported", 0);
    }
    /* RFC 9112, 3.2: exactly one Host in HTTP/1.1, never two. */
    if (parser->host_count > 1 || (parser->host_count == 0 && llhttp->http_minor > 0)) {
        return fault(parser, 400,
                     parser->host_count > 1 ? "more than one Host" : "the Host header is missing",
                     0);
    }
    if (!host_sound(span_slice(base, parser->kept[HEADER_HOST]))) {
        return fault(parser, 400, "the Host header is malformed", parser->kept[HEADER_HOST].at);
    }
    struct target target =
        target_split(span_slice(base, parser->target), llhttp_get_method(llhttp) == LLHTTP_OPTIONS);
    if (target.detail != NULL) {
        return fault(parser, 400, target.detail, parser->target.at);
    }
    struct slice expect = span_slice(base, parser->kept[HEADER_EXPECT]);
    if (expect.ptr != NULL && llhttp->http_minor > 0 &&
        (expect.len != 12 || strncasecmp(expect.ptr, "100-continue", 12) != 0)) {
        return fault(parser, 417, "the only expectation known here is 100-continue",
                     parser->kept[HEADER_EXPECT].at); /* RFC 9110, 10.1.1 */
    }
    parser->keep_alive = !parser->said_close && (llhttp->http_minor > 0 || parser->said_keep_alive);
    return judge_framing(parser, base);
}

void parser_start(struct parser *parser, const struct parser_names *names, uint32_t head_bytes_max)
{
    memset(parser, 0, offsetof(struct parser, joined));
    parser->names = names;
    parser->head_bytes_max = head_bytes_max;
    parser->phase = PARSER_HEAD;
    llhttp_init(&parser->llhttp, HTTP_REQUEST, &settings);
}

enum parser_result parser_head(struct parser *parser, const char *base, size_t len)
{
    ASSERT(parser->phase == PARSER_HEAD);
    ASSERT(len >= parser->fed);
    size_t until = len < parser->head_bytes_max ? len : parser->head_bytes_max;
    parser->base = base;
    llhttp_errno_t verdict =
        llhttp_execute(&parser->llhttp, base + parser->fed, until - parser->fed);
    if (verdict == HPE_OK) {
        parser->fed = (uint32_t)until;
        if (until < parser->head_bytes_max) {
            return PARSER_MORE;
        }
        return memchr(base, '\n', until) == NULL
                   ? fault(parser, 414, "the request line is too long", until)
                   : fault(parser, 431, "the request's headers are too large", until);
    }
    const char *stopped = llhttp_get_error_pos(&parser->llhttp);
    if (verdict != HPE_PAUSED) {
        return llhttp_fault(parser, verdict, until);
    }
    /* llhttp pauses before or after the last LF, by version. */
    size_t end = (size_t)(stopped - base);
    if (end < until && base[end] == '\n' && base[end - 1] == '\r') {
        end++;
    }
    parser->head_bytes = (uint32_t)end;
    return judge_head(parser, base);
}

enum parser_result parser_body_limit(struct parser *parser, uint32_t body_bytes_max)
{
    parser->body_bytes_max = body_bytes_max;
    if (parser->phase == PARSER_CHUNKED) {
        llhttp_resume(&parser->llhttp);
        return PARSER_MORE;
    }
    ASSERT(parser->phase == PARSER_LENGTH);
    if (parser->content_length > body_bytes_max) {
        return fault(parser, 413, "the request's body is too large", parser->head_bytes);
    }
    return PARSER_MORE;
}

/* Keeps the last four raw bytes.  Cutting out the framing never moves a byte beyond its old place,
 * so what follows the last data byte is still there. */
static void tail_update(struct parser *parser, const char *raw, size_t len)
{
    for (size_t i = len > 4 ? len - 4 : 0; i < len; i++) {
        parser->tail = parser->tail << 8 | (unsigned char)raw[i];
    }
}

static enum parser_result body_chunked(struct parser *parser, char *base, size_t *len, size_t *used)
{
    size_t at = (size_t)parser->head_bytes + parser->body_bytes;
    ASSERT(at <= *len);
    parser->base = base;
    parser->body_write = base + at;
    llhttp_errno_t verdict = llhttp_execute(&parser->llhttp, base + at, *len - at);
    if (verdict == HPE_OK) {
        tail_update(parser, base + at, *len - at);
        *len = (size_t)parser->head_bytes + parser->body_bytes;
        return PARSER_MORE;
    }
    if (verdict != HPE_PAUSED && verdict != HPE_PAUSED_UPGRADE) {
        return llhttp_fault(parser, verdict, *len);
    }
    /* An Upgrade header is ignored (RFC 9110, 7.8): the pause for it means complete, no more. */
    *used = (size_t)(llhttp_get_error_pos(&parser->llhttp) - base);
    ASSERT(at <= *used && *used <= *len);
    tail_update(parser, base + at, *used - at);
    if (parser->tail != 0x0d0a0d0a) {
        return fault(parser, 400, "the chunked body does not end in an empty line", 0);
    }
    parser->phase = PARSER_WHOLE;
    return PARSER_COMPLETE;
}

enum parser_result parser_body(struct parser *parser, char *base, size_t *len, size_t *used)
{
    if (parser->phase == PARSER_CHUNKED) {
        return body_chunked(parser, base, len, used);
    }
    ASSERT(parser->phase == PARSER_LENGTH);
    if (*len - parser->head_bytes < parser->content_length) {
        return PARSER_MORE;
    }
    parser->body_bytes = (uint32_t)parser->content_length;
    parser->phase = PARSER_WHOLE;
    *used = (size_t)parser->head_bytes + parser->body_bytes;
    return PARSER_COMPLETE;
}

size_t parser_bytes_needed(const struct parser *parser)
{
    switch ((enum parser_phase)parser->phase) {
    case PARSER_HEAD:
        return parser->head_bytes_max;
    case PARSER_LENGTH:
        return parser->head_bytes + (size_t)parser->content_length;
    case PARSER_CHUNKED:
        return (size_t)parser->head_bytes + parser->body_bytes + 1;
    case PARSER_WHOLE:
    case PARSER_FAULTY:
        break;
    }
    return 0;
}

bool parser_expects_continue(const struct parser *parser)
{
    return parser->kept[HEADER_EXPECT].at != 0 && parser->llhttp.http_minor > 0;
}

static enum http_method method_of(uint8_t method)
{
    switch (method) {
    case LLHTTP_GET:
        return HTTP_GET;
    case LLHTTP_HEAD:
        return HTTP_HEAD;
    case LLHTTP_POST:
        return HTTP_POST;
    case LLHTTP_PUT:
        return HTTP_PUT;
    case LLHTTP_DELETE:
        return HTTP_DELETE;
    case LLHTTP_OPTIONS:
        return HTTP_OPTIONS;
    default:
        return HTTP_OTHER;
    }
}

void parser_request(const struct parser *parser, const char *base, struct http_request *request)
{
    ASSERT(parser->head_bytes > 0);
    const struct parser_span *kept = parser->kept;
    request->method = method_of(parser->llhttp.method);
    struct target target =
        target_split(span_slice(base, parser->target), request->method == HTTP_OPTIONS);
    request->path = target.path;
    request->query = target.query;
    request->authorization = span_slice(base, kept[HEADER_AUTHORIZATION]);
    request->content_type = span_slice(base, kept[HEADER_CONTENT_TYPE]);
    request->referer = span_slice(base, kept[HEADER_REFERER]);
    request->origin = span_slice(base, kept[HEADER_ORIGIN]);
    request->accept = span_slice(base, kept[HEADER_ACCEPT]);
    request->forwarded_for = parser->joined_bytes > 0
                                 ? slice_of(parser->joined, parser->joined_bytes)
                                 : span_slice(base, kept[HEADER_FORWARDED_FOR]);
    for (unsigned i = 0; i < HTTP_WATCHED_MAX; i++) {
        request->watched[i] = span_slice(base, kept[HEADER_WATCHED + i]);
    }
    request->body = slice_of(base + parser->head_bytes, parser->body_bytes);
}
