/* drive.h -- feeds bytes to the parser as a connection would, in pieces of a given size, and writes
 * down what came out, so that two ways of splitting can be compared as text. */
#ifndef NOVABEAT_TESTS_DRIVE_H
#define NOVABEAT_TESTS_DRIVE_H

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "http/parser.h"

#define DRIVE_BYTES    65536
#define DRIVE_HEAD_MAX 8192
#define DRIVE_BODY_MAX 20000

struct drive {
    unsigned requests;
    int fault;          /* status, or 0 */
    const char *detail; /* of the fault */
    bool closed;        /* the last request was its connection's last */
    char text[DRIVE_BYTES * 2];
};

/* A buffer that ends at a page which may not be touched: reading too far is a crash. */
static inline char *drive_guarded(void)
{
    static char *region;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (region == NULL) {
        region = mmap(NULL, DRIVE_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
        ASSERT(region != MAP_FAILED && DRIVE_BYTES % page == 0);
        int failed = mprotect(region + DRIVE_BYTES, page, PROT_NONE);
        ASSERT(failed == 0);
    }
    return region + DRIVE_BYTES;
}

static inline void drive_note(struct drive *drive, const struct parser *parser, const char *base)
{
    struct http_request request;
    parser_request(parser, base, &request);
    size_t len = strlen(drive->text);
    const struct slice shown[] = {
        request.path,       request.query,      request.authorization, request.content_type,
        request.referer,    request.origin,     request.accept,        request.forwarded_for,
        request.watched[0], request.watched[1], request.body};
    len += (size_t)snprintf(drive->text + len, sizeof drive->text - len, "%d%s",
                            (int)request.method, parser->keep_alive ? "" : " last");
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        len += (size_t)snprintf(drive->text + len, sizeof drive->text - len, "|%.*s",
                                SLICE_ARG(shown[i]));
    }
    snprintf(drive->text + len, sizeof drive->text - len, "\n");
    drive->requests++;
    drive->closed = !parser->keep_alive;
}

/* One request out of base..base+*len.  The number of its bytes, or 0 when it is incomplete or
 * wrong. */
static inline size_t drive_step(struct drive *drive, struct parser *parser, char *base, size_t *len)
{
    size_t used = 0;
    enum parser_result result = PARSER_MORE;
    if (parser->phase == PARSER_HEAD) {
        result = parser_head(parser, base, *len);
        if (result == PARSER_HEAD_END) {
            result = parser_body_limit(parser, DRIVE_BODY_MAX);
        }
    }
    if (result == PARSER_MORE && parser->phase != PARSER_HEAD) {
        result = parser_body(parser, base, len, &used);
    }
    if (result == PARSER_FAULT) {
        size_t at = strlen(drive->text);
        drive->fault = parser->status;
        drive->detail = parser->detail;
        snprintf(drive->text + at, sizeof drive->text - at, "fault %d %s\n", parser->status,
                 parser->detail);
    }
    if (result == PARSER_COMPLETE) {
        drive_note(drive, parser, base);
    }
    return used;
}

/* `piece` bytes at a time; the first piece of `first` bytes, if that is not 0. */
static inline void drive_run(struct drive *drive, const struct parser_names *names,
                             const char *bytes, size_t bytes_len, size_t first, size_t piece)
{
    ASSERT(bytes_len < DRIVE_BYTES);
    struct parser parser;
    char *end = drive_guarded(), *base = end;
    memset(drive, 0, offsetof(struct drive, text) + 1);
    bool started = false;
    size_t fed = 0, len = 0; /* base..base+len: bytes not yet used */
    while (fed < bytes_len && drive->fault == 0 && !drive->closed) {
        size_t more = fed == 0 && first > 0 ? first : piece;
        more = more < bytes_len - fed ? more : bytes_len - fed;
        memmove(end - len - more, base, len); /* always up to the guard page: so it also moves */
        base = end - len - more;
        memcpy(base + len, bytes + fed, more);
        len += more;
        fed += more;
        while (drive->fault == 0 && !drive->closed) {
            while (!started && len >= 2 && memcmp(base, "\r\n", 2) == 0) {
                base += 2;
                len -= 2;
            }
            if (!started && (len == 0 || (len == 1 && *base == '\r'))) {
                break;
            }
            if (!started) {
                parser_start(&parser, names, DRIVE_HEAD_MAX);
                started = true;
            }
            size_t used = drive_step(drive, &parser, base, &len);
            if (used == 0) {
                break;
            }
            base += used;
            len -= used;
            started = false;
        }
    }
}

#endif
