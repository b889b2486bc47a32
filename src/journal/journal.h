/* journal.h -- the redo log: written before every acknowledgement.
 *
 * Model: a folder of segment files; each a header and records with consecutive sequence numbers,
 * starting at 1 for the life of the data folder.  One record is one batch of entries (entry.h),
 * with the engine's time at which they apply.  A record counts when its length, sequence and CRC32C
 * (Castagnoli; RFC 3720, B.4) agree.  The format is docs/JOURNAL.md.
 *
 * Torn or damaged: records carry the newest sequence that was known to be on the disk when they
 * were written.  A bad record that no later valid record knows to be durable is a torn tail: it was
 * never acknowledged (under durability sync) and is cut.  Otherwise the damage is in the middle:
 * open refuses with ERR_DAMAGED and a report that names file, offset and sequence.
 *
 * Threads: append, rotate and remove belong to one thread (the engine's); journal_sync to one other
 * (the sync thread), at the same time.  journal_scan needs no journal to be open.
 * Failures: ERR_NOSPACE leaves the journal as it was before the append (the partial record is taken
 * back) and the next append may succeed.  Any other failure of append, and any failure of sync, is
 * final: the journal refuses everything from then on (a failed fsync must not be retried: the
 * kernel reports a lost page once only). */
#ifndef NOVABEAT_JOURNAL_JOURNAL_H
#define NOVABEAT_JOURNAL_JOURNAL_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct journal;

struct journal_options {
    const char *folder;     /* created when missing */
    uint64_t segment_bytes; /* a new segment is begun when one has grown to this; 4 KiB to 4 GiB */
    uint64_t
        total_bytes_max; /* append answers ERR_FULL while the segments hold more; 0: no bound */
};

/* What a scan found; also the words of `novabeat check`. */
struct journal_report {
    uint64_t first_seq, last_seq; /* of the valid records; 0, 0: none */
    int64_t last_time_ms;         /* time of the last valid record */
    uint64_t records, bytes, segments;
    uint64_t torn_bytes; /* cut, or to be cut, from the tail */
    char text[512];      /* empty, or what is wrong and where */
};

/* Calls `record` for each valid record with sequence >= from_seq, in order; `payload` borrows until
 * it returns; a non-zero err from it ends the scan and is returned.  Changes nothing on disk.
 * ERR_DAMAGED: see above; also when the first record kept has a sequence > from_seq (a hole).
 * No folder or no segment is no error: records = 0. */
typedef enum err journal_record_fn(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload);
enum err journal_scan(const char *folder, uint64_t from_seq, journal_record_fn *record, void *ctx,
                      struct journal_report *report) WARN_UNUSED;

/* Opens for appending after a scan: cuts the torn tail (truncates, syncs), and continues after
 * report->last_seq, or after `floor_seq` (what the records cover) if that is higher.  The folder is
 * made durable (fsync of the directory) before it returns. */
enum err journal_open(const struct journal_options *options, uint64_t floor_seq,
                      struct journal_report *report, struct journal **journal) WARN_UNUSED;
void journal_close(struct journal *journal); /* does not sync */

/* Writes one record in one write(2); *seq gets its number.  time_ms never decreases. payload: 1 to
 * JOURNAL_RECORD_BYTES_MAX bytes. */
enum err journal_append(struct journal *journal, int64_t time_ms, struct slice payload,
                        uint64_t *seq) WARN_UNUSED;

/* Makes all records up to some sequence durable (fdatasync; also of a segment just left, and of the
 * directory after a rotation).  *durable_seq: that sequence, at least every record whose append had
 * returned before the call. */
enum err journal_sync(struct journal *journal, uint64_t *durable_seq) WARN_UNUSED;

/* Newest sequence appended, known durable; bytes in all segments. Any thread. */
uint64_t journal_appended_seq(const struct journal *journal);
uint64_t journal_durable_seq(const struct journal *journal);
uint64_t journal_bytes(const struct journal *journal);

/* Removes the segments whose records are all <= covered_seq; never the one being written. */
enum err journal_remove_covered(struct journal *journal, uint64_t covered_seq) WARN_UNUSED;

#endif
