/* router.h -- from method and path to a route, and the small decoders that go with it.
 *
 * A table of routes, each a method and a pattern of segments: literal ones, and parameters in
 * braces ("/analytics/events/{event}/heartbeat").  The table becomes a tree of segments at start.
 * Matching walks it on the raw path: literal segments match byte for byte (no percent-decoding, so
 * each resource has one spelling); a parameter takes any non-empty segment.  Where both fit, the
 * literal wins, unless only the parameter's route has the method.
 * A HEAD request finds the GET route.
 *
 * Memory: router_new allocates; matching does not: values are slices of the path, or of the
 * caller's scratch where they had to be decoded.  Threads: a router does not change; share it.
 * Cost: about one comparison per segment; patterns are at most ROUTE_SEGMENTS_MAX deep.
 * Sources: RFC 3986, 2.1 (percent-encoding); RFC 9110, 15.5.6 (405 and Allow); the URL Standard's
 * application/x-www-form-urlencoded for queries. */
#ifndef NOVABEAT_HTTP_ROUTER_H
#define NOVABEAT_HTTP_ROUTER_H

#include "http/http.h"

#define ROUTE_SEGMENTS_MAX   16
#define ROUTE_PARAMETERS_MAX 4

struct route {
    enum http_method method;
    const char *pattern; /* borrowed for the router's life */
    int id;
};

/* Where decoded text goes.  As many bytes as the path and query have are always enough. */
struct scratch {
    char *bytes;
    size_t size, used;
};

enum route_outcome {
    ROUTE_FOUND,
    ROUTE_NO_PATH,      /* 404 */
    ROUTE_NO_METHOD,    /* 405: the path exists; see `allowed` */
    ROUTE_BAD_PARAMETER /* 400: `bad` names the parameter whose percent-encoding is wrong */
};

struct route_match {
    int id;
    unsigned count;
    struct slice values[ROUTE_PARAMETERS_MAX]; /* decoded, in the pattern's order */
    unsigned allowed;                          /* bits 1 << enum http_method */
    struct slice bad;                          /* the parameter's name */
};

struct router;

/* A bad pattern, too many parameters, or the same method and pattern twice is a bug (ASSERT).  NULL
 * when memory ran out. */
struct router *router_new(const struct route *routes, size_t count) WARN_UNUSED;
void router_free(struct router *router);

enum route_outcome router_match(const struct router *router, enum http_method method,
                                struct slice path, struct scratch *scratch,
                                struct route_match *match);

/* "Allow: GET, HEAD, OPTIONS\r\n" for a 405 or an OPTIONS answer. */
#define ROUTE_ALLOW_BYTES 64
struct slice router_allow(unsigned allowed, char buffer[ROUTE_ALLOW_BYTES]);

/* Percent-decodes.  *text is left alone when there is nothing to decode; else it points into the
 * scratch.  False when "%" is not followed by two hex digits, on %00, or when the scratch is full.
 * A decoded "/" is data. */
bool percent_decode(struct slice *text, bool plus_is_space, struct scratch *scratch) WARN_UNUSED;

enum query_outcome { QUERY_END, QUERY_PAIR, QUERY_BAD };

/* The next name and value of a query ("a=1&b=%20x+y"), decoded; empty pairs are passed over.  On
 * QUERY_BAD, *name holds the raw name of the pair whose encoding is wrong. */
enum query_outcome query_next(struct slice *rest, struct scratch *scratch, struct slice *name,
                              struct slice *value);

#endif
