#define _GNU_SOURCE /* memmem */

#include "cli/sim_response.h"

#include <stdint.h>
#include <strings.h>

#define HEAD_BYTES_MAX   16384
#define BODY_BYTES_MAX   (64 << 20)
#define STATUS_BYTES_MIN (sizeof("HTTP/1.1 200") - 1)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number of at most nine digits, the whole slice; -1: it is none. */
static int number(struct slice text)
{
    int value = 0;
    if (text.len == 0 || text.len > 9) {
        return -1;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            return -1;
        }
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value;
}

static bool equal_ignoring_case(struct slice a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.ptr, b, a.len) == 0;
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* One header line; false when the answer cannot be read because of it. */
static bool header(struct slice line, struct sim_response *response, int *length)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (colon == NULL) {
        return false;
    }
    struct slice name = slice_of(line.ptr, (size_t)(colon - line.ptr));
    struct slice value = trim(slice_of(colon + 1, line.len - name.len - 1));
    if (equal_ignoring_case(name, "content-length")) {
        bool first = *length < 0;
        *length = number(value);
        return first && *length >= 0 && *length <= BODY_BYTES_MAX;
    }
    if (equal_ignoring_case(name, "retry-after")) {
        response->retry_after_s = number(value);
    }
    if (equal_ignoring_case(name, "connection")) {
        response->close = equal_ignoring_case(value, "close");
    }
    return !equal_ignoring_case(name, "transfer-encoding");
}

/* The end of the head, after its empty line; NULL: not there yet. */
static const char *head_end(struct slice bytes)
{
    const char *end = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    return end == NULL ? NULL : end + 4;
}

enum sim_response_outcome sim_response_parse(struct slice bytes, struct sim_response *response)
{
    const char *end = head_end(bytes);
    if (end == NULL) {
        return bytes.len > HEAD_BYTES_MAX ? SIM_RESPONSE_WRONG : SIM_RESPONSE_PART;
    }
    *response = (struct sim_response){.retry_after_s = -1};
    const char *line = memmem(bytes.ptr, bytes.len, "\r\n", 2);
    size_t status_len = (size_t)(line - bytes.ptr);
    if (status_len < STATUS_BYTES_MIN || memcmp(bytes.ptr, "HTTP/1.1 ", 9) != 0) {
        return SIM_RESPONSE_WRONG;
    }
    response->status = number(slice_of(bytes.ptr + 9, 3));
    if (response->status < 200) {
        return SIM_RESPONSE_WRONG; /* nothing was sent that an interim answer could be to */
    }
    int length = -1;
    for (line += 2; line + 2 < end;) {
        const char *next = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!header(slice_of(line, (size_t)(next - line)), response, &length)) {
            return SIM_RESPONSE_WRONG;
        }
        line = next + 2;
    }
    bool bodiless = response->status == 204 || response->status == 304;
    if (length < 0 && !bodiless) {
        return SIM_RESPONSE_WRONG;
    }
    size_t body_len = bodiless ? 0 : (size_t)length;
    size_t there = bytes.len - (size_t)(end - bytes.ptr);
    if (there > body_len) {
        return SIM_RESPONSE_WRONG;
    }
    response->body = slice_of(end, body_len);
    return there == body_len ? SIM_RESPONSE_WHOLE : SIM_RESPONSE_PART;
}

int64_t sim_response_interval_ms(struct slice body)
{
    static const char key[] = "\"intervalMs\":";
    const char *at = memmem(body.ptr, body.len, key, sizeof(key) - 1), *end = body.ptr + body.len;
    if (at == NULL) {
        return 0;
    }
    int64_t value = 0;
    for (at += sizeof(key) - 1; at < end && *at >= '0' && *at <= '9'; at++) {
        value = value > INT32_MAX ? value : value * 10 + (*at - '0');
    }
    return value;
}
