/* common.h -- a data folder, and a loop that plays the I/O thread: for the tests of live.
 *
 * Every wait has an end (WAIT_MS): what never comes is a failed test, not a hanging one. */
#ifndef NOVABEAT_TESTS_LIVE_COMMON_H
#define NOVABEAT_TESTS_LIVE_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw, locks of open file descriptions; so this header comes first */
#endif

#include "base/clock.h"
#include "core/country.h"
#include "core/groups.h"
#include "live/live.h"
#include "records/records.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 30000

/* ---- a folder ---- */

struct folder {
    char top[64];  /* made */
    char data[80]; /* in it; not made */
};

static inline void folder_make(struct folder *folder)
{
    strcpy(folder->top, "/tmp/novabeat-live-XXXXXX");
    assert_non_null(mkdtemp(folder->top));
    (void)snprintf(folder->data, sizeof folder->data, "%s/data", folder->top);
}

static inline int folder_remove_one(const char *path, const struct stat *stat, int type,
                                    struct FTW *walk)
{
    (void)stat, (void)type, (void)walk;
    return remove(path);
}

static inline void folder_remove(struct folder *folder)
{
    assert_int_equal(nftw(folder->top, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* One number from the record store, as everybody may read it. */
static inline int64_t folder_sql(const struct folder *folder, const char *sql)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/records.db", folder->data);
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, WAIT_MS);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    int step = sqlite3_step(stmt);
    int64_t value = step == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
    sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

/* Nobody else may write to the record store until it is unlocked. */
static inline sqlite3 *folder_lock_writes(const struct folder *folder)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/records.db", folder->data);
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, WAIT_MS);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static inline void folder_unlock_writes(sqlite3 *db)
{
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Nobody may begin to read from the record store: holds WAL_READ_LOCK(0 … 4) of the -shm file
 * (https://www.sqlite.org/walformat.html, 2.3.2).  Locks of the open file description, which
 * exclude also this process. */
static inline int folder_lock_reads(const struct folder *folder)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/records.db-shm", folder->data);
    int fd;
    while ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0) { /* the first link makes it */
        assert_int_equal(errno, ENOENT);
        (void)poll(NULL, 0, 2);
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 123, .l_len = 5};
    assert_int_equal(fcntl(fd, F_OFD_SETLKW, &lock), 0);
    return fd;
}

/* The descriptor stays open until the process ends: to close it would drop SQLite's locks. */
static inline void folder_unlock_reads(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 123, .l_len = 5};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
}

/* ---- the loop ---- */

struct loop {
    struct live *live;
    struct live_port *port;
    int wake_fd;
};

static inline struct live_options options_for(const struct folder *folder)
{
    return (struct live_options){
        .data = folder->data,
        .records = "sqlite",
        .engine = {.windows = {.alive_ms = 65000,
                               .hidden_ms = 125000,
                               .leaving_ms = 35000,
                               .gap_ms = 150000,
                               .frame_ms = 300000},
                   .profile_ttl_ms = 600000,
                   .event_idle_ms = 600000,
                   .events_max = 1000,
                   .sessions_max = 1000,
                   .viewers_max = 1000000,
                   .backlog_max = 100000},
        .durability = LIVE_OS,
        .journal_segment_bytes = 1 << 20,
        .journal_max_bytes = 1 << 30,
        .records_flush_ms = 20,
        .records_interval_ms = 60,
        .profile_timeout_ms = 5000,
        .ports = 1,
        .requests_max = 64,
    };
}

static inline void loop_wake(void *ctx)
{
    uint64_t one = 1;
    ssize_t written = write(((struct loop *)ctx)->wake_fd, &one, sizeof one);
    (void)written;
}

static inline void loop_attach(struct loop *loop, struct live *live, uint32_t port)
{
    loop->live = live;
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(loop->wake_fd >= 0);
    loop->port = live_port_open(live, port, loop_wake, loop);
}

static inline void loop_start(struct loop *loop, const struct live_options *options)
{
    char why[512] = "";
    struct live *live = NULL;
    if (live_start(options, &live, why, sizeof why) != ERR_NONE) {
        fail_msg("live_start: %s", why);
    }
    loop_attach(loop, live, 0);
}

static inline void loop_stop(struct loop *loop)
{
    assert_int_equal(live_stop(loop->live), ERR_NONE);
    close(loop->wake_fd);
}

static inline void loop_turn(struct loop *loop, int timeout_ms)
{
    struct pollfd wake = {.fd = loop->wake_fd, .events = POLLIN};
    if (poll(&wake, 1, timeout_ms) == 1) {
        uint64_t count;
        ssize_t bytes = read(loop->wake_fd, &count, sizeof count);
        (void)bytes;
        live_port_drain(loop->port);
    }
}

/* Only what wakes the loop is drained: a wake-up that is missing shows. */
static inline bool loop_until(struct loop *loop, const bool *flag, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    while (!*flag && clock_mono_ms() < until_ms) {
        loop_turn(loop, (int)(until_ms - clock_mono_ms()));
    }
    return *flag;
}

static inline struct live_counters loop_counters(struct loop *loop)
{
    struct live_counters counters;
    live_counters(loop->live, &counters);
    return counters;
}

static inline void nap_ms(int64_t ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* For what other threads do in their own time. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until_ms_ = clock_mono_ms() + WAIT_MS;                                             \
        while (!(condition)) {                                                                     \
            if (clock_mono_ms() > until_ms_) {                                                     \
                fail_msg("never came: %s", #condition);                                            \
            }                                                                                      \
            nap_ms(2);                                                                             \
        }                                                                                          \
    } while (0)

/* Every record is covered: rows and figures of the store are complete. */
static inline bool loop_all_stored(struct loop *loop)
{
    struct live_counters counters = loop_counters(loop);
    return counters.journal_seq > 0 && counters.covered_seq >= counters.journal_seq;
}

/* ---- heartbeats ---- */

struct call {
    struct live_heartbeats heartbeats; /* first */
    struct live_beat beat;
    bool done;
};

static inline void call_done(struct live_request *request)
{
    ((struct call *)(void *)request)->done = true;
}

static inline struct slice pack(const char *names, char out[GROUPS_PACKED_BYTES_MAX])
{
    struct slice ids[GROUPS_PER_VIEWER_MAX];
    size_t count = 0, len;
    for (const char *at = names; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        ids[count++] = slice_of(at, bytes);
        at += bytes + (at[bytes] == ',');
    }
    assert_int_equal(groups_pack(ids, count, out, &len), GROUPS_OK);
    return slice_of(out, len);
}

static inline struct heartbeat heartbeat_of(const char *event, const char *session,
                                            const char *viewer)
{
    return (struct heartbeat){
        .event = slice_str(event), .session = slice_str(session), .viewer = slice_str(viewer)};
}

static inline void call_begin(struct loop *loop, struct call *call, struct heartbeat heartbeat)
{
    *call = (struct call){
        .heartbeats = {.request = {.kind = LIVE_HEARTBEATS, .done = call_done}, .count = 1},
        .beat = {.heartbeat = heartbeat}};
    call->heartbeats.beats = &call->beat;
    assert_true(live_submit(loop->port, &call->heartbeats.request));
    live_port_flush(loop->port);
}

static inline enum live_status call_end(struct loop *loop, struct call *call)
{
    if (!loop_until(loop, &call->done, WAIT_MS)) {
        fail_msg("a heartbeat of %.*s never came back", SLICE_ARG(call->beat.heartbeat.viewer));
    }
    return call->beat.status;
}

static inline enum live_status beat_as(struct loop *loop, struct heartbeat heartbeat)
{
    struct call call;
    call_begin(loop, &call, heartbeat);
    return call_end(loop, &call);
}

static inline enum live_status beat(struct loop *loop, const char *event, const char *session,
                                    const char *viewer)
{
    return beat_as(loop, heartbeat_of(event, session, viewer));
}

static inline enum live_status beat_in(struct loop *loop, const char *event, const char *viewer,
                                       const char *groups)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct heartbeat heartbeat = heartbeat_of(event, NULL, viewer);
    heartbeat.flags = HEARTBEAT_GROUPS;
    heartbeat.groups = pack(groups, packed);
    return beat_as(loop, heartbeat);
}

/* Many in one request. */
struct batch {
    struct live_heartbeats heartbeats; /* first */
    bool done;
};

static inline void batch_done(struct live_request *request)
{
    ((struct batch *)(void *)request)->done = true;
}

static inline void batch_begin(struct loop *loop, struct batch *batch, struct live_beat *beats,
                               uint32_t count)
{
    *batch = (struct batch){.heartbeats = {.request = {.kind = LIVE_HEARTBEATS, .done = batch_done},
                                           .beats = beats,
                                           .count = count}};
    assert_true(live_submit(loop->port, &batch->heartbeats.request));
    live_port_flush(loop->port);
}

/* ---- questions ---- */

struct question {
    struct live_query query; /* first */
    bool done;
};

static inline void question_done(struct live_request *request)
{
    ((struct question *)(void *)request)->done = true;
}

static inline void question_init(struct question *question, enum live_query_kind kind,
                                 const char *event)
{
    *question = (struct question){.query = {.kind = kind,
                                            .request = {.kind = LIVE_QUERY, .done = question_done},
                                            .event = slice_str(event),
                                            .to_ms = INT64_MAX}};
}

static inline void question_begin(struct loop *loop, struct question *question)
{
    assert_true(live_submit(loop->port, &question->query.request));
    live_port_flush(loop->port);
}

static inline enum live_status ask(struct loop *loop, struct question *question)
{
    question_begin(loop, question);
    if (!loop_until(loop, &question->done, WAIT_MS)) {
        fail_msg("question %d was never answered", (int)question->query.kind);
    }
    return question->query.status;
}

static inline struct figures figures_of(struct loop *loop, const char *event, const char *session)
{
    struct question question;
    question_init(&question, LIVE_FIGURES, event);
    question.query.session = slice_str(session);
    assert_int_equal(ask(loop, &question), LIVE_OK);
    assert_int_equal(question.query.rows, 1);
    struct figures figures = question.query.figures[0];
    assert_true(slice_equal(figures.session, slice_str(session)));
    figures.session = SLICE_EMPTY;
    live_query_fini(&question.query);
    return figures;
}

/* Alive now in a group (is_group) or a country. */
static inline uint32_t alive_in(struct loop *loop, const char *event, bool is_group,
                                const char *key)
{
    struct question question;
    uint32_t count = 0;
    question_init(&question, LIVE_COUNTS, event);
    assert_int_equal(ask(loop, &question), LIVE_OK);
    for (uint32_t i = 0; i < question.query.rows; i++) {
        const struct live_count *row = &question.query.counts[i];
        if (row->is_group == is_group && slice_equal(row->key, slice_str(key))) {
            count = row->count;
        }
    }
    live_query_fini(&question.query);
    return count;
}

static inline enum live_status put_profile(struct loop *loop, const char *event, const char *viewer,
                                           const char *name, const char *groups)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    struct question question;
    question_init(&question, LIVE_PROFILE_PUT, event);
    question.query.viewer = slice_str(viewer);
    question.query.name = slice_str(name);
    question.query.groups = pack(groups, packed);
    enum live_status status = ask(loop, &question);
    live_query_fini(&question.query);
    return status;
}

/* ---- the fixture ---- */

/* Each test has one of its own. */
static struct folder folder;

static inline int set_up(void **state)
{
    (void)state;
    folder_make(&folder);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    folder_remove(&folder);
    return 0;
}

#endif
