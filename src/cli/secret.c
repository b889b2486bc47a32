/* secret.c -- where the secret of viewer tokens comes from. */
#define _GNU_SOURCE
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "identity/token.h"

#define SECRET_RANDOM_BYTES 32

static enum err read_file(const char *path, char secret[SECRET_BYTES_MAX], char *why,
                          size_t why_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, secret, SECRET_BYTES_MAX);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (len < 0) {
        snprintf(why, why_bytes, "%s: %s", path, strerror(error));
        return error == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    while (len > 0 && len < SECRET_BYTES_MAX &&
           (secret[len - 1] == '\n' || secret[len - 1] == '\r')) {
        len--;
    }
    if (len < TOKEN_SECRET_BYTES_MIN || len == SECRET_BYTES_MAX ||
        memchr(secret, '\0', (size_t)len) != NULL) {
        snprintf(why, why_bytes, "%s: a secret has %d to %d bytes of text", path,
                 TOKEN_SECRET_BYTES_MIN, SECRET_BYTES_MAX - 1);
        return ERR_INVALID;
    }
    secret[len] = '\0';
    return ERR_NONE;
}

/* A file that is there whole or not at all, for its owner only. */
static enum err make_file(const char *path, char *why, size_t why_bytes)
{
    unsigned char random[SECRET_RANDOM_BYTES];
    char text[sodium_base64_ENCODED_LEN(SECRET_RANDOM_BYTES, sodium_base64_VARIANT_URLSAFE) + 1];
    char beside[4200];
    randombytes_buf(random, sizeof random);
    sodium_bin2base64(text, sizeof text - 1, random, sizeof random, sodium_base64_VARIANT_URLSAFE);
    size_t len = strlen(text);
    text[len++] = '\n';
    snprintf(beside, sizeof beside, "%s.new", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (!written || rename(beside, path) != 0) {
        snprintf(why, why_bytes, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    return ERR_NONE;
}

enum err secret_read(const struct settings *settings, bool create, char secret[SECRET_BYTES_MAX],
                     char *why, size_t why_bytes)
{
    secret[0] = '\0';
    if (settings->token_secret[0] != '\0') {
        snprintf(secret, SECRET_BYTES_MAX, "%s", settings->token_secret);
        return ERR_NONE;
    }
    if (settings->token_secret_file[0] != '\0') {
        return read_file(settings->token_secret_file, secret, why, why_bytes);
    }
    if (settings->token_pem[0] != '\0' || settings->token_jwks[0] != '\0') {
        return ERR_NONE;
    }
    char path[4096 + 32];
    snprintf(path, sizeof path, "%s/token-secret", settings->data);
    enum err err = read_file(path, secret, why, why_bytes);
    if (err == ERR_NOT_FOUND && create) {
        err = make_file(path, why, why_bytes);
        if (err == ERR_NONE) {
            log_line(LOG_WARN, "serve",
                     "no token key is set: viewer tokens are checked with a secret of our own, %s; "
                     "set token-jwks, token-pem or token-secret-file to your platform's",
                     path);
            err = read_file(path, secret, why, why_bytes);
        }
    }
    return err;
}
