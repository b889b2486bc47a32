/* test_directory.c -- the directory, API keys, and backups. */
#include "people.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ---- the directory ---- */

static enum err print_entry(void *ctx, const struct directory_entry *entry)
{
    char *text = ctx;
    snprintf(text + strlen(text), 128, "%.*s/%.*s=%.*s@%lld ", SLICE_ARG(entry->event),
             (int)entry->session.len, entry->session.len == 0 ? "" : entry->session.ptr,
             (int)entry->title.len, entry->title.len == 0 ? "" : entry->title.ptr,
             (long long)entry->start_ms);
    return ERR_NONE;
}

static enum err refuse_entry(void *ctx, const struct directory_entry *entry)
{
    (void)entry;
    ++*(int *)ctx;
    return ERR_STOPPED;
}

static void expect_events(struct store *store, const char *after, uint64_t limit, const char *want)
{
    char text[512] = "";
    store_must(store,
               records_directory_events(store->link, slice_str(after), limit, print_entry, text));
    assert_string_equal(text, want);
}

static void expect_sessions(struct store *store, const char *after, uint64_t limit,
                            const char *want)
{
    char text[512] = "";
    store_must(store, records_directory_sessions(store->link, SLICE_LIT("E"), slice_str(after),
                                                 limit, print_entry, text));
    assert_string_equal(text, want);
}

static void test_directory(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    const struct directory_entry entries[] = {
        {SLICE_LIT("E"), SLICE_LIT("S2"), SLICE_LIT("Zweite, \"ü\" 👋"), 2},
        {SLICE_LIT("E"), SLICE_EMPTY, SLICE_LIT("The event"), 1700000000000},
        {SLICE_LIT("E"), SLICE_LIT("S1"), SLICE_LIT("first"), 1},
        {SLICE_LIT("E"), SLICE_LIT("S1"), SLICE_EMPTY, 0}, /* the last one counts */
        {SLICE_LIT("only-a-session"), SLICE_LIT("S"), SLICE_LIT("t"), 0},
    };
    store_must(&store, records_directory_put(store.link, entries, 5));
    store_must(&store, records_directory_put(store.link, entries, 0));
    people_init(&people, "seen", &seed);
    people_arrive(&people, &store, 3);

    expect_events(&store, "", 0, "E/=The event@1700000000000 only-a-session/=@0 seen/=@0 ");
    expect_events(&store, "", 2, "E/=The event@1700000000000 only-a-session/=@0 ");
    expect_events(&store, "E", 1, "only-a-session/=@0 ");
    expect_events(&store, "only-a-session", 0, "seen/=@0 ");
    expect_events(&store, "seen", 0, "");
    expect_sessions(&store, "", 0, "E/S1=@0 E/S2=Zweite, \"ü\" 👋@2 ");
    expect_sessions(&store, "", 1, "E/S1=@0 ");
    expect_sessions(&store, "S1", 0, "E/S2=Zweite, \"ü\" 👋@2 ");
    expect_sessions(&store, "S2", 0, "");

    char text[256] = "";
    int calls = 0;
    store_must(&store,
               records_directory_get(store.link, SLICE_LIT("E"), SLICE_EMPTY, print_entry, text));
    assert_string_equal(text, "E/=The event@1700000000000 ");
    assert_int_equal(
        records_directory_get(store.link, SLICE_LIT("seen"), SLICE_EMPTY, refuse_entry, &calls),
        ERR_NOT_FOUND);
    assert_int_equal(
        records_directory_get(store.link, SLICE_LIT("E"), SLICE_EMPTY, refuse_entry, &calls),
        ERR_STOPPED);
    assert_int_equal(records_directory_events(store.link, SLICE_EMPTY, 0, refuse_entry, &calls),
                     ERR_STOPPED);
    assert_int_equal(records_directory_sessions(store.link, SLICE_LIT("E"), SLICE_EMPTY, 0,
                                                refuse_entry, &calls),
                     ERR_STOPPED);
    assert_int_equal(calls, 3);

    /* The entry alone goes, not what was counted, nor the sessions' entries. */
    store_must(&store, records_directory_delete(store.link, SLICE_LIT("E"), SLICE_EMPTY));
    assert_int_equal(records_directory_delete(store.link, SLICE_LIT("E"), SLICE_EMPTY),
                     ERR_NOT_FOUND);
    assert_int_equal(records_directory_delete(store.link, SLICE_LIT("seen"), SLICE_EMPTY),
                     ERR_NOT_FOUND);
    store_must(&store, records_directory_delete(store.link, SLICE_LIT("E"), SLICE_LIT("S1")));
    expect_events(&store, "", 0, "E/=@0 only-a-session/=@0 seen/=@0 ");
    expect_sessions(&store, "", 0, "E/S2=Zweite, \"ü\" 👋@2 ");
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);
    people_fini(&people);
    store_close(&store);
}

/* ---- API keys ---- */

static struct api_key_row make_key(char mark, unsigned roles, const char *event, const char *name)
{
    struct api_key_row key = {.roles = roles,
                              .event = slice_str(event),
                              .name = slice_str(name),
                              .created_ms = 1700000000000 + mark};
    memset(key.id, mark, sizeof key.id);
    memset(key.hash, mark, sizeof key.hash);
    key.hash[3] = 0; /* a hash is no text */
    return key;
}

static enum err print_key(void *ctx, const struct api_key_row *key)
{
    char *text = ctx;
    assert_int_equal(key->hash[31], (unsigned char)key->id[0]);
    assert_int_equal(key->hash[3], 0);
    snprintf(text + strlen(text), 128, "%.*s %u '%.*s' '%.*s' %lld; ", API_KEY_ID_BYTES, key->id,
             key->roles, (int)key->event.len, key->event.len == 0 ? "" : key->event.ptr,
             (int)key->name.len, key->name.len == 0 ? "" : key->name.ptr,
             (long long)key->created_ms - 1700000000000);
    return ERR_NONE;
}

static uint64_t version_of(struct records_link *link)
{
    uint64_t version;
    assert_int_equal(records_keys_version(link, &version), ERR_NONE);
    return version;
}

static void test_keys(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct records_link *other = store_link(&store); /* as another process */
    assert_int_equal(version_of(store.link), 0);
    struct api_key_row b = make_key('b', 4, "", "the 'dashboard'");
    struct api_key_row a = make_key('a', 3, "E", "");
    store_must(&store, records_key_put(store.link, &b));
    assert_int_equal(version_of(other), 1);
    assert_int_equal(records_key_put(other, &a), ERR_NONE);
    assert_int_equal(version_of(store.link), 2);
    char text[512] = "";
    store_must(&store, records_keys_each(store.link, print_key, text));
    assert_string_equal(text, "aaaaaaaaaaaa 3 'E' '' 97; bbbbbbbbbbbb 4 '' 'the 'dashboard'' 98; ");

    a.roles = 1;
    store_must(&store, records_key_put(store.link, &a)); /* replaced */
    assert_int_equal(version_of(other), 3);
    assert_int_equal(records_key_delete(other, "bbbbbbbbbbbb"), ERR_NONE);
    assert_int_equal(version_of(store.link), 4);
    assert_int_equal(records_key_delete(other, "bbbbbbbbbbbb"), ERR_NOT_FOUND);
    assert_int_equal(version_of(store.link), 4);
    text[0] = '\0';
    store_must(&store, records_keys_each(store.link, print_key, text));
    assert_string_equal(text, "aaaaaaaaaaaa 1 'E' '' 97; ");
    assert_int_equal(store_findings(&store), 0);

    const struct store_sql short_hash = {"UPDATE api_key SET hash = x'00'",
                                         "UPDATE api_key SET hash = '\\x00'"};
    store_sql(&store, store_say(&short_hash));
    assert_int_equal(records_keys_each(store.link, print_key, text), ERR_DAMAGED);
    assert_int_equal(store_findings(&store), 1);
    records_close(other);
    store_close(&store);
}

/* ---- backups ---- */

static void test_backup(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store, copy;
    struct people people;
    struct stat file;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 1000);
    people_profiles(&people, &store, 0, 1000);
    const struct directory_entry entry = {SLICE_LIT("E"), SLICE_EMPTY, SLICE_LIT("t"), 1};
    store_must(&store, records_directory_put(store.link, &entry, 1));

    copy = store;
    snprintf(copy.path, sizeof copy.path, "%s/it's a copy.db", store.folder);
    /* Over a link of its own, while somebody reads and somebody has written. */
    struct records_link *other = store_link(&store);
    store_sql(&store, "BEGIN");
    assert_int_equal(store_number(&store, "SELECT count(*) FROM viewer"), 1000);
    if (records_backup(other, copy.path) != ERR_NONE) {
        fail_msg("%s", records_why(other));
    }
    store_sql(&store, "COMMIT");
    assert_int_equal(stat(copy.path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);

    /* Never over something that is there, whatever it is. */
    assert_int_equal(records_backup(other, copy.path), ERR_INVALID);
    assert_non_null(strstr(records_why(other), "exists"));
    assert_int_equal(records_backup(other, store.path), ERR_INVALID);
    char path[160];
    snprintf(path, sizeof path, "%s/none/copy.db", store.folder);
    assert_int_equal(records_backup(other, path), ERR_IO);
    snprintf(path, sizeof path, "%s/empty.db", store.folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(records_backup(other, path), ERR_INVALID);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_size, 0);
    records_close(other);

    /* The link works on, the copy stays as it is. */
    char more[160];
    snprintf(more, sizeof more, "%s/more.db", store.folder);
    store_must(&store, records_backup(store.link, more));
    people_compare(&people, &store);
    assert_int_equal(records_open(copy.path, false, &copy.link, NULL, 0), ERR_NONE);
    people_compare(&people, &copy);
    assert_int_equal(store_findings(&copy), 0);
    assert_int_equal(store_number(&copy, "SELECT count(*) FROM directory"), 1);
    assert_int_equal(store_number(&copy, "PRAGMA user_version"), sqlite_migrations_count);
    people_arrive(&people, &store, 10);
    people_compare(&people, &store);
    assert_int_equal(store_number(&copy, "SELECT count(*) FROM viewer"), 1000);
    records_close(copy.link);
    people_fini(&people);
    store_close(&store);
}

/* A copy that cannot be made leaves nothing behind. */
static void test_backup_fails(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    struct stat file;
    char path[160];
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 1000);
    /* Somebody writes: a copy does not wait for that, but one inside a transaction cannot be. */
    snprintf(path, sizeof path, "%s/copy.db", store.folder);
    store_sql(&store, "BEGIN IMMEDIATE");
    assert_int_equal(records_backup(store.link, path), ERR_DATABASE);
    store_sql(&store, "COMMIT");
    assert_int_equal(stat(path, &file), -1);
    store_must(&store, records_backup(store.link, path));
    people_fini(&people);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_keys),
    };
    const struct CMUnitTest files[] = {
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_backup_fails),
    };
    return tap_run(files) + store_suite(tests);
}
