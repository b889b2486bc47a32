/* secret.h -- the secret that viewer tokens are signed and checked with when the platform has not
 * given a key: a file in the data folder, made at the first start. */
#ifndef NOVABEAT_CLI_SECRET_H
#define NOVABEAT_CLI_SECRET_H

#include "base/err.h"
#include "cli/settings.h"

#define SECRET_BYTES_MAX 4096

/* The secret of token-secret or token-secret-file, or, where there is neither and no other key
 * (pem, jwks), that of DATA/token-secret, which is made (mode 0600) when `create`.  Empty: there is
 * none.  ERR_NOT_FOUND, ERR_IO, ERR_INVALID (too short or too long): why names the file. */
enum err secret_read(const struct settings *settings, bool create, char secret[SECRET_BYTES_MAX],
                     char *why, size_t why_bytes) WARN_UNUSED;

#endif
