/* cors.c -- origins that may call, and what browsers are told. */
#include "api/cors.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"

#define VARY "Vary: Origin\r\n"

struct origin {
    struct slice front, back; /* back empty: front is all of it; else one label stands between */
    bool wild;
};

struct cors {
    bool any;
    uint32_t count;
    struct origin origins[CORS_ORIGINS_MAX];
    char preflight[CORS_PREFLIGHT_BYTES];
    char text[]; /* of the origins */
};

static bool is_host_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
           byte == '.';
}

/* scheme "://" host [":" port], the host with "*." in front where `wild`; an IPv6 address stands in
 * brackets. */
static bool is_origin(struct slice text, bool *wild)
{
    size_t at = 0;
    while (at < text.len && ((text.ptr[at] >= 'a' && text.ptr[at] <= 'z') ||
                             (at > 0 && strchr("0123456789+-.", text.ptr[at]) != NULL))) {
        at++;
    }
    if (at == 0 || text.len > CORS_ORIGIN_BYTES_MAX || text.len - at < 4 ||
        memcmp(text.ptr + at, "://", 3) != 0) {
        return false;
    }
    at += 3;
    *wild = text.len - at > 2 && text.ptr[at] == '*' && text.ptr[at + 1] == '.';
    at += *wild ? 2 : 0;
    size_t host = at;
    if (at < text.len && text.ptr[at] == '[') {
        while (at < text.len && text.ptr[at] != ']') {
            at++;
        }
        at++;
    } else {
        while (at < text.len && is_host_byte(text.ptr[at])) {
            at++;
        }
    }
    if (at == host || at > text.len) {
        return false;
    }
    if (at < text.len && text.ptr[at] == ':') {
        size_t port = ++at;
        while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') {
            at++;
        }
        if (at == port) {
            return false;
        }
    }
    return at == text.len;
}

static bool add_origin(struct cors *cors, struct slice text, char *why, size_t why_bytes)
{
    if (slice_equal(text, SLICE_LIT("*"))) {
        cors->any = true;
        return true;
    }
    bool wild = false;
    if (!is_origin(text, &wild)) {
        snprintf(why, why_bytes,
                 "\"%.*s\" is no origin; write https://app.example.com, in lower case and without "
                 "a path",
                 text.len < 80 ? (int)text.len : 80, text.ptr);
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
        at += strspn(at, ", ");
        size_t item = strcspn(at, ", ");
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
        if (!is_host_byte(label[i]) || label[i] == '.') {
            return false;
        }
    }
    return true;
}

static bool may_call(const struct cors *cors, struct slice origin)
{
    if (cors->any) {
        return true;
    }
    for (uint32_t i = 0; i < cors->count; i++) {
        if (matches(&cors->origins[i], origin)) {
            return true;
        }
    }
    return false;
}

struct slice cors_headers(const struct cors *cors, struct slice origin, char room[CORS_ROOM_BYTES])
{
    if (cors->any) {
        return SLICE_LIT("Access-Control-Allow-Origin: *\r\n"
                         "Access-Control-Expose-Headers: Retry-After\r\n");
    }
    /* One that matches holds no byte but those of an origin: nothing to inject. */
    if (origin.len > CORS_ORIGIN_BYTES_MAX || !may_call(cors, origin)) {
        return SLICE_LIT(VARY);
    }
    int len = snprintf(room, CORS_ROOM_BYTES,
                       "Access-Control-Allow-Origin: %.*s\r\n"
                       "Access-Control-Expose-Headers: Retry-After\r\n" VARY,
                       (int)origin.len, origin.ptr);
    ASSERT(len > 0 && len < CORS_ROOM_BYTES);
    return slice_of(room, (size_t)len);
}

struct slice cors_preflight(const struct cors *cors, struct slice origin)
{
    return may_call(cors, origin) ? slice_str(cors->preflight) : SLICE_EMPTY;
}
