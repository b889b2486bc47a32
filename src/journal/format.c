/* format.c -- docs/JOURNAL.md, sections 1 to 3, as code. */
#include "journal/format.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "journal/bytes.h"

#define SEGMENT_SUFFIX  ".journal"
#define SEGMENT_MAGIC   "NVBTJRNL"
#define SEGMENT_VERSION 1
#define SEQ_DIGITS      20
/* Others keep sequences in signed 64 bits (SQLite); and so nothing here overflows. */
#define SEQ_MAX ((uint64_t)INT64_MAX)

static_assert(SEQ_DIGITS + sizeof SEGMENT_SUFFIX == SEGMENT_NAME_BYTES, "the name fits");

enum segment_header_offset {
    SEGMENT_MAGIC_AT = 0,
    SEGMENT_FIRST_SEQ_AT = 8,
    SEGMENT_TIME_AT = 16,
    SEGMENT_VERSION_AT = 24,
    SEGMENT_CRC_AT = 28,
};

enum record_header_offset {
    RECORD_LENGTH_AT = 0,
    RECORD_CRC_AT = 4,
    RECORD_SEQ_AT = 8,
    RECORD_TIME_AT = 16,
    RECORD_DURABLE_AT = 24,
};

void segment_name(uint64_t first_seq, char name[SEGMENT_NAME_BYTES])
{
    ASSERT(first_seq > 0 && first_seq <= SEQ_MAX);
    int len =
        snprintf(name, SEGMENT_NAME_BYTES, "%0*" PRIu64 SEGMENT_SUFFIX, SEQ_DIGITS, first_seq);
    ASSERT(len == SEGMENT_NAME_BYTES - 1);
}

bool segment_name_parse(const char *name, uint64_t *first_seq)
{
    uint64_t seq = 0;
    for (int i = 0; i < SEQ_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false; /* also at the NUL of a shorter name */
        }
        uint64_t digit = (uint64_t)(name[i] - '0');
        if (seq > (UINT64_MAX - digit) / 10) {
            return false;
        }
        seq = seq * 10 + digit;
    }
    *first_seq = seq;
    return seq > 0 && seq <= SEQ_MAX && strcmp(name + SEQ_DIGITS, SEGMENT_SUFFIX) == 0;
}

void segment_header_encode(uint64_t first_seq, int64_t time_ms, char out[SEGMENT_HEADER_BYTES])
{
    memcpy(out + SEGMENT_MAGIC_AT, SEGMENT_MAGIC, SEGMENT_FIRST_SEQ_AT - SEGMENT_MAGIC_AT);
    put_u64(out + SEGMENT_FIRST_SEQ_AT, first_seq);
    put_u64(out + SEGMENT_TIME_AT, (uint64_t)time_ms);
    put_u32(out + SEGMENT_VERSION_AT, SEGMENT_VERSION);
    put_u32(out + SEGMENT_CRC_AT, crc32c(0, out, SEGMENT_CRC_AT));
}

enum err segment_header_check(const char in[SEGMENT_HEADER_BYTES], uint64_t first_seq)
{
    if (memcmp(in, SEGMENT_MAGIC, SEGMENT_FIRST_SEQ_AT) != 0 ||
        get_u32(in + SEGMENT_CRC_AT) != crc32c(0, in, SEGMENT_CRC_AT)) {
        return ERR_DAMAGED;
    }
    if (get_u32(in + SEGMENT_VERSION_AT) != SEGMENT_VERSION) {
        return ERR_VERSION;
    }
    return get_u64(in + SEGMENT_FIRST_SEQ_AT) == first_seq ? ERR_NONE : ERR_DAMAGED;
}

/* The CRC leaves out the four bytes in which it stands. */
static uint32_t record_crc(const char header[RECORD_HEADER_BYTES], const char *payload, size_t len)
{
    uint32_t crc = crc32c(0, header, RECORD_CRC_AT);
    crc = crc32c(crc, header + RECORD_SEQ_AT, RECORD_HEADER_BYTES - RECORD_SEQ_AT);
    return crc32c(crc, payload, len);
}

void record_header_encode(const struct record_header *header, const char *payload,
                          char out[RECORD_HEADER_BYTES])
{
    ASSERT(header->payload_bytes > 0 && header->payload_bytes <= JOURNAL_RECORD_BYTES_MAX);
    ASSERT(header->durable_seq < header->seq);
    put_u32(out + RECORD_LENGTH_AT, header->payload_bytes);
    put_u64(out + RECORD_SEQ_AT, header->seq);
    put_u64(out + RECORD_TIME_AT, (uint64_t)header->time_ms);
    put_u64(out + RECORD_DURABLE_AT, header->durable_seq);
    put_u32(out + RECORD_CRC_AT, record_crc(out, payload, header->payload_bytes));
}

bool record_header_decode(const char in[RECORD_HEADER_BYTES], struct record_header *header)
{
    header->payload_bytes = get_u32(in + RECORD_LENGTH_AT);
    header->crc = get_u32(in + RECORD_CRC_AT);
    header->seq = get_u64(in + RECORD_SEQ_AT);
    header->time_ms = (int64_t)get_u64(in + RECORD_TIME_AT);
    header->durable_seq = get_u64(in + RECORD_DURABLE_AT);
    return header->payload_bytes > 0 && header->payload_bytes <= JOURNAL_RECORD_BYTES_MAX &&
           header->durable_seq < header->seq;
}

bool record_crc_agrees(const struct record_header *header, const char in[RECORD_HEADER_BYTES],
                       const char *payload)
{
    return header->crc == record_crc(in, payload, header->payload_bytes);
}
