/* test_mmdb.c -- MaxMind DB files: the same answers as libmaxminddb for sound ones, a word and no
 * harm for all others. */
#define _GNU_SOURCE /* memmem */
#include "identity/mmdb.h"

#include <dirent.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "mmdb_maker.h"

static char why[256];

/* ---- helpers ---- */

static struct address address_of(const char *text)
{
    struct address address;
    assert_true(address_parse(slice_str(text), &address));
    return address;
}

static void check_country(const struct mmdb *mmdb, const char *text, const char *expected)
{
    struct address address = address_of(text);
    char country[3] = "--";
    bool found = mmdb_find(mmdb, &address, country);
    if (found != (expected != NULL) || (found && memcmp(country, expected, 2) != 0)) {
        fail_msg("%s: %s instead of %s", text, found ? country : "none", expected);
    }
}

static void read_sound(struct slice file, struct mmdb *mmdb)
{
    if (!mmdb_read(file, mmdb, why, sizeof why)) {
        fail_msg("refused: %s", why);
    }
}

static void check_refused(struct slice file, const char *words)
{
    struct mmdb mmdb;
    why[0] = '\0';
    if (mmdb_read(file, &mmdb, why, sizeof why)) {
        fail_msg("accepted, though %s", words);
    }
    assert_null(mmdb.nodes);
    if (strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    }
    free((char *)file.ptr);
}

/* ---- against libmaxminddb ---- */

static bool reference_text(MMDB_entry_s *entry, const char *const *path, char country[2])
{
    MMDB_entry_data_s data;
    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING || data.data_size != 2) {
        return false;
    }
    memcpy(country, data.utf8_string, 2);
    return country[0] >= 'A' && country[0] <= 'Z' && country[1] >= 'A' && country[1] <= 'Z';
}

/* bits: how long the network is that the answer is about, seen from the address' family. */
static bool reference_find(const MMDB_s *reference, const struct address *address, bool ipv4,
                           char country[2], unsigned *bits)
{
    static const char *const paths[][3] = {{"country", "iso_code", NULL},
                                           {"registered_country", "iso_code", NULL},
                                           {"country_code", NULL, NULL}};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v4.sin_addr, address->bytes + 12, 4);
    memcpy(&v6.sin6_addr, address->bytes, 16);
    int error = MMDB_SUCCESS;
    MMDB_lookup_result_s result = MMDB_lookup_sockaddr(
        reference, ipv4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, &error);
    *bits = ipv4 && result.netmask >= 96 ? result.netmask - 96u : result.netmask;
    if (error == MMDB_IPV6_LOOKUP_IN_IPV4_DATABASE_ERROR) {
        *bits = 0;
        return false;
    }
    assert_int_equal(error, MMDB_SUCCESS);
    for (size_t i = 0; result.found_entry && i < 3; i++) {
        if (reference_text(&result.entry, paths[i], country)) {
            return true;
        }
    }
    return false;
}

/* From network to network: the next address differs in the last bit that decided about this one,
 * and in all behind, so that narrow networks are met as well as wide ones. */
static unsigned compare_walk(const struct mmdb *mmdb, const MMDB_s *reference, bool ipv4,
                             uint64_t *random, unsigned rounds)
{
    const struct address mapped = address_of("255.255.255.255");
    struct address address = mapped;
    unsigned known = 0, first = ipv4 ? 96 : 0;
    for (unsigned bit = 128; rounds-- > 0;) {
        if (tap_random(random) % 16 == 0 || bit > 128) {
            bit = first;
        }
        for (unsigned i = bit; i < 128; i++) {
            unsigned mask = 0x80u >> i % 8;
            bool set = (tap_random(random) & 1) != 0;
            address.bytes[i / 8] =
                (uint8_t)(set ? address.bytes[i / 8] | mask : address.bytes[i / 8] & ~mask);
        }
        if (!ipv4 && memcmp(address.bytes, mapped.bytes, 12) == 0) {
            bit = 0; /* to us an IPv4 address, to libmaxminddb one of IPv6 */
            continue;
        }
        char mine[2] = {0}, theirs[2] = {0};
        unsigned bits;
        bool found = mmdb_find(mmdb, &address, mine);
        assert_int_equal(found, reference_find(reference, &address, ipv4, theirs, &bits));
        if (found) {
            assert_memory_equal(mine, theirs, 2);
        }
        known += found;
        bit = first + (bits == 0 ? 0 : bits - 1);
        if (bits > 0) {
            address.bytes[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
            bit++;
        }
    }
    return known;
}

static void compare(struct slice file, const char *path, uint64_t *random, bool has_ipv6)
{
    struct mmdb mmdb;
    MMDB_s reference;
    read_sound(file, &mmdb);
    assert_int_equal(MMDB_open(path, MMDB_MODE_MMAP, &reference), MMDB_SUCCESS);
    assert_true(compare_walk(&mmdb, &reference, true, random, 50000) > 1000);
    unsigned known = compare_walk(&mmdb, &reference, false, random, 50000);
    assert_true(has_ipv6 ? known > 1000 : known == 0);
    MMDB_close(&reference);
    mmdb_free(&mmdb);
}

static void test_good_vectors(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    static const char *const names[] = {"GeoIP2-Country-Test", "GeoLite2-Country-Test"};
    for (size_t i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, NOVABEAT_VECTORS "/mmdb/good/%s.mmdb", names[i]);
        struct slice file = file_bytes(path);
        if (file.ptr == NULL) {
            printf("# SKIP test_good_vectors: no %s\n", path);
            skip();
        }
        struct mmdb mmdb;
        read_sound(file, &mmdb);
        check_country(&mmdb, "2.125.160.216", "GB");
        check_country(&mmdb, "89.160.20.112", "SE");
        check_country(&mmdb, "2001:218::1", "JP");
        check_country(&mmdb, "127.0.0.1", NULL);
        assert_true(slice_has_prefix(slice_str(names[i]), slice_str(mmdb.type)));
        mmdb_free(&mmdb);
        compare(file, path, &random, true);
        free((char *)file.ptr);
    }
}

/* The database of scripts/setup country; tests run in the top folder. */
static void test_pinned(void **state)
{
    (void)state;
    static const char path[] = "build/country-db/country.mmdb";
    uint64_t random = tap_seed();
    struct slice file = file_bytes(path);
    if (file.ptr == NULL) {
        printf("# SKIP test_pinned: no %s\n", path);
        skip();
    }
    compare(file, path, &random, true);
    free((char *)file.ptr);
}

/* ---- made files ---- */

/* A record that points to a country that stands at `at` or a little behind. */
static uint32_t make_far_country(struct mmdb_maker *maker, uint32_t at, const char *letters)
{
    static const char filler[200] = {0};
    while (make_here(maker) < at) {
        put_head(&maker->data, 4, sizeof filler); /* bytes */
        put_bytes(&maker->data, filler, sizeof filler);
    }
    uint32_t country = make_here(maker);
    put_map(&maker->data, 1);
    put_text(&maker->data, "iso_code");
    put_text(&maker->data, letters);
    uint32_t record = MAKE_DATA | make_here(maker);
    put_map(&maker->data, 1);
    put_text(&maker->data, "country");
    put_pointer(&maker->data, country);
    return record;
}

/* Nested, flat, behind pointers, with other things beside; and letters that are none. */
static void make_countries(struct mmdb_maker *maker)
{
    struct buffer *data = &maker->data;
    uint32_t key = make_here(maker);
    put_text(data, "country");
    uint32_t sweden = make_here(maker);
    put_map(data, 2);
    put_text(data, "names");
    put_map(data, 1);
    put_text(data, "en");
    put_text(data, "Sweden");
    put_text(data, "iso_code");
    put_text(data, "SE");
    uint32_t nested = MAKE_DATA | make_here(maker);
    put_map(data, 3);
    put_text(data, "postal");
    put_pointer(data, sweden);
    put_pointer(data, key);
    put_pointer(data, sweden);
    put_text(data, "registered_country");
    put_map(data, 1);
    put_text(data, "iso_code");
    put_text(data, "NO");
    uint32_t registered = MAKE_DATA | make_here(maker);
    put_map(data, 2);
    put_text(data, "country");
    put_map(data, 0);
    put_text(data, "registered_country");
    put_map(data, 1);
    put_text(data, "iso_code");
    put_text(data, "NO");
    make_network(maker, "1.0.0.0/8", nested);
    make_network(maker, "2.0.0.0/9", registered);
    make_network(maker, "2.128.0.0/10", make_flat(maker, "GB"));
    make_network(maker, "3.0.0.0/8", make_flat(maker, "gb"));
    make_network(maker, "4.0.0.0/8", make_flat(maker, "GBR"));
    make_network(maker, "5.0.0.0/8", make_flat(maker, ""));
    make_network(maker, "6.6.6.6/32", make_flat(maker, "FR"));
    make_network(maker, "128.0.0.0/1", make_flat(maker, "ZA"));
    /* Pointers of three forms: 11, 19 and 27 bits. */
    make_network(maker, "7.0.0.0/8", make_far_country(maker, 3000, "CN"));
    make_network(maker, "8.0.0.0/8", make_far_country(maker, 300000, "AU"));
    make_network(maker, "9.0.0.0/8", make_far_country(maker, 600000, "JP"));
}

static void test_made(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    static const unsigned record_bits[] = {24, 28, 32};
    for (unsigned i = 0; i < 6; i++) {
        struct mmdb_maker maker;
        bool ipv6 = i >= 3;
        make_start(&maker, record_bits[i % 3], ipv6 ? 6 : 4);
        make_countries(&maker);
        if (ipv6) {
            make_network(&maker, "2001:db8::/32", make_flat(&maker, "CH"));
            make_network(&maker, "2001:db9::1/128", make_flat(&maker, "AT"));
            make_network(&maker, "8000::/1", make_flat(&maker, "NZ"));
        }
        struct slice file = make_file(&maker);
        struct mmdb mmdb;
        read_sound(file, &mmdb);
        check_country(&mmdb, "1.2.3.4", "SE");
        check_country(&mmdb, "2.1.2.3", "NO");
        check_country(&mmdb, "2.128.0.0", "GB");
        check_country(&mmdb, "2.192.0.0", NULL);
        check_country(&mmdb, "3.0.0.1", NULL);
        check_country(&mmdb, "4.0.0.1", NULL);
        check_country(&mmdb, "5.0.0.1", NULL);
        check_country(&mmdb, "6.6.6.6", "FR");
        check_country(&mmdb, "6.6.6.7", NULL);
        check_country(&mmdb, "7.0.0.1", "CN");
        check_country(&mmdb, "8.8.8.8", "AU");
        check_country(&mmdb, "9.9.9.9", "JP");
        check_country(&mmdb, "255.255.255.255", "ZA");
        check_country(&mmdb, "::1.2.3.4", ipv6 ? "SE" : NULL);
        check_country(&mmdb, "2001:db8::1", ipv6 ? "CH" : NULL);
        check_country(&mmdb, "2001:db9::1", ipv6 ? "AT" : NULL);
        check_country(&mmdb, "2001:db9::2", NULL);
        check_country(&mmdb, "ffff::", ipv6 ? "NZ" : NULL);
        assert_string_equal(mmdb.type, "Made-Country");
        assert_true(mmdb.build_epoch_s == 1767225600);
        mmdb_free(&mmdb);
        char name[] = "/tmp/novabeat-mmdb-XXXXXX", path[32];
        int fd = mkstemp(name);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, file.ptr, file.len), (ssize_t)file.len);
        unlink(name);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        compare(file, path, &random, ipv6);
        close(fd);
        free((char *)file.ptr);
    }
}

/* An IPv6 tree that says one thing about all of ::/64, or nothing about it. */
static void test_no_ipv4_part(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    struct mmdb mmdb;
    make_start(&maker, 24, 6);
    make_network(&maker, "::/64", make_flat(&maker, "DE"));
    struct slice file = make_file(&maker);
    read_sound(file, &mmdb);
    check_country(&mmdb, "192.0.2.1", "DE");
    check_country(&mmdb, "::1", "DE");
    check_country(&mmdb, "0:0:0:1::", NULL);
    mmdb_free(&mmdb);
    free((char *)file.ptr);
    make_start(&maker, 24, 6);
    make_network(&maker, "2001:db8::/32", make_flat(&maker, "DE"));
    file = make_file(&maker);
    read_sound(file, &mmdb);
    check_country(&mmdb, "192.0.2.1", NULL);
    check_country(&mmdb, "2001:db8::1", "DE");
    mmdb_free(&mmdb);
    free((char *)file.ptr);
}

/* 6to4 is the IPv4 part once more: a way back to a lower node is no fault. */
static void test_shared_part(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    struct mmdb mmdb;
    make_start(&maker, 24, 6);
    make_network(&maker, "192.0.2.0/24", make_flat(&maker, "DE"));
    uint32_t ipv4 = 0;
    for (unsigned bit = 0; bit < 96; bit++) {
        ipv4 = maker.nodes[ipv4][0];
    }
    make_network(&maker, "2002::/16", ipv4);
    struct slice file = make_file(&maker);
    read_sound(file, &mmdb);
    check_country(&mmdb, "192.0.2.1", "DE");
    check_country(&mmdb, "2002:c000:201::", "DE");
    check_country(&mmdb, "2002:c000:301::", NULL);
    mmdb_free(&mmdb);
    free((char *)file.ptr);
}

/* ---- bad files ---- */

static void test_hostile_vectors(void **state)
{
    (void)state;
    static const char folder[] = NOVABEAT_VECTORS "/mmdb/hostile";
    DIR *listing = opendir(folder);
    if (listing == NULL) {
        printf("# SKIP test_hostile_vectors: no folder %s\n", folder);
        skip();
    }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[512];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        check_refused(file_bytes(path), "i");
        printf("# %s: %s\n", entry->d_name, why);
        count++;
    }
    closedir(listing);
    assert_true(count >= 20);
}

static void test_round_and_deep_trees(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    maker.nodes[20][1] = 3;
    check_refused(make_file(&maker), "goes round");
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    maker.nodes[31][1] = 31;
    check_refused(make_file(&maker), "goes round");
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    uint32_t lower = make_node(&maker);
    maker.nodes[31][1] = lower;
    check_refused(make_file(&maker), "deeper than an address");
    /* Too deep only by the longer of two ways to one part. */
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    make_network(&maker, "128.0.0.0/8", MAKE_NONE);
    uint32_t side = maker.nodes[0][1];
    maker.nodes[30][1] = side;
    check_refused(make_file(&maker), "deeper than an address");
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    maker.nodes[31][1] = maker.count + 15; /* the last byte of the gap */
    check_refused(make_file(&maker), "gap");
    make_start(&maker, 24, 4);
    make_network(&maker, "1.0.0.0/32", make_flat(&maker, "DE"));
    maker.nodes[31][1] = MAKE_DATA | make_here(&maker);
    check_refused(make_file(&maker), "behind the data");
}

/* Two million arrays in each other: libmaxminddb 1.7.1 goes down with its stack. */
static void test_deep_data(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    struct mmdb mmdb;
    make_start(&maker, 24, 4);
    uint32_t at = MAKE_DATA | make_here(&maker);
    put_map(&maker.data, 2);
    put_text(&maker.data, "a");
    for (unsigned i = 0; i < 2000000; i++) {
        put_head(&maker.data, 11, 1);
    }
    put_text(&maker.data, "x");
    put_text(&maker.data, "country_code");
    put_text(&maker.data, "DE");
    make_network(&maker, "1.0.0.0/8", at);
    struct slice file = make_file(&maker);
    read_sound(file, &mmdb);
    check_country(&mmdb, "1.2.3.4", "DE");
    mmdb_free(&mmdb);
    free((char *)file.ptr);
}

/* 65,536 records, each a map that holds all that follow: without a bound on the work two milliard
 * steps. */
static void test_overlapping_data(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    make_start(&maker, 24, 4);
    enum { RECORDS = 65536 };
    for (unsigned i = 0; i < RECORDS; i++) {
        put_map(&maker.data, 1);
        put_text(&maker.data, "");
    }
    put_text(&maker.data, "");
    for (unsigned i = 0; i < RECORDS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%u.%u.0.0/16", i >> 8, i & 255);
        make_network(&maker, text, MAKE_DATA | 2 * i);
    }
    check_refused(make_file(&maker), "overlap");
}

static void test_bad_values(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *words;
    } cases[] = {
        {"\xe1\x41", 2, "longer than it can be"}, /* a map of one, cut in its key */
        {"\xe1\x41"
         "a\x20",
         4, "pointer is cut off"}, /* a pointer */
        {"\xe1\x41"
         "a\x20\x00",
         5, NULL}, /* to itself: never followed */
        {"\xe1\x20\x00\x41"
         "a",
         5, "key is not a text"}, /* a pointer as the key, to the map */
        {"\xe1\x20\x01\x41"
         "a",
         5, "leads to a pointer"},
        {"\xe1\xa0\x41"
         "a",
         4, "key is not a text"}, /* a number as the key */
        {"\xe1\x41"
         "a\x00",
         4, "type is cut off"},
        {"\xe1\x41"
         "a\x00\x05\x00",
         6, "unknown type"}, /* 12: of caches in memory */
        {"\xe1\x41"
         "a\x00\x09\x00",
         6, "unknown type"}, /* 16 */
        {"\xe1\x41"
         "a\x5f\xff\xff",
         6, "size is cut off"},
        {"\xe1\x41"
         "a\x5f\xff\xff\xff",
         7, "longer than it can be"},
        {"\xe1\x41"
         "a\xc5\x01\x01\x01\x01\x01",
         9, "longer than it can be"}, /* 40 bits */
        {"\xe1\x41"
         "a\x67\x01\x01\x01\x01\x01\x01\x01",
         11, "longer than it can be"},
        {"\xe1\x41"
         "a\x1d\x04\xff",
         6, "longer than it can be"}, /* an array of 284 */
        {"\xe1\x47"
         "country\x39\x00\x00\x00",
         13, "cut off"},
        {"\xe1\x47"
         "country\x38\x00\x00\x00\x0e",
         14, "leads out of its section"},
        {"\xe1\x47"
         "country\x38\x00\x00\x00\x09",
         14, "leads to a pointer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mmdb_maker maker;
        make_start(&maker, 24, 4);
        put_bytes(&maker.data, cases[i].bytes, cases[i].len);
        make_network(&maker, "0.0.0.0/1", MAKE_DATA);
        check_refused(make_file(&maker), cases[i].words == NULL ? "no record" : cases[i].words);
    }
}

static void test_bad_metadata(void **state)
{
    (void)state;
    static const struct {
        unsigned record_bits, ip_version;
        const char *words;
    } cases[] = {{20, 4, "20 bits"}, {24, 5, "IP version 5"}};
    struct mmdb_maker maker;
    for (size_t i = 0; i < 2; i++) {
        make_start(&maker, 24, 4);
        make_network(&maker, "0.0.0.0/1", make_flat(&maker, "DE"));
        struct slice file = make_file(&maker);
        char *bits = memmem(file.ptr, file.len, "record_size", 11);
        char *version = memmem(file.ptr, file.len, "ip_version", 10);
        bits[12] = (char)cases[i].record_bits;
        version[11] = (char)cases[i].ip_version;
        check_refused(file, cases[i].words);
    }
    static const char *const keys[] = {
        "node_count",   "record_size", "ip_version", "build_epoch", "binary_format_major_version",
        "database_type"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        make_start(&maker, 24, 4);
        make_network(&maker, "0.0.0.0/1", make_flat(&maker, "DE"));
        struct slice file = make_file(&maker);
        char *key = memmem(file.ptr, file.len, keys[i], strlen(keys[i]));
        key[0] = '_';
        check_refused(file, keys[i]);
    }
    make_start(&maker, 24, 4);
    make_network(&maker, "0.0.0.0/1", make_flat(&maker, "DE"));
    struct slice file = make_file(&maker);
    char *major = memmem(file.ptr, file.len, "major_version", 13);
    major[14] = 3;
    check_refused(file, "format 3");
    check_refused(slice_of(memory_alloc(1), 0), "no MaxMind DB file");
    make_start(&maker, 24, 4);
    make_network(&maker, "0.0.0.0/1", make_flat(&maker, "-"));
    check_refused(make_file(&maker), "\"Made-Country\"");
}

/* Every beginning of a file is refused: its metadata stands at its end. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    struct mmdb_maker maker;
    make_start(&maker, 28, 6);
    make_network(&maker, "192.0.2.0/24", make_flat(&maker, "DE"));
    make_network(&maker, "2001:db8::/32", make_flat(&maker, "CH"));
    struct slice file = make_file(&maker);
    for (size_t len = 0; len < file.len; len++) {
        char *cut = memory_alloc(len == 0 ? 1 : len);
        memcpy(cut, file.ptr, len);
        check_refused(slice_of(cut, len), "");
    }
    free((char *)file.ptr);
}

/* Bytes that were changed anywhere: refused, or answers that are letters. */
static void test_random_damage(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    struct mmdb_maker maker;
    unsigned read = 0, rounds = 20000;
    make_start(&maker, 24, 6);
    make_network(&maker, "192.0.2.0/24", make_flat(&maker, "DE"));
    make_network(&maker, "2001:db8::/32", make_flat(&maker, "CH"));
    uint32_t country = make_here(&maker);
    put_map(&maker.data, 1);
    put_text(&maker.data, "iso_code");
    put_text(&maker.data, "JP");
    uint32_t nested = MAKE_DATA | make_here(&maker);
    put_map(&maker.data, 1);
    put_text(&maker.data, "country");
    put_pointer(&maker.data, country);
    make_network(&maker, "198.51.100.0/24", nested);
    struct slice file = make_file(&maker);
    char *copy = memory_alloc(file.len);
    for (unsigned round = 0; round < rounds; round++) {
        memcpy(copy, file.ptr, file.len);
        /* Half of them in the data and the metadata, which are short. */
        size_t from = round % 2 == 0 ? 0 : file.len - 330;
        for (uint64_t left = tap_random(&random) % 4 + 1; left > 0; left--) {
            copy[from + tap_random(&random) % (file.len - from)] = (char)tap_random(&random);
        }
        struct mmdb mmdb;
        if (!mmdb_read(slice_of(copy, file.len), &mmdb, why, sizeof why)) {
            assert_true(strlen(why) > 0);
            continue;
        }
        read++;
        for (unsigned i = 0; i < 8; i++) {
            struct address address = address_of(i < 4 ? "192.0.2.1" : "2001:db8::1");
            char letters[2] = {'A', 'A'};
            address.bytes[12 + i % 4] ^= (uint8_t)tap_random(&random);
            mmdb_find(&mmdb, &address, letters);
            assert_in_range(letters[0], 'A', 'Z');
            assert_in_range(letters[1], 'A', 'Z');
        }
        mmdb_free(&mmdb);
    }
    printf("# %u of %u damaged files could be read\n", read, rounds);
    assert_in_range(read, 1, rounds - 1);
    free(copy);
    free((char *)file.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_vectors),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_no_ipv4_part),
        cmocka_unit_test(test_shared_part),
        cmocka_unit_test(test_hostile_vectors),
        cmocka_unit_test(test_round_and_deep_trees),
        cmocka_unit_test(test_deep_data),
        cmocka_unit_test(test_overlapping_data),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_metadata),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_random_damage),
    };
    return tap_run(tests);
}
