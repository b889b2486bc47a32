/* postgres_source.c -- profiles from the platform's own PostgreSQL database, by a query that the
 * operator wrote.
 *
 * A connection of its own, with the database's own search_path: the query sees the platform's
 * tables and none of ours, also when both are in one database.  Its transactions are read-only, and
 * each query has a few seconds.  :event and :viewer become $1 and $2; that is done here, because
 * only outside of literals, quoted names and comments are they parameters.  What is wrong with a
 * query is known at once: it is prepared, looked at and run once with ids that nobody has. Source:
 * https://www.postgresql.org/docs/15/sql-syntax-lexical.html */
#include "records/postgres.h"

#include "records/profile_source.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define SOURCE_STATEMENT_MS "5000"
#define SOURCE_ANSWER_MS    7000

/* Look-ups that go down one pipeline. */
#define SOURCE_PIPE_MAX 256

#define QUERY_BYTES_MAX (64 * 1024)

/* Types whose text is not that of an array: bytea is refused, these are taken as they are. */
enum { OID_BYTEA = 17, OID_TEXT = 25, OID_NAME = 19, OID_JSON = 114, OID_BPCHAR = 1042 };
enum { OID_VARCHAR = 1043, OID_JSONB = 3802, OID_UNKNOWN = 705 };

struct query {
    const char *what;    /* "the profile query" */
    const char *name;    /* of the prepared statement */
    char *sql;           /* with $1 and $2; NULL: not given */
    bool viewer;         /* it may say :viewer */
    uint64_t connection; /* on which it was prepared */
};

struct postgres_source {
    struct profile_source source; /* first */
    struct postgres_conn conn;
    struct query profile, count;
    int name, groups; /* columns; name -1: none */
    Oid groups_type, name_type;
};

/* ---- parameters ---- */

struct scanner {
    const char *at;
    struct buffer *out;
    const char *wrong; /* a parameter that is none */
    size_t wrong_len;
    bool viewer;
};

static void copy(struct scanner *scanner, size_t bytes)
{
    buffer_put(scanner->out, slice_of(scanner->at, bytes));
    scanner->at += bytes;
}

static bool in_name(char byte)
{
    return isalnum((unsigned char)byte) || byte == '_' || (byte & 0x80) != 0;
}

/* Up to and with the next `quote`, which is doubled when meant; escapes: also \' as in E'…'. */
static void copy_quoted(struct scanner *scanner, char quote, bool escapes)
{
    copy(scanner, 1);
    while (*scanner->at != '\0') {
        if (escapes && scanner->at[0] == '\\' && scanner->at[1] != '\0') {
            copy(scanner, 2);
        } else if (scanner->at[0] == quote && scanner->at[1] == quote) {
            copy(scanner, 2);
        } else {
            const bool end = scanner->at[0] == quote;
            copy(scanner, 1);
            if (end) {
                return;
            }
        }
    }
}

/* Comments nest. */
static void copy_comment(struct scanner *scanner)
{
    int depth = 0;
    do {
        const bool opens = strncmp(scanner->at, "/*", 2) == 0;
        const bool closes = strncmp(scanner->at, "*/", 2) == 0;
        depth += opens - closes;
        copy(scanner, opens || closes ? 2 : 1);
    } while (depth > 0 && *scanner->at != '\0');
}

/* $tag$ … $tag$; false: it is none. */
static bool copy_dollar(struct scanner *scanner)
{
    size_t len = 1;
    while (in_name(scanner->at[len])) {
        len++;
    }
    if (scanner->at[len] != '$' || isdigit((unsigned char)scanner->at[1])) {
        return false;
    }
    const char *tag = scanner->at;
    len++;
    copy(scanner, len);
    while (*scanner->at != '\0' && strncmp(scanner->at, tag, len) != 0) {
        copy(scanner, 1);
    }
    copy(scanner, *scanner->at == '\0' ? 0 : len);
    return true;
}

static void wrong(struct scanner *scanner, size_t len)
{
    if (scanner->wrong == NULL) {
        scanner->wrong = scanner->at;
        scanner->wrong_len = len;
    }
    copy(scanner, len);
}

/* :event, :viewer; not the cast ::type, not := */
static void copy_colon(struct scanner *scanner)
{
    size_t len = 1;
    if (scanner->at[1] == ':') {
        copy(scanner, 2);
        return;
    }
    while (in_name(scanner->at[len])) {
        len++;
    }
    struct slice name = slice_of(scanner->at + 1, len - 1);
    if (slice_equal(name, SLICE_LIT("event"))) {
        buffer_put_lit(scanner->out, "$1");
        scanner->at += len;
    } else if (scanner->viewer && slice_equal(name, SLICE_LIT("viewer"))) {
        buffer_put_lit(scanner->out, "$2");
        scanner->at += len;
    } else if (name.len > 0 && !isdigit((unsigned char)name.ptr[0])) {
        wrong(scanner, len);
    } else {
        copy(scanner, len); /* a[1:2] */
    }
}

/* The query with $1 and $2 in place of its parameters. */
static void translate(struct scanner *scanner)
{
    const char *start = scanner->at;
    while (*scanner->at != '\0') {
        const char byte = *scanner->at, before = scanner->at == start ? ' ' : scanner->at[-1];
        const bool word = scanner->at != start && in_name(before);
        if (byte == '\'') {
            const bool first = scanner->at < start + 2 || !in_name(scanner->at[-2]);
            copy_quoted(scanner, '\'', (before == 'E' || before == 'e') && first);
        } else if (byte == '"') {
            copy_quoted(scanner, '"', false);
        } else if (strncmp(scanner->at, "--", 2) == 0) {
            copy(scanner, strcspn(scanner->at, "\r\n"));
        } else if (strncmp(scanner->at, "/*", 2) == 0) {
            copy_comment(scanner);
        } else if (byte == ':') {
            copy_colon(scanner);
        } else if (byte == '$' && !word && isdigit((unsigned char)scanner->at[1])) {
            wrong(scanner, 1 + strspn(scanner->at + 1, "0123456789"));
        } else if (byte != '$' || word || !copy_dollar(scanner)) {
            copy(scanner, 1);
        }
    }
}

static enum err take_query(struct records_link *link, struct query *query, const char *sql)
{
    struct buffer out;
    buffer_init(&out, QUERY_BYTES_MAX);
    struct scanner scanner = {.at = sql, .out = &out, .viewer = query->viewer};
    translate(&scanner);
    buffer_put_char(&out, '\0');
    enum err err = ERR_NONE;
    if (scanner.wrong != NULL) {
        err = records_fail(link, ERR_INVALID, "%s has the parameter %.*s; there %s", query->what,
                           (int)scanner.wrong_len, scanner.wrong,
                           query->viewer ? "are :event and :viewer" : "is only :event");
    } else if (buffer_outcome(&out) == BUFFER_FULL) {
        err = records_fail(link, ERR_INVALID, "%s is too long", query->what);
    } else {
        query->sql = memory_alloc(buffer_slice(&out).len);
        memcpy(query->sql, buffer_slice(&out).ptr, buffer_slice(&out).len);
    }
    buffer_fini(&out);
    return err;
}

/* ---- running ---- */

/* The database's words.  Our own store is neither damaged nor of another version when the
 * platform's is. */
static enum err source_fail(struct postgres_source *source, struct records_link *link,
                            const char *what, enum err err)
{
    err = err == ERR_BUSY || err == ERR_MEMORY || err == ERR_INVALID ? err : ERR_DATABASE;
    return records_fail(link, err, "%s: %.400s", what, source->conn.why);
}

static enum err ready(struct postgres_source *source, struct records_link *link,
                      struct query *query)
{
    static const Oid types[] = {OID_TEXT, OID_TEXT};
    enum err err = postgres_conn_ready(&source->conn);
    if (err == ERR_NONE && query->connection != source->conn.connections) {
        err = postgres_conn_prepare(&source->conn, query->name, query->sql, types,
                                    query->viewer ? 2 : 1);
        query->connection = err == ERR_NONE ? source->conn.connections : 0;
    }
    return err == ERR_NONE ? err : source_fail(source, link, query->what, err);
}

static void bind(struct postgres_args *args, const struct query *query, struct slice event,
                 struct slice viewer)
{
    postgres_arg_text(args, event);
    if (query->viewer) {
        postgres_arg_text(args, viewer);
    }
}

static enum err run(struct postgres_source *source, struct records_link *link, struct query *query,
                    struct slice event, struct slice viewer, PGresult **result)
{
    struct postgres_args args = {0};
    *result = NULL;
    enum err err = ready(source, link, query);
    if (err != ERR_NONE) {
        return err;
    }
    bind(&args, query, event, viewer);
    err = postgres_conn_run(&source->conn, query->name, &args, false, result);
    return err == ERR_NONE ? err : source_fail(source, link, query->what, err);
}

/* ---- opening ---- */

/* By name where there is one, else by position. */
static enum err find_columns(struct postgres_source *source, struct records_link *link,
                             const PGresult *result)
{
    const int count = PQnfields(result);
    int name = -1, groups = -1;
    for (int i = 0; i < count; i++) {
        name = strcasecmp(PQfname(result, i), "name") == 0 ? i : name;
        groups = strcasecmp(PQfname(result, i), "groups") == 0 ? i : groups;
    }
    if (count > 2) {
        return records_fail(link, ERR_INVALID,
                            "the profile query gives %d columns; it must give name and groups, or "
                            "groups alone",
                            count);
    }
    if (count == 1 && name == 0) {
        return records_fail(link, ERR_INVALID,
                            "the profile query gives a name alone; it must give groups");
    }
    if (count == 2) {
        groups = groups >= 0 ? groups : name >= 0 ? 1 - name : 1;
        name = 1 - groups;
    }
    source->name = name;
    source->groups = groups >= 0 ? groups : 0;
    source->groups_type = PQftype(result, source->groups);
    source->name_type = name >= 0 ? PQftype(result, name) : OID_TEXT;
    return ERR_NONE;
}

/* Prepared and run once, with ids that nobody has: so it is known to read, and only to read. */
static enum err try_query(struct postgres_source *source, struct records_link *link,
                          struct query *query, PGresult **result)
{
    enum err err = run(source, link, query, SLICE_EMPTY, SLICE_EMPTY, result);
    if (err != ERR_NONE) {
        const char *state = source->conn.sqlstate;
        if (strcmp(state, "25006") == 0) {
            return records_fail(link, ERR_INVALID, "%s may only read: it must be one SELECT",
                                query->what);
        }
        /* What the database says of the query, but not of itself or of its own moment. */
        const bool of_query = state[0] != '\0' && strncmp(state, "57", 2) != 0 &&
                              strncmp(state, "53", 2) != 0 && strncmp(state, "08", 2) != 0;
        return of_query ? source_fail(source, link, query->what, ERR_INVALID) : err;
    }
    if (PQnfields(*result) == 0 || PQresultStatus(*result) != PGRES_TUPLES_OK) {
        return records_fail(link, ERR_INVALID, "%s must be one SELECT", query->what);
    }
    return ERR_NONE;
}

static enum err open_source(struct postgres_source *source, struct records_link *link,
                            const struct records_profile_source *from)
{
    PGresult *result = NULL;
    if (from->query == NULL || from->query[0] == '\0') {
        return records_fail(link, ERR_INVALID, "the profiles' query is not given");
    }
    enum err err = take_query(link, &source->profile, from->query);
    if (err == ERR_NONE && from->count_query != NULL) {
        err = take_query(link, &source->count, from->count_query);
    }
    if (err == ERR_NONE) {
        err = try_query(source, link, &source->profile, &result);
        err = err == ERR_NONE ? find_columns(source, link, result) : err;
        PQclear(result);
    }
    if (err == ERR_NONE && source->count.sql != NULL) {
        err = try_query(source, link, &source->count, &result);
        if (err == ERR_NONE && PQnfields(result) != 1) {
            err = records_fail(link, ERR_INVALID, "the count query must give one column");
        }
        PQclear(result);
    }
    return err;
}

static void close_source(struct profile_source *base)
{
    struct postgres_source *source = (struct postgres_source *)base;
    postgres_conn_fini(&source->conn);
    free(source->profile.sql);
    free(source->count.sql);
    free(source);
}

/* ---- rows ---- */

static enum err bad_column(struct records_link *link, const char *column, struct slice event,
                           struct slice viewer, const char *what)
{
    return records_fail(link, ERR_INVALID,
                        "the profile query's column \"%s\" of viewer %.*s in event %.*s %s", column,
                        SLICE_ARG(viewer), SLICE_ARG(event), what);
}

/* One element of an array's text, without its quotes, in place; false at the end.
 * Source: https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO */
static bool next_element(char **at, struct slice *element)
{
    char *from = *at, *to = *at;
    if (*from == '\0' || *from == '}') {
        return false;
    }
    const char *start = to;
    const bool quoted = *from == '"';
    for (from += quoted; *from != '\0' && (quoted ? *from != '"' : *from != ',' && *from != '}');) {
        from += *from == '\\' && from[1] != '\0';
        *to++ = *from++;
    }
    from += quoted && *from == '"';
    *element = slice_of(start, (size_t)(to - start));
    if (!quoted && slice_equal(*element, SLICE_LIT("NULL"))) {
        element->len = 0;
    }
    *at = from + (*from == ',');
    return true;
}

/* {a,"b c"} of any array type. */
static const char *array_groups(char *text, char packed[GROUPS_PACKED_BYTES_MAX], size_t *len)
{
    struct slice ids[PROFILE_SOURCE_GROUPS_MAX], id;
    size_t count = 0;
    for (char *at = text + 1; next_element(&at, &id);) {
        if (count == PROFILE_SOURCE_GROUPS_MAX) {
            return "has too many groups";
        }
        if (id.len > 0) {
            ids[count++] = id;
        }
    }
    return profile_source_pack(ids, count, packed, len);
}

static bool plain_text(Oid type)
{
    return type == OID_TEXT || type == OID_VARCHAR || type == OID_BPCHAR || type == OID_NAME ||
           type == OID_JSON || type == OID_JSONB || type == OID_UNKNOWN;
}

static enum err read_row(struct postgres_source *source, struct records_link *link,
                         PGresult *result, char packed[GROUPS_PACKED_BYTES_MAX],
                         struct profile *profile)
{
    size_t len = 0;
    const char *wrong_name = NULL, *wrong_groups;
    if (source->name >= 0) {
        profile->name = postgres_text(result, 0, source->name);
        wrong_name =
            source->name_type == OID_BYTEA ? "is no text" : profile_source_name(profile->name);
    }
    if (wrong_name != NULL) {
        return bad_column(link, "name", profile->event, profile->viewer, wrong_name);
    }
    struct slice text = postgres_text(result, 0, source->groups);
    if (source->groups_type == OID_BYTEA) {
        wrong_groups = "is no text";
    } else if (!plain_text(source->groups_type) && text.len > 0 && text.ptr[0] == '{') {
        wrong_groups = array_groups(PQgetvalue(result, 0, source->groups), packed, &len);
    } else {
        wrong_groups = profile_source_groups(text, packed, &len);
    }
    if (wrong_groups != NULL) {
        return bad_column(link, "groups", profile->event, profile->viewer, wrong_groups);
    }
    profile->groups = slice_of(packed, len);
    return ERR_NONE;
}

/* ---- look-ups ---- */

/* The first row of a result, for fn; a second one does not count. */
static enum err give_row(struct postgres_source *source, struct records_link *link,
                         PGresult *result, struct profile *profile, records_profile_fn *fn,
                         void *ctx)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    if (PQntuples(result) == 0) {
        return ERR_NOT_FOUND;
    }
    enum err err = read_row(source, link, result, packed, profile);
    return err == ERR_NONE ? fn(ctx, profile) : err;
}

static enum err get_one(struct profile_source *base, struct records_link *link, struct slice event,
                        struct slice viewer, records_profile_fn *fn, void *ctx)
{
    struct postgres_source *source = (struct postgres_source *)base;
    struct profile profile = {.event = event, .viewer = viewer};
    PGresult *result;
    enum err err = run(source, link, &source->profile, event, viewer, &result);
    if (err == ERR_NONE) {
        err = give_row(source, link, result, &profile, fn, ctx);
    } else if (err == ERR_INVALID) {
        err = ERR_DATABASE; /* not the row is to blame */
    }
    PQclear(result);
    return err;
}

struct batch {
    struct postgres_source *source;
    struct records_link *link;
    struct profile_lookup *lookups;
    bool answered[SOURCE_PIPE_MAX];
};

static enum err take_one(void *ctx, uint32_t number, PGresult *result)
{
    struct batch *batch = ctx;
    struct profile_lookup *lookup = &batch->lookups[number];
    struct profile profile = {.event = lookup->event, .viewer = lookup->viewer};
    enum err err =
        give_row(batch->source, batch->link, result, &profile, profile_source_found, lookup);
    batch->answered[number] = true;
    if (err == ERR_INVALID) {
        lookup->broken = true;
        LOG_EVERY(10000, LOG_WARN, "records", "%s", records_why(batch->link));
    }
    return ERR_NONE;
}

/* All at once; what comes after one that fails has no answer, and is asked again alone. */
static enum err get_batch(struct batch *batch, size_t count)
{
    struct postgres_source *source = batch->source;
    uint32_t sent = 0;
    for (size_t i = 0; i < count; i++) {
        batch->lookups[i].found = batch->lookups[i].broken = batch->answered[i] = false;
        batch->lookups[i].groups_len = 0;
    }
    enum err err = ready(source, batch->link, &source->profile);
    if (err != ERR_NONE) {
        return err;
    }
    err = postgres_pipe_begin(&source->conn);
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        struct postgres_args args = {0};
        bind(&args, &source->profile, batch->lookups[i].event, batch->lookups[i].viewer);
        err = postgres_pipe_run(&source->conn, source->profile.name, &args, false, &sent);
    }
    if (err == ERR_NONE) {
        err = postgres_pipe_end(&source->conn, sent, take_one, batch);
    }
    if (err != ERR_NONE && source->conn.db == NULL) {
        return source_fail(source, batch->link, source->profile.what, err);
    }
    err = ERR_NONE;
    for (size_t i = 0; i < count && err == ERR_NONE; i++) {
        if (!batch->answered[i]) {
            err = profile_source_look_up(&source->source, batch->link, &batch->lookups[i]);
        }
    }
    return err;
}

static enum err get_many(struct profile_source *base, struct records_link *link,
                         struct profile_lookup *lookups, size_t count)
{
    struct batch batch = {.source = (struct postgres_source *)base, .link = link};
    enum err err = ERR_NONE;
    for (size_t i = 0, some; i < count && err == ERR_NONE; i += some) {
        some = count - i < SOURCE_PIPE_MAX ? count - i : SOURCE_PIPE_MAX;
        batch.lookups = lookups + i;
        err = get_batch(&batch, some);
    }
    return err;
}

static enum err count_profiles(struct profile_source *base, struct records_link *link,
                               struct slice event, uint64_t *count)
{
    struct postgres_source *source = (struct postgres_source *)base;
    PGresult *result;
    *count = 0;
    if (source->count.sql == NULL || event.len == 0) {
        return records_fail(link, ERR_NOT_FOUND,
                            "profiles come from elsewhere and are not counted");
    }
    enum err err = run(source, link, &source->count, event, SLICE_EMPTY, &result);
    if (err != ERR_NONE) {
        return err;
    }
    const char *text = PQntuples(result) == 0 ? "" : PQgetvalue(result, 0, 0);
    char *end;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || number > INT64_MAX) {
        err = records_fail(link, ERR_DATABASE, "the count query gives no number for event %.*s",
                           SLICE_ARG(event));
    } else {
        *count = number;
    }
    PQclear(result);
    return err;
}

enum err postgres_source_open(struct records_link *link, const struct records_profile_source *from,
                              struct profile_source **out)
{
    static const char setup[] = "SET default_transaction_read_only = on; SET lock_timeout = 2000; "
                                "SET statement_timeout = " SOURCE_STATEMENT_MS;
    struct postgres_source *source = memory_zalloc(sizeof *source);
    source->source = (struct profile_source){get_one, get_many, count_profiles, close_source};
    source->profile =
        (struct query){.what = "the profile query", .name = "profile", .viewer = true};
    source->count = (struct query){.what = "the count query", .name = "count"};
    postgres_conn_init(&source->conn, from->database, setup);
    source->conn.answer_ms = SOURCE_ANSWER_MS;
    enum err err = open_source(source, link, from);
    if (err != ERR_NONE) {
        close_source(&source->source);
        return err;
    }
    *out = &source->source;
    return ERR_NONE;
}
