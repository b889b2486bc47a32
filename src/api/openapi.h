/* openapi.h -- the OpenAPI document, built in (src/api/openapi_embed.cmake).  Constant; any thread.
 */
#ifndef NOVABEAT_API_OPENAPI_H
#define NOVABEAT_API_OPENAPI_H

#include <stddef.h>

extern const char *const openapi_text;
extern const size_t openapi_text_bytes;

#endif
