/* mmdb_maker.h -- makes MaxMind DB files, sound ones and bad ones, byte by byte.
 *
 * Source: https://maxmind.github.io/MaxMind-DB/ (format 2.0).  A file made here is the caller's to
 * free, and exactly as long as its bytes, so that ASan sees a read behind its end. */
#ifndef NOVABEAT_TESTS_MMDB_MAKER_H
#define NOVABEAT_TESTS_MMDB_MAKER_H

#include "base/buffer.h"
#include "base/memory.h"
#include "base/network.h"

#include "tap.h"

#define MAKE_NONE 0x40000000u
#define MAKE_DATA 0x80000000u /* and an offset in the data */

struct mmdb_maker {
    unsigned record_bits, ip_version;
    uint32_t (*nodes)[2];
    uint32_t count, max;
    struct buffer data;
    int64_t built_s;
};

static inline void make_start(struct mmdb_maker *maker, unsigned record_bits, unsigned ip_version)
{
    *maker = (struct mmdb_maker){
        .record_bits = record_bits, .ip_version = ip_version, .built_s = 1767225600};
    buffer_init(&maker->data, (size_t)64 << 20);
}

static inline uint32_t make_node(struct mmdb_maker *maker)
{
    maker->nodes = memory_grow(maker->nodes, &maker->max, maker->count + 1, sizeof maker->nodes[0]);
    maker->nodes[maker->count][0] = maker->nodes[maker->count][1] = MAKE_NONE;
    return maker->count++;
}

/* ---- values ---- */

static inline void put_bytes(struct buffer *out, const void *bytes, size_t len)
{
    buffer_put(out, slice_of(bytes, len));
}

static inline void put_head(struct buffer *out, unsigned type, size_t size)
{
    assert_true(size < 285);
    unsigned low = size < 29 ? (unsigned)size : 29;
    uint8_t head[3] = {(uint8_t)(type < 8 ? type << 5 | low : low)};
    size_t len = 1;
    if (type >= 8) {
        head[len++] = (uint8_t)(type - 7);
    }
    if (size >= 29) {
        head[len++] = (uint8_t)(size - 29);
    }
    put_bytes(out, head, len);
}

static inline void put_text(struct buffer *out, const char *text)
{
    put_head(out, 2, strlen(text));
    put_bytes(out, text, strlen(text));
}

static inline void put_map(struct buffer *out, size_t entries)
{
    put_head(out, 7, entries);
}

static inline void put_number(struct buffer *out, unsigned type, uint64_t number)
{
    uint8_t bytes[8];
    size_t len = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (len > 0 || number >> shift != 0) {
            bytes[len++] = (uint8_t)(number >> shift);
        }
    }
    put_head(out, type, len);
    put_bytes(out, bytes, len);
}

/* In the shortest of the four forms. */
static inline void put_pointer(struct buffer *out, uint32_t to)
{
    static const uint32_t bases[] = {0, 2048, 526336, 0};
    unsigned kind = to < 2048 ? 0 : to < 526336 ? 1 : to < 134744064 ? 2 : 3;
    uint32_t value = to - bases[kind];
    uint8_t bytes[5] = {(uint8_t)(1u << 5 | kind << 3)};
    if (kind < 3) {
        bytes[0] |= (uint8_t)(value >> (8 * (kind + 1)));
    }
    for (unsigned i = 0; i <= kind; i++) {
        bytes[1 + i] = (uint8_t)(value >> (8 * (kind - i)));
    }
    put_bytes(out, bytes, 2 + kind);
}

static inline uint32_t make_here(const struct mmdb_maker *maker)
{
    return (uint32_t)buffer_slice(&maker->data).len;
}

/* {"country_code": text}; MAKE_DATA and where it is. */
static inline uint32_t make_flat(struct mmdb_maker *maker, const char *text)
{
    uint32_t at = make_here(maker);
    put_map(&maker->data, 1);
    put_text(&maker->data, "country_code");
    put_text(&maker->data, text);
    return MAKE_DATA | at;
}

/* ---- the tree ---- */

/* The network gets the record; it must not lie inside one that has one.  An IPv4 network goes to
 * the first 32 bits of an IPv4 tree, or under ::/96. */
static inline void make_network(struct mmdb_maker *maker, const char *text, uint32_t record)
{
    struct network network;
    assert_true(network_parse(slice_str(text), &network));
    bool ipv4 = strchr(text, ':') == NULL;
    if (ipv4) {
        memset(network.address.bytes, 0, 12);
    }
    if (maker->count == 0) {
        make_node(maker);
    }
    uint32_t node = 0;
    for (unsigned bit = maker->ip_version == 4 ? 96 : 0;; bit++) {
        unsigned side = network.address.bytes[bit / 8] >> (7 - bit % 8) & 1;
        if (bit + 1 >= network.prefix_bits) {
            maker->nodes[node][side] = record;
            return;
        }
        if (maker->nodes[node][side] == MAKE_NONE) {
            uint32_t next = make_node(maker);
            maker->nodes[node][side] = next;
        }
        assert_true(maker->nodes[node][side] < MAKE_NONE);
        node = maker->nodes[node][side];
    }
}

/* ---- the file ---- */

static inline void put_node(struct buffer *out, const struct mmdb_maker *maker, uint32_t node)
{
    uint32_t values[2];
    for (unsigned side = 0; side < 2; side++) {
        uint32_t record = maker->nodes[node][side];
        values[side] = record;
        if (record == MAKE_NONE) {
            values[side] = maker->count;
        } else if (record & MAKE_DATA) {
            values[side] = maker->count + 16 + (record & ~MAKE_DATA);
        }
    }
    uint32_t left = values[0], right = values[1];
    uint8_t bytes[8] = {(uint8_t)(left >> 16), (uint8_t)(left >> 8), (uint8_t)left};
    if (maker->record_bits == 32) {
        bytes[0] = (uint8_t)(left >> 24), bytes[1] = (uint8_t)(left >> 16);
        bytes[2] = (uint8_t)(left >> 8), bytes[3] = (uint8_t)left;
        bytes[4] = (uint8_t)(right >> 24);
    } else if (maker->record_bits == 28) {
        bytes[3] = (uint8_t)((left >> 24) << 4 | right >> 24);
    }
    uint8_t *end = bytes + maker->record_bits / 4;
    end[-3] = (uint8_t)(right >> 16), end[-2] = (uint8_t)(right >> 8), end[-1] = (uint8_t)right;
    put_bytes(out, bytes, maker->record_bits / 4);
}

static inline void put_metadata(struct buffer *out, const struct mmdb_maker *maker)
{
    put_bytes(out, "\xab\xcd\xefMaxMind.com", 14);
    put_map(out, 9);
    put_text(out, "node_count");
    put_number(out, 6, maker->count);
    put_text(out, "record_size");
    put_number(out, 5, maker->record_bits);
    put_text(out, "ip_version");
    put_number(out, 5, maker->ip_version);
    put_text(out, "database_type");
    put_text(out, "Made-Country");
    put_text(out, "languages");
    put_head(out, 11, 1);
    put_text(out, "en");
    put_text(out, "binary_format_major_version");
    put_number(out, 5, 2);
    put_text(out, "binary_format_minor_version");
    put_number(out, 5, 0);
    put_text(out, "build_epoch");
    put_number(out, 9, (uint64_t)maker->built_s);
    put_text(out, "description");
    put_map(out, 1);
    put_text(out, "en");
    put_text(out, "made by a test");
}

/* Ends the maker. */
static inline struct slice make_file(struct mmdb_maker *maker)
{
    static const char gap[16] = {0};
    struct buffer out;
    buffer_init(&out, (size_t)128 << 20);
    for (uint32_t node = 0; node < maker->count; node++) {
        put_node(&out, maker, node);
    }
    put_bytes(&out, gap, sizeof gap);
    buffer_put(&out, buffer_slice(&maker->data));
    put_metadata(&out, maker);
    assert_int_equal(buffer_outcome(&out), BUFFER_OK);
    struct slice built = buffer_slice(&out);
    char *bytes = memory_alloc(built.len);
    memcpy(bytes, built.ptr, built.len);
    buffer_fini(&out);
    buffer_fini(&maker->data);
    free(maker->nodes);
    return slice_of(bytes, built.len);
}

/* A whole file from disk; {NULL, 0}: there is none. */
static inline struct slice file_bytes(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        return SLICE_EMPTY;
    }
    assert_int_equal(fseek(in, 0, SEEK_END), 0);
    size_t len = (size_t)ftell(in);
    rewind(in);
    char *bytes = memory_alloc(len);
    assert_int_equal(fread(bytes, 1, len, in), len);
    fclose(in);
    return slice_of(bytes, len);
}

#endif
