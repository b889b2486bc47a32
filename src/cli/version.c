/* version.c -- novabeat version: this program, its compiler, its libraries. */
#include <stdio.h>

#include <cjose/cjose.h>
#include <jansson.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <sodium.h>
#include <sqlite3.h>

#include "cli/commands.h"

int command_version(const struct settings *settings, int argc, char **argv)
{
    (void)settings;
    (void)argv;
    if (argc > 0) {
        fprintf(stderr, "novabeat: version takes no arguments\n");
        return EXIT_USAGE;
    }
    printf("novabeat %s\n", NOVABEAT_VERSION);
#ifdef __clang__
    printf("  compiler  clang %s\n", __clang_version__);
#else
    printf("  compiler  gcc %s\n", __VERSION__);
#endif
    printf("  sqlite    %s\n", sqlite3_libversion());
    printf("  llhttp    %d.%d.%d\n", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
           LLHTTP_VERSION_PATCH);
    printf("  libsodium %s\n", sodium_version_string());
    printf("  jansson   %s\n", JANSSON_VERSION);
    printf("  cjose     %s\n", cjose_version());
    printf("  openssl   %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    return EXIT_WELL;
}
