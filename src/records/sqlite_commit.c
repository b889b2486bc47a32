/* sqlite_commit.c -- one collection of changes becomes one transaction.
 *
 * This is the store's hot path: a million viewers mean some 17,000 rows a second.  So statements
 * are prepared once, rows come in key order, and the numbers of audiences are cached. */
#include "records/sqlite.h"

#include "records/json_text.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the numbers of audiences, direct-mapped: a collision only costs a look-up ---- */

#define CACHE_SLOTS 1024

struct cached_audience {
    int64_t event_id; /* 0: empty slot */
    int64_t id;
    uint8_t event_len, session_len;
    char event[EVENT_ID_BYTES_MAX];
    char session[SESSION_ID_BYTES_MAX];
};

struct sqlite_audience_cache {
    struct cached_audience slots[CACHE_SLOTS];
};

/* The slot where this audience is or would be. */
static struct cached_audience *cache_slot(struct sqlite_link *link, const struct audience_row *row)
{
    static const struct hash_key unkeyed; /* the slots are few anyway: nothing to attack */
    uint64_t hash = hash_bytes(&unkeyed, row->event) * 31 + hash_bytes(&unkeyed, row->session);
    return &link->audiences->slots[hash % CACHE_SLOTS];
}

static bool cache_holds(const struct cached_audience *slot, const struct audience_row *row)
{
    return slot->event_id != 0 && slice_equal(slice_of(slot->event, slot->event_len), row->event) &&
           slice_equal(slice_of(slot->session, slot->session_len), row->session);
}

static void cache_put(struct cached_audience *slot, const struct audience_row *row,
                      int64_t event_id, int64_t id)
{
    ASSERT(row->event.len <= sizeof slot->event && row->session.len <= sizeof slot->session);
    slot->event_id = event_id;
    slot->id = id;
    slot->event_len = (uint8_t)row->event.len;
    slot->session_len = (uint8_t)row->session.len;
    memcpy(slot->event, row->event.ptr, row->event.len);
    if (row->session.len > 0) {
        memcpy(slot->session, row->session.ptr, row->session.len);
    }
}

/* ---- the parts of one change ---- */

/* The number of a row that `find` finds or `put` makes. */
static enum err find_or_put(struct sqlite_link *link, enum sqlite_statement find,
                            enum sqlite_statement put, int64_t parent, struct slice name,
                            int64_t *id)
{
    enum sqlite_statement order[] = {find, put};
    enum err err = ERR_NOT_FOUND;
    for (int i = 0; i < 2 && err == ERR_NOT_FOUND; i++) {
        sqlite3_stmt *stmt;
        err = sqlite_prepare(link, order[i], &stmt);
        if (err == ERR_NONE) {
            int parameter = 1;
            if (parent != 0) {
                sqlite_bind_i64(stmt, parameter++, parent);
            }
            sqlite_bind_slice(stmt, parameter, name);
            err = sqlite_one(link, stmt, id);
        }
    }
    return err;
}

static enum err find_audience(struct sqlite_link *link, const struct audience_row *row,
                              int64_t *event_id, int64_t *id)
{
    struct cached_audience *slot = cache_slot(link, row);
    if (cache_holds(slot, row)) {
        *event_id = slot->event_id;
        *id = slot->id;
        return ERR_NONE;
    }
    enum err err = find_or_put(link, SQL_EVENT_FIND, SQL_EVENT_PUT, 0, row->event, event_id);
    if (err == ERR_NONE) {
        err = find_or_put(link, SQL_AUDIENCE_FIND, SQL_AUDIENCE_PUT, *event_id, row->session, id);
    }
    if (err == ERR_NONE) {
        cache_put(slot, row, *event_id, *id);
    }
    return err;
}

/* Binds two tallies as JSON text, which stays in the link's buffers. */
static enum err bind_tallies(struct sqlite_link *link, sqlite3_stmt *stmt, int first,
                             struct slice groups, struct slice countries)
{
    buffer_reset(&link->groups);
    buffer_reset(&link->countries);
    json_tally_write(&link->groups, groups);
    json_tally_write(&link->countries, countries);
    if (buffer_outcome(&link->groups) == BUFFER_FULL ||
        buffer_outcome(&link->countries) == BUFFER_FULL) {
        return records_fail(&link->link, ERR_FULL, "a tally is too long to store");
    }
    sqlite_bind_slice(stmt, first, buffer_slice(&link->groups));
    sqlite_bind_slice(stmt, first + 1, buffer_slice(&link->countries));
    return ERR_NONE;
}

static enum err write_audience(struct sqlite_link *link, const struct audience_row *row,
                               int64_t event_id, int64_t id)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_AUDIENCE_UPDATE, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, id);
        sqlite_bind_i64(stmt, 2, (int64_t)row->seq);
        sqlite_bind_i64(stmt, 3, row->as_of_ms);
        sqlite_bind_i64(stmt, 4, row->attended);
        sqlite_bind_i64(stmt, 5, (int64_t)row->logins);
        sqlite_bind_i64(stmt, 6, row->total_ms);
        sqlite_bind_i64(stmt, 7, row->peak_count);
        sqlite_bind_i64(stmt, 8, row->peak_ms);
        sqlite_bind_i64(stmt, 9, row->frame_start_ms);
        sqlite_bind_i64(stmt, 10, row->frame_length_ms);
        sqlite_bind_i64(stmt, 11, row->frame_viewers);
        sqlite_bind_i64(stmt, 14, row->members);
        err = bind_tallies(link, stmt, 12, row->frame_groups, row->frame_countries);
    }
    if (err == ERR_NONE) {
        err = sqlite_run(link, stmt);
    }
    /* Only the event's own audience says whether the event stays in memory. */
    if (err == ERR_NONE && row->session.len == 0) {
        err = sqlite_prepare(link, SQL_EVENT_LIVE, &stmt);
        if (err == ERR_NONE) {
            sqlite_bind_i64(stmt, 1, event_id);
            sqlite_bind_i64(stmt, 2, !row->idle);
            err = sqlite_run(link, stmt);
        }
    }
    return err;
}

static enum err write_groups(struct sqlite_link *link, int64_t event_id,
                             const struct groups_row *rows, size_t count)
{
    sqlite3_stmt *stmt;
    enum err err = count == 0 ? ERR_NONE : sqlite_prepare(link, SQL_GROUP_SET_PUT, &stmt);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        buffer_reset(&link->groups);
        json_groups_write(&link->groups, rows[i].packed);
        ASSERT(buffer_outcome(&link->groups) == BUFFER_OK);
        sqlite_bind_i64(stmt, 1, event_id);
        sqlite_bind_i64(stmt, 2, rows[i].set_no);
        sqlite_bind_slice(stmt, 3, buffer_slice(&link->groups));
        err = sqlite_run(link, stmt);
    }
    return err;
}

static enum err write_viewings(struct sqlite_link *link, int64_t id, const struct viewing_row *rows,
                               size_t count)
{
    sqlite3_stmt *stmt;
    enum err err = count == 0 ? ERR_NONE : sqlite_prepare(link, SQL_VIEWING_PUT, &stmt);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        sqlite_bind_i64(stmt, 1, sqlite_key(id, rows[i].member_no));
        sqlite_bind_i64(stmt, 2, rows[i].start_ms);
        sqlite_bind_i64(stmt, 3, rows[i].end_ms);
        err = sqlite_run(link, stmt);
    }
    return err;
}

/* Whether a row is there already does not matter: a row is always written whole. */
static enum err write_members(struct sqlite_link *link, const struct audience_row *audience,
                              int64_t event_id, int64_t id, const struct member_row *rows,
                              size_t count)
{
    bool viewers = false;
    for (size_t i = 0; i < count; i++) {
        ASSERT(i == 0 || rows[i].member_no > rows[i - 1].member_no);
        ASSERT((rows[i].viewer.len > 0) == (rows[i].created && audience->session.len == 0));
        viewers |= rows[i].viewer.len > 0;
    }
    link->changed.rows = rows;
    link->changed.count = count;
    link->changed.event_id = event_id;
    link->changed.audience_id = id;
    sqlite3_stmt *stmt;
    enum err err = ERR_NONE;
    if (viewers) {
        err = sqlite_prepare(link, SQL_VIEWERS_PUT, &stmt);
        err = err == ERR_NONE ? sqlite_run(link, stmt) : err;
    }
    if (err == ERR_NONE && count > 0) {
        err = sqlite_prepare(link, SQL_MEMBERS_PUT, &stmt);
        err = err == ERR_NONE ? sqlite_run(link, stmt) : err;
    }
    link->changed.count = 0; /* the rows are only borrowed */
    return err;
}

static enum err write_frames(struct sqlite_link *link, int64_t id, const struct frame_row *rows,
                             size_t count)
{
    sqlite3_stmt *stmt;
    enum err err = count == 0 ? ERR_NONE : sqlite_prepare(link, SQL_FRAME_PUT, &stmt);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        sqlite_bind_i64(stmt, 1, id);
        sqlite_bind_i64(stmt, 2, rows[i].start_ms);
        sqlite_bind_i64(stmt, 3, rows[i].end_ms);
        sqlite_bind_i64(stmt, 4, rows[i].viewers);
        err = bind_tallies(link, stmt, 5, rows[i].groups, rows[i].countries);
        if (err == ERR_NONE) {
            err = sqlite_run(link, stmt);
        }
    }
    return err;
}

/* A change's rows of one kind; the arrays may be NULL where nobody has any (C11, 6.5.6: no
 * arithmetic on NULL). */
#define PART_OF(changes, change, kind)                                                             \
    ((change)->kind##_count == 0 ? NULL : (changes)->kind + (change)->kind##_first)

static enum err write_change(struct sqlite_link *link, const struct changes *changes,
                             const struct change *change)
{
    int64_t event_id, id;
    enum err err = find_audience(link, &change->audience, &event_id, &id);
    if (err == ERR_NONE) {
        err = write_audience(link, &change->audience, event_id, id);
    }
    if (err == ERR_NONE) {
        err = write_groups(link, event_id, PART_OF(changes, change, groups), change->groups_count);
    }
    if (err == ERR_NONE) {
        err = write_members(link, &change->audience, event_id, id,
                            PART_OF(changes, change, members), change->members_count);
    }
    if (err == ERR_NONE) {
        err = write_viewings(link, id, PART_OF(changes, change, viewings), change->viewings_count);
    }
    if (err == ERR_NONE) {
        err = write_frames(link, id, PART_OF(changes, change, frames), change->frames_count);
    }
    return err;
}

static enum err write_covered(struct sqlite_link *link, uint64_t covered_seq)
{
    sqlite3_stmt *stmt;
    enum err err = sqlite_prepare(link, SQL_COVERED_PUT, &stmt);
    if (err == ERR_NONE) {
        sqlite_bind_i64(stmt, 1, (int64_t)covered_seq);
        err = sqlite_run(link, stmt);
    }
    return err;
}

/* Rows first, then what is to be forgotten of them. */
static enum err write_all(struct sqlite_link *link, struct changes *changes)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < changes->changes_count && err == ERR_NONE; i++) {
        err = write_change(link, changes, &changes->changes[i]);
    }
    if (err == ERR_NONE && changes->erasures_count > 0) {
        err = sqlite_erase(link, changes);
    }
    for (size_t i = 0; i < changes->purges_count && err == ERR_NONE; i++) {
        err = sqlite_purge(link, &changes->purges[i]);
    }
    if (err == ERR_NONE && changes->covered_seq != 0) {
        err = write_covered(link, changes->covered_seq);
    }
    return err;
}

/* The first commit makes a link the writing one: a larger page cache, and the audiences' numbers.
 */
static enum err become_writer(struct sqlite_link *link)
{
    if (link->audiences != NULL) {
        return ERR_NONE;
    }
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA cache_size = -%d", SQLITE_WRITER_CACHE_KIB);
    if (sqlite3_exec(link->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        return sqlite_fail(link, sql);
    }
    link->audiences = memory_zalloc(sizeof *link->audiences);
    link->wipe_due = true; /* the writer before may have stopped between erasing and wiping */
    return ERR_NONE;
}

enum err sqlite_commit(struct records_link *base, struct changes *changes)
{
    struct sqlite_link *link = sqlite_link_of(base);
    bool forgets = changes->erasures_count > 0 || changes->purges_count > 0;
    changes->erased_count = 0;
    enum err err = become_writer(link);
    if (err == ERR_NONE) {
        err = sqlite_write_begin(link);
    }
    if (err != ERR_NONE) {
        return err;
    }
    err = write_all(link, changes);
    err = sqlite_write_end(link, err);
    if (err != ERR_NONE || changes->purges_count > 0) {
        /* Numbers given out in the transaction are void, those of purged events are others'. */
        memset(link->audiences, 0, sizeof *link->audiences);
    }
    if (err != ERR_NONE) {
        changes->erased_count = 0;
    } else if (forgets || link->wipe_due) {
        sqlite_wipe(link);
    }
    return err;
}

void sqlite_commit_fini(struct sqlite_link *link)
{
    free(link->audiences);
}
