/* sqlite_changed.c -- the rows of a change as a table that SQL can read.
 *
 * Binding and stepping a statement per member costs more than storing the member does.  So the
 * writing statements say INSERT … SELECT … FROM changed_member, and SQLite fetches the columns from
 * the array of struct member_row through this virtual table: one statement per change, four times
 * as fast (docs/RECORDS.md, figures).
 * Source: https://www.sqlite.org/vtab.html */
#include "records/sqlite.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"

#include <stdlib.h>

#define COLUMN_LIST(X)                                                                             \
    X(KEY, "key")                                                                                  \
    X(VIEWER_NO, "viewer_no")                                                                      \
    X(GROUPS, "groups")                                                                            \
    X(LEASE_GROUPS, "lease_groups")                                                                \
    X(COUNTRY, "country")                                                                          \
    X(PROFILE_DUE_MS, "profile_due_ms")                                                            \
    X(START_MS, "start_ms")                                                                        \
    X(END_MS, "end_ms")                                                                            \
    X(EXPIRY_MS, "expiry_ms")                                                                      \
    X(COUNTED_FRAME_MS, "counted_frame_ms")                                                        \
    X(VIEWER_KEY, "viewer_key")

enum column {
#define COLUMN_ENUM(name, text) COLUMN_##name,
    COLUMN_LIST(COLUMN_ENUM)
#undef COLUMN_ENUM
        COLUMN_VIEWER
};

struct table {
    sqlite3_vtab base; /* first */
    const struct sqlite_changed *changed;
};

struct cursor {
    sqlite3_vtab_cursor base; /* first */
    size_t at;
};

static const struct sqlite_changed *changed_of(const sqlite3_vtab_cursor *cursor)
{
    return ((const struct table *)cursor->pVtab)->changed;
}

static int connect_table(sqlite3 *db, void *ctx, int argc, const char *const *argv,
                         sqlite3_vtab **out, char **why)
{
    (void)argc, (void)argv, (void)why;
#define COLUMN_TEXT(name, text) text ", "
    int code = sqlite3_declare_vtab(db, "CREATE TABLE x (" COLUMN_LIST(COLUMN_TEXT) "viewer)");
#undef COLUMN_TEXT
    if (code == SQLITE_OK) {
        sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
        struct table *table = memory_zalloc(sizeof *table);
        table->changed = ctx;
        *out = &table->base;
    }
    return code;
}

static int disconnect_table(sqlite3_vtab *table)
{
    free(table);
    return SQLITE_OK;
}

/* There is one plan: all rows, in their order. */
static int plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    info->estimatedCost = 1;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    struct cursor *cursor = memory_zalloc(sizeof *cursor);
    *out = &cursor->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    free(cursor);
    return SQLITE_OK;
}

static int first_row(sqlite3_vtab_cursor *base, int number, const char *text, int argc,
                     sqlite3_value **argv)
{
    (void)number, (void)text, (void)argc, (void)argv;
    ((struct cursor *)base)->at = 0;
    return SQLITE_OK;
}

static int next_row(sqlite3_vtab_cursor *base)
{
    ((struct cursor *)base)->at++;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->at >= changed_of(base)->count;
}

static int row_id(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)((struct cursor *)base)->at;
    return SQLITE_OK;
}

static int give_column(sqlite3_vtab_cursor *base, sqlite3_context *out, int column)
{
    const struct sqlite_changed *changed = changed_of(base);
    const struct member_row *row = &changed->rows[((struct cursor *)base)->at];
    switch ((enum column)column) {
    case COLUMN_KEY:
        sqlite3_result_int64(out, sqlite_key(changed->audience_id, row->member_no));
        break;
    case COLUMN_VIEWER_NO:
        sqlite3_result_int64(out, row->viewer_no);
        break;
    case COLUMN_GROUPS:
        sqlite3_result_int(out, row->groups);
        break;
    case COLUMN_LEASE_GROUPS:
        sqlite3_result_int(out, row->lease_groups);
        break;
    case COLUMN_COUNTRY:
        ASSERT(row->country < SQLITE_COUNTRIES);
        sqlite3_result_text(out, changed->countries[row->country], 2, SQLITE_STATIC);
        break;
    case COLUMN_PROFILE_DUE_MS:
        sqlite3_result_int64(out, row->profile_due_ms);
        break;
    case COLUMN_START_MS:
        sqlite3_result_int64(out, row->start_ms);
        break;
    case COLUMN_END_MS:
        sqlite3_result_int64(out, row->end_ms);
        break;
    case COLUMN_EXPIRY_MS:
        sqlite3_result_int64(out, row->expiry_ms);
        break;
    case COLUMN_COUNTED_FRAME_MS:
        sqlite3_result_int64(out, row->counted_frame_ms);
        break;
    case COLUMN_VIEWER_KEY:
        sqlite3_result_int64(out, sqlite_key(changed->event_id, row->viewer_no));
        break;
    case COLUMN_VIEWER: /* NULL when the viewer is stored already */
        if (row->viewer.len > 0) {
            sqlite3_result_text(out, row->viewer.ptr, (int)row->viewer.len, SQLITE_STATIC);
        }
        break;
    }
    return SQLITE_OK;
}

enum err sqlite_changed_register(struct sqlite_link *link)
{
    static const sqlite3_module module = {
        .iVersion = 1,
        .xConnect = connect_table, /* and no xCreate: the table is there without being created */
        .xBestIndex = plan,
        .xDisconnect = disconnect_table,
        .xOpen = open_cursor,
        .xClose = close_cursor,
        .xFilter = first_row,
        .xNext = next_row,
        .xEof = at_end,
        .xColumn = give_column,
        .xRowid = row_id,
    };
    for (country_t i = 0; i < SQLITE_COUNTRIES; i++) {
        country_text(i, link->changed.countries[i]);
    }
    if (sqlite3_create_module(link->db, "changed_member", &module, &link->changed) != SQLITE_OK) {
        return sqlite_fail(link, "adding the table changed_member");
    }
    return ERR_NONE;
}
