/* token_parse.c -- the strict reading of a compact JWS. */
#include "identity/token_parse.h"

#include <strings.h>

#include "base/json.h"
#include "base/memory.h"

enum token_algorithm token_algorithm_find(const char *name)
{
    static const char *const names[] = {
#define ALGORITHM_NAME(name, text) text,
        TOKEN_ALGORITHM_LIST(ALGORITHM_NAME)
#undef ALGORITHM_NAME
    };
    unsigned i = 0;
    while (i < ALGORITHM_OTHER && strcmp(names[i], name) != 0) {
        i++;
    }
    return (enum token_algorithm)i;
}

/* ---- base64url ---- */

/* The value of a digit, or 0x80 for what is none. */
static unsigned digit(unsigned char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (byte >= 'a' && byte <= 'z') {
        return byte - 'a' + 26u;
    }
    if (byte >= '0' && byte <= '9') {
        return byte - '0' + 52u;
    }
    return byte == '-' ? 62 : byte == '_' ? 63 : 0x80;
}

bool token_base64url(struct slice text, char *out, size_t *out_len)
{
    const unsigned char *at = (const unsigned char *)text.ptr;
    char *to = out;
    size_t left = text.len;
    for (; left >= 4; left -= 4, at += 4, to += 3) {
        unsigned a = digit(at[0]), b = digit(at[1]), c = digit(at[2]), d = digit(at[3]);
        if ((a | b | c | d) & 0x80) {
            return false;
        }
        unsigned bits = a << 18 | b << 12 | c << 6 | d;
        to[0] = (char)(bits >> 16);
        to[1] = (char)(bits >> 8);
        to[2] = (char)bits;
    }
    if (left == 1) {
        return false; /* six bits are no byte */
    }
    if (left > 0) {
        unsigned a = digit(at[0]), b = digit(at[1]), c = left == 3 ? digit(at[2]) : 0;
        unsigned bits = a << 10 | b << 4 | c >> 2;
        if (((a | b | c) & 0x80) || (left == 2 ? b & 15 : c & 3)) {
            return false;
        }
        *to++ = (char)(bits >> 8);
        if (left == 3) {
            *to++ = (char)bits;
        }
    }
    *out_len = (size_t)(to - out);
    return true;
}

/* ---- JSON ---- */

json_t *token_json(struct slice text, enum token_numbers numbers)
{
    /* Ours first: it bounds the depth, and jansson then only has to find duplicates. */
    if (!json_valid(text, NULL)) {
        return NULL;
    }
    size_t flags = JSON_REJECT_DUPLICATES;
    if (numbers == NUMBERS_REAL) {
        flags |= JSON_DECODE_INT_AS_REAL;
    }
    json_t *json = json_loadb(text.ptr, text.len, flags, NULL);
    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* ---- the parts ---- */

/* RFC 7515, 4.1.9: a media type whose "application/" may be left out; letters' case is no matter.
 */
static bool media_type_is(const char *value, const char *name)
{
    static const char prefix[] = "application/";
    if (strncasecmp(value, prefix, sizeof prefix - 1) == 0) {
        value += sizeof prefix - 1;
    }
    return strcasecmp(value, name) == 0;
}

static bool header_read(struct token_parts *parts)
{
    static const char *const refused[] = {"crit", "b64", "enc", "zip"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (json_object_get(parts->header, refused[i]) != NULL) {
            return false;
        }
    }
    const json_t *alg = json_object_get(parts->header, "alg");
    const json_t *kid = json_object_get(parts->header, "kid");
    const json_t *typ = json_object_get(parts->header, "typ");
    const json_t *cty = json_object_get(parts->header, "cty");
    if (!json_is_string(alg) || (kid != NULL && !json_is_string(kid)) ||
        (typ != NULL && !json_is_string(typ)) || (cty != NULL && !json_is_string(cty))) {
        return false;
    }
    if (cty != NULL && media_type_is(json_string_value(cty), "JWT")) {
        return false; /* a nested one: RFC 7519, 5.2 */
    }
    /* Another kind of token signed with the same key (a logout token, say) is no viewer token: RFC
     * 8725, 3.11 and 3.12. */
    const char *type = json_string_value(typ);
    if (type != NULL && !media_type_is(type, "JWT") && !media_type_is(type, "at+jwt") &&
        !media_type_is(type, "JOSE")) {
        return false;
    }
    parts->algorithm = token_algorithm_find(json_string_value(alg));
    parts->kid = json_string_value(kid);
    return true;
}

enum token_outcome token_parse(struct slice token, struct token_parts *parts)
{
    *parts = (struct token_parts){.text = token, .algorithm = ALGORITHM_OTHER};
    if (token.len == 0) {
        return TOKEN_MALFORMED;
    }
    const char *end = token.ptr + token.len;
    const char *first = memchr(token.ptr, '.', token.len);
    const char *second = first == NULL ? NULL : memchr(first + 1, '.', (size_t)(end - first - 1));
    if (second == NULL) {
        return TOKEN_MALFORMED;
    }
    /* A third dot is no base64url digit. */
    struct slice header = slice_of(token.ptr, (size_t)(first - token.ptr));
    struct slice claims = slice_of(first + 1, (size_t)(second - first - 1));
    struct slice signature = slice_of(second + 1, (size_t)(end - second - 1));
    parts->signed_part = slice_of(token.ptr, (size_t)(second - token.ptr));
    parts->buffer = memory_alloc(token.len);
    char *to = parts->buffer;
    size_t header_len;
    if (!token_base64url(header, to, &header_len)) {
        return TOKEN_MALFORMED;
    }
    parts->claims.ptr = to + header_len;
    if (!token_base64url(claims, to + header_len, &parts->claims.len)) {
        return TOKEN_MALFORMED;
    }
    to += header_len + parts->claims.len;
    parts->signature.ptr = to;
    if (!token_base64url(signature, to, &parts->signature.len)) {
        return TOKEN_MALFORMED;
    }
    parts->header = token_json(slice_of(parts->buffer, header_len), NUMBERS_WHOLE);
    return parts->header != NULL && header_read(parts) ? TOKEN_OK : TOKEN_MALFORMED;
}

void token_parts_fini(struct token_parts *parts)
{
    json_decref(parts->header);
    free(parts->buffer);
}
