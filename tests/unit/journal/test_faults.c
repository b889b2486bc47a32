#define _GNU_SOURCE
/* test_faults.c -- the disk says no: full, broken, no descriptors. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/log.h"
#include "unit/journal/common.h"
#include "unit/journal/memory_disk.h"

static struct journal *open_on(struct disk *disk, uint64_t floor_seq)
{
    struct journal_options options = {.folder = "x", .segment_bytes = SEGMENT_SMALL};
    struct journal_report report;
    struct journal *journal;
    assert_int_equal(journal_open_on(&disk->ops, &options, floor_seq, &report, &journal), ERR_NONE);
    return journal;
}

static void expect_records_on(struct disk *disk, uint64_t from, uint64_t last)
{
    struct journal_report report;
    struct expected expected = {.next = from};
    assert_int_equal(journal_scan_on(&disk->ops, "x", from, expect_record, &expected, &report),
                     ERR_NONE);
    assert_int_equal(expected.next, last + 1);
    assert_string_equal(report.text, "");
}

static void expect_refusal(struct journal *journal, enum err err)
{
    uint64_t seq, durable_seq, before = journal_durable_seq(journal);
    assert_int_equal(append_next(journal, &seq), err);
    assert_int_equal(journal_sync(journal, &durable_seq), err);
    assert_int_equal(journal_remove_covered(journal, UINT64_MAX), err);
    assert_int_equal(durable_seq, before);
    assert_int_equal(journal_durable_seq(journal), before);
}

/* The first, second, … sync that follows fails; after it everything refuses, for good. */
static void test_failing_sync(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        struct disk *disk = disk_new(1);
        struct journal *journal = open_on(disk, 0);
        uint64_t durable_seq;
        append_many(journal, 5);
        assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        append_many(journal, 60); /* leaves segments behind, so the sync has several parts */
        assert_int_equal(durable_seq, 5);
        disk->fail_after = n;
        enum err err = journal_sync(journal, &durable_seq);
        if (disk->fail_count == 0) {
            assert_int_equal(err, ERR_NONE);
            assert_int_equal(durable_seq, 65);
            assert_true(n >= 3); /* a segment, the folder, the segment being written */
            journal_close(journal);
            disk_free(disk);
            return;
        }
        assert_int_equal(err, ERR_SYNC);
        assert_int_equal(durable_seq, 5);
        uint64_t syncs = disk->syncs, folder_syncs = disk->folder_syncs, writes = disk->writes;
        expect_refusal(journal, ERR_SYNC);
        assert_int_equal(disk->syncs, syncs); /* not retried */
        assert_int_equal(disk->folder_syncs, folder_syncs);
        assert_int_equal(disk->writes, writes);
        journal_close(journal);
        assert_int_equal(disk->fds_open, 0);
        disk_free(disk);
    }
}

/* A write that fails for another reason than room is final too. */
static void test_failing_write(void **state)
{
    (void)state;
    struct disk *disk = disk_new(2);
    struct journal *journal = open_on(disk, 0);
    append_many(journal, 3);
    disk->fail_after = 0;
    uint64_t seq;
    assert_int_equal(append_next(journal, &seq), ERR_IO);
    expect_refusal(journal, ERR_IO);
    assert_int_equal(journal_appended_seq(journal), 3);
    journal_close(journal);
    disk_free(disk);
}

/* The n-th call fails, for every n until none does: no crash, no descriptor left open, and the
 * journal opens to what it had. */
static void test_every_call_fails_once(void **state)
{
    (void)state;
    static const int errors[] = {EIO, ENOSPC, EMFILE, EACCES};
    struct journal_options options = {.folder = "x", .segment_bytes = SEGMENT_SMALL};
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        bool hit = true;
        for (int64_t n = 0; hit; n++) {
            struct disk *disk = disk_new((uint64_t)n);
            struct journal *journal = open_on(disk, 0);
            append_many(journal, 70);
            journal_close(journal);
            /* A torn tail, so that opening has to cut. */
            char name[SEGMENT_NAME_BYTES];
            segment_name(1, name);
            struct disk_file *file = disk_find(disk, name);
            file->bytes[file->len - 1] ^= 1;

            disk->fail_error = errors[e];
            disk->fail_after = n;
            struct journal_report report;
            enum err err = journal_open_on(&disk->ops, &options, 0, &report, &journal);
            if (err == ERR_NONE) {
                uint64_t seq, durable_seq;
                for (int i = 0; i < 30 && err == ERR_NONE; i++) {
                    err = append_next(journal, &seq);
                }
                err = err == ERR_NONE ? journal_sync(journal, &durable_seq) : err;
                err = err == ERR_NONE ? journal_remove_covered(journal, 20) : err;
                journal_close(journal);
            } else {
                assert_null(journal);
                assert_true(report.text[0] != '\0');
            }
            hit = disk->fail_count > 0;
            disk->fail_after = -1;
            assert_int_equal(disk->fds_open, 0);
            /* Removing may have happened for whatever n. */
            journal = open_on(disk, 20);
            uint64_t last = journal_appended_seq(journal);
            journal_close(journal);
            if (last > 20) {
                expect_records_on(disk, 21, last);
            }
            disk_free(disk);
            assert_true(n < 500);
        }
    }
}

static void test_every_call_of_a_repair_fails_once(void **state)
{
    (void)state;
    bool hit = true;
    for (int64_t n = 0; hit; n++) {
        struct disk *disk = disk_new((uint64_t)n);
        struct journal *journal = open_on(disk, 0);
        uint64_t durable_seq;
        append_many(journal, 30);
        assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        append_many(journal, 30);
        journal_close(journal);
        char name[SEGMENT_NAME_BYTES];
        segment_name(1, name);
        struct disk_file *file = disk_find(disk, name);
        file->bytes[file->len - 1] ^= 1;
        file->platter[file->len - 1] ^= 1; /* the damage is on the disk itself */
        struct journal_report report;
        assert_int_equal(journal_scan_on(&disk->ops, "x", 1, NULL, NULL, &report), ERR_DAMAGED);
        uint64_t last = report.last_seq;

        disk->fail_after = n;
        enum err err = journal_repair_on(&disk->ops, "x", &report);
        hit = disk->fail_count > 0;
        assert_int_equal(err, hit ? ERR_IO : ERR_NONE);
        disk->fail_after = -1;
        assert_int_equal(disk->fds_open, 0);
        if (n % 2 == 0) {
            disk_power_cut(disk);
        }
        assert_int_equal(journal_repair_on(&disk->ops, "x", &report), ERR_NONE);
        expect_records_on(disk, 1, last);
        disk_free(disk);
        assert_true(n < 500);
    }
}

/* Room for so many bytes, for every number around a few records and a rotation: the append that
 * does not fit leaves nothing, and once there is room the numbers go on without a hole. */
static void test_full_at_every_byte(void **state)
{
    (void)state;
    for (uint64_t room = SEGMENT_HEADER_BYTES; room < 6000; room += 7) {
        struct disk *disk = disk_new(room);
        struct journal *journal = open_on(disk, 0);
        disk->bytes_max = room;
        uint64_t seq, last = 0;
        enum err err;
        while ((err = append_next(journal, &seq)) == ERR_NONE) {
            last = seq;
        }
        assert_int_equal(err, ERR_NOSPACE);
        assert_int_equal(append_next(journal, &seq), ERR_NOSPACE);
        expect_records_on(disk, 1, last); /* no partial record, no empty name */
        uint64_t durable_seq;
        assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        assert_int_equal(durable_seq, last);
        disk->bytes_max = 0;
        append_many(journal, 3);
        expect_records_on(disk, 1, last + 3);
        journal_close(journal);
        disk_free(disk);
    }
}

/* A segment that cannot be begun for want of descriptors: the old one goes on growing. */
static void test_no_descriptors(void **state)
{
    (void)state;
    struct disk *disk = disk_new(3);
    struct journal *journal = open_on(disk, 0);
    append_many(journal, 5);
    disk->fds_max = disk->fds_open;
    append_many(journal, 60);
    disk->fds_max = DISK_FDS_MAX;
    char name[SEGMENT_NAME_BYTES];
    segment_name(1, name);
    assert_true(disk_find(disk, name)->len > SEGMENT_SMALL);
    append_many(journal, 60);
    journal_close(journal);
    expect_records_on(disk, 1, 125);
    disk_free(disk);
}

static int files_count(const struct disk *disk)
{
    int count = 0;
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        count += disk->files[i].name[0] != '\0';
    }
    return count;
}

/* A covered segment stays until a sync has confirmed it: else a power cut could leave later ones
 * without those between.  When it is gone, no descriptor keeps its room on the disk. */
static void test_removal_waits_for_sync(void **state)
{
    (void)state;
    struct disk *disk = disk_new(4);
    struct journal *journal = open_on(disk, 0);
    append_many(journal, 60);
    int files = files_count(disk);
    assert_true(files > 2);
    assert_int_equal(journal_remove_covered(journal, 60), ERR_NONE);
    assert_int_equal(files_count(disk), files);
    for (int i = 0; i < 100; i++) {
        uint64_t durable_seq;
        append_many(journal, 20);
        assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
        assert_int_equal(journal_remove_covered(journal, durable_seq), ERR_NONE);
        assert_int_equal(files_count(disk), 1);
        assert_int_equal(disk->fds_open, 2); /* folder and segment */
    }
    journal_close(journal);
    disk_free(disk);
}

/* ---- real ones ---- */

/* Appends until the disk is full, makes room by removing, and goes on; in this process. */
static void fill_and_go_on(const struct place *place, void (*make_room)(void *ctx), void *ctx)
{
    struct journal_report report;
    struct journal *journal = open_small(place, 0, &report);
    uint64_t seq, last = 0, durable_seq;
    enum err err;
    while ((err = append_next(journal, &seq)) == ERR_NONE) {
        last = seq;
        assert_true(last < 1000000);
    }
    assert_int_equal(err, ERR_NOSPACE);
    assert_true(last > 5);
    assert_int_equal(append_next(journal, &seq), ERR_NOSPACE);
    expect_records(place->folder, 1, last);
    assert_int_equal(journal_sync(journal, &durable_seq), ERR_NONE);
    assert_int_equal(durable_seq, last);
    uint64_t covered_seq = last / 2;
    if (make_room == NULL) {
        assert_int_equal(journal_remove_covered(journal, covered_seq), ERR_NONE);
    } else {
        make_room(ctx);
    }
    append_many(journal, 5);
    journal_close(journal);
    expect_records(place->folder, covered_seq + 1, last + 5);
}

static void lift_file_limit(void *ctx)
{
    assert_int_equal(setrlimit(RLIMIT_FSIZE, ctx), 0);
}

static void test_file_size_limit(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = 2222, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    fill_and_go_on(&place, lift_file_limit, &before);
    signal(SIGXFSZ, handler);
    place_fini(&place);
}

/* In a child with its own mounts: a file system of 256 KiB. */
static int child_on_small_disk(struct place *place)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", place->top, "tmpfs", 0, "size=256k") != 0) {
        return 77;
    }
    fill_and_go_on(place, NULL, NULL);
    return 0;
}

static void test_small_disk(void **state)
{
    (void)state;
    struct place place;
    place_init(&place);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        _exit(child_on_small_disk(&place)); /* a failed assert leaves cmocka with another code */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    place_fini(&place);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("# needs root: no file system of its own to fill\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    log_level_set(LOG_ERROR + 1); /* failures are what this is about */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failing_sync),
        cmocka_unit_test(test_failing_write),
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_every_call_of_a_repair_fails_once),
        cmocka_unit_test(test_full_at_every_byte),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_removal_waits_for_sync),
        cmocka_unit_test(test_file_size_limit),
        cmocka_unit_test(test_small_disk),
    };
    return tap_run(tests);
}
