/* test_replay.c -- the command over offline: exit status, words with line numbers, what is kept. */
#include "common.h"

#include "cli/commands.h"

#define START INT64_C(1637661623070)

static struct settings settings_of(void)
{
    struct live_options options = options_for(&folder);
    struct settings settings = {0};
    settings.data = folder.data;
    settings.records = "sqlite";
    settings.alive_window_ms = options.engine.windows.alive_ms;
    settings.hidden_window_ms = options.engine.windows.hidden_ms;
    settings.leaving_window_ms = options.engine.windows.leaving_ms;
    settings.viewing_gap_ms = options.engine.windows.gap_ms;
    settings.frame_ms = options.engine.windows.frame_ms;
    settings.profile_ttl_ms = options.engine.profile_ttl_ms;
    settings.event_idle_ms = options.engine.event_idle_ms;
    settings.events_max = options.engine.events_max;
    settings.sessions_max = options.engine.sessions_max;
    settings.viewers_max = options.engine.viewers_max;
    settings.backlog_max = options.engine.backlog_max;
    settings.journal_segment_bytes = options.journal_segment_bytes;
    settings.journal_max_bytes = options.journal_max_bytes;
    settings.records_interval_ms = 60000;
    return settings;
}

static FILE *trace_open(char path[128])
{
    (void)snprintf(path, 128, "%s/trace", folder.top);
    FILE *trace = fopen(path, "w");
    assert_non_null(trace);
    return trace;
}

/* What descriptor `fd` gets goes to a file, until taken back. */
static int divert(int fd, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder.top, name);
    (void)fflush(NULL);
    int kept = dup(fd), file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0 && dup2(file, fd) == fd);
    close(file);
    return kept;
}

static void take_back(int fd, int kept)
{
    (void)fflush(NULL);
    assert_int_equal(dup2(kept, fd), fd);
    close(kept);
}

static bool said(const char *name, const char *words)
{
    static char text[65536];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder.top, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return strstr(text, words) != NULL;
}

static int replay(const struct settings *settings, char *path)
{
    int out = divert(STDOUT_FILENO, "out"), err = divert(STDERR_FILENO, "err");
    int status = command_replay(settings, 1, &path);
    take_back(STDERR_FILENO, err);
    take_back(STDOUT_FILENO, out);
    return status;
}

static int64_t attended(void)
{
    return folder_sql(&folder, "SELECT attended FROM audience WHERE session = ''");
}

static void put_line(FILE *trace, int64_t ts_ms, int viewer)
{
    fprintf(trace, "{\"ts\":%lld,\"event\":\"e\",\"viewer\":\"v%d\"}\n", (long long)ts_ms, viewer);
}

/* ---- what is wrong ---- */

/* The lines before the bad one are kept; its number is said. */
static void bad_line(const char *line, const char *words)
{
    char path[128];
    FILE *trace = trace_open(path);
    for (int i = 0; i < 700; i++) { /* more than a batch */
        put_line(trace, START + i, i);
    }
    fprintf(trace, "\n%s\n", line);
    put_line(trace, START + 1000, 1000);
    fclose(trace);
    struct settings settings = settings_of();
    assert_int_equal(replay(&settings, path), EXIT_FAILED);
    assert_true(said("err", "line 702: "));
    assert_true(said("err", words));
    assert_true(said("out", "700 heartbeats counted, 0 refused"));
    assert_int_equal(attended(), 700);
    folder_remove(&folder);
    folder_make(&folder);
}

static void test_bad_lines(void **state)
{
    (void)state;
    static char line[20000];
    bad_line("{\"ts\":1,\"event\":\"e\",\"viewer\":\"v\"}", "goes back");
    bad_line("{\"ts\":-1,\"event\":\"e\",\"viewer\":\"v\"}", "\"ts\" must");
    bad_line("{\"ts\":9007199254740991,\"event\":\"e\",\"viewer\":\"v\"}", "future");
    (void)snprintf(line, sizeof line, "{\"ts\":%lld,\"event\":\"e\",\"viewer\":\"v\"}",
                   (long long)(clock_wall_us() / 1000 + 3600000));
    bad_line(line, "future");
    bad_line("{\"ts\":1637661999999,\"event\":\"e e\",\"viewer\":\"v\"}", "\"event\" must");
    bad_line("{\"ts\":1637661999999,\"event\":\"e\",\"viewer\":\"\"}", "\"viewer\" must");
    bad_line("{\"ts\":1637661999999,\"event\":\"e\"}", "viewer");
    bad_line("{\"ts\":1637661999999,\"event\":\"e\",\"viewer\":\"v\",\"country\":\"XYZ\"}",
             "\"country\" must");
    bad_line("{\"ts\":1637661999999,\"event\":\"e\",\"viewer\":\"v\",\"groups\":[1]}",
             "\"groups\" must");
    bad_line("nonsense", "");
    (void)snprintf(line, sizeof line, "{\"ts\":1637661999999,\"event\":\"e\",\"viewer\":\"%*s\"}",
                   9000, "v");
    bad_line(line, "too long");
}

static void test_line_without_end(void **state)
{
    (void)state;
    static char junk[3 << 20];
    char path[128];
    memset(junk, 'x', sizeof junk);
    FILE *trace = trace_open(path);
    put_line(trace, START, 1);
    assert_int_equal(fwrite(junk, sizeof junk, 1, trace), 1);
    fclose(trace);
    struct settings settings = settings_of();
    assert_int_equal(replay(&settings, path), EXIT_FAILED);
    assert_true(said("err", "line 2: the line is too long"));
    assert_int_equal(attended(), 1);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    char path[128];
    struct settings settings = settings_of();
    (void)snprintf(path, sizeof path, "%s/none", folder.top);
    assert_int_equal(replay(&settings, path), EXIT_FAILED);
    assert_true(said("err", "No such file"));
    assert_int_equal(replay(&settings, folder.top), EXIT_FAILED);
    assert_true(said("err", "Is a directory"));
    fclose(trace_open(path));
    settings.data = "/nonexistent/novabeat/data";
    assert_int_equal(replay(&settings, path), EXIT_FAILED);
    assert_true(said("err", settings.data));
    assert_false(said("out", "counted")); /* nothing was begun */
}

/* What hit a bound is missing in the figures: not all went well. */
static void test_bounds(void **state)
{
    (void)state;
    char path[128];
    FILE *trace = trace_open(path);
    for (int i = 0; i < 10; i++) {
        put_line(trace, START, i);
    }
    fclose(trace);
    struct settings settings = settings_of();
    settings.viewers_max = 3;
    assert_int_equal(replay(&settings, path), EXIT_FAILED);
    assert_true(said("out", "3 heartbeats counted, 7 refused"));
    assert_true(said("err", "viewers-max"));
    assert_int_equal(attended(), 3);
}

/* ---- what is right ---- */

/* A trace in two files; the second may begin with the very ms that the first ended with. */
static void test_two_files(void **state)
{
    (void)state;
    char path[128];
    struct settings settings = settings_of();
    for (int part = 0; part < 2; part++) {
        FILE *trace = trace_open(path);
        for (int i = 0; i < 1000; i++) {
            put_line(trace, START + part * 999 + i, part * 500 + i);
        }
        fclose(trace);
        assert_int_equal(replay(&settings, path), EXIT_WELL);
        assert_true(said("out", "1000 heartbeats counted, 0 refused"));
    }
    assert_int_equal(attended(), 1500);
    assert_int_equal(replay(&settings, path), EXIT_FAILED); /* not the same one again */
    assert_true(said("err", "line 1: \"ts\" goes back"));
    assert_int_equal(attended(), 1500);
}

/* All forms of a line; no newline at the end, CRLF, null for what may be absent. */
static void test_forms(void **state)
{
    (void)state;
    char path[128];
    FILE *trace = trace_open(path);
    fputs("{\"ts\":1637661623070,\"event\":\"e\",\"viewer\":\"a\"}\r\n\n\r\n"
          "{\"viewer\":\"\\u0062\",\"event\":\"\\u0065\",\"ts\":1637661623070,\"session\":null,"
          "\"country\":null,\"groups\":null,\"hidden\":null,\"leaving\":null}\n"
          "{\"ts\":1637661623071,\"event\":\"e\",\"viewer\":\"c\",\"session\":\"s\","
          "\"country\":\"\\u0048K\",\"groups\":[\"g\",\"\\u0067\"],\"hidden\":true,"
          "\"leaving\":false}",
          trace);
    fclose(trace);
    struct settings settings = settings_of();
    assert_int_equal(replay(&settings, path), EXIT_WELL);
    assert_int_equal(attended(), 3);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendances WHERE viewer = 'c' AND "
                                         "country = 'HK' AND groups = '[\"g\"]'"),
                     2);
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM attendances WHERE viewer = 'b'"), 1);
}

/* As much text to unescape as lines can hold: it once ran over the end of the scratch. */
static void test_much_to_unescape(void **state)
{
    (void)state;
    enum { LINES = 1500 };
    char path[128];
    FILE *trace = trace_open(path);
    for (int i = 0; i < LINES; i++) {
        fprintf(trace, "{\"ts\":%lld,\"event\":\"e\",\"viewer\":\"v\",\"groups\":[",
                (long long)(START + i));
        for (int g = 0; g < 32; g++) {
            fprintf(trace, "%s\"\\u0041%02d%02d%055d\"", g > 0 ? "," : "", g, i % 50, 0);
        }
        fputs("]}\n", trace);
    }
    fclose(trace);
    struct settings settings = settings_of();
    assert_int_equal(replay(&settings, path), EXIT_WELL);
    assert_true(said("out", "1500 heartbeats counted, 0 refused"));
    assert_int_equal(folder_sql(&folder, "SELECT count(*) FROM group_set"), 50);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_lines),        TEST(test_line_without_end), TEST(test_files_that_are_none),
        TEST(test_bounds),           TEST(test_two_files),        TEST(test_forms),
        TEST(test_much_to_unescape),
    };
    return tap_run(tests);
}
