/* token_claims.c -- the claims of a token, judged.  Source: RFC 7519, 4.1. */
#include "identity/token_claims.h"

#include "core/groups.h"
#include "core/ids.h"
#include "identity/token_parse.h"

/* The year 9999: a time beyond is taken for that, so that sums with the leeway cannot overflow. */
#define SECONDS_MAX 253402300799.0
/* Repeats count here too: what a list says twice is dropped only after all of it was read. */
#define GROUP_ITEMS_MAX 128

static bool set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static struct slice string_of(const json_t *string)
{
    return slice_of(json_string_value(string), json_string_length(string));
}

/* A NumericDate (RFC 7519, 2: seconds, may have a fraction), if it is there, in ms.  False: it is
 * there and no number. */
static bool read_time(const json_t *root, const char *name, bool *given, int64_t *ms)
{
    const json_t *value = json_object_get(root, name);
    *given = value != NULL;
    *ms = 0;
    if (value == NULL) {
        return true;
    }
    if (!json_is_real(value)) {
        return false; /* (integers were read as reals) */
    }
    double seconds = json_real_value(value);
    seconds = seconds > SECONDS_MAX ? SECONDS_MAX : seconds < -SECONDS_MAX ? -SECONDS_MAX : seconds;
    *ms = (int64_t)(seconds * 1000.0);
    return true;
}

static enum token_outcome judge_times(const json_t *root, int64_t leeway_ms, int64_t wall_ms,
                                      int64_t *expires_ms)
{
    bool has_exp, has_nbf, has_iat;
    int64_t exp, nbf, iat;
    if (!read_time(root, "exp", &has_exp, &exp) || !read_time(root, "nbf", &has_nbf, &nbf) ||
        !read_time(root, "iat", &has_iat, &iat)) {
        return TOKEN_CLAIMS;
    }
    *expires_ms = has_exp ? exp + leeway_ms : INT64_MAX;
    if (wall_ms >= *expires_ms) {
        return TOKEN_EXPIRED;
    }
    /* A token from the future: the issuer's clock or ours is wrong, or somebody plans ahead. */
    if ((has_nbf && wall_ms < nbf - leeway_ms) || (has_iat && wall_ms < iat - leeway_ms)) {
        return TOKEN_NOT_YET;
    }
    return TOKEN_OK;
}

static bool audience_has(const json_t *aud, struct slice wanted)
{
    if (json_is_string(aud)) {
        return slice_equal(string_of(aud), wanted);
    }
    bool found = false;
    for (size_t i = 0; i < json_array_size(aud); i++) { /* 0 for what is no array */
        const json_t *item = json_array_get(aud, i);
        if (!json_is_string(item)) {
            return false;
        }
        found = found || slice_equal(string_of(item), wanted);
    }
    return found;
}

static bool read_groups(const json_t *array, struct token_claims *claims)
{
    struct slice ids[GROUP_ITEMS_MAX];
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > GROUP_ITEMS_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_string(item)) {
            return false;
        }
        ids[i] = string_of(item);
    }
    return groups_pack(ids, count, claims->groups, &claims->groups_len) == GROUPS_OK;
}

static bool read_who(const struct token_options *options, const json_t *root,
                     struct token_claims *claims)
{
    const json_t *viewer = json_object_get(root, options->viewer_claim);
    const json_t *event = json_object_get(root, options->event_claim);
    const json_t *groups = json_object_get(root, options->groups_claim);
    if (!json_is_string(viewer) || !id_viewer_valid(string_of(viewer))) {
        return false;
    }
    claims->viewer_len = json_string_length(viewer);
    memcpy(claims->viewer, json_string_value(viewer), claims->viewer_len);
    claims->event_len = 0;
    if (event != NULL) {
        /* null or "" could be meant as "any" or as "none": refused. */
        if (!json_is_string(event) || !id_event_valid(string_of(event))) {
            return false;
        }
        claims->event_len = json_string_length(event);
        memcpy(claims->event, json_string_value(event), claims->event_len);
    }
    claims->groups_len = 0;
    claims->has_groups = groups != NULL;
    return groups == NULL || read_groups(groups, claims);
}

static enum token_outcome judge(const struct token_options *options, const json_t *root,
                                int64_t wall_ms, struct token_claims *claims, int64_t *expires_ms)
{
    enum token_outcome outcome = judge_times(root, options->leeway_ms, wall_ms, expires_ms);
    if (outcome != TOKEN_OK) {
        return outcome;
    }
    if (set(options->issuer)) {
        const json_t *iss = json_object_get(root, "iss");
        if (!json_is_string(iss) || !slice_equal(string_of(iss), slice_str(options->issuer))) {
            return TOKEN_ISSUER;
        }
    }
    if (set(options->audience) &&
        !audience_has(json_object_get(root, "aud"), slice_str(options->audience))) {
        return TOKEN_AUDIENCE;
    }
    return read_who(options, root, claims) ? TOKEN_OK : TOKEN_CLAIMS;
}

enum token_outcome token_claims_read(const struct token_options *options, struct slice json,
                                     int64_t wall_ms, struct token_claims *claims,
                                     int64_t *expires_ms)
{
    json_t *root = token_json(json, NUMBERS_REAL);
    if (root == NULL) {
        return TOKEN_MALFORMED;
    }
    enum token_outcome outcome = judge(options, root, wall_ms, claims, expires_ms);
    json_decref(root);
    return outcome;
}
