/* test_crc32c.c -- known answers, and both ways agree. */
#include "tap.h"

#include "base/crc32c.h"

#include <string.h>

struct vector {
    const char *what;
    unsigned char bytes[48];
    size_t len;
    uint32_t crc;
};

/* RFC 3720, B.4 (its CRCs are listed there in the order of the wire, low byte first), and the check
 * value of the nine digits that catalogues of CRCs give. */
static void test_vectors(void **state)
{
    (void)state;
    static struct vector vectors[] = {
        {"32 bytes of zeroes", {0}, 32, 0x8a9136aa},
        {"32 bytes of ones", {0}, 32, 0x62a8ab43},
        {"32 bytes incrementing", {0}, 32, 0x46dd794e},
        {"32 bytes decrementing", {0}, 32, 0x113fdb5c},
        {"an iSCSI SCSI read (10) command PDU",
         {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
          0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
          0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
          0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
         48,
         0xd9963a56},
        {"123456789", "123456789", 9, 0xe3069283},
        {"nothing", {0}, 0, 0},
    };
    for (unsigned i = 0; i < 32; i++) {
        vectors[1].bytes[i] = 0xff;
        vectors[2].bytes[i] = (unsigned char)i;
        vectors[3].bytes[i] = (unsigned char)(31 - i);
    }
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *vector = &vectors[i];
        print_message("# %s\n", vector->what);
        assert_int_equal(crc32c(0, vector->bytes, vector->len), vector->crc);
        assert_int_equal(crc32c_by_tables(0, vector->bytes, vector->len), vector->crc);
    }
}

/* Every length and alignment around a step of eight, whole and in two parts. */
static void test_both_ways_agree(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)tap_random(&seed);
    }
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            uint32_t whole = crc32c_by_tables(0, bytes + from, len);
            assert_int_equal(crc32c(0, bytes + from, len), whole);
            size_t cut = len == 0 ? 0 : (size_t)(tap_random(&seed) % (len + 1));
            uint32_t first = crc32c(0, bytes + from, cut);
            assert_int_equal(crc32c(first, bytes + from + cut, len - cut), whole);
            assert_int_equal(crc32c_by_tables(first, bytes + from + cut, len - cut), whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors),
                                       cmocka_unit_test(test_both_ways_agree)};
    return tap_run(tests);
}
