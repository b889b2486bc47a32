/* test_source.c -- profiles from the platform's own database. */
#include "people.h"

#include "core/groups.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

struct platform {
    struct store store;
    char path[128];
};

static void platform_sql(const struct platform *platform, const char *sql)
{
    sqlite3 *db;
    char *why = NULL;
    assert_int_equal(sqlite3_open(platform->path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", sql, why);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A table with the name of one of ours, in which nothing is as in ours. */
static void platform_open(struct platform *platform)
{
    store_open(&platform->store);
    snprintf(platform->path, sizeof platform->path, "%s/plat form.db", platform->store.folder);
    platform_sql(platform,
                 "CREATE TABLE viewer (show, login TEXT, full_name, roles);"
                 "INSERT INTO viewer VALUES ('E', 'ada', 'Ada \"L\"', '[\"press\", \"crew\"]'),"
                 " ('E', 'bob', NULL, ' press,crew ,, press'), ('E', 'cy', 'Cy', NULL),"
                 " ('E', 'dan', 17, ''), ('F', 'ada', 'Ada of F', '  [ ]'),"
                 " ('E', 'two', 'first', 'a'), ('E', 'two', 'second', 'b')");
}

static enum err set_source(struct platform *platform, const char *query, const char *count_query)
{
    const struct records_profile_source source = {platform->path, query, count_query};
    return records_profiles_from(platform->store.link, &source);
}

/* Opens the link anew, because a source is for a link's life. */
static void with_query(struct platform *platform, const char *query, const char *count_query)
{
    records_close(platform->store.link);
    platform->store.link = store_link(&platform->store);
    store_must(&platform->store, set_source(platform, query, count_query));
}

static void print_groups(char *text, struct slice rest)
{
    struct slice id;
    while (groups_next(&rest, &id)) {
        snprintf(text + strlen(text), 80, "<%.*s>", SLICE_ARG(id));
    }
}

static enum err print_profile(void *ctx, const struct profile *profile)
{
    char *text = ctx;
    snprintf(text + strlen(text), 300, "%.*s/%.*s=%.*s", SLICE_ARG(profile->event),
             SLICE_ARG(profile->viewer), (int)profile->name.len,
             profile->name.len == 0 ? "" : profile->name.ptr);
    assert_true(groups_valid(profile->groups));
    print_groups(text, profile->groups);
    return ERR_NONE;
}

static void expect(struct platform *platform, const char *event, const char *viewer,
                   const char *want)
{
    char text[4096] = "";
    enum err err = records_profile_get(platform->store.link, slice_str(event), slice_str(viewer),
                                       print_profile, text);
    if (want == NULL) {
        assert_int_equal(err, ERR_NOT_FOUND);
        return;
    }
    store_must(&platform->store, err);
    assert_string_equal(text, want);
}

#define QUERY "SELECT full_name, roles FROM viewer WHERE show = :event AND login = :viewer"

static void test_look_ups(void **state)
{
    (void)state;
    struct platform platform;
    struct profile_lookup *lookups = calloc(4, sizeof *lookups);
    uint64_t count;
    char text[256] = "";
    platform_open(&platform);
    const struct profile own = {SLICE_LIT("E"), SLICE_LIT("own"), SLICE_LIT("Own"), SLICE_EMPTY};
    store_must(&platform.store, records_profiles_put(platform.store.link, &own, 1));
    with_query(&platform, QUERY, "SELECT count(DISTINCT login) FROM viewer WHERE show = :event");
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    expect(&platform, "E", "bob", "E/bob=<crew><press>");
    expect(&platform, "E", "cy", "E/cy=Cy");
    expect(&platform, "E", "dan", "E/dan=17");
    expect(&platform, "F", "ada", "F/ada=Ada of F");
    expect(&platform, "E", "two", "E/two=first<a>");
    expect(&platform, "E", "own", NULL); /* the table in the store does not count */
    expect(&platform, "G", "ada", NULL);

    lookups[0] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("nobody")};
    lookups[1] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("ada")};
    lookups[2] = (struct profile_lookup){.event = SLICE_LIT("F"), .viewer = SLICE_LIT("ada")};
    lookups[3] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("bob")};
    store_must(&platform.store, records_profiles_get(platform.store.link, lookups, 4));
    assert_false(lookups[0].found);
    assert_true(lookups[1].found && lookups[2].found && lookups[3].found);
    assert_int_equal(lookups[2].groups_len, 0);
    print_groups(text, slice_of(lookups[3].groups, lookups[3].groups_len));
    assert_string_equal(text, "<crew><press>");
    free(lookups);

    store_must(&platform.store,
               records_profiles_count(platform.store.link, SLICE_LIT("E"), &count));
    assert_int_equal(count, 5);
    store_must(&platform.store,
               records_profiles_count(platform.store.link, SLICE_LIT("G"), &count));
    assert_int_equal(count, 0);
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_EMPTY, &count),
                     ERR_NOT_FOUND);

    /* They are the platform's: neither written nor listed here. */
    assert_int_equal(records_profiles_put(platform.store.link, &own, 1), ERR_INVALID);
    assert_int_equal(records_profiles_each(platform.store.link, SLICE_LIT("E"), SLICE_EMPTY,
                                           SLICE_EMPTY, 0, print_profile, text),
                     ERR_INVALID);

    /* What the platform changes is seen at once. */
    platform_sql(&platform, "UPDATE viewer SET full_name = 'Cyrus' WHERE login = 'cy'");
    expect(&platform, "E", "cy", "E/cy=Cyrus");
    store_close(&platform.store);
}

static void test_columns(void **state)
{
    (void)state;
    struct platform platform;
    platform_open(&platform);
    with_query(&platform, "SELECT roles FROM viewer WHERE login = :viewer", NULL);
    expect(&platform, "E", "bob", "E/bob=<crew><press>");
    with_query(&platform,
               "SELECT roles AS groups, full_name AS NAME FROM viewer "
               "WHERE :event = show AND login = :viewer;  ",
               NULL);
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    with_query(&platform, "SELECT roles, full_name AS name FROM viewer WHERE login = :viewer",
               NULL);
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    with_query(&platform,
               "SELECT roles AS \"Groups\", full_name FROM viewer "
               "WHERE login = :viewer",
               NULL);
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    with_query(&platform,
               "WITH it AS (SELECT * FROM viewer WHERE show = :event) "
               "SELECT upper(full_name), roles FROM it WHERE login = :viewer",
               NULL);
    expect(&platform, "E", "ada", "E/ada=ADA \"L\"<crew><press>");
    uint64_t count;
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_LIT("E"), &count),
                     ERR_NOT_FOUND);
    with_query(&platform, "SELECT 'everybody'", "SELECT 7");
    expect(&platform, "E", "whoever", "E/whoever=<everybody>");
    store_must(&platform.store,
               records_profiles_count(platform.store.link, SLICE_LIT("E"), &count));
    assert_int_equal(count, 7);
    store_close(&platform.store);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *query, *count, *words;
    } cases[] = {
        {"", NULL, "query is not given"},
        {"  -- nothing", NULL, "profile query is empty"},
        {"SELEC 1", NULL, "syntax error"},
        {"SELECT roles FROM nowhere", NULL, "no such table: nowhere"},
        {"SELECT viewer FROM viewer", NULL, "no such column: viewer"}, /* that is ours */
        {"SELECT 1; SELECT 2", NULL, "goes on after its one SELECT"},
        {"SELECT 1; DROP TABLE viewer", NULL, "goes on after its one SELECT"},
        {"DELETE FROM viewer RETURNING roles", NULL, "may only read"},
        {"UPDATE viewer SET roles = '' RETURNING roles", NULL, "may only read"},
        {"PRAGMA user_version", NULL, "may only read"},
        {"ATTACH 'x' AS y", NULL, "may only read"},
        {"BEGIN", NULL, "may only read"},
        {"VACUUM", NULL, "must be one SELECT"},
        {"EXPLAIN SELECT roles FROM viewer", NULL, "must be one SELECT"},
        {"SELECT load_extension('x')", NULL, "not authorized to use function: load_extension"},
        {"SELECT full_name AS name FROM viewer", NULL, "name alone"},
        {"SELECT * FROM viewer", NULL, "gives 4 columns"},
        {"SELECT roles FROM viewer WHERE login = :user", NULL, "parameter :user"},
        {"SELECT roles FROM viewer WHERE login = ?", NULL, "parameter ?"},
        {"SELECT roles FROM viewer WHERE login = ?1", NULL, "parameter ?1"},
        {"SELECT roles FROM viewer WHERE login = $viewer", NULL, "parameter $viewer"},
        {QUERY, "SELECT 1, 2", "count query must give one column"},
        {QUERY, "SELECT count(*) FROM viewer WHERE login = :viewer", "there is only :event"},
        {QUERY, "DELETE FROM viewer", "count query may only read"},
        {QUERY, "", "count query is empty"},
    };
    struct platform platform;
    platform_open(&platform);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum err err = set_source(&platform, cases[i].query, cases[i].count);
        if (err != ERR_INVALID ||
            strstr(records_why(platform.store.link), cases[i].words) == NULL) {
            fail_msg("\"%s\" gives %s: %s", cases[i].query, err_name(err),
                     records_why(platform.store.link));
        }
    }
    struct records_profile_source source = {NULL, QUERY, NULL};
    assert_int_equal(records_profiles_from(platform.store.link, &source), ERR_INVALID);
    assert_non_null(strstr(records_why(platform.store.link), "database is not given"));
    source.database = "/nowhere/at all.db";
    assert_int_equal(records_profiles_from(platform.store.link, &source), ERR_INVALID);
    assert_non_null(strstr(records_why(platform.store.link), "/nowhere/at all.db"));
    source.database = "/etc/passwd";
    assert_int_equal(records_profiles_from(platform.store.link, &source), ERR_INVALID);
    assert_non_null(strstr(records_why(platform.store.link), "not a database"));

    /* After all of these the link's own table counts. */
    const struct profile own = {SLICE_LIT("E"), SLICE_LIT("own"), SLICE_LIT("Own"), SLICE_EMPTY};
    store_must(&platform.store, records_profiles_put(platform.store.link, &own, 1));
    expect(&platform, "E", "own", "E/own=Own");
    assert_int_equal(store_findings(&platform.store), 0);
    store_close(&platform.store);
}

/* ---- rows that do not fit ---- */

static void expect_broken(struct platform *platform, const char *values, const char *words)
{
    char sql[4096], text[256] = "";
    snprintf(sql, sizeof sql, "DELETE FROM viewer; INSERT INTO viewer VALUES ('E', 'eve', %s)",
             values);
    platform_sql(platform, sql);
    enum err err = records_profile_get(platform->store.link, SLICE_LIT("E"), SLICE_LIT("eve"),
                                       print_profile, text);
    const char *why = records_why(platform->store.link);
    if (err != ERR_DATABASE || strstr(why, words) == NULL || strstr(why, "eve") == NULL) {
        fail_msg("%s gives %s: %s", values, err_name(err), why);
    }
    assert_string_equal(text, "");
}

static void test_broken_rows(void **state)
{
    (void)state;
    struct platform platform;
    platform_open(&platform);
    with_query(&platform, QUERY, "SELECT full_name FROM viewer WHERE show = :event");
    expect_broken(&platform, "printf('%257s', 'x'), ''", "column \"name\"");
    expect_broken(&platform, "x'41', ''", "column \"name\"");
    expect_broken(&platform, "CAST(x'c328' AS TEXT), ''", "column \"name\"");
    expect_broken(&platform, "'a' || char(10), ''", "column \"name\"");
    expect_broken(&platform, "'', x'41'", "column \"groups\"");
    expect_broken(&platform, "'', '[\"a\"'", "column \"groups\"");
    expect_broken(&platform, "'', '[1]'", "column \"groups\"");
    expect_broken(&platform, "'', '[\"\"]'", "column \"groups\"");
    expect_broken(&platform, "'', 'b,' || hex(zeroblob(33))", "column \"groups\"");
    expect_broken(&platform, "'', 'a,b' || CAST(x'ff' AS TEXT)", "column \"groups\"");
    expect_broken(&platform,
                  "'', (WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 "
                  "FROM n WHERE i < 33) SELECT group_concat('g' || i) FROM n)",
                  "more than 32 groups");
    expect_broken(&platform,
                  "'', (WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 "
                  "FROM n WHERE i < 300) SELECT group_concat('g') FROM n)",
                  "too many groups");
    uint64_t count;
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_LIT("E"), &count),
                     ERR_DATABASE); /* '' is no number */
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_LIT("F"), &count),
                     ERR_DATABASE); /* no row */

    /* One broken row does not cost the others of a batch their profiles. */
    platform_sql(&platform, "INSERT INTO viewer VALUES ('E', 'ada', 'Ada', 'press')");
    struct profile_lookup *lookups = calloc(2, sizeof *lookups);
    lookups[0] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("eve")};
    lookups[1] = (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = SLICE_LIT("ada")};
    store_must(&platform.store, records_profiles_get(platform.store.link, lookups, 2));
    assert_true(!lookups[0].found && lookups[0].broken && lookups[0].groups_len == 0);
    assert_true(lookups[1].found && !lookups[1].broken && lookups[1].groups_len == 6);
    free(lookups);

    /* The table is gone: said, and found again when it is back. */
    platform_sql(&platform, "ALTER TABLE viewer RENAME TO away");
    char text[256] = "";
    assert_int_equal(records_profile_get(platform.store.link, SLICE_LIT("E"), SLICE_LIT("ada"),
                                         print_profile, text),
                     ERR_DATABASE);
    assert_non_null(strstr(records_why(platform.store.link), "no such table"));
    platform_sql(&platform, "ALTER TABLE away RENAME TO viewer");
    expect(&platform, "E", "ada", "E/ada=Ada<press>");
    store_close(&platform.store);
}

/* ---- another file in its place ---- */

static void replace_file(const struct platform *platform, const char *path)
{
    assert_int_equal(rename(path, platform->path), 0);
}

static void pause_ms(long ms)
{
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static enum err ask_inside(void *ctx, const struct profile *profile)
{
    struct platform *platform = ctx;
    uint64_t count;
    pause_ms(1100); /* so the count would look at the path */
    store_must(&platform->store,
               records_profiles_count(platform->store.link, SLICE_LIT("E"), &count));
    assert_true(slice_equal(profile->name, SLICE_LIT("New"))); /* the row is still there */
    return ERR_NONE;
}

static void test_replaced_file(void **state)
{
    (void)state;
    struct platform platform, other;
    char beside[160];
    platform_open(&platform);
    other = platform;
    snprintf(other.path, sizeof other.path, "%s/new.db", platform.store.folder);
    with_query(&platform, QUERY, "SELECT count(*) FROM viewer WHERE show = :event");
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");

    /* What cannot be used does not take the place of what can, nor does nothing at all. */
    FILE *garbage = fopen(other.path, "w");
    assert_non_null(garbage);
    for (int i = 0; i < 1000; i++) {
        fprintf(garbage, "no database ");
    }
    assert_int_equal(fclose(garbage), 0);
    replace_file(&platform, other.path);
    pause_ms(1100);
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    assert_non_null(strstr(records_why(platform.store.link), "not a database"));
    assert_int_equal(unlink(platform.path), 0);
    pause_ms(1100);
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");

    platform_sql(&other, "CREATE TABLE viewer (show, roles, login, full_name);"
                         "INSERT INTO viewer VALUES ('E', 'desk', 'ada', 'New')");
    replace_file(&platform, other.path);
    pause_ms(1100);
    expect(&platform, "E", "ada", "E/ada=New<desk>");
    uint64_t count;
    store_must(&platform.store,
               records_profiles_count(platform.store.link, SLICE_LIT("E"), &count));
    assert_int_equal(count, 1);
    expect(&platform, "E", "bob", NULL);

    /* Not under a row that is being read. */
    platform_sql(&other, "CREATE TABLE viewer (show, roles, login, full_name)");
    replace_file(&platform, other.path);
    store_must(&platform.store, records_profile_get(platform.store.link, SLICE_LIT("E"),
                                                    SLICE_LIT("ada"), ask_inside, &platform));
    expect(&platform, "E", "ada", NULL);
    snprintf(beside, sizeof beside, "%s-wal", platform.path);
    assert_int_equal(access(beside, F_OK), -1);
    store_close(&platform.store);
}

/* ---- a user that may only read ---- */

static void may_write(const struct platform *platform, bool may)
{
    const bool root = getuid() == 0;
    if (root && may) {
        assert_int_equal(seteuid(0), 0);
    }
    assert_int_equal(chmod(platform->path, 0644), 0);
    assert_int_equal(chmod(platform->store.folder, may ? 0755 : 0555), 0);
    if (root && !may) {
        assert_int_equal(seteuid(65534), 0);
    }
}

static void expect_refused(struct platform *platform, const char *words)
{
    enum err err = set_source(platform, QUERY, NULL);
    char why[RECORDS_WHY_BYTES];
    snprintf(why, sizeof why, "%s", records_why(platform->store.link));
    may_write(platform, true);
    if (err != ERR_INVALID || strstr(why, words) == NULL) {
        fail_msg("%s: %s", err_name(err), why);
    }
}

static void test_only_reading(void **state)
{
    (void)state;
    struct platform platform;
    char path[160];
    platform_open(&platform);
    platform_sql(&platform, "PRAGMA journal_mode = WAL");
    may_write(&platform, false);
    expect_refused(&platform, "copy made with VACUUM INTO");

    /* While the platform has it open, it can be read. */
    sqlite3 *db;
    assert_int_equal(sqlite3_open(platform.path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE viewer SET roles = 'x'", NULL, NULL, NULL),
                     SQLITE_OK);
    may_write(&platform, false);
    store_must(&platform.store, set_source(&platform, QUERY, NULL));
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<x>");
    may_write(&platform, true);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);

    /* It has gone, and its files with it: said at the look-up. */
    records_close(platform.store.link);
    platform.store.link = store_link(&platform.store);
    platform_sql(&platform, "PRAGMA journal_mode = DELETE");
    may_write(&platform, false);
    store_must(&platform.store, set_source(&platform, QUERY, NULL));
    may_write(&platform, true);
    platform_sql(&platform, "PRAGMA journal_mode = WAL");
    may_write(&platform, false);
    char text[300] = "";
    enum err err = records_profile_get(platform.store.link, SLICE_LIT("E"), SLICE_LIT("ada"),
                                       print_profile, text);
    may_write(&platform, true);
    assert_int_equal(err, ERR_DATABASE);
    assert_non_null(strstr(records_why(platform.store.link), "VACUUM INTO"));

    /* A platform that was cut off within a transaction: its journal is hot. */
    records_close(platform.store.link);
    platform.store.link = store_link(&platform.store);
    platform_sql(&platform, "PRAGMA journal_mode = DELETE");
    pid_t pid = fork();
    if (pid == 0) {
        sqlite3_open(platform.path, &db);
        sqlite3_exec(db,
                     "PRAGMA cache_size = 1; BEGIN; UPDATE viewer SET roles = 'y';"
                     "INSERT INTO viewer VALUES ('', '', '', zeroblob(1000000))",
                     NULL, NULL, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    snprintf(path, sizeof path, "%s-journal", platform.path);
    assert_int_equal(access(path, F_OK), 0);
    expect_refused(&platform, "has to be rolled back");
    platform_sql(&platform, "SELECT 1 FROM viewer");
    store_must(&platform.store, set_source(&platform, QUERY, NULL));
    store_close(&platform.store);
}

/* ---- reports ---- */

static enum err expect_name(void *ctx, const struct records_member *member)
{
    struct people *people = ctx;
    char want[32];
    snprintf(want, sizeof want, "viewer %u", member->member_no);
    assert_true(slice_equal(member->viewer, slice_str(people->ids[member->member_no])));
    assert_true(
        slice_equal(member->name, member->member_no % 3 == 0 ? SLICE_EMPTY : slice_str(want)));
    return ERR_NONE;
}

static void test_members(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct platform platform;
    struct people people;
    platform_open(&platform);
    people_init(&people, "E", &seed);
    people_arrive(&people, &platform.store, 30);
    people_profiles(&people, &platform.store, 0, 30); /* which do not count */
    for (int i = 0; i < 30; i++) {
        char sql[256];
        if (i % 3 != 0 || i == 9) { /* the row of 9 cannot be used */
            snprintf(sql, sizeof sql, "INSERT INTO viewer VALUES ('E', '%s', 'viewer %d%s', '')",
                     people.ids[i], i, i == 9 ? "' || char(7) || '" : "");
            platform_sql(&platform, sql);
        }
    }
    with_query(&platform, QUERY, NULL);
    const struct records_members_query query = {.event = SLICE_LIT("E"),
                                                .want = MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME};
    uint32_t next;
    store_must(&platform.store,
               records_members_each(platform.store.link, &query, &next, expect_name, &people));
    people_fini(&people);
    store_close(&platform.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_ups),      cmocka_unit_test(test_columns),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_broken_rows),
        cmocka_unit_test(test_replaced_file), cmocka_unit_test(test_only_reading),
        cmocka_unit_test(test_members),
    };
    return tap_run(tests);
}
