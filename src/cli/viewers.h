/* viewers.h -- profiles out of a file into the record store, and back.
 *
 * CSV (RFC 4180), the header names the columns, in any order:
 *
 *     event,viewer,name,groups         also eventId, viewerId; event, name and groups may be absent
 *     E,V,Ada,press;backstage          groups are separated by ;  (in an id: \; and \\)
 *
 * NDJSON, one object a line:
 *
 *     {"event":"E","viewer":"V","name":"Ada","groups":["press","backstage"]}
 *
 * Import: a line without an event belongs to options->event; a line of another event is bad.  The
 * whole file is looked through before anything is stored.  A bad line (wrong ids, unknown column,
 * broken JSON …) stops it then, with nothing stored, or is left out and counted (skip_bad).  When a
 * viewer comes twice, the last line counts; a profile in the store is replaced.
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

#include "records/records.h"

#include <stdio.h>

#define VIEWERS_BATCH 100000

enum viewers_format { VIEWERS_CSV, VIEWERS_NDJSON };

/* What a file's name says: NDJSON when it ends in .ndjson or .jsonl, else CSV. */
enum viewers_format viewers_format_of(const char *path);

#define VIEWERS_FAULT_BYTES 256

struct viewers_fault {
    uint64_t line;                  /* from 1; 0: none of the lines */
    char text[VIEWERS_FAULT_BYTES]; /* what is wrong; names the field */
};

struct viewers_options {
    enum viewers_format format;
    struct slice event; /* import: see above; export: only this one.  Empty: none, all */
    bool skip_bad;
    void (*bad)(void *ctx, const struct viewers_fault *fault); /* each bad line; may be NULL */
    void *ctx;
};

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
