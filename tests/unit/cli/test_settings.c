/* test_settings.c -- every kind, every source and which one wins, every error names its setting,
 * and the page of reference is the one that is committed. */
#include "cli/settings.h"

#include <string.h>
#include <unistd.h>

#include "base/duration.h"
#include "cli/settings_table.h"
#include "tap.h"

#define ARGUMENTS_MAX 32

static struct settings settings;
static char why[SETTINGS_WHY_BYTES];
static char *arguments[ARGUMENTS_MAX];
static int arguments_count;
static const char *const no_environment[] = {NULL};

/* Reads a command line, split at spaces ('~' in a word stands for a space). */
static enum settings_outcome read_line(enum command command, const char *line,
                                       const char *const *environment)
{
    static char copy[1024];
    snprintf(copy, sizeof copy, "%s", line);
    arguments_count = 0;
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(arguments_count < ARGUMENTS_MAX);
        for (char *at = word; *at != '\0'; at++) {
            *at = *at == '~' ? ' ' : *at;
        }
        arguments[arguments_count++] = word;
    }
    return settings_read(&settings, command, &arguments_count, arguments, environment, why);
}

static void assert_read(enum command command, const char *line)
{
    enum settings_outcome outcome = read_line(command, line, no_environment);
    if (outcome != SETTINGS_OK) {
        fail_msg("%s: %s", line, why);
    }
}

static void assert_wrong(enum command command, const char *line, const char *expected)
{
    assert_int_equal(read_line(command, line, no_environment), SETTINGS_WRONG);
    assert_string_equal(why, expected);
    settings_fini(&settings);
}

/* A config file that lives for one test. */
static char config_path[64];

static const char *config_write(const char *text)
{
    static char flag[128];
    snprintf(config_path, sizeof config_path, "/tmp/novabeat-settings-XXXXXX");
    int fd = mkstemp(config_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    snprintf(flag, sizeof flag, "--auth none --config %s", config_path);
    return flag;
}

static void config_remove(void)
{
    assert_int_equal(unlink(config_path), 0);
}

/* ---- the table ---- */

static bool is_setting_name(const char *name)
{
    return name[0] != '\0' && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name);
}

static void test_table(void **state)
{
    (void)state;
    char text[SETTING_RANGE_BYTES];
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings_table[i];
        assert_true(is_setting_name(setting->name));
        assert_ptr_equal(settings_find(setting->name, strlen(setting->name)), setting);
        assert_true(setting->commands != 0);
        assert_true(setting->lowest <= setting->highest);
        size_t len = strlen(setting->prose);
        assert_true(len > 20 && setting->prose[len - 1] == '.');
        assert_true(setting->kind != SETTING_TEXT || setting->hint != NULL);
        assert_true((setting->kind == SETTING_TEXT) == (settings_range(setting, text)[0] == '\0'));
    }
    settings_init(&settings); /* every default can be read: it asserts so */
    settings_fini(&settings);
}

static void test_defaults(void **state)
{
    (void)state;
    settings_init(&settings);
    assert_string_equal(settings.listen, "127.0.0.1:8080");
    assert_string_equal(settings.listen_host, "127.0.0.1");
    assert_int_equal(settings.listen_port, 8080);
    assert_true(settings.listen_loopback);
    assert_int_equal(settings.auth, SETTING_AUTH_JWT);
    assert_int_equal(settings.durability, SETTING_DURABILITY_SYNC);
    assert_int_equal(settings.alive_window_ms, 65000);
    assert_int_equal(settings.hidden_window_ms, 125000);
    assert_int_equal(settings.leaving_window_ms, 35000);
    assert_int_equal(settings.viewing_gap_ms, 150000);
    assert_int_equal(settings.frame_ms, 300000);
    assert_int_equal(settings.interval_ms, 30000);
    assert_int_equal(settings.sync_gather_ms, 5);
    assert_int_equal(settings.journal_max_bytes, (uint64_t)8 << 30);
    assert_int_equal(settings.trusted_proxies_count, 2);
    assert_string_equal(settings.country_headers[0], "CloudFront-Viewer-Country");
    assert_string_equal(settings.country_headers[1], "CF-IPCountry");
    assert_null(settings.country_headers[2]);
    assert_string_equal(settings.config, "");
    assert_string_equal(settings.event, "");
    assert_false(settings.repair);
    settings_fini(&settings);
}

/* ---- kinds ---- */

static void test_every_kind(void **state)
{
    (void)state;
    assert_read(COMMAND_SERVE, "--auth none --alive-window 2s --leaving-window=1500ms "
                               "--io-threads 4 --batch-bytes-max 64k --durability os "
                               "--data /tmp/a~b --auth-none-anywhere --listen [::]:0 "
                               "--unknown-viewer reject --events declared --log-level error");
    assert_int_equal(settings.alive_window_ms, 2000);
    assert_int_equal(settings.leaving_window_ms, 1500);
    assert_int_equal(settings.io_threads, 4);
    assert_int_equal(settings.batch_bytes_max, 65536);
    assert_int_equal(settings.durability, SETTING_DURABILITY_OS);
    assert_string_equal(settings.data, "/tmp/a b");
    assert_true(settings.auth_none_anywhere);
    assert_string_equal(settings.listen_host, "::");
    assert_int_equal(settings.listen_port, 0);
    assert_false(settings.listen_loopback);
    assert_int_equal(settings.unknown_viewer, SETTING_UNKNOWN_VIEWER_REJECT);
    assert_int_equal(settings.events, SETTING_EVENTS_DECLARED);
    assert_int_equal(settings.log_level, SETTING_LOG_LEVEL_ERROR);
    settings_fini(&settings);
    assert_read(COMMAND_CHECK, "--repair");
    assert_true(settings.repair);
    settings_fini(&settings);
    assert_read(COMMAND_CHECK, "--repair --repair=false");
    assert_false(settings.repair);
    settings_fini(&settings);
    assert_read(COMMAND_SIMULATE, "--seed 18446744073709551615 --sessions 0");
    assert_true(settings.seed == UINT64_MAX);
    settings_fini(&settings);
    /* Tests run with short windows. */
    assert_read(COMMAND_REPLAY, "--alive-window 1ms --hidden-window 1ms --leaving-window 1ms "
                                "--viewing-gap 1ms --frame 100ms --records-flush 1ms");
    settings_fini(&settings);
}

static void test_wrong_values(void **state)
{
    (void)state;
    assert_wrong(COMMAND_SERVE, "--alive-window 90x",
                 "alive-window: 90x is not a duration; write 65s, 500ms or 5m (1ms to 1d)");
    assert_wrong(COMMAND_SERVE, "--alive-window=",
                 "alive-window:  is not a duration; write 65s, 500ms or 5m (1ms to 1d)");
    assert_wrong(COMMAND_SERVE, "--frame 99ms", "frame: 99ms is out of range (100ms to 1d)");
    assert_wrong(COMMAND_SERVE, "--sync-gather 51ms",
                 "sync-gather: 51ms is out of range (0 to 50ms)");
    assert_wrong(COMMAND_SERVE, "--io-threads many",
                 "io-threads: many is not a whole number (1 to 64)");
    assert_wrong(COMMAND_SERVE, "--io-threads 0", "io-threads: 0 is out of range (1 to 64)");
    assert_wrong(COMMAND_SERVE, "--io-threads -1",
                 "io-threads: -1 is not a whole number (1 to 64)");
    assert_wrong(COMMAND_SERVE, "--batch-bytes-max 64kb",
                 "batch-bytes-max: 64kb is not a size; write 4096, 64k, 256m or 8g (1k to 64m)");
    assert_wrong(COMMAND_SERVE, "--batch-bytes-max 1",
                 "batch-bytes-max: 1 is out of range (1k to 64m)");
    assert_wrong(COMMAND_SERVE, "--durability always",
                 "durability: always is not sync or interval or os");
    assert_wrong(COMMAND_SERVE, "--durability syn",
                 "durability: syn is not sync or interval or os");
    assert_wrong(COMMAND_CHECK, "--repair=maybe", "repair: maybe is neither true nor false");
    assert_wrong(COMMAND_SERVE, "--data a\x01\x62",
                 "data: the text is not valid UTF-8 without controls");
    assert_wrong(COMMAND_SERVE, "--data \xFF",
                 "data: the text is not valid UTF-8 without controls");
    assert_wrong(COMMAND_SERVE, "--live redis://h:1",
                 "live: redis://h:1 is not built in yet; write memory");
    assert_wrong(COMMAND_SERVE, "--live disk",
                 "live: disk is neither memory nor redis://HOST:PORT");
    assert_wrong(COMMAND_SERVE, "--records x", "records: x is neither sqlite nor postgresql://…");
    assert_wrong(COMMAND_SERVE, "--session-pattern=", "session-pattern:  must not be empty");
    assert_wrong(COMMAND_SERVE, "--token-viewer-claim=", "token-viewer-claim:  must not be empty");
    assert_wrong(COMMAND_SERVE, "--token-secret 0123456789012345678901234567890",
                 "token-secret: must have at least 32 bytes (RFC 7518, 3.2)");
    assert_wrong(COMMAND_SERVE, "--token-rsa RS512", "token-rsa: RS512 is not RS256 or PS256");
    assert_wrong(COMMAND_SERVE, "--cors-origins https://app.example.com/",
                 "cors-origins: \"https://app.example.com/\" is no origin like "
                 "https://app.example.com: an origin ends after host and port, in lower case, "
                 "without a path or a slash");
    assert_wrong(COMMAND_KEYS, "--role reader",
                 "role: reader is not a list of read, ingest and admin");
}

static void test_listen(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "8080",       "localhost:8080",  "127.0.0.1",   "::1:8080",       "[::1]", "[::1]8080",
        "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x", "[127.0.0.1]:80", ":8080", "[]:1",
        "[:1",        "127.0.0.1:-1",    "1.2.3:80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[128];
        char expected[256];
        snprintf(line, sizeof line, "--auth none --listen %s", bad[i]);
        snprintf(expected, sizeof expected,
                 "listen: %s is not an address in numbers and a port; write 127.0.0.1:8080 or "
                 "[::1]:8080",
                 bad[i]);
        assert_wrong(COMMAND_SERVE, line, expected);
    }
    assert_read(COMMAND_SERVE, "--auth none --listen [::1]:65535");
    assert_string_equal(settings.listen_host, "::1");
    assert_int_equal(settings.listen_port, 65535);
    assert_true(settings.listen_loopback);
    settings_fini(&settings);
    assert_read(COMMAND_SERVE, "--auth none --listen 127.9.9.9:1");
    assert_true(settings.listen_loopback);
    settings_fini(&settings);
}

static void test_lists(void **state)
{
    (void)state;
    assert_read(COMMAND_SERVE, "--auth none --trusted-proxies= --country-header=");
    assert_int_equal(settings.trusted_proxies_count, 0);
    assert_null(settings.country_headers[0]);
    settings_fini(&settings);
    assert_read(COMMAND_SERVE, "--auth none --country-header X-Country "
                               "--trusted-proxies 10.0.0.0/8,~2001:db8::/32~,192.0.2.7");
    assert_int_equal(settings.trusted_proxies_count, 3);
    struct address address;
    assert_true(address_parse(SLICE_LIT("2001:db8::9"), &address));
    assert_true(network_contains(&settings.trusted_proxies_networks[1], &address));
    assert_false(network_contains(&settings.trusted_proxies_networks[0], &address));
    assert_string_equal(settings.country_headers[0], "X-Country");
    assert_null(settings.country_headers[1]); /* the default's second one is gone */
    settings_fini(&settings);
    assert_wrong(COMMAND_SERVE, "--trusted-proxies 10.0.0.0/8,proxy",
                 "trusted-proxies: \"proxy\" is not a network; write 10.0.0.0/8, ::1/128 or one "
                 "address");
    assert_wrong(COMMAND_SERVE, "--country-header A,,B",
                 "country-header: A,,B is not a list of header names");
    assert_wrong(COMMAND_SERVE, "--country-header A,B~C",
                 "country-header: A,B C is not a list of header names");
    assert_wrong(COMMAND_SERVE, "--country-header A,B,C,D,E",
                 "country-header: holds more than 4 header names or 256 bytes");
}

/* ---- flags ---- */

static void test_flags(void **state)
{
    (void)state;
    assert_read(COMMAND_REPLAY, "first --frame 1m second - --frame=2m -- --third");
    assert_int_equal(settings.frame_ms, 120000); /* the last one wins */
    assert_int_equal(arguments_count, 4);
    assert_string_equal(arguments[0], "first");
    assert_string_equal(arguments[1], "second");
    assert_string_equal(arguments[2], "-");
    assert_string_equal(arguments[3], "--third");
    settings_fini(&settings);
    assert_wrong(COMMAND_SERVE, "--alive-windw 3s",
                 "--alive-windw: there is no such setting; did you mean --alive-window?");
    assert_wrong(COMMAND_SERVE, "--nothing-like-it=3s",
                 "--nothing-like-it: there is no such setting");
    assert_wrong(COMMAND_SERVE, "--target x", "--target: novabeat serve has no such setting");
    assert_wrong(COMMAND_CHECK, "--data", "--data: a value is missing");
    assert_wrong(COMMAND_CHECK, "--data --repair", "--data: a value is missing");
    assert_wrong(COMMAND_CHECK, "-d", "-d: flags are written --name");
    assert_int_equal(read_line(COMMAND_SERVE, "--nonsense --help", no_environment), SETTINGS_HELP);
    settings_fini(&settings);
    assert_int_equal(read_line(COMMAND_SERVE, "-h", no_environment), SETTINGS_HELP);
    settings_fini(&settings);
}

/* ---- the environment ---- */

static void assert_wrong_environment(const char *variable, const char *expected)
{
    const char *const environment[] = {"HOME=/", variable, NULL};
    assert_int_equal(read_line(COMMAND_SERVE, "--auth none", environment), SETTINGS_WRONG);
    assert_string_equal(why, expected);
    settings_fini(&settings);
}

static void test_environment(void **state)
{
    (void)state;
    const char *const environment[] = {"NOVABEAT_ALIVE_WINDOW=70s",
                                       "NOVABEAT_AUTH_NONE_ANYWHERE=true",
                                       "NOVABEAT_SEED=123",
                                       "NOVABEAT_TARGET=http://h",
                                       "NOVABEAT_BUILD=/x",
                                       "OTHER=1",
                                       "NOVABEATALIVE=1",
                                       "NOVABEAT_SERVICE_HOST=10.0.0.1",
                                       "NOVABEAT_SERVICE_PORT_HTTP=8080",
                                       "NOVABEAT_PORT=tcp://10.0.0.1:8080",
                                       "NOVABEAT_PORT_8080_TCP_ADDR=10.0.0.1",
                                       NULL};
    assert_int_equal(read_line(COMMAND_SERVE, "--auth none", environment), SETTINGS_OK);
    assert_int_equal(settings.alive_window_ms, 70000);
    assert_true(settings.auth_none_anywhere);
    assert_string_equal(settings.target, "http://127.0.0.1:8080"); /* not of serve: left unread */
    settings_fini(&settings);
    assert_int_equal(read_line(COMMAND_SIMULATE, "", environment), SETTINGS_OK);
    assert_string_equal(settings.target, "http://h");
    assert_int_equal(settings.seed, 123);
    settings_fini(&settings);
    assert_wrong_environment("NOVABEAT_ALIVE_WINDWO=1s",
                             "NOVABEAT_ALIVE_WINDWO (environment): there is no such setting; did "
                             "you mean NOVABEAT_ALIVE_WINDOW?");
    assert_wrong_environment("NOVABEAT_PORTS=1",
                             "NOVABEAT_PORTS (environment): there is no such setting");
    assert_wrong_environment("NOVABEAT_XYZZY=1",
                             "NOVABEAT_XYZZY (environment): there is no such setting");
    assert_wrong_environment("NOVABEAT_alive-window=1s",
                             "NOVABEAT_alive-window (environment): there is no such setting; did "
                             "you mean NOVABEAT_ALIVE_WINDOW?");
    assert_wrong_environment("NOVABEAT_FRAME=3",
                             "frame (environment): 3 is not a duration; write 65s, 500ms or 5m "
                             "(100ms to 1d)");
    assert_wrong_environment("NOVABEAT_=3", "NOVABEAT_ (environment): there is no such setting");
}

/* ---- the config file ---- */

static void test_config(void **state)
{
    (void)state;
    const char *flags = config_write("# A comment.\n"
                                     "; another\n"
                                     "\n"
                                     "[novabeat]\n"
                                     "alive-window = 66s ; inline\n"
                                     "   hidden-window=130s\n"
                                     "data = /var/lib/novabeat\r\n"
                                     "target = http://elsewhere\n"
                                     "[more]\n"
                                     "auth-none-anywhere = true\n"
                                     "listen = [::]:9000");
    assert_read(COMMAND_SERVE, flags);
    assert_int_equal(settings.alive_window_ms, 66000);
    assert_int_equal(settings.hidden_window_ms, 130000);
    assert_string_equal(settings.data, "/var/lib/novabeat");
    assert_true(settings.auth_none_anywhere);
    assert_string_equal(settings.listen_host, "::");
    assert_int_equal(settings.listen_port, 9000);
    assert_string_equal(settings.config, config_path);
    settings_fini(&settings);
    config_remove();
}

static void assert_wrong_config(const char *text, const char *name, int line, const char *reason)
{
    char expected[SETTINGS_WHY_BYTES];
    const char *flags = config_write(text);
    snprintf(expected, sizeof expected, "%s (%s, line %d): %s", name, config_path, line, reason);
    assert_wrong(COMMAND_SERVE, flags, expected);
    config_remove();
}

static void test_wrong_config(void **state)
{
    (void)state;
    assert_wrong_config("frame = 5m\n\nalive-windw = 3s\n", "alive-windw", 3,
                        "there is no such setting; did you mean alive-window?");
    assert_wrong_config("alive_window = 3s\n", "alive_window", 1,
                        "there is no such setting; did you mean alive-window?");
    assert_wrong_config("# x\n\n[a]\n  frame = 5x\n", "frame", 4,
                        "5x is not a duration; write 65s, 500ms or 5m (100ms to 1d)");
    assert_wrong_config("frame = 5m\nwhat is this\n", "config", 2,
                        "the line is not \"name = value\"");
    assert_wrong_config("frame = 5m\n[novabeat\n", "config", 2, "the line is not \"name = value\"");
    assert_wrong_config("config = other\n", "config", 1, "a config file cannot name another one");
    assert_wrong_config("frame = 5m\ndata = /tmp/x # here\n", "data", 2,
                        "a comment stands on a line of its own");
    assert_wrong_config("token-issuer = \"https://id.example\"\n", "token-issuer", 1,
                        "the quotes would be part of the text: leave them out");
    /* The first error, not the last. */
    assert_wrong_config("frame = 1\ninterval = 2\n", "frame", 1,
                        "1 is not a duration; write 65s, 500ms or 5m (100ms to 1d)");
    char line[400] = "\ndata = ";
    memset(line + 8, 'x', 300);
    assert_wrong_config(line, "config", 2, "the line is longer than 198 bytes");

    assert_wrong(COMMAND_SERVE, "--config /nonexistent/novabeat.ini",
                 "config: /nonexistent/novabeat.ini cannot be opened: No such file or directory");
    char expected[SETTINGS_WHY_BYTES];
    const char *flags = config_write("frame = 5m\xFF\n");
    snprintf(expected, sizeof expected, "config: %s is not a text in UTF-8", config_path);
    assert_wrong(COMMAND_SERVE, flags, expected);
    config_remove();
}

/* Each source alone and all of them: the later one wins. */
static void test_precedence(void **state)
{
    (void)state;
    for (unsigned sources = 0; sources < 8; sources++) {
        char line[256];
        snprintf(line, sizeof line, "%s%s",
                 config_write((sources & 1) != 0 ? "frame = 1m\ndata = file\n" : "\n"),
                 (sources & 4) != 0 ? " --frame 3m --data flag" : "");
        const char *const environment[] = {"NOVABEAT_FRAME=2m", "NOVABEAT_DATA=environment", NULL};
        assert_int_equal(
            read_line(COMMAND_SERVE, line, (sources & 2) != 0 ? environment : no_environment),
            SETTINGS_OK);
        int64_t frame = 300000;
        const char *data = "./novabeat-data";
        if ((sources & 4) != 0) {
            frame = 180000;
            data = "flag";
        } else if ((sources & 2) != 0) {
            frame = 120000;
            data = "environment";
        } else if ((sources & 1) != 0) {
            frame = 60000;
            data = "file";
        }
        assert_int_equal(settings.frame_ms, frame);
        assert_string_equal(settings.data, data);
        settings_fini(&settings);
        config_remove();
    }
}

/* The config file may be named by the environment; a flag names it over that. */
static void test_config_from_environment(void **state)
{
    (void)state;
    char variable[128];
    config_write("frame = 7m\n");
    snprintf(variable, sizeof variable, "NOVABEAT_CONFIG=%s", config_path);
    const char *const environment[] = {variable, NULL};
    assert_int_equal(read_line(COMMAND_SERVE, "--auth none", environment), SETTINGS_OK);
    assert_int_equal(settings.frame_ms, 420000);
    settings_fini(&settings);
    assert_int_equal(read_line(COMMAND_SERVE, "--auth none --config=/dev/null", environment),
                     SETTINGS_OK);
    assert_int_equal(settings.frame_ms, 300000);
    assert_string_equal(settings.config, "/dev/null");
    settings_fini(&settings);
    config_remove();
}

/* ---- relations ---- */

static void test_relations(void **state)
{
    (void)state;
    assert_wrong(COMMAND_SERVE, "--auth none --leaving-window 66s",
                 "leaving-window: 66s is more than alive-window (65s): leaving must not make a "
                 "viewer stay longer");
    assert_wrong(COMMAND_SIMULATE, "--alive-window 126s",
                 "alive-window: 126s is more than hidden-window (125s): a hidden tab beats more "
                 "rarely");
    assert_wrong(COMMAND_REPLAY, "--hidden-window 151s",
                 "hidden-window: 151s is more than viewing-gap (150s): a viewer who is watching "
                 "must not start a new viewing");
    assert_wrong(COMMAND_SERVE, "--auth none --records-flush 2m",
                 "records-flush: 2m is more than records-interval (1m): new viewings are written "
                 "at least as often");
    assert_wrong(COMMAND_SERVE, "--auth none --journal-max 1m",
                 "journal-segment: 64m is more than journal-max (1m): the journal is at least one "
                 "file");
    assert_read(COMMAND_SERVE, "--auth none --leaving-window 65s --alive-window 65s "
                               "--hidden-window 65s --viewing-gap 65s");
    settings_fini(&settings);
    assert_wrong(COMMAND_SERVE, "--profiles-query SELECT",
                 "profiles-query: needs profiles-database");
    assert_wrong(COMMAND_SERVE, "--profiles-database users.db",
                 "profiles-database: needs profiles-query");
}

static void test_auth(void **state)
{
    (void)state;
    assert_read(COMMAND_SERVE, "");
    settings_fini(&settings);
    assert_read(COMMAND_SERVE, "--listen 0.0.0.0:8080"); /* tokens and keys guard it */
    settings_fini(&settings);
    assert_wrong(COMMAND_SERVE, "--auth none --listen 0.0.0.0:8080",
                 "auth: none serves on loopback addresses only, and listen is 0.0.0.0:8080; say "
                 "--auth-none-anywhere if everybody who reaches it may send for anybody");
    assert_wrong(COMMAND_SERVE, "--auth none --listen [::]:8080",
                 "auth: none serves on loopback addresses only, and listen is [::]:8080; say "
                 "--auth-none-anywhere if everybody who reaches it may send for anybody");
    assert_read(COMMAND_SERVE, "--auth none --listen 0.0.0.0:8080 --auth-none-anywhere");
    settings_fini(&settings);
    assert_read(COMMAND_SIMULATE, ""); /* only serve asks */
    settings_fini(&settings);
}

/* ---- commands and pages ---- */

static void test_commands(void **state)
{
    (void)state;
    enum command command;
    for (unsigned i = 0; i < COMMANDS; i++) {
        assert_true(command_find(command_name((enum command)i), &command));
        assert_int_equal(command, i);
    }
    assert_false(command_find("servr", &command));
    assert_false(command_find("", &command));
    assert_string_equal(command_nearest("servr"), "serve");
    assert_null(command_nearest("xyzzy"));
}

/* All that a print function prints; the caller frees. */
static char *printed(void (*print)(FILE *out, enum command command), enum command command)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    print(out, command);
    fclose(out);
    return text;
}

static void print_markdown(FILE *out, enum command command)
{
    (void)command;
    settings_print_markdown(out);
}

static void print_commands(FILE *out, enum command command)
{
    (void)command;
    settings_print_commands(out);
}

static void test_help(void **state)
{
    (void)state;
    char *overview = printed(print_commands, COMMAND_HELP);
    for (unsigned command = 0; command < COMMANDS; command++) {
        assert_non_null(strstr(overview, command_name((enum command)command)));
        char *help = printed(settings_print_help, (enum command)command);
        for (size_t i = 0; i < settings_count; i++) {
            char flag[64];
            snprintf(flag, sizeof flag, "\n  --%s%s", settings_table[i].name,
                     settings_table[i].kind == SETTING_FLAG ? "\n" : " ");
            bool has = (settings_table[i].commands & COMMAND_BIT(command)) != 0;
            assert_int_equal(strstr(help, flag) != NULL, has);
        }
        for (const char *line = help; *line != '\0'; line += strcspn(line, "\n") + 1) {
            assert_true(strcspn(line, "\n") <= 100);
        }
        free(help);
    }
    free(overview);
}

static void test_docs_are_current(void **state)
{
    (void)state;
    static const char here[] = "tests/unit/cli/test_settings.c";
    char path[4096];
    size_t top = strlen(__FILE__) - strlen(here);
    assert_string_equal(&__FILE__[top], here);
    snprintf(path, sizeof path, "%.*sdocs/SETTINGS.md", (int)top, __FILE__);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    static char committed[1 << 17];
    size_t len = fread(committed, 1, sizeof committed - 1, file);
    fclose(file);
    committed[len] = '\0';
    char *page = printed(print_markdown, COMMAND_HELP);
    if (strcmp(page, committed) != 0) {
        fail_msg("docs/SETTINGS.md is not what `novabeat help --markdown` prints");
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_wrong_values),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_wrong_config),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_config_from_environment),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_docs_are_current),
    };
    return tap_run(tests);
}
