/* postgres_erase.c -- viewers and events to be forgotten, inside the transaction of a commit.
 *
 * The same as in SQLite (sqlite_erase.c): an erased viewer's rows become empty, a purged event
 * loses its name.  Two things are different.  The answer to the commit may be lost on its way, and
 * the commit made again: what it took away is kept in the table `erased` for a day, under the
 * numbers of the emptied rows.  (A number is erased once: whoever comes back gets a new one.)  And
 * deleted rows are in PostgreSQL's pages until they are vacuumed: that is done at once for the
 * tables that hold ids. */
#include "records/postgres.h"

#include "base/log.h"

/* ---- viewers ---- */

struct erasing {
    struct postgres_link *link;
    struct changes *changes;
    struct slice event;
    int64_t event_id;
    const struct erasure_row *rows; /* all of this event */
    size_t count;
    struct postgres_array keys, numbers, viewers;
};

/* The id goes only where it is this viewer's: a wrong number must not cost somebody else. */
static enum err forget_ids(struct erasing *erasing)
{
    struct postgres_link *link = erasing->link;
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_array(&args, &erasing->keys);
    enum err err = postgres_run(link, PG_VIEWERS_AT, &args, &result);
    for (size_t i = 0; i < erasing->count && err == ERR_NONE; i++) {
        if (!PQgetisnull(result, (int)i, 0) &&
            !slice_equal(postgres_text(result, (int)i, 0), erasing->rows[i].viewer)) {
            err = records_fail(&link->link, ERR_DAMAGED,
                               "event %.*s: viewer number %u is not the one to be erased",
                               SLICE_ARG(erasing->event), erasing->rows[i].viewer_no);
        }
    }
    PQclear(result);
    return err != ERR_NONE ? err : postgres_run(link, PG_ERASE_VIEWERS, &args, NULL);
}

static enum err forget_profiles(struct erasing *erasing)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, erasing->event);
    postgres_arg_array(&args, &erasing->viewers);
    return postgres_run(erasing->link, PG_ERASE_PROFILES, &args, NULL);
}

/* One scan of each session's members serves all of them. */
static enum err empty_rows(struct erasing *erasing)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, erasing->event_id);
    postgres_arg_array(&args, &erasing->numbers);
    enum err err = postgres_run(erasing->link, PG_ERASE_MEMBERS, &args, &result);
    for (int i = 0; err == ERR_NONE && i < PQntuples(result); i++) {
        const struct erased_row erased = {
            .event = changes_copy(erasing->changes, erasing->event),
            .session = changes_copy(erasing->changes, postgres_text(result, i, 0)),
            .viewings = (uint64_t)postgres_i64(result, i, 1),
            .total_ms = postgres_i64(result, i, 2),
        };
        *changes_add_erased(erasing->changes) = erased;
    }
    PQclear(result);
    return err;
}

static enum err erase_of_event(struct erasing *erasing)
{
    enum err err = postgres_event_id(erasing->link, erasing->event, &erasing->event_id);
    const bool stored = err == ERR_NONE;
    err = err == ERR_NOT_FOUND ? ERR_NONE : err; /* then there is at most a profile */
    for (size_t i = 0; i < erasing->count && err == ERR_NONE; i++) {
        const struct erasure_row *row = &erasing->rows[i];
        postgres_array_i64(&erasing->keys, postgres_key(erasing->event_id, row->viewer_no));
        postgres_array_i64(&erasing->numbers, row->viewer_no);
        postgres_array_text(&erasing->viewers, row->viewer);
    }
    if (err == ERR_NONE && stored) {
        err = forget_ids(erasing);
    }
    if (err == ERR_NONE) {
        err = forget_profiles(erasing);
    }
    return err == ERR_NONE && stored ? empty_rows(erasing) : err;
}

enum err postgres_erase(struct postgres_link *link, struct changes *changes)
{
    static const struct postgres_args none;
    enum err err = postgres_run(link, PG_ERASED_OLD, &none, NULL);
    for (size_t i = 0, next; i < changes->erasures_count && err == ERR_NONE; i = next) {
        struct erasing erasing = {.link = link,
                                  .changes = changes,
                                  .event = changes->erasures[i].event,
                                  .rows = &changes->erasures[i]};
        for (next = i; next < changes->erasures_count &&
                       slice_equal(changes->erasures[next].event, erasing.event);) {
            next++;
        }
        erasing.count = next - i;
        postgres_array_init(&erasing.keys, POSTGRES_I64);
        postgres_array_init(&erasing.numbers, POSTGRES_I64);
        postgres_array_init(&erasing.viewers, POSTGRES_TEXT);
        err = erase_of_event(&erasing);
        postgres_array_fini(&erasing.keys);
        postgres_array_fini(&erasing.numbers);
        postgres_array_fini(&erasing.viewers);
    }
    return err;
}

/* ---- events ---- */

static enum err run_with_name(struct postgres_link *link, enum postgres_statement which,
                              struct slice event)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, event);
    return postgres_run(link, which, &args, NULL);
}

static enum err keep_figures(struct postgres_link *link, struct slice event, int64_t old_id)
{
    static const enum postgres_statement steps[] = {PG_KEEP_AUDIENCES, PG_KEEP_GROUPS,
                                                    PG_KEEP_FRAMES};
    struct postgres_args name = {0}, ids = {0};
    int64_t new_id = 0;
    postgres_arg_text(&name, event);
    enum err err = postgres_one(link, PG_KEEP_EVENT, &name, &new_id);
    postgres_arg_i64(&ids, old_id);
    postgres_arg_i64(&ids, new_id);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && err == ERR_NONE; i++) {
        err = postgres_run(link, steps[i], &ids, NULL);
    }
    return err;
}

enum err postgres_purge(struct postgres_link *link, const struct purge_row *purge)
{
    struct postgres_args args = {0};
    int64_t id;
    enum err err = postgres_event_id(link, purge->event, &id);
    if (err == ERR_NONE) {
        postgres_arg_i64(&args, id);
        err = postgres_run(link, PG_DETACH, &args, NULL);
        if (err == ERR_NONE && purge->keep_statistics) {
            err = keep_figures(link, purge->event, id);
        }
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_NONE; /* it may have profiles all the same */
    }
    if (err == ERR_NONE) {
        err = run_with_name(link, PG_PURGE_PROFILES, purge->event);
    }
    if (err == ERR_NONE && !purge->keep_statistics) {
        err = run_with_name(link, PG_PURGE_DIRECTORY, purge->event);
    }
    return err;
}

/* ---- afterwards ---- */

void postgres_vacuum(struct postgres_link *link)
{
    static const char *const steps[] = {"VACUUM viewer", "VACUUM profile"};
    enum err err = postgres_conn_ready(&link->conn);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && err == ERR_NONE; i++) {
        err = postgres_conn_text(&link->conn, steps[i], NULL);
    }
    link->vacuum_due = err != ERR_NONE;
    if (err != ERR_NONE) {
        LOG_EVERY(10000, LOG_WARN, "records",
                  "what was erased is not vacuumed yet, will try again: %s", link->conn.why);
    }
}

enum err postgres_wipe_now(struct records_link *base)
{
    struct postgres_link *link = postgres_link_of(base);
    postgres_vacuum(link);
    return link->vacuum_due ? records_fail(base, ERR_BUSY, "%s", link->conn.why) : ERR_NONE;
}
