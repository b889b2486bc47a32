/* router.c -- the tree of path segments. */
#include "http/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define METHODS (HTTP_OTHER + 1)

/* A node is one segment of one or more patterns; its literal children form a list of siblings.
 * Few siblings each (the API has at most a dozen), so a list beats a hash. */
struct node {
    struct slice text;
    struct node *sibling, *literals, *parameter;
    const struct route *routes[METHODS];
    unsigned allowed;
};

struct router {
    size_t count;
    struct node root;
    struct node nodes[]; /* as many as the patterns have segments; `count` in use */
};

/* Takes the first segment off *rest, which starts with '/'. */
static struct slice segment_next(struct slice *rest)
{
    ASSERT(rest->len > 0 && rest->ptr[0] == '/');
    const char *begin = rest->ptr + 1;
    const char *slash = memchr(begin, '/', rest->len - 1);
    const char *end = slash == NULL ? rest->ptr + rest->len : slash;
    *rest = slice_of(end, (size_t)(rest->ptr + rest->len - end));
    return slice_of(begin, (size_t)(end - begin));
}

static bool is_parameter(struct slice segment)
{
    return segment.len > 2 && segment.ptr[0] == '{' && segment.ptr[segment.len - 1] == '}';
}

static struct node *child_for(struct router *router, struct node *parent, struct slice segment)
{
    struct node **link = is_parameter(segment) ? &parent->parameter : &parent->literals;
    while (*link != NULL && !is_parameter(segment) && !slice_equal((*link)->text, segment)) {
        link = &(*link)->sibling;
    }
    if (*link == NULL) {
        *link = &router->nodes[router->count++];
        (*link)->text = segment;
    }
    return *link;
}

static void add_route(struct router *router, const struct route *route)
{
    struct slice rest = slice_str(route->pattern);
    struct node *node = &router->root;
    unsigned segments = 0, parameters = 0;
    ASSERT(route->method < HTTP_OTHER);
    while (rest.len > 0) {
        struct slice segment = segment_next(&rest);
        ASSERT(segment.len > 0 || (segments == 0 && rest.len == 0)); /* "/" alone */
        parameters += is_parameter(segment);
        node = child_for(router, node, segment);
        segments++;
    }
    ASSERT(segments > 0 && segments <= ROUTE_SEGMENTS_MAX && parameters <= ROUTE_PARAMETERS_MAX);
    ASSERT(node->routes[route->method] == NULL);
    node->routes[route->method] = route;
    node->allowed |= 1u << route->method;
}

struct router *router_new(const struct route *routes, size_t count)
{
    size_t segments = 0;
    for (size_t i = 0; i < count; i++) {
        for (const char *at = routes[i].pattern; *at != '\0'; at++) {
            segments += *at == '/';
        }
    }
    struct router *router = calloc(1, sizeof *router + segments * sizeof router->nodes[0]);
    if (router == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        add_route(router, &routes[i]);
    }
    ASSERT(router->count <= segments);
    return router;
}

void router_free(struct router *router)
{
    free(router);
}

/* ---- matching ---- */

struct search {
    enum http_method method;
    struct slice values[ROUTE_PARAMETERS_MAX];
    unsigned count;
    unsigned allowed;
};

/* Depth first, literal before parameter; the depth is that of the tree, whatever the path. */
static const struct route *find(const struct node *node, struct slice rest, struct search *search)
{
    if (rest.len == 0) {
        search->allowed |= node->allowed;
        return node->routes[search->method];
    }
    struct slice segment = segment_next(&rest);
    for (const struct node *child = node->literals; child != NULL; child = child->sibling) {
        if (slice_equal(child->text, segment)) {
            const struct route *route = find(child, rest, search);
            if (route != NULL) {
                return route;
            }
            break;
        }
    }
    if (node->parameter == NULL || segment.len == 0) {
        return NULL;
    }
    search->values[search->count++] = segment;
    const struct route *route = find(node->parameter, rest, search);
    if (route == NULL) {
        search->count--;
    }
    return route;
}

/* The name of the index-th parameter, for the answer that it is malformed. */
static struct slice parameter_name(const char *pattern, unsigned index)
{
    struct slice rest = slice_str(pattern);
    while (rest.len > 0) {
        struct slice segment = segment_next(&rest);
        if (is_parameter(segment) && index-- == 0) {
            return slice_of(segment.ptr + 1, segment.len - 2);
        }
    }
    return SLICE_EMPTY;
}

enum route_outcome router_match(const struct router *router, enum http_method method,
                                struct slice path, struct scratch *scratch,
                                struct route_match *match)
{
    struct search search = {.method = method == HTTP_HEAD ? HTTP_GET : method};
    if (path.len == 0 || path.ptr[0] != '/') {
        match->allowed = 0;
        return ROUTE_NO_PATH; /* "*" */
    }
    const struct route *route = find(&router->root, path, &search);
    match->allowed = search.allowed;
    if (route == NULL) {
        return search.allowed == 0 ? ROUTE_NO_PATH : ROUTE_NO_METHOD;
    }
    match->id = route->id;
    match->count = search.count;
    for (unsigned i = 0; i < search.count; i++) {
        match->values[i] = search.values[i];
        if (!percent_decode(&match->values[i], false, scratch)) {
            match->bad = parameter_name(route->pattern, i);
            return ROUTE_BAD_PARAMETER;
        }
    }
    return ROUTE_FOUND;
}

struct slice router_allow(unsigned allowed, char buffer[ROUTE_ALLOW_BYTES])
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};
    static_assert(sizeof "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n" <= ROUTE_ALLOW_BYTES,
                  "all methods fit");
    if ((allowed & 1u << HTTP_GET) != 0) {
        allowed |= 1u << HTTP_HEAD;
    }
    size_t len = 0;
    const char *before = "Allow: ";
    for (unsigned method = 0; method < HTTP_OTHER; method++) {
        if ((allowed & 1u << method) != 0) {
            len += strlen(strcpy(buffer + len, before));
            len += strlen(strcpy(buffer + len, names[method]));
            before = ", ";
        }
    }
    if (len == 0) {
        len = strlen(strcpy(buffer, before)); /* RFC 9110, 10.2.1: an empty list is a statement */
    }
    len += strlen(strcpy(buffer + len, "\r\n"));
    return slice_of(buffer, len);
}

/* ---- decoding ---- */

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool percent_decode(struct slice *text, bool plus_is_space, struct scratch *scratch)
{
    if (text->len == 0 || (memchr(text->ptr, '%', text->len) == NULL &&
                           (!plus_is_space || memchr(text->ptr, '+', text->len) == NULL))) {
        return true;
    }
    if (text->len > scratch->size - scratch->used) {
        return false;
    }
    char *out = scratch->bytes + scratch->used;
    size_t len = 0;
    for (size_t i = 0; i < text->len; i++) {
        char c = text->ptr[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < text->len ? hex_value(text->ptr[i + 1]) : -1;
            int low = i + 2 < text->len ? hex_value(text->ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || (high == 0 && low == 0)) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[len++] = c;
    }
    scratch->used += len;
    *text = slice_of(out, len);
    return true;
}

enum query_outcome query_next(struct slice *rest, struct scratch *scratch, struct slice *name,
                              struct slice *value)
{
    while (rest->len > 0 && rest->ptr[0] == '&') {
        *rest = slice_of(rest->ptr + 1, rest->len - 1);
    }
    if (rest->len == 0) {
        return QUERY_END;
    }
    const char *end = memchr(rest->ptr, '&', rest->len);
    struct slice pair = slice_of(rest->ptr, end == NULL ? rest->len : (size_t)(end - rest->ptr));
    *rest = slice_of(pair.ptr + pair.len, rest->len - pair.len);
    const char *equals = memchr(pair.ptr, '=', pair.len);
    size_t name_len = equals == NULL ? pair.len : (size_t)(equals - pair.ptr);
    struct slice raw = slice_of(pair.ptr, name_len);
    *name = raw;
    *value = equals == NULL ? SLICE_EMPTY : slice_of(equals + 1, pair.len - name_len - 1);
    if (!percent_decode(name, true, scratch) || !percent_decode(value, true, scratch)) {
        *name = raw;
        return QUERY_BAD;
    }
    return QUERY_PAIR;
}
