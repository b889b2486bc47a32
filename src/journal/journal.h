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
 * Threads: append and remove belong to one thread (the engine's); journal_sync is for any other, at
 * the same time; two of them take turns.  journal_scan and journal_repair need no journal to be
 * open. Failures: ERR_NOSPACE leaves the journal as it was before the append (the partial record is
 * taken back) and the next append may succeed.  Any other failure of append, and any failure of
 * sync, is final: it is logged, and the journal refuses everything from then on with the same error
 * (a failed fsync must not be retried: the kernel reports a lost page once only). */
#ifndef NOVABEAT_JOURNAL_JOURNAL_H
#define NOVABEAT_JOURNAL_JOURNAL_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct journal;

struct journal_options {
    const char *folder; /* created when missing (its parent must exist) */
    /* A new segment is begun when a record would make one larger; 4 KiB to 4 GiB. */
    uint64_t segment_bytes;
    /* Append answers ERR_FULL when a record would make all segments together larger; 0: no bound.
     * It then begins a new segment once, so that to sync and cover all records always makes room.
     */
    uint64_t total_bytes_max;
};

/* What a scan found; also the words of `novabeat check`.  Segments that the scan passed over
 * because they are covered are in none of the figures. */
struct journal_report {
    uint64_t first_seq, last_seq; /* of the valid records; 0, 0: none */
    int64_t last_time_ms;         /* time of the last valid record */
    uint64_t records, bytes, segments;
    uint64_t torn_bytes; /* cut, or to be cut, from the tail */
    char text[512];      /* empty, or lines that say what is wrong and where */
};

/* Calls `record` (may be NULL) for each valid record with sequence >= from_seq, in order; `payload`
 * borrows until it returns; an err other than ERR_NONE from it ends the scan and is returned.
 * Changes nothing on disk.
 * Begins with the newest segment that starts at or before from_seq (0: with the oldest there is).
 * ERR_DAMAGED: see above (the records before the bad one were given by then); also when the oldest
 * segment begins after from_seq (a hole).  ERR_VERSION, ERR_IO.  A torn tail is no error: it is in
 * torn_bytes and text.  No folder or no segment is no error: records = 0. */
typedef enum err journal_record_fn(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload);
enum err journal_scan(const char *folder, uint64_t from_seq, journal_record_fn *record, void *ctx,
                      struct journal_report *report) WARN_UNUSED;

/* Opens for appending.  Scans by itself (from floor_seq + 1) and fills the report, cuts the torn
 * tail, and goes on after the last valid record, or after `floor_seq` (what the records cover) if
 * that is higher.  All that is in the journal, and the folder, is durable when it returns: so
 * appended = durable.  Refuses as journal_scan does, changing nothing; ERR_INVALID: options;
 * ERR_NOSPACE, ERR_IO: report->text says what failed.  *journal is NULL on error. */
enum err journal_open(const struct journal_options *options, uint64_t floor_seq,
                      struct journal_report *report, struct journal **journal) WARN_UNUSED;
void journal_close(struct journal *journal); /* does not sync; NULL is fine */

/* Writes one record in one write(2); *seq gets its number.  time_ms never decreases. payload: 1 to
 * JOURNAL_RECORD_BYTES_MAX bytes, borrowed.  ERR_NOSPACE, ERR_FULL: nothing was written, try later;
 * ERR_IO, ERR_SYNC: final.  Waits for the disk only when 8 segments were left without a sync. */
enum err journal_append(struct journal *journal, int64_t time_ms, struct slice payload,
                        uint64_t *seq) WARN_UNUSED;

/* Makes all records up to some sequence durable (fdatasync; also of segments just left, and of the
 * directory after a rotation).  *durable_seq: that sequence, at least every record whose append had
 * returned before the call; on error, what was known before.  ERR_SYNC: final. */
enum err journal_sync(struct journal *journal, uint64_t *durable_seq) WARN_UNUSED;

/* Newest sequence appended, known durable; bytes in all segments. Any thread. */
uint64_t journal_appended_seq(const struct journal *journal);
uint64_t journal_durable_seq(const struct journal *journal);
uint64_t journal_bytes(const struct journal *journal);

/* Removes the segments whose records are all <= covered_seq and known to be on the disk, oldest
 * first; never the one being written.  covered_seq must be durable in the record store.  ERR_IO is
 * not final here. */
enum err journal_remove_covered(struct journal *journal, uint64_t covered_seq) WARN_UNUSED;

/* The number that the oldest segment begins with: no file of the journal has an earlier record.  As
 * append. */
uint64_t journal_first_seq(const struct journal *journal);

/* The next append begins a new segment, so that what was written before can go when it is covered.
 * A wish: without a descriptor or memory the segment goes on, and a later append tries again. */
void journal_turn(struct journal *journal);

/* For `novabeat check --repair`, while no journal is open there: makes the journal end before its
 * first bad place, torn or damaged, looking from the oldest segment on.  What is cut stays in the
 * folder as `<segment>.damaged`; the report has the records that are left, torn_bytes, and in text
 * what was done.  ERR_NONE: it is whole now, or was before; ERR_VERSION: untouched; ERR_NOSPACE,
 * ERR_IO: may be run again. */
enum err journal_repair(const char *folder, struct journal_report *report) WARN_UNUSED;

#endif
