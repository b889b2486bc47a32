/* token_sign.c -- a token for trying things out. */
#include "identity/token.h"

#include <cjose/cjose.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/memory.h"
#include "core/groups.h"

static char *claims_text(struct slice viewer, struct slice event, struct slice groups,
                         int64_t iat_s, int64_t exp_s)
{
    json_t *claims = json_object();
    /* (json_object_set_new frees the value when it fails.) */
    bool good = json_object_set_new(claims, "sub", json_stringn(viewer.ptr, viewer.len)) == 0 &&
                json_object_set_new(claims, "iat", json_integer(iat_s)) == 0 &&
                json_object_set_new(claims, "exp", json_integer(exp_s)) == 0;
    if (event.len > 0) {
        good =
            good && json_object_set_new(claims, "event", json_stringn(event.ptr, event.len)) == 0;
    }
    if (groups.len > 0) {
        json_t *list = json_array();
        struct slice id;
        while (good && groups_next(&groups, &id)) {
            good = json_array_append_new(list, json_stringn(id.ptr, id.len)) == 0;
        }
        good = json_object_set_new(claims, "groups", list) == 0 && good;
    }
    char *text = good ? json_dumps(claims, JSON_COMPACT) : NULL;
    json_decref(claims);
    return text;
}

char *token_sign(struct slice secret, struct slice viewer, struct slice event, struct slice groups,
                 int64_t iat_s, int64_t exp_s)
{
    char *token = NULL;
    char *claims = claims_text(viewer, event, groups, iat_s, exp_s);
    cjose_header_t *header = cjose_header_new(NULL);
    cjose_jwk_t *key =
        secret.len < TOKEN_SECRET_BYTES_MIN
            ? NULL
            : cjose_jwk_create_oct_spec((const uint8_t *)secret.ptr, secret.len, NULL);
    cjose_jws_t *jws = NULL;
    const char *text;
    if (claims != NULL && key != NULL && header != NULL &&
        cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_HS256, NULL) &&
        cjose_header_set(header, "typ", "JWT", NULL)) {
        jws = cjose_jws_sign(key, header, (const uint8_t *)claims, strlen(claims), NULL);
    }
    if (jws != NULL && cjose_jws_export(jws, &text, NULL)) {
        token = memory_alloc(strlen(text) + 1);
        strcpy(token, text);
    }
    cjose_jws_release(jws);
    if (key != NULL) {
        cjose_jwk_release(key);
    }
    cjose_header_release(header);
    free(claims);
    return token;
}
