/* test_sqlite.c -- each function of records.h with either backend, and an event that goes from the
 * engine into the store and back; and how SQLite's files are opened. */
#include "store.h"

#include "core/country.h"
#include "core/engine.h"

#include <sys/stat.h>

#define START_MS 1700000000000

/* ---- opening ---- */

static void expect_refused(const char *where, bool create, enum err err, const char *words)
{
    struct records_link *link = (struct records_link *)1;
    char why[256];
    assert_int_equal(records_open(where, create, &link, why, sizeof why), err);
    assert_null(link);
    if (strstr(why, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, words);
    }
    assert_int_equal(records_open(where, create, &link, NULL, 0), err);
}

static void test_open(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    char where[192];
    struct records_link *link;

    snprintf(where, sizeof where, "sqlite:%s", store.path);
    assert_int_equal(records_open(where, false, &link, NULL, 0), ERR_NONE);
    records_close(link);
    records_close(NULL);

    struct stat file;
    assert_int_equal(stat(store.path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    assert_int_equal(store_number(&store, "PRAGMA user_version"), sqlite_migrations_count);
    assert_int_equal(store_number(&store, "PRAGMA page_size"), SQLITE_PAGE_BYTES);
    assert_int_equal(store_number(&store, "PRAGMA synchronous"), 2);
    assert_int_equal(store_findings(&store), 0);

    snprintf(where, sizeof where, "%s/none.db", store.folder);
    expect_refused(where, false, ERR_NOT_FOUND, "No such file");
    snprintf(where, sizeof where, "%s/none/none.db", store.folder);
    expect_refused(where, true, ERR_IO, "No such file");
    expect_refused("mysql://db/novabeat", true, ERR_INVALID, "mysql");
    expect_refused("", true, ERR_INVALID, "empty");
    expect_refused("sqlite:", true, ERR_INVALID, "empty");
    store_close(&store);
}

/* ---- profiles ---- */

static struct profile make_profile(const char *event, const char *viewer, const char *name,
                                   const char *packed)
{
    return (struct profile){slice_str(event), slice_str(viewer), slice_str(name),
                            slice_str(packed)};
}

static enum err print_profile(void *ctx, const struct profile *profile)
{
    char *text = ctx;
    snprintf(text + strlen(text), 128, "%.*s/%.*s=%.*s(%.*s) ", SLICE_ARG(profile->event),
             SLICE_ARG(profile->viewer), SLICE_ARG(profile->name), (int)profile->groups.len,
             profile->groups.len == 0 ? "" : profile->groups.ptr);
    return ERR_NONE;
}

static enum err stop(void *ctx, const struct profile *profile)
{
    (void)profile;
    ++*(int *)ctx;
    return ERR_STOPPED;
}

static void expect_profiles(struct store *store, const char *event, const char *after_event,
                            const char *after_viewer, uint64_t limit, const char *want)
{
    char text[1024] = "";
    store_must(store, records_profiles_each(store->link, slice_str(event), slice_str(after_event),
                                            slice_str(after_viewer), limit, print_profile, text));
    assert_string_equal(text, want);
}

static void test_profiles(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    const struct profile profiles[] = {
        make_profile("E2", "a", "", ""), make_profile("E1", "b", "Bea", "\1g\5press"),
        make_profile("E1", "a", "Ada", "\1\""),
        make_profile("E1", "a", "Ada 'L'", "\1\""), /* the last one counts */
    };
    store_must(&store, records_profiles_put(store.link, profiles, 4));
    store_must(&store, records_profiles_put(store.link, profiles, 0));
    expect_profiles(&store, "", "", "", 0, "E1/a=Ada 'L'(\1\") E1/b=Bea(\1g\5press) E2/a=() ");
    expect_profiles(&store, "", "", "", 1, "E1/a=Ada 'L'(\1\") ");
    expect_profiles(&store, "", "E1", "a", 0, "E1/b=Bea(\1g\5press) E2/a=() ");
    expect_profiles(&store, "", "E1", "b", 9, "E2/a=() ");
    expect_profiles(&store, "E1", "", "", 0, "E1/a=Ada 'L'(\1\") E1/b=Bea(\1g\5press) ");
    expect_profiles(&store, "E1", "E1", "a", 0, "E1/b=Bea(\1g\5press) ");
    expect_profiles(&store, "E3", "", "", 0, "");

    int calls = 0;
    assert_int_equal(
        records_profiles_each(store.link, SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY, 0, stop, &calls),
        ERR_STOPPED);
    assert_int_equal(calls, 1);

    char text[256] = "";
    store_must(&store, records_profile_get(store.link, SLICE_LIT("E1"), SLICE_LIT("b"),
                                           print_profile, text));
    assert_string_equal(text, "E1/b=Bea(\1g\5press) ");
    assert_int_equal(
        records_profile_get(store.link, SLICE_LIT("E2"), SLICE_LIT("b"), print_profile, text),
        ERR_NOT_FOUND);

    uint64_t count;
    store_must(&store, records_profiles_count(store.link, SLICE_LIT("E1"), &count));
    assert_int_equal(count, 2);
    store_must(&store, records_profiles_count(store.link, SLICE_EMPTY, &count));
    assert_int_equal(count, 3);
    store_must(&store, records_profiles_count(store.link, SLICE_LIT("E3"), &count));
    assert_int_equal(count, 0);
    assert_int_equal(store_findings(&store), 0);
    store_close(&store);
}

static void test_lookups(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    const struct profile profile = make_profile("E", "b", "", "\1g\5press");
    store_must(&store, records_profiles_put(store.link, &profile, 1));
    struct profile_lookup *lookups = calloc(3, sizeof *lookups);
    lookups[0] = (struct profile_lookup){
        .event = SLICE_LIT("E"), .viewer = SLICE_LIT("a"), .found = true, .groups_len = 9};
    lookups[1] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("b")};
    lookups[2] = (struct profile_lookup){.event = SLICE_LIT("F"), .viewer = SLICE_LIT("b")};
    store_must(&store, records_profiles_get(store.link, lookups, 3));
    assert_false(lookups[0].found);
    assert_int_equal(lookups[0].groups_len, 0);
    assert_true(lookups[1].found);
    assert_true(
        slice_equal(slice_of(lookups[1].groups, lookups[1].groups_len), SLICE_LIT("\1g\5press")));
    assert_false(lookups[2].found);
    free(lookups);

    /* Somebody broke it by hand: said, not guessed. */
    store_sql(&store, "UPDATE profile SET groups = '\"press\"'");
    char text[256] = "";
    assert_int_equal(
        records_profile_get(store.link, SLICE_LIT("E"), SLICE_LIT("b"), print_profile, text),
        ERR_DAMAGED);
    assert_int_equal(store_findings(&store), 1);
    store_close(&store);
}

/* ---- an event, from the engine and back ---- */

static const struct engine_config config = {
    .windows = {65000, 125000, 35000, 150000, 300000},
    .profile_ttl_ms = 600000,
    .event_idle_ms = 3600000,
    .events_max = 8,
    .sessions_max = 8,
    .viewers_max = 100000,
    .backlog_max = 100000,
};

static void beat(struct engine *engine, uint64_t *seq, int64_t at_ms, const char *session,
                 const char *viewer, const char *groups, const char *country)
{
    struct heartbeat heartbeat = {
        .event = SLICE_LIT("E"),
        .session = slice_str(session),
        .viewer = slice_str(viewer),
        .groups = slice_str(groups),
        .flags = HEARTBEAT_GROUPS,
    };
    assert_true(country_pack(slice_str(country), &heartbeat.country));
    if (!engine_has_event(engine, heartbeat.event)) {
        assert_true(engine_add_event(engine, heartbeat.event));
    }
    engine_begin(engine, ++*seq, at_ms);
    assert_int_equal(engine_heartbeat(engine, &heartbeat), PLACE_READY);
}

static void collect_and_commit(struct store *store, struct engine *engine, size_t rows_max)
{
    struct changes changes;
    changes_init(&changes);
    engine_collect_begin(engine, true);
    while (changes_reset(&changes), engine_collect(engine, &changes, rows_max)) {
        store_must(store, records_commit(store->link, &changes));
        engine_committed(engine, &changes);
    }
    changes_fini(&changes);
}

static void print_figures(void *ctx, const struct figures *figures)
{
    char *text = ctx;
    snprintf(text + strlen(text), 160, "%.*s: %llu %llu %llu %lld %llu %lld; ",
             (int)figures->session.len, figures->session.len == 0 ? "" : figures->session.ptr,
             (unsigned long long)figures->active, (unsigned long long)figures->attended,
             (unsigned long long)figures->logins, (long long)figures->total_ms,
             (unsigned long long)figures->peak_count, (long long)figures->peak_ms);
}

static void print_live(void *ctx, bool is_group, struct slice key, uint32_t count)
{
    char *text = ctx;
    snprintf(text + strlen(text), 128, "%s%.*s=%u ", is_group ? "group " : "", SLICE_ARG(key),
             count);
}

/* All that an engine says of the event. */
static void describe(struct engine *engine, char *text)
{
    uint64_t active;
    text[0] = '\0';
    assert_int_equal(engine_overview(engine, SLICE_LIT("E"), print_figures, text), FIGURES_OK);
    assert_int_equal(engine_live(engine, SLICE_LIT("E"), SLICE_EMPTY, &active, print_live, text),
                     FIGURES_OK);
    assert_int_equal(
        engine_live(engine, SLICE_LIT("E"), SLICE_LIT("S1"), &active, print_live, text),
        FIGURES_OK);
}

static enum err print_viewing(void *ctx, const struct viewing_of_viewer *viewing)
{
    char *text = ctx;
    char country[2];
    country_text(viewing->country, country);
    snprintf(text + strlen(text), 128, "[%.*s %lld-%lld %lld %.2s]", (int)viewing->session.len,
             viewing->session.len == 0 ? "" : viewing->session.ptr,
             (long long)viewing->start_ms - START_MS, (long long)viewing->end_ms - START_MS,
             (long long)viewing->expiry_ms - START_MS, country);
    return ERR_NONE;
}

static enum err print_frame(void *ctx, const struct frame_row *row)
{
    char *text = ctx;
    struct slice rest = row->groups, key;
    uint32_t count;
    snprintf(text + strlen(text), 128, "[%lld-%lld %u", (long long)row->start_ms,
             (long long)row->end_ms, row->viewers);
    while (tally_next(&rest, &key, &count)) {
        snprintf(text + strlen(text), 128, " %.*s=%u", SLICE_ARG(key), count);
    }
    for (rest = row->countries; tally_next(&rest, &key, &count);) {
        snprintf(text + strlen(text), 128, " %.*s=%u", SLICE_ARG(key), count);
    }
    strcat(text, "]");
    return ERR_NONE;
}

static enum err print_audience(void *ctx, const struct audience_row *row)
{
    char *text = ctx;
    snprintf(text + strlen(text), 128, "%.*s/%.*s %u %llu %lld %s; ", SLICE_ARG(row->event),
             (int)row->session.len, row->session.len == 0 ? "" : row->session.ptr, row->attended,
             (unsigned long long)row->logins, (long long)row->total_ms,
             row->idle ? "idle" : "live");
    return ERR_NONE;
}

/* 300 viewers in two sessions, a viewing that ended, a frame that is over. */
static uint64_t fill(struct engine *engine)
{
    uint64_t seq = 0;
    char viewer[32];
    for (int i = 0; i < 300; i++) {
        snprintf(viewer, sizeof viewer, "viewer-%03d", i);
        beat(engine, &seq, START_MS + i,
             i % 3 == 0   ? "S1"
             : i % 3 == 1 ? "S2"
                          : "",
             viewer, i % 2 == 0 ? "\1g\5press" : "", i % 5 == 0 ? "HK" : "US");
    }
    beat(engine, &seq, START_MS + 10000, "S1", "viewer-000", "\1g", "HK");
    beat(engine, &seq, START_MS + 400000, "S1", "viewer-000", "\1g", "DE");
    beat(engine, &seq, START_MS + 400500, "S2", "viewer-000", "\1g", "DE");
    return seq;
}

static void expect_readers(struct store *store)
{
    char text[2048] = "";
    store_must(store, records_viewings(store->link, SLICE_LIT("E"), SLICE_LIT("viewer-000"), -1, 0,
                                       print_viewing, text));
    assert_string_equal(text, "[ 0-10000 465500 DE][S1 0-10000 465000 DE][ 400000-400500 465500 "
                              "DE][S1 400000-400000 465000 DE][S2 400500-400500 465500 DE]");
    text[0] = '\0';
    store_must(store, records_viewings(store->link, SLICE_LIT("E"), SLICE_LIT("viewer-000"), -1, 2,
                                       print_viewing, text));
    assert_string_equal(text, "[ 0-10000 465500 DE][S1 0-10000 465000 DE]");
    assert_int_equal(records_viewings(store->link, SLICE_LIT("E"), SLICE_LIT("viewer-300"), -1, 0,
                                      print_viewing, text),
                     ERR_NOT_FOUND);
    assert_int_equal(records_viewings(store->link, SLICE_LIT("F"), SLICE_LIT("viewer-000"), -1, 0,
                                      print_viewing, text),
                     ERR_NOT_FOUND);

    /* The first frame is [START - START % 300000, …): 300,000 divides START + 100,000. */
    const int64_t frame_ms = START_MS - START_MS % 300000;
    char want[256];
    snprintf(want, sizeof want, "[%lld-%lld 300 ", (long long)frame_ms,
             (long long)frame_ms + 300000);
    text[0] = '\0';
    store_must(store, records_frames(store->link, SLICE_LIT("E"), SLICE_EMPTY, frame_ms,
                                     frame_ms + 300000, 0, print_frame, text));
    assert_memory_equal(text, want, strlen(want));
    assert_int_equal(strlen(text), strlen(want) + strlen("g=150 press=150 HK=60 US=240]"));
    static const char *const counts[] = {" g=150", " press=150", " HK=60", " US=240"};
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(strstr(text, counts[i])); /* in whatever order */
    }
    text[0] = '\0';
    store_must(store, records_frames(store->link, SLICE_LIT("E"), SLICE_EMPTY, frame_ms + 1,
                                     INT64_MAX, 0, print_frame, text));
    store_must(store, records_frames(store->link, SLICE_LIT("E"), SLICE_EMPTY, 0, frame_ms + 299999,
                                     0, print_frame, text));
    store_must(store, records_frames(store->link, SLICE_LIT("E"), SLICE_LIT("S9"), 0, INT64_MAX, 0,
                                     print_frame, text));
    store_must(store, records_frames(store->link, SLICE_LIT("F"), SLICE_EMPTY, 0, INT64_MAX, 0,
                                     print_frame, text));
    assert_string_equal(text, "");

    store_must(store, records_audiences(store->link, SLICE_LIT("E"), SLICE_EMPTY, true,
                                        print_audience, text));
    assert_string_equal(text, "E/ 300 301 10500 live; E/S1 100 101 10000 live; E/S2 101 101 0 "
                              "live; ");
    text[0] = '\0';
    store_must(store, records_audiences(store->link, SLICE_LIT("E"), SLICE_LIT("S2"), false,
                                        print_audience, text));
    assert_string_equal(text, "E/S2 101 101 0 live; ");
    assert_int_equal(records_audiences(store->link, SLICE_LIT("E"), SLICE_LIT("S3"), false,
                                       print_audience, text),
                     ERR_NOT_FOUND);
    assert_int_equal(
        records_audiences(store->link, SLICE_LIT("F"), SLICE_EMPTY, true, print_audience, text),
        ERR_NOT_FOUND);
}

static void test_event_and_back(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct engine *engine = engine_new(&config);
    uint64_t seq = fill(engine), covered;
    /* In parts, as a server does it. */
    collect_and_commit(&store, engine, 50);
    store_must(&store, records_covered(store.link, &covered));
    assert_int_equal(covered, seq);
    assert_int_equal(store_findings(&store), 0);
    expect_readers(&store);

    struct engine *again = engine_new(&config);
    struct event *event;
    assert_int_equal(records_event_load(store.link, &config, SLICE_LIT("F"), &event),
                     ERR_NOT_FOUND);
    assert_null(event);
    store_must(&store, records_event_load(store.link, &config, SLICE_LIT("E"), &event));
    assert_true(engine_adopt(again, event, true));
    engine_check(again);

    char want[4096], is[4096];
    for (int64_t at_ms = START_MS + 400500; at_ms < START_MS + 600000; at_ms += 32000) {
        engine_begin(engine, seq, at_ms);
        engine_begin(again, seq, at_ms);
        describe(engine, want);
        describe(again, is);
        assert_string_equal(is, want);
    }
    /* And both go on alike. */
    uint64_t seqs[] = {seq, seq};
    beat(engine, &seqs[0], START_MS + 600000, "S1", "viewer-007", "", "HK");
    beat(again, &seqs[1], START_MS + 600000, "S1", "viewer-007", "", "HK");
    describe(engine, want);
    describe(again, is);
    assert_string_equal(is, want);
    engine_free(engine);
    engine_free(again);
    store_close(&store);
}

/* ---- rows that contradict each other ---- */

static void test_damaged_event(void **state)
{
    (void)state;
    /* What is done to a whole store, and is undone afterwards. */
    static const struct store_sql harm[] = {
        {"UPDATE attendance SET end_ms = start_ms - 1 WHERE key = (SELECT max(key) FROM "
         "attendance)",
         NULL},
        {"DELETE FROM viewer WHERE key & 4294967295 = 7", NULL},
        {"UPDATE viewer SET viewer = '' WHERE key & 4294967295 = 7", NULL},
        {"UPDATE viewer SET viewer = 'viewer-008' WHERE key & 4294967295 = 7", NULL},
        {"UPDATE attendance SET country = 'h!' WHERE key & 4294967295 = 3", NULL},
        {"UPDATE attendance SET viewer_no = 299 WHERE key & 4294967295 = 3", NULL},
        {"UPDATE attendance SET lease_groups = 99 WHERE key & 4294967295 = 3", NULL},
        {"UPDATE group_set SET groups = 'press'", "UPDATE group_set SET groups = '\"press\"'"},
        {"DELETE FROM group_set WHERE set_no = 1", NULL},
        {"UPDATE audience SET frame_groups = '{' WHERE session = ''",
         "UPDATE audience SET frame_groups = '[]' WHERE session = ''"},
        {"UPDATE audience SET attended = -1 WHERE session = ''", NULL},
        {"DELETE FROM audience WHERE session = ''", NULL},
    };
    struct store store;
    store_open(&store);
    struct engine *engine = engine_new(&config);
    fill(engine);
    collect_and_commit(&store, engine, 100000);
    engine_free(engine);
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++) {
        struct event *event = NULL;
        store_sql(&store, "BEGIN");
        store_sql(&store, store_say(&harm[i]));
        /* Read inside this transaction, as a nested reader would. */
        store_nest(&store, 1);
        enum err err = records_event_load(store.link, &config, SLICE_LIT("E"), &event);
        int findings = store_findings(&store);
        store_nest(&store, -1);
        store_sql(&store, "ROLLBACK");
        if (err != ERR_DAMAGED || event != NULL || findings == 0) {
            fail_msg("after %s: load says %s, check finds %d", store_say(&harm[i]), err_name(err),
                     findings);
        }
        printf("# %s\n", records_why(store.link));
    }
    assert_int_equal(store_findings(&store), 0);
    store_close(&store);
}

static enum err ignore_member(void *ctx, const struct records_member *member)
{
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        assert_true(member->viewings[i].start_ms <= member->viewings[i].end_ms);
    }
    ++*(int *)ctx;
    return ERR_NONE;
}

/* Whoever sums up viewings takes it for certain that they end after they start. */
static void test_damaged_viewings(void **state)
{
    (void)state;
    static const char *const harm[] = {
        "UPDATE attendance SET end_ms = start_ms - 1 WHERE key & 4294967295 = 3",
        "UPDATE viewing SET end_ms = start_ms - 1",
        "UPDATE viewing SET start_ms = -1",
    };
    const struct records_members_query query = {.event = SLICE_LIT("E")};
    struct store store;
    uint32_t next;
    int members = 0, some = 0;
    store_open(&store);
    struct engine *engine = engine_new(&config);
    fill(engine);
    collect_and_commit(&store, engine, 100000);
    engine_free(engine);
    store_must(&store, records_members_each(store.link, &query, &next, ignore_member, &members));
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++, some = 0) {
        store_sql(&store, "BEGIN");
        store_sql(&store, harm[i]);
        store_nest(&store, 1);
        enum err err = records_members_each(store.link, &query, &next, ignore_member, &some);
        store_nest(&store, -1);
        store_sql(&store, "ROLLBACK");
        if (err != ERR_DAMAGED || some >= members) {
            fail_msg("after %s: %s, %d members", harm[i], err_name(err), some);
        }
    }
    store_close(&store);
}

/* As an erasure does it, but the viewer's id stays. */
#define HARM_EMPTIED                                                                               \
    "UPDATE attendance SET start_ms = 0, end_ms = 0, expiry_ms = 0, country = 'ZZ', groups = 0, "  \
    "lease_groups = 0 WHERE key = 4294967299" /* of audience 1, number 3 */

/* A rule of records_check for everything else that cannot be. */
static void test_check_rules(void **state)
{
    (void)state;
    static const struct store_sql harm[] = {
        {"UPDATE audience SET attended = attended - 1 WHERE session = 'S1'", NULL},
        {"UPDATE audience SET attended = attended + 1 WHERE session = 'S1'", NULL},
        {"UPDATE audience SET logins = logins + 1 WHERE session = 'S1'", NULL},
        {"UPDATE audience SET total_ms = total_ms + 1 WHERE session = ''", NULL},
        {"UPDATE audience SET peak_count = attended + 1 WHERE session = 'S2'", NULL},
        {"INSERT INTO event (name, live) VALUES ('empty', 0)", NULL},
        {"UPDATE group_set SET set_no = 77 WHERE set_no = 1", NULL},
        {"UPDATE viewing SET end_ms = start_ms - 1", NULL},
        {"UPDATE viewing SET end_ms = end_ms + 1000000", NULL},
        {"UPDATE viewing SET key = 425201762304 + key", NULL},
        {"UPDATE frame SET end_ms = start_ms", NULL},
        {"UPDATE frame SET countries = '{\"HK\":1}'", NULL},
        {"UPDATE frame SET groups = '['", "UPDATE frame SET groups = '[]'"},
        {"INSERT INTO frame SELECT audience_id, 1, 2 + start_ms, viewers, '{}', '{}' FROM frame",
         NULL},
        {"DELETE FROM audience WHERE session = 'S1'", NULL},
        {"UPDATE audience SET members = members - 1 WHERE session = 'S1'", NULL},
        {"UPDATE audience SET members = members + 1 WHERE session = 'S1'", NULL},
        {"UPDATE audience SET gone_attended = 1 WHERE session = 'S2'", NULL},
        {"UPDATE audience SET gone_viewings = 1 WHERE session = ''", NULL},
        {"UPDATE audience SET gone_ms = 1 WHERE session = ''", NULL},
        {"UPDATE attendance SET start_ms = 0 WHERE key & 4294967295 = 3", NULL},
        {HARM_EMPTIED, NULL},
        {"DELETE FROM viewer WHERE key & 4294967295 = 3", NULL},
        {"INSERT INTO directory VALUES ('', '', '', 0)", NULL},
        {"INSERT INTO directory VALUES ('E', 'S1', '', -1)", NULL},
        {"INSERT INTO api_key VALUES ('short', zeroblob(32), 1, '', '', 0)",
         "INSERT INTO api_key VALUES ('short', decode(repeat('00', 32), 'hex'), 1, '', '', 0)"},
        {"INSERT INTO api_key VALUES ('abcdefghijkl', zeroblob(32), 1, '', '', 0)",
         "INSERT INTO api_key VALUES ('abcdefghijkl', decode(repeat('00', 32), 'hex'), 1, '', '', "
         "0)"},
    };
    struct store store;
    store_open(&store);
    struct engine *engine = engine_new(&config);
    fill(engine);
    collect_and_commit(&store, engine, 100000);
    engine_free(engine);
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++) {
        store_sql(&store, "BEGIN");
        store_sql(&store, store_say(&harm[i]));
        store_nest(&store, 1);
        int findings = store_findings(&store);
        store_nest(&store, -1);
        store_sql(&store, "ROLLBACK");
        if (findings == 0) {
            fail_msg("nothing is found after %s", store_say(&harm[i]));
        }
    }
    /* What the journal still holds is no fault. */
    store_sql(
        &store,
        "UPDATE meta SET value = value - 1 WHERE name = 'covered_seq'; "
        "UPDATE audience SET attended = attended + 1, logins = logins + 1 WHERE session = 'S2'");
    assert_int_equal(store_findings(&store), 0);
    store_close(&store);
}

/* ---- reading inside a callback ---- */

struct loading {
    struct store *store;
    int events;
};

static enum err load_event(void *ctx, struct slice event)
{
    struct loading *loading = ctx;
    struct event *loaded;
    store_must(loading->store, records_event_load(loading->store->link, &config, event, &loaded));
    event_free(loaded);
    loading->events++;
    return ERR_NONE;
}

static enum err refuse(void *ctx, struct slice event)
{
    (void)event;
    ++*(int *)ctx;
    return ERR_FULL;
}

static void test_nested_reading(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct engine *engine = engine_new(&config);
    fill(engine);
    collect_and_commit(&store, engine, 100000);
    engine_free(engine);
    struct loading loading = {.store = &store};
    store_must(&store, records_live_events(store.link, load_event, &loading));
    assert_int_equal(loading.events, 1);
    int calls = 0;
    assert_int_equal(records_live_events(store.link, refuse, &calls), ERR_FULL);
    assert_int_equal(records_events_each(store.link, SLICE_EMPTY, 0, refuse, &calls), ERR_FULL);
    assert_int_equal(calls, 2);
    store_must(&store, records_events_each(store.link, SLICE_LIT("E"), 0, refuse, &calls));
    assert_int_equal(calls, 2); /* none after E */
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest files[] = {cmocka_unit_test(test_open)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiles),       cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_event_and_back), cmocka_unit_test(test_damaged_event),
        cmocka_unit_test(test_check_rules),    cmocka_unit_test(test_damaged_viewings),
        cmocka_unit_test(test_nested_reading),
    };
    return tap_run(files) + store_suite(tests);
}
