/* fuzz_token.c -- any bytes as a token, and any bytes as what a token says.
 *
 * The first byte chooses: the bytes are the token; or its header; or its claims (the rest is made
 * and signed rightly, so that the judge of claims is reached); or a JWKS; or a PEM text. */
#include "identity/token.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/assert.h"
#include "core/groups.h"
#include "core/ids.h"
#include "identity/token_keys.h"

#define SECRET    "0123456789abcdef0123456789abcdef"
#define NOW_MS    INT64_C(1800000000000)
#define BYTES_MAX 8192

static struct tokens *tokens_once(void)
{
    static struct tokens *tokens;
    const struct token_options options = {.secret = SECRET,
                                          .viewer_claim = "sub",
                                          .event_claim = "event",
                                          .groups_claim = "groups",
                                          .leeway_ms = 60000,
                                          .bytes_max = BYTES_MAX,
                                          .cache_max = 100};
    char why[256];
    if (tokens == NULL) {
        ASSERT(tokens_new(&options, &tokens, why, sizeof why) == ERR_NONE);
    }
    return tokens;
}

static enum token_outcome verify(struct slice token)
{
    static struct token_claims claims, again;
    enum token_outcome outcome = tokens_verify(tokens_once(), token, NOW_MS, &claims);
    ASSERT(token_outcome_text(outcome) != NULL);
    if (outcome == TOKEN_OK) {
        struct slice groups = slice_of(claims.groups, claims.groups_len);
        ASSERT(id_viewer_valid(slice_of(claims.viewer, claims.viewer_len)));
        ASSERT(claims.event_len == 0 || id_event_valid(slice_of(claims.event, claims.event_len)));
        ASSERT(groups_valid(groups) && (claims.has_groups || groups.len == 0));
        /* Known now, and it says the same. */
        ASSERT(tokens_verify(tokens_once(), token, NOW_MS, &again) == TOKEN_OK);
        ASSERT(slice_equal(slice_of(again.viewer, again.viewer_len),
                           slice_of(claims.viewer, claims.viewer_len)));
        ASSERT(slice_equal(slice_of(again.event, again.event_len),
                           slice_of(claims.event, claims.event_len)));
        ASSERT(slice_equal(slice_of(again.groups, again.groups_len), groups));
        ASSERT(again.has_groups == claims.has_groups);
    }
    return outcome;
}

static size_t encode(struct slice bytes, char *out, size_t room)
{
    sodium_bin2base64(out, room, (const unsigned char *)bytes.ptr, bytes.len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(out);
}

static void verify_signed(struct slice header, struct slice claims)
{
    size_t room = (header.len + claims.len) * 2 + 128;
    char *token = malloc(room);
    unsigned char signature[crypto_auth_hmacsha256_BYTES];
    size_t len = encode(header, token, room);
    token[len++] = '.';
    len += encode(claims, token + len, room - len);
    crypto_auth_hmacsha256(signature, (unsigned char *)token, len, (const unsigned char *)SECRET);
    token[len++] = '.';
    len += encode(slice_of((char *)signature, sizeof signature), token + len, room - len);
    enum token_outcome outcome = verify(slice_of(token, len));
    ASSERT(outcome != TOKEN_SIGNATURE); /* whatever it says, it is signed rightly */
    free(token);
}

static void read_keys(struct slice text, bool pem)
{
    char why[256] = "";
    unsigned passed_over;
    struct token_keys *keys = token_keys_new();
    enum err err =
        pem ? token_keys_add_pem(keys, text, TOKEN_PS256, why, sizeof why)
            : token_keys_add_jwks(keys, text, TOKEN_RS256, &passed_over, why, sizeof why);
    ASSERT(err == ERR_NONE || why[0] != '\0');
    ASSERT(token_keys_count(keys) <= TOKEN_KEYS_MAX);
    token_keys_drop(keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct slice rest = slice_of((const char *)bytes + 1, len - 1);
    switch (bytes[0] % 5) {
    case 0:
        /* Nobody forges a signature by chance. */
        ASSERT(verify(rest) != TOKEN_OK);
        break;
    case 1:
        verify_signed(rest, SLICE_LIT("{\"sub\":\"v\"}"));
        break;
    case 2:
        verify_signed(SLICE_LIT("{\"alg\":\"HS256\"}"), rest);
        break;
    case 3:
        read_keys(rest, false);
        break;
    case 4:
        read_keys(rest, true);
        break;
    }
    return 0;
}
