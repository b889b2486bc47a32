/* viewers_line.h -- profiles as lines of a file, one after the other; for viewers.c.
 *
 * Memory: a reader holds one line; the profile it gives is lent until the next call. */
#ifndef NOVABEAT_CLI_VIEWERS_LINE_H
#define NOVABEAT_CLI_VIEWERS_LINE_H

#include "base/csv.h"
#include "cli/viewers.h"

#define VIEWERS_LINE_BYTES_MAX CSV_RECORD_BYTES_MAX

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
