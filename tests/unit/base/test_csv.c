/* test_csv.c -- RFC 4180 and what spreadsheets make of it. */
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* ---- with Python's csv module at the other end ---- */

#define PYTHON_RECORDS 3000
#define PYTHON_CELLS   4
#define CELL_BYTES     128

/* Scripts, directions, joiners, and what CSV and spreadsheets make much of. */
static const char *const bits[] = {
    "a",
    "Z",
    "7",
    " ",
    "  ",
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "'",
    "''",
    "\"",
    "\"\"",
    ",",
    ";",
    "\\",
    "|",
    "\x01",
    "=cmd|' /C calc'!A0",
    "=HYPERLINK(\"x\",\"y\")",
    "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", /* Hebrew */
    "\xd8\xb3\xd9\x84\xd8\xa7\xd9\x85", /* Arabic */
    "\xe2\x80\xae",
    "\xe2\x80\xac",
    "\xe2\x80\x8f",                                     /* right-to-left override, its end, mark */
    "\xe4\xbd\xa0\xe5\xa5\xbd",                         /* Chinese */
    "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d", /* Devanagari */
    "e\xcc\x81",
    "\xc3\xa9",                                 /* e and an accent, and in one */
    "\xf0\x9f\xa6\x89\xe2\x80\x8d\xe2\xac\x9b", /* emoji, joined */
    "\xef\xbb\xbf",
    "\xe2\x80\xa8",
    "\xc2\x85",      /* mark, line separator, next line */
    "\xef\xbc\x9d"}; /* full-width = */

static char cells[PYTHON_RECORDS][PYTHON_CELLS][CELL_BYTES];

static void make_cells(void)
{
    uint64_t seed = tap_seed();
    for (size_t i = 0; i < PYTHON_RECORDS * PYTHON_CELLS; i++) {
        char *cell = cells[i / PYTHON_CELLS][i % PYTHON_CELLS];
        size_t len = 0;
        for (uint64_t count = tap_random(&seed) % 6; count > 0; count--) {
            const char *bit = bits[tap_random(&seed) % (sizeof bits / sizeof bits[0])];
            len += (size_t)snprintf(cell + len, CELL_BYTES - len, "%s", bit);
            assert_true(len < CELL_BYTES);
        }
    }
}

static void expect_cell(size_t record, size_t cell, struct slice is)
{
    const char *expected = cells[record][cell];
    if (!slice_equal(is, slice_str(expected))) {
        fail_msg("record %zu, cell %zu: %s became %.*s", record, cell, expected, SLICE_ARG(is));
    }
}

/* Our file, read by Python, which tells of each cell in hex. */
static void read_by_python(const char *path)
{
    struct buffer out;
    buffer_init(&out, PYTHON_RECORDS * PYTHON_CELLS * CELL_BYTES * 2);
    for (size_t i = 0; i < PYTHON_RECORDS; i++) {
        for (size_t j = 0; j < PYTHON_CELLS; j++) {
            csv_put_cell(&out, slice_str(cells[i][j]));
            buffer_put(&out, j + 1 < PYTHON_CELLS ? SLICE_LIT(",") : SLICE_LIT("\r\n"));
        }
    }
    assert_int_equal(buffer_outcome(&out), BUFFER_OK);
    struct slice text = buffer_slice(&out);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    fclose(file);
    buffer_fini(&out);
    char command[400], hex[2 * CELL_BYTES + 8];
    snprintf(command, sizeof command,
             "python3 -c \"import csv,sys\n"
             "for row in csv.reader(open(sys.argv[1],newline='',encoding='utf-8'),strict=True):\n"
             "    for cell in row: print('x'+cell.encode().hex())\n"
             "    print('.')\" %s",
             path);
    FILE *python = popen(command, "r");
    assert_non_null(python);
    for (size_t i = 0; i < PYTHON_RECORDS; i++) {
        for (size_t j = 0; j < PYTHON_CELLS; j++) {
            char bytes[CELL_BYTES + 1];
            size_t len = 0;
            assert_int_equal(fscanf(python, "%263s", hex), 1);
            assert_int_equal(hex[0], 'x');
            for (const char *at = hex + 1; *at != '\0'; at += 2, len++) {
                unsigned byte;
                assert_int_equal(sscanf(at, "%2x", &byte), 1);
                bytes[len] = (char)byte;
            }
            assert_true(len == 0 || strchr("=+-@\t\r", bytes[0]) == NULL); /* nothing runs */
            expect_cell(i, j, csv_unguard(slice_of(bytes, len)));
        }
        assert_int_equal(fscanf(python, "%263s", hex), 1);
        assert_string_equal(hex, ".");
    }
    assert_int_equal(pclose(python), 0);
}

/* The same cells, written by Python in two dialects, read by us. */
static void written_by_python(const char *path, const char *quoting)
{
    char command[600];
    snprintf(command, sizeof command,
             "python3 -c \"import csv,sys\n"
             "rows=list(csv.reader(open(sys.argv[1],newline='',encoding='utf-8'),strict=True))\n"
             "out=open(sys.argv[1],'w',newline='',encoding='utf-8')\n"
             "csv.writer(out,quoting=csv.%s).writerows(rows)\" %s",
             quoting, path);
    assert_int_equal(system(command), 0);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    struct csv_reader reader;
    csv_reader_init(&reader, in);
    for (size_t i = 0; i < PYTHON_RECORDS; i++) {
        assert_int_equal(csv_next(&reader), CSV_RECORD);
        assert_int_equal(reader.cells_count, PYTHON_CELLS);
        for (size_t j = 0; j < PYTHON_CELLS; j++) {
            expect_cell(i, j, csv_unguard(reader.cells[j]));
        }
    }
    assert_int_equal(csv_next(&reader), CSV_END);
    csv_reader_fini(&reader);
    fclose(in);
}

static void test_with_python(void **state)
{
    (void)state;
    if (system("python3 -c 'import csv' 2>/dev/null") != 0) {
        printf("# SKIP there is no python3\n");
        return;
    }
    char path[] = "/tmp/novabeat-csv.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    make_cells();
    strcpy(cells[0][0], "first"); /* at a file's start a byte order mark is none of the cell's */
    read_by_python(path);
    written_by_python(path, "QUOTE_MINIMAL");
    written_by_python(path, "QUOTE_ALL");
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),       cmocka_unit_test(test_faults),
        cmocka_unit_test(test_written_cells), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_with_python),
    };
    return tap_run(tests);
}
