/* test_power.c -- crashes and power cuts at any moment, on a disk in memory.
 *
 * Oracle: what a sync confirmed is there, unless the records cover it; what is there is what was
 * appended under that number the last time, in order, without holes; the journal always opens. */
#include "tap.h"

#include "base/log.h"
#include "unit/journal/memory_disk.h"

#define SEQS_MAX          20000
#define PAYLOAD_BYTES_MAX 400
#define SEGMENT_BYTES     4096

struct world {
    struct disk *disk;
    struct journal *journal;
    uint64_t random;
    uint64_t total_bytes_max;
    uint64_t appended, durable, covered; /* what the server knows */
    uint32_t content[SEQS_MAX];          /* by sequence: what was appended under it last */
    uint32_t next_content;
    uint64_t records_seen, cuts, torn;
};

static size_t payload_make(uint32_t content, char out[PAYLOAD_BYTES_MAX])
{
    uint64_t state = content;
    size_t len = 1 + tap_random(&state) % PAYLOAD_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)tap_random(&state);
    }
    return len;
}

static enum err world_open(struct world *world, struct journal_report *report)
{
    struct journal_options options = {
        .folder = "x", .segment_bytes = SEGMENT_BYTES, .total_bytes_max = world->total_bytes_max};
    return journal_open_on(&world->disk->ops, &options, world->covered, report, &world->journal);
}

static enum err check_record(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct world *world = ctx;
    char bytes[PAYLOAD_BYTES_MAX];
    assert_true(seq <= world->appended);
    assert_int_equal(time_ms, (int64_t)seq);
    size_t len = payload_make(world->content[seq], bytes);
    assert_true(slice_equal(payload, slice_of(bytes, len)));
    world->records_seen++;
    return ERR_NONE;
}

/* Opens after a crash and checks what is there; `whole`: the power did not go. */
static void recover(struct world *world, bool whole)
{
    struct journal_report report;
    enum err err = world_open(world, &report);
    if (err != ERR_NONE) {
        print_error("# %s: %s\n", err_name(err), report.text);
    }
    assert_int_equal(err, ERR_NONE);
    uint64_t last = journal_appended_seq(world->journal);
    uint64_t least = whole ? world->appended : world->durable;
    assert_true(last >= least && last >= world->covered);
    assert_true(last <= world->appended);
    world->torn += report.torn_bytes > 0;
    world->records_seen = 0;
    assert_int_equal(
        journal_scan_on(&world->disk->ops, "x", world->covered + 1, check_record, world, &report),
        ERR_NONE);
    assert_string_equal(report.text, "");
    assert_int_equal(world->records_seen, last - world->covered);
    world->appended = last;
    world->durable = last;
}

static enum err append_one(struct world *world)
{
    char payload[PAYLOAD_BYTES_MAX];
    uint32_t content = world->next_content++;
    size_t len = payload_make(content, payload);
    uint64_t next = world->appended + 1, seq;
    uint32_t before = world->content[next];
    world->content[next] = content;
    enum err err = journal_append(world->journal, (int64_t)next, slice_of(payload, len), &seq);
    if (err == ERR_NONE) {
        assert_int_equal(seq, next);
        world->appended = next;
    } else {
        world->content[next] = before;
        world->next_content -= err == ERR_FULL; /* it was not even tried */
    }
    return err;
}

/* Work until the fault, if one is set; true when it was hit. */
static bool work(struct world *world, int steps)
{
    for (int i = 0; i < steps && world->appended + 2 < SEQS_MAX; i++) {
        enum err err = ERR_NONE;
        uint64_t durable_seq;
        switch (tap_random(&world->random) % 12) {
        case 0:
        case 1:
            err = journal_sync(world->journal, &durable_seq);
            if (err == ERR_NONE) {
                assert_int_equal(durable_seq, world->appended);
                world->durable = durable_seq;
            }
            break;
        case 2:
            if (tap_random(&world->random) % 6 == 0) {
                /* The record store has its own syncs: it may cover what the journal has not. */
                world->covered +=
                    tap_random(&world->random) % (world->appended - world->covered + 1);
            }
            err = journal_remove_covered(world->journal, world->covered);
            break;
        default:
            err = append_one(world);
            if (err == ERR_FULL) {
                err = journal_sync(world->journal, &durable_seq);
                if (err == ERR_NONE) {
                    world->durable = durable_seq;
                    world->covered = world->appended;
                    err = journal_remove_covered(world->journal, world->covered);
                }
            }
            break;
        }
        if (err != ERR_NONE) {
            return true;
        }
        if (journal_durable_seq(world->journal) > world->durable) {
            world->durable = journal_durable_seq(world->journal); /* an append had to sync */
        }
    }
    return false;
}

static void crash(struct world *world, bool power)
{
    journal_close(world->journal);
    world->journal = NULL;
    assert_int_equal(world->disk->fds_open, 0);
    if (power) {
        disk_power_cut(world->disk);
        world->cuts++;
    }
}

/* A failed append may have written all of its record: it may be there after a crash, or not. */
static void note_failed_append(struct world *world)
{
    world->appended++;
    world->content[world->appended] = world->next_content - 1;
}

static void one_life(struct world *world)
{
    bool fails = tap_random(&world->random) % 3 == 0;
    if (fails) {
        world->disk->fail_after = (int64_t)(tap_random(&world->random) % 60);
    }
    uint64_t appended_before = world->appended;
    uint32_t content_before = world->next_content;
    bool hit = work(world, (int)(tap_random(&world->random) % 80));
    world->disk->fail_after = -1;
    /* A number was drawn for a record that was not confirmed: the last append failed. */
    bool append_failed =
        hit && world->next_content - content_before > world->appended - appended_before;
    bool power = hit || tap_random(&world->random) % 2 == 0;
    if (append_failed) {
        note_failed_append(world);
    }
    crash(world, power);

    /* Sometimes opening itself fails in the middle, and the power goes again. */
    while (tap_random(&world->random) % 3 == 0) {
        struct journal_report report;
        world->disk->fail_after = (int64_t)(tap_random(&world->random) % 40);
        enum err err = world_open(world, &report);
        world->disk->fail_after = -1;
        if (err == ERR_NONE) {
            /* The fault was not reached: all that is here is on the disk now. */
            assert_true(journal_appended_seq(world->journal) >= world->durable);
            world->durable = journal_appended_seq(world->journal);
        } else {
            assert_int_equal(err, ERR_IO);
        }
        crash(world, true);
        power = true;
    }
    recover(world, !power);
}

static void test_power(void **state)
{
    (void)state;
    log_level_set(LOG_ERROR + 1); /* failures are what this is about */
    uint64_t seed = tap_seed();
    uint64_t cuts = 0, torn = 0;
    static struct world world;
    for (int run = 0; run < 60; run++) {
        world = (struct world){.random = seed + (uint64_t)run};
        world.disk = disk_new(world.random ^ 0x5eed);
        world.total_bytes_max = run % 3 == 0 ? 3000 : run % 3 == 1 ? 12000 : 0;
        recover(&world, true);
        for (int life = 0; life < 60; life++) {
            one_life(&world);
        }
        crash(&world, false);
        cuts += world.cuts;
        torn += world.torn;
        disk_free(world.disk);
    }
    print_message("# %llu power cuts, %llu torn tails\n", (unsigned long long)cuts,
                  (unsigned long long)torn);
    assert_true(cuts > 500 && torn > 50);
}

/* A sync failed, the process died and starts again; its pages are still in memory, marked clean.
 * Opening must bring them to the disk for real, because it says that they are durable. */
static void test_lost_pages_are_written_again(void **state)
{
    (void)state;
    log_level_set(LOG_ERROR + 1);
    static struct world world;
    for (int first = 0; first < 40; first++) {
        world = (struct world){.random = (uint64_t)first};
        world.disk = disk_new((uint64_t)first);
        recover(&world, true);
        uint64_t durable_seq;
        for (int i = 0; i < first; i++) {
            assert_int_equal(append_one(&world), ERR_NONE);
        }
        assert_int_equal(journal_sync(world.journal, &durable_seq), ERR_NONE);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(append_one(&world), ERR_NONE);
        }
        world.disk->fail_after = 0;
        assert_int_equal(journal_sync(world.journal, &durable_seq), ERR_SYNC);
        assert_int_equal(durable_seq, first);
        crash(&world, false);
        recover(&world, true);
        assert_int_equal(world.appended, first + 10);
        crash(&world, true);
        recover(&world, false);
        assert_int_equal(world.appended, first + 10);
        crash(&world, false);
        disk_free(world.disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_lost_pages_are_written_again),
    };
    return tap_run(tests);
}
