/* crc32c.h -- CRC32C (Castagnoli): the checksum of the journal.
 *
 * Polynomial 0x1EDC6F41, reflected; initial value and final XOR all ones.  By SSE4.2 where the
 * processor has it, else by tables.  Pure; any thread (tables are made before main).
 *
 * Source: RFC 3720, 12.1 and the examples of B.4. */
#ifndef NOVABEAT_BASE_CRC32C_H
#define NOVABEAT_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what gave `crc` followed by these bytes; 0 is the CRC of nothing:
 *     crc32c(crc32c(0, a, a_len), b, b_len) is the CRC of a and b. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* The same by tables, whatever the processor can do: for the test, and what it costs. */
uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len);

#endif
