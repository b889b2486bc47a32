/* test_backup.c -- the commands backup and check, one after the other, as a person would. */
#include "unit/live/common.h"

#include "cli/commands.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backup_and_check, set_up, tear_down),
    };
    return tap_run(tests);
}
