/* format.h -- segment names, segment headers, record headers.  Private to the journal and to who
 * copies its segments (live/backup.c).
 *
 * Format: docs/JOURNAL.md, sections 1 to 3.  Pure; any thread. */
#ifndef NOVABEAT_JOURNAL_FORMAT_H
#define NOVABEAT_JOURNAL_FORMAT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/slice.h"

#include <stdint.h>

#define SEGMENT_HEADER_BYTES 32
#define RECORD_HEADER_BYTES  32
#define RECORD_BYTES_MAX     (RECORD_HEADER_BYTES + JOURNAL_RECORD_BYTES_MAX)

/* "00000000000000000001.journal" and a NUL. */
#define SEGMENT_NAME_BYTES (20 + 8 + 1)

void segment_name(uint64_t first_seq, char name[SEGMENT_NAME_BYTES]);
/* False when the name is no segment's; sequences start at 1. */
bool segment_name_parse(const char *name, uint64_t *first_seq);

void segment_header_encode(uint64_t first_seq, int64_t time_ms, char out[SEGMENT_HEADER_BYTES]);
/* ERR_NONE; ERR_VERSION: a good header of another version; ERR_DAMAGED: no header, or not the one
 * that belongs to first_seq. */
enum err segment_header_check(const char in[SEGMENT_HEADER_BYTES], uint64_t first_seq) WARN_UNUSED;

struct record_header {
    uint32_t payload_bytes;
    uint32_t crc;
    uint64_t seq;
    int64_t time_ms;
    uint64_t durable_seq;
};

/* Encodes header (its crc is ignored and computed over header and payload). */
void record_header_encode(const struct record_header *header, const char *payload,
                          char out[RECORD_HEADER_BYTES]);
/* Takes a header apart.  False when it cannot be one: length out of range, or durable >= seq. */
bool record_header_decode(const char in[RECORD_HEADER_BYTES], struct record_header *header);
/* Whether the CRC that the header names is that of header and payload. */
bool record_crc_agrees(const struct record_header *header, const char in[RECORD_HEADER_BYTES],
                       const char *payload);

#endif
