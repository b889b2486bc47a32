/* test_json_text.c -- group lists and tallies survive the way through JSON text. */
#include "tap.h"

#include "records/json_text.h"

static struct slice pack(char out[GROUPS_PACKED_BYTES_MAX], size_t count, ...)
{
    struct slice ids[GROUPS_PER_VIEWER_MAX];
    size_t len;
    va_list arguments;
    va_start(arguments, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = slice_str(va_arg(arguments, const char *));
    }
    va_end(arguments);
    assert_int_equal(groups_pack(ids, count, out, &len), GROUPS_OK);
    return slice_of(out, len);
}

static void expect_slice(struct slice is, const char *text)
{
    if (!slice_equal(is, slice_str(text))) {
        fail_msg("%.*s, not %s", SLICE_ARG(is), text);
    }
}

static void test_groups(void **state)
{
    (void)state;
    char packed[GROUPS_PACKED_BYTES_MAX], again[GROUPS_PACKED_BYTES_MAX];
    size_t len;
    struct buffer out;
    buffer_init(&out, 4096);

    json_groups_write(&out, SLICE_EMPTY);
    expect_slice(buffer_slice(&out), "[]");
    assert_true(json_groups_read(buffer_slice(&out), again, &len));
    assert_int_equal(len, 0);

    buffer_reset(&out);
    struct slice groups = pack(packed, 3, "press", "a \"b\" \\c", "zoë");
    json_groups_write(&out, groups);
    expect_slice(buffer_slice(&out), "[\"a \\\"b\\\" \\\\c\",\"press\",\"zoë\"]");
    assert_true(json_groups_read(buffer_slice(&out), again, &len));
    assert_true(slice_equal(slice_of(again, len), groups));
    buffer_fini(&out);

    /* What people may write. */
    assert_true(
        json_groups_read(SLICE_LIT(" [ \"zo\\u00eb\" ,\n\"press\", \"press\" ] "), again, &len));
    assert_true(slice_equal(slice_of(again, len), pack(packed, 2, "press", "zoë")));
}

static void test_groups_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[",
        "{}",
        "null",
        "[1]",
        "[\"a\",]",
        "[\"a\"]x",
        "[\"\"]",
        "[null]",
        "\"a\"",
        "[\"a\" \"b\"]",
        "[[\"a\"]]",
        "[\"a\nb\"]",
        "[\"\\u0007\"]",
        "[\"\\ud800\"]",
        "[\"0123456789012345678901234567890123456789012345678901234567890123456789\"]",
    };
    char out[GROUPS_PACKED_BYTES_MAX];
    size_t len;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (json_groups_read(slice_str(texts[i]), out, &len)) {
            fail_msg("accepted %s", texts[i]);
        }
    }
    char many[1024] = "[";
    for (int i = 0; i <= GROUPS_PER_VIEWER_MAX; i++) {
        snprintf(many + strlen(many), 16, "%s\"g%d\"", i == 0 ? "" : ",", i);
    }
    strcat(many, "]");
    assert_false(json_groups_read(slice_str(many), out, &len));
}

static void test_tally(void **state)
{
    (void)state;
    char tally[256];
    size_t len = tally_put(tally, SLICE_LIT("HK"), 50);
    len += tally_put(tally + len, SLICE_LIT("a\"\\b"), UINT32_MAX);
    struct buffer out, again;
    buffer_init(&out, 4096);
    buffer_init(&again, 4096);
    json_tally_write(&out, slice_of(tally, len));
    expect_slice(buffer_slice(&out), "{\"HK\":50,\"a\\\"\\\\b\":4294967295}");
    assert_true(json_tally_read(buffer_slice(&out), &again));
    assert_true(slice_equal(buffer_slice(&again), slice_of(tally, len)));

    buffer_reset(&again);
    assert_true(
        json_tally_read(SLICE_LIT(" { \"HK\" : 50 ,\n\"a\\u0022\\\\b\" : 4294967295 } "), &again));
    assert_true(slice_equal(buffer_slice(&again), slice_of(tally, len)));

    buffer_reset(&again);
    assert_true(json_tally_read(SLICE_LIT(" {} "), &again));
    assert_int_equal(buffer_slice(&again).len, 0);
    buffer_fini(&out);
    buffer_fini(&again);
}

static void test_tally_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":-1}",
        "{\"a\":1.5}",
        "{\"a\":1e3}",
        "{\"a\":\"1\"}",
        "{\"a\":4294967296}",
        "{\"a\":01}",
        "{\"a\":1,}",
        "{\"\":1}",
        "{\"a\":1}}",
        "{\"a\":99999999999999999999}",
        "{\"a\":{}}",
        "{\"a\":null}",
        "{a:1}",
    };
    struct buffer out;
    buffer_init(&out, 4096);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (json_tally_read(slice_str(texts[i]), &out)) {
            fail_msg("accepted %s", texts[i]);
        }
    }
    buffer_fini(&out);
    buffer_init(&out, 4); /* no room */
    assert_false(json_tally_read(SLICE_LIT("{\"HK\":50}"), &out));
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_refused),
        cmocka_unit_test(test_tally),
        cmocka_unit_test(test_tally_refused),
    };
    return tap_run(tests);
}
