/* sqlite_check.c -- is this store whole?  The database's own checks, then ours.
 *
 * Each of our rules is a query that selects a sentence for every violation.  Figures of an audience
 * are compared with its rows only where its `seq` is covered: otherwise rows may be behind, and the
 * journal holds the rest (core/changes.h); or a viewer is counted no more whose rows are still to
 * be emptied.  Detached events are being deleted: only the database's own checks look at them. */
#include "records/sqlite.h"

#include <stdio.h>

/* Findings of one rule that are told; more of the same help nobody. */
#define FINDINGS_MAX 20

#define SQL_NAMED                                                                                  \
    "named AS (SELECT audience.*, 'audience ' || event.name || '/' || session AS title "           \
    "FROM audience JOIN event ON event.id = audience.event_id AND event.name IS NOT NULL) "
#define SQL_COVERED "seq <= coalesce((SELECT value FROM meta WHERE name = 'covered_seq'), 0)"

#define SQL_EVERY                                                                                  \
    "every AS (SELECT key, start_ms, end_ms FROM attendance WHERE start_ms > 0 "                   \
    "UNION ALL SELECT key, start_ms, end_ms FROM viewing) "

static const char *const rules[] = {
    /* ---- audiences ---- */
    "SELECT 'event ' || name || ' has no audience of its own' FROM event "
    "WHERE name IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM audience WHERE event_id = event.id AND session = '')",

    "WITH " SQL_NAMED ", counts AS ("
    " SELECT audience_id, count(*) AS stored FROM attendance GROUP BY audience_id),"
    " counted AS (SELECT title, seq, members, coalesce(stored, 0) AS stored"
    " FROM named LEFT JOIN counts ON audience_id = named.id) "
    "SELECT title || ' says ' || members || ' members, but ' || stored || ' are stored' "
    "FROM counted WHERE stored > members OR (stored < members AND " SQL_COVERED ")",

    "WITH " SQL_NAMED ", counts AS ("
    " SELECT audience_id, count(*) AS stored FROM attendance WHERE start_ms > 0"
    " GROUP BY audience_id),"
    " counted AS (SELECT title, seq, attended, coalesce(stored, 0) + gone_attended AS stored"
    " FROM named LEFT JOIN counts ON audience_id = named.id) "
    "SELECT title || ' says ' || attended || ' attended, but it should be ' || stored "
    "FROM counted WHERE stored <> attended AND " SQL_COVERED,

    "WITH " SQL_NAMED ", " SQL_EVERY ", sums AS (SELECT key >> 32 AS audience_id,"
    " count(*) AS viewings, sum(end_ms - start_ms) AS total FROM every GROUP BY 1),"
    " counted AS (SELECT title, seq, logins, total_ms,"
    " coalesce(viewings, 0) + gone_viewings AS viewings, coalesce(total, 0) + gone_ms AS total"
    " FROM named LEFT JOIN sums ON audience_id = named.id) "
    "SELECT title || ' says ' || logins || ' viewings of ' || total_ms || ' ms in all, but it "
    "should be ' || viewings || ' of ' || total || ' ms' "
    "FROM counted WHERE (viewings <> logins OR total <> total_ms) AND " SQL_COVERED,

    "WITH " SQL_NAMED
    "SELECT title || ' has a peak of ' || peak_count || ', but only ' || members || ' members' "
    "FROM named WHERE peak_count > members AND gone_attended = 0",

    "WITH " SQL_NAMED "SELECT title || ' has no readable counts of its open frame' FROM named "
    "WHERE NOT (json_valid(frame_groups) AND json_valid(frame_countries))",

    /* ---- viewers ---- */
    "SELECT 'event ' || name || ': viewer number ' || viewer_no || ' has an empty id' "
    "FROM viewer JOIN event ON event.id = event_id WHERE viewer = ''",

    "SELECT 'event ' || name || ' has viewer ' || viewer || ' ' || count(*) || ' times' "
    "FROM viewer JOIN event ON event.id = event_id "
    "GROUP BY event_id, viewer HAVING count(*) > 1",

    "SELECT 'event ' || name || ': viewer number ' || viewer_no || ' never attended' "
    "FROM viewer JOIN event ON event.id = viewer.event_id "
    "JOIN audience ON audience.event_id = event.id AND session = '' "
    "WHERE NOT EXISTS (SELECT 1 FROM attendance"
    " WHERE attendance.key = (audience.id << 32) + viewer.viewer_no)",

    "SELECT 'event ' || name || ': viewer number ' || viewer.viewer_no || ' is erased, but its id "
    "is not' "
    "FROM viewer JOIN event ON event.id = viewer.event_id "
    "JOIN audience ON audience.event_id = event.id AND session = '' "
    "JOIN attendance ON attendance.key = (audience.id << 32) + viewer.viewer_no "
    "WHERE attendance.start_ms = 0",

    /* ---- members ---- */
    "WITH " SQL_NAMED "SELECT title || ': member ' || member_no || ' is erased, but not empty' "
    "FROM attendance JOIN named ON named.id = audience_id WHERE start_ms = 0 AND (end_ms <> 0"
    " OR expiry_ms <> 0 OR country <> 'ZZ' OR groups <> 0 OR lease_groups <> 0"
    " OR EXISTS (SELECT 1 FROM viewing WHERE viewing.key = attendance.key))",

    "WITH " SQL_NAMED "SELECT title || ': member ' || member_no || ' is viewer number ' || "
    "viewer_no || ', who is not stored' FROM attendance JOIN named ON named.id = audience_id "
    "WHERE start_ms > 0 AND " SQL_COVERED " AND NOT EXISTS (SELECT 1 FROM viewer"
    " WHERE viewer.key = (named.event_id << 32) + attendance.viewer_no)",

    "WITH " SQL_NAMED "SELECT title || ' has viewer number ' || viewer_no || ' more than once' "
    "FROM attendance JOIN named ON named.id = audience_id "
    "GROUP BY audience_id, viewer_no HAVING count(*) > 1",

    "WITH " SQL_NAMED "SELECT title || ': member ' || member_no || ' is viewer number ' || "
    "viewer_no FROM attendance JOIN named ON named.id = audience_id "
    "WHERE session = '' AND viewer_no <> member_no",

    "WITH " SQL_NAMED "SELECT title || ': member ' || member_no || ' has a country \"' || country "
    "|| '\"' FROM attendance JOIN named ON named.id = audience_id "
    "WHERE country NOT GLOB '[A-Z0-9][A-Z0-9]'",

    "WITH " SQL_NAMED ", used AS ("
    " SELECT DISTINCT audience_id, groups AS set_no FROM attendance"
    " UNION SELECT DISTINCT audience_id, lease_groups FROM attendance) "
    "SELECT title || ' uses group set ' || set_no || ', which is not stored' "
    "FROM used JOIN named ON named.id = audience_id "
    "WHERE set_no <> 0 AND NOT EXISTS (SELECT 1 FROM group_set"
    " WHERE group_set.event_id = named.event_id AND group_set.set_no = used.set_no)",

    "SELECT 'event ' || event.name || ' has ' || count(*) || ' group sets numbered up to '"
    " || max(set_no) FROM group_set JOIN event ON event.id = event_id "
    "GROUP BY event_id HAVING min(set_no) < 1 OR max(set_no) <> count(*)",

    "SELECT 'event ' || event.name || ': group set ' || set_no || ' is no list of groups' "
    "FROM group_set JOIN event ON event.id = event_id "
    "WHERE NOT json_valid(groups) OR json_type(groups) <> 'array'",

    /* ---- viewings ---- */
    "WITH " SQL_NAMED ", " SQL_EVERY
    "SELECT title || ': a viewing of member ' || (key & 0xffffffff) || ' ends at ' || end_ms || "
    "', before it starts at ' || start_ms "
    "FROM every JOIN named ON named.id = key >> 32 WHERE end_ms < start_ms",

    "WITH " SQL_NAMED ", ordered AS (SELECT key, start_ms, end_ms,"
    " lead(start_ms, 1, (SELECT start_ms FROM attendance WHERE attendance.key = viewing.key))"
    " OVER (PARTITION BY key ORDER BY start_ms) AS next_ms FROM viewing) "
    "SELECT title || ': a viewing of member ' || (key & 0xffffffff) || ' ends at ' || end_ms || "
    "', after the next has started at ' || next_ms "
    "FROM ordered JOIN named ON named.id = key >> 32 WHERE end_ms >= next_ms",

    /* ---- frames ---- */
    "WITH " SQL_NAMED ", ordered AS ("
    " SELECT *, lag(end_ms) OVER (PARTITION BY audience_id ORDER BY start_ms) AS before_ms"
    " FROM frame) "
    "SELECT title || ': the frame of ' || start_ms || ' is empty or overlaps the one before' "
    "FROM ordered JOIN named ON named.id = audience_id "
    "WHERE end_ms <= start_ms OR before_ms > start_ms",

    "WITH " SQL_NAMED "SELECT title || ': the frame of ' || start_ms || ' has no readable counts' "
    "FROM frame JOIN named ON named.id = audience_id "
    "WHERE NOT (json_valid(groups) AND json_valid(countries))",

    "WITH " SQL_NAMED "SELECT title || ': the frame of ' || start_ms || ' has ' || viewers || "
    "' viewers, but its countries add up to another number' "
    "FROM frame JOIN named ON named.id = audience_id "
    "WHERE json_valid(countries)"
    " AND viewers <> (SELECT coalesce(sum(value), 0) FROM json_each(countries))",

    /* ---- profiles ---- */
    "SELECT 'the profile of ' || viewer || ' in event ' || event || ' has no list of groups' "
    "FROM profile WHERE NOT json_valid(groups) OR json_type(groups) <> 'array'",

    /* ---- directory and keys ---- */
    "SELECT 'the directory has an entry without an event or with an impossible start: ' || event "
    "|| '/' || session FROM directory WHERE event = '' OR start_ms < 0",

    "SELECT 'API key ' || id || ' has no proper id, hash or roles' FROM api_key "
    "WHERE id GLOB '*[^A-Za-z0-9]*' OR length(id) <> 12 OR length(hash) <> 32"
    " OR roles NOT BETWEEN 1 AND 7",

    "SELECT 'there are API keys, but their version is not counted' WHERE EXISTS ("
    "SELECT 1 FROM api_key) AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'keys_version')",
};

struct telling {
    records_finding_fn *fn;
    void *ctx;
    uint64_t findings;
};

/* The database's own check says "ok" when there is nothing to tell; else it may say several things
 * in one text, under a headline with asterisks. */
static void tell(struct telling *telling, struct slice text)
{
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
        struct slice line = slice_of(text.ptr, len);
        text = end == NULL ? SLICE_EMPTY : slice_of(end + 1, text.len - len - 1);
        if (len == 0 || line.ptr[0] == '*' || slice_equal(line, SLICE_LIT("ok"))) {
            continue;
        }
        if (telling->findings++ < FINDINGS_MAX) {
            char words[512];
            snprintf(words, sizeof words, "%.*s", SLICE_ARG(line));
            telling->fn(telling->ctx, words);
        }
    }
}

static enum err run_rule(struct sqlite_link *link, const char *sql, records_finding_fn *fn,
                         void *ctx)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(link->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_fail(link, sql);
    }
    enum err err = ERR_NONE;
    struct telling telling = {.fn = fn, .ctx = ctx};
    while (sqlite_row(link, stmt, &err)) {
        tell(&telling, sqlite_column_slice(stmt, 0));
    }
    sqlite3_finalize(stmt);
    if (telling.findings > FINDINGS_MAX) {
        char more[64];
        snprintf(more, sizeof more, "… and %llu more like it",
                 (unsigned long long)(telling.findings - FINDINGS_MAX));
        fn(ctx, more);
    }
    return err;
}

/* PRAGMA foreign_key_check gives a row (table, rowid, parent, constraint) for each orphan. */
static enum err check_parents(struct sqlite_link *link, records_finding_fn *fn, void *ctx)
{
    return run_rule(link,
                    "SELECT count(*) || ' rows of table ' || \"table\" || ' have no ' || parent || "
                    "' row' FROM pragma_foreign_key_check GROUP BY \"table\", parent",
                    fn, ctx);
}

enum err sqlite_check(struct records_link *base, records_finding_fn *fn, void *ctx)
{
    struct sqlite_link *link = sqlite_link_of(base);
    enum err err = sqlite_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    err = run_rule(link, "PRAGMA integrity_check", fn, ctx);
    if (err == ERR_NONE) {
        err = check_parents(link, fn, ctx);
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && err == ERR_NONE; i++) {
        err = run_rule(link, rules[i], fn, ctx);
    }
    sqlite_read_end(link);
    return err;
}
