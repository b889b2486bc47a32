/* response.h -- the bytes of an answer.
 *
 * Builds status line and headers into a caller's buffer; the caller sends it with the body.  The
 * Date header's text is made once a second by whoever owns the clock (response_date).
 * Memory: none.  Threads: pure.
 * Sources: RFC 9110 (5.6.7 dates, 6.6.1 Date, 8.6 Content-Length), RFC 9112 (9.3, 9.6), RFC 9457.
 */
#ifndef NOVABEAT_HTTP_RESPONSE_H
#define NOVABEAT_HTTP_RESPONSE_H

#include "base/buffer.h"
#include "http/http.h"

/* "Date: Tue, 24 Nov 2026 03:00:00 GMT\r\n" */
#define RESPONSE_DATE_BYTES 37
/* Room for everything in a head but content_type and the two lots of further lines. */
#define RESPONSE_HEAD_BYTES 256
/* Longer texts of a problem are cut; escaped, each byte takes at most six. */
#define PROBLEM_TEXT_BYTES_MAX 1000
#define PROBLEM_BYTES_MAX      (2 * 6 * PROBLEM_TEXT_BYTES_MAX + 512)

/* Where the body ends. */
enum response_end {
    RESPONSE_LENGTH,  /* Content-Length says it */
    RESPONSE_CHUNKED, /* the last chunk does */
    RESPONSE_CLOSE    /* the connection's end does: HTTP/1.0 */
};

struct response_frame {
    const char *date; /* RESPONSE_DATE_BYTES, not NUL-terminated */
    bool is_head;     /* the request was HEAD: announce the body, do not send it */
    bool is_old;      /* the request was HTTP/1.0: keeping the connection must be said */
    bool close;
    enum response_end end; /* but RESPONSE_LENGTH: the response's body is not looked at */
    struct slice headers;  /* further lines, of the exchange */
};

/* Seconds since the epoch -> the whole header line. */
void response_date(int64_t unix_seconds, char line[RESPONSE_DATE_BYTES]);

/* Upper bound of what response_head writes for this answer. */
size_t response_head_bytes_max(const struct http_response *response,
                               const struct response_frame *frame);

/* Writes the head; the result is its length.  *body gets what is to be sent after it. */
size_t response_head(const struct http_response *response, const struct response_frame *frame,
                     char *buffer, struct slice *body);

/* "Not Found"; "Status" for one we have no words for.  Static. */
const char *response_reason(int status);

/* The JSON of an RFC 9457 problem.  field NULL: none; detail NULL: none.  `buffer` is empty, with
 * room for PROBLEM_BYTES_MAX. */
void problem_write(struct buffer *buffer, int status, const char *field, const char *detail);

#endif
