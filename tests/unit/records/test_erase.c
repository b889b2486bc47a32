#define _GNU_SOURCE /* memmem */

/* test_erase.c -- viewers and events that are forgotten: by the readers, by the checks, and by the
 * bytes of the files. */
#include "people.h"

#include "core/engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static const struct engine_config config = {
    .windows = {65000, 125000, 35000, 150000, 300000},
    .profile_ttl_ms = 600000,
    .event_idle_ms = 3600000,
    .events_max = 8,
    .sessions_max = 8,
    .viewers_max = 100000,
    .backlog_max = 100000,
};

/* ---- the bytes ---- */

struct bytes {
    char *ptr;
    size_t len;
};

/* The database file, its WAL and its index, one after the other. */
static struct bytes read_files(const struct store *store)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct bytes bytes = {0};
    for (int i = 0; i < 3; i++) {
        char path[160];
        struct stat file;
        snprintf(path, sizeof path, "%s%s", store->path, suffixes[i]);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &file), 0);
        bytes.ptr = realloc(bytes.ptr, bytes.len + (size_t)file.st_size + 1);
        assert_int_equal(read(fd, bytes.ptr + bytes.len, (size_t)file.st_size), file.st_size);
        bytes.len += (size_t)file.st_size;
        close(fd);
    }
    return bytes;
}

static bool contains(struct bytes bytes, const char *text, size_t len)
{
    return memmem(bytes.ptr, bytes.len, text, len) != NULL;
}

/* Neither the ids, nor halves of them. */
static void expect_gone(const struct store *store, char (*ids)[40], size_t count)
{
    if (store_is_postgres()) {
        return; /* its pages are its own (docs/RECORDS.md) */
    }
    struct bytes bytes = read_files(store);
    size_t whole = 0, halves = 0;
    for (size_t i = 0; i < count; i++) {
        whole += contains(bytes, ids[i], 36);
        halves += contains(bytes, ids[i], 18) || contains(bytes, ids[i] + 18, 18);
    }
    free(bytes.ptr);
    if (whole + halves > 0) {
        fail_msg("of %zu erased ids %zu are still in the files, halves of %zu", count, whole,
                 halves);
    }
}

static uint32_t be16(const unsigned char *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static size_t not_zero(const unsigned char *at, uint32_t len)
{
    size_t count = 0;
    for (uint32_t i = 0; i < len; i++) {
        count += at[i] != 0;
    }
    return count;
}

/* Bytes that are not zero where no row is, in all pages of B-trees (file format of SQLite, 1.6). */
static size_t stale_bytes(const unsigned char *file, size_t bytes, size_t *pages)
{
    size_t stale = 0;
    for (size_t first = 0; first < bytes; first += SQLITE_PAGE_BYTES) {
        const unsigned char *page = file + first;
        const uint32_t header = first == 0 ? 100 : 0, kind = page[header];
        if (kind == 2 || kind == 5 || kind == 10 || kind == 13) {
            const uint32_t begin = header + (kind < 10 ? 12 : 8) + 2 * be16(page + header + 3);
            stale += not_zero(page + begin, be16(page + header + 5) - begin);
            for (uint32_t at = be16(page + header + 1); at != 0; at = be16(page + at)) {
                stale += not_zero(page + at + 4, be16(page + at + 2) - 4);
            }
            ++*pages;
        }
    }
    return stale;
}

/* Parts of rows that moved to another page may not stay where they were, though nobody was erased
 * yet: once a row is deleted, nothing knows where its copies are. */
static void expect_no_stale_bytes(const struct store *store)
{
    struct stat file;
    struct bytes bytes = read_files(store);
    size_t pages = 0;
    assert_int_equal(stat(store->path, &file), 0);
    assert_int_equal(store_number(store, "PRAGMA page_count") * SQLITE_PAGE_BYTES, file.st_size);
    assert_int_equal(stale_bytes((unsigned char *)bytes.ptr, (size_t)file.st_size, &pages), 0);
    assert_true(pages > 20);
    free(bytes.ptr);
}

#define EVENTS 3

/* Some thousand viewers in three events that arrive by turns, with profiles in random order: pages
 * of every table are split in the middle. */
static void fill(struct people people[EVENTS], struct store *store, uint64_t *seed, uint32_t rounds)
{
    for (int i = 0; i < EVENTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "E%d", i);
        people_init(&people[i], name, seed);
    }
    for (uint32_t round = 0; round < rounds; round++) {
        struct people *at = &people[people_pick(&people[0], EVENTS)];
        uint32_t first = at->audiences[0].members_count;
        uint32_t count = 1 + (uint32_t)people_pick(at, 120);
        people_arrive(at, store, count);
        people_profiles(at, store, first, first + count);
    }
}

static void test_bytes(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people[EVENTS];
    char(*gone)[40] = calloc(PEOPLE_MAX * EVENTS, sizeof *gone);
    size_t gone_count = 0;
    store_open(&store);
    fill(people, &store, &seed, 100);
    store_sql(&store, "PRAGMA wal_checkpoint(TRUNCATE)");
    expect_no_stale_bytes(&store);
    for (int round = 0; round < 60; round++) {
        struct people *at = &people[people_pick(&people[0], EVENTS)];
        uint32_t viewers[20], count = 1 + (uint32_t)people_pick(at, 20), found = 0;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t no = (uint32_t)people_pick(at, at->audiences[0].members_count);
            bool twice = at->audiences[0].members[no].empty;
            for (uint32_t j = 0; j < found; j++) {
                twice |= viewers[j] == no;
            }
            if (!twice) {
                memcpy(gone[gone_count++], at->ids[no], 40);
                viewers[found++] = no;
            }
        }
        people_erase(at, &store, viewers, found);
        if (round % 10 == 0) { /* life goes on */
            uint32_t first = at->audiences[0].members_count;
            people_arrive(at, &store, 50);
            people_profiles(at, &store, first, first + 50);
        }
        if (round % 6 == 5) {
            uint32_t no = 0;
            people_erase(at, &store, &no, 0);
        }
        for (int i = 0; round % 10 == 9 && i < EVENTS; i++) {
            people_compare(&people[i], &store);
        }
    }
    uint32_t last = people[0].audiences[0].members_count; /* after the newest rows */
    people_arrive(&people[0], &store, 1);
    memcpy(gone[gone_count++], people[0].ids[last], 40);
    people_erase(&people[0], &store, &last, 1);
    printf("# %zu erased\n", gone_count);
    expect_gone(&store, gone, gone_count);
    expect_no_stale_bytes(&store);
    assert_int_equal(store_findings(&store), 0);
    for (int i = 0; i < EVENTS; i++) {
        people_compare(&people[i], &store);
        people_fini(&people[i]);
    }
    free(gone);
    store_close(&store);
}

/* Somebody who reads keeps the WAL; the next commit makes up for it. */
static void test_reader_in_the_way(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store, other;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 100);
    other = store;
    other.link = store_link(&store);
    store_sql(&other, "BEGIN");
    assert_int_equal(store_number(&other, "SELECT count(*) FROM viewer"), 100);
    uint32_t viewer = 42;
    people_erase(&people, &store, &viewer, 1);
    people_compare(&people, &store);
    assert_true(sqlite_link_of(store.link)->wipe_due);
    assert_int_equal(store_number(&other, "SELECT count(*) FROM viewer"), 100);
    store_sql(&other, "COMMIT");
    records_close(other.link);
    people_arrive(&people, &store, 1);
    assert_false(sqlite_link_of(store.link)->wipe_due);
    expect_gone(&store, &people.ids[42], 1);
    people_fini(&people);
    store_close(&store);
}

/* ---- readers meanwhile ---- */

struct reader {
    const char *path;
    _Atomic bool stop;
    pthread_t thread;
    enum err err;
    uint64_t rounds, members, wrong;
};

static enum err look_at_member(void *ctx, const struct records_member *member)
{
    struct reader *reader = ctx;
    reader->members++;
    reader->wrong +=
        member->viewings_count < 1 || member->viewings[0].start_ms == 0 || member->viewer.len != 36;
    return ERR_NONE;
}

static void *read_on(void *ctx)
{
    struct reader *reader = ctx;
    struct records_link *link;
    reader->err = records_open(reader->path, false, &link, NULL, 0);
    while (reader->err == ERR_NONE && !atomic_load(&reader->stop)) {
        struct records_members_query query = {SLICE_LIT("E"),
                                              reader->rounds % 2 ? SLICE_LIT("S1") : SLICE_EMPTY, 0,
                                              50, MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME};
        while (reader->err == ERR_NONE && query.first != UINT32_MAX) {
            uint32_t next;
            reader->err = records_members_each(link, &query, &next, look_at_member, reader);
            query.first = next;
        }
        reader->rounds++;
    }
    records_close(link);
    return NULL;
}

static void test_readers_meanwhile(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    struct reader readers[3];
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 500);
    people_profiles(&people, &store, 0, 500);
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){.path = store.path};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    for (uint32_t no = 0; no < 100; no++) {
        people_erase(&people, &store, &no, 1);
    }
    for (int i = 0; i < 3; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(readers[i].thread, NULL);
        printf("# %llu rounds, %llu members\n", (unsigned long long)readers[i].rounds,
               (unsigned long long)readers[i].members);
        assert_int_equal(readers[i].err, ERR_NONE);
        assert_int_equal(readers[i].wrong, 0);
    }
    assert_int_equal(records_wipe(store.link), ERR_NONE); /* at the latest now */
    expect_gone(&store, people.ids, 100);
    people_compare(&people, &store);
    people_fini(&people);
    store_close(&store);
}

/* ---- the readers ---- */

static enum err count_viewing(void *ctx, const struct viewing_of_viewer *viewing)
{
    assert_true(viewing->start_ms > 0);
    ++*(uint32_t *)ctx;
    return ERR_NONE;
}

static enum err viewings_of(struct people *people, struct store *store, uint32_t viewer_no,
                            int64_t hint, uint32_t *count)
{
    *count = 0;
    return records_viewings(store->link, slice_str(people->event),
                            slice_str(people->ids[viewer_no]), hint, 0, count_viewing, count);
}

static void test_readers(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 300);
    people_profiles(&people, &store, 0, 300);

    uint32_t by_hint, by_scan;
    store_must(&store, viewings_of(&people, &store, 7, 7, &by_hint));
    store_must(&store, viewings_of(&people, &store, 7, -1, &by_scan));
    assert_true(by_hint > 0 && by_hint == by_scan);
    /* A hint that is another's, or too new: nobody's viewings are told as somebody else's. */
    assert_int_equal(viewings_of(&people, &store, 7, 8, &by_hint), ERR_NOT_FOUND);
    assert_int_equal(viewings_of(&people, &store, 7, 300, &by_hint), ERR_NOT_FOUND);
    assert_int_equal(by_hint, 0);

    uint32_t viewers[] = {0, 7, 299};
    people_erase(&people, &store, viewers, 3);
    for (size_t i = 0; i < 3; i++) {
        const int64_t hint = viewers[i];
        assert_int_equal(viewings_of(&people, &store, viewers[i], hint, &by_hint), ERR_NOT_FOUND);
        assert_int_equal(viewings_of(&people, &store, viewers[i], -1, &by_scan), ERR_NOT_FOUND);
    }
    uint64_t profiles;
    int64_t with_profile = 0, viewings = 0;
    for (uint32_t i = 0; i < 300; i++) {
        with_profile += !people.audiences[0].members[i].empty && people.names[i][0] != '\0';
    }
    store_must(&store, records_profiles_count(store.link, SLICE_LIT("E"), &profiles));
    assert_int_equal(profiles, with_profile);
    /* The views know no erased viewers, and nobody with empty rows. */
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        viewings += (int64_t)people.audiences[i].logins;
    }
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewings"), viewings);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendances WHERE session = ''"),
                     297);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendance WHERE start_ms = 0"),
                     store_number(&store, "SELECT count(*) FROM attendance") -
                         store_number(&store, "SELECT count(*) FROM attendances"));
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        for (uint32_t page = 1; page < 301; page += 1 + page * 2) {
            people_compare_members(&people, &store, i, MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME,
                                   page);
            people_compare_members(&people, &store, i, MEMBERS_WANT_NAME, page);
        }
    }
    /* Nobody: an audience or an event that was never seen, and numbers that are not given yet. */
    const struct records_members_query none[] = {
        {SLICE_LIT("E"), SLICE_LIT("S9"), 0, 0, 0},
        {SLICE_LIT("F"), SLICE_EMPTY, 0, 0, 0},
        {SLICE_LIT("E"), SLICE_EMPTY, 300, 10, 0},
        {SLICE_LIT("E"), SLICE_EMPTY, UINT32_MAX, UINT32_MAX, 0},
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        uint32_t next = 0;
        store_must(&store,
                   records_members_each(store.link, &none[i], &next, people_read_member, NULL));
        assert_int_equal(next, UINT32_MAX);
    }
    people_fini(&people);
    store_close(&store);
}

static void count_figures(void *ctx, const struct figures *figures)
{
    struct people_reading *reading = ctx;
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        const struct people_audience *want = &reading->people->audiences[i];
        if (slice_equal(figures->session, slice_str(want->session))) {
            assert_int_equal(figures->attended, want->attended);
            assert_int_equal(figures->logins, want->logins);
            assert_int_equal(figures->total_ms, want->total_ms);
            reading->at++;
        }
    }
}

/* The engine takes the event with its empty rows back. */
static void test_load(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 300);
    uint32_t viewers[] = {0, 1, 100, 299};
    people_erase(&people, &store, viewers, 4);

    struct engine *engine = engine_new(&config);
    struct event *event;
    store_must(&store, records_event_load(store.link, &config, SLICE_LIT("E"), &event));
    engine_begin(engine, people_seq, PEOPLE_START_MS + 7200000);
    assert_true(engine_adopt(engine, event, true));
    engine_check(engine);
    struct people_reading reading = {.people = &people};
    assert_int_equal(engine_overview(engine, SLICE_LIT("E"), count_figures, &reading), FIGURES_OK);
    assert_int_equal(reading.at, PEOPLE_AUDIENCES);
    engine_free(engine);
    people_fini(&people);
    store_close(&store);
}

/* A number that is another viewer's: nothing is done at all. */
static void test_wrong_number(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    struct changes changes;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 10);
    changes_init(&changes);
    *changes_add_erasure(&changes) =
        (struct erasure_row){SLICE_LIT("E"), slice_str(people.ids[1]), 1};
    *changes_add_erasure(&changes) =
        (struct erasure_row){SLICE_LIT("E"), slice_str(people.ids[2]), 3};
    assert_int_equal(records_commit(store.link, &changes), ERR_DAMAGED);
    assert_non_null(strstr(records_why(store.link), "viewer number 3"));
    assert_int_equal(changes.erased_count, 0);
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);

    /* Of an event or a viewer that was never stored there may be a profile. */
    const struct profile profiles[] = {
        {SLICE_LIT("F"), SLICE_LIT("ada"), SLICE_EMPTY, SLICE_EMPTY},
        {SLICE_LIT("E"), SLICE_LIT("ada"), SLICE_EMPTY, SLICE_EMPTY},
        {SLICE_LIT("E"), SLICE_LIT("bob"), SLICE_EMPTY, SLICE_EMPTY},
    };
    store_must(&store, records_profiles_put(store.link, profiles, 3));
    changes_reset(&changes);
    *changes_add_erasure(&changes) = (struct erasure_row){SLICE_LIT("F"), SLICE_LIT("ada"), 0};
    *changes_add_erasure(&changes) = (struct erasure_row){SLICE_LIT("E"), SLICE_LIT("ada"), 10};
    store_must(&store, records_commit(store.link, &changes));
    assert_int_equal(store_number(&store, "SELECT count(*) FROM profile"), 1);
    people_compare(&people, &store);
    changes_fini(&changes);
    people_fini(&people);
    store_close(&store);
}

/* ---- purges ---- */

static void add_frame(struct store *store, struct people *people, int64_t start_ms)
{
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people_audience_row(people, &people->audiences[i], &changes_add(&changes)->audience);
        *changes_add_frame(&changes) =
            (struct frame_row){start_ms, start_ms + 300000, 0, SLICE_EMPTY, SLICE_EMPTY};
    }
    store_must(store, records_commit(store->link, &changes));
    changes_fini(&changes);
}

static enum err count_frame(void *ctx, const struct frame_row *row)
{
    assert_int_equal(row->end_ms, row->start_ms + 300000);
    ++*(int *)ctx;
    return ERR_NONE;
}

static int frames_of(struct store *store, struct people *people)
{
    int count = 0;
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        store_must(store, records_frames(store->link, slice_str(people->event),
                                         slice_str(people->audiences[i].session), 0, INT64_MAX, 0,
                                         count_frame, &count));
    }
    return count;
}

static void purge(struct store *store, const char *event, bool keep)
{
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    *changes_add_purge(&changes) = (struct purge_row){slice_str(event), keep};
    store_must(store, records_commit(store->link, &changes));
    changes_fini(&changes);
}

static enum err name_event(void *ctx, struct slice event)
{
    strncat(ctx, event.ptr, event.len);
    strcat(ctx, " ");
    return ERR_NONE;
}

static enum err fail_audience(void *ctx, const struct audience_row *row)
{
    (void)ctx;
    fail_msg("there is still session %.*s", SLICE_ARG(row->session));
    return ERR_NONE;
}

static int64_t rows_in_all(struct store *store)
{
    return store_number(store, "SELECT (SELECT count(*) FROM viewing)"
                               " + (SELECT count(*) FROM attendance) + (SELECT count(*) FROM frame)"
                               " + (SELECT count(*) FROM viewer) + (SELECT count(*) FROM group_set)"
                               " + (SELECT count(*) FROM audience) + (SELECT count(*) FROM event)");
}

/* Steps until nothing is left; each at most rows_max rows, and each leaves a store that is whole.
 */
static void retain_all(struct store *store, const struct records_retention *retention,
                       uint32_t rows_max)
{
    bool more = true;
    for (int steps = 0; more; steps++) {
        int64_t before = rows_in_all(store);
        store_must(store, records_retain(store->link, retention, rows_max, &more));
        assert_in_range(before - rows_in_all(store), 0, rows_max);
        if (steps % 4 == 0) {
            assert_int_equal(store_findings(store), 0);
        }
        assert_true(steps < 10000);
    }
}

static void test_purge(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people[EVENTS], again;
    store_open(&store);
    fill(people, &store, &seed, 40);
    for (int i = 0; i < EVENTS; i++) {
        add_frame(&store, &people[i], PEOPLE_START_MS);
    }
    const struct directory_entry entry = {SLICE_LIT("E1"), SLICE_EMPTY, SLICE_LIT("One"), 1};
    store_must(&store, records_directory_put(store.link, &entry, 1));
    purge(&store, "E1", false);
    purge(&store, "nobody", false);

    /* At once nothing is to be seen of it, though the rows are still there. */
    char names[64] = "";
    uint32_t found;
    uint64_t profiles;
    struct event *event;
    store_must(&store, records_events_each(store.link, SLICE_EMPTY, 0, name_event, names));
    assert_string_equal(names, "E0 E2 ");
    names[0] = '\0';
    store_must(&store, records_live_events(store.link, name_event, names));
    assert_string_equal(names, "E0 E2 ");
    assert_int_equal(
        records_audiences(store.link, SLICE_LIT("E1"), SLICE_EMPTY, true, fail_audience, NULL),
        ERR_NOT_FOUND);
    assert_int_equal(records_event_load(store.link, &config, SLICE_LIT("E1"), &event),
                     ERR_NOT_FOUND);
    assert_int_equal(viewings_of(&people[1], &store, 3, 3, &found), ERR_NOT_FOUND);
    store_must(&store, records_profiles_count(store.link, SLICE_LIT("E1"), &profiles));
    assert_int_equal(profiles, 0);
    assert_int_equal(frames_of(&store, &people[1]), 0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM directory"), 0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewings WHERE event = 'E1' "
                                          "OR event IS NULL"),
                     0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendances WHERE event = 'E1' "
                                          "OR event IS NULL"),
                     0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM event WHERE name IS NULL"), 1);
    assert_int_equal(store_findings(&store), 0);

    /* The same name begins anew, while the old one goes. */
    people_init(&again, "E1", &seed);
    people_arrive(&again, &store, 100);
    people_profiles(&again, &store, 0, 100);
    const struct records_retention nothing_old = {0};
    retain_all(&store, &nothing_old, 100);
    people_compare(&again, &store);
    people_compare(&people[0], &store);
    people_compare(&people[2], &store);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM event WHERE name IS NULL"), 0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewer"),
                     100 + people[0].audiences[0].members_count +
                         people[2].audiences[0].members_count);
    assert_int_equal(store_findings(&store), 0);
    expect_gone(&store, people[1].ids, people[1].audiences[0].members_count);
    for (int i = 0; i < EVENTS; i++) {
        people_fini(&people[i]);
    }
    people_fini(&again);
    store_close(&store);
}

/* Retention of people: figures and frames stay, under the same name. */
static void test_keep_statistics(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 500);
    people_profiles(&people, &store, 0, 500);
    uint32_t viewers[] = {5, 6, 7};
    people_erase(&people, &store, viewers, 3);
    people.audiences[0].peak = 499; /* some of whom are erased */
    add_frame(&store, &people, PEOPLE_START_MS);
    add_frame(&store, &people, PEOPLE_START_MS + 300000);
    const struct directory_entry entry = {SLICE_LIT("E"), SLICE_EMPTY, SLICE_LIT("One"), 1};
    store_must(&store, records_directory_put(store.link, &entry, 1));
    purge(&store, "E", true);

    const struct records_retention nothing_old = {0};
    for (int i = 0; i < 2; i++) { /* at once, and when all is gone */
        assert_int_equal(frames_of(&store, &people), 2 * PEOPLE_AUDIENCES);
        for (int j = 0; j < PEOPLE_AUDIENCES; j++) {
            people.audiences[j].members_count = 0;
        }
        memset(people.names, 0, PEOPLE_MAX * sizeof *people.names);
        people_compare(&people, &store);
        assert_int_equal(store_number(&store, "SELECT count(*) FROM viewings"), 0);
        assert_int_equal(store_number(&store, "SELECT count(*) FROM profile"), 0);
        assert_int_equal(store_number(&store, "SELECT count(*) FROM directory"), 1);
        assert_int_equal(store_findings(&store), 0);
        retain_all(&store, &nothing_old, 250);
    }
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewer"), 0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendance"), 0);
    expect_gone(&store, people.ids, 500);

    /* New viewers add to what is known; numbers begin at 0 again. */
    people_arrive(&people, &store, 20);
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);
    people_erase(&people, &store, viewers, 1);
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);
    struct event *event;
    store_must(&store, records_event_load(store.link, &config, SLICE_LIT("E"), &event));
    event_free(event);
    purge(&store, "E", true); /* and once more */
    retain_all(&store, &nothing_old, 1000);
    assert_int_equal(store_findings(&store), 0);
    people_fini(&people);
    store_close(&store);
}

/* ---- retention by age ---- */

static void test_retain(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people[EVENTS];
    store_open(&store);
    fill(people, &store, &seed, 20);
    for (int i = 0; i < EVENTS; i++) {
        for (int j = 0; j < 10; j++) {
            add_frame(&store, &people[i], PEOPLE_START_MS + j * 300000);
        }
    }
    const struct records_retention old = {
        .viewings_before_ms = PEOPLE_START_MS + 1800000,
        .frames_before_ms = PEOPLE_START_MS + 1500000,
    };
    assert_true(store_number(&store, "SELECT count(*) FROM viewing WHERE end_ms < 1700001800000") >
                100);
    const int64_t stay =
        store_number(&store, "SELECT count(*) FROM viewing WHERE end_ms >= 1700001800000");
    assert_true(stay > 100);
    retain_all(&store, &old, 100);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewing WHERE end_ms < "
                                          "1700001800000"),
                     0);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewing"), stay);
    for (int i = 0; i < EVENTS; i++) {
        /* Frames 0 to 3 have ended before; figures stay as they were. */
        assert_int_equal(frames_of(&store, &people[i]), 6 * PEOPLE_AUDIENCES);
        struct people_reading reading = {.people = &people[i]};
        store_must(&store, records_audiences(store.link, slice_str(people[i].event), SLICE_EMPTY,
                                             true, people_read_audience, &reading));
    }
    assert_int_equal(store_findings(&store), 0);
    bool more = true;
    store_must(&store, records_retain(store.link, &old, 1000000, &more));
    assert_false(more);
    for (int i = 0; i < EVENTS; i++) {
        people_fini(&people[i]);
    }
    store_close(&store);
}

static void put_idle(struct store *store, const char *event, int64_t as_of_ms, uint64_t seq,
                     bool idle, bool viewer)
{
    struct changes changes;
    changes_init(&changes);
    struct change *change = changes_add(&changes);
    change->audience = (struct audience_row){.event = slice_str(event),
                                             .seq = seq,
                                             .as_of_ms = as_of_ms,
                                             .members = viewer,
                                             .attended = viewer,
                                             .logins = viewer,
                                             .idle = idle};
    if (viewer) {
        *changes_add_member(&changes) = (struct member_row){
            .created = true, .viewer = SLICE_LIT("ada"), .start_ms = 1, .end_ms = 1};
    }
    store_must(store, records_commit(store->link, &changes));
    changes_fini(&changes);
}

static void expect_idle(struct store *store, int64_t before_ms, bool people, uint64_t limit,
                        const char *want)
{
    char names[64] = "";
    store_must(store,
               records_idle_events(store->link, before_ms, people, limit, name_event, names));
    assert_string_equal(names, want);
}

static void test_idle_events(void **state)
{
    (void)state;
    struct store store;
    struct changes changes = {.covered_seq = 10};
    store_open(&store);
    store_must(&store, records_commit(store.link, &changes));
    put_idle(&store, "new", 5000, 1, true, true);
    put_idle(&store, "old", 1000, 1, true, true);
    put_idle(&store, "older", 900, 10, true, false);
    put_idle(&store, "live", 1000, 1, false, true);
    put_idle(&store, "ahead", 1000, 11, true, true); /* the journal may hold more of it */
    const struct profile profile = {SLICE_LIT("older"), SLICE_LIT("a"), SLICE_EMPTY, SLICE_EMPTY};
    expect_idle(&store, 5000, false, 0, "older old ");
    expect_idle(&store, 5001, false, 0, "older old new ");
    expect_idle(&store, 5001, false, 1, "older ");
    expect_idle(&store, 900, false, 0, "");
    expect_idle(&store, 5001, true, 0, "old new ");
    store_must(&store, records_profiles_put(store.link, &profile, 1));
    expect_idle(&store, 5000, true, 0, "older old ");
    /* What is declared to start later is prepared, whoever was there before. */
    const struct directory_entry old = {SLICE_LIT("old"), SLICE_EMPTY, SLICE_EMPTY, 5000};
    const struct directory_entry part = {SLICE_LIT("older"), SLICE_LIT("s"), SLICE_EMPTY, 4999};
    store_must(&store, records_directory_put(store.link, &old, 1));
    store_must(&store, records_directory_put(store.link, &part, 1));
    expect_idle(&store, 5000, false, 0, "older ");
    expect_idle(&store, 4999, false, 0, "");
    expect_idle(&store, 5000, true, 0, "older ");
    expect_idle(&store, 5001, true, 0, "older old new ");
    store_must(&store, records_directory_delete(store.link, old.event, SLICE_EMPTY));
    store_must(&store, records_directory_delete(store.link, part.event, part.session));
    people_seq = 10;
    purge(&store, "old", true);
    expect_idle(&store, 5000, true, 0, "older ahead "); /* its people are gone; 11 is covered */
    expect_idle(&store, 1001, false, 0, "older ahead old ");
    purge(&store, "old", false);
    expect_idle(&store, 1001, false, 0, "older ahead ");
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest files[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_reader_in_the_way),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_meanwhile),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_wrong_number),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_keep_statistics),
        cmocka_unit_test(test_retain),
        cmocka_unit_test(test_idle_events),
    };
    return tap_run(files) + store_suite(tests);
}
