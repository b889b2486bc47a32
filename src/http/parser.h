/* parser.h -- from bytes to a request: llhttp finds the parts, this glue judges them.
 *
 * llhttp (strict, no lenient flag) reads a request's head; this file then checks what the grammar
 * leaves to the server (Host, target, version, framing) and, byte for byte, that nothing but the
 * grammar's separators lies between the parts llhttp found: no folded line, no bare CR or LF
 * survives, whatever the version of llhttp thinks of it.  A body with Content-Length is counted; a
 * chunked one goes through llhttp again and is made contiguous in place.
 *
 * Model: the bytes of one request lie in one buffer from `base` on.  Parts are kept as offsets from
 * there, so that the buffer may move while a request is incomplete; parser_request turns them into
 * slices when it is complete.
 * Memory: none of its own.  Threads: the owner's.  The result does not depend on how the bytes were
 * split into pieces.
 * Sources: RFC 9112 (cited at each rule), RFC 9110.  docs/HTTP.md lists what is refused and why. */
#ifndef NOVABEAT_HTTP_PARSER_H
#define NOVABEAT_HTTP_PARSER_H

#include "http/http.h"

/* llhttp names its methods as http.h does, with other values: renamed while its header is read. */
#define HTTP_DELETE  LLHTTP_DELETE
#define HTTP_GET     LLHTTP_GET
#define HTTP_HEAD    LLHTTP_HEAD
#define HTTP_POST    LLHTTP_POST
#define HTTP_PUT     LLHTTP_PUT
#define HTTP_OPTIONS LLHTTP_OPTIONS
#include <llhttp.h>
#undef HTTP_DELETE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_OPTIONS

/* Headers whose values are kept. */
enum parser_header {
    HEADER_HOST,
    HEADER_AUTHORIZATION,
    HEADER_CONTENT_TYPE,
    HEADER_REFERER,
    HEADER_ORIGIN,
    HEADER_ACCEPT,
    HEADER_FORWARDED_FOR,
    HEADER_EXPECT,
    HEADER_CONNECTION,
    HEADER_TRANSFER_ENCODING,
    HEADER_WATCHED,
    HEADERS_KEPT = HEADER_WATCHED + HTTP_WATCHED_MAX
};

/* The longest header name that can be watched. */
#define PARSER_NAME_BYTES_MAX 63
/* X-Forwarded-For on several lines is joined up to this length; beyond it the last line counts,
 * which is the nearest proxy's. */
#define PARSER_JOINED_BYTES_MAX 512

/* The names to keep, sorted by length: most headers of a request are told apart by that alone. */
struct parser_names {
    struct {
        const char *name;
        uint8_t len;
        uint8_t header; /* enum parser_header */
    } entries[HEADERS_KEPT];
    uint8_t first[PARSER_NAME_BYTES_MAX + 2]; /* entries of length n: first[n] to first[n + 1] */
};

/* Borrows the names in `watched`, NULL-ended when fewer than HTTP_WATCHED_MAX.  False when one is
 * empty or too long. */
bool parser_names_init(struct parser_names *names, const char *const watched[]) WARN_UNUSED;

struct parser_span {
    uint32_t at, len; /* at 0: absent (a request's first byte is its method's) */
};

enum parser_phase { PARSER_HEAD, PARSER_LENGTH, PARSER_CHUNKED, PARSER_WHOLE, PARSER_FAULTY };

struct parser {
    llhttp_t llhttp; /* first: callbacks get from it to us */
    const struct parser_names *names;
    const char *base;   /* only while llhttp runs */
    char *body_write;   /* only while llhttp runs: where the next body byte goes */
    const char *detail; /* of the fault; a static string */
    uint64_t content_length;
    struct parser_span target, field, value, kept[HEADERS_KEPT];
    uint32_t head_bytes_max;
    uint32_t body_bytes_max;
    uint32_t fed;        /* bytes of the head that llhttp has seen */
    uint32_t line_at;    /* where the header line being read began; 0 in the request line */
    uint32_t head_bytes; /* once the head is whole */
    uint32_t body_bytes; /* of a chunked body so far, without its framing */
    uint32_t framing_bytes;
    uint32_t tail;     /* the last four bytes of chunk framing or data that llhttp has seen */
    uint32_t fault_at; /* offset of the fault */
    uint16_t joined_bytes;
    uint16_t status; /* of the fault: 400, 413, … */
    uint8_t phase;   /* enum parser_phase */
    uint8_t host_count, coding_count;
    bool in_value;
    bool said_close, said_keep_alive;
    bool keep_alive; /* once the head is whole */
    char joined[PARSER_JOINED_BYTES_MAX];
};

enum parser_result {
    PARSER_MORE,     /* all bytes were used, and more are needed */
    PARSER_HEAD_END, /* the head is whole: ask for the body's limit, then call parser_body */
    PARSER_COMPLETE, /* head and body are whole */
    PARSER_FAULT     /* answer parser->status and close: where the next request starts is unknown */
};

/* Before the first byte of each request.  `names` must outlive the parser. */
void parser_start(struct parser *parser, const struct parser_names *names, uint32_t head_bytes_max);

/* base..base+len are all the bytes of this request so far.  Never PARSER_COMPLETE. */
enum parser_result parser_head(struct parser *parser, const char *base, size_t len);

/* After PARSER_HEAD_END, once: how large the body may be.  PARSER_FAULT (413) when a larger one was
 * announced; else as parser_body with no bytes. */
enum parser_result parser_body_limit(struct parser *parser, uint32_t body_bytes_max);

/* base..base+*len are all the bytes so far.  Of a chunked body the framing is cut out: *len
 * shrinks, unless the request is complete; then *used is the request's own length in the buffer,
 * and what is behind it belongs to the next.  Never PARSER_HEAD_END. */
enum parser_result parser_body(struct parser *parser, char *base, size_t *len, size_t *used);

/* Bytes from `base` on that are certainly needed to hold the whole request: for the buffer. */
size_t parser_bytes_needed(const struct parser *parser);

/* Did the peer ask to be told to go on (Expect: 100-continue, HTTP/1.1 only)? */
bool parser_expects_continue(const struct parser *parser);

/* Fills in the slices, after PARSER_HEAD_END; the body only after PARSER_COMPLETE.  They borrow
 * from base, and `forwarded_for` perhaps from the parser. */
void parser_request(const struct parser *parser, const char *base, struct http_request *request);

#endif
