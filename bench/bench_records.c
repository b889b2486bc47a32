/* bench_records.c -- what the record store costs: one event of many viewers, written, rewritten,
 * loaded, searched for one viewer, reported, and forgotten.
 *
 *     bench_records [--where STORE] [FOLDER [VIEWERS [ROWS_PER_COMMIT]]]
 *
 * Default: /tmp 1000000 100000.  STORE: a database that holds nothing yet, postgresql://…, which is
 * measured after an SQLite file in FOLDER, in the same run.
 * Seconds are of the process's CPU time, user and system, where nothing else is said; a database
 * server's own time is only in the seconds by the clock. */
#include "records/viewing_stats.h"
#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define START_MS   1700000000000
#define UUID_BYTES 36

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static double wall_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long resident_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void must(enum err err, struct records_link *link)
{
    if (err != ERR_NONE) {
        fprintf(stderr, "%s: %s\n", err_name(err), records_why(link));
        exit(1);
    }
}

/* Random ids as most platforms have them. */
static char *make_ids(uint32_t viewers)
{
    char *ids = memory_alloc((size_t)viewers * UUID_BYTES + 1);
    uint64_t seed = 1;
    for (uint32_t i = 0; i < viewers; i++) {
        uint64_t a = random_next(&seed), b = random_next(&seed);
        snprintf(ids + (size_t)i * UUID_BYTES, UUID_BYTES + 1, "%08x-%04x-%04x-%04x-%012llx",
                 (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xffff,
                 (unsigned)(b >> 48), (unsigned long long)b & 0xffffffffffff);
    }
    return ids;
}

/* Writes every viewer once, `batch` rows a commit; beat 0 inserts. */
static void sweep(struct records_link *link, const char *ids, uint32_t viewers, uint32_t batch,
                  uint32_t beat)
{
    struct member_row *members = memory_alloc(batch * sizeof *members);
    country_t country;
    ASSERT(country_pack(SLICE_LIT("HK"), &country));
    double start = cpu_seconds(), wall = wall_seconds();
    for (uint32_t first = 0; first < viewers; first += batch) {
        uint32_t count = viewers - first < batch ? viewers - first : batch;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t no = first + i;
            int64_t at_ms = START_MS + no + (int64_t)beat * 60000;
            members[i] = (struct member_row){
                .member_no = no,
                .viewer_no = no,
                .created = beat == 0,
                .viewer = slice_of(beat == 0 ? ids + (size_t)no * UUID_BYTES : NULL,
                                   beat == 0 ? UUID_BYTES : 0),
                .country = country,
                .profile_due_ms = START_MS + 600000,
                .start_ms = START_MS + no,
                .end_ms = at_ms,
                .expiry_ms = at_ms + 65000,
                .counted_frame_ms = at_ms / 300000 * 300000,
            };
        }
        struct change change = {
            .audience = {.event = SLICE_LIT("bench"),
                         .seq = 1 + first + (uint64_t)beat * viewers,
                         .as_of_ms = START_MS,
                         .members = beat == 0 ? first + count : viewers,
                         .attended = beat == 0 ? first + count : viewers,
                         .logins = beat == 0 ? first + count : viewers,
                         .total_ms = (int64_t)beat * 60000 * viewers,
                         .peak_ms = START_MS,
                         .frame_length_ms = 300000},
            .members_count = count,
        };
        struct changes changes = {.changes = &change,
                                  .changes_count = 1,
                                  .members = members,
                                  .members_count = count,
                                  .covered_seq = change.audience.seq};
        must(records_commit(link, &changes), link);
    }
    double seconds = cpu_seconds() - start;
    wall = wall_seconds() - wall;
    printf("%s %u members, %u a commit: %.2f s, %.2f million a CPU second; %.2f s by the clock, "
           "%.0f thousand a second\n",
           beat == 0 ? "insert" : "update", viewers, batch, seconds, viewers / seconds / 1e6, wall,
           viewers / wall / 1e3);
    free(members);
}

static enum err count_viewing(void *ctx, const struct viewing_of_viewer *viewing)
{
    *(uint32_t *)ctx += viewing->start_ms >= START_MS;
    return ERR_NONE;
}

static void find(const char *where, const char *ids, uint32_t viewers)
{
    struct records_link *link;
    must(records_open(where, false, &link, NULL, 0), NULL);
    double worst = 0;
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t found = 0, no = (uint32_t)((uint64_t)(viewers - 1) * (i + 1) / 10);
        double start = wall_seconds();
        must(records_viewings(link, SLICE_LIT("bench"),
                              slice_of(ids + (size_t)no * UUID_BYTES, UUID_BYTES), -1, 0,
                              count_viewing, &found),
             link);
        double seconds = wall_seconds() - start;
        ASSERT(found == 1);
        worst = seconds > worst ? seconds : worst;
    }
    printf("find one viewer: %.0f ms at worst\n", worst * 1e3);
    records_close(link);
}

static void load(const char *where, uint32_t viewers)
{
    struct records_link *link;
    struct event *event;
    const struct engine_config cfg = {
        .windows = {65000, 125000, 35000, 150000, 300000},
        .profile_ttl_ms = 600000,
        .event_idle_ms = 3600000,
        .events_max = 8,
        .sessions_max = 8,
        .viewers_max = VIEWERS_PER_EVENT_MAX,
        .backlog_max = 1000,
    };
    must(records_open(where, false, &link, NULL, 0), NULL);
    double cpu = cpu_seconds(), wall = wall_seconds();
    must(records_event_load(link, &cfg, SLICE_LIT("bench"), &event), link);
    printf("load %u members: %.2f s of CPU, %.2f s\n", viewers, cpu_seconds() - cpu,
           wall_seconds() - wall);
    event_free(event);
    records_close(link);
}

/* ---- reports ---- */

/* A profile for each viewer, in the order of a file that somebody exported: sorted by nothing. */
static void put_profiles(struct records_link *link, const char *ids, uint32_t viewers)
{
    const uint32_t batch = 10000;
    struct profile *profiles = memory_alloc(batch * sizeof *profiles);
    double start = wall_seconds();
    for (uint32_t first = 0; first < viewers; first += batch) {
        uint32_t count = viewers - first < batch ? viewers - first : batch;
        for (uint32_t i = 0; i < count; i++) {
            const char *id = ids + (size_t)(first + i) * UUID_BYTES;
            profiles[i] = (struct profile){SLICE_LIT("bench"), slice_of(id, UUID_BYTES),
                                           slice_of(id, 20), SLICE_LIT("\5press")};
        }
        must(records_profiles_put(link, profiles, count), link);
    }
    printf("put %u profiles, %u a transaction: %.2f s\n", viewers, batch, wall_seconds() - start);
    free(profiles);
}

/* Each viewer's two earlier viewings. */
static void put_viewings(struct records_link *link, uint32_t viewers)
{
    struct viewing_row *rows = memory_alloc((size_t)viewers * 2 * sizeof *rows);
    for (uint32_t i = 0; i < viewers * 2; i++) {
        int64_t at_ms = START_MS - 7200000 + (i % 2) * 3000000 + i % 600000;
        rows[i] = (struct viewing_row){i / 2, at_ms, at_ms + 1000 + (i * 7919LL) % 2400000};
    }
    struct change change = {.audience = {.event = SLICE_LIT("bench"),
                                         .seq = INT32_MAX,
                                         .as_of_ms = START_MS,
                                         .members = viewers,
                                         .attended = viewers,
                                         .logins = 3 * (uint64_t)viewers,
                                         .frame_length_ms = 300000},
                            .viewings_count = (size_t)viewers * 2};
    struct changes changes = {.changes = &change,
                              .changes_count = 1,
                              .viewings = rows,
                              .viewings_count = (size_t)viewers * 2};
    must(records_commit(link, &changes), link);
    free(rows);
}

/* A session that all of them are in, who came the other way round. */
static void put_session(struct records_link *link, uint32_t viewers)
{
    struct member_row *rows = memory_zalloc((size_t)viewers * sizeof *rows);
    for (uint32_t i = 0; i < viewers; i++) {
        rows[i] = (struct member_row){.member_no = i,
                                      .viewer_no = viewers - 1 - i,
                                      .created = true,
                                      .start_ms = START_MS + i,
                                      .end_ms = START_MS + i};
    }
    struct change change = {.audience = {.event = SLICE_LIT("bench"),
                                         .session = SLICE_LIT("session"),
                                         .seq = INT32_MAX,
                                         .as_of_ms = START_MS,
                                         .members = viewers,
                                         .attended = viewers,
                                         .logins = viewers},
                            .members_count = viewers};
    struct changes changes = {
        .changes = &change, .changes_count = 1, .members = rows, .members_count = viewers};
    must(records_commit(link, &changes), link);
    free(rows);
}

struct reading {
    uint32_t members;
    size_t bytes;
    struct viewing_stats_builder *stats;
    struct concurrent *concurrent;
};

static enum err read_member(void *ctx, const struct records_member *member)
{
    struct reading *reading = ctx;
    reading->members++;
    reading->bytes += member->viewer.len + member->name.len + member->groups.len;
    if (reading->stats != NULL) {
        viewing_stats_add(reading->stats, member);
        concurrent_add(reading->concurrent, member);
    }
    return ERR_NONE;
}

static void read_members(struct records_link *link, const char *session, uint32_t viewers,
                         uint32_t page, unsigned want, const char *what)
{
    struct records_members_query query = {
        .event = SLICE_LIT("bench"), .session = slice_str(session), .rows_max = page, .want = want};
    struct reading reading = {0};
    double cpu = cpu_seconds(), wall = wall_seconds();
    while (query.first != UINT32_MAX) {
        uint32_t next;
        must(records_members_each(link, &query, &next, read_member, &reading), link);
        query.first = next;
    }
    ASSERT(reading.members == viewers);
    cpu = cpu_seconds() - cpu;
    wall = wall_seconds() - wall;
    printf("report of %u members, %s, %u a page: %.2f s of CPU, %.2f s, %.2f million rows/s\n",
           viewers, what, page, cpu, wall, viewers / wall / 1e6);
}

static void statistics(struct records_link *link, uint32_t viewers)
{
    const struct records_members_query query = {.event = SLICE_LIT("bench")};
    struct reading reading = {
        .stats = viewing_stats_new(0, START_MS + 7200000),
        .concurrent = concurrent_new(START_MS - 7200000, START_MS, 60000, START_MS + 7200000)};
    uint32_t next, points;
    double wall = wall_seconds(), summing;
    must(records_members_each(link, &query, &next, read_member, &reading), link);
    summing = wall_seconds();
    struct viewing_stats stats;
    viewing_stats_finish(reading.stats, &stats);
    (void)concurrent_counts(reading.concurrent, &points);
    printf("viewing-stats and concurrent of %u members, %llu viewings: %.2f s, of which summing up "
           "%.2f s (median %lld s, %u minutes)\n",
           viewers, (unsigned long long)stats.viewings, wall_seconds() - wall,
           wall_seconds() - summing, (long long)stats.median_ms / 1000, stats.retention_count);
    viewing_stats_fini(&stats);
    concurrent_free(reading.concurrent);
}

static void report(const char *where, const char *ids, uint32_t viewers)
{
    struct records_link *link;
    must(records_open(where, false, &link, NULL, 0), NULL);
    put_profiles(link, ids, viewers);
    put_viewings(link, viewers);
    put_session(link, viewers);
    records_close(link);
    must(records_open(where, false, &link, NULL, 0), NULL);
    for (int i = 0; i < 2; i++) {
        read_members(link, "", viewers, 1000, MEMBERS_WANT_VIEWER, "with id");
        read_members(link, "", viewers, 1000, MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME,
                     "with id and name");
        read_members(link, "session", viewers, 1000, MEMBERS_WANT_VIEWER | MEMBERS_WANT_NAME,
                     "of a session, with id and name");
        statistics(link, viewers);
    }
    records_close(link);
}

/* ---- forgetting ---- */

static void erase(struct records_link *link, const char *ids, uint32_t viewers, uint32_t count)
{
    struct erasure_row *rows = memory_zalloc(count * sizeof *rows);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t no = (uint32_t)((uint64_t)(viewers - 1) * (i + 1) / (count + 1));
        rows[i] = (struct erasure_row){SLICE_LIT("bench"),
                                       slice_of(ids + (size_t)no * UUID_BYTES, UUID_BYTES), no};
    }
    struct changes changes;
    changes_init(&changes);
    for (uint32_t i = 0; i < count; i++) {
        *changes_add_erasure(&changes) = rows[i];
    }
    double wall = wall_seconds();
    must(records_commit(link, &changes), link);
    printf("erase %u viewers: %.0f ms\n", count, (wall_seconds() - wall) * 1e3);
    changes_fini(&changes);
    free(rows);
}

static void forget(const char *where, const char *ids, uint32_t viewers)
{
    struct records_link *link;
    must(records_open(where, false, &link, NULL, 0), NULL);
    erase(link, ids, viewers, 1);
    erase(link, ids, viewers, 100);
    struct changes changes;
    changes_init(&changes);
    *changes_add_purge(&changes) = (struct purge_row){SLICE_LIT("bench"), false};
    double wall = wall_seconds(), worst = 0;
    must(records_commit(link, &changes), link);
    printf("purge the event: %.2f s (its %u profiles go at once)\n", wall_seconds() - wall,
           viewers);
    changes_fini(&changes);
    const struct records_retention retention = {0};
    bool more = true;
    uint32_t steps = 0;
    for (double start = wall_seconds(); more; steps++) {
        double step = wall_seconds();
        must(records_retain(link, &retention, 10000, &more), link);
        step = wall_seconds() - step;
        worst = step > worst ? step : worst;
        wall = wall_seconds() - start;
    }
    printf("and its rows, in %u steps of 10000: %.2f s, one step %.0f ms at worst\n", steps, wall,
           worst * 1e3);
    records_close(link);
}

static void print_finding(void *ctx, const char *text)
{
    (void)ctx;
    printf("finding: %s\n", text);
}

static void check(const char *where)
{
    struct records_link *link;
    must(records_open(where, false, &link, NULL, 0), NULL);
    double cpu = cpu_seconds(), wall = wall_seconds();
    must(records_check(link, print_finding, NULL), link);
    printf("check: %.2f s of CPU, %.2f s\n", cpu_seconds() - cpu, wall_seconds() - wall);
    records_close(link);
}

static void print_size(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        fseek(file, 0, SEEK_END);
        printf("%s: %ld KiB\n", path, ftell(file) / 1024);
        fclose(file);
    }
}

/* path: the SQLite file; NULL: a database server. */
static bool measure(const char *where, const char *path, uint32_t viewers, uint32_t batch)
{
    char why[256];
    char *ids = make_ids(viewers);
    struct records_link *link;
    printf("---- %s\n", path == NULL ? "PostgreSQL" : "SQLite"); /* where may say a password */
    if (records_open(where, true, &link, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "%s\n", why);
        free(ids);
        return false;
    }
    long before_kib = resident_kib();
    sweep(link, ids, viewers, batch, 0);
    for (uint32_t beat = 1; beat <= 3; beat++) {
        sweep(link, ids, viewers, batch, beat);
    }
    if (path != NULL) { /* the process's peak: later stores would hide behind this one's */
        printf("the writing link took %ld KiB at most\n", resident_kib() - before_kib);
        char wal[4200];
        snprintf(wal, sizeof wal, "%s-wal", path);
        print_size(wal);
    }
    records_close(link);
    if (path != NULL) {
        print_size(path);
    }
    find(where, ids, viewers);
    load(where, viewers);
    check(where);
    report(where, ids, viewers);
    forget(where, ids, viewers);
    free(ids);
    return true;
}

int main(int argc, char **argv)
{
    const char *where = NULL;
    if (argc > 2 && strcmp(argv[1], "--where") == 0) {
        where = argv[2];
        argv += 2;
        argc -= 2;
    }
    const char *folder = argc > 1 ? argv[1] : "/tmp";
    uint32_t viewers = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
    uint32_t batch = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100000;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench_records_%d.db", folder, (int)getpid());
    setvbuf(stdout, NULL, _IOLBF, 0);
    memory_init();
    bool well = measure(path, path, viewers, batch);
    unlink(path);
    return well && (where == NULL || measure(where, NULL, viewers, batch)) ? 0 : 1;
}
