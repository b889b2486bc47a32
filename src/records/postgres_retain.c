/* postgres_retain.c -- deleting bit by bit: what is detached, and what has grown old.
 *
 * Each call is one short transaction, so that commits never wait long.  Old viewings are found by a
 * scan that goes on where the last call of this link stopped: an index over their ends would cost
 * every commit. */
#include "records/postgres.h"

#include <stdlib.h>

/* Viewings looked at per row that may be deleted: a call is short though there may be nothing old
 * in millions of rows. */
#define LOOKED_AT_PER_ROW 16

/* Runs a statement that deletes; *rows: how many rows. */
static enum err drop(struct postgres_link *link, enum postgres_statement which, int64_t first,
                     int64_t second, uint32_t *rows)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, first);
    postgres_arg_i64(&args, second);
    enum err err = postgres_run(link, which, &args, &result);
    *rows = err == ERR_NONE ? (uint32_t)strtoul(PQcmdTuples(result), NULL, 10) : 0;
    PQclear(result);
    return err;
}

/* ---- detached events ---- */

/* Children before their parents. */
static const enum postgres_statement drop_steps[] = {
    PG_DROP_VIEWINGS, PG_DROP_ERASED, PG_DROP_MEMBERS,   PG_DROP_FRAMES,
    PG_DROP_VIEWERS,  PG_DROP_GROUPS, PG_DROP_AUDIENCES, PG_DROP_EVENT,
};

static enum err find_detached(struct postgres_link *link, int64_t *event_id)
{
    static const struct postgres_args none;
    *event_id = 0;
    enum err err = postgres_one(link, PG_DETACHED, &none, event_id);
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

/* *left: rows that may still be deleted by this call. */
static enum err drop_detached(struct postgres_link *link, uint32_t *left, bool *more)
{
    int64_t event_id;
    enum err err = find_detached(link, &event_id);
    while (err == ERR_NONE && event_id != 0 && *left > 0) {
        for (size_t i = 0; i < sizeof drop_steps / sizeof drop_steps[0] && *left > 0; i++) {
            uint32_t rows;
            err = drop(link, drop_steps[i], event_id, *left, &rows);
            if (err != ERR_NONE) {
                return err;
            }
            *left -= rows;
        }
        const int64_t before = event_id;
        err = find_detached(link, &event_id);
        if (err == ERR_NONE && event_id != before) {
            link->vacuum_due = true; /* all of it is gone: now from the pages, too */
        }
    }
    *more |= event_id != 0;
    return err;
}

/* ---- viewings ---- */

struct old_viewings {
    struct postgres_link *link;
    int64_t before_ms;
    struct postgres_array keys, starts; /* that are old */
    int64_t key, start_ms;              /* the last one looked at */
    bool looked, end;                   /* end: that was the last one at all */
};

/* One page of those that are looked at; *looked: how many. */
static enum err look_at_page(struct old_viewings *old, uint32_t rows_max, uint64_t page,
                             uint64_t *looked)
{
    struct postgres_args args = {0};
    PGresult *result;
    postgres_arg_i64(&args, old->key);
    postgres_arg_i64(&args, old->start_ms);
    postgres_arg_i64(&args, (int64_t)page);
    enum err err = postgres_run(old->link, PG_OLD_VIEWINGS, &args, &result);
    const int rows = err == ERR_NONE ? PQntuples(result) : 0;
    for (int i = 0; i < rows && old->keys.count < rows_max; i++) {
        old->key = postgres_i64(result, i, 0);
        old->start_ms = postgres_i64(result, i, 1);
        ++*looked;
        if (postgres_i64(result, i, 2) < old->before_ms) {
            postgres_array_i64(&old->keys, old->key);
            postgres_array_i64(&old->starts, old->start_ms);
        }
    }
    old->end = (uint64_t)rows < page && old->keys.count < rows_max;
    PQclear(result);
    return err;
}

static enum err look_at(struct old_viewings *old, uint32_t rows_max)
{
    const uint64_t looked_max = (uint64_t)rows_max * LOOKED_AT_PER_ROW;
    uint64_t looked = 0;
    enum err err = ERR_NONE;
    old->key = old->link->retain_key;
    old->start_ms = old->link->retain_start_ms;
    old->looked = true;
    while (err == ERR_NONE && !old->end && old->keys.count < rows_max && looked < looked_max) {
        const uint64_t left = looked_max - looked;
        err = look_at_page(old, rows_max, left < POSTGRES_PAGE_ROWS ? left : POSTGRES_PAGE_ROWS,
                           &looked);
    }
    return err;
}

/* The audiences' figures go on counting them. */
static enum err drop_viewings(struct old_viewings *old, uint32_t *left, bool *more)
{
    struct postgres_args args = {0};
    enum err err = look_at(old, *left);
    if (err == ERR_NONE && old->keys.count > 0) {
        postgres_arg_array(&args, &old->keys);
        postgres_arg_array(&args, &old->starts);
        err = postgres_run(old->link, PG_DROP_OLD_VIEWINGS, &args, NULL);
    }
    *left -= old->keys.count;
    *more |= !old->end;
    return err;
}

/* ---- frames ---- */

static enum err drop_frames(struct postgres_link *link, int64_t before_ms, uint32_t *left,
                            bool *more)
{
    uint32_t rows;
    enum err err = drop(link, PG_DROP_OLD_FRAMES, before_ms, *left, &rows);
    *left -= rows;
    *more |= *left == 0;
    return err;
}

static enum err retain_all(struct postgres_link *link, const struct records_retention *retention,
                           struct old_viewings *old, uint32_t *left, bool *more)
{
    enum err err = drop_detached(link, left, more);
    if (err == ERR_NONE && retention->viewings_before_ms > 0 && *left > 0) {
        err = drop_viewings(old, left, more);
    }
    if (err == ERR_NONE && retention->frames_before_ms > 0 && *left > 0) {
        err = drop_frames(link, retention->frames_before_ms, left, more);
    }
    *more |= *left == 0; /* what came after was not looked at */
    return err;
}

enum err postgres_retain(struct records_link *base, const struct records_retention *retention,
                         uint32_t rows_max, bool *more)
{
    struct postgres_link *link = postgres_link_of(base);
    struct old_viewings old = {.link = link, .before_ms = retention->viewings_before_ms};
    uint32_t left = rows_max;
    *more = false;
    if (retention->rows != NULL) {
        *retention->rows = 0;
    }
    enum err err = postgres_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    postgres_array_init(&old.keys, POSTGRES_I64);
    postgres_array_init(&old.starts, POSTGRES_I64);
    err = retain_all(link, retention, &old, &left, more);
    err = postgres_write_end(link, err);
    postgres_array_fini(&old.keys);
    postgres_array_fini(&old.starts);
    if (err != ERR_NONE) {
        return err;
    }
    if (retention->rows != NULL) {
        *retention->rows = rows_max - left;
    }
    if (old.looked) {
        link->retain_key = old.end ? 0 : old.key;
        link->retain_start_ms = old.end ? 0 : old.start_ms;
    }
    if (link->vacuum_due) {
        postgres_vacuum(link);
    }
    return ERR_NONE;
}
