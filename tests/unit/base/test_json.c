/* test_json.c -- the JSON reader against RFC 8259's public test vectors, against jansson, and
 * against the end of the world: every text ends at a page that must not be touched. */
#include "base/json.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer.h"
#include "tap.h"

/* ---- texts that end at a guard page ---- */

#define GUARDED_BYTES_MAX (1 << 20)

static char *guard_start; /* GUARDED_BYTES_MAX bytes, then a page without access */

static int guard_set_up(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guard_start = mmap(NULL, GUARDED_BYTES_MAX + page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guard_start != MAP_FAILED);
    assert_int_equal(mprotect(guard_start + GUARDED_BYTES_MAX, page, PROT_NONE), 0);
    return 0;
}

static int guard_tear_down(void **state)
{
    (void)state;
    return munmap(guard_start, GUARDED_BYTES_MAX + (size_t)sysconf(_SC_PAGESIZE));
}

static struct slice guarded(const char *text, size_t len)
{
    assert_true(len <= GUARDED_BYTES_MAX);
    char *copy = guard_start + GUARDED_BYTES_MAX - len;
    if (len > 0) {
        memcpy(copy, text, len);
    }
    return slice_of(copy, len);
}

/* ---- fields that the tests want ---- */

static const struct json_field fields[] = {
    JSON_FIELD("ts", JSON_IS_NUMBER, JSON_OPTIONAL),
    JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
    JSON_FIELD("session", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    JSON_FIELD("hidden", JSON_IS_BOOL, JSON_OPTIONAL),
    JSON_FIELD("groups", JSON_IS_ARRAY, JSON_OPTIONAL),
    JSON_FIELD("extra", JSON_IS_OBJECT, JSON_OPTIONAL),
};
enum { TS, VIEWER, SESSION, HIDDEN, GROUPS, EXTRA, FIELDS };

static struct json_value values[FIELDS];
static struct json_fault fault;

static enum json_outcome read_text(const char *text)
{
    return json_object_read(guarded(text, strlen(text)), fields, FIELDS, values, &fault);
}

static void assert_fault(const char *text, enum json_outcome outcome, size_t offset,
                         const char *field, const char *words)
{
    assert_int_equal(read_text(text), outcome);
    assert_int_equal(fault.outcome, outcome);
    assert_int_equal(fault.offset, offset);
    if (field == NULL) {
        assert_null(fault.field);
    } else {
        assert_non_null(fault.field);
        assert_string_equal(fault.field, field);
    }
    char said[JSON_FAULT_TEXT_BYTES];
    json_fault_text(&fault, said);
    assert_string_equal(said, words);
}

static void assert_value(int field, enum json_kind kind, const char *raw)
{
    assert_int_equal(values[field].kind, kind);
    if (!slice_equal(values[field].raw, slice_str(raw))) {
        fail_msg("%.*s is not %s", SLICE_ARG(values[field].raw), raw);
    }
}

/* ---- reading ---- */

static void test_members(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"ts\":1637661623070,\"viewer\":\"v1\",\"session\":null,"
                               "\"hidden\":true,\"groups\":[\"a\",\"b\"],\"extra\":{\"x\":[1]}}"),
                     JSON_OK);
    assert_value(TS, JSON_IS_NUMBER, "1637661623070");
    assert_value(VIEWER, JSON_IS_STRING, "v1");
    assert_value(SESSION, JSON_IS_NULL, "null");
    assert_value(HIDDEN, JSON_IS_BOOL, "true");
    assert_true(values[HIDDEN].truth);
    assert_value(GROUPS, JSON_IS_ARRAY, "\"a\",\"b\"");
    assert_value(EXTRA, JSON_IS_OBJECT, "{\"x\":[1]}");

    /* Any order, any whitespace, members nobody wants; the last of equal names counts. */
    assert_int_equal(read_text(" \t\r\n{ \"groups\" : [ ] , \"other\" : {\"viewer\":[{},[[]]]} ,"
                               "\"viewer\" : \"no\", \"\": -0.5e+3, \"hidden\":false,"
                               "\"viewer\" : \"yes\" } \n"),
                     JSON_OK);
    assert_value(TS, JSON_ABSENT, "");
    assert_value(VIEWER, JSON_IS_STRING, "yes");
    assert_value(SESSION, JSON_ABSENT, "");
    assert_value(HIDDEN, JSON_IS_BOOL, "false");
    assert_false(values[HIDDEN].truth);
    assert_value(GROUPS, JSON_IS_ARRAY, " ");

    /* Names are compared as text, not as they are written. */
    assert_int_equal(read_text("{\"\\u0076iew\\u0065r\":\"v\"}"), JSON_OK);
    assert_value(VIEWER, JSON_IS_STRING, "v");
    assert_int_equal(read_text("{\"viewe\":1,\"viewer2\":2,\"viewer\\u0000\":3}"), JSON_MISSING);

    assert_int_equal(json_object_read(SLICE_LIT("{}"), NULL, 0, NULL, &fault), JSON_OK);
    assert_int_equal(json_object_read(SLICE_EMPTY, NULL, 0, NULL, &fault), JSON_CUT);
}

static void test_faults(void **state)
{
    (void)state;
    assert_fault("{\"viewer\":\"v\",\"hidden\":1}", JSON_KIND, 23, "hidden",
                 "\"hidden\" must be true or false");
    assert_fault("{\"viewer\":null}", JSON_KIND, 10, "viewer", "\"viewer\" must be a string");
    assert_fault("{\"viewer\":\"v\",\"session\":7}", JSON_KIND, 24, "session",
                 "\"session\" must be a string or null");
    assert_fault("{\"groups\":{}}", JSON_KIND, 10, "groups", "\"groups\" must be an array");
    assert_fault("{\"extra\":[]}", JSON_KIND, 9, "extra", "\"extra\" must be an object");
    assert_fault("{\"ts\":\"1\"}", JSON_KIND, 6, "ts", "\"ts\" must be a number");
    /* Also where a later one would override it. */
    assert_fault("{\"hidden\":0,\"hidden\":true,\"viewer\":\"v\"}", JSON_KIND, 10, "hidden",
                 "\"hidden\" must be true or false");
    assert_fault("{\"ts\":1}", JSON_MISSING, 8, "viewer", "\"viewer\" is missing");
    assert_fault("{\"viewer\":tru}", JSON_SYNTAX, 13, "viewer",
                 "this is not JSON (in \"viewer\", at byte 13)");
    assert_fault("{\"other\":tru}", JSON_SYNTAX, 12, NULL, "this is not JSON (at byte 12)");
    assert_fault("{\"viewer\":\"v\"", JSON_CUT, 13, NULL,
                 "the JSON text ends too early (at byte 13)");
    assert_fault("{\"viewer\":\"v\"}x", JSON_SYNTAX, 14, NULL, "this is not JSON (at byte 14)");
    assert_fault("{\"viewer\":\"v\"}{}", JSON_SYNTAX, 14, NULL, "this is not JSON (at byte 14)");
    assert_fault("{\"viewer\":\"v\",}", JSON_SYNTAX, 14, NULL, "this is not JSON (at byte 14)");
    assert_fault("{\"viewer\" \"v\"}", JSON_SYNTAX, 10, NULL, "this is not JSON (at byte 10)");
    assert_fault("{\"viewer\":\"a\nb\"}", JSON_CONTROL, 12, "viewer",
                 "a control character in a string must be escaped (in \"viewer\", at byte 12)");
    assert_fault("{\"viewer\":\"a\\x\"}", JSON_ESCAPE, 13, "viewer",
                 "a string has a wrong escape (in \"viewer\", at byte 13)");
    assert_fault("{\"viewer\":\"\\u12G4\"}", JSON_ESCAPE, 15, "viewer",
                 "a string has a wrong escape (in \"viewer\", at byte 15)");
    assert_fault("{\"viewer\":\"\\ud800x\"}", JSON_SURROGATE, 13, "viewer",
                 "a string has a surrogate without its other half (in \"viewer\", at byte 13)");
    assert_fault("{\"viewer\":\"\xC3(\"}", JSON_UTF8, 11, "viewer",
                 "a string is not valid UTF-8 (in \"viewer\", at byte 11)");
    assert_fault("[1]", JSON_NOT_OBJECT, 0, NULL, "a JSON object is expected (at byte 0)");
    assert_fault("\xEF\xBB\xBF{}", JSON_NOT_OBJECT, 0, NULL,
                 "a JSON object is expected (at byte 0)");
    assert_fault("", JSON_CUT, 0, NULL, "the JSON text ends too early (at byte 0)");
    assert_fault(" ", JSON_CUT, 1, NULL, "the JSON text ends too early (at byte 1)");
}

static void test_depth(void **state)
{
    (void)state;
    /* The object itself is the first of JSON_DEPTH_MAX containers. */
    for (int inner = JSON_DEPTH_MAX - 2; inner <= JSON_DEPTH_MAX; inner++) {
        for (int kind = 0; kind < 3; kind++) {
            struct buffer text;
            buffer_init(&text, 4096);
            buffer_put_lit(&text, "{\"viewer\":\"v\",\"x\":");
            for (int i = 0; i < inner; i++) {
                bool array = kind == 0 || (kind == 2 && i % 2 == 0);
                buffer_put(&text, array ? SLICE_LIT("[") : SLICE_LIT("{\"k\":"));
            }
            buffer_put_lit(&text, "1");
            for (int i = inner - 1; i >= 0; i--) {
                bool array = kind == 0 || (kind == 2 && i % 2 == 0);
                buffer_put_char(&text, array ? ']' : '}');
            }
            buffer_put_lit(&text, "}");
            struct slice all = buffer_slice(&text);
            enum json_outcome expected = inner < JSON_DEPTH_MAX ? JSON_OK : JSON_DEPTH;
            assert_int_equal(json_object_read(all, fields, FIELDS, values, &fault), expected);
            assert_int_equal(json_valid(all, NULL), expected == JSON_OK);
            buffer_fini(&text);
        }
    }
}

static void assert_text(const char *json_string, size_t scratch_bytes, struct slice expected)
{
    char object[256];
    snprintf(object, sizeof object, "{\"viewer\":%s}", json_string);
    assert_int_equal(read_text(object), JSON_OK);
    char scratch[64];
    struct slice text;
    assert_true(json_text(&values[VIEWER], scratch, scratch_bytes, &text));
    assert_true(slice_equal(text, expected));
    if (values[VIEWER].escaped) {
        assert_false(json_text(&values[VIEWER], scratch, expected.len - 1, &text));
    } else {
        assert_ptr_equal(text.ptr, values[VIEWER].raw.ptr); /* borrowed, not copied */
    }
}

static void test_text(void **state)
{
    (void)state;
    assert_text("\"\"", 0, SLICE_EMPTY);
    assert_text("\"plain \xC3\xBC\"", 0, SLICE_LIT("plain \xC3\xBC"));
    assert_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", 8, SLICE_LIT("\"\\/\b\f\n\r\t"));
    assert_text("\"\\u0041\\u00fC\\u20ac\\uD83C\\udfa4\"", 10,
                SLICE_LIT("A\xC3\xBC\xE2\x82\xAC\xF0\x9F\x8E\xA4"));
    assert_text("\"a\\u0000b\"", 3, SLICE_LIT("a\0b"));
    assert_text("\"\\uD7FF\\uE000\\uDBFF\\uDFFF\"", 10,
                SLICE_LIT("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"));
}

static void assert_i64(const char *number, bool whole, int64_t expected)
{
    char object[128];
    snprintf(object, sizeof object, "{\"viewer\":\"v\",\"ts\":%s}", number);
    assert_int_equal(read_text(object), JSON_OK);
    int64_t value = 77;
    assert_int_equal(json_i64(&values[TS], &value), whole);
    assert_true(value == (whole ? expected : 77));
}

static void test_i64(void **state)
{
    (void)state;
    assert_i64("0", true, 0);
    assert_i64("-0", true, 0);
    assert_i64("1637661623070", true, 1637661623070);
    assert_i64("9223372036854775807", true, INT64_MAX);
    assert_i64("9223372036854775808", false, 0);
    assert_i64("-9223372036854775808", true, INT64_MIN);
    assert_i64("-9223372036854775809", false, 0);
    assert_i64("18446744073709551616", false, 0);
    assert_i64("100000000000000000000000000000", false, 0);
    assert_i64("1.0", false, 0);
    assert_i64("1e3", false, 0);
    int64_t value;
    assert_false(json_i64(&values[VIEWER], &value)); /* a string is no number */
}

static void test_array(void **state)
{
    (void)state;
    assert_int_equal(
        read_text("{\"viewer\":\"v\",\"groups\": [ \"a,]\" ,1,[2,\"]\"],{\"k\":[]} ,null] }"),
        JSON_OK);
    static const struct {
        enum json_kind kind;
        const char *raw;
    } expected[] = {{JSON_IS_STRING, "a,]"},
                    {JSON_IS_NUMBER, "1"},
                    {JSON_IS_ARRAY, "2,\"]\""},
                    {JSON_IS_OBJECT, "{\"k\":[]}"},
                    {JSON_IS_NULL, "null"}};
    size_t count = 0;
    struct json_value item;
    for (struct slice rest = values[GROUPS].raw; json_array_next(&rest, &item); count++) {
        assert_true(count < 5);
        assert_int_equal(item.kind, expected[count].kind);
        assert_true(slice_equal(item.raw, slice_str(expected[count].raw)));
    }
    assert_int_equal(count, 5);
    assert_int_equal(read_text("{\"viewer\":\"v\",\"groups\":[ ]}"), JSON_OK);
    struct slice rest = values[GROUPS].raw;
    assert_false(json_array_next(&rest, &item));
}

/* Each byte in each place of a string: the words of eight must not miss one. */
static void test_every_byte_in_every_lane(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        for (int lane = 0; lane < 20; lane++) {
            char text[] = "{\"viewer\":\"01234567890123456789\"}";
            text[11 + lane] = (char)byte;
            enum json_outcome expected = JSON_OK;
            if (byte < 0x20) {
                expected = JSON_CONTROL;
            } else if (byte >= 0x80) {
                expected = JSON_UTF8;
            } else if (byte == '"') {
                expected = JSON_SYNTAX; /* what follows the string */
            } else if (byte == '\\') {
                expected = lane == 19 ? JSON_CUT : JSON_ESCAPE; /* "\0", "\9"; at the end: "\"" */
            }
            if (byte == '"' && lane == 19) {
                continue; /* two quotes in a row at the end: tried as SYNTAX in the other lanes */
            }
            struct slice copy = guarded(text, sizeof text - 1);
            assert_int_equal(json_object_read(copy, fields, FIELDS, values, &fault), expected);
            if (expected == JSON_CONTROL || expected == JSON_UTF8) {
                assert_int_equal(fault.offset, 11 + lane);
            }
        }
    }
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    static const char text[] = " {\"ts\":-16.5e+10,\"viewer\":\"v\\n\\uD83C\\udfa4 12345678\","
                               "\"hidden\":false,\"groups\":[\"a\",[],null,{\"k\":{}}],"
                               "\"extra\":{\"x\":[1,2]} }";
    size_t len = sizeof text - 1;
    for (size_t cut = 0; cut < len; cut++) {
        enum json_outcome outcome =
            json_object_read(guarded(text, cut), fields, FIELDS, values, &fault);
        assert_int_equal(outcome, JSON_CUT);
        assert_int_equal(fault.offset, cut);
    }
    assert_int_equal(json_object_read(guarded(text, len), fields, FIELDS, values, &fault), JSON_OK);
}

/* ---- the public vectors ---- */

/* Reads a whole file; the caller frees. */
static char *file_read(const char *folder, const char *name, size_t *len)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(GUARDED_BYTES_MAX);
    assert_non_null(bytes);
    *len = fread(bytes, 1, GUARDED_BYTES_MAX, file);
    assert_true(*len < GUARDED_BYTES_MAX);
    fclose(file);
    return bytes;
}

/* Every cut of it: no read behind its end (the guard page), no fault offset behind it. */
static void check_cuts(const char *bytes, size_t len)
{
    for (size_t cut = 0; cut <= len && len <= 4096; cut++) {
        struct slice text = guarded(bytes, cut);
        if (!json_valid(text, &fault)) {
            assert_true(fault.outcome != JSON_OK && fault.offset <= cut);
        }
        if (json_object_read(text, fields, FIELDS, values, &fault) != JSON_OK) {
            assert_true(fault.outcome != JSON_OK && fault.offset <= cut);
        }
    }
}

static void check_vector(const char *name, const char *bytes, size_t len)
{
    struct slice text = guarded(bytes, len);
    bool valid = json_valid(text, &fault);
    if (name[0] == 'y' && !valid) {
        fail_msg("%s is refused: %d at %zu", name, fault.outcome, fault.offset);
    }
    if (name[0] == 'n' && valid) {
        fail_msg("%s is accepted", name);
    }
    /* As an object: accepted exactly when the text is valid and an object. */
    enum json_outcome outcome = json_object_read(text, NULL, 0, NULL, &fault);
    size_t first = 0;
    while (first < len && strchr(" \t\r\n", bytes[first]) != NULL && bytes[first] != '\0') {
        first++;
    }
    bool object = valid && first < len && bytes[first] == '{';
    if ((outcome == JSON_OK) != object) {
        fail_msg("%s as an object: %d", name, outcome);
    }
    check_cuts(bytes, len);
}

static void test_vectors(void **state)
{
    (void)state;
    static const char folder[] = NOVABEAT_VECTORS "/json/test_parsing";
    DIR *listing = opendir(folder);
    if (listing == NULL) {
        printf("# SKIP test_vectors: no folder %s\n", folder);
        skip();
    }
    int counts[3] = {0, 0, 0};
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        const char *kind = strchr("yni", entry->d_name[0]);
        if (kind == NULL || *kind == '\0' || entry->d_name[1] != '_') {
            continue;
        }
        size_t len;
        char *bytes = file_read(folder, entry->d_name, &len);
        check_vector(entry->d_name, bytes, len);
        free(bytes);
        counts[kind[0] == 'y' ? 0 : kind[0] == 'n' ? 1 : 2]++;
    }
    closedir(listing);
    printf("# vectors: %d to accept, %d to refuse, %d of either\n", counts[0], counts[1],
           counts[2]);
    assert_true(counts[0] > 50 && counts[1] > 100 && counts[2] > 10);
}

/* ---- against jansson ---- */

static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    return tap_random(&random_state) % bound;
}

static void put_random_string(struct buffer *text)
{
    static const char *const parts[] = {
        "a", "viewer",         "0", "\\n",          "\\u00e9", "\xC3\xBC", "\\\"", "12345678",
        " ", "\\ud83c\\udfa4", "/", "\xE2\x82\xAC", "\\\\"};
    buffer_put_char(text, '"');
    for (uint64_t left = random_below(5); left > 0; left--) {
        buffer_put(text, slice_str(parts[random_below(sizeof parts / sizeof parts[0])]));
    }
    buffer_put_char(text, '"');
}

static void put_random_space(struct buffer *text)
{
    if (random_below(6) == 0) {
        buffer_put_char(text, " \t\r\n"[random_below(4)]);
    }
}

static void put_random_value(struct buffer *text, int depth)
{
    static const char *const scalars[] = {"true", "false", "null",  "0",    "-1",
                                          "12",   "1.5",   "1e5",   "-0.0", "9223372036854775807",
                                          "\"\"", "7E-2",  "\"x\"", "3"};
    put_random_space(text);
    uint64_t kind = random_below(depth > 4 ? 6 : 10);
    if (kind < 4) {
        buffer_put(text, slice_str(scalars[random_below(sizeof scalars / sizeof scalars[0])]));
    } else if (kind < 6) {
        put_random_string(text);
    } else {
        bool object = kind >= 8;
        buffer_put_char(text, object ? '{' : '[');
        uint64_t count = random_below(4);
        for (uint64_t i = 0; i < count; i++) {
            buffer_put(text, i > 0 ? SLICE_LIT(",") : SLICE_EMPTY);
            put_random_space(text);
            if (object) {
                put_random_string(text);
                put_random_space(text);
                buffer_put_char(text, ':');
            }
            put_random_value(text, depth + 1);
        }
        buffer_put_char(text, object ? '}' : ']');
    }
    put_random_space(text);
}

static void put_random_object(struct buffer *text)
{
    buffer_put_char(text, '{');
    uint64_t count = random_below(6);
    for (uint64_t i = 0; i < count; i++) {
        buffer_put(text, i > 0 ? SLICE_LIT(",") : SLICE_EMPTY);
        put_random_space(text);
        if (random_below(2) == 0) {
            buffer_put_json_string(text, fields[random_below(FIELDS)].name);
        } else {
            put_random_string(text);
        }
        buffer_put_char(text, ':');
        put_random_value(text, 1);
    }
    buffer_put_char(text, '}');
}

static void assert_same(const struct json_value *ours, const json_t *theirs)
{
    char scratch[256];
    struct slice text;
    int64_t whole;
    struct json_value item;
    size_t index = 0;
    switch ((enum json_kind)ours->kind) {
    case JSON_ABSENT:
        assert_null(theirs);
        break;
    case JSON_IS_NULL:
        assert_true(json_is_null(theirs));
        break;
    case JSON_IS_BOOL:
        assert_int_equal(ours->truth, json_is_true(theirs));
        assert_true(json_is_boolean(theirs));
        break;
    case JSON_IS_NUMBER:
        assert_int_equal(json_i64(ours, &whole), json_is_integer(theirs));
        assert_true(!json_is_integer(theirs) || json_integer_value(theirs) == whole);
        break;
    case JSON_IS_STRING:
        assert_true(json_text(ours, scratch, sizeof scratch, &text));
        assert_int_equal(text.len, json_string_length(theirs));
        assert_memory_equal(text.ptr, json_string_value(theirs), text.len);
        break;
    case JSON_IS_ARRAY:
        for (struct slice rest = ours->raw; json_array_next(&rest, &item); index++) {
            assert_same(&item, json_array_get(theirs, index));
        }
        assert_int_equal(index, json_array_size(theirs));
        break;
    case JSON_IS_OBJECT:
        assert_true(json_is_object(theirs));
        break;
    }
}

/* What jansson refuses for reasons of its own: numbers it cannot hold, NUL in a member's name. */
static bool jansson_is_narrower(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow ||
           json_error_code(error) == json_error_null_byte_in_key;
}

static const struct json_field any_fields[] = {
#define ANY_KIND                                                                                   \
    (JSON_IS_NULL | JSON_IS_BOOL | JSON_IS_NUMBER | JSON_IS_STRING | JSON_IS_ARRAY | JSON_IS_OBJECT)
    JSON_FIELD("ts", ANY_KIND, JSON_OPTIONAL),      JSON_FIELD("viewer", ANY_KIND, JSON_OPTIONAL),
    JSON_FIELD("session", ANY_KIND, JSON_OPTIONAL), JSON_FIELD("hidden", ANY_KIND, JSON_OPTIONAL),
    JSON_FIELD("groups", ANY_KIND, JSON_OPTIONAL),  JSON_FIELD("extra", ANY_KIND, JSON_OPTIONAL),
};

static void compare_with_jansson(const char *bytes, size_t len, size_t *accepted)
{
    json_error_t error;
    json_t *theirs = json_loadb(bytes, len, JSON_ALLOW_NUL, &error);
    struct slice text = guarded(bytes, len);
    enum json_outcome ours = json_object_read(text, any_fields, FIELDS, values, &fault);
    if (theirs == NULL && jansson_is_narrower(&error)) {
        return;
    }
    if ((ours == JSON_OK) != json_is_object(theirs)) {
        fail_msg("ours %d at %zu, jansson \"%s\": %.*s", ours, fault.offset, error.text, (int)len,
                 bytes);
    }
    if (ours == JSON_OK) {
        (*accepted)++;
        for (int i = 0; i < FIELDS; i++) {
            assert_same(&values[i], json_object_get(theirs, any_fields[i].name.ptr));
        }
    }
    json_decref(theirs);
}

static void test_jansson(void **state)
{
    (void)state;
    random_state = tap_seed();
    static const char bytes_of_interest[] = "{}[]:,\"\\/ue0-+.Etn \n\x01\x7F\x80\xBF\xC3\xED";
    size_t accepted = 0;
    size_t total = 0;
    struct buffer text;
    buffer_init(&text, 65536);
    for (int round = 0; round < 60000; round++) {
        buffer_reset(&text);
        put_random_object(&text);
        assert_int_equal(buffer_outcome(&text), BUFFER_OK);
        char *bytes = text.ptr;
        size_t len = buffer_slice(&text).len;
        compare_with_jansson(bytes, len, &accepted);
        total++;
        /* The same with up to three bytes changed, or cut. */
        for (uint64_t changes = random_below(4); changes > 0; changes--) {
            bytes[random_below(len)] =
                bytes_of_interest[random_below(sizeof bytes_of_interest - 1)];
        }
        compare_with_jansson(bytes, len - random_below(2), &accepted);
        total++;
    }
    buffer_fini(&text);
    printf("# %zu of %zu texts were accepted\n", accepted, total);
    assert_true(accepted > total / 3 && accepted < total * 9 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_every_byte_in_every_lane),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_jansson),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, guard_set_up, guard_tear_down);
}
