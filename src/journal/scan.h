/* scan.h -- what the segments of a folder hold.  Private to the journal.
 *
 * Rules: docs/JOURNAL.md, section 6.  Changes nothing on disk. */
#ifndef NOVABEAT_JOURNAL_SCAN_H
#define NOVABEAT_JOURNAL_SCAN_H

#include "journal/file.h"
#include "journal/format.h"
#include "journal/journal.h"

struct segment {
    uint64_t first_seq;
    uint64_t bytes; /* of the file; what is in front of the bad place and what is behind it */
};

struct scan {
    struct segment *segments; /* all in the folder, oldest first */
    uint32_t count;
    uint32_t start;       /* the scan began with this one; count: no segment */
    uint64_t next_seq;    /* the number that is due after the valid records; 0: no segment */
    uint64_t durable_seq; /* the newest that a valid record knows to be on the disk */
    /* The first place where no record counts. */
    bool bad;
    uint32_t bad_segment;
    uint64_t bad_offset; /* 0: the whole segment, its header included */
};

/* Fills scan (to be freed with scan_fini whatever the result) and report.  from_seq 0: from the
 * oldest segment.  Results as journal_scan. */
enum err scan_folder(const struct file_ops *files, int folder, uint64_t from_seq,
                     journal_record_fn *record, void *ctx, struct journal_report *report,
                     struct scan *scan) WARN_UNUSED;
void scan_fini(struct scan *scan);

/* Adds a line of words to the report; what does not fit is cut. */
void report_say(struct journal_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says "<file>: <doing>: <the system's words>" and is ERR_NOSPACE or ERR_IO. */
enum err report_failure(struct journal_report *report, const char *name, const char *doing,
                        int64_t result) WARN_UNUSED;

#endif
