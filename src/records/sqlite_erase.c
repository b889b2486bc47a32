/* sqlite_erase.c -- viewers and events to be forgotten, inside the transaction of a commit.
 *
 * An erased viewer's rows are not deleted but emptied, because the numbers of members have no holes
 * (core/changes.h).  What goes is its id, its earlier viewings and its profile.
 *
 * A purged event loses its name, its profiles and its directory at once; nothing finds it any more,
 * and its rows go bit by bit (sqlite_retain.c).  keep_statistics: a new event of the same name with
 * the same figures takes over the frames. */
#include "records/sqlite.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

/* ---- viewers ---- */

/* One row that is to become empty. */
struct emptied {
    int64_t audience_id, key;
    struct slice session; /* in the changes' arena */
};

struct erasing {
    struct sqlite_link *link;
    struct changes *changes;
    struct slice event;
    int64_t event_id;
    const struct erasure_row *rows; /* all of this event */
    size_t count;
    struct emptied *emptied;
    uint32_t emptied_count, emptied_max;
};

/* The members' rows of all these viewers, in order of audience.  One scan of each session's members
 * serves them all. */
static enum err find_rows(struct erasing *erasing)
{
    struct sqlite_link *link = erasing->link;
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_ERASE_FIND, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    buffer_reset(&link->groups);
    for (size_t i = 0; i < erasing->count; i++) {
        buffer_put_char(&link->groups, i == 0 ? '[' : ',');
        buffer_put_u64(&link->groups, erasing->rows[i].viewer_no);
    }
    buffer_put_char(&link->groups, ']');
    if (buffer_outcome(&link->groups) == BUFFER_FULL) {
        return records_fail(&link->link, ERR_FULL, "too many viewers to erase at once");
    }
    sqlite_bind_i64(stmt, 1, erasing->event_id);
    sqlite_bind_slice(stmt, 2, buffer_slice(&link->groups));
    while (sqlite_row(link, stmt, &err)) {
        erasing->emptied = memory_grow(erasing->emptied, &erasing->emptied_max,
                                       erasing->emptied_count + 1, sizeof *erasing->emptied);
        struct emptied *emptied = &erasing->emptied[erasing->emptied_count];
        const struct emptied *before = erasing->emptied_count == 0 ? NULL : emptied - 1;
        emptied->audience_id = sqlite3_column_int64(stmt, 0);
        emptied->key = sqlite3_column_int64(stmt, 2);
        emptied->session = before != NULL && before->audience_id == emptied->audience_id
                               ? before->session
                               : changes_copy(erasing->changes, sqlite_column_slice(stmt, 1));
        erasing->emptied_count++;
    }
    return err;
}

/* Empties one row; adds its earlier viewings up. */
static enum err empty_row(struct sqlite_link *link, int64_t key, struct erased_row *erased)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_ERASE_VIEWINGS, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, key);
    while (sqlite_row(link, stmt, &err)) {
        erased->viewings++;
        erased->total_ms += sqlite3_column_int64(stmt, 0);
    }
    return err != ERR_NONE ? err : sqlite_do(link, SQL_ERASE_MEMBER, key, 0);
}

/* What the audience's row, as it was just written, still counts. */
static enum err subtract(struct sqlite_link *link, int64_t audience_id,
                         const struct erased_row *erased)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_ERASE_SUMS, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, audience_id);
        sqlite_bind_i64(stmt, 2, (int64_t)erased->viewings);
        sqlite_bind_i64(stmt, 3, erased->total_ms);
        err = sqlite_run(link, stmt);
    }
    return err;
}

static enum err empty_rows(struct erasing *erasing)
{
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < erasing->emptied_count && err == ERR_NONE;) {
        const int64_t audience_id = erasing->emptied[i].audience_id;
        struct erased_row erased = {.event = changes_copy(erasing->changes, erasing->event),
                                    .session = erasing->emptied[i].session};
        for (; i < erasing->emptied_count && erasing->emptied[i].audience_id == audience_id &&
               err == ERR_NONE;
             i++) {
            err = empty_row(erasing->link, erasing->emptied[i].key, &erased);
        }
        if (err == ERR_NONE && erased.viewings > 0) {
            err = subtract(erasing->link, audience_id, &erased);
            *changes_add_erased(erasing->changes) = erased;
        }
    }
    return err;
}

/* The id goes only where it is this viewer's: a wrong number must not cost somebody else. */
static enum err forget_id(struct erasing *erasing, const struct erasure_row *row)
{
    struct sqlite_link *link = erasing->link;
    const int64_t key = sqlite_key(erasing->event_id, row->viewer_no);
    sqlite3_stmt *stmt;
    bool another = false;
    enum err err = sqlite_prepare(link, SQL_VIEWER_AT, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    sqlite_bind_i64(stmt, 1, key);
    while (sqlite_row(link, stmt, &err)) {
        another = !slice_equal(sqlite_column_slice(stmt, 0), row->viewer);
    }
    if (err == ERR_NONE && another) {
        err = records_fail(&link->link, ERR_DAMAGED,
                           "event %.*s: viewer number %u is not the one to be erased",
                           SLICE_ARG(row->event), row->viewer_no);
    }
    return err != ERR_NONE ? err : sqlite_do(link, SQL_ERASE_VIEWER, key, 0);
}

static enum err forget_profile(struct sqlite_link *link, const struct erasure_row *row)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_ERASE_PROFILE, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, row->event);
        sqlite_bind_slice(stmt, 2, row->viewer);
        err = sqlite_run(link, stmt);
    }
    return err;
}

static enum err erase_of_event(struct erasing *erasing)
{
    enum err err = sqlite_event_id(erasing->link, erasing->event, &erasing->event_id);
    bool stored = err == ERR_NONE;
    err = err == ERR_NOT_FOUND ? ERR_NONE : err; /* then there is at most a profile */
    for (size_t i = 0; i < erasing->count && err == ERR_NONE; i++) {
        err = stored ? forget_id(erasing, &erasing->rows[i]) : ERR_NONE;
        if (err == ERR_NONE) {
            err = forget_profile(erasing->link, &erasing->rows[i]);
        }
    }
    if (err == ERR_NONE && stored) {
        err = find_rows(erasing);
    }
    if (err == ERR_NONE) {
        err = empty_rows(erasing);
    }
    free(erasing->emptied);
    return err;
}

enum err sqlite_erase(struct sqlite_link *link, struct changes *changes)
{
    enum err err = ERR_NONE;
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
        err = erase_of_event(&erasing);
    }
    return err;
}

/* ---- events ---- */

static enum err run_with_name(struct sqlite_link *link, enum sqlite_statement which,
                              struct slice event)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, which, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        err = sqlite_run(link, stmt);
    }
    return err;
}

static enum err keep_figures(struct sqlite_link *link, struct slice event, int64_t old_id)
{
    static const enum sqlite_statement steps[] = {SQL_KEEP_AUDIENCES, SQL_KEEP_GROUPS,
                                                  SQL_KEEP_FRAMES};
    sqlite3_stmt *stmt;
    int64_t new_id = 0;
    enum err err = sqlite_prepare(link, SQL_KEEP_EVENT, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_slice(stmt, 1, event);
        err = sqlite_one(link, stmt, &new_id);
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && err == ERR_NONE; i++) {
        err = sqlite_do(link, steps[i], old_id, new_id);
    }
    return err;
}

enum err sqlite_purge(struct sqlite_link *link, const struct purge_row *purge)
{
    int64_t id;
    enum err err = sqlite_event_id(link, purge->event, &id);
    if (err == ERR_NONE) {
        err = sqlite_do(link, SQL_DETACH, id, 0);
        if (err == ERR_NONE && purge->keep_statistics) {
            err = keep_figures(link, purge->event, id);
        }
    } else if (err == ERR_NOT_FOUND) {
        err = ERR_NONE; /* it may have profiles all the same */
    }
    if (err == ERR_NONE) {
        err = run_with_name(link, SQL_PURGE_PROFILES, purge->event);
    }
    if (err == ERR_NONE && !purge->keep_statistics) {
        err = run_with_name(link, SQL_PURGE_DIRECTORY, purge->event);
    }
    return err;
}
