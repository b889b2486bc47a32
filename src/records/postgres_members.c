/* postgres_members.c -- the members of one audience with all their viewings, for reports.
 *
 * Page by page: the members, then the earlier viewings of the same range of keys, which are in the
 * same order and merged here. */
#include "records/postgres.h"

#include "records/json_text.h"
#include "base/memory.h"

#include <stdlib.h>

static_assert(POSTGRES_PAGE_ROWS == 4096, "the LIMIT of PG_EACH");

struct packed_set {
    bool known;
    uint16_t len;
    char *packed;
};

struct members {
    struct postgres_link *link;
    const struct records_members_query *query;
    int64_t event_id, audience_id, own_id;
    PGresult *rows, *earlier; /* the page at hand */
    int earlier_at;
    struct records_viewing_span *spans;
    uint32_t spans_max;
    struct packed_set *sets; /* by number; looked up when first met */
    uint32_t sets_count, sets_max;
};

/* ---- what belongs to one member ---- */

static enum err load_set(struct members *members, uint16_t set_no, struct packed_set *set)
{
    struct postgres_link *link = members->link;
    struct postgres_args args = {0};
    PGresult *result;
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t len = 0;
    postgres_arg_i64(&args, members->event_id);
    postgres_arg_i64(&args, set_no);
    enum err err = postgres_run(link, PG_GROUP_SET_GET, &args, &result);
    if (err == ERR_NONE &&
        (PQntuples(result) == 0 || !json_groups_read(postgres_text(result, 0, 0), packed, &len))) {
        err = records_fail(&link->link, ERR_DAMAGED, "group set %u is no list of groups", set_no);
    }
    PQclear(result);
    if (err == ERR_NONE) {
        *set = (struct packed_set){true, (uint16_t)len, memory_alloc(len + 1)};
        memcpy(set->packed, packed, len);
    }
    return err;
}

static enum err set_of(struct members *members, uint16_t set_no, struct slice *groups)
{
    *groups = SLICE_EMPTY;
    if (set_no == 0) {
        return ERR_NONE;
    }
    const uint32_t needed = set_no + 1u;
    if (needed > members->sets_count) {
        members->sets =
            memory_grow(members->sets, &members->sets_max, needed, sizeof *members->sets);
        memset(members->sets + members->sets_count, 0,
               (needed - members->sets_count) * sizeof *members->sets);
        members->sets_count = needed;
    }
    struct packed_set *set = &members->sets[set_no];
    enum err err = set->known ? ERR_NONE : load_set(members, set_no, set);
    *groups = err == ERR_NONE ? slice_of(set->packed, set->len) : SLICE_EMPTY;
    return err;
}

/* False: no commit writes such a viewing, and whoever sums up relies on that. */
static bool add_span(struct members *members, uint32_t *count, int64_t start_ms, int64_t end_ms)
{
    members->spans =
        memory_grow(members->spans, &members->spans_max, *count + 1, sizeof *members->spans);
    members->spans[(*count)++] = (struct records_viewing_span){start_ms, end_ms};
    return start_ms >= 0 && start_ms <= end_ms;
}

/* Earlier viewings up to this member; those of members that were passed over are passed over. */
static void earlier_viewings(struct members *members, int64_t key, uint32_t *count, bool *sane)
{
    const PGresult *earlier = members->earlier;
    for (; members->earlier_at < PQntuples(earlier); members->earlier_at++) {
        const int64_t at = postgres_i64(earlier, members->earlier_at, 0);
        if (at > key) {
            break;
        }
        if (at == key) {
            *sane &= add_span(members, count, postgres_i64(earlier, members->earlier_at, 1),
                              postgres_i64(earlier, members->earlier_at, 2));
        }
    }
}

/* Columns: PG_EACH. */
static enum err read_member(struct members *members, int at, struct records_member *member)
{
    const PGresult *rows = members->rows;
    const unsigned want = members->query->want;
    bool sane = true;
    uint32_t count = 0;
    const int64_t key = postgres_i64(rows, at, 0);
    *member = (struct records_member){
        .member_no = (uint32_t)key, /* the lower half */
        .country = postgres_column_country(rows, at, 1, &sane),
        .expiry_ms = postgres_i64(rows, at, 4),
    };
    const uint16_t set_no = (uint16_t)postgres_column_number(rows, at, 5, UINT16_MAX, &sane);
    earlier_viewings(members, key, &count, &sane);
    sane &= add_span(members, &count, postgres_i64(rows, at, 2), postgres_i64(rows, at, 3));
    if (!sane) {
        return records_fail(&members->link->link, ERR_DAMAGED,
                            "member %u of event %.*s holds what nothing writes", member->member_no,
                            SLICE_ARG(members->query->event));
    }
    member->viewings = members->spans;
    member->viewings_count = count;
    if (want != 0) {
        member->name = postgres_text(rows, at, 7);
    }
    if ((want & MEMBERS_WANT_VIEWER) == 0) {
        return ERR_NONE;
    }
    member->viewer = postgres_text(rows, at, 6);
    return set_of(members, set_no, &member->groups);
}

/* ---- the pages ---- */

static enum postgres_statement which_rows(const struct members *members)
{
    const bool own = members->query->session.len == 0;
    if (members->query->want == 0) {
        return PG_EACH_MEMBER;
    }
    if ((members->query->want & MEMBERS_WANT_NAME) != 0) {
        return own ? PG_EACH_OWN_NAME : PG_EACH_SESSION_NAME;
    }
    return own ? PG_EACH_OWN_VIEWER : PG_EACH_SESSION_VIEWER;
}

static enum err read_page(struct members *members, int64_t first_key, int64_t last_key)
{
    const enum postgres_statement which = which_rows(members);
    struct postgres_args args = {0}, range = {0};
    postgres_arg_i64(&args, first_key);
    postgres_arg_i64(&args, last_key);
    if (which != PG_EACH_MEMBER) {
        postgres_arg_i64(&args, postgres_key(members->event_id, 0));
    }
    if (which == PG_EACH_SESSION_VIEWER || which == PG_EACH_SESSION_NAME) {
        postgres_arg_i64(&args, postgres_key(members->own_id, 0));
    }
    if (which == PG_EACH_OWN_NAME || which == PG_EACH_SESSION_NAME) {
        postgres_arg_text(&args, members->query->event);
    }
    enum err err = postgres_run(members->link, which, &args, &members->rows);
    if (err != ERR_NONE || PQntuples(members->rows) == 0) {
        return err;
    }
    postgres_arg_i64(&range, postgres_i64(members->rows, 0, 0));
    postgres_arg_i64(&range, postgres_i64(members->rows, PQntuples(members->rows) - 1, 0));
    members->earlier_at = 0;
    return postgres_run(members->link, PG_EACH_VIEWING, &range, &members->earlier);
}

static enum err each_page(struct members *members, int64_t first_key, int64_t last_key,
                          records_member_fn *fn, void *ctx)
{
    enum err err = ERR_NONE;
    for (bool more = true; more && err == ERR_NONE;) {
        err = read_page(members, first_key, last_key);
        const int rows = err == ERR_NONE ? PQntuples(members->rows) : 0;
        for (int i = 0; i < rows && err == ERR_NONE; i++) {
            struct records_member member;
            first_key = postgres_i64(members->rows, i, 0) + 1;
            err = read_member(members, i, &member);
            err = err == ERR_NONE ? fn(ctx, &member) : err;
        }
        more = rows == POSTGRES_PAGE_ROWS;
        PQclear(members->rows);
        PQclear(members->earlier);
        members->rows = members->earlier = NULL;
    }
    return err;
}

/* Numbers have no holes: so the next page begins at its number if anything comes at all. */
static enum err find_next(struct members *members, int64_t last_key, uint32_t *next)
{
    struct postgres_args args = {0};
    int64_t one;
    *next = UINT32_MAX;
    if ((uint32_t)last_key == UINT32_MAX) {
        return ERR_NONE;
    }
    postgres_arg_i64(&args, last_key + 1);
    postgres_arg_i64(&args, postgres_key(members->audience_id, UINT32_MAX));
    enum err err = postgres_one(members->link, PG_MEMBER_AFTER, &args, &one);
    if (err == ERR_NONE) {
        *next = (uint32_t)(last_key + 1);
    }
    return err == ERR_NOT_FOUND ? ERR_NONE : err;
}

static enum err scan(struct members *members, uint32_t *next, records_member_fn *fn, void *ctx)
{
    const struct records_members_query *query = members->query;
    const int64_t first_key = postgres_key(members->audience_id, query->first);
    const uint32_t left = UINT32_MAX - query->first;
    const int64_t last_key =
        query->rows_max == 0 || query->rows_max > left
            ? postgres_key(members->audience_id, UINT32_MAX)
            : postgres_key(members->audience_id, query->first + query->rows_max - 1);
    enum err err = each_page(members, first_key, last_key, fn, ctx);
    return err != ERR_NONE ? err : find_next(members, last_key, next);
}

enum err postgres_members_each(struct records_link *base, const struct records_members_query *query,
                               uint32_t *next, records_member_fn *fn, void *ctx)
{
    struct members members = {.link = postgres_link_of(base), .query = query};
    *next = UINT32_MAX;
    enum err err = postgres_read_begin(members.link);
    if (err != ERR_NONE) {
        return err;
    }
    err = postgres_audience_id(members.link, query->event, query->session, &members.event_id,
                               &members.audience_id);
    members.own_id = members.audience_id;
    if (err == ERR_NONE && query->session.len > 0) {
        err = postgres_audience_id(members.link, query->event, SLICE_EMPTY, &members.event_id,
                                   &members.own_id);
    }
    if (err == ERR_NONE) {
        err = scan(&members, next, fn, ctx);
    }
    err = err == ERR_NOT_FOUND ? ERR_NONE : err; /* nobody has been there */
    postgres_read_end(members.link);
    for (uint32_t i = 0; i < members.sets_count; i++) {
        free(members.sets[i].packed);
    }
    free(members.sets);
    free(members.spans);
    return err;
}
