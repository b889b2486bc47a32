/* crc32c.c -- eight bytes a step, by instruction or by eight tables.
 *
 * Source of the tables' method: Kounavis, Berry: A Systematic Approach to Building High Performance
 * Software-Based CRC Generators (2005), "slicing-by-8". */
#include "base/crc32c.h"

#include <endian.h>
#include <string.h>

#define POLYNOMIAL_REFLECTED 0x82F63B78u
#define TABLES               8

/* tables[k][b]: what byte b does to the CRC when k more bytes follow it. */
static uint32_t tables[TABLES][256];

/* Before main, so that no thread ever sees them half made. */
__attribute__((constructor)) static void tables_make(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL_REFLECTED : 0);
        }
        tables[0][byte] = crc;
    }
    for (int k = 1; k < TABLES; k++) {
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = tables[k - 1][byte];
            tables[k][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
        }
    }
}

uint32_t crc32c_by_tables(uint32_t crc, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    crc = ~crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint32_t low, high;
        memcpy(&low, at, 4);
        memcpy(&high, at + 4, 4);
        low = le32toh(low) ^ crc;
        high = le32toh(high);
        crc = tables[7][low & 0xff] ^ tables[6][(low >> 8) & 0xff] ^ tables[5][(low >> 16) & 0xff] ^
              tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][(high >> 8) & 0xff] ^
              tables[1][(high >> 16) & 0xff] ^ tables[0][high >> 24];
    }
    for (; len > 0; at++, len--) {
        crc = (crc >> 8) ^ tables[0][(crc ^ *at) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *bytes,
                                                                 size_t len)
{
    const unsigned char *at = bytes;
    uint64_t state = ~crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        state = __builtin_ia32_crc32di(state, word);
    }
    uint32_t rest = (uint32_t)state;
    for (; len > 0; at++, len--) {
        rest = __builtin_ia32_crc32qi(rest, *at);
    }
    return ~rest;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    if (__builtin_cpu_supports("sse4.2")) {
        return by_instruction(crc, bytes, len);
    }
    return crc32c_by_tables(crc, bytes, len);
}

#else

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return crc32c_by_tables(crc, bytes, len);
}

#endif
