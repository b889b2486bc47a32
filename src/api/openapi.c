/* openapi.c -- GET /openapi.json: docs/openapi.json as the build found it, with the version. */
#include "api/openapi.h"

#include "api/internal.h"

void openapi_get(struct call *call)
{
    /* It changes only with the program; but a cache must not show the last version's for long. */
    const struct http_response response = {
        .status = 200,
        .content_type = "application/json",
        .headers = SLICE_LIT("Cache-Control: no-cache\r\n"),
        .body = slice_of(openapi_text, openapi_text_bytes),
    };
    http_respond(call->exchange, &response);
}
