/* cors.c -- origins that may call, and what browsers are told. */
#include "api/cors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"

#define VARY    "Vary: Origin\r\n"
#define BETWEEN ", \t" /* origins in the list */

struct origin {
    struct slice front, back; /* back empty: front is all of it; else one label stands between */
    bool wild;
    size_t lines_len; /* not wild: the lines of its answers */
    char lines[CORS_ROOM_BYTES];
};

struct cors {
    bool any;
    uint32_t count;
    struct origin origins[CORS_ORIGINS_MAX];
    char preflight[CORS_PREFLIGHT_BYTES];
    char text[]; /* what the slices point into */
};

static bool is_lower(char byte)
{
    return byte >= 'a' && byte <= 'z';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Browsers take underscores too. */
static bool is_label_byte(char byte)
{
    return is_lower(byte) || is_digit(byte) || byte == '-' || byte == '_';
}

/* ---- reading an origin: each step moves on, and says what is wrong, or NULL ---- */

struct reader {
    struct slice text;
    size_t at;
    struct slice scheme;
    bool wild;
};

static bool reader_more(const struct reader *reader)
{
    return reader->at < reader->text.len;
}

static const char *read_scheme(struct reader *reader)
{
    const char *ptr = reader->text.ptr;
    while (reader_more(reader) && (is_lower(ptr[reader->at]) || is_digit(ptr[reader->at]) ||
                                   strchr("+-.", ptr[reader->at]) != NULL)) {
        reader->at++;
    }
    reader->scheme = slice_of(ptr, reader->at);
    struct slice rest = slice_of(ptr + reader->at, reader->text.len - reader->at);
    if (reader->at == 0 || !is_lower(ptr[0]) || !slice_has_prefix(rest, SLICE_LIT("://"))) {
        return "it must begin with a scheme in lower case, such as https://";
    }
    reader->at += 3;
    return NULL;
}

/* An IPv6 address in brackets. */
static const char *read_literal(struct reader *reader)
{
    const char *ptr = reader->text.ptr;
    size_t start = ++reader->at;
    while (reader_more(reader) &&
           (is_digit(ptr[reader->at]) || ptr[reader->at] == ':' || ptr[reader->at] == '.' ||
            (ptr[reader->at] >= 'a' && ptr[reader->at] <= 'f'))) {
        reader->at++;
    }
    if (reader->at == start || !reader_more(reader) || ptr[reader->at] != ']') {
        return "its IPv6 address is not one in lower case and in brackets";
    }
    reader->at++;
    return NULL;
}

static const char *read_host(struct reader *reader)
{
    const char *ptr = reader->text.ptr;
    struct slice rest = slice_of(ptr + reader->at, reader->text.len - reader->at);
    if (rest.len > 0 && rest.ptr[0] == '[') {
        return read_literal(reader);
    }
    reader->wild = slice_has_prefix(rest, SLICE_LIT("*."));
    reader->at += reader->wild ? 2 : 0;
    for (;;) {
        size_t label = reader->at;
        while (reader_more(reader) && is_label_byte(ptr[reader->at])) {
            reader->at++;
        }
        if (reader->at == label || reader->at - label > 63) {
            return "its host must be names of a-z 0-9 - _ with dots between; "
                   "a * stands only for the whole first one";
        }
        if (!reader_more(reader) || ptr[reader->at] != '.') {
            return NULL;
        }
        reader->at++;
    }
}

static const char *read_port(struct reader *reader)
{
    if (!reader_more(reader) || reader->text.ptr[reader->at] != ':') {
        return NULL;
    }
    const char *digits = reader->text.ptr + ++reader->at;
    uint32_t port = 0;
    size_t len = 0;
    for (; reader_more(reader) && is_digit(digits[len]) && len < 6; len++) {
        port = port * 10 + (uint32_t)(digits[len] - '0');
        reader->at++;
    }
    if (len == 0 || len > 5 || digits[0] == '0' || port > 65535) {
        return "its port must be a number from 1 to 65535";
    }
    if ((port == 443 && slice_equal(reader->scheme, SLICE_LIT("https"))) ||
        (port == 80 && slice_equal(reader->scheme, SLICE_LIT("http")))) {
        return "browsers leave the scheme's own port out, so it would never match";
    }
    return NULL;
}

/* What keeps the text from being an origin, or NULL. */
static const char *origin_fault(struct slice text, bool *wild)
{
    struct reader reader = {.text = text};
    if (text.len > CORS_ORIGIN_BYTES_MAX) {
        return "it is longer than 255 bytes";
    }
    const char *fault = read_scheme(&reader);
    fault = fault == NULL ? read_host(&reader) : fault;
    fault = fault == NULL ? read_port(&reader) : fault;
    if (fault == NULL && reader_more(&reader)) {
        fault = "an origin ends after host and port, in lower case, without a path or a slash";
    }
    *wild = reader.wild;
    return fault;
}

static size_t write_lines(struct slice origin, char room[CORS_ROOM_BYTES])
{
    int len = snprintf(room, CORS_ROOM_BYTES,
                       "Access-Control-Allow-Origin: %.*s\r\n"
                       "Access-Control-Expose-Headers: Retry-After\r\n" VARY,
                       SLICE_ARG(origin));
    ASSERT(len > 0 && len < CORS_ROOM_BYTES);
    return (size_t)len;
}

static bool add_origin(struct cors *cors, struct slice text, char *why, size_t why_bytes)
{
    if (slice_equal(text, SLICE_LIT("*"))) {
        cors->any = true;
        return true;
    }
    bool wild = false;
    const char *fault = origin_fault(text, &wild);
    if (fault != NULL) {
        snprintf(why, why_bytes, "\"%.*s\" is no origin like https://app.example.com: %s",
                 text.len < 80 ? (int)text.len : 80, text.ptr, fault);
        return false;
    }
    if (cors->count == CORS_ORIGINS_MAX) {
        snprintf(why, why_bytes, "holds more than %d origins", CORS_ORIGINS_MAX);
        return false;
    }
    struct origin *origin = &cors->origins[cors->count++];
    origin->wild = wild;
    origin->front = text;
    if (wild) {
        size_t star = (size_t)((const char *)memchr(text.ptr, '*', text.len) - text.ptr);
        origin->front = slice_of(text.ptr, star);
        origin->back = slice_of(text.ptr + star + 1, text.len - star - 1);
    } else {
        origin->lines_len = write_lines(text, origin->lines);
    }
    return true;
}

struct cors *cors_new(const char *origins, int64_t max_age_ms, char *why, size_t why_bytes)
{
    size_t len = strlen(origins);
    struct cors *cors = memory_zalloc(sizeof *cors + len + 1);
    memcpy(cors->text, origins, len + 1);
    snprintf(cors->preflight, sizeof cors->preflight,
             "Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
             "Access-Control-Allow-Headers: Authorization, Content-Type\r\n"
             "Access-Control-Max-Age: %lld\r\n",
             (long long)(max_age_ms / 1000));
    for (char *at = cors->text; *at != '\0';) {
        at += strspn(at, BETWEEN);
        size_t item = strcspn(at, BETWEEN);
        if (item > 0 && !add_origin(cors, slice_of(at, item), why, why_bytes)) {
            free(cors);
            return NULL;
        }
        at += item;
    }
    return cors;
}

void cors_free(struct cors *cors)
{
    free(cors);
}

static bool matches(const struct origin *origin, struct slice text)
{
    if (!origin->wild) {
        return slice_equal(origin->front, text);
    }
    size_t fixed = origin->front.len + origin->back.len;
    if (text.len <= fixed || memcmp(text.ptr, origin->front.ptr, origin->front.len) != 0 ||
        memcmp(text.ptr + text.len - origin->back.len, origin->back.ptr, origin->back.len) != 0) {
        return false;
    }
    const char *label = text.ptr + origin->front.len;
    for (size_t i = 0; i < text.len - fixed; i++) {
        if (!is_label_byte(label[i])) {
            return false;
        }
    }
    return true;
}

/* The one in the list that lets this Origin call, or NULL. */
static const struct origin *find(const struct cors *cors, struct slice text)
{
    for (uint32_t i = 0; text.len <= CORS_ORIGIN_BYTES_MAX && i < cors->count; i++) {
        if (matches(&cors->origins[i], text)) {
            return &cors->origins[i];
        }
    }
    return NULL;
}

struct slice cors_headers(const struct cors *cors, struct slice origin, char room[CORS_ROOM_BYTES])
{
    if (cors->any) {
        return SLICE_LIT("Access-Control-Allow-Origin: *\r\n"
                         "Access-Control-Expose-Headers: Retry-After\r\n");
    }
    const struct origin *listed = find(cors, origin);
    if (listed == NULL) {
        return SLICE_LIT(VARY);
    }
    if (!listed->wild) {
        return slice_of(listed->lines, listed->lines_len);
    }
    return slice_of(room, write_lines(origin, room));
}

struct slice cors_preflight(const struct cors *cors, struct slice origin)
{
    bool may_call = cors->any || find(cors, origin) != NULL;
    return may_call ? slice_str(cors->preflight) : SLICE_EMPTY;
}
