/* csv.c -- see csv.h.  A state machine over single bytes: the cell at hand is outside quotes,
 * inside them, or behind its closing quote. */
#include "base/csv.h"

#include "base/memory.h"

#include <stdlib.h>

enum state { CELL_START, PLAIN, QUOTED, QUOTE_IN_QUOTED };

void csv_reader_init(struct csv_reader *reader, FILE *in)
{
    *reader = (struct csv_reader){.in = in, .bytes = memory_alloc(CSV_RECORD_BYTES_MAX)};
}

void csv_reader_fini(struct csv_reader *reader)
{
    free(reader->bytes);
    *reader = (struct csv_reader){0};
}

const char *csv_outcome_text(enum csv_outcome outcome)
{
    static const char *const texts[] = {
#define CSV_OUTCOME_TEXT(name, text) text,
        CSV_OUTCOME_LIST(CSV_OUTCOME_TEXT)
#undef CSV_OUTCOME_TEXT
    };
    return texts[outcome];
}

static int read_byte(struct csv_reader *reader)
{
    int byte = getc_unlocked(reader->in);
    reader->lines_read += byte == '\n';
    return byte;
}

static void skip_byte_order_mark(struct csv_reader *reader)
{
    static const unsigned char mark[] = {0xef, 0xbb, 0xbf};
    int byte = getc_unlocked(reader->in);
    if (byte != mark[0]) {
        ungetc(byte, reader->in); /* of EOF: no effect */
        return;
    }
    /* Nothing else may begin with this byte: a mark that is cut is left to fail as an unknown
     * column or a bad id. */
    for (size_t i = 1; i < sizeof mark; i++) {
        byte = getc_unlocked(reader->in);
        if (byte != mark[i]) {
            ungetc(byte, reader->in);
            return;
        }
    }
}

static bool keep_byte(struct csv_reader *reader, int byte)
{
    if (reader->len == CSV_RECORD_BYTES_MAX) {
        return false;
    }
    reader->bytes[reader->len++] = (char)byte;
    return true;
}

static bool end_cell(struct csv_reader *reader)
{
    if (reader->cells_count == CSV_CELLS_MAX) {
        return false;
    }
    reader->cells[reader->cells_count++] =
        slice_of(reader->bytes + reader->cell_start, reader->len - reader->cell_start);
    reader->cell_start = reader->len;
    return true;
}

/* The record is bad: reading goes on with the next line. */
static enum csv_outcome give_up(struct csv_reader *reader, int byte, enum csv_outcome outcome)
{
    while (byte != '\n' && byte != EOF) {
        byte = read_byte(reader);
    }
    return outcome;
}

/* A carriage return belongs to the line's end only when a line feed follows. */
static bool is_line_end(struct csv_reader *reader, int *byte)
{
    if (*byte == '\r') {
        int next = getc_unlocked(reader->in);
        if (next != '\n') {
            ungetc(next, reader->in);
            return false;
        }
        reader->lines_read++;
        *byte = '\n';
    }
    return *byte == '\n' || *byte == EOF;
}

/* Reads up to the end of the record.  Nothing at all: CSV_RECORD without cells. */
static enum csv_outcome read_record(struct csv_reader *reader)
{
    enum state state = CELL_START;
    bool any = false;
    reader->len = reader->cell_start = reader->cells_count = 0;
    reader->line = reader->lines_read + 1;
    for (;; any = true) {
        int byte = read_byte(reader);
        if (state == QUOTED) {
            if (byte == EOF) {
                return CSV_CUT;
            }
            if (byte == '"') {
                state = QUOTE_IN_QUOTED;
            } else if (!keep_byte(reader, byte)) {
                return give_up(reader, byte, CSV_TOO_LONG);
            }
        } else if (byte == '"') {
            if (state == PLAIN) {
                return give_up(reader, byte, CSV_QUOTE);
            }
            if (state == QUOTE_IN_QUOTED && !keep_byte(reader, byte)) {
                return give_up(reader, byte, CSV_TOO_LONG);
            }
            state = QUOTED;
        } else if (byte == ',') {
            state = CELL_START;
            if (!end_cell(reader)) {
                return give_up(reader, byte, CSV_TOO_MANY);
            }
        } else if (is_line_end(reader, &byte)) {
            return !any || end_cell(reader) ? CSV_RECORD : CSV_TOO_MANY;
        } else if (state == QUOTE_IN_QUOTED) {
            return give_up(reader, byte, CSV_AFTER_QUOTE);
        } else {
            state = PLAIN;
            if (!keep_byte(reader, byte)) {
                return give_up(reader, byte, CSV_TOO_LONG);
            }
        }
    }
}

enum csv_outcome csv_next(struct csv_reader *reader)
{
    if (reader->lines_read == 0 && reader->line == 0) {
        skip_byte_order_mark(reader);
    }
    enum csv_outcome outcome;
    do {
        outcome = read_record(reader);
        if (ferror(reader->in)) {
            return CSV_FAILED;
        }
    } while (outcome == CSV_RECORD && reader->cells_count == 0 && !feof(reader->in));
    return outcome == CSV_RECORD && reader->cells_count == 0 ? CSV_END : outcome;
}

/* ---- cells that a spreadsheet would run ---- */

/* What follows the cell's apostrophes starts a formula. */
static bool is_formula(struct slice cell)
{
    size_t i = 0;
    while (i < cell.len && cell.ptr[i] == '\'') {
        i++;
    }
    return i < cell.len && cell.ptr[i] != '\0' && strchr("=+-@\t\r", cell.ptr[i]) != NULL;
}

struct slice csv_unguard(struct slice cell)
{
    bool guarded = cell.len > 0 && cell.ptr[0] == '\'' && is_formula(cell);
    return guarded ? slice_of(cell.ptr + 1, cell.len - 1) : cell;
}

void csv_put_cell(struct buffer *out, struct slice cell)
{
    bool quoted = false;
    for (size_t i = 0; i < cell.len && !quoted; i++) {
        quoted = cell.ptr[i] != '\0' && strchr(",\"\r\n", cell.ptr[i]) != NULL;
    }
    if (quoted) {
        buffer_put_char(out, '"');
    }
    if (is_formula(cell)) {
        buffer_put_char(out, '\'');
    }
    while (cell.len > 0) {
        const char *quote = memchr(cell.ptr, '"', cell.len);
        size_t len = quote == NULL ? cell.len : (size_t)(quote - cell.ptr) + 1;
        buffer_put(out, slice_of(cell.ptr, len));
        if (quote != NULL) {
            buffer_put_char(out, '"');
        }
        cell = slice_of(cell.ptr + len, cell.len - len);
    }
    if (quoted) {
        buffer_put_char(out, '"');
    }
}
