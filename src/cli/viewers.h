/* viewers.h -- profiles out of a file into the record store, and back.
 *
 * The lines: records/viewers_line.h.
 *
 * Import: the whole file is looked through before anything is stored.  A bad line (wrong ids,
 * unknown column, broken JSON …) stops it then, with nothing stored, or is left out and counted
 * (skip_bad).  When a viewer comes twice, the last line counts; a profile in the store is replaced.
 * Stored is in transactions of VIEWERS_BATCH profiles: a smaller file is stored whole or not at
 * all, of a larger one result->profiles says how many are stored when the store fails.
 *
 * Export: in order of (event, viewer); what import reads gives the same profiles, and exporting
 * those the same bytes.  CSV cells that a spreadsheet would run are guarded (base/csv.h), which
 * import undoes.
 *
 * Any thread, one call per link at a time.  A file that cannot be rewound (a pipe) is first copied
 * to a temporary one. */
#ifndef NOVABEAT_CLI_VIEWERS_H
#define NOVABEAT_CLI_VIEWERS_H

#include "records/viewers_line.h"

#include <stdio.h>

#define VIEWERS_BATCH 100000

/* What a file's name says: NDJSON when it ends in .ndjson or .jsonl, else CSV. */
enum viewers_format viewers_format_of(const char *path);

struct viewers_result {
    uint64_t profiles;          /* stored or written */
    uint64_t bad;               /* lines */
    struct viewers_fault first; /* of them, or why the whole failed; text empty: all went well */
};

/* ERR_INVALID: bad lines (and not skip_bad) or a bad header.  ERR_IO: the file.  Else the record
 * store's. */
enum err viewers_import(struct records_link *link, FILE *in, const struct viewers_options *options,
                        struct viewers_result *result) WARN_UNUSED;
/* Flushes out.  ERR_NOSPACE, ERR_IO: it did not take everything. */
enum err viewers_export(struct records_link *link, FILE *out, const struct viewers_options *options,
                        struct viewers_result *result) WARN_UNUSED;

#endif
