/* keys.h -- making API keys: the command and the first start do it alike. */
#ifndef NOVABEAT_CLI_KEYS_H
#define NOVABEAT_CLI_KEYS_H

#include "identity/api_key.h"
#include "records/records.h"

/* A new key, stored; text gets the key itself.  The link's thread is the one that writes. */
enum err keys_create(struct records_link *link, unsigned roles, struct slice event,
                     struct slice name, char text[API_KEY_TEXT_BYTES]) WARN_UNUSED;

#endif
