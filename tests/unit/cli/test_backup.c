/* test_backup.c -- the commands backup and check, one after the other, as a person would. */
#include "unit/live/common.h"

#include "cli/commands.h"
#include "cli/secret.h"

static int backup(const struct settings *settings, char *dest)
{
    char *arguments[] = {dest, NULL};
    return command_backup(settings, dest != NULL, arguments);
}

static void test_backup_and_check(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    char dest[96];
    struct settings settings = {.data = folder.data, .records = "sqlite"};
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    assert_int_equal(backup(&settings, dest), EXIT_FAILED); /* there is no folder */
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "staff"), LIVE_OK);
    assert_int_equal(backup(&settings, NULL), EXIT_USAGE);
    assert_int_equal(backup(&settings, dest), EXIT_WELL);   /* while the server works */
    assert_int_equal(backup(&settings, dest), EXIT_FAILED); /* it is not empty any more */
    loop_stop(&loop);
    settings.data = dest;
    assert_int_equal(command_check(&settings, 0, NULL), EXIT_WELL);
    options.data = dest;
    loop_start(&loop, &options);
    assert_int_equal(alive_in(&loop, "e", true, "staff"), 1);
    loop_stop(&loop);
}

/* The server's own secret goes along, as private as it was: tokens that are out hold. */
static void test_secret(void **state)
{
    (void)state;
    struct live_options options = options_for(&folder);
    struct loop loop;
    char dest[96], path[128], first[SECRET_BYTES_MAX], second[SECRET_BYTES_MAX], why[512];
    struct settings settings = {.data = folder.data,
                                .records = "sqlite",
                                .token_secret = "",
                                .token_secret_file = "",
                                .token_pem = "",
                                .token_jwks = ""};
    struct stat is;
    loop_start(&loop, &options);
    assert_int_equal(beat_in(&loop, "e", "v", "staff"), LIVE_OK);
    loop_stop(&loop);
    assert_int_equal(secret_read(&settings, true, first, why, sizeof why), ERR_NONE);
    (void)snprintf(dest, sizeof dest, "%s/copy", folder.top);
    mode_t mask = umask(0);
    assert_int_equal(backup(&settings, dest), EXIT_WELL);
    umask(mask);
    (void)snprintf(path, sizeof path, "%s/token-secret", dest);
    assert_int_equal(stat(path, &is), 0);
    assert_int_equal(is.st_mode & 0777, 0600);
    settings.data = dest;
    assert_int_equal(command_check(&settings, 0, NULL), EXIT_WELL);
    assert_int_equal(secret_read(&settings, false, second, why, sizeof why), ERR_NONE);
    assert_string_equal(first, second);

    /* One that cannot be read is said before anything is copied. */
    settings.data = folder.data;
    (void)snprintf(path, sizeof path, "%s/token-secret", folder.data);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("token-secret", path), 0); /* leads to itself */
    (void)snprintf(dest, sizeof dest, "%s/copy-2", folder.top);
    assert_int_equal(backup(&settings, dest), EXIT_FAILED);
    assert_int_equal(access(dest, F_OK), -1);
    assert_int_equal(unlink(path), 0); /* and none is none */
    assert_int_equal(backup(&settings, dest), EXIT_WELL);
    (void)snprintf(path, sizeof path, "%s/token-secret", dest);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backup_and_check, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secret, set_up, tear_down),
    };
    return tap_run(tests);
}
