/* test_postgres.c -- what PostgreSQL has that a file does not: connections that are lost, answers
 * that never come, servers that are killed or stand still, and others that migrate meanwhile.  (The
 * common suite: test_sqlite.c and its neighbours.) */
#include "people.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct postgres_conn *conn_of(const struct store *store)
{
    return &postgres_link_of(store->link)->conn;
}

static void pause_ms(int ms)
{
    usleep((useconds_t)ms * 1000);
}

/* ---- opening ---- */

static void expect_refused(const char *where, bool create, enum err err, const char *words)
{
    struct records_link *link = (struct records_link *)1;
    char why[512];
    assert_int_equal(records_open(where, create, &link, why, sizeof why), err);
    assert_null(link);
    if (strstr(why, words) == NULL || strstr(why, "s3cret") != NULL) {
        fail_msg("\"%s\" of \"%s\" does not say \"%s\"", why, where, words);
    }
}

static void test_open(void **state)
{
    (void)state;
    struct store store;
    struct records_link *link;
    char where[256];
    store_open(&store);
    assert_int_equal(store_number(&store, "SELECT value FROM meta WHERE name = 'schema_version'"),
                     postgres_migrations_count);
    assert_int_equal(store_findings(&store), 0);
    assert_int_equal(records_open(store.path, false, &link, NULL, 0), ERR_NONE);
    assert_int_equal(records_backup(link, "/tmp/x"), ERR_INVALID);
    assert_non_null(strstr(records_why(link), "pg_dump"));
    records_close(link);
    snprintf(where, sizeof where, "postgres%s", store.path + strlen("postgresql"));
    assert_int_equal(records_open(where, false, &link, NULL, 0), ERR_NONE);
    records_close(link);

    snprintf(where, sizeof where, "postgresql://tester:s3cret@/none?host=%s", store_server.folder);
    expect_refused(where, true, ERR_DATABASE, "\"none\" does not exist");
    snprintf(where, sizeof where, "postgresql://s3cret:s3cret@/none?host=%s", store_server.folder);
    expect_refused(where, true, ERR_DATABASE, "role \"*\" does not exist");
    expect_refused("postgresql://tester:s3cret@/db?host=/nowhere", true, ERR_DATABASE,
                   "No such file");
    expect_refused("postgresql://tester:s3cret@127.0.0.1:1/db", true, ERR_DATABASE, "refused");
    expect_refused("postgresql://tester:s3cret@127.0.0.1:port:1/db", true, ERR_DATABASE, "port:1");
    expect_refused("postgresql://tester:s3cret@[::1/db", true, ERR_INVALID, "connection URI");
    expect_refused("postgresql://h/db?password=s3cret&nothing=1", true, ERR_INVALID,
                   "connection URI");
    expect_refused("postgresql://h/db?nothing=1", true, ERR_INVALID, "nothing");

    postgres_database(&store_server, where, sizeof where);
    expect_refused(where, false, ERR_NOT_FOUND, "no schema");
    store_sql(&store, "UPDATE meta SET value = 99 WHERE name = 'schema_version'");
    expect_refused(store.path, true, ERR_VERSION, "version 99");
    store_sql(&store, "DELETE FROM meta WHERE name = 'schema_version'");
    expect_refused(store.path, true, ERR_VERSION, "another program");
    store_sql(&store, "DROP TABLE meta");
    expect_refused(store.path, true, ERR_VERSION, "another program");
    store_close(&store);

    PGconn *db = postgres_try(&store_server, "postgres");
    postgres_must(db, "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII'");
    PQfinish(db);
    postgres_uri(&store_server, "ascii", where, sizeof where);
    expect_refused(where, true, ERR_DATABASE, "UTF8");
}

static void test_label(void **state)
{
    (void)state;
    static const char *const labels[][2] = {
        {"sqlite:/a:b@c/records.db", "sqlite:/a:b@c/records.db"},
        {"postgresql://u:p@h:1/d", "postgresql://u@h:1/d"},
        {"postgres://u:p@q@h/d?password=x", "postgresql://u@h/d"},
        {"postgresql://u@h/d", "postgresql://u@h/d"},
        {"postgresql://h/d@e:f", "postgresql://h/d@e:f"},
        {"postgresql://:p@h", "postgresql://@h"},
        {"postgresql:///d?host=/tmp&password=x", "postgresql:///d"},
        {"postgresql://h?password=x", "postgresql://h"},
    };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        char label[64];
        records_label(labels[i][0], label, sizeof label);
        assert_string_equal(label, labels[i][1]);
    }
}

/* ---- migrating ---- */

#define MIGRATORS 6

static void *migrate(void *ctx)
{
    struct records_link *link;
    char why[512] = "";
    enum err err = records_open(ctx, true, &link, why, sizeof why);
    if (err != ERR_NONE) {
        printf("# %s\n", why);
        return ctx;
    }
    records_close(link);
    return NULL;
}

static void test_migrate_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        char uri[256];
        pthread_t threads[MIGRATORS];
        struct store store = {.folder = ""};
        postgres_database(&store_server, uri, sizeof uri);
        for (int i = 0; i < MIGRATORS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, migrate, uri), 0);
        }
        for (int i = 0; i < MIGRATORS; i++) {
            void *failed;
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        assert_int_equal(records_open(uri, false, &store.link, NULL, 0), ERR_NONE);
        assert_int_equal(store_findings(&store), 0);
        records_close(store.link);
    }
}

/* A later version comes by a migration; one that fails leaves the version before. */
static void test_migrations(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    struct postgres_link *link = postgres_link_of(store.link);
    const struct postgres_migration more[] = {
        postgres_migrations[0],
        {"002_more.sql", "CREATE TABLE novabeat.more (x integer)"},
        {"003_wrong.sql", "CREATE TABLE novabeat.even_more (x integer); SELECT 1 / 0"},
    };
    assert_int_equal(postgres_migrate(link, more, 2, false), ERR_VERSION);
    assert_int_equal(postgres_migrate(link, more, 3, true), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "003_wrong.sql"));
    assert_int_equal(store_number(&store, "SELECT value FROM meta WHERE name = 'schema_version'"),
                     1); /* all in one transaction */
    assert_int_equal(postgres_migrate(link, more, 2, true), ERR_NONE);
    assert_int_equal(postgres_migrate(link, more, 2, false), ERR_NONE);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM more"), 0);
    assert_int_equal(postgres_migrate(link, more, 1, true), ERR_VERSION);
    store_close(&store);
}

/* ---- a server that goes ---- */

static void test_restart(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGKILL, SIGQUIT};
    uint64_t seed = tap_seed(), covered;
    struct store store;
    struct people people;
    struct changes changes = {.covered_seq = 1};
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 100);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        postgres_stop(&store_server, signals[i]);
        pause_ms(signals[i] == SIGKILL ? 500 : 0); /* its children notice */
        assert_int_equal(records_covered(store.link, &covered), ERR_DATABASE);
        assert_int_equal(records_commit(store.link, &changes), ERR_DATABASE);
        assert_true(strlen(records_why(store.link)) > 0);
        assert_true(postgres_start(&store_server));
        pause_ms(POSTGRES_RETRY_MS);
        store_must(&store, records_covered(store.link, &covered));
        assert_int_equal(covered, people_seq);
        people_arrive(&people, &store, 50);
        people_compare(&people, &store);
        assert_int_equal(store_findings(&store), 0);
    }
    /* It was away and is back, and nobody has noticed. */
    postgres_stop(&store_server, SIGINT);
    assert_true(postgres_start(&store_server));
    people_arrive(&people, &store, 50);
    people_compare(&people, &store);
    people_fini(&people);
    store_close(&store);
}

/* ---- connections that are cut while something is committed ---- */

struct cutter {
    const char *path;
    _Atomic bool stop;
    pthread_t thread;
    int cuts;
};

static void *cut_on(void *ctx)
{
    struct cutter *cutter = ctx;
    uint64_t seed = 7;
    PGconn *db = PQconnectdb(cutter->path);
    assert_int_equal(PQstatus(db), CONNECTION_OK);
    while (!atomic_load(&cutter->stop)) {
        PGresult *result = PQexec(db, "SELECT count(pg_terminate_backend(pid)) FROM "
                                      "pg_stat_activity WHERE application_name = 'novabeat'");
        cutter->cuts += PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) : 0;
        PQclear(result);
        usleep((useconds_t)(tap_random(&seed) % 30000));
    }
    PQfinish(db);
    return NULL;
}

/* The same commit again and again until it is stored, as the server does it; the answer is compared
 * inside. */
static void erase_until_stored(struct people *people, struct store *store, uint32_t viewer)
{
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    people_uncount(people, viewer);
    *changes_add_erasure(&changes) =
        (struct erasure_row){slice_str(people->event), slice_str(people->ids[viewer]), viewer};
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people_audience_row(people, &people->audiences[i], &changes_add(&changes)->audience);
    }
    while (records_commit(store->link, &changes) != ERR_NONE) {
        people->fails++;
        assert_int_equal(changes.erased_count, 0);
        assert_true(people->fails < 100000);
        pause_ms(1);
    }
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        struct erased_row want = people_earlier(people, i, &viewer, 1);
        for (size_t j = 0; j < changes.erased_count; j++) {
            const struct erased_row *is = &changes.erased[j];
            if (slice_equal(is->session, slice_str(people->audiences[i].session))) {
                assert_int_equal(is->viewings, want.viewings);
                assert_int_equal(is->total_ms, want.total_ms);
                people->audiences[i].logins -= is->viewings;
                people->audiences[i].total_ms -= is->total_ms;
                want.viewings = 0;
            }
        }
        assert_int_equal(want.viewings, 0);
    }
    changes_fini(&changes);
}

static void test_cut_connections(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store;
    struct people people;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 1000);
    struct cutter cutter = {.path = store.path};
    char path[256];
    snprintf(path, sizeof path, "%s&application_name=cutter", store.path);
    cutter.path = path;
    assert_int_equal(pthread_create(&cutter.thread, NULL, cut_on, &cutter), 0);
    for (uint32_t viewer = 0; viewer < 300; viewer++) {
        erase_until_stored(&people, &store, viewer);
    }
    atomic_store(&cutter.stop, true);
    pthread_join(cutter.thread, NULL);
    printf("# %d connections cut, %d commits failed\n", cutter.cuts, people.fails);
    assert_true(people.fails > 10);
    people_compare(&people, &store);
    assert_int_equal(store_findings(&store), 0);
    people_fini(&people);
    store_close(&store);
}

/* ---- answers that are lost ---- */

/* Stands between a link and the server, and cuts both off when the answer to a COMMIT comes by. */
struct proxy {
    char folder[64];
    int listener;
    pthread_t thread;
    _Atomic bool stop, cut_at_commit;
    _Atomic int cuts;
};

static int unix_socket(const char *folder, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", folder);
    int code = listens ? bind(fd, (struct sockaddr *)&address, sizeof address)
                       : connect(fd, (struct sockaddr *)&address, sizeof address);
    assert_int_equal(code, 0);
    assert_int_equal(listens ? listen(fd, 8) : 0, 0);
    return fd;
}

/* False: this side is closed, or everything is to be cut. */
static bool pass_on(struct proxy *proxy, int from, int to, bool answers)
{
    static const char committed[] = "C\0\0\0\013COMMIT"; /* CommandComplete */
    char bytes[65536];
    ssize_t count = read(from, bytes, sizeof bytes);
    if (count <= 0) {
        return false;
    }
    for (ssize_t i = 0; answers && i + (ssize_t)sizeof committed <= count; i++) {
        if (memcmp(bytes + i, committed, sizeof committed) == 0 &&
            atomic_exchange(&proxy->cut_at_commit, false)) {
            atomic_fetch_add(&proxy->cuts, 1);
            return false;
        }
    }
    for (ssize_t sent = 0, some; sent < count; sent += some) {
        some = send(to, bytes + sent, (size_t)(count - sent), MSG_NOSIGNAL);
        if (some <= 0) {
            return false;
        }
    }
    return true;
}

static void *proxy_run(void *ctx)
{
    struct proxy *proxy = ctx;
    while (!atomic_load(&proxy->stop)) {
        struct pollfd waiting = {.fd = proxy->listener, .events = POLLIN};
        if (poll(&waiting, 1, 50) <= 0) {
            continue;
        }
        int client = accept(proxy->listener, NULL, NULL);
        int server = unix_socket(store_server.folder, false);
        struct pollfd both[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        for (bool open = true; open && !atomic_load(&proxy->stop);) {
            if (poll(both, 2, 50) <= 0) {
                continue;
            }
            open = (both[0].revents == 0 || pass_on(proxy, client, server, false)) &&
                   (both[1].revents == 0 || pass_on(proxy, server, client, true));
        }
        close(client);
        close(server);
    }
    return NULL;
}

static void proxy_start(struct proxy *proxy)
{
    *proxy = (struct proxy){.folder = "/tmp/novabeat_proxy_XXXXXX"};
    assert_non_null(mkdtemp(proxy->folder));
    proxy->listener = unix_socket(proxy->folder, true);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
}

static void proxy_stop(struct proxy *proxy)
{
    char path[128];
    atomic_store(&proxy->stop, true);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    snprintf(path, sizeof path, "%s/.s.PGSQL.5432", proxy->folder);
    unlink(path);
    assert_int_equal(rmdir(proxy->folder), 0);
}

/* The store over the proxy; the database keeps its name. */
static void through_proxy(struct store *store, const struct proxy *proxy)
{
    char uri[256];
    snprintf(uri, sizeof uri, "postgresql://tester@/t%d?host=%s", store_server.databases,
             proxy->folder);
    records_close(store->link);
    assert_int_equal(records_open(uri, false, &store->link, NULL, 0), ERR_NONE);
}

static void test_lost_answer(void **state)
{
    (void)state;
    uint64_t seed = tap_seed();
    struct store store, direct;
    struct people people;
    struct proxy proxy;
    store_open(&store);
    people_init(&people, "E", &seed);
    people_arrive(&people, &store, 200);
    proxy_start(&proxy);
    through_proxy(&store, &proxy);
    direct = store;
    direct.link = store_link(&store);
    for (uint32_t viewer = 0; viewer < 20; viewer += 2) {
        const int fails = people.fails, cuts = atomic_load(&proxy.cuts);
        uint32_t viewers[] = {viewer, viewer + 1};
        people.may_fail = true;
        people.fails = 0;
        atomic_store(&proxy.cut_at_commit, true);
        people_erase(&people, &store, viewers, 2); /* and compares the answer */
        assert_int_equal(people.fails, 1);
        assert_int_equal(atomic_load(&proxy.cuts), cuts + 1);
        people.fails += fails;
        people_compare(&people, &store);
        assert_int_equal(store_findings(&direct), 0);
    }
    assert_true(store_number(&direct, "SELECT count(*) FROM erased") > 0);
    store_sql(&direct, "UPDATE erased SET at = now() - interval '25 hours'");
    uint32_t last = 30;
    people_erase(&people, &store, &last, 1);
    assert_true(store_number(&direct, "SELECT count(*) FROM erased") <= PEOPLE_AUDIENCES);

    /* A purge that is made twice: the figures stay what they were. */
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    *changes_add_purge(&changes) = (struct purge_row){SLICE_LIT("E"), true};
    atomic_store(&proxy.cut_at_commit, true);
    assert_int_equal(records_commit(store.link, &changes), ERR_DATABASE);
    store_must(&store, records_commit(store.link, &changes));
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people.audiences[i].members_count = 0;
    }
    people_compare(&people, &store);
    assert_int_equal(store_findings(&direct), 0);
    changes_fini(&changes);
    records_close(direct.link);
    proxy_stop(&proxy);
    people_fini(&people);
    store_close(&store);
}

/* ---- servers that stand still ---- */

/* One viewer's row, all times of which are `mark`. */
static enum err commit_mark(struct store *store, int64_t mark)
{
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = (uint64_t)mark;
    changes_add(&changes)->audience = (struct audience_row){
        .event = SLICE_LIT("E"), .seq = (uint64_t)mark, .members = 1, .attended = 1, .logins = 1};
    *changes_add_member(&changes) = (struct member_row){.created = true,
                                                        .viewer = SLICE_LIT("ada"),
                                                        .start_ms = mark,
                                                        .end_ms = mark,
                                                        .expiry_ms = mark};
    enum err err = records_commit(store->link, &changes);
    changes_fini(&changes);
    return err;
}

/* The rows as somebody else sees them: times and position. */
static void expect_mark(const struct store *store, int64_t mark)
{
    struct store reader = *store;
    reader.link = store_link(store);
    assert_int_equal(store_number(&reader, "SELECT end_ms FROM attendance"), mark);
    assert_int_equal(store_number(&reader, "SELECT value FROM meta WHERE name = 'covered_seq'"),
                     mark);
    records_close(reader.link);
}

/* A connection stands still with a commit in its hands, is given up, and comes back to life when
 * newer rows are there: its commit must fail. */
static void test_late_commit(void **state)
{
    (void)state;
    struct store store;
    store_open(&store);
    assert_int_equal(commit_mark(&store, 1), ERR_NONE);
    for (int64_t mark = 10; mark < 40; mark += 10) {
        pid_t backend = PQbackendPID(conn_of(&store)->db);
        conn_of(&store)->answer_ms = 300;
        assert_int_equal(kill(backend, SIGSTOP), 0);
        const int64_t before_ms = (int64_t)time(NULL);
        assert_int_equal(commit_mark(&store, mark), ERR_DATABASE);
        assert_non_null(strstr(records_why(store.link), "did not answer in time"));
        assert_true(time(NULL) - before_ms <= 3);
        conn_of(&store)->answer_ms = POSTGRES_ANSWER_MS;
        store_must(&store, commit_mark(&store, mark));
        store_must(&store, commit_mark(&store, mark + 1));
        expect_mark(&store, mark + 1);
        assert_int_equal(kill(backend, SIGCONT), 0);
        for (int i = 0; i < 100 && kill(backend, 0) == 0; i++) {
            pause_ms(50);
        }
        assert_int_equal(kill(backend, 0), -1); /* it has tried, and is gone */
        expect_mark(&store, mark + 1);
    }
    store_close(&store);
}

/* Another process commits meanwhile: both go on, each with its own name. */
static void test_two_writers(void **state)
{
    (void)state;
    struct store store, other;
    store_open(&store);
    other = store;
    other.link = store_link(&store);
    assert_int_equal(commit_mark(&store, 1), ERR_NONE);
    store_must(&other, commit_mark(&other, 2)); /* takes all names away */
    store_must(&store, commit_mark(&store, 3));
    store_must(&other, commit_mark(&other, 4));
    expect_mark(&store, 4);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM writer"), 2);

    /* What one purges the other finds anew, under another number. */
    struct changes changes;
    changes_init(&changes);
    *changes_add_purge(&changes) = (struct purge_row){SLICE_LIT("E"), false};
    store_must(&other, records_commit(other.link, &changes));
    changes_fini(&changes);
    store_must(&store, commit_mark(&store, 5));
    assert_int_equal(store_number(&store, "SELECT count(*) FROM event WHERE name = 'E'"), 1);
    assert_int_equal(store_number(&store, "SELECT count(*) FROM attendances"), 1);
    assert_int_equal(store_number(&store, "SELECT max(end_ms) FROM attendance"), 5);
    assert_int_equal(store_findings(&store), 0);
    records_close(other.link);
    store_close(&store);
}

static void test_standing_still(void **state)
{
    (void)state;
    struct store store;
    char uri[256];
    uint64_t covered;
    store_open(&store);
    snprintf(uri, sizeof uri, "%s&connect_timeout=2", store.path);
    records_close(store.link);
    assert_int_equal(records_open(uri, false, &store.link, NULL, 0), ERR_NONE);
    assert_int_equal(commit_mark(&store, 1), ERR_NONE);
    conn_of(&store)->answer_ms = 500;
    pid_t backend = PQbackendPID(conn_of(&store)->db);
    assert_int_equal(kill(store_server.pid, SIGSTOP), 0);
    assert_int_equal(kill(backend, SIGSTOP), 0);
    const time_t before = time(NULL);
    assert_int_equal(records_covered(store.link, &covered), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "in time"));
    assert_int_equal(commit_mark(&store, 2), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "timeout"));
    assert_int_equal(records_covered(store.link, &covered), ERR_DATABASE); /* at once */
    assert_true(time(NULL) - before <= 6);
    assert_int_equal(kill(store_server.pid, SIGCONT), 0);
    assert_int_equal(kill(backend, SIGCONT), 0);
    conn_of(&store)->answer_ms = POSTGRES_ANSWER_MS;
    pause_ms(POSTGRES_RETRY_MS);
    store_must(&store, commit_mark(&store, 2));
    expect_mark(&store, 2);
    store_close(&store);
}

/* A statement that takes too long is ended by the server, and its transaction with it. */
static void test_statement_timeout(void **state)
{
    (void)state;
    struct store store, other;
    store_open(&store);
    assert_int_equal(commit_mark(&store, 1), ERR_NONE);
    other = store;
    other.link = store_link(&store);
    store_sql(&store, "SET lock_timeout = 200");
    store_sql(&other, "BEGIN; UPDATE attendance SET end_ms = 5");
    assert_int_equal(commit_mark(&store, 2), ERR_BUSY);
    store_sql(&store, "SET lock_timeout = 0; SET statement_timeout = 200");
    assert_int_equal(commit_mark(&store, 2), ERR_DATABASE);
    assert_non_null(strstr(records_why(store.link), "statement timeout"));
    store_sql(&other, "ROLLBACK");
    expect_mark(&store, 1);
    store_must(&store, commit_mark(&store, 2));
    expect_mark(&store, 2);
    records_close(other.link);
    store_close(&store);
}

static void test_durability(void **state)
{
    (void)state;
    struct store store;
    char uri[256];
    store_open(&store);
    records_close(store.link);
    snprintf(uri, sizeof uri, "%s&options=-csynchronous_commit%%3Doff", store.path);
    assert_int_equal(records_open(uri, false, &store.link, NULL, 0), ERR_NONE);
    assert_int_equal(store_number(&store, "SELECT 1 WHERE "
                                          "current_setting('synchronous_commit') = 'on'"),
                     1);
    records_close(store.link);
    snprintf(uri, sizeof uri, "%s&options=-csynchronous_commit%%3Dremote_apply", store.path);
    assert_int_equal(records_open(uri, false, &store.link, NULL, 0), ERR_NONE);
    assert_int_equal(store_number(&store, "SELECT 1 WHERE "
                                          "current_setting('synchronous_commit') = "
                                          "'remote_apply'"),
                     1);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_migrate_at_once),
        cmocka_unit_test(test_migrations),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_cut_connections),
        cmocka_unit_test(test_lost_answer),
        cmocka_unit_test(test_late_commit),
        cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_standing_still),
        cmocka_unit_test(test_statement_timeout),
        cmocka_unit_test(test_durability),
    };
    return store_with_postgres() ? tap_run(tests) + store_end() : 0;
}
