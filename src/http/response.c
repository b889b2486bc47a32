/* response.c -- status line, headers, problem documents. */
#include "http/response.h"

#include <string.h>
#include <time.h>

#include "base/assert.h"

#define STATUS_LIST(X)                                                                             \
    X(100, "Continue")                                                                             \
    X(200, "OK")                                                                                   \
    X(201, "Created")                                                                              \
    X(202, "Accepted")                                                                             \
    X(204, "No Content")                                                                           \
    X(206, "Partial Content")                                                                      \
    X(301, "Moved Permanently")                                                                    \
    X(302, "Found")                                                                                \
    X(303, "See Other")                                                                            \
    X(304, "Not Modified")                                                                         \
    X(307, "Temporary Redirect")                                                                   \
    X(308, "Permanent Redirect")                                                                   \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(406, "Not Acceptable")                                                                       \
    X(408, "Request Timeout")                                                                      \
    X(409, "Conflict")                                                                             \
    X(410, "Gone")                                                                                 \
    X(411, "Length Required")                                                                      \
    X(412, "Precondition Failed")                                                                  \
    X(413, "Content Too Large")                                                                    \
    X(414, "URI Too Long")                                                                         \
    X(415, "Unsupported Media Type")                                                               \
    X(416, "Range Not Satisfiable")                                                                \
    X(417, "Expectation Failed")                                                                   \
    X(421, "Misdirected Request")                                                                  \
    X(422, "Unprocessable Content")                                                                \
    X(428, "Precondition Required")                                                                \
    X(429, "Too Many Requests")                                                                    \
    X(431, "Request Header Fields Too Large")                                                      \
    X(500, "Internal Server Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Gateway Timeout")                                                                      \
    X(505, "HTTP Version Not Supported")                                                           \
    X(507, "Insufficient Storage")

static struct slice reason_of(int status)
{
    switch (status) {
#define STATUS_CASE(number, text)                                                                  \
    case number:                                                                                   \
        return SLICE_LIT(text);
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    default:
        return SLICE_LIT("Status");
    }
}

const char *response_reason(int status)
{
    return reason_of(status).ptr;
}

static void two_digits(char *at, int number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

void response_date(int64_t unix_seconds, char line[RESPONSE_DATE_BYTES])
{
    /* Not strftime: its names follow the locale, those of RFC 9110, 5.6.7 do not. */
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)unix_seconds;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    memcpy(line, "Date: Ddd, 00 Mmm 0000 00:00:00 GMT\r\n", RESPONSE_DATE_BYTES);
    memcpy(line + 6, days + (size_t)utc.tm_wday * 3, 3);
    two_digits(line + 11, utc.tm_mday);
    memcpy(line + 14, months + (size_t)utc.tm_mon * 3, 3);
    int year = utc.tm_year + 1900;
    two_digits(line + 18, year / 100 % 100);
    two_digits(line + 20, year % 100);
    two_digits(line + 23, utc.tm_hour);
    two_digits(line + 26, utc.tm_min);
    two_digits(line + 29, utc.tm_sec);
}

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

#define PUT_LIT(at, text) put(at, text, sizeof(text) - 1)

static char *put_number(char *at, uint64_t number)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *at++ = digits[--count];
    }
    return at;
}

size_t response_head_bytes_max(const struct http_response *response,
                               const struct response_frame *frame)
{
    size_t type_bytes = response->content_type == NULL ? 0 : strlen(response->content_type);
    return RESPONSE_HEAD_BYTES + type_bytes + response->headers.len + frame->headers.len;
}

size_t response_head(const struct http_response *response, const struct response_frame *frame,
                     char *buffer, struct slice *body)
{
    ASSERT(response->status >= 200 && response->status <= 599);
    /* RFC 9110, 15.3.5 and 15.4.5: these never have content, nor do they announce any. */
    bool bodyless = response->status == 204 || response->status == 304;
    ASSERT(response->content_type != NULL || response->body.len == 0 ||
           frame->end != RESPONSE_LENGTH);
    char *at = PUT_LIT(buffer, "HTTP/1.1 ");
    at = put_number(at, (uint64_t)response->status);
    *at++ = ' ';
    struct slice reason = reason_of(response->status);
    at = put(at, reason.ptr, reason.len);
    at = PUT_LIT(at, "\r\n");
    at = put(at, frame->date, RESPONSE_DATE_BYTES);
    if (response->content_type != NULL && !bodyless) {
        at = PUT_LIT(at, "Content-Type: ");
        at = put(at, response->content_type, strlen(response->content_type));
        at = PUT_LIT(at, "\r\n");
    }
    ASSERT(!bodyless || frame->end == RESPONSE_LENGTH);
    if (frame->end == RESPONSE_CHUNKED) {
        at = PUT_LIT(at, "Transfer-Encoding: chunked\r\n");
    } else if (frame->end == RESPONSE_LENGTH && !bodyless) {
        at = PUT_LIT(at, "Content-Length: ");
        at = put_number(at, response->body.len);
        at = PUT_LIT(at, "\r\n");
    }
    if (frame->close) {
        at = PUT_LIT(at, "Connection: close\r\n");
    } else if (frame->is_old) {
        at = PUT_LIT(at, "Connection: keep-alive\r\n");
    }
    if (response->headers.len > 0) {
        at = put(at, response->headers.ptr, response->headers.len);
    }
    if (frame->headers.len > 0) {
        at = put(at, frame->headers.ptr, frame->headers.len);
    }
    at = PUT_LIT(at, "\r\n");
    bool sent_with_it = !bodyless && !frame->is_head && frame->end == RESPONSE_LENGTH;
    *body = sent_with_it ? response->body : SLICE_EMPTY;
    return (size_t)(at - buffer);
}

/* ---- problem documents ---- */

static struct slice cut(const char *text)
{
    return slice_of(text, strnlen(text, PROBLEM_TEXT_BYTES_MAX));
}

void problem_write(struct buffer *buffer, int status, const char *field, const char *detail)
{
    buffer_put_lit(buffer, "{\"type\":\"about:blank\",\"title\":");
    buffer_put_json_string(buffer, slice_str(response_reason(status)));
    buffer_put_lit(buffer, ",\"status\":");
    buffer_put_i64(buffer, status);
    if (detail != NULL) {
        buffer_put_lit(buffer, ",\"detail\":");
        buffer_put_json_string(buffer, cut(detail));
    }
    if (field != NULL) {
        buffer_put_lit(buffer, ",\"field\":");
        buffer_put_json_string(buffer, cut(field));
    }
    buffer_put_lit(buffer, "}");
}
