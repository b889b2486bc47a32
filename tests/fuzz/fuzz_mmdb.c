/* fuzz_mmdb.c -- whatever a country database holds, it is refused or gives letters, in bounded
 * time.
 *
 * The first byte chooses: the whole file from the input, or its tree and data alone, with sound
 * metadata behind them whose numbers come from the second byte on, so that the fuzzer need not find
 * a file's end by itself; there four bytes stand for the texts that matter. */
#include "identity/mmdb.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define METADATA_BYTES 256
#define TEXT_BYTES     13 /* the longest of put_data */

static size_t put(uint8_t *at, const char *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return len;
}

#define PUT(text) len += put(at + len, text, sizeof(text) - 1)

static size_t put_metadata(uint8_t *at, unsigned record_bits, unsigned ip_version, uint16_t nodes)
{
    size_t len = 0;
    PUT("\xab\xcd\xefMaxMind.com\xe6\x4anode_count\xc2");
    at[len++] = (uint8_t)(nodes >> 8);
    at[len++] = (uint8_t)nodes;
    PUT("\x4brecord_size\xa1");
    at[len++] = (uint8_t)record_bits;
    PUT("\x4aip_version\xa1");
    at[len++] = (uint8_t)ip_version;
    PUT("\x4d"
        "database_type\x41x"
        "\x5b"
        "binary_format_major_version\xa1\x02"
        "\x4b"
        "build_epoch\x01\x02\x01");
    return len;
}

/* The texts that a country hangs on, by one byte each. */
static size_t put_data(uint8_t *at, const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"\x47"
                                        "country",
                                        "\x48iso_code",
                                        "\x4c"
                                        "country_code",
                                        "\x42"
                                        "DE"};
    size_t len = 0;
    for (size_t i = 0; i < size; i++) {
        if (data[i] >= 0xf8 && data[i] <= 0xfb) {
            len += put(at + len, texts[data[i] - 0xf8], strlen(texts[data[i] - 0xf8]));
        } else {
            at[len++] = data[i];
        }
    }
    return len;
}

static void look_up(const struct mmdb *mmdb, const uint8_t *data, size_t size)
{
    struct address address = {.bytes = {[10] = 0xff, [11] = 0xff}};
    for (int round = 0; round < 16; round++) {
        char country[2];
        for (size_t i = round < 8 ? 12 : 0; i < 16; i++) {
            address.bytes[i] = size == 0 ? 0 : data[((size_t)round * 16 + i) % size];
        }
        if (mmdb_find(mmdb, &address, country) &&
            (country[0] < 'A' || country[0] > 'Z' || country[1] < 'A' || country[1] > 'Z')) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    static const unsigned record_bits[] = {24, 28, 32, 24};
    uint8_t *file = malloc(size * TEXT_BYTES + METADATA_BYTES);
    size_t len = size - 3;
    if ((data[0] & 1) == 0) {
        memcpy(file, data + 3, len);
    } else {
        len = put_data(file, data + 3, len);
        uint16_t nodes = (uint16_t)(data[1] << 8 | data[2]);
        len += put_metadata(file + len, record_bits[data[0] >> 1 & 3], (data[0] & 8) != 0 ? 4 : 6,
                            nodes % 64);
    }
    /* Exactly as long as its bytes, so that a read behind them is seen. */
    uint8_t *exact = realloc(file, len == 0 ? 1 : len);
    struct mmdb mmdb;
    char why[256] = "";
    if (mmdb_read(slice_of((const char *)exact, len), &mmdb, why, sizeof why)) {
        look_up(&mmdb, data, size);
        mmdb_free(&mmdb);
    } else if (why[0] == '\0') {
        abort();
    }
    free(exact);
    return 0;
}
