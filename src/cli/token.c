/* token.c -- novabeat token: a signed viewer token, for trying things out. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "cli/secret.h"
#include "core/groups.h"
#include "core/ids.h"
#include "identity/token.h"

static int usage(const char *text)
{
    fprintf(stderr, "novabeat token: %s\n", text);
    return EXIT_USAGE;
}

/* "a, b" packed; false: not groups. */
static bool pack_groups(const char *text, char packed[GROUPS_PACKED_BYTES_MAX], size_t *len)
{
    struct slice ids[GROUPS_PER_VIEWER_MAX];
    size_t count = 0;
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, " ,");
        size_t item = strcspn(at, ",");
        struct slice id = slice_of(at, item);
        while (id.len > 0 && id.ptr[id.len - 1] == ' ') {
            id.len--;
        }
        if (id.len > 0) {
            if (count == GROUPS_PER_VIEWER_MAX) {
                return false;
            }
            ids[count++] = id;
        }
        at += item;
    }
    return groups_pack(ids, count, packed, len) == GROUPS_OK;
}

int command_token(const struct settings *settings, int argc, char **argv)
{
    (void)argv;
    struct slice viewer = slice_str(settings->viewer), event = slice_str(settings->event);
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t packed_len = 0;
    if (argc > 0) {
        return usage("takes no arguments besides its settings");
    }
    if (!id_viewer_valid(viewer)) {
        return usage("viewer: give --viewer VIEWER, 1 to 128 bytes of UTF-8");
    }
    if (event.len > 0 && !id_event_valid(event)) {
        return usage("event: must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -");
    }
    if (!pack_groups(settings->groups, packed, &packed_len)) {
        return usage("groups: must be at most 32, each of 1 to 64 bytes");
    }
    char secret[SECRET_BYTES_MAX], why[512] = "";
    enum err err = secret_read(settings, false, secret, why, sizeof why);
    if (err != ERR_NONE || secret[0] == '\0') {
        fprintf(stderr,
                "novabeat token: there is no secret to sign with: %s (serve makes one at its first "
                "start when no other token key is set; or give --token-secret-file)\n",
                why);
        return EXIT_FAILED;
    }
    int64_t now_s = clock_wall_us() / 1000000;
    char *token = token_sign(slice_str(secret), viewer, event, slice_of(packed, packed_len), now_s,
                             now_s + settings->expires_ms / 1000);
    sodium_memzero(secret, sizeof secret);
    if (token == NULL) {
        fprintf(stderr, "novabeat token: the token could not be signed\n");
        return EXIT_FAILED;
    }
    puts(token);
    free(token);
    return EXIT_WELL;
}
