/* test_postgres_source.c -- profiles from the platform's own PostgreSQL database, with records in
 * SQLite and in PostgreSQL.  (From an SQLite file: test_source.c.) */
#include "people.h"

#include "core/groups.h"

struct platform {
    struct store store;
    char uri[256];
    PGconn *db;
};

/* Records in SQLite, though a server runs. */
static bool records_in_file;

static void open_records(struct platform *platform)
{
    const pid_t pid = store_server.pid;
    store_server.pid = records_in_file ? 0 : pid;
    store_open(&platform->store);
    store_server.pid = pid;
}

/* A table with the name of one of ours, in which nothing is as in ours; in the records' own
 * database where there is one. */
static void platform_open(struct platform *platform)
{
    open_records(platform);
    if (records_in_file) {
        postgres_database(&store_server, platform->uri, sizeof platform->uri);
    } else {
        snprintf(platform->uri, sizeof platform->uri, "%s", platform->store.path);
    }
    platform->db = PQconnectdb(platform->uri);
    postgres_must(
        platform->db,
        "CREATE TYPE role AS ENUM ('press', 'crew');"
        "CREATE TABLE viewer (show text, login text, full_name text, roles text,"
        " list text[], kinds role[], age integer, raw bytea, doc jsonb);"
        "INSERT INTO viewer VALUES"
        " ('E', 'ada', 'Ada \"L\"', '[\"press\", \"crew\"]', '{press,crew}',"
        "  '{press,crew}', 36, '\\x41', '[\"press\",\"crew\"]'),"
        " ('E', 'bob', NULL, ' press,crew ,, press', NULL, NULL, NULL, NULL, NULL),"
        " ('E', 'cy', 'Cy', NULL, '{}', '{}', 1, '', '[]'),"
        " ('E', 'odd', 'Odd', '', '{\"a b\",\"c\\\"\\\\d\",\"e,f\",NULL,\"NULL\",\"{g}\"}',"
        "  '{crew}', 1, '', '[]'),"
        " ('F', 'ada', 'Ada of F', '  [ ]', '{x}', '{}', 1, '', '[]')");
}

static void platform_close(struct platform *platform)
{
    PQfinish(platform->db);
    store_close(&platform->store);
}

static enum err set_source(struct platform *platform, const char *query, const char *count_query)
{
    const struct records_profile_source source = {platform->uri, query, count_query};
    return records_profiles_from(platform->store.link, &source);
}

/* Opens the link anew, because a source is for a link's life. */
static void with_query(struct platform *platform, const char *query, const char *count_query)
{
    records_close(platform->store.link);
    assert_int_equal(records_open(platform->store.path, false, &platform->store.link, NULL, 0),
                     ERR_NONE);
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
    uint64_t count;
    char text[256] = "";
    platform_open(&platform);
    const struct profile own = {SLICE_LIT("E"), SLICE_LIT("own"), SLICE_LIT("Own"), SLICE_EMPTY};
    store_must(&platform.store, records_profiles_put(platform.store.link, &own, 1));
    with_query(&platform, QUERY, "SELECT count(DISTINCT login) FROM viewer WHERE show = :event");
    expect(&platform, "E", "ada", "E/ada=Ada \"L\"<crew><press>");
    expect(&platform, "E", "bob", "E/bob=<crew><press>");
    expect(&platform, "E", "cy", "E/cy=Cy");
    expect(&platform, "F", "ada", "F/ada=Ada of F");
    expect(&platform, "E", "own", NULL); /* the table in the store does not count */
    expect(&platform, "E", "a'; DROP TABLE viewer --", NULL);

    struct profile_lookup *lookups = calloc(600, sizeof *lookups);
    for (int i = 0; i < 600; i++) { /* more than go down one pipeline */
        lookups[i] = (struct profile_lookup){
            .event = SLICE_LIT("E"), .viewer = i % 3 == 0 ? SLICE_LIT("ada") : SLICE_LIT("none")};
    }
    store_must(&platform.store, records_profiles_get(platform.store.link, lookups, 600));
    for (int i = 0; i < 600; i++) {
        assert_int_equal(lookups[i].found, i % 3 == 0);
    }
    print_groups(text, slice_of(lookups[597].groups, lookups[597].groups_len));
    assert_string_equal(text, "<crew><press>");
    free(lookups);

    store_must(&platform.store,
               records_profiles_count(platform.store.link, SLICE_LIT("E"), &count));
    assert_int_equal(count, 4);
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_EMPTY, &count),
                     ERR_NOT_FOUND);
    assert_int_equal(records_profiles_put(platform.store.link, &own, 1), ERR_INVALID);
    assert_int_equal(records_profiles_each(platform.store.link, SLICE_LIT("E"), SLICE_EMPTY,
                                           SLICE_EMPTY, 0, print_profile, text),
                     ERR_INVALID);
    postgres_must(platform.db, "UPDATE viewer SET full_name = 'Cyrus' WHERE login = 'cy'");
    expect(&platform, "E", "cy", "E/cy=Cyrus");
    platform_close(&platform);
}

static void test_columns(void **state)
{
    (void)state;
    static const struct {
        const char *query, *viewer, *want;
    } cases[] = {
        {"SELECT roles FROM viewer WHERE login = :viewer AND show = 'E'", "bob",
         "E/bob=<crew><press>"},
        {"SELECT list FROM viewer WHERE login = :viewer AND show = :event;  ", "ada",
         "E/ada=<crew><press>"},
        {"SELECT list FROM viewer WHERE login = :viewer", "odd",
         "E/odd=<NULL><a b><c\"\\d><e,f><{g}>"},
        {"SELECT kinds AS groups, age AS NAME FROM viewer WHERE login = :viewer AND show = 'E'",
         "ada", "E/ada=36<crew><press>"},
        {"SELECT doc, full_name AS name FROM viewer WHERE login = :viewer AND show = 'E'", "ada",
         "E/ada=Ada \"L\"<crew><press>"},
        {"SELECT full_name, array_agg(r) AS groups FROM viewer, unnest(list) AS r "
         "WHERE login = :viewer AND show = 'E' GROUP BY 1",
         "ada", "E/ada=Ada \"L\"<crew><press>"},
        /* What is no parameter, though it looks like one. */
        {"SELECT ':viewer''s :x', E'\\':event' || $$ :y '$$ || $q$:z$q$::text /* :a /* */ :b */ "
         "FROM viewer -- :c\n WHERE login = :viewer AND \"show\"::varchar = "
         "((ARRAY[:event])[1:1])[1]",
         "ada", "E/ada=:viewer's :x<':event :y ':z>"},
        {"SELECT '{a,b}'", "ada", "E/ada=<b}><{a>"}, /* text is text */
        {"SELECT :viewer::text, :event", "x", "E/x=x<E>"},
    };
    struct platform platform;
    platform_open(&platform);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        with_query(&platform, cases[i].query, NULL);
        expect(&platform, "E", cases[i].viewer, cases[i].want);
    }
    uint64_t count;
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_LIT("E"), &count),
                     ERR_NOT_FOUND);
    platform_close(&platform);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *query, *count, *words;
    } cases[] = {
        {"", NULL, "query is not given"},
        {"  -- nothing", NULL, "is empty"},
        {"SELEC 1", NULL, "syntax error"},
        {"SELECT roles FROM nowhere", NULL, "\"nowhere\" does not exist"},
        {"SELECT name FROM profile", NULL, "\"profile\" does not exist"}, /* that is ours */
        {"SELECT 1; SELECT 2", NULL, "multiple commands"},
        {"DELETE FROM viewer RETURNING roles", NULL, "may only read"},
        {"WITH x AS (UPDATE viewer SET roles = '' RETURNING roles) SELECT * FROM x", NULL,
         "may only read"},
        {"CREATE TABLE x (y integer)", NULL, "may only read"},
        {"BEGIN", NULL, "must be one SELECT"},
        {"SELECT full_name AS name FROM viewer", NULL, "name alone"},
        {"SELECT * FROM viewer", NULL, "gives 9 columns"},
        {"SELECT roles FROM viewer WHERE login = :user", NULL, "parameter :user"},
        {"SELECT roles FROM viewer WHERE login = $1", NULL, "parameter $1"},
        {"SELECT roles FROM viewer WHERE age = :viewer", NULL, "operator does not exist"},
        {"SELECT pg_sleep(60)::text", NULL, "statement timeout"},
        {QUERY, "SELECT 1, 2", "count query must give one column"},
        {QUERY, "SELECT count(*) FROM viewer WHERE login = :viewer", "there is only :event"},
        {QUERY, "DELETE FROM viewer RETURNING 1", "count query may only read"},
    };
    struct platform platform;
    platform_open(&platform);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum err err = set_source(&platform, cases[i].query, cases[i].count);
        const enum err want =
            strstr(cases[i].words, "timeout") == NULL ? ERR_INVALID : ERR_DATABASE;
        if (err != want || strstr(records_why(platform.store.link), cases[i].words) == NULL) {
            fail_msg("\"%s\" gives %s: %s", cases[i].query, err_name(err),
                     records_why(platform.store.link));
        }
    }
    const struct records_profile_source away = {"postgresql://u:s3cret@127.0.0.1:1/d", QUERY, NULL};
    assert_int_equal(records_profiles_from(platform.store.link, &away), ERR_DATABASE);
    assert_null(strstr(records_why(platform.store.link), "s3cret"));
    const struct records_profile_source file = {"/nowhere/users.db", QUERY, NULL};
    assert_int_equal(records_profiles_from(platform.store.link, &file), ERR_INVALID);

    /* After all of these the link's own table counts. */
    const struct profile own = {SLICE_LIT("E"), SLICE_LIT("own"), SLICE_LIT("Own"), SLICE_EMPTY};
    store_must(&platform.store, records_profiles_put(platform.store.link, &own, 1));
    expect(&platform, "E", "own", "E/own=Own");
    platform_close(&platform);
}

/* ---- rows that do not fit ---- */

static void expect_broken(struct platform *platform, const char *name, const char *groups,
                          const char *words)
{
    char sql[4096], text[256] = "";
    snprintf(sql, sizeof sql, "SELECT %s AS name, %s AS groups WHERE :viewer <> ''", name, groups);
    with_query(platform, sql, "SELECT :event");
    enum err err = records_profile_get(platform->store.link, SLICE_LIT("E"), SLICE_LIT("eve"),
                                       print_profile, text);
    const char *why = records_why(platform->store.link);
    if (err != ERR_DATABASE || strstr(why, words) == NULL || strstr(why, "eve") == NULL) {
        fail_msg("%s gives %s: %s", sql, err_name(err), why);
    }
    assert_string_equal(text, "");
}

static void test_broken_rows(void **state)
{
    (void)state;
    struct platform platform;
    uint64_t count;
    platform_open(&platform);
    expect_broken(&platform, "repeat('x', 257)", "''", "column \"name\"");
    expect_broken(&platform, "'\\x41'::bytea", "''", "column \"name\"");
    expect_broken(&platform, "'a' || chr(10)", "''", "column \"name\"");
    expect_broken(&platform, "''", "'\\x41'::bytea", "column \"groups\"");
    expect_broken(&platform, "''", "'[\"a\"'", "column \"groups\"");
    expect_broken(&platform, "''", "'[1]'::jsonb", "column \"groups\"");
    expect_broken(&platform, "''", "ARRAY[repeat('x', 65)]", "column \"groups\"");
    expect_broken(&platform, "''", "ARRAY(SELECT 'g' || i FROM generate_series(1, 33) AS i)",
                  "more than 32 groups");
    expect_broken(&platform, "''", "ARRAY(SELECT 'g' || i FROM generate_series(1, 300) AS i)",
                  "too many groups");
    assert_int_equal(records_profiles_count(platform.store.link, SLICE_LIT("E"), &count),
                     ERR_DATABASE); /* 'E' is no number */

    /* One that fails costs the others of a batch nothing. */
    with_query(&platform,
               "SELECT CASE :viewer WHEN 'div' THEN (1 / (length(:event) - 1))::text "
               "WHEN 'bad' THEN '[' WHEN '' THEN '' ELSE 'press' END",
               NULL);
    static const char *const viewers[] = {"a", "bad", "b", "div", "c"};
    struct profile_lookup *lookups = calloc(5, sizeof *lookups);
    for (int i = 0; i < 5; i++) {
        lookups[i] =
            (struct profile_lookup){.event = SLICE_LIT("E"), .viewer = slice_str(viewers[i])};
    }
    assert_int_equal(records_profiles_get(platform.store.link, lookups, 5), ERR_DATABASE);
    assert_non_null(strstr(records_why(platform.store.link), "division by zero"));
    lookups[3].viewer = SLICE_LIT("d");
    store_must(&platform.store, records_profiles_get(platform.store.link, lookups, 5));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(lookups[i].found, i != 1);
        assert_int_equal(lookups[i].broken, i == 1);
    }
    free(lookups);

    /* The table is gone: said, and found again when it is back. */
    with_query(&platform, QUERY, NULL);
    expect(&platform, "E", "cy", "E/cy=Cy");
    postgres_must(platform.db, "ALTER TABLE viewer RENAME TO away");
    char text[256] = "";
    assert_int_equal(records_profile_get(platform.store.link, SLICE_LIT("E"), SLICE_LIT("ada"),
                                         print_profile, text),
                     ERR_DATABASE);
    assert_non_null(strstr(records_why(platform.store.link), "does not exist"));
    postgres_must(platform.db, "ALTER TABLE away RENAME TO viewer");
    expect(&platform, "E", "cy", "E/cy=Cy");

    /* And so is the connection. */
    postgres_must(platform.db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                               "WHERE application_name = 'novabeat'");
    usleep(200000);
    expect(&platform, "E", "cy", "E/cy=Cy");
    platform_close(&platform);
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

static enum err expect_name_alone(void *ctx, const struct records_member *member)
{
    (void)ctx;
    assert_int_equal(member->viewer.len + member->groups.len, 0);
    assert_int_equal(member->name.len > 0, member->member_no % 3 != 0);
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
            snprintf(sql, sizeof sql, "INSERT INTO viewer VALUES ('E', '%s', 'viewer %d'%s, '')",
                     people.ids[i], i, i == 9 ? " || chr(7)" : "");
            postgres_must(platform.db, sql);
        }
    }
    with_query(&platform, QUERY, NULL);
    struct records_members_query query = {.event = SLICE_LIT("E"),
                                          .want = MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME};
    uint32_t next;
    store_must(&platform.store,
               records_members_each(platform.store.link, &query, &next, expect_name, &people));
    query.want = MEMBERS_WANT_NAME;
    store_must(&platform.store,
               records_members_each(platform.store.link, &query, &next, expect_name_alone, NULL));
    people_fini(&people);
    platform_close(&platform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_look_ups), cmocka_unit_test(test_columns),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_broken_rows),
        cmocka_unit_test(test_members),
    };
    if (!store_with_postgres()) {
        return 0;
    }
    int failed = tap_run(tests);
    records_in_file = true;
    failed += tap_run(tests);
    return failed + store_end();
}
