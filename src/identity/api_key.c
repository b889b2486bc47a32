/* api_key.c -- keys of back ends and dashboards. */
#include "identity/api_key.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/assert.h"

#define PREFIX       "nb_"
#define PREFIX_BYTES 3
#define SECRET_BYTES 32
#define SECRET_CHARS 43
#define KEY_CHARS    (API_KEY_TEXT_BYTES - 1)

static_assert(PREFIX_BYTES + API_KEY_ID + 1 + SECRET_CHARS == KEY_CHARS, "the parts of a key");

static struct slice id_of(const char *text)
{
    return slice_of(text + PREFIX_BYTES, API_KEY_ID);
}

/* Of the id and the secret as they are written: so no second text gives the same hash. */
static void hash_text(const char *text, unsigned char hash[API_KEY_HASH])
{
    crypto_generichash(hash, API_KEY_HASH, (const unsigned char *)text, KEY_CHARS, NULL, 0);
}

void api_key_make(struct api_key *key, char text[API_KEY_TEXT_BYTES])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char secret[SECRET_BYTES];
    ASSERT(sodium_init() >= 0);
    char *at = text;
    memcpy(at, PREFIX, PREFIX_BYTES);
    at += PREFIX_BYTES;
    for (int i = 0; i < API_KEY_ID; i++) {
        key->id[i] = *at++ = letters[randombytes_uniform(sizeof letters - 1)];
    }
    *at++ = '_';
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(at, SECRET_CHARS + 1, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(secret, sizeof secret);
    hash_text(text, key->hash);
}

bool api_key_shaped(struct slice text)
{
    return text.len == KEY_CHARS && memcmp(text.ptr, PREFIX, PREFIX_BYTES) == 0;
}

static int order(const void *a, const void *b)
{
    return memcmp(((const struct api_key *)a)->id, ((const struct api_key *)b)->id, API_KEY_ID);
}

void api_keys_sort(struct api_key *keys, size_t count)
{
    if (count > 1) {
        qsort(keys, count, sizeof *keys, order);
    }
}

const struct api_key *api_key_find(const struct api_key *keys, size_t count, struct slice text)
{
    static const unsigned char dummy[API_KEY_HASH]; /* the hash of nothing that we know */
    unsigned char hash[API_KEY_HASH];
    struct api_key wanted;
    if (!api_key_shaped(text) || text.ptr[PREFIX_BYTES + API_KEY_ID] != '_') {
        return NULL;
    }
    memcpy(wanted.id, id_of(text.ptr).ptr, API_KEY_ID);
    const struct api_key *found =
        count == 0 ? NULL : bsearch(&wanted, keys, count, sizeof *keys, order);
    hash_text(text.ptr, hash);
    bool equal = sodium_memcmp(hash, found == NULL ? dummy : found->hash, API_KEY_HASH) == 0;
    return equal ? found : NULL;
}

/* ---- roles ---- */

static const struct {
    enum api_role role;
    struct slice name;
} roles_known[] = {
    {ROLE_READ, {"read", 4}},
    {ROLE_INGEST, {"ingest", 6}},
    {ROLE_ADMIN, {"admin", 5}},
};
#define ROLES_KNOWN (sizeof roles_known / sizeof roles_known[0])

static unsigned role_find(struct slice word)
{
    for (size_t i = 0; i < ROLES_KNOWN; i++) {
        if (slice_equal(roles_known[i].name, word)) {
            return roles_known[i].role;
        }
    }
    return 0;
}

bool api_roles_parse(struct slice text, unsigned *roles)
{
    unsigned found = 0;
    for (;;) {
        const char *comma = text.len == 0 ? NULL : memchr(text.ptr, ',', text.len);
        size_t len = comma == NULL ? text.len : (size_t)(comma - text.ptr);
        unsigned role = role_find(slice_of(text.ptr, len));
        if (role == 0) {
            return false;
        }
        found |= role;
        if (comma == NULL) {
            *roles = found;
            return true;
        }
        text.ptr += len + 1;
        text.len -= len + 1;
    }
}

const char *api_roles_text(unsigned roles, char text[API_ROLES_TEXT_BYTES])
{
    static_assert(sizeof "read,ingest,admin" <= API_ROLES_TEXT_BYTES, "all roles fit");
    char *at = text;
    for (size_t i = 0; i < ROLES_KNOWN; i++) {
        if ((roles & roles_known[i].role) == 0) {
            continue;
        }
        if (at != text) {
            *at++ = ',';
        }
        memcpy(at, roles_known[i].name.ptr, roles_known[i].name.len);
        at += roles_known[i].name.len;
    }
    *at = '\0';
    return text;
}
