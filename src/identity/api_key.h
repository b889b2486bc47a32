/* api_key.h -- keys of back ends and dashboards: "nb_", 12 characters of id, "_", 43 of secret.
 *
 * The secret is 32 random bytes as base64url without padding; only its BLAKE2b-256 hash (of the id
 * and the secret) is kept.  As the secret is random, a fast hash is enough.  Comparison takes the
 * same time whatever differs (sodium_memcmp); an unknown id is compared against a dummy.
 *
 * Threads: a table does not change once made; a new one replaces it (api/ does that). */
#ifndef NOVABEAT_IDENTITY_API_KEY_H
#define NOVABEAT_IDENTITY_API_KEY_H

#include "base/limits.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define API_KEY_ID         12
#define API_KEY_HASH       32
#define API_KEY_TEXT_BYTES (3 + API_KEY_ID + 1 + 43 + 1) /* with the final NUL */

enum api_role {
    ROLE_READ = 1,   /* figures, reports, the directory */
    ROLE_INGEST = 2, /* heartbeats in batches */
    ROLE_ADMIN = 4,  /* everything: also profiles, directory, erasure, keys */
};

struct api_key {
    char id[API_KEY_ID]; /* A-Z a-z 0-9 */
    unsigned char hash[API_KEY_HASH];
    unsigned roles; /* bits of enum api_role */
    uint8_t event_len;
    char event[EVENT_ID_BYTES_MAX]; /* empty: all events */
};

/* A new random key: fills id and hash, writes the whole key to text. */
void api_key_make(struct api_key *key, char text[API_KEY_TEXT_BYTES]);
/* Looks like a key of ours ("nb_" and the right length)?  Else it is something else's. */
bool api_key_shaped(struct slice text);
/* The key among count sorted by id that text is, or NULL. */
const struct api_key *api_key_find(const struct api_key *keys, size_t count, struct slice text);
void api_keys_sort(struct api_key *keys, size_t count);

/* "read,ingest" to bits and back; false: a word that is no role, or none. */
bool api_roles_parse(struct slice text, unsigned *roles);
#define API_ROLES_TEXT_BYTES 24
const char *api_roles_text(unsigned roles, char text[API_ROLES_TEXT_BYTES]);

#endif
