/* csv.h -- reading and writing comma-separated values (RFC 4180).
 *
 * Reading: one record at a time from a stream.  Lines end in CRLF or LF; a byte order mark at the
 * start and empty lines are skipped; a quoted cell may hold commas, quotes (doubled) and line ends.
 * A bad record is reported, and reading goes on behind its line.
 *
 * Formulas: a spreadsheet runs a cell that begins with = + - @ tab or CR (OWASP, "CSV Injection").
 * csv_put_cell puts an apostrophe before it; csv_unguard takes it away again.  So that this is
 * undone exactly, a cell that has apostrophes before such a byte gets one more.  Only text needs
 * it: numbers and times are put with buffer_put_… as they are, so that "-5" stays a number.
 *
 * Memory: a reader holds one record of at most CSV_RECORD_BYTES_MAX.  Threads: one owner. */
#ifndef NOVABEAT_BASE_CSV_H
#define NOVABEAT_BASE_CSV_H

#include "base/buffer.h"

#include <stdio.h>

#define CSV_CELLS_MAX        64
#define CSV_RECORD_BYTES_MAX (64 * 1024)

#define CSV_OUTCOME_LIST(X)                                                                        \
    X(CSV_RECORD, "is a record")                                                                   \
    X(CSV_END, "the file is over")                                                                 \
    X(CSV_QUOTE, "a quote stands inside a cell that does not begin with one")                      \
    X(CSV_AFTER_QUOTE, "something follows the closing quote of a cell")                            \
    X(CSV_CUT, "the file ends inside a quoted cell")                                               \
    X(CSV_TOO_LONG, "the record is too long")                                                      \
    X(CSV_TOO_MANY, "the record has too many cells")                                               \
    X(CSV_FAILED, "the file cannot be read")

enum csv_outcome {
#define CSV_OUTCOME_ENUM(name, text) name,
    CSV_OUTCOME_LIST(CSV_OUTCOME_ENUM)
#undef CSV_OUTCOME_ENUM
};

struct csv_reader {
    /* Of the record that csv_next gave; the cells are lent until the next call. */
    struct slice cells[CSV_CELLS_MAX];
    size_t cells_count;
    uint64_t line; /* the record's first, from 1; also of a bad record */
    /* Private. */
    FILE *in;
    char *bytes;
    size_t len, cell_start;
    uint64_t lines_read;
};

/* `in` stays the caller's; it must stand at its start. */
void csv_reader_init(struct csv_reader *reader, FILE *in);
void csv_reader_fini(struct csv_reader *reader);
enum csv_outcome csv_next(struct csv_reader *reader);
const char *csv_outcome_text(enum csv_outcome outcome); /* static */

/* The cell without the apostrophe that csv_put_cell gave it. */
struct slice csv_unguard(struct slice cell);

/* Appends a cell, guarded and quoted where needed; the commas between cells are the caller's. */
void csv_put_cell(struct buffer *out, struct slice cell);
#define csv_put_end(out) buffer_put_lit((out), "\r\n")

#endif
