/* test_viewers.c -- profiles from files into the store and back. */
#include "unit/records/store.h"

#include "cli/viewers.h"

struct importing {
    enum err err;
    struct viewers_result result;
    char bad[1024]; /* what the callback was told */
};

static void note_bad(void *ctx, const struct viewers_fault *fault)
{
    char *text = ctx;
    snprintf(text + strlen(text), 300, "%llu: %s; ", (unsigned long long)fault->line, fault->text);
}

static struct importing import(struct store *store, struct slice text,
                               struct viewers_options options)
{
    struct importing importing = {.err = ERR_NONE};
    FILE *in = fmemopen((void *)(uintptr_t)text.ptr, text.len, "r");
    assert_non_null(in);
    options.bad = note_bad;
    options.ctx = importing.bad;
    importing.err = viewers_import(store->link, in, &options, &importing.result);
    fclose(in);
    return importing;
}

static char *export_text(struct store *store, enum viewers_format format, const char *event)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct viewers_options options = {.format = format, .event = slice_str(event)};
    struct viewers_result result;
    assert_int_equal(viewers_export(store->link, out, &options, &result), ERR_NONE);
    fclose(out);
    return text;
}

static void expect_export(struct store *store, enum viewers_format format, const char *event,
                          const char *want)
{
    char *text = export_text(store, format, event);
    assert_string_equal(text, want);
    free(text);
}

static void test_formats(void **state)
{
    (void)state;
    assert_int_equal(viewers_format_of("a.csv"), VIEWERS_CSV);
    assert_int_equal(viewers_format_of("a.NDJSON"), VIEWERS_NDJSON);
    assert_int_equal(viewers_format_of("x/a.jsonl"), VIEWERS_NDJSON);
    assert_int_equal(viewers_format_of("viewers"), VIEWERS_CSV);
}

static void test_csv(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct importing done =
        import(&store,
               SLICE_LIT("\xef\xbb\xbf"
                         "Name,groups,viewerId,eventId\r\n"
                         "\"Lovelace, \"\"Ada\"\"\",press;backstage;press;,ada,E1\r\n"
                         "\r\n"
                         ",,bob,E1\n"
                         "'=1+1,a\\;b;c\\\\d;e\\f,'-eve,E2"),
               (struct viewers_options){.format = VIEWERS_CSV});
    assert_string_equal(done.bad, "");
    assert_int_equal(done.err, ERR_NONE);
    assert_int_equal(done.result.profiles, 3);
    expect_export(&store, VIEWERS_NDJSON, "",
                  "{\"event\":\"E1\",\"viewer\":\"ada\",\"name\":\"Lovelace, \\\"Ada\\\"\","
                  "\"groups\":[\"backstage\",\"press\"]}\n"
                  "{\"event\":\"E1\",\"viewer\":\"bob\",\"name\":\"\",\"groups\":[]}\n"
                  "{\"event\":\"E2\",\"viewer\":\"-eve\",\"name\":\"=1+1\","
                  "\"groups\":[\"a;b\",\"c\\\\d\",\"e\\\\f\"]}\n");
    expect_export(&store, VIEWERS_CSV, "",
                  "event,viewer,name,groups\r\n"
                  "E1,ada,\"Lovelace, \"\"Ada\"\"\",backstage;press\r\n"
                  "E1,bob,,\r\n"
                  "E2,'-eve,'=1+1,a\\;b;c\\\\d;e\\\\f\r\n");
    expect_export(&store, VIEWERS_CSV, "E1",
                  "event,viewer,name,groups\r\n"
                  "E1,ada,\"Lovelace, \"\"Ada\"\"\",backstage;press\r\n"
                  "E1,bob,,\r\n");
    expect_export(&store, VIEWERS_CSV, "none", "event,viewer,name,groups\r\n");
    expect_export(&store, VIEWERS_NDJSON, "none", "");

    /* The event may be told instead of written; a line replaces what was there. */
    done = import(&store, SLICE_LIT("viewer\nbob\ncarl\n"),
                  (struct viewers_options){.format = VIEWERS_CSV, .event = SLICE_LIT("E3")});
    assert_int_equal(done.err, ERR_NONE);
    done = import(&store, SLICE_LIT("viewer,event,name\nbob,,one\nbob,E3,two\n"),
                  (struct viewers_options){.format = VIEWERS_CSV, .event = SLICE_LIT("E3")});
    assert_int_equal(done.err, ERR_NONE);
    expect_export(&store, VIEWERS_CSV, "E3",
                  "event,viewer,name,groups\r\nE3,bob,two,\r\nE3,carl,,\r\n");
    store_close(&store);
}

static void test_ndjson(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct importing done = import(
        &store,
        SLICE_LIT("\xef\xbb\xbf{\"event\":\"E1\",\"viewer\":\"ad\\u0061\",\"name\":\"\\u00c4da\","
                  "\"groups\":[\"pr\\u0065ss\",\"a\"],\"more\":{\"x\":[1]}}\r\n"
                  "\n"
                  "{\"viewer\":\"bob\"}"),
        (struct viewers_options){.format = VIEWERS_NDJSON, .event = SLICE_LIT("E1")});
    assert_string_equal(done.bad, "");
    assert_int_equal(done.err, ERR_NONE);
    assert_int_equal(done.result.profiles, 2);
    expect_export(&store, VIEWERS_CSV, "",
                  "event,viewer,name,groups\r\nE1,ada,Äda,a;press\r\nE1,bob,,\r\n");
    store_close(&store);
}

/* A bad line, and what is said of it. */
static void expect_bad(struct store *store, enum viewers_format format, const char *event,
                       const char *text, uint64_t line, const char *words)
{
    struct importing done =
        import(store, slice_str(text),
               (struct viewers_options){.format = format, .event = slice_str(event)});
    assert_int_equal(done.err, ERR_INVALID);
    assert_int_equal(done.result.profiles, 0);
    if (done.result.first.line != line || strstr(done.result.first.text, words) == NULL) {
        fail_msg("%s: %llu: %s", text, (unsigned long long)done.result.first.line,
                 done.result.first.text);
    }
    uint64_t count;
    store_must(store, records_profiles_count(store->link, SLICE_EMPTY, &count));
    assert_int_equal(count, 0); /* good lines before and after it notwithstanding */
}

static void test_bad_csv(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    const enum viewers_format csv = VIEWERS_CSV;
    expect_bad(&store, csv, "", "\n", 2, "no header");
    expect_bad(&store, csv, "", "event,name\nE,x\n", 1, "no column \"viewer\"");
    expect_bad(&store, csv, "", "viewer\nv\n", 1, "no column \"event\"");
    expect_bad(&store, csv, "E", "viewer,group\nv,g\n", 1, "column \"group\"");
    expect_bad(&store, csv, "E", "viewer,viewerId\nv,v\n", 1, "twice");
    expect_bad(&store, csv, "E", "\"viewer\"x\nv\n", 1, "closing quote");
    expect_bad(&store, csv, "", "event,viewer\nE,a\n,b\n", 3, "\"event\" is missing");
    expect_bad(&store, csv, "", "event,viewer\nE/,a\n", 2, "\"event\"");
    expect_bad(&store, csv, "F", "event,viewer\nF,a\nE,b\nF,c\n", 3, "only F is wanted");
    expect_bad(&store, csv, "E", "viewer\na\n\"\"\n", 3, "\"viewer\" is missing");
    expect_bad(&store, csv, "E", "viewer\na\n\"x\ny\"\n", 3, "\"viewer\"");
    expect_bad(&store, csv, "E", "viewer\n\xff\n", 2, "UTF-8");
    expect_bad(&store, csv, "E", "viewer,name\na,\x01\n", 2, "\"name\"");
    expect_bad(&store, csv, "E", "viewer,groups\na,g;\x01\n", 2, "\"groups\"");
    expect_bad(&store, csv, "E", "viewer,name\na\n", 2, "1 cells, the header 2");
    expect_bad(&store, csv, "E", "viewer\na,b\n", 2, "2 cells, the header 1");
    expect_bad(&store, csv, "E", "viewer\na\n\"b\n", 3, "inside a quoted cell");
    char many[512] = "viewer,groups\na,";
    for (int i = 0; i < 33; i++) {
        snprintf(many + strlen(many), 16, "g%d;", i);
    }
    expect_bad(&store, csv, "E", many, 2, "more than 32");
    store_close(&store);
}

static void test_bad_ndjson(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    const enum viewers_format ndjson = VIEWERS_NDJSON;
    expect_bad(&store, ndjson, "E", "{\"viewer\":\"a\"}\n{\n", 2, "ends too early");
    expect_bad(&store, ndjson, "E", "[]\n", 1, "object");
    expect_bad(&store, ndjson, "E", "{\"name\":\"x\"}\n", 1, "\"viewer\"");
    expect_bad(&store, ndjson, "E", "{\"viewer\":7}\n", 1, "\"viewer\"");
    expect_bad(&store, ndjson, "", "{\"viewer\":\"a\"}\n", 1, "\"event\" is missing");
    expect_bad(&store, ndjson, "E", "{\"viewer\":\"a\",\"groups\":\"g\"}\n", 1, "\"groups\"");
    expect_bad(&store, ndjson, "E", "{\"viewer\":\"a\",\"groups\":[1]}\n", 1, "array of strings");
    expect_bad(&store, ndjson, "E", "{\"viewer\":\"a\\u0000\"}\n", 1, "\"viewer\"");
    char *text = malloc(70000);
    snprintf(text, 70000, "{\"viewer\":\"a\",\"name\":\"%066000d\"}", 7);
    expect_bad(&store, ndjson, "E", text, 1, "too long");
    snprintf(text, 70000, "{\"viewer\":\"a\",\"name\":\"\\n%0300d\"}", 7);
    expect_bad(&store, ndjson, "E", text, 1, "\"name\" is too long");
    free(text);
    store_close(&store);
}

static void test_skip_bad(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct importing done =
        import(&store, SLICE_LIT("event,viewer\nE,a\nE!,b\nE,\"c\"d\nE,d\n"),
               (struct viewers_options){.format = VIEWERS_CSV, .skip_bad = true});
    assert_int_equal(done.err, ERR_NONE);
    assert_int_equal(done.result.profiles, 2);
    assert_int_equal(done.result.bad, 2);
    assert_int_equal(done.result.first.line, 3);
    assert_string_equal(done.bad, "3: \"event\" must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -; "
                                  "4: something follows the closing quote of a cell; ");
    expect_export(&store, VIEWERS_CSV, "", "event,viewer,name,groups\r\nE,a,,\r\nE,d,,\r\n");
    store_close(&store);
}

/* A pipe cannot be read twice. */
static void test_pipe(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "viewer\na\nb\n", 11), 11);
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    struct viewers_result result;
    const struct viewers_options options = {.format = VIEWERS_CSV, .event = SLICE_LIT("E")};
    assert_int_equal(viewers_import(store.link, in, &options, &result), ERR_NONE);
    assert_int_equal(result.profiles, 2);
    fclose(in);
    store_close(&store);
}

static void test_failures(void **state)
{
    (void)state;
    struct store store, other;
    store_open(&store);
    other = store;
    other.link = store_link(&store);
    sqlite3_busy_timeout(sqlite_link_of(store.link)->db, 0);
    store_sql(&other, "BEGIN IMMEDIATE");
    struct importing done =
        import(&store, SLICE_LIT("viewer\na\n"),
               (struct viewers_options){.format = VIEWERS_CSV, .event = SLICE_LIT("E")});
    assert_int_equal(done.err, ERR_BUSY);
    assert_int_equal(done.result.profiles, 0);
    assert_non_null(strstr(done.result.first.text, "locked"));
    store_sql(&other, "COMMIT");
    records_close(other.link);

    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    struct viewers_result result;
    const struct viewers_options options = {.format = VIEWERS_CSV};
    assert_int_equal(viewers_export(store.link, full, &options, &result), ERR_NOSPACE);
    assert_true(result.first.text[0] != '\0');
    fclose(full);
    store_close(&store);
}

/* ---- round trip: what comes out goes in and comes out again, to the byte ---- */

static size_t random_text(uint64_t *seed, char *out, size_t pieces)
{
    static const char *const alphabet[] = {",", "\"", ";", "\\", "'", "=", "+", "-",
                                           "@", " ",  "ö", "𝄞",  "a", "b", "/", "{"};
    out[0] = '\0';
    while (pieces-- > 0) {
        strcat(out, alphabet[tap_random(seed) % 16]);
    }
    return strlen(out);
}

static void put_random_profiles(struct store *store, uint64_t *seed, int count)
{
    for (int i = 0; i < count; i++) {
        char event[8], viewer[64], name[64], packed[GROUPS_PACKED_BYTES_MAX], ids[4][64];
        struct slice groups[4];
        size_t len, groups_count = tap_random(seed) % 5;
        for (size_t j = 0; j < groups_count; j++) {
            groups[j] = slice_of(ids[j], random_text(seed, ids[j], 1 + tap_random(seed) % 6));
        }
        assert_int_equal(groups_pack(groups, groups_count, packed, &len), GROUPS_OK);
        snprintf(event, sizeof event, "%c%d", "-~E"[tap_random(seed) % 3], i % 7);
        const struct profile profile = {
            .event = slice_str(event),
            .viewer = slice_of(viewer, random_text(seed, viewer, 1 + tap_random(seed) % 8)),
            .name = slice_of(name, random_text(seed, name, tap_random(seed) % 8)),
            .groups = slice_of(packed, len),
        };
        store_must(store, records_profiles_put(store->link, &profile, 1));
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    store_open(&store);
    store_sql(&store, "PRAGMA synchronous = OFF"); /* hundreds of small commits */
    put_random_profiles(&store, &seed, 500);
    for (int format = VIEWERS_CSV; format <= VIEWERS_NDJSON; format++) {
        char *text = export_text(&store, (enum viewers_format)format, "");
        struct store again;
        store_open(&again);
        struct importing done =
            import(&again, slice_str(text),
                   (struct viewers_options){.format = (enum viewers_format)format});
        assert_string_equal(done.bad, "");
        assert_int_equal(done.err, ERR_NONE);
        for (int other = VIEWERS_CSV; other <= VIEWERS_NDJSON; other++) {
            char *want = export_text(&store, (enum viewers_format)other, "");
            char *is = export_text(&again, (enum viewers_format)other, "");
            assert_string_equal(is, want);
            free(is);
            free(want);
        }
        free(text);
        store_close(&again);
    }
    store_close(&store);
}

/* More than one batch in, and out again. */
static void test_large(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    const uint32_t count = VIEWERS_BATCH + 25000;
    char *text = NULL;
    size_t len = 0;
    FILE *file = open_memstream(&text, &len);
    fprintf(file, "event,viewer,name,groups\r\n");
    for (uint32_t i = 0; i < count; i++) {
        fprintf(file, "E,viewer-%08u,Name %u,g%u;h\r\n", i, i, i % 5);
    }
    fclose(file);
    struct importing done =
        import(&store, slice_of(text, len), (struct viewers_options){.format = VIEWERS_CSV});
    assert_int_equal(done.err, ERR_NONE);
    assert_int_equal(done.result.profiles, count);
    char *again = export_text(&store, VIEWERS_CSV, "");
    assert_int_equal(strlen(again), len);
    assert_memory_equal(again, text, len);
    free(again);
    free(text);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),    cmocka_unit_test(test_csv),
        cmocka_unit_test(test_ndjson),     cmocka_unit_test(test_bad_csv),
        cmocka_unit_test(test_bad_ndjson), cmocka_unit_test(test_skip_bad),
        cmocka_unit_test(test_pipe),       cmocka_unit_test(test_failures),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_large),
    };
    return tap_run(tests);
}
