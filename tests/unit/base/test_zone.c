/* test_zone.c -- zones against the C library and Python, which read the same files by themselves.
 *
 * Skips, visibly, what needs zone files or Python when there are none. */
#define _GNU_SOURCE
#include "tap.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/zone.h"

#define ZONES_MAX 2000

static char folder[200] = "/usr/share/zoneinfo";
static char names[ZONES_MAX][64];
static size_t names_count;

static struct zone *zone_of(const char *name)
{
    struct zone *zone = NULL;
    enum err err = zone_open(slice_str(name), &zone);
    if (err != ERR_NONE) {
        fail_msg("%s: %s", name, err_name(err));
    }
    return zone;
}

static void expect_text(const char *name, int64_t ms, const char *expected)
{
    char text[ZONE_TEXT_BYTES];
    struct zone *zone = zone_of(name);
    struct slice is = zone_format(zone, ms, text);
    if (!slice_equal(is, slice_str(expected))) {
        fail_msg("%s at %lld: %.*s, not %s", name, (long long)ms, SLICE_ARG(is), expected);
    }
    zone_close(zone);
}

/* ---- what needs no files ---- */

static void test_utc_and_offsets(void **state)
{
    (void)state;
    expect_text("UTC", 0, "1970-01-01T00:00:00.000Z");
    expect_text("Z", 1637658823070, "2021-11-23T09:13:43.070Z");
    expect_text("+08:00", 1637658823070, "2021-11-23T17:13:43.070+08:00");
    expect_text("-0330", 1637658823070, "2021-11-23T05:43:43.070-03:30");
    expect_text("+00:00", -1, "1969-12-31T23:59:59.999+00:00");
    expect_text("-00:00", 951782400000, "2000-02-29T00:00:00.000+00:00");
    expect_text("-0030", 0, "1969-12-31T23:30:00.000-00:30");
    expect_text("+18:00", 0, "1970-01-01T18:00:00.000+18:00");
    expect_text("-1800", 0, "1969-12-31T06:00:00.000-18:00");
    expect_text("UTC", 4107542399999, "2100-02-28T23:59:59.999Z");
    expect_text("UTC", 4107542400000, "2100-03-01T00:00:00.000Z"); /* no leap year */
    expect_text("UTC", -62167219200000, "0000-01-01T00:00:00.000Z");
    expect_text("UTC", 253402300799999, "9999-12-31T23:59:59.999Z");
}

static void test_clamped_years(void **state)
{
    (void)state;
    expect_text("UTC", -62167219200001, "0000-01-01T00:00:00.000Z");
    expect_text("UTC", 253402300800000, "9999-12-31T23:59:59.999Z");
    expect_text("+08:00", 253402300799999, "9999-12-31T23:59:59.999+08:00");
    expect_text("-08:00", -62167219200000, "0000-01-01T00:00:00.000-08:00");
    expect_text("+18:00", INT64_MAX, "9999-12-31T23:59:59.999+18:00");
    expect_text("-18:00", INT64_MIN, "0000-01-01T00:00:00.000-18:00");
}

static void test_bad_names(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "/",
        "/etc/passwd",
        "../../etc/passwd",
        "Asia/../Asia/Tokyo",
        "Asia//Tokyo",
        "Asia/",
        "./UTC",
        "Asia/To kyo",
        "Asia/Tokyo\n",
        "Asia\\Tokyo",
        "zone.tab",
        "+",
        "-",
        "+8",
        "+08",
        "+8:00",
        "+08:0",
        "+080",
        "+08:000",
        "+08:60",
        "+18:01",
        "-19:00",
        "+99:99",
        "+0:800",
        "+08-00",
        "+:0800",
        "+08000",
        "\xc3\xa4",
        ":UTC",
        "12345678901234567890123456789012345678901234567890123456789012345"};
    struct zone *zone = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (zone_open(slice_str(bad[i]), &zone) != ERR_INVALID) {
            fail_msg("%s is not refused", bad[i]);
        }
    }
    assert_int_equal(zone_open(slice_of("UTC\0x", 5), &zone), ERR_INVALID);
    assert_int_equal(zone_open(SLICE_LIT("Nowhere/At_All"), &zone), ERR_NOT_FOUND);
    assert_null(zone);
    zone_close(NULL);
}

/* ---- against the C library, all zones ---- */

static int visit(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)ftw;
    const char *name = path + strlen(folder) + 1;
    char magic[4] = "";
    if (type != FTW_F || strncmp(name, "right/", 6) == 0 || strncmp(name, "posix/", 6) == 0 ||
        strlen(name) >= sizeof names[0] || names_count == ZONES_MAX) {
        return 0;
    }
    FILE *in = fopen(path, "rb");
    if (in != NULL && fread(magic, 1, 4, in) == 4 && memcmp(magic, "TZif", 4) == 0) {
        snprintf(names[names_count++], sizeof names[0], "%s", name);
    }
    if (in != NULL) {
        fclose(in);
    }
    return 0;
}

static bool have_zones(void)
{
    if (names_count == 0) {
        const char *other = getenv("TZDIR");
        if (other != NULL) {
            snprintf(folder, sizeof folder, "%s", other);
        }
        nftw(folder, visit, 20, 0);
    }
    if (names_count == 0) {
        printf("# SKIP there are no zone files in %s\n", folder);
    }
    return names_count > 0;
}

static int32_t libc_offset_s(int64_t time_s)
{
    time_t time = (time_t)time_s;
    struct tm local;
    assert_non_null(localtime_r(&time, &local));
    return (int32_t)local.tm_gmtoff;
}

static void compare(const char *name, const struct zone *zone, int64_t time_s)
{
    int32_t is = zone_offset_s(zone, time_s * 1000), expected = libc_offset_s(time_s);
    if (is != expected) {
        fail_msg("%s at %lld: %d, not %d", name, (long long)time_s, is, expected);
    }
}

/* The second at which the library's offset is no longer that at low_s. */
static int64_t edge(int64_t low_s, int64_t high_s)
{
    int32_t before = libc_offset_s(low_s);
    while (high_s - low_s > 1) {
        int64_t middle_s = low_s + (high_s - low_s) / 2;
        if (libc_offset_s(middle_s) == before) {
            low_s = middle_s;
        } else {
            high_s = middle_s;
        }
    }
    return high_s;
}

static void test_all_zones_as_the_c_library(void **state)
{
    (void)state;
    enum { STEP_S = 20 * 86400 };
    const int64_t from_s = -2208988800, to_s = 4417977600; /* 1900 to 2110 */
    uint64_t seed = tap_seed();
    uint64_t edges = 0;
    if (!have_zones()) {
        return;
    }
    for (size_t i = 0; i < names_count; i++) {
        struct zone *zone = zone_of(names[i]);
        char path[300];
        snprintf(path, sizeof path, ":%s/%s", folder, names[i]);
        setenv("TZ", path, 1);
        tzset();
        int32_t before = libc_offset_s(from_s);
        for (int64_t time_s = from_s; time_s < to_s; time_s += STEP_S) {
            int32_t after = libc_offset_s(time_s + STEP_S);
            compare(names[i], zone, time_s);
            if (after != before) {
                int64_t edge_s = edge(time_s, time_s + STEP_S);
                compare(names[i], zone, edge_s - 1);
                compare(names[i], zone, edge_s);
                compare(names[i], zone, edge_s + 1);
                assert_int_equal(zone_offset_s(zone, edge_s * 1000 - 1),
                                 libc_offset_s(edge_s - 1)); /* the last ms before it */
                edges++;
            }
            before = after;
        }
        for (int k = 0; k < 300; k++) { /* up to the year 11000 */
            compare(names[i], zone, (int64_t)(tap_random(&seed) % 285000000000u));
        }
        zone_close(zone);
    }
    unsetenv("TZ");
    tzset();
    printf("# %zu zones, %llu changes\n", names_count, (unsigned long long)edges);
    assert_true(edges > names_count);
}

/* ---- against Python: the whole text ---- */

static void test_texts_as_python(void **state)
{
    (void)state;
    static const char *const some[] = {
        "Asia/Hong_Kong",    "Europe/Vienna",    "Europe/Dublin",
        "America/New_York",  "America/St_Johns", "Australia/Lord_Howe",
        "Pacific/Chatham",   "Pacific/Apia",     "Africa/Casablanca",
        "Asia/Kathmandu",    "America/Nuuk",     "Antarctica/Troll",
        "America/Sao_Paulo", "Asia/Gaza"};
    static const char script[] =
        "import random,sys\n"
        "from datetime import datetime,timedelta,timezone\n"
        "from zoneinfo import ZoneInfo\n"
        "epoch=datetime(1970,1,1,tzinfo=timezone.utc)\n"
        "random.seed(int(sys.argv[1]))\n"
        "for name in sys.argv[2:]:\n"
        "    zone=ZoneInfo(name)\n"
        "    for i in range(2000):\n"
        "        ms=random.randrange(0,4102444800000 if i%2 else 250000000000000)\n"
        "        at=(epoch+timedelta(milliseconds=ms)).astimezone(zone)\n"
        "        print(name,ms,at.isoformat(timespec='milliseconds'))\n";
    char command[4000], name[64], expected[64];
    long long ms;
    size_t compared = 0;
    if (!have_zones()) {
        return;
    }
    int len = snprintf(command, sizeof command, "PYTHONTZPATH=%s python3 -c \"%s\" %llu", folder,
                       script, (unsigned long long)tap_seed());
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++) {
        len += snprintf(command + len, sizeof command - (size_t)len, " %s", some[i]);
    }
    if (system("python3 -c 'import zoneinfo' 2>/dev/null") != 0) {
        printf("# SKIP there is no python3 with zoneinfo\n");
        return;
    }
    FILE *python = popen(command, "r");
    assert_non_null(python);
    struct zone *zone = NULL;
    char open[64] = "";
    while (fscanf(python, "%63s %lld %63s", name, &ms, expected) == 3) {
        char text[ZONE_TEXT_BYTES];
        if (strcmp(open, name) != 0) {
            zone_close(zone);
            zone = zone_of(name);
            snprintf(open, sizeof open, "%s", name);
        }
        struct slice is = zone_format(zone, ms, text);
        if (!slice_equal(is, slice_str(expected))) {
            fail_msg("%s at %lld: %.*s, not %s", name, ms, SLICE_ARG(is), expected);
        }
        compared++;
    }
    zone_close(zone);
    assert_int_equal(pclose(python), 0);
    assert_int_equal(compared, 2000 * (sizeof some / sizeof some[0]));
}

/* ---- files of our own: rules, and damage ---- */

static char own[64];

/* TZDIR for the time of a test. */
static int own_set_up(void **state)
{
    (void)state;
    snprintf(own, sizeof own, "/tmp/novabeat-zone.XXXXXX");
    assert_non_null(mkdtemp(own));
    setenv("TZDIR", own, 1);
    return 0;
}

static int own_tear_down(void **state)
{
    (void)state;
    char path[100];
    snprintf(path, sizeof path, "%s/Own", own);
    unlink(path);
    unsetenv("TZDIR");
    return rmdir(own);
}

static void write_own(const char *bytes, size_t len)
{
    char path[100];
    snprintf(path, sizeof path, "%s/Own", own);
    unlink(path); /* some file systems wait for the disk when a file is emptied and written */
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
}

static char *put_u32(char *at, uint32_t number)
{
    for (int i = 3; i >= 0; i--) {
        *at++ = (char)(number >> (8 * i));
    }
    return at;
}

static char *put_header(char *at, uint32_t times, uint32_t types, uint32_t chars)
{
    memcpy(at, "TZif2", 5);
    memset(at + 5, 0, 15);
    at = put_u32(put_u32(put_u32(at + 20, 0), 0), 0); /* isut, isstd, leap */
    return put_u32(put_u32(put_u32(at, times), types), chars);
}

/* A file with `times` changes a day apart from the epoch on, to and fro between 1 h and 2 h, and
 * with this rule.  The result is its length. */
static size_t make(char *bytes, uint32_t times, const char *rule)
{
    char *at = put_header(bytes, 0, 1, 4);
    memcpy(at, "\0\0\0\0\0\0UTC", 10);
    at = put_header(at + 10, times, 2, 8);
    for (uint32_t i = 0; i < times; i++) {
        at = put_u32(put_u32(at, 0), i * 86400);
    }
    for (uint32_t i = 0; i < times; i++) {
        *at++ = (char)(i % 2 == 0);
    }
    at = put_u32(at, 3600);
    memcpy(at, "\0\0", 2);
    at = put_u32(at + 2, 7200);
    memcpy(at, "\1\4AAA\0BBB\0", 10);
    at += 10;
    return (size_t)(at - bytes) + (size_t)sprintf(at, "\n%s\n", rule);
}

static enum err open_own(struct zone **zone)
{
    *zone = NULL;
    return zone_open(SLICE_LIT("Own"), zone);
}

static void test_rules_as_the_c_library(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "EST5EDT,M3.2.0,M11.1.0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "IST-1GMT0,M10.5.0,M3.5.0/1", /* winter time is the other one */
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", /* on the day before */
        "IST-2IDT,M3.4.4/26,M10.5.0",       /* on the day after */
        "NZST-12NZDT,M9.5.0,M4.1.0/3",
        "AAA3BBB,J60,J300", /* the 1st of March, leap year or not */
        "AAA3BBB,J59/1:30:15,J365/20",
        "AAA3BBB,59,300", /* the 29th of February in a leap year */
        "AAA-3:30:15BBB-5,1/4,J364/23",
        "<A-1>+14",
        "HST10",
        "ABCDEFGH-24",
    };
    static char bytes[1000];
    uint64_t seed = tap_seed();
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct zone *zone;
        write_own(bytes, make(bytes, 0, rules[i]));
        assert_int_equal(open_own(&zone), ERR_NONE);
        setenv("TZ", rules[i], 1);
        tzset();
        for (int64_t time_s = 1577836800; time_s < 1735689600; time_s += 1800) { /* 2020 to 2024 */
            compare(rules[i], zone, time_s);
            compare(rules[i], zone, time_s - 1);
        }
        for (int k = 0; k < 2000; k++) {
            compare(rules[i], zone, (int64_t)(tap_random(&seed) % 30000000000u));
        }
        zone_close(zone);
    }
    unsetenv("TZ");
    tzset();
}

/* Changes that belong to another year than UTC's, which the C library (2.36) takes for that one. */
static void test_changes_at_new_year(void **state)
{
    (void)state;
    static char bytes[1000];
    struct zone *zone;
    const int64_t new_year_ms = 1577836800000; /* 2020 */
    write_own(bytes, make(bytes, 0, "AAA3BBB,J59,J365/23"));
    assert_int_equal(open_own(&zone), ERR_NONE);
    assert_int_equal(zone_offset_s(zone, new_year_ms), -2 * 3600); /* 22:00 on the 31st */
    assert_int_equal(zone_offset_s(zone, new_year_ms + 3600000 - 1), -2 * 3600);
    assert_int_equal(zone_offset_s(zone, new_year_ms + 3600000), -3 * 3600);
    zone_close(zone);
    write_own(bytes, make(bytes, 0, "AAA-3BBB,0/0,J300"));
    assert_int_equal(open_own(&zone), ERR_NONE);
    assert_int_equal(zone_offset_s(zone, new_year_ms - 3 * 3600000 - 1), 3 * 3600);
    assert_int_equal(zone_offset_s(zone, new_year_ms - 3 * 3600000), 4 * 3600);
    zone_close(zone);
}

/* RFC 8536, 3.3.1: daylight saving time all the year. */
static void test_dst_for_ever(void **state)
{
    (void)state;
    static char bytes[1000];
    struct zone *zone;
    write_own(bytes, make(bytes, 0, "EST5EDT,0/0,J365/25"));
    assert_int_equal(open_own(&zone), ERR_NONE);
    for (int64_t ms = 1577750400000; ms < 1735689600000; ms += 900000) {
        assert_int_equal(zone_offset_s(zone, ms), -4 * 3600);
    }
    zone_close(zone);
}

static void test_changes_and_no_rule(void **state)
{
    (void)state;
    static char bytes[1000];
    struct zone *zone;
    write_own(bytes, make(bytes, 3, ""));
    assert_int_equal(open_own(&zone), ERR_NONE);
    assert_int_equal(zone_offset_s(zone, -1), 3600); /* the first type */
    assert_int_equal(zone_offset_s(zone, 0), 7200);
    assert_int_equal(zone_offset_s(zone, 86399999), 7200);
    assert_int_equal(zone_offset_s(zone, 86400000), 3600);
    assert_int_equal(zone_offset_s(zone, 172800000), 7200);
    assert_int_equal(zone_offset_s(zone, INT64_MAX), 7200);
    assert_int_equal(zone_offset_s(zone, INT64_MIN), 3600);
    zone_close(zone);
}

static void test_bad_rules(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "X",
        "AB3",
        "EST",
        "EST25",
        "EST5EDT",
        "EST5EDT,M3.2.0",
        "EST5EDT,M3.2.0,",
        "EST5EDT,M13.2.0,M11.1.0",
        "EST5EDT,M0.2.0,M11.1.0",
        "EST5EDT,M3.6.0,M11.1.0",
        "EST5EDT,M3.0.0,M11.1.0",
        "EST5EDT,M3.2.7,M11.1.0",
        "EST5EDT,M3.2,M11.1.0",
        "EST5EDT,J0,J5",
        "EST5EDT,J366,J5",
        "EST5EDT,366,5",
        "EST5EDT,M3.2.0/168,M11.1.0",
        "EST5EDT,M3.2.0/1:60,M11.1.0",
        "EST5EDT,M3.2.0,M11.1.0,",
        "EST5EDT,M3.2.0,M11.1.0 ",
        "EST5:EDT,M3.2.0,M11.1.0",
        "<EST5",
        "<E T>5",
        "<+1>5",
        "E1T5",
        "EST99999999999",
        "EST5EDT,M99999999999.1.1,M11.1.0",
    };
    static char bytes[1000];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct zone *zone;
        write_own(bytes, make(bytes, 2, bad[i]));
        if (open_own(&zone) != ERR_DAMAGED) {
            fail_msg("%s is not refused", bad[i]);
        }
    }
}

/* Cut anywhere, with bytes changed: refused, or a zone with offsets that can be. */
static void test_damaged_files(void **state)
{
    (void)state;
    static char whole[1000], bytes[1000];
    struct zone *zone;
    uint64_t seed = tap_seed();
    unsigned good = 0;
    size_t len = make(whole, 5, "CET-1CEST,M3.5.0,M10.5.0/3");
    for (size_t cut = 0; cut < len; cut++) {
        write_own(whole, cut);
        assert_int_equal(open_own(&zone), ERR_DAMAGED);
    }
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, whole, len);
        for (uint64_t changes = 1 + tap_random(&seed) % 3; changes > 0; changes--) {
            static const char likely[] = {0, 1, 2, 4, 127, -1, -128};
            bool any = tap_random(&seed) % 2 == 0;
            bytes[tap_random(&seed) % len] =
                any ? (char)tap_random(&seed) : likely[tap_random(&seed) % sizeof likely];
        }
        write_own(bytes, len);
        enum err err = open_own(&zone);
        assert_true(err == ERR_NONE || err == ERR_DAMAGED);
        good += err == ERR_NONE;
        for (int k = 0; k < 20 && err == ERR_NONE; k++) {
            char text[ZONE_TEXT_BYTES];
            int64_t ms = (int64_t)tap_random(&seed) >> (tap_random(&seed) % 40);
            int32_t offset_s = zone_offset_s(zone, ms);
            assert_true(offset_s > -26 * 3600 && offset_s < 26 * 3600);
            zone_format(zone, ms, text);
        }
        zone_close(zone);
    }
    assert_true(good > 100 && good < 19900);
}

static void test_hostile_counts(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t number;
    } cases[] = {{32, UINT32_MAX}, {36, 0x7fffffff}, {40, 0x80000000},      {20, UINT32_MAX},
                 {54 + 28, 1},     {54 + 32, 6},     {54 + 32, UINT32_MAX}, {54 + 36, 0},
                 {54 + 36, 257},   {54 + 40, 0},     {54 + 24, 1},          {54 + 20, 1}};
    static char whole[1000], bytes[300000];
    struct zone *zone;
    size_t len = make(whole, 5, "HST10");
    write_own(whole, len);
    assert_int_equal(open_own(&zone), ERR_NONE);
    zone_close(zone);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memcpy(bytes, whole, len);
        put_u32(bytes + cases[i].at, cases[i].number);
        write_own(bytes, len);
        if (open_own(&zone) != ERR_DAMAGED) {
            fail_msg("case %zu is not refused", i);
        }
    }
    memcpy(bytes, whole, len);
    write_own(bytes, sizeof bytes); /* too large to be one */
    assert_int_equal(open_own(&zone), ERR_DAMAGED);
    bytes[4] = '\0'; /* version 1 */
    write_own(bytes, len);
    assert_int_equal(open_own(&zone), ERR_DAMAGED);
}

#define OWN(test) cmocka_unit_test_setup_teardown(test, own_set_up, own_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utc_and_offsets),
        cmocka_unit_test(test_clamped_years),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_all_zones_as_the_c_library),
        cmocka_unit_test(test_texts_as_python),
        OWN(test_rules_as_the_c_library),
        OWN(test_changes_at_new_year),
        OWN(test_dst_for_ever),
        OWN(test_changes_and_no_rule),
        OWN(test_bad_rules),
        OWN(test_damaged_files),
        OWN(test_hostile_counts),
    };
    return tap_run(tests);
}
