/* sqlite_retain.c -- deleting bit by bit: what is detached, and what has grown old.
 *
 * Each call is one short transaction, so that commits never wait long.  Old viewings are found by a
 * scan that goes on where the last call of this link stopped: an index over their ends would cost
 * every commit. */
#include "records/sqlite.h"

#include "base/memory.h"

#include <stdlib.h>

/* Viewings looked at per row that may be deleted: a call is short though there may be nothing old
 * in millions of rows. */
#define LOOKED_AT_PER_ROW 16

/* ---- detached events ---- */

/* Children before their parents. */
static const enum sqlite_statement drop_steps[] = {
    SQL_DROP_VIEWINGS, SQL_DROP_MEMBERS,   SQL_DROP_FRAMES, SQL_DROP_VIEWERS,
    SQL_DROP_GROUPS,   SQL_DROP_AUDIENCES, SQL_DROP_EVENT,
};

static enum err find_detached(struct sqlite_link *link, int64_t *event_id)
{
    sqlite3_stmt *stmt;
    *event_id = 0;
    enum err err = sqlite_prepare(link, SQL_DETACHED, &stmt);
    if (err == ERR_NONE) {
        err = sqlite_one(link, stmt, event_id);
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* *left: rows that may still be deleted by this call. */
static enum err drop_detached(struct sqlite_link *link, uint32_t *left, bool *more)
{
    int64_t event_id;
    enum err err = find_detached(link, &event_id);
    while (err == ERR_NONE && event_id != 0 && *left > 0) {
        for (size_t i = 0; i < sizeof drop_steps / sizeof drop_steps[0] && *left > 0; i++) {
            err = sqlite_do(link, drop_steps[i], event_id, *left);
            if (err != ERR_NONE) {
                return err;
            }
            *left -= (uint32_t)sqlite3_changes(link->db);
        }
        const int64_t before = event_id;
        err = find_detached(link, &event_id);
        if (err == ERR_NONE && event_id != before) {
            link->wipe_due = true; /* all of it is gone: now from the WAL, too */
        }
    }
    *more |= event_id != 0;
    return err;
}

/* ---- viewings ---- */

struct old_viewings {
    struct sqlite_link *link;
    int64_t before_ms;
    struct viewing_at {
        int64_t key, start_ms, end_ms;
    } * found;
    uint32_t found_count, found_max;
    struct viewing_at at; /* the last one looked at */
    bool looked, end;     /* end: that was the last one at all */
};

static enum err look_at(struct old_viewings *old, uint32_t rows_max)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(old->link, SQL_OLD_VIEWINGS, &stmt);
    if (err != ERR_NONE) {
        return err;
    }
    const uint64_t looked_max = (uint64_t)rows_max * LOOKED_AT_PER_ROW;
    uint64_t looked = 0;
    sqlite_bind_i64(stmt, 1, old->link->retain_key);
    sqlite_bind_i64(stmt, 2, old->link->retain_start_ms);
    sqlite_bind_limit(stmt, 3, looked_max);
    while (old->found_count < rows_max && sqlite_row(old->link, stmt, &err)) {
        looked++;
        old->at = (struct viewing_at){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
                                      sqlite3_column_int64(stmt, 2)};
        if (old->at.end_ms < old->before_ms) {
            old->found =
                memory_grow(old->found, &old->found_max, old->found_count + 1, sizeof *old->found);
            old->found[old->found_count++] = old->at;
        }
    }
    old->end = err == ERR_NONE && looked < looked_max && old->found_count < rows_max;
    old->looked = true;
    sqlite3_reset(stmt);
    return err;
}

static enum err count_gone(struct sqlite_link *link, int64_t audience_id, int64_t viewings,
                           int64_t total_ms)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_GONE_VIEWINGS, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, audience_id);
        sqlite_bind_i64(stmt, 2, viewings);
        sqlite_bind_i64(stmt, 3, total_ms);
        err = sqlite_run(link, stmt);
    }
    return err;
}

/* The audiences' figures go on counting them. */
static enum err drop_found(struct old_viewings *old)
{
    enum err err = ERR_NONE;
    for (uint32_t i = 0; i < old->found_count && err == ERR_NONE;) {
        const int64_t audience_id = old->found[i].key >> 32;
        int64_t viewings = 0, total_ms = 0;
        for (; i < old->found_count && old->found[i].key >> 32 == audience_id && err == ERR_NONE;
             i++) {
            err = sqlite_do(old->link, SQL_DROP_VIEWING, old->found[i].key, old->found[i].start_ms);
            viewings++;
            total_ms += old->found[i].end_ms - old->found[i].start_ms;
        }
        if (err == ERR_NONE) {
            err = count_gone(old->link, audience_id, viewings, total_ms);
        }
    }
    return err;
}

static enum err drop_viewings(struct old_viewings *old, uint32_t *left, bool *more)
{
    enum err err = look_at(old, *left);
    if (err == ERR_NONE) {
        err = drop_found(old);
    }
    *left -= old->found_count;
    *more |= !old->end;
    free(old->found);
    return err;
}

/* ---- frames ---- */

static enum err drop_frames(struct sqlite_link *link, int64_t before_ms, uint32_t *left, bool *more)
{
    enum err err = sqlite_do(link, SQL_DROP_OLD_FRAMES, before_ms, *left);
    if (err == ERR_NONE) {
        *left -= (uint32_t)sqlite3_changes(link->db);
        *more |= *left == 0;
    }
    return err;
}

enum err sqlite_retain(struct records_link *base, const struct records_retention *retention,
                       uint32_t rows_max, bool *more)
{
    struct sqlite_link *link = sqlite_link_of(base);
    struct old_viewings old = {.link = link, .before_ms = retention->viewings_before_ms};
    uint32_t left = rows_max;
    *more = false;
    enum err err = sqlite_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = drop_detached(link, &left, more);
    if (err == ERR_NONE && retention->viewings_before_ms > 0 && left > 0) {
        err = drop_viewings(&old, &left, more);
    }
    if (err == ERR_NONE && retention->frames_before_ms > 0 && left > 0) {
        err = drop_frames(link, retention->frames_before_ms, &left, more);
    }
    *more |= left == 0; /* what came after was not looked at */
    err = sqlite_write_end(link, err);
    if (retention->rows != NULL) {
        *retention->rows = err == ERR_NONE ? rows_max - left : 0;
    }
    if (err == ERR_NONE && old.looked) {
        link->retain_key = old.end ? 0 : old.at.key;
        link->retain_start_ms = old.end ? 0 : old.at.start_ms;
    }
    if (err == ERR_NONE && link->wipe_due) {
        sqlite_wipe(link);
    }
    return err;
}

enum err sqlite_idle_events(struct records_link *base, int64_t before_ms, bool people,
                            uint64_t limit, records_event_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    sqlite3_stmt *stmt;
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = sqlite_prepare(link, SQL_IDLE_EVENTS, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, before_ms);
        sqlite_bind_i64(stmt, 2, people);
        sqlite_bind_limit(stmt, 3, limit);
        while (sqlite_row(link, stmt, &err)) {
            err = fn(ctx, sqlite_column_slice(stmt, 0));
            if (err != ERR_NONE) {
                sqlite3_reset(stmt);
                break;
            }
        }
    }
    sqlite_read_end(link);
    return err;
}
