/* test_faults.c -- what goes wrong around the store: full and failing disks, another writer, files
 * that are not ours.  The rule: nothing of a failed commit is visible, and the same call succeeds
 * later. */
#include "people.h"

#include "faulty_vfs.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A commit of `count` members from `first` on, all of whose times are `mark`. */
struct batch {
    struct changes changes;
    struct change change;
    struct member_row *members;
    char (*viewers)[16];
};

static void batch_init(struct batch *batch, uint32_t first, uint32_t count, bool created,
                       int64_t mark)
{
    *batch = (struct batch){.members = calloc(count, sizeof *batch->members),
                            .viewers = calloc(count, sizeof *batch->viewers)};
    for (uint32_t i = 0; i < count; i++) {
        snprintf(batch->viewers[i], sizeof batch->viewers[i], "v%u", first + i);
        batch->members[i] = (struct member_row){
            .member_no = first + i,
            .viewer_no = first + i,
            .created = created,
            .viewer = created ? slice_str(batch->viewers[i]) : SLICE_EMPTY,
            .start_ms = mark,
            .end_ms = mark,
            .expiry_ms = mark,
            .counted_frame_ms = mark,
        };
    }
    batch->change = (struct change){
        .audience = {.event = SLICE_LIT("E"),
                     .seq = (uint64_t)mark,
                     .members = first + count,
                     .attended = first + count},
        .members_count = count,
    };
    batch->changes = (struct changes){.changes = &batch->change,
                                      .changes_count = 1,
                                      .members = batch->members,
                                      .members_count = count,
                                      .covered_seq = (uint64_t)mark};
}

static void batch_fini(struct batch *batch)
{
    free(batch->members);
    free(batch->viewers);
}

/* What is visible over a link of its own: members with this mark, and the covered position. */
static void expect_visible(const struct store *store, int64_t mark, int64_t members,
                           uint64_t covered)
{
    struct store reader = *store;
    reader.link = store_link(store);
    char sql[128];
    uint64_t is;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM attendance WHERE end_ms = %lld",
             (long long)mark);
    assert_int_equal(store_number(&reader, sql), members);
    store_must(&reader, records_covered(reader.link, &is));
    assert_int_equal(is, covered);
    records_close(reader.link);
}

#define MEMBERS 10000

/* Lets the n-th write (or sync) of a commit fail, for every n that there is. */
static void fail_each(int code, bool syncs, bool lasting, enum err err)
{
    struct store store;
    struct batch first, second;
    store_open(&store);
    batch_init(&first, 0, MEMBERS, true, 1);
    store_must(&store, records_commit(store.link, &first.changes));
    /* So small that the commit spills before its end and a checkpoint follows it. */
    store_sql(&store, "PRAGMA cache_size = 20; PRAGMA wal_autocheckpoint = 10");
    int hits = 0, refused = 0;
    int64_t mark = 1;
    for (int n = 1; faulty.hit || n == 1; n += syncs ? 1 : 1 + n / 4) {
        batch_init(&second, 0, MEMBERS, false, mark + 1);
        faulty_arm(n, code, syncs, lasting);
        enum err is = records_commit(store.link, &second.changes);
        faulty.left = 0;
        hits += faulty.hit;
        if (is != ERR_NONE) {
            refused++;
            assert_int_equal(is, err);
            assert_true(records_why(store.link)[0] != '\0');
            expect_visible(&store, mark, MEMBERS, (uint64_t)mark);
            expect_visible(&store, mark + 1, 0, (uint64_t)mark);
            store_must(&store, records_commit(store.link, &second.changes));
        }
        mark++;
        expect_visible(&store, mark, MEMBERS, (uint64_t)mark);
        batch_fini(&second);
        if (!faulty.hit) {
            break;
        }
    }
    printf("# %d faults hit, %d commits refused\n", hits, refused);
    assert_true(refused > 0);
    /* And over a link that has seen nothing of it. */
    records_close(store.link);
    assert_int_equal(records_open(store.path, false, &store.link, NULL, 0), ERR_NONE);
    expect_visible(&store, mark, MEMBERS, (uint64_t)mark);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM pragma_integrity_check "
                                          "WHERE integrity_check <> 'ok'"),
                     0);
    batch_fini(&first);
    store_close(&store);
}

static void test_disk_full(void **state)
{
    (void)state;
    fail_each(SQLITE_FULL, false, false, ERR_NOSPACE);
    fail_each(SQLITE_FULL, false, true, ERR_NOSPACE);
}

static void test_writes_fail(void **state)
{
    (void)state;
    fail_each(SQLITE_IOERR_WRITE, false, false, ERR_IO);
}

static void test_syncs_fail(void **state)
{
    (void)state;
    fail_each(SQLITE_IOERR_FSYNC, true, false, ERR_SYNC);
}

/* Lets the n-th write or sync of an erasure fail: it is made whole or not at all, and the bytes are
 * gone at last, also where what failed was the wiping after it. */
static void erase_each(int code, bool syncs)
{
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 400);
    people_profiles(&people, &store, 0, 400);
    people.may_fail = true;
    store_sql(&store, "PRAGMA cache_size = 20");
    int hits = 0, wipes = 0;
    uint32_t n = 0;
    /* Erasures differ in what they write: it ends when several in a row had less than n. */
    for (int missed = 0; missed < 8; missed = faulty.hit ? 0 : missed + 1) {
        assert_true(++n < 380);
        faulty_arm((int)n, code, syncs, false);
        people_erase(&people, &store, &n, 1);
        hits += faulty.hit;
        wipes += sqlite_link_of(store.link)->wipe_due;
        faulty.left = 0;
        if (n % 5 == 0) {
            people_compare(&people, &store);
        }
    }
    printf("# %d faults hit, %d commits refused, %d wipes put off\n", hits, people.fails, wipes);
    assert_true(people.fails > 0 && hits > people.fails && wipes > 0);
    people_arrive(&people, &store, 1);
    assert_false(sqlite_link_of(store.link)->wipe_due);
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendance WHERE start_ms = 0 AND "
                                          "audience_id = 1"),
                     n);
    people_fini(&people);
    store_close(&store);
}

static void test_erasures_fail(void **state)
{
    (void)state;
    erase_each(SQLITE_IOERR_WRITE, false);
    erase_each(SQLITE_FULL, false);
    erase_each(SQLITE_IOERR_FSYNC, true);
}

/* A bound on the file's pages is what a full disk looks like to the first new page. */
static void test_no_room(void **state)
{
    (void)state;
    struct store store;
    struct batch first, second;
    store_open(&store);
    batch_init(&first, 0, 100, true, 1);
    batch_init(&second, 100, 10000, true, 2);
    store_must(&store, records_commit(store.link, &first.changes));
    store_sql(&store, "PRAGMA max_page_count = 20");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(records_commit(store.link, &second.changes), ERR_NOSPACE);
        assert_non_null(strstr(records_why(store.link), "full"));
        expect_visible(&store, 2, 0, 1);
        expect_visible(&store, 1, 100, 1);
    }
    const struct profile profile = {SLICE_LIT("E"), SLICE_LIT("v"), SLICE_LIT(""), SLICE_EMPTY};
    store_must(&store, records_profiles_put(store.link, &profile, 1)); /* small enough */
    store_sql(&store, "PRAGMA max_page_count = 1000000");
    store_must(&store, records_commit(store.link, &second.changes));
    expect_visible(&store, 2, 10000, 2);
    batch_fini(&first);
    batch_fini(&second);
    store_close(&store);
}

/* An audience whose first commit failed must not be remembered. */
static void test_first_commit_fails(void **state)
{
    (void)state;
    struct store store;
    struct batch batch;
    store_open(&store);
    batch_init(&batch, 0, 10000, true, 1);
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
             (long long)store_number(&store, "PRAGMA page_count"));
    store_sql(&store, sql);
    assert_int_equal(records_commit(store.link, &batch.changes), ERR_NOSPACE);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM event"), 0);
    store_sql(&store, "PRAGMA max_page_count = 1000000");
    store_must(&store, records_commit(store.link, &batch.changes));
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendances WHERE event = 'E'"),
                     10000);
    batch_fini(&batch);
    store_close(&store);
}

/* ---- other processes ---- */

static void test_busy(void **state)
{
    (void)state;
    struct store store, other;
    struct batch batch;
    store_open(&store);
    other = store;
    other.link = store_link(&store);
    sqlite3_busy_timeout(sqlite_link_of(store.link)->db, 0);
    batch_init(&batch, 0, 100, true, 1);
    const struct profile profile = {SLICE_LIT("E"), SLICE_LIT("v"), SLICE_LIT(""), SLICE_EMPTY};

    store_sql(&other, "BEGIN IMMEDIATE");
    assert_int_equal(records_commit(store.link, &batch.changes), ERR_BUSY);
    assert_int_equal(records_profiles_put(store.link, &profile, 1), ERR_BUSY);
    expect_visible(&store, 1, 0, 0); /* reading goes on */
    store_sql(&other, "COMMIT");
    store_must(&store, records_commit(store.link, &batch.changes));
    store_must(&store, records_profiles_put(store.link, &profile, 1));

    /* A reader in the middle of its reading holds nobody up, and sees its moment only. */
    store_sql(&other, "BEGIN");
    assert_int_equal(store_number(&other, "SELECT count(*) FROM attendance"), 100);
    batch_fini(&batch);
    batch_init(&batch, 100, 100, true, 2);
    store_must(&store, records_commit(store.link, &batch.changes));
    assert_int_equal(store_number(&other, "SELECT count(*) FROM attendance"), 100);
    store_sql(&other, "COMMIT");
    assert_int_equal(store_number(&other, "SELECT count(*) FROM attendance"), 200);
    batch_fini(&batch);
    records_close(other.link);
    store_close(&store);
}

static void test_read_only(void **state)
{
    (void)state;
    struct store store;
    struct batch batch;
    store_open(&store);
    batch_init(&batch, 0, 100, true, 1);
    store_must(&store, records_commit(store.link, &batch.changes));
    /* As on a read-only link: root may write every file. */
    store_sql(&store, "PRAGMA query_only = 1");
    batch_fini(&batch);
    batch_init(&batch, 0, 100, false, 2);
    assert_int_equal(records_commit(store.link, &batch.changes), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "readonly"));
    expect_visible(&store, 1, 100, 1);
    store_sql(&store, "PRAGMA query_only = 0");
    store_must(&store, records_commit(store.link, &batch.changes));
    batch_fini(&batch);
    records_close(store.link);

    /* A file that may only be read: a commit fails, nothing else happens. */
    if (geteuid() == 0) {
        const uid_t nobody = 65534;
        assert_int_equal(chmod(store.folder, 0755), 0);
        assert_int_equal(chmod(store.path, 0444), 0);
        assert_int_equal(seteuid(nobody), 0);
    } else {
        assert_int_equal(chmod(store.path, 0444), 0);
    }
    struct records_link *link = NULL;
    char why[256];
    enum err err = records_open(store.path, true, &link, why, sizeof why);
    if (err == ERR_NONE) {
        batch_init(&batch, 0, 100, false, 3);
        err = records_commit(link, &batch.changes);
        snprintf(why, sizeof why, "%s", records_why(link));
        batch_fini(&batch);
        records_close(link);
    }
    if (getuid() == 0) {
        assert_int_equal(seteuid(0), 0);
    }
    printf("# %s: %s\n", err_name(err), why);
    assert_true(err == ERR_DATABASE || err == ERR_IO);
    assert_int_equal(chmod(store.path, 0600), 0);
    assert_int_equal(records_open(store.path, false, &store.link, NULL, 0), ERR_NONE);
    expect_visible(&store, 2, 100, 2);
    store_close(&store);
}

/* ---- files that are not ours ---- */

static void overwrite(const char *path, off_t offset, const char *bytes, size_t len)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, offset), len);
    close(fd);
}

static void expect_open(const char *path, bool create, enum err err)
{
    struct records_link *link;
    char why[256] = "";
    enum err is = records_open(path, create, &link, why, sizeof why);
    if (is != err) {
        fail_msg("%s (%s), not %s", err_name(is), why, err_name(err));
    }
    assert_null(link);
    assert_true(why[0] != '\0');
}

static void test_foreign_files(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    char path[160], text[8192];
    memset(text, 'x', sizeof text);

    snprintf(path, sizeof path, "%s/garbage.db", store.folder);
    overwrite(path, 0, text, sizeof text);
    expect_open(path, true, ERR_DAMAGED);
    expect_open(path, false, ERR_DAMAGED);

    snprintf(path, sizeof path, "%s/empty.db", store.folder);
    overwrite(path, 0, "", 0);
    expect_open(path, false, ERR_NOT_FOUND);

    snprintf(path, sizeof path, "%s/foreign.db", store.folder);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (a)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_open(path, true, ERR_VERSION);
    expect_open(path, false, ERR_VERSION);
    store_close(&store);
}

static void test_damaged_pages(void **state)
{
    (void)state;
    struct store store;
    struct batch batch;
    store_open(&store);
    batch_init(&batch, 0, 5000, true, 1);
    store_must(&store, records_commit(store.link, &batch.changes));
    records_close(store.link); /* and with it, everything into the file */
    char garbage[SQLITE_PAGE_BYTES];
    memset(garbage, 0xa5, sizeof garbage);
    struct stat file;
    assert_int_equal(stat(store.path, &file), 0);
    for (off_t at = 20 * SQLITE_PAGE_BYTES; at < file.st_size; at += 5 * SQLITE_PAGE_BYTES) {
        overwrite(store.path, at, garbage, sizeof garbage);
    }
    assert_int_equal(records_open(store.path, false, &store.link, NULL, 0), ERR_NONE);
    batch_fini(&batch);
    batch_init(&batch, 0, 5000, false, 2);
    assert_int_equal(records_commit(store.link, &batch.changes), ERR_DAMAGED);
    int findings = 0;
    enum err err = records_check(store.link, store_finding, &findings);
    assert_true(findings > 0 || err == ERR_DAMAGED);
    batch_fini(&batch);
    store_close(&store);
}

/* ---- versions ---- */

static void test_versions(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA user_version = %zu", sqlite_migrations_count + 1);
    store_sql(&store, sql);
    expect_open(store.path, true, ERR_VERSION);
    expect_open(store.path, false, ERR_VERSION);
    snprintf(sql, sizeof sql, "PRAGMA user_version = %zu", sqlite_migrations_count);
    store_sql(&store, sql);
    struct records_link *link = store_link(&store);
    records_close(link);
    store_close(&store);
}

static void test_migrations(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct sqlite_link *link = sqlite_link_of(store.link);
    const size_t now = sqlite_migrations_count;
    struct sqlite_migration *list = calloc(now + 3, sizeof *list);
    memcpy(list, sqlite_migrations, now * sizeof *list);
    list[now] = (struct sqlite_migration){"first", "CREATE TABLE first (a)"};
    list[now + 1] = (struct sqlite_migration){"second", "ALTER TABLE first RENAME TO second"};
    list[now + 2] = (struct sqlite_migration){"bad", "CREATE TABLE third (a); NONSENSE"};

    /* Older: only who may create may migrate. */
    assert_int_equal(sqlite_migrate(link, list, now + 2, false), ERR_VERSION);
    store_must(&store, sqlite_migrate(link, list, now + 2, true));
    assert_int_equal(store_number(&store, "SELECT count(*) FROM second"), 0);
    assert_int_equal(store_number(&store, "PRAGMA user_version"), now + 2);
    store_must(&store, sqlite_migrate(link, list, now + 2, true)); /* and not again */
    store_must(&store, sqlite_migrate(link, list, now + 2, false));

    /* One that fails leaves nothing behind. */
    assert_int_equal(sqlite_migrate(link, list, now + 3, true), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "bad"));
    assert_int_equal(store_number(&store, "PRAGMA user_version"), now + 2);
    assert_int_equal(
        store_number(&store, "SELECT count(*) FROM sqlite_schema WHERE name = 'third'"), 0);

    /* Newer than this program. */
    assert_int_equal(sqlite_migrate(link, list, now, true), ERR_VERSION);
    free(list);
    store_close(&store);
}

int main(void)
{
    faulty_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk_full),     cmocka_unit_test(test_writes_fail),
        cmocka_unit_test(test_syncs_fail),    cmocka_unit_test(test_erasures_fail),
        cmocka_unit_test(test_no_room),       cmocka_unit_test(test_first_commit_fails),
        cmocka_unit_test(test_busy),          cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_foreign_files), cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_versions),      cmocka_unit_test(test_migrations),
    };
    return tap_run(tests);
}
