/* fuzz_http.c -- any bytes, as requests: never a crash, no byte read beyond those received, and the
 * same outcome however they are split (the first byte says how). */
#include <stdio.h>
#include <stdlib.h>

#include "../unit/http/drive.h"
#include "http/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct parser_names names;
static struct router *router;
static struct drive whole, split;

static void set_up(void)
{
    static const char *const watched[HTTP_WATCHED_MAX + 1] = {"CF-IPCountry"};
    static const struct route routes[] = {{HTTP_POST, "/e/{event}/heartbeat", 1},
                                          {HTTP_GET, "/e/{event}/{viewer}", 2}};
    ASSERT(parser_names_init(&names, watched));
    router = router_new(routes, 2);
    ASSERT(router != NULL);
}

/* The same bytes as a path and as a query. */
static void decode(struct slice text)
{
    static char bytes[2 * DRIVE_BYTES];
    struct scratch scratch = {bytes, sizeof bytes, 0};
    struct route_match match;
    enum route_outcome outcome = router_match(router, HTTP_GET, text, &scratch, &match);
    ASSERT(outcome != ROUTE_FOUND || match.count > 0);
    struct slice name, value;
    while (query_next(&text, &scratch, &name, &value) != QUERY_END) {
        ASSERT(scratch.used <= scratch.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (router == NULL) {
        set_up();
    }
    if (size < 2 || size > 20000) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    drive_run(&whole, &names, text, len, 0, len);
    drive_run(&split, &names, text, len, data[0] / 2, 1 + data[0] % 64);
    if (strcmp(whole.text, split.text) != 0) {
        fprintf(stderr, "whole:\n%s\nsplit:\n%s\n", whole.text, split.text);
        abort();
    }
    decode(slice_of(text, len));
    return 0;
}
