/* test_migrate.c -- a store of version 1, as the first Novabeat left it, is taken over whole.
 *
 * The file is made by the real first migration and by rows such as version 1 wrote; the versions
 * after it are then made by opening it. */
#include "store.h"

#include "core/engine.h"

static const struct engine_config config = {
    .windows = {65000, 125000, 35000, 150000, 300000},
    .profile_ttl_ms = 600000,
    .event_idle_ms = 3600000,
    .events_max = 8,
    .sessions_max = 8,
    .viewers_max = 100000,
    .backlog_max = 100000,
};

/* Two events, 2,000 viewers, two sessions, a frame, profiles; event 7 and audience 21, so that no
 * number fits by accident. */
static const char version_1_rows[] =
    "INSERT INTO meta VALUES ('covered_seq', 900);"
    "INSERT INTO event VALUES (7, 'E', 0), (8, 'F', 1);"
    "INSERT INTO audience VALUES"
    " (21, 7, '', 900, 1700000000000, 2000, 2001, 60000, 1500, 1700000001000,"
    "  1700000100000, 300000, 2000, '{\"press\":1000}', '{\"HK\":2000}'),"
    " (22, 7, 'S', 900, 1700000000000, 1, 1, 0, 1, 1700000001000, 0, 0, 0, '{}', '{}'),"
    " (23, 8, '', 901, 1700000000000, 1, 1, 5, 1, 1700000001000, 0, 0, 0, '{}', '{}');"
    "INSERT INTO group_set VALUES (7, 1, '[\"press\"]');"
    "WITH RECURSIVE no (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM no WHERE n < 1999)"
    " INSERT INTO viewer (key, viewer) SELECT (7 << 32) + n, 'viewer ' || n FROM no;"
    "WITH RECURSIVE no (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM no WHERE n < 1999)"
    " INSERT INTO attendance (key, viewer_no, groups, lease_groups, country, profile_due_ms,"
    "  start_ms, end_ms, expiry_ms, counted_frame_ms)"
    " SELECT (21 << 32) + n, n, n % 2, n % 2, 'HK', 0, 1700000000000 + n, 1700000000000 + n,"
    "  1700000065000 + n, -1 FROM no;"
    "INSERT INTO viewer (key, viewer) VALUES ((8 << 32), 'ada');"
    "INSERT INTO attendance (key, viewer_no, groups, lease_groups, country, profile_due_ms,"
    "  start_ms, end_ms, expiry_ms, counted_frame_ms) VALUES"
    " ((22 << 32), 1999, 0, 1, 'ZZ', 0, 1700000000000, 1700000000000, 1700000000000, -1),"
    " ((23 << 32), 0, 0, 0, 'ZZ', 0, 1700000000000, 1700000000005, 1700000000000, -1);"
    "INSERT INTO viewing (key, start_ms, end_ms) VALUES"
    " ((21 << 32) + 5, 1600000000000, 1600000060000);"
    "INSERT INTO frame VALUES (21, 1600000000000, 1600000300000, 1, '{}', '{\"HK\":1}');"
    "INSERT INTO profile VALUES ('E', 'viewer 5', 'Five', '[\"press\"]'), ('G', 'x', '', '[]');";

static void make_version_1(struct store *store, char *folder_path, size_t bytes)
{
    sqlite3 *db;
    char *why = NULL;
    strcpy(store->folder, "/tmp/novabeat_records_XXXXXX");
    assert_non_null(mkdtemp(store->folder));
    snprintf(store->path, sizeof store->path, "%s/records.db", store->folder);
    snprintf(folder_path, bytes, "%s", store->path);
    assert_int_equal(sqlite3_open(store->path, &db), SQLITE_OK);
    assert_string_equal(sqlite_migrations[0].name, "001_init.sql");
    const char *const steps[] = {
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA secure_delete = OFF",
        sqlite_migrations[0].sql,
        "PRAGMA application_id = 1316373041; PRAGMA user_version = 1", /* SQLITE_APPLICATION_ID */
        version_1_rows,
        /* Deleted as version 1 could have: its copies may stand anywhere. */
        "INSERT INTO profile SELECT 'H', 'forgotten-' || viewer || '-forgotten', '', '[]' FROM "
        "viewer;"
        "DELETE FROM profile WHERE event = 'H'",
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (sqlite3_exec(db, steps[i], NULL, NULL, &why) != SQLITE_OK) {
            fail_msg("%zu: %s", i, why);
        }
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static bool file_contains(const char *path, const char *text)
{
    FILE *file = fopen(path, "r");
    static char bytes[4 << 20];
    assert_non_null(file);
    size_t len = fread(bytes, 1, sizeof bytes, file);
    assert_true(feof(file));
    fclose(file);
    for (const char *at = bytes, *end = bytes + len;
         (at = memchr(at, text[0], (size_t)(end - at))) != NULL; at++) {
        if ((size_t)(end - at) >= strlen(text) && memcmp(at, text, strlen(text)) == 0) {
            return true;
        }
    }
    return false;
}

static enum err print_audience(void *ctx, const struct audience_row *row)
{
    char *text = ctx;
    snprintf(text + strlen(text), 128, "%.*s/%.*s %u/%u %llu %lld %u %s; ", SLICE_ARG(row->event),
             (int)row->session.len, row->session.len == 0 ? "" : row->session.ptr, row->attended,
             row->members, (unsigned long long)row->logins, (long long)row->total_ms,
             row->peak_count, row->idle ? "idle" : "live");
    return ERR_NONE;
}

static enum err count_member(void *ctx, const struct records_member *member)
{
    uint32_t *count = ctx;
    char viewer[32];
    snprintf(viewer, sizeof viewer, "viewer %u", member->member_no);
    assert_true(slice_equal(member->viewer, slice_str(viewer)));
    assert_true(slice_equal(member->name, slice_str(member->member_no == 5 ? "Five" : "")));
    assert_int_equal(member->groups.len, member->member_no % 2 * 6);
    assert_int_equal(member->viewings_count, member->member_no == 5 ? 2 : 1);
    ++*count;
    return ERR_NONE;
}

static void expect_everything(struct store *store)
{
    char text[512] = "";
    uint32_t count = 0, next;
    uint64_t covered, profiles;
    struct event *event;
    store_must(store, records_audiences(store->link, SLICE_LIT("E"), SLICE_EMPTY, true,
                                        print_audience, text));
    store_must(store, records_audiences(store->link, SLICE_LIT("F"), SLICE_EMPTY, true,
                                        print_audience, text));
    assert_string_equal(text, "E/ 2000/2000 2001 60000 1500 idle; E/S 1/1 1 0 1 live; "
                              "F/ 1/1 1 5 1 live; ");
    const struct records_members_query query = {.event = SLICE_LIT("E"),
                                                .want = MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME};
    store_must(store, records_members_each(store->link, &query, &next, count_member, &count));
    assert_int_equal(count, 2000);
    assert_int_equal(store_number(store, "SELECT count(*) FROM attendances"), 2002);
    assert_int_equal(store_number(store, "SELECT count(*) FROM viewings"), 2003);
    assert_int_equal(store_number(store, "SELECT count(*) FROM frame JOIN audience ON "
                                         "audience.id = audience_id WHERE session = ''"),
                     1);
    store_must(store, records_covered(store->link, &covered));
    assert_int_equal(covered, 900);
    store_must(store, records_profiles_count(store->link, SLICE_EMPTY, &profiles));
    assert_int_equal(profiles, 2);
    store_must(store, records_event_load(store->link, &config, SLICE_LIT("E"), &event));
    event_free(event);
    assert_int_equal(store_findings(store), 0);
}

static void test_version_1(void **state)
{
    (void)state;
    struct store store;
    char path[160], why[256];
    make_version_1(&store, path, sizeof path);
    assert_true(file_contains(path, "-forgotten"));
    /* Only who may create may migrate. */
    assert_int_equal(records_open(path, false, &store.link, why, sizeof why), ERR_VERSION);
    if (records_open(path, true, &store.link, why, sizeof why) != ERR_NONE) {
        fail_msg("%s", why);
    }
    assert_int_equal(store_number(&store, "PRAGMA user_version"), sqlite_migrations_count);
    expect_everything(&store);
    /* Written anew, once: what version 1 had deleted is gone. */
    assert_int_equal(store_number(&store, "SELECT count(*) FROM meta WHERE name = 'rewrite_due'"),
                     0);
    assert_false(file_contains(path, "-forgotten"));
    records_close(store.link);
    assert_int_equal(records_open(path, true, &store.link, NULL, 0), ERR_NONE);
    expect_everything(&store);

    /* And it works on: the old viewers can be erased. */
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = 902;
    changes_add(&changes)->audience = (struct audience_row){.event = SLICE_LIT("E"),
                                                            .seq = 902,
                                                            .as_of_ms = 1700000000000,
                                                            .members = 2000,
                                                            .attended = 1999,
                                                            .logins = 2000,
                                                            .total_ms = 60000,
                                                            .peak_count = 1500,
                                                            .idle = true};
    *changes_add_erasure(&changes) = (struct erasure_row){SLICE_LIT("E"), SLICE_LIT("viewer 5"), 5};
    store_must(&store, records_commit(store.link, &changes));
    assert_int_equal(changes.erased_count, 1);
    assert_int_equal(changes.erased[0].total_ms, 60000);
    assert_false(file_contains(path, "Five"));
    assert_int_equal(store_findings(&store), 0);
    changes_fini(&changes);
    store_close(&store);
}

/* A version-1 store with an event that somebody holds open meanwhile: busy, and as it was. */
static void test_busy(void **state)
{
    (void)state;
    struct store store;
    char path[160], why[256];
    sqlite3 *db;
    make_version_1(&store, path, sizeof path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM event", NULL, NULL, NULL),
                     SQLITE_OK);
    /* A reader holds up neither the migration nor the opening. */
    if (records_open(path, true, &store.link, why, sizeof why) != ERR_NONE) {
        fail_msg("%s", why);
    }
    expect_everything(&store);
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_busy),
    };
    return tap_run(tests);
}
