/* keys.c -- novabeat keys: create, list and revoke API keys, also while a server runs (it looks for
 * changes every second). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/keys.h"
#include "core/ids.h"
#include "identity/api_key.h"
#include "live/store.h"

static int usage(const char *text)
{
    fprintf(stderr, "novabeat keys: %s\n", text);
    return EXIT_USAGE;
}

enum err keys_create(struct records_link *link, unsigned roles, struct slice event,
                     struct slice name, char text[API_KEY_TEXT_BYTES])
{
    struct api_key key;
    api_key_make(&key, text);
    struct api_key_row row = {
        .roles = roles, .event = event, .name = name, .created_ms = clock_wall_us() / 1000};
    static_assert(sizeof row.id == sizeof key.id && sizeof row.hash == sizeof key.hash,
                  "a key is stored as it is");
    memcpy(row.id, key.id, sizeof row.id);
    memcpy(row.hash, key.hash, sizeof row.hash);
    return records_key_put(link, &row);
}

static int create(const struct settings *settings, struct records_link *link)
{
    unsigned roles;
    char text[API_KEY_TEXT_BYTES];
    struct slice event = slice_str(settings->event), name = slice_str(settings->name);
    if (!api_roles_parse(slice_str(settings->role), &roles)) {
        return usage("role: give --role with one or more of read, ingest and admin");
    }
    if (event.len > 0 && !id_event_valid(event)) {
        return usage("event: must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -");
    }
    if (!name_valid(name)) {
        return usage("name: must be at most 256 bytes of UTF-8 without control characters");
    }
    if (keys_create(link, roles, event, name, text) != ERR_NONE) {
        fprintf(stderr, "novabeat keys: %s\n", records_why(link));
        return EXIT_FAILED;
    }
    fprintf(stderr, "The key is shown this once; only its hash is kept:\n");
    puts(text);
    return EXIT_WELL;
}

static enum err print_key(void *ctx, const struct api_key_row *key)
{
    (void)ctx;
    char roles[API_ROLES_TEXT_BYTES], created[32];
    time_t seconds = (time_t)(key->created_ms / 1000);
    struct tm tm;
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
    printf("%.*s  %-17s  %s  %-20.*s  %.*s\n", (int)sizeof key->id, key->id,
           api_roles_text(key->roles, roles), created,
           key->event.len > 0 ? (int)key->event.len : 10,
           key->event.len > 0 ? key->event.ptr : "all events", SLICE_ARG(key->name));
    return ERR_NONE;
}

static int list(struct records_link *link)
{
    if (records_keys_each(link, print_key, NULL) != ERR_NONE) {
        fprintf(stderr, "novabeat keys: %s\n", records_why(link));
        return EXIT_FAILED;
    }
    return EXIT_WELL;
}

static int revoke(struct records_link *link, const char *id)
{
    /* The whole key will do too: its id is in it. */
    if (strncmp(id, "nb_", 3) == 0 && strlen(id) > 3 + API_KEY_ID) {
        id += 3;
    } else if (strlen(id) != API_KEY_ID) {
        return usage("revoke takes a key's id, as keys list prints it");
    }
    switch (records_key_delete(link, id)) {
    case ERR_NONE:
        return EXIT_WELL;
    case ERR_NOT_FOUND:
        fprintf(stderr, "novabeat keys: there is no key %.*s\n", API_KEY_ID, id);
        return EXIT_FAILED;
    default:
        fprintf(stderr, "novabeat keys: %s\n", records_why(link));
        return EXIT_FAILED;
    }
}

int command_keys(const struct settings *settings, int argc, char **argv)
{
    const char *verb = argc > 0 ? argv[0] : "";
    bool revokes = strcmp(verb, "revoke") == 0, creates = strcmp(verb, "create") == 0;
    if ((!revokes && !creates && strcmp(verb, "list") != 0) || argc != (revokes ? 2 : 1)) {
        return usage("say create --role ROLE, list, or revoke ID");
    }
    char journal[STORE_PATH_BYTES], where[STORE_PATH_BYTES], why[512] = "";
    store_paths(settings->data, settings->records, journal, where);
    struct records_link *link;
    /* Only a key that is made needs a store to be made: a folder that is the wrong one stays empty.
     */
    if (records_open(where, creates, &link, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "novabeat keys: %s (data: is %s the right folder?)\n", why, settings->data);
        return EXIT_FAILED;
    }
    int code = revokes ? revoke(link, argv[1]) : creates ? create(settings, link) : list(link);
    records_close(link);
    return code;
}
