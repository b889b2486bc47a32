/* test_country_db.c -- the file of countries: missing, odd, changed, cut short and exchanged while
 * others look up. */
#include "identity/country_db.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmdb_maker.h"

static char folder[] = "/tmp/novabeat-country-XXXXXX";
static char path[64], next[64];
static char why[512];

static int folder_make(void **state)
{
    (void)state;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/countries.mmdb", folder);
    snprintf(next, sizeof next, "%s/next.mmdb", folder);
    why[0] = '\0';
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(path);
    unlink(next);
    return rmdir(folder);
}

static void write_bytes(const char *to, struct slice bytes)
{
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, out), bytes.len);
    assert_int_equal(fclose(out), 0);
}

/* 192.0.2.0/24 and 2001:db8::/32 are of the country; filler makes the file longer. */
static struct slice file_of(const char *letters, unsigned filler)
{
    struct mmdb_maker maker;
    make_start(&maker, 24, 6);
    uint32_t record = make_flat(&maker, letters);
    make_network(&maker, "192.0.2.0/24", record);
    make_network(&maker, "2001:db8::/32", record);
    for (unsigned i = 0; i < filler; i++) {
        put_text(&maker.data, "filler");
    }
    return make_file(&maker);
}

/* As an operator should do it: a new file takes the old one's name. */
static void put_country(const char *letters, unsigned filler)
{
    struct slice file = file_of(letters, filler);
    write_bytes(next, file);
    assert_int_equal(rename(next, path), 0);
    free((char *)file.ptr);
}

static struct country_db *open_sound(void)
{
    struct country_db *db;
    if (country_db_open(path, &db, why, sizeof why) != ERR_NONE) {
        fail_msg("%s", why);
    }
    return db;
}

static void check_found(struct country_db *db, const char *expected)
{
    static const char *const inside[] = {"192.0.2.77", "2001:db8:1::2"};
    static const char *const outside[] = {"192.0.3.77", "2001:db9:1::2", "::"};
    struct address address;
    char country[2];
    for (size_t i = 0; i < 2; i++) {
        assert_true(address_parse(slice_str(inside[i]), &address));
        assert_true(country_db_find(db, &address, country));
        assert_memory_equal(country, expected, 2);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(address_parse(slice_str(outside[i]), &address));
        assert_false(country_db_find(db, &address, country));
    }
}

static void check_reload(struct country_db *db, enum err expected, bool expected_change)
{
    bool changed = !expected_change;
    enum err err = country_db_reload_changed(db, &changed, why, sizeof why);
    if (err != expected) {
        fail_msg("%s instead of %s: %s", err_name(err), err_name(expected), why);
    }
    assert_int_equal(changed, expected_change);
    if (err != ERR_NONE) {
        assert_non_null(strstr(why, path));
    }
}

static void check_open_fails(const char *which, enum err expected, const char *words)
{
    struct country_db *db;
    assert_int_equal(country_db_open(which, &db, why, sizeof why), expected);
    assert_null(db);
    if (strstr(why, which) == NULL || strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\" of %s", why, words, which);
    }
}

static void test_finds_and_describes(void **state)
{
    (void)state;
    put_country("DE", 0);
    struct country_db *db = open_sound();
    char text[64];
    check_found(db, "DE");
    country_db_describe(db, text, sizeof text);
    assert_string_equal(text, "Made-Country (build 2026-01-01)");
    check_reload(db, ERR_NONE, false);
    country_db_close(db);
    country_db_close(NULL);
}

static void test_no_file(void **state)
{
    (void)state;
    check_open_fails(path, ERR_NOT_FOUND, "No such file");
    check_open_fails(folder, ERR_IO, "not a regular file");
    check_open_fails("/dev/zero", ERR_IO, "not a regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    check_open_fails(path, ERR_IO, "not a regular file"); /* and does not wait for a writer */
    assert_int_equal(unlink(path), 0);
    write_bytes(path, SLICE_LIT(""));
    check_open_fails(path, ERR_DAMAGED, "no MaxMind DB file");
    assert_int_equal(truncate(path, (off_t)2 << 30), 0); /* takes no room on the disk */
    check_open_fails(path, ERR_DAMAGED, "larger than 1 GiB");
}

/* Whatever becomes of the file, what was read stays good. */
static void test_file_spoiled_in_use(void **state)
{
    (void)state;
    put_country("DE", 10000);
    struct country_db *db = open_sound();
    assert_int_equal(truncate(path, 4096), 0);
    check_found(db, "DE");
    check_reload(db, ERR_DAMAGED, false);
    check_found(db, "DE");
    check_reload(db, ERR_NONE, false); /* told once */
    assert_int_equal(truncate(path, 0), 0);
    check_reload(db, ERR_DAMAGED, false);
    assert_int_equal(unlink(path), 0);
    check_reload(db, ERR_NOT_FOUND, false);
    check_reload(db, ERR_NONE, false);
    check_found(db, "DE");
    put_country("CH", 3);
    check_reload(db, ERR_NONE, true);
    check_reload(db, ERR_NONE, false);
    check_found(db, "CH");
    /* Written over in place, with as many bytes. */
    struct slice file = file_of("AT", 3);
    write_bytes(path, file);
    free((char *)file.ptr);
    /* All of this may have happened in one tick of the file system's clock. */
    const struct timespec times[2] = {{.tv_sec = 1700000000}, {.tv_sec = 1700000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    check_reload(db, ERR_NONE, true);
    check_found(db, "AT");
    country_db_close(db);
}

/* ---- threads ---- */

struct looking {
    struct country_db *db;
    _Atomic bool stop;     /* relaxed: it is met sooner or later */
    _Atomic uint64_t seen; /* relaxed: a counter */
    _Atomic uint64_t wrong;
};

static void *look_up(void *argument)
{
    struct looking *looking = argument;
    struct address address;
    address_parse(SLICE_LIT("2001:db8::7"), &address);
    while (!atomic_load_explicit(&looking->stop, memory_order_relaxed)) {
        char country[2] = {0};
        bool found = country_db_find(looking->db, &address, country);
        bool right = found && (memcmp(country, "DE", 2) == 0 || memcmp(country, "FR", 2) == 0);
        atomic_fetch_add_explicit(right ? &looking->seen : &looking->wrong, 1,
                                  memory_order_relaxed);
    }
    return NULL;
}

static void test_exchanged_while_in_use(void **state)
{
    (void)state;
    enum { THREADS = 3, ROUNDS = 60 };
    put_country("DE", 0);
    struct looking looking = {.db = open_sound()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look_up, &looking), 0);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        put_country(round % 2 == 0 ? "FR" : "DE", round);
        check_reload(looking.db, ERR_NONE, true);
        char text[64];
        country_db_describe(looking.db, text, sizeof text);
        uint64_t seen = atomic_load_explicit(&looking.seen, memory_order_relaxed);
        while (atomic_load_explicit(&looking.seen, memory_order_relaxed) == seen) {
            usleep(50); /* somebody looks up between two exchanges */
        }
    }
    atomic_store_explicit(&looking.stop, true, memory_order_relaxed);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&looking.wrong), 0);
    check_found(looking.db, "DE");
    country_db_close(looking.db);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_finds_and_describes),
        IN_FOLDER(test_no_file),
        IN_FOLDER(test_file_spoiled_in_use),
        IN_FOLDER(test_exchanged_while_in_use),
    };
    return tap_run(tests);
}
