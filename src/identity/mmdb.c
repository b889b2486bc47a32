/* mmdb.c -- see mmdb.h.  From the bytes up: fields, values, maps, metadata, countries, the tree. */
#include "identity/mmdb.h"

#include "base/memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LEAF               0x80000000u /* the low 16 bits are the country's letters, or 0 */
#define SEPARATOR_BYTES    16          /* between tree and data */
#define METADATA_BYTES_MAX ((size_t)128 * 1024)
#define IPV4_PREFIX_BITS   96
#define EPOCH_S_MAX        253402300799u /* the end of the year 9999 */
/* Fields that may be decoded for each byte of data.  Sound files need less than one; records that
 * overlap each other could ask for the square of their size. */
#define FIELDS_PER_BYTE 16
#define FIELDS_SPARE    1000000

enum type {
    POINTER = 1,
    TEXT = 2,
    DOUBLE = 3,
    BYTES = 4,
    UINT16 = 5,
    UINT32 = 6,
    MAP = 7,
    INT32 = 8,
    UINT64 = 9,
    UINT128 = 10,
    ARRAY = 11,
    BOOLEAN = 14,
    FLOAT = 15,
};

/* The data section or the metadata: values that point to each other. */
struct section {
    const uint8_t *bytes;
    size_t len;
    uint64_t fields_left;
    const char *wrong; /* what was found first, or NULL */
};

/* A value's head.  size: bytes of the payload; entries of a map or array; of a pointer, where it
 * points to; of a boolean, its value. */
struct field {
    enum type type;
    size_t size;
    size_t payload; /* where it begins */
};

static bool damaged(struct section *section, const char *wrong)
{
    section->wrong = section->wrong == NULL ? wrong : section->wrong;
    return false;
}

static uint64_t big_endian(const uint8_t *bytes, size_t count)
{
    uint64_t number = 0;
    for (size_t i = 0; i < count; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/* ---- fields ---- */

static bool read_pointer(struct section *section, uint8_t control, size_t at, struct field *field)
{
    static const size_t bases[] = {0, 2048, 526336, 0};
    size_t kind = control >> 3 & 3, bytes = kind + 1;
    if (section->len - at < bytes) {
        return damaged(section, "a pointer is cut off");
    }
    uint64_t high = kind == 3 ? 0 : control & 7; /* the largest kind has all of its bits behind */
    field->size = (size_t)(high << (8 * bytes) | big_endian(section->bytes + at, bytes));
    field->size += bases[kind];
    field->payload = at + bytes;
    if (field->size >= section->len) {
        return damaged(section, "a pointer leads out of its section");
    }
    return true;
}

/* Sizes up to 28 stand in the control byte, larger ones in one to three bytes behind it. */
static bool read_size(struct section *section, uint8_t control, size_t at, struct field *field)
{
    static const size_t bases[] = {29, 285, 65821};
    field->size = control & 31;
    field->payload = at;
    if (field->size < 29) {
        return true;
    }
    size_t bytes = field->size - 28;
    if (section->len - at < bytes) {
        return damaged(section, "a size is cut off");
    }
    field->size = bases[bytes - 1] + (size_t)big_endian(section->bytes + at, bytes);
    field->payload = at + bytes;
    return true;
}

static bool size_is_sound(const struct field *field, size_t left)
{
    switch (field->type) {
    case DOUBLE:
        return field->size == 8 && left >= 8;
    case FLOAT:
        return field->size == 4 && left >= 4;
    case UINT16:
        return field->size <= 2 && left >= field->size;
    case UINT32:
    case INT32:
        return field->size <= 4 && left >= field->size;
    case UINT64:
        return field->size <= 8 && left >= field->size;
    case UINT128:
        return field->size <= 16 && left >= field->size;
    case BOOLEAN:
        return field->size <= 1;
    case MAP: /* each entry is a key and a value, each at least a byte */
        return field->size <= left / 2;
    default: /* TEXT, BYTES, ARRAY */
        return field->size <= left;
    }
}

static bool read_field(struct section *section, size_t at, struct field *field)
{
    if (section->fields_left == 0) {
        return damaged(section, "its records overlap too often");
    }
    section->fields_left--;
    if (at >= section->len) {
        return damaged(section, "a value is cut off");
    }
    uint8_t control = section->bytes[at++];
    field->type = (enum type)(control >> 5);
    if (field->type == POINTER) {
        return read_pointer(section, control, at, field);
    }
    if (field->type == 0) { /* an extended type: it is in the next byte, less 7 */
        if (at >= section->len) {
            return damaged(section, "a type is cut off");
        }
        unsigned type = section->bytes[at++] + 7u;
        if (type < INT32 || type > FLOAT || type == 12 || type == 13) {
            return damaged(section, "a value is of an unknown type");
        }
        field->type = (enum type)type;
    }
    if (!read_size(section, control, at, field)) {
        return false;
    }
    if (!size_is_sound(field, section->len - field->payload)) {
        return damaged(section, "a value is longer than it can be");
    }
    return true;
}

/* Behind the value at *at, without following pointers.  Counts what is still to skip instead of
 * going down, so that nesting costs no stack; no more can be announced than there are bytes. */
static bool skip_value(struct section *section, size_t *at)
{
    for (size_t pending = 1; pending > 0; pending--) {
        struct field field;
        if (!read_field(section, *at, &field)) {
            return false;
        }
        *at = field.payload;
        if (field.type == MAP || field.type == ARRAY) {
            pending += field.type == MAP ? 2 * field.size : field.size;
            if (pending - 1 > section->len - *at) {
                return damaged(section, "a map or array has more entries than there are bytes");
            }
        } else if (field.type != POINTER && field.type != BOOLEAN) {
            *at += field.size;
        }
    }
    return true;
}

/* The value at `at`, or what the pointer there points to. */
static bool read_value(struct section *section, size_t at, struct field *field)
{
    if (!read_field(section, at, field)) {
        return false;
    }
    if (field->type != POINTER) {
        return true;
    }
    if (!read_field(section, field->size, field)) {
        return false;
    }
    return field->type != POINTER || damaged(section, "a pointer leads to a pointer");
}

/* ---- maps ---- */

struct wanted {
    const char *key;
    bool found;
    size_t at; /* of the value */
};

/* Walks the whole map, so that all of it is known to be sound; of a key that comes twice the first
 * counts. */
static bool walk_map(struct section *section, const struct field *map, struct wanted *wanted,
                     size_t count)
{
    size_t at = map->payload;
    for (size_t left = map->size; left > 0; left--) {
        struct field key;
        if (!read_value(section, at, &key)) {
            return false;
        }
        if (key.type != TEXT) {
            return damaged(section, "a map's key is not a text");
        }
        if (!skip_value(section, &at)) {
            return false;
        }
        struct slice text = slice_of((const char *)section->bytes + key.payload, key.size);
        for (size_t i = 0; i < count; i++) {
            if (!wanted[i].found && slice_equal(text, slice_str(wanted[i].key))) {
                wanted[i].found = true;
                wanted[i].at = at;
            }
        }
        if (!skip_value(section, &at)) {
            return false;
        }
    }
    return true;
}

/* ---- metadata ---- */

enum { NODES, RECORD_BITS, IP_VERSION, FORMAT, BUILT, TYPE, METADATA_KEYS };

struct metadata {
    uint64_t numbers[TYPE];
    struct slice type;
};

static bool read_number(struct section *section, const struct wanted *wanted, uint64_t *number)
{
    struct field field;
    if (!wanted->found || !read_value(section, wanted->at, &field)) {
        return false;
    }
    if (field.type != UINT16 && field.type != UINT32 && field.type != UINT64) {
        return false;
    }
    *number = big_endian(section->bytes + field.payload, field.size);
    return true;
}

/* Behind the last marker in what may be metadata; false: there is none. */
static bool find_metadata(struct slice file, struct section *section)
{
    static const char marker[] = "\xab\xcd\xefMaxMind.com";
    const size_t len = sizeof marker - 1;
    size_t reach = METADATA_BYTES_MAX + len;
    size_t from = file.len > reach ? file.len - reach : 0;
    for (size_t at = file.len >= len ? file.len - len + 1 : 0; at > from; at--) {
        if (memcmp(file.ptr + at - 1, marker, len) == 0) {
            const char *bytes = file.ptr + at - 1 + len;
            *section = (struct section){.bytes = (const uint8_t *)bytes,
                                        .len = (size_t)(file.ptr + file.len - bytes),
                                        .fields_left = FIELDS_SPARE};
            return true;
        }
    }
    return false;
}

__attribute__((format(printf, 3, 4))) static bool refuse(char *why, size_t why_bytes,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, why_bytes, format, arguments);
    va_end(arguments);
    return false;
}

static bool read_metadata(struct section *section, struct metadata *metadata, char *why,
                          size_t why_bytes)
{
    struct wanted wanted[METADATA_KEYS] = {
        {.key = "node_count"},  {.key = "record_size"},
        {.key = "ip_version"},  {.key = "binary_format_major_version"},
        {.key = "build_epoch"}, {.key = "database_type"}};
    struct field map, type;
    bool sound = read_value(section, 0, &map);
    if (sound && map.type != MAP) {
        return refuse(why, why_bytes, "its metadata is not a map");
    }
    if (!sound || !walk_map(section, &map, wanted, METADATA_KEYS)) {
        return refuse(why, why_bytes, "its metadata is damaged: %s", section->wrong);
    }
    for (size_t i = 0; i < TYPE; i++) {
        if (!read_number(section, &wanted[i], &metadata->numbers[i])) {
            return refuse(why, why_bytes, "its metadata has no sound %s", wanted[i].key);
        }
    }
    if (!wanted[TYPE].found || !read_value(section, wanted[TYPE].at, &type) || type.type != TEXT) {
        return refuse(why, why_bytes, "its metadata has no sound database_type");
    }
    metadata->type = slice_of((const char *)section->bytes + type.payload, type.size);
    return true;
}

static bool check_metadata(const struct metadata *metadata, size_t bytes, char *why,
                           size_t why_bytes)
{
    const uint64_t *numbers = metadata->numbers;
    if (numbers[FORMAT] != 2) {
        return refuse(why, why_bytes, "it is of format %" PRIu64 ", not 2", numbers[FORMAT]);
    }
    if (numbers[RECORD_BITS] != 24 && numbers[RECORD_BITS] != 28 && numbers[RECORD_BITS] != 32) {
        return refuse(why, why_bytes, "its records have %" PRIu64 " bits, not 24, 28 or 32",
                      numbers[RECORD_BITS]);
    }
    if (numbers[IP_VERSION] != 4 && numbers[IP_VERSION] != 6) {
        return refuse(why, why_bytes, "its addresses are of IP version %" PRIu64,
                      numbers[IP_VERSION]);
    }
    if (numbers[NODES] == 0 || numbers[NODES] > MMDB_NODES_MAX) {
        return refuse(why, why_bytes, "it says that it has %" PRIu64 " nodes, and 1 to %u are held",
                      numbers[NODES], MMDB_NODES_MAX);
    }
    if (numbers[NODES] * (numbers[RECORD_BITS] / 4) + SEPARATOR_BYTES > bytes) {
        return refuse(why, why_bytes, "it is cut short: its tree of %" PRIu64 " nodes does not fit",
                      numbers[NODES]);
    }
    return true;
}

/* ---- countries ---- */

#define KNOWN_NONE 1u /* in the memo: decoded, and without a country; no letters give 1 */

/* 0: not two letters A-Z. */
static bool read_letters(struct section *section, size_t at, uint16_t *letters)
{
    struct field field;
    if (!read_value(section, at, &field)) {
        return false;
    }
    const uint8_t *text = section->bytes + field.payload;
    bool two = field.type == TEXT && field.size == 2 && text[0] >= 'A' && text[0] <= 'Z' &&
               text[1] >= 'A' && text[1] <= 'Z';
    *letters = two ? (uint16_t)(text[0] << 8 | text[1]) : 0;
    return true;
}

static bool read_iso_code(struct section *section, size_t at, uint16_t *letters)
{
    struct field map;
    struct wanted wanted = {.key = "iso_code"};
    if (!read_value(section, at, &map)) {
        return false;
    }
    if (map.type != MAP) {
        return true;
    }
    if (!walk_map(section, &map, &wanted, 1)) {
        return false;
    }
    return !wanted.found || read_letters(section, wanted.at, letters);
}

static bool read_country(struct section *section, size_t at, uint16_t *letters)
{
    enum { COUNTRY, REGISTERED, FLAT, KEYS };
    struct wanted wanted[KEYS] = {
        {.key = "country"}, {.key = "registered_country"}, {.key = "country_code"}};
    struct field map;
    *letters = 0;
    if (!read_field(section, at, &map)) {
        return false;
    }
    if (map.type != MAP) { /* of a database about something else */
        return skip_value(section, &at);
    }
    if (!walk_map(section, &map, wanted, KEYS)) {
        return false;
    }
    if (wanted[COUNTRY].found && !read_iso_code(section, wanted[COUNTRY].at, letters)) {
        return false;
    }
    if (*letters == 0 && wanted[REGISTERED].found &&
        !read_iso_code(section, wanted[REGISTERED].at, letters)) {
        return false;
    }
    return *letters != 0 || !wanted[FLAT].found || read_letters(section, wanted[FLAT].at, letters);
}

/* ---- the tree ---- */

struct reading {
    struct mmdb *mmdb;
    const uint8_t *tree;
    unsigned record_bits;
    struct section data;
    uint16_t *memo; /* by a record's place: 0, KNOWN_NONE or its letters */
    bool any;       /* some record has a country */
};

static uint32_t raw_record(const struct reading *reading, uint32_t node, unsigned side)
{
    const uint8_t *bytes = reading->tree + (size_t)node * (reading->record_bits / 4);
    if (reading->record_bits == 28) { /* the middle byte holds the high bits of both */
        uint32_t high = side == 0 ? bytes[3] >> 4 : bytes[3] & 15;
        return high << 24 | (uint32_t)big_endian(bytes + (side == 0 ? 0 : 4), 3);
    }
    size_t width = reading->record_bits / 8;
    return (uint32_t)big_endian(bytes + side * width, width);
}

/* What our table holds for a record of the file's tree. */
static bool read_record(struct reading *reading, uint32_t record, uint32_t *entry)
{
    uint32_t nodes = reading->mmdb->nodes_count;
    if (record <= nodes) {
        *entry = record == nodes ? LEAF : record;
        return true;
    }
    if (record - nodes < SEPARATOR_BYTES) {
        return damaged(&reading->data, "a node leads into the gap between tree and data");
    }
    size_t at = record - nodes - SEPARATOR_BYTES;
    if (at >= reading->data.len) {
        return damaged(&reading->data, "a node leads behind the data");
    }
    if (reading->memo[at] == 0) {
        uint16_t letters;
        if (!read_country(&reading->data, at, &letters)) {
            return false;
        }
        reading->memo[at] = letters == 0 ? KNOWN_NONE : letters;
        reading->any = reading->any || letters != 0;
    }
    *entry = LEAF | (reading->memo[at] == KNOWN_NONE ? 0 : reading->memo[at]);
    return true;
}

static bool read_nodes(struct reading *reading, char *why, size_t why_bytes)
{
    struct mmdb *mmdb = reading->mmdb;
    for (uint32_t node = 0; node < mmdb->nodes_count; node++) {
        for (unsigned side = 0; side < 2; side++) {
            uint32_t record = raw_record(reading, node, side);
            if (!read_record(reading, record, &mmdb->nodes[node][side])) {
                return refuse(why, why_bytes, "it is damaged at node %" PRIu32 ": %s", node,
                              reading->data.wrong);
            }
        }
    }
    return true;
}

/* No way down is longer than an address.  Parts may be reached by several ways (6to4 is often the
 * IPv4 part once more), so each node keeps how far its lowest leaf is: each is walked once. */
static bool check_depth(const struct mmdb *mmdb)
{
    enum { ON_THE_WAY = 255 };
    struct step {
        uint32_t node;
        unsigned side, height;
    } way[128];
    uint8_t *heights = memory_zalloc(mmdb->nodes_count); /* 0: not seen yet */
    unsigned depth = 1;
    bool sound = true;
    way[0] = (struct step){0};
    heights[0] = ON_THE_WAY;
    while (sound && depth > 0) {
        struct step *step = &way[depth - 1];
        if (step->side == 2) {
            heights[step->node] = (uint8_t)(step->height + 1);
            sound = step->height < mmdb->bits;
            depth--;
            continue;
        }
        uint32_t entry = mmdb->nodes[step->node][step->side];
        unsigned height = entry >= LEAF ? 0 : heights[entry];
        if (entry < LEAF && height == 0) {
            sound = depth < mmdb->bits;
            if (sound) {
                heights[entry] = ON_THE_WAY;
                way[depth++] = (struct step){.node = entry};
            }
            continue; /* with the same side again: its height is known then */
        }
        sound = height != ON_THE_WAY;
        step->height = height > step->height ? height : step->height;
        step->side++;
    }
    free(heights);
    return sound;
}

static void find_ipv4(struct mmdb *mmdb)
{
    mmdb->ipv4 = 0;
    for (unsigned bit = 0; mmdb->bits == 128 && bit < IPV4_PREFIX_BITS; bit++) {
        if (mmdb->ipv4 < LEAF) {
            mmdb->ipv4 = mmdb->nodes[mmdb->ipv4][0];
        }
    }
}

static void keep_type(struct mmdb *mmdb, struct slice type)
{
    size_t len = type.len < MMDB_TYPE_BYTES - 1 ? type.len : MMDB_TYPE_BYTES - 1;
    for (size_t i = 0; i < len; i++) { /* it goes into the log */
        mmdb->type[i] = type.ptr[i] >= ' ' && type.ptr[i] <= '~' ? type.ptr[i] : '?';
    }
    mmdb->type[len] = '\0';
}

static bool build(struct slice file, const struct metadata *metadata, size_t data_end,
                  struct mmdb *mmdb, char *why, size_t why_bytes)
{
    *mmdb = (struct mmdb){.nodes_count = (uint32_t)metadata->numbers[NODES],
                          .bits = metadata->numbers[IP_VERSION] == 4 ? 32 : 128,
                          .build_epoch_s = metadata->numbers[BUILT] <= EPOCH_S_MAX
                                               ? (int64_t)metadata->numbers[BUILT]
                                               : 0};
    keep_type(mmdb, metadata->type);
    struct reading reading = {.mmdb = mmdb,
                              .tree = (const uint8_t *)file.ptr,
                              .record_bits = (unsigned)metadata->numbers[RECORD_BITS]};
    size_t data_start = (size_t)mmdb->nodes_count * (reading.record_bits / 4) + SEPARATOR_BYTES;
    reading.data =
        (struct section){.bytes = reading.tree + data_start, .len = data_end - data_start};
    reading.data.fields_left = FIELDS_PER_BYTE * (uint64_t)reading.data.len + FIELDS_SPARE;
    mmdb->nodes = memory_alloc(mmdb->nodes_count * sizeof mmdb->nodes[0]);
    reading.memo = memory_zalloc((reading.data.len + 1) * sizeof reading.memo[0]);
    bool read = read_nodes(&reading, why, why_bytes);
    free(reading.memo);
    if (read && !check_depth(mmdb)) {
        read = refuse(why, why_bytes, "its search tree goes round, or is deeper than an address");
    }
    if (read && !reading.any) {
        read = refuse(why, why_bytes,
                      "no record has a country.iso_code or a country_code (it is of type \"%s\")",
                      mmdb->type);
    }
    if (!read) {
        mmdb_free(mmdb);
        return false;
    }
    find_ipv4(mmdb);
    return true;
}

bool mmdb_read(struct slice file, struct mmdb *mmdb, char *why, size_t why_bytes)
{
    struct section section;
    struct metadata metadata = {0};
    *mmdb = (struct mmdb){0};
    if (file.len > MMDB_FILE_BYTES_MAX) {
        return refuse(why, why_bytes, "it has %zu bytes, more than the %zu that are held", file.len,
                      MMDB_FILE_BYTES_MAX);
    }
    if (!find_metadata(file, &section)) {
        return refuse(why, why_bytes,
                      "it is no MaxMind DB file, or it is cut short: its end has no "
                      "metadata");
    }
    static const size_t marker_bytes = 14;
    size_t data_end = (size_t)((const char *)section.bytes - file.ptr) - marker_bytes;
    return read_metadata(&section, &metadata, why, why_bytes) &&
           check_metadata(&metadata, data_end, why, why_bytes) &&
           build(file, &metadata, data_end, mmdb, why, why_bytes);
}

void mmdb_free(struct mmdb *mmdb)
{
    free(mmdb->nodes);
    *mmdb = (struct mmdb){0};
}

bool mmdb_find(const struct mmdb *mmdb, const struct address *address, char country[2])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool ipv4 = memcmp(address->bytes, mapped, sizeof mapped) == 0;
    if (!ipv4 && mmdb->bits == 32) {
        return false;
    }
    uint32_t entry = ipv4 ? mmdb->ipv4 : 0;
    for (unsigned bit = ipv4 ? IPV4_PREFIX_BITS : 0; entry < LEAF && bit < 128; bit++) {
        entry = mmdb->nodes[entry][address->bytes[bit / 8] >> (7 - bit % 8) & 1];
    }
    if (entry < LEAF || (entry & 0xffff) == 0) {
        return false;
    }
    country[0] = (char)(entry >> 8 & 0xff);
    country[1] = (char)(entry & 0xff);
    return true;
}
