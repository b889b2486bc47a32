/* postgres_commit.c -- one collection of changes becomes one transaction.
 *
 * Rows of all audiences go into arrays, one per column; a full set of arrays is one statement
 * (INSERT … SELECT … FROM unnest … ON CONFLICT), and all statements of a commit go down one
 * pipeline: however many there are, they are waited for once.  A commit that erases or purges needs
 * answers in between and is waited for a few times more.
 *
 * The pipeline begins with the question whether this connection may still write (postgres.h): an
 * answer of 1 / 0 ends the transaction before anything is written. */
#include "records/postgres.h"

#include "records/json_text.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "core/country.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the numbers of audiences, direct-mapped: a collision only costs a look-up ---- */

#define CACHE_SLOTS 4096

struct cached_audience {
    int64_t event_id; /* 0: empty slot */
    int64_t id;
    uint8_t event_len, session_len;
    char event[EVENT_ID_BYTES_MAX];
    char session[SESSION_ID_BYTES_MAX];
};

struct audience_ids {
    int64_t event_id, id; /* 0: to be found */
};

/* ---- rows on their way, a set of arrays per table ---- */

#define COLUMNS_MAX 14

struct rows {
    enum postgres_statement put;
    int columns;
    uint32_t count;
    struct postgres_array arrays[COLUMNS_MAX];
};

enum table { AUDIENCES, EVENTS_LIVE, GROUP_SETS, VIEWERS, MEMBERS, VIEWINGS, FRAMES, TABLES_COUNT };

/* The columns' types in the order of the statements' parameters: i integer, b bigint, t text. */
static const struct {
    enum postgres_statement put;
    const char *types;
} tables[TABLES_COUNT] = {
    [AUDIENCES] = {PG_AUDIENCES_UPDATE, "ibbbbbbbbbbbtt"},
    [EVENTS_LIVE] = {PG_EVENTS_LIVE_PUT, "ii"},
    [GROUP_SETS] = {PG_GROUP_SETS_PUT, "iit"},
    [VIEWERS] = {PG_VIEWERS_PUT, "bt"},
    [MEMBERS] = {PG_MEMBERS_PUT, "bbbbbbiiit"},
    [VIEWINGS] = {PG_VIEWINGS_PUT, "bbb"},
    [FRAMES] = {PG_FRAMES_PUT, "ibbbtt"},
};

#define WRITER_ID_BYTES 32

struct postgres_writer {
    char id[WRITER_ID_BYTES + 1]; /* in the table `writer` */
    uint64_t connection;          /* on which it was put there */
    struct cached_audience slots[CACHE_SLOTS];
    struct rows rows[TABLES_COUNT];
    struct audience_ids *ids; /* of the changes at hand */
    uint32_t ids_max;
    struct postgres_array events, sessions; /* of audiences to be found */
    bool twice;                             /* an audience is in this commit more than once */
};

static struct postgres_writer *writer_new(void)
{
    struct postgres_writer *writer = memory_zalloc(sizeof *writer);
    for (int i = 0; i < TABLES_COUNT; i++) {
        writer->rows[i].put = tables[i].put;
        writer->rows[i].columns = (int)strlen(tables[i].types);
        ASSERT(writer->rows[i].columns <= COLUMNS_MAX);
        for (int j = 0; j < writer->rows[i].columns; j++) {
            const char type = tables[i].types[j];
            postgres_array_init(&writer->rows[i].arrays[j], type == 'i'   ? POSTGRES_I32
                                                            : type == 'b' ? POSTGRES_I64
                                                                          : POSTGRES_TEXT);
        }
    }
    postgres_array_init(&writer->events, POSTGRES_TEXT);
    postgres_array_init(&writer->sessions, POSTGRES_TEXT);
    return writer;
}

void postgres_commit_fini(struct postgres_link *link)
{
    struct postgres_writer *writer = link->writer;
    if (writer == NULL) {
        return;
    }
    for (int i = 0; i < TABLES_COUNT; i++) {
        for (int j = 0; j < writer->rows[i].columns; j++) {
            postgres_array_fini(&writer->rows[i].arrays[j]);
        }
    }
    postgres_array_fini(&writer->events);
    postgres_array_fini(&writer->sessions);
    free(writer->ids);
    free(writer);
}

static void rows_reset(struct rows *rows)
{
    for (int i = 0; i < rows->columns && rows->count > 0; i++) {
        postgres_array_reset(&rows->arrays[i]);
    }
    rows->count = 0;
}

/* One statement. */
static enum err rows_send(struct postgres_link *link, struct rows *rows, uint32_t *sent)
{
    struct postgres_args args = {0};
    if (rows->count == 0) {
        return ERR_NONE;
    }
    for (int i = 0; i < rows->columns; i++) {
        if (buffer_outcome(&rows->arrays[i].bytes) == BUFFER_FULL) {
            return records_fail(&link->link, ERR_FULL, "a tally is too long to store");
        }
        ASSERT(rows->arrays[i].count == rows->count);
        postgres_arg_array(&args, &rows->arrays[i]);
    }
    enum err err = postgres_pipe_run(&link->conn, postgres_name(rows->put), &args, true, sent);
    rows_reset(rows);
    return err == ERR_NONE ? err : postgres_fail(link, err, postgres_name(rows->put));
}

static enum err rows_send_all(struct postgres_link *link, uint32_t *sent)
{
    enum err err = ERR_NONE;
    for (int i = 0; i < TABLES_COUNT && err == ERR_NONE; i++) {
        err = rows_send(link, &link->writer->rows[i], sent);
    }
    return err;
}

/* After a row was added. */
static enum err rows_added(struct postgres_link *link, enum table table, uint32_t *sent)
{
    struct rows *rows = &link->writer->rows[table];
    return ++rows->count < POSTGRES_BATCH_ROWS ? ERR_NONE : rows_send(link, rows, sent);
}

/* ---- who is who ---- */

static struct cached_audience *cache_slot(struct postgres_writer *writer,
                                          const struct audience_row *row)
{
    static const struct hash_key unkeyed; /* the slots are few anyway: nothing to attack */
    uint64_t hash = hash_bytes(&unkeyed, row->event) * 31 + hash_bytes(&unkeyed, row->session);
    return &writer->slots[hash % CACHE_SLOTS];
}

static bool cache_holds(const struct cached_audience *slot, const struct audience_row *row)
{
    return slot->event_id != 0 && slice_equal(slice_of(slot->event, slot->event_len), row->event) &&
           slice_equal(slice_of(slot->session, slot->session_len), row->session);
}

static void cache_put(struct cached_audience *slot, const struct audience_row *row,
                      const struct audience_ids *ids)
{
    ASSERT(row->event.len <= sizeof slot->event && row->session.len <= sizeof slot->session);
    slot->event_id = ids->event_id;
    slot->id = ids->id;
    slot->event_len = (uint8_t)row->event.len;
    slot->session_len = (uint8_t)row->session.len;
    memcpy(slot->event, row->event.ptr, row->event.len);
    if (row->session.len > 0) {
        memcpy(slot->session, row->session.ptr, row->session.len);
    }
}

/* Makes the rows that are missing and gets the numbers of all that were asked for. */
static enum err find_asked(struct postgres_link *link, PGresult **result)
{
    struct postgres_writer *writer = link->writer;
    struct postgres_args events = {0}, both = {0};
    postgres_arg_array(&events, &writer->events);
    postgres_arg_array(&both, &writer->events);
    postgres_arg_array(&both, &writer->sessions);
    enum err err = postgres_run(link, PG_EVENTS_PUT, &events, NULL);
    if (err == ERR_NONE) {
        err = postgres_run(link, PG_AUDIENCES_PUT, &both, NULL);
    }
    return err == ERR_NONE ? postgres_run(link, PG_AUDIENCES_FIND, &both, result) : err;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
    return one < two ? -1 : one > two;
}

/* A statement must not meet a row twice; a collection has each audience once, but its contract does
 * not say so. */
static bool any_twice(const struct audience_ids *ids, size_t count)
{
    int64_t *sorted = memory_alloc((count + 1) * sizeof *sorted);
    bool twice = false;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = ids[i].id;
    }
    qsort(sorted, count, sizeof *sorted, compare_ids);
    for (size_t i = 1; i < count; i++) {
        twice |= sorted[i] == sorted[i - 1];
    }
    free(sorted);
    return twice;
}

/* Fills writer->ids, inside the transaction: event and audience rows come into being here. */
static enum err find_audiences(struct postgres_link *link, const struct changes *changes)
{
    struct postgres_writer *writer = link->writer;
    PGresult *result = NULL;
    postgres_array_reset(&writer->events);
    postgres_array_reset(&writer->sessions);
    writer->ids = memory_grow(writer->ids, &writer->ids_max, (uint32_t)changes->changes_count,
                              sizeof *writer->ids);
    for (size_t i = 0; i < changes->changes_count; i++) {
        const struct audience_row *row = &changes->changes[i].audience;
        const struct cached_audience *slot = cache_slot(writer, row);
        writer->ids[i] = (struct audience_ids){0};
        if (cache_holds(slot, row)) {
            writer->ids[i] = (struct audience_ids){slot->event_id, slot->id};
        } else {
            postgres_array_text(&writer->events, row->event);
            postgres_array_text(&writer->sessions, row->session);
        }
    }
    const uint32_t asked = writer->events.count;
    enum err err = asked == 0 ? ERR_NONE : find_asked(link, &result);
    if (err == ERR_NONE && asked > 0 && PQntuples(result) != (int)asked) {
        err = records_fail(&link->link, ERR_DATABASE, "audiences that were just put are missing");
    }
    for (size_t i = 0, at = 0; i < changes->changes_count && err == ERR_NONE; i++) {
        if (writer->ids[i].id == 0) {
            writer->ids[i].event_id = postgres_i64(result, (int)at, 0);
            writer->ids[i].id = postgres_i64(result, (int)at++, 1);
            const struct audience_row *row = &changes->changes[i].audience;
            cache_put(cache_slot(writer, row), row, &writer->ids[i]);
        }
    }
    PQclear(result);
    writer->twice = err == ERR_NONE && any_twice(writer->ids, changes->changes_count);
    return err;
}

/* ---- the parts of one change ---- */

static enum err tallies(struct postgres_link *link, struct postgres_array *arrays,
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
    postgres_array_text(&arrays[0], buffer_slice(&link->groups));
    postgres_array_text(&arrays[1], buffer_slice(&link->countries));
    return ERR_NONE;
}

static enum err add_audience(struct postgres_link *link, const struct audience_row *row,
                             const struct audience_ids *ids, uint32_t *sent)
{
    struct postgres_array *arrays = link->writer->rows[AUDIENCES].arrays;
    const int64_t numbers[] = {
        (int64_t)row->seq,    row->as_of_ms,        row->members,       row->attended,
        (int64_t)row->logins, row->total_ms,        row->peak_count,    row->peak_ms,
        row->frame_start_ms,  row->frame_length_ms, row->frame_viewers,
    };
    postgres_array_i32(&arrays[0], (int32_t)ids->id);
    for (int i = 0; i < 11; i++) {
        postgres_array_i64(&arrays[1 + i], numbers[i]);
    }
    enum err err = tallies(link, &arrays[12], row->frame_groups, row->frame_countries);
    if (err == ERR_NONE) {
        err = rows_added(link, AUDIENCES, sent);
    }
    /* Only the event's own audience says whether the event stays in memory. */
    if (err == ERR_NONE && row->session.len == 0) {
        arrays = link->writer->rows[EVENTS_LIVE].arrays;
        postgres_array_i32(&arrays[0], (int32_t)ids->event_id);
        postgres_array_i32(&arrays[1], !row->idle);
        err = rows_added(link, EVENTS_LIVE, sent);
    }
    return err;
}

static enum err add_groups(struct postgres_link *link, int64_t event_id,
                           const struct groups_row *rows, size_t count, uint32_t *sent)
{
    struct postgres_array *arrays = link->writer->rows[GROUP_SETS].arrays;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        buffer_reset(&link->groups);
        json_groups_write(&link->groups, rows[i].packed);
        ASSERT(buffer_outcome(&link->groups) == BUFFER_OK);
        postgres_array_i32(&arrays[0], (int32_t)event_id);
        postgres_array_i32(&arrays[1], rows[i].set_no);
        postgres_array_text(&arrays[2], buffer_slice(&link->groups));
        err = rows_added(link, GROUP_SETS, sent);
    }
    return err;
}

static enum err add_member(struct postgres_link *link, const struct audience_ids *ids,
                           const struct member_row *row, uint32_t *sent)
{
    struct postgres_array *arrays = link->writer->rows[MEMBERS].arrays;
    char country[2];
    country_text(row->country, country);
    postgres_array_i64(&arrays[0], postgres_key(ids->id, row->member_no));
    postgres_array_i64(&arrays[1], row->profile_due_ms);
    postgres_array_i64(&arrays[2], row->start_ms);
    postgres_array_i64(&arrays[3], row->end_ms);
    postgres_array_i64(&arrays[4], row->expiry_ms);
    postgres_array_i64(&arrays[5], row->counted_frame_ms);
    postgres_array_i32(&arrays[6], (int32_t)row->viewer_no);
    postgres_array_i32(&arrays[7], row->groups);
    postgres_array_i32(&arrays[8], row->lease_groups);
    postgres_array_text(&arrays[9], slice_of(country, 2));
    enum err err = rows_added(link, MEMBERS, sent);
    if (err == ERR_NONE && row->viewer.len > 0) {
        arrays = link->writer->rows[VIEWERS].arrays;
        postgres_array_i64(&arrays[0], postgres_key(ids->event_id, row->viewer_no));
        postgres_array_text(&arrays[1], row->viewer);
        err = rows_added(link, VIEWERS, sent);
    }
    return err;
}

static enum err add_members(struct postgres_link *link, const struct audience_row *audience,
                            const struct audience_ids *ids, const struct member_row *rows,
                            size_t count, uint32_t *sent)
{
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        ASSERT(i == 0 || rows[i].member_no > rows[i - 1].member_no);
        ASSERT((rows[i].viewer.len > 0) == (rows[i].created && audience->session.len == 0));
        err = add_member(link, ids, &rows[i], sent);
    }
    return err;
}

static enum err add_viewings(struct postgres_link *link, int64_t id, const struct viewing_row *rows,
                             size_t count, uint32_t *sent)
{
    struct postgres_array *arrays = link->writer->rows[VIEWINGS].arrays;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        postgres_array_i64(&arrays[0], postgres_key(id, rows[i].member_no));
        postgres_array_i64(&arrays[1], rows[i].start_ms);
        postgres_array_i64(&arrays[2], rows[i].end_ms);
        err = rows_added(link, VIEWINGS, sent);
    }
    return err;
}

static enum err add_frames(struct postgres_link *link, int64_t id, const struct frame_row *rows,
                           size_t count, uint32_t *sent)
{
    struct postgres_array *arrays = link->writer->rows[FRAMES].arrays;
    enum err err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        postgres_array_i32(&arrays[0], (int32_t)id);
        postgres_array_i64(&arrays[1], rows[i].start_ms);
        postgres_array_i64(&arrays[2], rows[i].end_ms);
        postgres_array_i64(&arrays[3], rows[i].viewers);
        err = tallies(link, &arrays[4], rows[i].groups, rows[i].countries);
        err = err == ERR_NONE ? rows_added(link, FRAMES, sent) : err;
    }
    return err;
}

/* A change's rows of one kind; the arrays may be NULL where nobody has any (C11, 6.5.6: no
 * arithmetic on NULL). */
#define PART_OF(changes, change, kind)                                                             \
    ((change)->kind##_count == 0 ? NULL : (changes)->kind + (change)->kind##_first)

static enum err add_change(struct postgres_link *link, const struct changes *changes,
                           const struct change *change, const struct audience_ids *ids,
                           uint32_t *sent)
{
    enum err err = add_audience(link, &change->audience, ids, sent);
    if (err == ERR_NONE) {
        err = add_groups(link, ids->event_id, PART_OF(changes, change, groups),
                         change->groups_count, sent);
    }
    if (err == ERR_NONE) {
        err = add_members(link, &change->audience, ids, PART_OF(changes, change, members),
                          change->members_count, sent);
    }
    if (err == ERR_NONE) {
        err = add_viewings(link, ids->id, PART_OF(changes, change, viewings),
                           change->viewings_count, sent);
    }
    if (err == ERR_NONE) {
        err =
            add_frames(link, ids->id, PART_OF(changes, change, frames), change->frames_count, sent);
    }
    return err == ERR_NONE && link->writer->twice ? rows_send_all(link, sent) : err;
}

/* ---- the transaction ---- */

/* A name that nobody had before, put where commits look for it.  The first one of a link takes all
 * others' names away: there is one writer, and those who still live put theirs again. */
static enum err take_name(struct postgres_link *link, bool first)
{
    struct postgres_writer *writer = link->writer;
    struct postgres_args args = {0};
    unsigned char random[WRITER_ID_BYTES / 2];
    char before[WRITER_ID_BYTES + 1], now[WRITER_ID_BYTES + 1];
    memcpy(before, writer->id, sizeof before);
    randombytes_buf(random, sizeof random);
    sodium_bin2hex(now, sizeof now, random, sizeof random);
    if (!first) {
        postgres_arg_text(&args, slice_str(before));
    }
    postgres_arg_text(&args, slice_str(now));
    enum err err = postgres_run(link, first ? PG_WRITER_RESET : PG_WRITER_PUT, &args, NULL);
    if (err == ERR_NONE) {
        memcpy(writer->id, now, sizeof now);
        writer->connection = link->conn.connections;
    }
    return err;
}

static enum err become_writer(struct postgres_link *link)
{
    enum err err = postgres_conn_ready(&link->conn);
    if (err != ERR_NONE) {
        return postgres_fail(link, err, "");
    }
    if (link->writer == NULL) {
        link->writer = writer_new();
    }
    if (link->writer->connection != link->conn.connections) {
        err = take_name(link, link->writer->id[0] == '\0');
    }
    for (int i = 0; i < TABLES_COUNT && err == ERR_NONE; i++) {
        err = postgres_prepare(link, tables[i].put);
    }
    if (err == ERR_NONE) {
        err = postgres_prepare(link, PG_WRITER_MINE);
    }
    return err == ERR_NONE ? postgres_prepare(link, PG_COVERED_PUT) : err;
}

static enum err send_mine(struct postgres_link *link, uint32_t *sent)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, slice_str(link->writer->id));
    enum err err = postgres_pipe_run(&link->conn, postgres_name(PG_WRITER_MINE), &args, true, sent);
    return err == ERR_NONE ? err : postgres_fail(link, err, postgres_name(PG_WRITER_MINE));
}

static enum err send_covered(struct postgres_link *link, uint64_t covered_seq, uint32_t *sent)
{
    struct postgres_args args = {0};
    if (covered_seq == 0) {
        return ERR_NONE;
    }
    postgres_arg_i64(&args, (int64_t)covered_seq);
    enum err err = postgres_pipe_run(&link->conn, postgres_name(PG_COVERED_PUT), &args, true, sent);
    return err == ERR_NONE ? err : postgres_fail(link, err, postgres_name(PG_COVERED_PUT));
}

static enum err send_text(struct postgres_link *link, const char *sql, uint32_t *sent)
{
    enum err err = postgres_pipe_text(&link->conn, sql, sent);
    return err == ERR_NONE ? err : postgres_fail(link, err, sql);
}

static bool knows_all(struct postgres_writer *writer, const struct changes *changes)
{
    bool known = true;
    for (size_t i = 0; i < changes->changes_count && known; i++) {
        const struct audience_row *row = &changes->changes[i].audience;
        known = cache_holds(cache_slot(writer, row), row);
    }
    return known;
}

/* The end of a pipeline, also of one that could not be filled: it is emptied all the same. */
static enum err end_pipe(struct postgres_link *link, enum err err, uint32_t sent)
{
    char words[RECORDS_WHY_BYTES];
    memcpy(words, link->link.why, sizeof words);
    enum err end =
        link->conn.db == NULL ? ERR_DATABASE : postgres_pipe_end(&link->conn, sent, NULL, NULL);
    for (int i = 0; i < TABLES_COUNT; i++) {
        rows_reset(&link->writer->rows[i]);
    }
    if (err != ERR_NONE) {
        memcpy(link->link.why, words, sizeof words);
        return err;
    }
    return end == ERR_NONE ? end : postgres_fail(link, end, "committing");
}

/* All rows, and BEGIN and COMMIT where those are wanted, in one pipeline. */
static enum err pipe_rows(struct postgres_link *link, const struct changes *changes, bool begin,
                          bool commit)
{
    uint32_t sent = 0;
    enum err err = postgres_pipe_begin(&link->conn);
    if (err != ERR_NONE) {
        return postgres_fail(link, err, "");
    }
    if (begin) {
        err = send_text(link, "BEGIN", &sent);
        err = err == ERR_NONE ? send_mine(link, &sent) : err;
    }
    for (size_t i = 0; i < changes->changes_count && err == ERR_NONE; i++) {
        err = add_change(link, changes, &changes->changes[i], &link->writer->ids[i], &sent);
    }
    if (err == ERR_NONE) {
        err = rows_send_all(link, &sent);
    }
    if (err == ERR_NONE && commit) {
        err = send_covered(link, changes->covered_seq, &sent);
        err = err == ERR_NONE ? send_text(link, "COMMIT", &sent) : err;
    }
    return end_pipe(link, err, sent);
}

/* Whoever else commits knows purged events under numbers that are void now: without its name it
 * must look them up again. */
static enum err forget_others(struct postgres_link *link)
{
    struct postgres_args args = {0};
    postgres_arg_text(&args, slice_str(link->writer->id));
    return postgres_run(link, PG_WRITER_OTHERS, &args, NULL);
}

/* Rows first, then what is to be forgotten of them. */
static enum err write_and_forget(struct postgres_link *link, struct changes *changes)
{
    uint32_t sent = 0;
    enum err err = pipe_rows(link, changes, false, false);
    if (err == ERR_NONE && changes->erasures_count > 0) {
        err = postgres_erase(link, changes);
    }
    if (err == ERR_NONE && changes->purges_count > 0) {
        err = forget_others(link);
    }
    for (size_t i = 0; i < changes->purges_count && err == ERR_NONE; i++) {
        err = postgres_purge(link, &changes->purges[i]);
    }
    if (err != ERR_NONE) {
        return err;
    }
    err = postgres_pipe_begin(&link->conn);
    if (err != ERR_NONE) {
        return postgres_fail(link, err, "");
    }
    err = send_covered(link, changes->covered_seq, &sent);
    return end_pipe(link, err, sent);
}

/* The transaction is over: its COMMIT was in a pipeline that went well; or it is rolled back. */
static enum err end_piped(struct postgres_link *link, enum err err)
{
    if (err != ERR_NONE) {
        return postgres_write_end(link, err);
    }
    link->writing = false;
    return ERR_NONE;
}

/* Step by step: audiences are new, or something is to be forgotten. */
static enum err commit_in_steps(struct postgres_link *link, struct changes *changes, bool forgets)
{
    struct postgres_args args = {0};
    enum err err = postgres_write_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    postgres_arg_text(&args, slice_str(link->writer->id));
    err = postgres_run(link, PG_WRITER_MINE, &args, NULL);
    if (err == ERR_NONE) {
        err = find_audiences(link, changes);
    }
    if (err == ERR_NONE && forgets) {
        err = write_and_forget(link, changes);
        return postgres_write_end(link, err);
    }
    err = err == ERR_NONE ? pipe_rows(link, changes, false, true) : err;
    return end_piped(link, err);
}

static enum err commit_once(struct postgres_link *link, struct changes *changes, bool forgets)
{
    link->conn.sqlstate[0] = '\0';
    enum err err = become_writer(link);
    if (err != ERR_NONE) {
        return err;
    }
    if (forgets || !knows_all(link->writer, changes)) {
        err = commit_in_steps(link, changes, forgets);
    } else {
        err = find_audiences(link, changes); /* all from the cache */
        ASSERT(err == ERR_NONE);
        link->writing = true;
        err = end_piped(link, pipe_rows(link, changes, true, true));
    }
    if (err != ERR_NONE || changes->purges_count > 0) {
        /* Numbers given out in the transaction are void, those of purged events are others'. */
        memset(link->writer->slots, 0, sizeof link->writer->slots);
    }
    return err;
}

enum err postgres_commit(struct records_link *base, struct changes *changes)
{
    struct postgres_link *link = postgres_link_of(base);
    const bool forgets = changes->erasures_count > 0 || changes->purges_count > 0;
    changes->erased_count = 0;
    enum err err = commit_once(link, changes, forgets);
    /* "Division by zero": the name is not there any more, because another writer has begun. */
    if (err != ERR_NONE && strcmp(link->conn.sqlstate, "22012") == 0) {
        LOG_EVERY(10000, LOG_WARN, "records", "another process commits to %s", "these records too");
        changes->erased_count = 0;
        link->writer->connection = 0;
        err = commit_once(link, changes, forgets);
    }
    if (err != ERR_NONE) {
        changes->erased_count = 0;
    } else if (forgets) {
        postgres_vacuum(link);
    }
    return err;
}
