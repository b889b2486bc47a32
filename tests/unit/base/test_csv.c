/* test_csv.c -- RFC 4180 and what spreadsheets make of it. */
#include "tap.h"

#include "base/csv.h"

/* Reads text and prints its records as cells in <> with | between; faults by their number. */
static void expect(const char *text, size_t len, const char *records)
{
    char is[2048] = "";
    FILE *in = fmemopen((void *)(uintptr_t)text, len, "r");
    assert_non_null(in);
    struct csv_reader reader;
    csv_reader_init(&reader, in);
    enum csv_outcome outcome;
    while ((outcome = csv_next(&reader)) != CSV_END) {
        char *at = is + strlen(is);
        size_t room = sizeof is - (size_t)(at - is);
        if (outcome != CSV_RECORD) {
            snprintf(at, room, "(%llu: %s)", (unsigned long long)reader.line,
                     csv_outcome_text(outcome));
            continue;
        }
        snprintf(at, room, "%llu", (unsigned long long)reader.line);
        for (size_t i = 0; i < reader.cells_count; i++) {
            at = is + strlen(is);
            snprintf(at, sizeof is - (size_t)(at - is), "<%.*s>", SLICE_ARG(reader.cells[i]));
        }
    }
    assert_int_equal(csv_next(&reader), CSV_END); /* stays there */
    csv_reader_fini(&reader);
    fclose(in);
    assert_string_equal(is, records);
}
#define EXPECT(text, records) expect((text), sizeof(text) - 1, (records))

static void test_records(void **state)
{
    (void)state;
    EXPECT("a,b\nc,d\n", "1<a><b>2<c><d>");
    EXPECT("a,b\r\nc,d", "1<a><b>2<c><d>");
    EXPECT("\xef\xbb\xbfone\n", "1<one>");
    EXPECT("\n\r\n\na\n\n", "4<a>");
    EXPECT("\n", "");
    EXPECT(",\n", "1<><>");
    EXPECT("\"\"\n", "1<>");
    EXPECT("\"\"", "1<>");
    EXPECT(" a , b \n", "1< a >< b >");
    EXPECT("\"a,b\",\"say \"\"hi\"\"\"\n", "1<a,b><say \"hi\">");
    EXPECT("\"two\r\nlines\",x\ny\n", "1<two\r\nlines><x>3<y>");
    EXPECT("a\rb\n", "1<a\rb>");
    EXPECT("a\r", "1<a\r>");
}

static void test_faults(void **state)
{
    (void)state;
    EXPECT("a\"b,c\nnext\n",
           "(1: a quote stands inside a cell that does not begin with one)2<next>");
    EXPECT("\"a\"b,c\nnext\n", "(1: something follows the closing quote of a cell)2<next>");
    EXPECT("ok\n\"open\nnever closed\n", "1<ok>(2: the file ends inside a quoted cell)");
    static char text[CSV_RECORD_BYTES_MAX + 16];
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 4, "\nok\n", 4);
    expect(text, sizeof text, "(1: the record is too long)2<ok>");
    memset(text, ',', sizeof text);
    memcpy(text + sizeof text - 4, "\nok\n", 4);
    expect(text, sizeof text, "(1: the record has too many cells)2<ok>");
    memset(text, ',', CSV_CELLS_MAX);
    text[CSV_CELLS_MAX] = '\n'; /* one cell more than commas */
    expect(text, CSV_CELLS_MAX + 1, "(1: the record has too many cells)");
}

static struct slice put(struct buffer *out, const char *cell)
{
    buffer_reset(out);
    csv_put_cell(out, slice_str(cell));
    return buffer_slice(out);
}

static void test_written_cells(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"a,b", "\"a,b\""},
        {"=1+1", "'=1+1"},
        {"+1", "'+1"},
        {"-1", "'-1"},
        {"@x", "'@x"},
        {"\tx", "'\tx"},
        {"\rx", "\"'\rx\""},
        {"'=x", "''=x"},
        {"'x", "'x"},
        {"''", "''"},
        {"a=b", "a=b"},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"=\"x\",1", "\"'=\"\"x\"\",1\""},
    };
    struct buffer out;
    buffer_init(&out, 4096);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct slice is = put(&out, pairs[i][0]);
        if (!slice_equal(is, slice_str(pairs[i][1]))) {
            fail_msg("%s became %.*s", pairs[i][0], SLICE_ARG(is));
        }
    }
    buffer_fini(&out);
    assert_true(slice_equal(csv_unguard(SLICE_LIT("'=1")), SLICE_LIT("=1")));
    assert_true(slice_equal(csv_unguard(SLICE_LIT("'quoted'")), SLICE_LIT("'quoted'")));
    assert_true(slice_equal(csv_unguard(SLICE_LIT("")), SLICE_LIT("")));
}

/* Whatever is written is read as it was. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char alphabet[] = "',\"\r\n=+-@\tab";
    uint64_t seed = tap_seed();
    struct buffer out;
    buffer_init(&out, 4096);
    for (int round = 0; round < 20000; round++) {
        char cells[3][8];
        buffer_reset(&out);
        for (int i = 0; i < 3; i++) {
            size_t len = tap_random(&seed) % 8;
            for (size_t j = 0; j < len; j++) {
                cells[i][j] = alphabet[tap_random(&seed) % (sizeof alphabet - 1)];
            }
            cells[i][len < 8 ? len : 7] = '\0';
            csv_put_cell(&out, slice_str(cells[i]));
            if (i < 2) {
                buffer_put_char(&out, ',');
            }
        }
        csv_put_end(&out);
        struct slice text = buffer_slice(&out);
        FILE *in = fmemopen((void *)(uintptr_t)text.ptr, text.len, "r");
        struct csv_reader reader;
        csv_reader_init(&reader, in);
        assert_int_equal(csv_next(&reader), CSV_RECORD);
        assert_int_equal(reader.cells_count, 3);
        for (int i = 0; i < 3; i++) {
            struct slice is = csv_unguard(reader.cells[i]);
            if (!slice_equal(is, slice_str(cells[i]))) {
                fail_msg("%s became %.*s", cells[i], SLICE_ARG(is));
            }
        }
        assert_int_equal(csv_next(&reader), CSV_END);
        csv_reader_fini(&reader);
        fclose(in);
    }
    buffer_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_written_cells),
        cmocka_unit_test(test_round_trip),
    };
    return tap_run(tests);
}
