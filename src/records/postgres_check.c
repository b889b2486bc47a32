/* postgres_check.c -- is this store whole?  The rules of sqlite_check.c for PostgreSQL's tables,
 * and that every row has its parent (there are no foreign keys).
 *
 * Each rule is a query that selects a sentence for every violation.  Figures of an audience are
 * compared with its rows only where its `seq` is covered: otherwise rows may be behind, and the
 * journal holds the rest (core/changes.h); or a viewer is counted no more whose rows are still to
 * be emptied.  Detached events are being deleted: only orphans are looked for there.  (PostgreSQL's
 * own pages are checked by its pg_amcheck.) */
#include "records/postgres.h"

#include "base/assert.h"

#include <stdio.h>

/* Findings of one rule that are told; more of the same help nobody. */
#define FINDINGS_MAX      20
#define FINDINGS_MAX_TEXT "21"

/* All tables are read, whatever that takes. */
#define CHECK_ANSWER_MS (4 * 3600 * 1000LL)

#define PG_NAMED                                                                                   \
    "named AS (SELECT audience.*, 'audience ' || event.name || '/' || session AS title "           \
    "FROM audience JOIN event ON event.id = audience.event_id AND event.name IS NOT NULL) "
#define PG_COVERED "seq <= coalesce((SELECT value FROM meta WHERE name = 'covered_seq'), 0)"

/* Keys in their halves. */
#define PG_MEMBER                                                                                  \
    "member AS (SELECT *, (key >> 32)::integer AS audience_id, key & 4294967295 AS member_no "     \
    "FROM attendance) "
#define PG_EVERY                                                                                   \
    "every AS (SELECT key, start_ms, end_ms FROM attendance WHERE start_ms > 0 "                   \
    "UNION ALL SELECT key, start_ms, end_ms FROM viewing) "
#define PG_WHO                                                                                     \
    "who AS (SELECT key, viewer, (key >> 32)::integer AS event_id, key & 4294967295 AS viewer_no " \
    "FROM viewer) "

#define PG_ORPHANS(table, what, from)                                                              \
    "SELECT count(*) || ' rows of table " table " have no " what " row' FROM " from                \
    " HAVING count(*) > 0"

static const char *const rules[] = {
    /* ---- parents ---- */
    PG_ORPHANS("audience", "event",
               "audience WHERE NOT EXISTS (SELECT 1 FROM event WHERE id = event_id)"),
    PG_ORPHANS("group_set", "event",
               "group_set WHERE NOT EXISTS (SELECT 1 FROM event WHERE id = event_id)"),
    PG_ORPHANS("frame", "audience",
               "frame WHERE NOT EXISTS (SELECT 1 FROM audience WHERE id = audience_id)"),
    PG_ORPHANS("viewer", "event",
               "viewer WHERE NOT EXISTS (SELECT 1 FROM event WHERE id = key >> 32)"),
    PG_ORPHANS("attendance", "audience",
               "attendance WHERE NOT EXISTS (SELECT 1 FROM audience WHERE id = key >> 32)"),
    PG_ORPHANS("viewing", "attendance",
               "viewing WHERE NOT EXISTS"
               " (SELECT 1 FROM attendance WHERE attendance.key = viewing.key)"),

    /* ---- audiences ---- */
    "SELECT 'event ' || name || ' has no audience of its own' FROM event "
    "WHERE name IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM audience WHERE event_id = event.id AND session = '')",

    "WITH " PG_NAMED ", counts AS ("
    " SELECT key >> 32 AS audience_id, count(*) AS stored FROM attendance GROUP BY 1),"
    " counted AS (SELECT title, seq, members, coalesce(stored, 0) AS stored"
    " FROM named LEFT JOIN counts ON audience_id = named.id) "
    "SELECT title || ' says ' || members || ' members, but ' || stored || ' are stored' "
    "FROM counted WHERE stored > members OR (stored < members AND " PG_COVERED ")",

    "WITH " PG_NAMED ", counts AS ("
    " SELECT key >> 32 AS audience_id, count(*) AS stored FROM attendance WHERE start_ms > 0"
    " GROUP BY 1),"
    " counted AS (SELECT title, seq, attended, coalesce(stored, 0) + gone_attended AS stored"
    " FROM named LEFT JOIN counts ON audience_id = named.id) "
    "SELECT title || ' says ' || attended || ' attended, but it should be ' || stored "
    "FROM counted WHERE stored <> attended AND " PG_COVERED,

    "WITH " PG_NAMED ", " PG_EVERY ", sums AS (SELECT key >> 32 AS audience_id,"
    " count(*) AS viewings, sum(end_ms - start_ms) AS total FROM every GROUP BY 1),"
    " counted AS (SELECT title, seq, logins, total_ms,"
    " coalesce(viewings, 0) + gone_viewings AS viewings, coalesce(total, 0) + gone_ms AS total"
    " FROM named LEFT JOIN sums ON audience_id = named.id) "
    "SELECT title || ' says ' || logins || ' viewings of ' || total_ms || ' ms in all, but it "
    "should be ' || viewings || ' of ' || total || ' ms' "
    "FROM counted WHERE (viewings <> logins OR total <> total_ms) AND " PG_COVERED,

    "WITH " PG_NAMED
    "SELECT title || ' has a peak of ' || peak_count || ', but only ' || members || ' members' "
    "FROM named WHERE peak_count > members AND gone_attended = 0",

    "WITH " PG_NAMED "SELECT title || ' has no readable counts of its open frame' FROM named "
    "WHERE jsonb_typeof(frame_groups) <> 'object' OR jsonb_typeof(frame_countries) <> 'object'",

    /* ---- viewers ---- */
    "WITH " PG_WHO "SELECT 'event ' || name || ': viewer number ' || viewer_no || ' has an empty "
    "id' FROM who JOIN event ON event.id = event_id WHERE viewer = ''",

    "WITH " PG_WHO "SELECT 'event ' || name || ' has viewer ' || viewer || ' ' || count(*) || "
    "' times' FROM who JOIN event ON event.id = event_id "
    "GROUP BY event.id, name, viewer HAVING count(*) > 1",

    "WITH " PG_WHO "SELECT 'event ' || name || ': viewer number ' || viewer_no || ' never "
    "attended' FROM who JOIN event ON event.id = who.event_id "
    "JOIN audience ON audience.event_id = event.id AND session = '' "
    "WHERE NOT EXISTS (SELECT 1 FROM attendance"
    " WHERE attendance.key = (audience.id::bigint << 32) + who.viewer_no)",

    "WITH " PG_WHO "SELECT 'event ' || name || ': viewer number ' || who.viewer_no || ' is erased, "
    "but its id is not' FROM who JOIN event ON event.id = who.event_id "
    "JOIN audience ON audience.event_id = event.id AND session = '' "
    "JOIN attendance ON attendance.key = (audience.id::bigint << 32) + who.viewer_no "
    "WHERE attendance.start_ms = 0",

    /* ---- members ---- */
    "WITH " PG_NAMED ", " PG_MEMBER
    "SELECT title || ': member ' || member_no || ' is erased, but not empty' "
    "FROM member JOIN named ON named.id = audience_id WHERE start_ms = 0 AND (end_ms <> 0"
    " OR expiry_ms <> 0 OR country <> 'ZZ' OR groups <> 0 OR lease_groups <> 0"
    " OR EXISTS (SELECT 1 FROM viewing WHERE viewing.key = member.key))",

    "WITH " PG_NAMED ", " PG_MEMBER
    "SELECT title || ': member ' || member_no || ' is viewer number ' || "
    "viewer_no || ', who is not stored' FROM member JOIN named ON named.id = audience_id "
    "WHERE start_ms > 0 AND " PG_COVERED " AND NOT EXISTS (SELECT 1 FROM viewer"
    " WHERE viewer.key = (named.event_id::bigint << 32) + member.viewer_no)",

    "WITH " PG_NAMED ", " PG_MEMBER
    "SELECT title || ' has viewer number ' || viewer_no || ' more than once' "
    "FROM member JOIN named ON named.id = audience_id "
    "GROUP BY title, audience_id, viewer_no HAVING count(*) > 1",

    "WITH " PG_NAMED ", " PG_MEMBER
    "SELECT title || ': member ' || member_no || ' is viewer number ' || "
    "viewer_no FROM member JOIN named ON named.id = audience_id "
    "WHERE session = '' AND viewer_no <> member_no",

    "WITH " PG_NAMED ", " PG_MEMBER
    "SELECT title || ': member ' || member_no || ' has a country \"' || country "
    "|| '\"' FROM member JOIN named ON named.id = audience_id WHERE country !~ '^[A-Z0-9]{2}$'",

    "WITH " PG_NAMED ", " PG_MEMBER ", used AS ("
    " SELECT audience_id, groups AS set_no FROM member"
    " UNION SELECT audience_id, lease_groups FROM member) "
    "SELECT title || ' uses group set ' || set_no || ', which is not stored' "
    "FROM used JOIN named ON named.id = audience_id "
    "WHERE set_no <> 0 AND NOT EXISTS (SELECT 1 FROM group_set"
    " WHERE group_set.event_id = named.event_id AND group_set.set_no = used.set_no)",

    "SELECT 'event ' || event.name || ' has ' || count(*) || ' group sets numbered up to '"
    " || max(set_no) FROM group_set JOIN event ON event.id = event_id "
    "GROUP BY event.id, event.name HAVING min(set_no) < 1 OR max(set_no) <> count(*)",

    "SELECT 'event ' || event.name || ': group set ' || set_no || ' is no list of groups' "
    "FROM group_set JOIN event ON event.id = event_id WHERE jsonb_typeof(groups) <> 'array'",

    /* ---- viewings ---- */
    "WITH " PG_NAMED ", " PG_EVERY
    "SELECT title || ': a viewing of member ' || (key & 4294967295) || ' ends at ' || end_ms || "
    "', before it starts at ' || start_ms "
    "FROM every JOIN named ON named.id = key >> 32 WHERE end_ms < start_ms",

    "WITH " PG_NAMED ", ordered AS (SELECT viewing.key, viewing.start_ms, viewing.end_ms,"
    " coalesce(lead(viewing.start_ms) OVER (PARTITION BY viewing.key ORDER BY viewing.start_ms),"
    " attendance.start_ms) AS next_ms FROM viewing JOIN attendance USING (key)) "
    "SELECT title || ': a viewing of member ' || (key & 4294967295) || ' ends at ' || end_ms || "
    "', after the next has started at ' || next_ms "
    "FROM ordered JOIN named ON named.id = key >> 32 WHERE end_ms >= next_ms",

    /* ---- frames ---- */
    "WITH " PG_NAMED ", ordered AS ("
    " SELECT *, lag(end_ms) OVER (PARTITION BY audience_id ORDER BY start_ms) AS before_ms"
    " FROM frame) "
    "SELECT title || ': the frame of ' || start_ms || ' is empty or overlaps the one before' "
    "FROM ordered JOIN named ON named.id = audience_id "
    "WHERE end_ms <= start_ms OR before_ms > start_ms",

    "WITH " PG_NAMED "SELECT title || ': the frame of ' || start_ms || ' has no readable counts' "
    "FROM frame JOIN named ON named.id = audience_id "
    "WHERE jsonb_typeof(groups) <> 'object' OR jsonb_typeof(countries) <> 'object'",

    "WITH " PG_NAMED "SELECT title || ': the frame of ' || start_ms || ' has ' || viewers || "
    "' viewers, but its countries add up to another number' "
    "FROM frame JOIN named ON named.id = audience_id "
    "WHERE jsonb_typeof(countries) = 'object' AND viewers <> (SELECT coalesce(sum("
    "CASE WHEN jsonb_typeof(value) = 'number' THEN value::text::numeric ELSE -1 END), 0)"
    " FROM jsonb_each(CASE jsonb_typeof(countries) WHEN 'object' THEN countries ELSE '{}' END))",

    /* ---- profiles ---- */
    "SELECT 'the profile of ' || viewer || ' in event ' || event || ' has no list of groups' "
    "FROM profile WHERE jsonb_typeof(groups) <> 'array'",

    /* ---- directory and keys ---- */
    "SELECT 'the directory has an entry without an event or with an impossible start: ' || event "
    "|| '/' || session FROM directory WHERE event = '' OR start_ms < 0",

    "SELECT 'API key ' || id || ' has no proper id, hash or roles' FROM api_key "
    "WHERE id !~ '^[A-Za-z0-9]{12}$' OR length(hash) <> 32 OR roles NOT BETWEEN 1 AND 7",

    "SELECT 'there are API keys, but their version is not counted' WHERE EXISTS ("
    "SELECT 1 FROM api_key) AND NOT EXISTS (SELECT 1 FROM meta WHERE name = 'keys_version')",
};

/* A sentence about a detached event is NULL, as its name is. */
static enum err run_rule(struct postgres_link *link, const char *rule, records_finding_fn *fn,
                         void *ctx)
{
    char sql[2048];
    PGresult *result;
    int bytes = snprintf(sql, sizeof sql,
                         "SELECT words FROM (%s) AS found (words) WHERE words IS NOT NULL "
                         "LIMIT " FINDINGS_MAX_TEXT,
                         rule);
    ASSERT(bytes > 0 && (size_t)bytes < sizeof sql);
    enum err err = postgres_conn_text(&link->conn, sql, &result);
    if (err != ERR_NONE) {
        return postgres_fail(link, err, rule);
    }
    for (int i = 0; i < PQntuples(result) && i < FINDINGS_MAX; i++) {
        char words[512];
        snprintf(words, sizeof words, "%s", PQgetvalue(result, i, 0));
        fn(ctx, words);
    }
    if (PQntuples(result) > FINDINGS_MAX) {
        fn(ctx, "… and more like it");
    }
    PQclear(result);
    return ERR_NONE;
}

/* Plans that read whole tables, and time for them. */
static enum err allow_all(struct postgres_link *link)
{
    enum err err =
        postgres_conn_text(&link->conn,
                           "SET LOCAL statement_timeout = 0; "
                           "SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on; "
                           "SET LOCAL enable_hashjoin = on; "
                           "SET LOCAL enable_mergejoin = on",
                           NULL);
    return err == ERR_NONE ? err : postgres_fail(link, err, "");
}

enum err postgres_check(struct records_link *base, records_finding_fn *fn, void *ctx)
{
    struct postgres_link *link = postgres_link_of(base);
    enum err err = postgres_read_begin(link);
    if (err != ERR_NONE) {
        return err;
    }
    const int64_t answer_ms = link->conn.answer_ms;
    link->conn.answer_ms = CHECK_ANSWER_MS;
    err = allow_all(link);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && err == ERR_NONE; i++) {
        err = run_rule(link, rules[i], fn, ctx);
    }
    link->conn.answer_ms = answer_ms;
    postgres_read_end(link);
    return err;
}
