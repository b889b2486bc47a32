/* viewers_line.h -- profiles as lines of a file, one after the other: for `novabeat viewers` and
 * for the bulk import of the API.
 *
 * CSV (RFC 4180), the header names the columns, in any order:
 *
 *     event,viewer,name,groups         also eventId, viewerId; event, name and groups may be absent
 *     E,V,Ada,press;backstage          groups are separated by ;  (in an id: \; and \\)
 *
 * NDJSON, one object a line; what may be absent may be null:
 *
 *     {"event":"E","viewer":"V","name":"Ada","groups":["press","backstage"]}
 *
 * A line without an event belongs to options->event; a line of another event is bad.
 *
 * Memory: a reader holds one line; the profile it gives is lent until the next call. */
#ifndef NOVABEAT_RECORDS_VIEWERS_LINE_H
#define NOVABEAT_RECORDS_VIEWERS_LINE_H

#include "base/csv.h"
#include "records/records.h"

#define VIEWERS_LINE_BYTES_MAX CSV_RECORD_BYTES_MAX

enum viewers_format { VIEWERS_CSV, VIEWERS_NDJSON };

#define VIEWERS_FAULT_BYTES 256

struct viewers_fault {
    uint64_t line;                  /* from 1; 0: none of the lines */
    char text[VIEWERS_FAULT_BYTES]; /* what is wrong; names the field */
};

struct viewers_options {
    enum viewers_format format;
    struct slice event; /* import: see above; export: only this one.  Empty: none, all */
    bool skip_bad;      /* import: leave bad lines out instead of storing nothing */
    void (*bad)(void *ctx, const struct viewers_fault *fault); /* each bad line; may be NULL */
    void *ctx;
};

enum viewers_line {
    VIEWERS_LINE_PROFILE,
    VIEWERS_LINE_BAD,    /* fault says what; the next line can be read */
    VIEWERS_LINE_HEADER, /* fault says what is wrong with the header: nothing can be read */
    VIEWERS_LINE_END,
    VIEWERS_LINE_FAILED, /* the file cannot be read */
};

/* The columns, and the members of an object. */
enum viewers_field { VIEWERS_EVENT, VIEWERS_VIEWER, VIEWERS_NAME, VIEWERS_GROUPS, VIEWERS_FIELDS };

struct viewers_reader {
    struct profile profile; /* of VIEWERS_LINE_PROFILE */
    struct viewers_fault fault;
    /* Private. */
    const struct viewers_options *options;
    FILE *in;
    struct csv_reader csv;
    int columns[VIEWERS_FIELDS]; /* -1: the file has none */
    size_t columns_count;        /* 0: the header was not read yet */
    char *line;
    uint64_t lines_read;
    char event[EVENT_ID_BYTES_MAX], viewer[VIEWER_ID_BYTES_MAX], name[NAME_BYTES_MAX];
    char groups[GROUPS_PACKED_BYTES_MAX];
    char group_ids[VIEWERS_LINE_BYTES_MAX]; /* before they are packed */
};

void viewers_reader_init(struct viewers_reader *reader, FILE *in,
                         const struct viewers_options *options);
void viewers_reader_fini(struct viewers_reader *reader);
enum viewers_line viewers_reader_next(struct viewers_reader *reader);

/* Appends the header (NDJSON has none) or a profile. */
void viewers_put_header(struct buffer *out, enum viewers_format format);
void viewers_put_profile(struct buffer *out, enum viewers_format format,
                         const struct profile *profile);

#endif
