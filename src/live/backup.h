/* backup.h -- a copy of a data folder that a server may be using.
 *
 * The copy is of one moment after the call: all that was acknowledged before it is in it, and what
 * came meanwhile is, up to some heartbeat.  `novabeat check` finds it whole, and a server can begin
 * with it.
 *
 * How: the journal's segments are opened (the server may remove them, but what is open can be
 * read); the record store is copied as of one moment; then what its position does not cover is
 * copied of the segments, those opened and those begun since.  So the journal of the copy goes on
 * where its records end, and what an erasure has taken out of the records is in no segment either.
 * A server that was so fast that a segment came and went meanwhile: once more from the start.
 *
 * Threads: any, also in the server's process.  Locks: none; a stopped server's folder does too. */
#ifndef NOVABEAT_LIVE_BACKUP_H
#define NOVABEAT_LIVE_BACKUP_H

#include "base/err.h"

#include <stddef.h>

/* records: as in store_options.  dest: a folder that does not exist (its parent does) or is empty.
 * On failure nothing is left there, and why says what is wrong and where.  ERR_INVALID: dest;
 * ERR_NOT_FOUND: nothing is stored in data;
 * ERR_DAMAGED: the journal of data is, or it moved on too fast, five times.  All is on the disk
 * when it returns ERR_NONE. */
enum err store_backup(const char *data, const char *records, const char *dest, char *why,
                      size_t why_bytes) WARN_UNUSED;

#endif
