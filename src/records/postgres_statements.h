/* postgres_statements.h -- every SQL statement of the PostgreSQL backend, prepared once per
 * connection.  The schema is sql/postgresql/.
 *
 * Numbers are sent as bigint, so each parameter is cast to bigint where the type does not follow
 * from where it stands.  Long reads go in pages by key, all in one snapshot: memory is bounded and
 * a callback may read on over the same connection. */
#ifndef NOVABEAT_RECORDS_POSTGRES_STATEMENTS_H
#define NOVABEAT_RECORDS_POSTGRES_STATEMENTS_H

#define POSTGRES_STATEMENTS(X)                                                                     \
    /* ---- commit ---- */                                                                         \
    X(PG_WRITER_RESET, "WITH gone AS (DELETE FROM writer) INSERT INTO writer (id) VALUES ($1)")    \
    X(PG_WRITER_PUT, "WITH gone AS (DELETE FROM writer WHERE id = $1) "                            \
                     "INSERT INTO writer (id) VALUES ($2)")                                        \
    X(PG_WRITER_OTHERS, "DELETE FROM writer WHERE id <> $1")                                       \
    X(PG_WRITER_MINE, "SELECT 1 / count(*) FROM ("                                                 \
                      "SELECT 1 FROM writer WHERE id = $1 FOR SHARE) AS mine")                     \
    X(PG_COVERED_PUT, "INSERT INTO meta (name, value) VALUES ('covered_seq', $1) "                 \
                      "ON CONFLICT (name) DO UPDATE SET value = excluded.value")                   \
    X(PG_COVERED_GET, "SELECT value FROM meta WHERE name = 'covered_seq'")                         \
    X(PG_EVENTS_PUT, "INSERT INTO event (name, live) SELECT DISTINCT name, 1 "                     \
                     "FROM unnest($1::text[]) AS name "                                            \
                     "WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.name = name.name) "        \
                     "ON CONFLICT (name) DO NOTHING")                                              \
    X(PG_AUDIENCES_PUT,                                                                            \
      "INSERT INTO audience (event_id, session) SELECT DISTINCT event.id, asked.session "          \
      "FROM unnest($1::text[], $2::text[]) AS asked (name, session) "                              \
      "JOIN event ON event.name = asked.name WHERE NOT EXISTS (SELECT 1 FROM audience AS old "     \
      "WHERE old.event_id = event.id AND old.session = asked.session) "                            \
      "ON CONFLICT (event_id, session) DO NOTHING")                                                \
    X(PG_AUDIENCES_FIND,                                                                           \
      "SELECT event.id, audience.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY "          \
      "AS asked (name, session, no) JOIN event ON event.name = asked.name "                        \
      "JOIN audience ON audience.event_id = event.id AND audience.session = asked.session "        \
      "ORDER BY no")                                                                               \
    X(PG_AUDIENCES_UPDATE,                                                                         \
      "UPDATE audience SET seq = n.seq, as_of_ms = n.as_of_ms, members = n.members, "              \
      "attended = n.attended, logins = n.logins, total_ms = n.total_ms, "                          \
      "peak_count = n.peak_count, peak_ms = n.peak_ms, frame_start_ms = n.frame_start_ms, "        \
      "frame_length_ms = n.frame_length_ms, frame_viewers = n.frame_viewers, "                     \
      "frame_groups = n.frame_groups::jsonb, frame_countries = n.frame_countries::jsonb "          \
      "FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "        \
      "$6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], "     \
      "$12::bigint[], $13::text[], $14::text[]) AS n (id, seq, as_of_ms, members, attended, "      \
      "logins, total_ms, peak_count, peak_ms, frame_start_ms, frame_length_ms, frame_viewers, "    \
      "frame_groups, frame_countries) WHERE audience.id = n.id")                                   \
    X(PG_EVENTS_LIVE_PUT,                                                                          \
      "UPDATE event SET live = n.live FROM unnest($1::integer[], $2::integer[]) AS n (id, live) "  \
      "WHERE event.id = n.id AND event.live <> n.live")                                            \
    X(PG_GROUP_SETS_PUT,                                                                           \
      "INSERT INTO group_set (event_id, set_no, groups) SELECT event_id, set_no, groups::jsonb "   \
      "FROM unnest($1::integer[], $2::integer[], $3::text[]) AS n (event_id, set_no, groups) "     \
      "ON CONFLICT (event_id, set_no) DO UPDATE SET groups = excluded.groups")                     \
    X(PG_VIEWERS_PUT, "INSERT INTO viewer (key, viewer) SELECT * "                                 \
                      "FROM unnest($1::bigint[], $2::text[]) "                                     \
                      "ON CONFLICT (key) DO UPDATE SET viewer = excluded.viewer")                  \
    X(PG_MEMBERS_PUT,                                                                              \
      "INSERT INTO attendance (key, profile_due_ms, start_ms, end_ms, expiry_ms, "                 \
      "counted_frame_ms, viewer_no, groups, lease_groups, country) SELECT * "                      \
      "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], "         \
      "$6::bigint[], $7::integer[], $8::integer[], $9::integer[], $10::text[]) "                   \
      "ON CONFLICT (key) DO UPDATE SET profile_due_ms = excluded.profile_due_ms, "                 \
      "start_ms = excluded.start_ms, end_ms = excluded.end_ms, expiry_ms = excluded.expiry_ms, "   \
      "counted_frame_ms = excluded.counted_frame_ms, viewer_no = excluded.viewer_no, "             \
      "groups = excluded.groups, lease_groups = excluded.lease_groups, "                           \
      "country = excluded.country")                                                                \
    X(PG_VIEWINGS_PUT,                                                                             \
      "INSERT INTO viewing (key, start_ms, end_ms) SELECT DISTINCT ON (key, start_ms) * "          \
      "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS n (key, start_ms, end_ms) "        \
      "ON CONFLICT (key, start_ms) DO UPDATE SET end_ms = excluded.end_ms")                        \
    X(PG_FRAMES_PUT,                                                                               \
      "INSERT INTO frame (audience_id, start_ms, end_ms, viewers, groups, countries) "             \
      "SELECT DISTINCT ON (audience_id, start_ms) audience_id, start_ms, end_ms, viewers, "        \
      "groups::jsonb, countries::jsonb "                                                           \
      "FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], "          \
      "$6::text[]) AS n (audience_id, start_ms, end_ms, viewers, groups, countries) "              \
      "ON CONFLICT (audience_id, start_ms) DO UPDATE SET end_ms = excluded.end_ms, "               \
      "viewers = excluded.viewers, groups = excluded.groups, countries = excluded.countries")      \
    /* ---- erasure: $1 event, $2 viewer numbers ---- */                                           \
    X(PG_VIEWERS_AT, "SELECT viewer FROM unnest($1::bigint[]) WITH ORDINALITY AS asked (key, no) " \
                     "LEFT JOIN viewer ON viewer.key = asked.key ORDER BY no")                     \
    X(PG_ERASE_VIEWERS, "DELETE FROM viewer WHERE key = ANY ($1::bigint[])")                       \
    X(PG_ERASE_PROFILES, "DELETE FROM profile WHERE event = $1 AND viewer = ANY ($2::text[])")     \
    X(PG_ERASE_MEMBERS,                                                                            \
      "WITH member AS MATERIALIZED ("                                                              \
      " SELECT audience.id, session, attendance.key FROM audience "                                \
      " CROSS JOIN unnest($2::bigint[]) AS asked (no)"                                             \
      " JOIN attendance ON attendance.key = (audience.id::bigint << 32) + asked.no"                \
      " WHERE event_id = $1::bigint AND session = ''"                                              \
      " UNION ALL"                                                                                 \
      " SELECT audience.id, session, attendance.key FROM audience"                                 \
      " JOIN attendance ON " PG_KEYS_OF(                                                           \
          "attendance.key",                                                                        \
          "audience.id") " WHERE event_id = $1::"                                                  \
                         "bigint AND session <> '' AND viewer_no = ANY ($2::bigint[])), "          \
                         "gone AS (DELETE FROM viewing USING member WHERE viewing.key = "          \
                         "member.key"                                                              \
                         " RETURNING viewing.key, end_ms - start_ms AS ms), "                      \
                         "sums AS (SELECT key, count(*) AS viewings, sum(ms)::bigint AS total_ms"  \
                         " FROM gone GROUP BY key), "                                              \
                         "noted AS (INSERT INTO erased (key, viewings, total_ms) SELECT * FROM "   \
                         "sums"                                                                    \
                         " ON CONFLICT (key) DO NOTHING), "                                        \
                         "emptied AS (UPDATE attendance SET groups = 0, lease_groups = 0, "        \
                         "country = 'ZZ',"                                                         \
                         " profile_due_ms = 0, start_ms = 0, end_ms = 0, expiry_ms = 0, "          \
                         "counted_frame_ms = -1"                                                   \
                         " FROM member WHERE attendance.key = member.key), "                       \
                         "answer AS (SELECT member.id, session,"                                   \
                         " sum(coalesce(erased.viewings, sums.viewings))::bigint AS viewings,"     \
                         " sum(coalesce(erased.total_ms, sums.total_ms))::bigint AS total_ms"      \
                         " FROM member LEFT JOIN erased ON erased.key = member.key"                \
                         " LEFT JOIN sums ON sums.key = member.key GROUP BY member.id, session) "  \
                         "UPDATE audience SET logins = logins - answer.viewings, "                 \
                         "total_ms = audience.total_ms - answer.total_ms FROM answer "             \
                         "WHERE audience.id = answer.id AND answer.viewings > 0 "                  \
                         "RETURNING audience.session, answer.viewings, answer.total_ms")           \
    X(PG_ERASED_OLD, "DELETE FROM erased WHERE at < now() - interval '1 day'")                     \
    X(PG_PROFILE_DELETE, "DELETE FROM profile WHERE event = $1 AND viewer = $2 RETURNING 1")       \
    /* ---- purges ---- */                                                                         \
    X(PG_DETACH, "UPDATE event SET name = NULL, live = 0 WHERE id = $1::bigint")                   \
    X(PG_PURGE_PROFILES, "DELETE FROM profile WHERE event = $1")                                   \
    X(PG_PURGE_DIRECTORY, "DELETE FROM directory WHERE event = $1")                                \
    X(PG_KEEP_EVENT, "INSERT INTO event (name, live) VALUES ($1, 0) RETURNING id")                 \
    X(PG_KEEP_AUDIENCES,                                                                           \
      "INSERT INTO audience (event_id, session, seq, as_of_ms, members, attended, logins,"         \
      " total_ms, peak_count, peak_ms, frame_start_ms, frame_length_ms, frame_viewers,"            \
      " frame_groups, frame_countries, gone_attended, gone_viewings, gone_ms) "                    \
      "SELECT $2::bigint, session, seq, as_of_ms, 0, attended, logins, total_ms, peak_count,"      \
      " peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups, frame_countries,"   \
      " attended, logins, total_ms FROM audience WHERE event_id = $1::bigint ORDER BY id")         \
    X(PG_KEEP_GROUPS,                                                                              \
      "INSERT INTO group_set (event_id, set_no, groups) "                                          \
      "SELECT $2::bigint, set_no, groups FROM group_set WHERE event_id = $1::bigint")              \
    X(PG_KEEP_FRAMES,                                                                              \
      "UPDATE frame SET audience_id = new.id FROM audience AS old JOIN audience AS new "           \
      "ON new.session = old.session WHERE old.event_id = $1::bigint"                               \
      " AND new.event_id = $2::bigint AND frame.audience_id = old.id")                             \
    /* ---- loading an event ---- */                                                               \
    X(PG_EVENT_FIND, "SELECT id FROM event WHERE name = $1")                                       \
    X(PG_EVENTS_LIVE, "SELECT name FROM event WHERE live <> 0 AND name > $1 ORDER BY name "        \
                      "LIMIT $2::bigint")                                                          \
    X(PG_GROUP_SETS, "SELECT set_no, groups::text FROM group_set WHERE event_id = $1::bigint "     \
                     "ORDER BY set_no")                                                            \
    X(PG_AUDIENCES, "SELECT " PG_AUDIENCE_COLUMNS " FROM audience "                                \
                    "JOIN event ON event.id = audience.event_id WHERE event_id = $1::bigint "      \
                    "AND session >= $2 ORDER BY session LIMIT $3::bigint")                         \
    X(PG_MEMBERS, "SELECT " PG_MEMBER_COLUMNS " FROM attendance WHERE key BETWEEN $1::bigint "     \
                  "AND $2::bigint ORDER BY key LIMIT $3::bigint")                                  \
    X(PG_VIEWERS, "SELECT key, viewer FROM viewer WHERE key BETWEEN $1::bigint AND $2::bigint "    \
                  "ORDER BY key")                                                                  \
    /* ---- reading for the API ---- */                                                            \
    X(PG_EVENTS_EACH, "SELECT name FROM event WHERE name > $1 ORDER BY name LIMIT $2::bigint")     \
    X(PG_AUDIENCE_FIND, "SELECT id FROM audience WHERE event_id = $1::bigint AND session = $2")    \
    X(PG_AUDIENCE_ONE, "SELECT " PG_AUDIENCE_COLUMNS " FROM audience "                             \
                       "JOIN event ON event.id = audience.event_id "                               \
                       "WHERE event_id = $1::bigint AND session = $2")                             \
    X(PG_FRAMES, "SELECT start_ms, end_ms, viewers, groups::text, countries::text FROM frame "     \
                 "WHERE audience_id = $1::bigint AND start_ms >= $2::bigint "                      \
                 "AND start_ms <= $3::bigint AND end_ms <= $3::bigint "                            \
                 "ORDER BY start_ms LIMIT $4::bigint")                                             \
    /* ---- members: $1 to $2 keys, $3 key of the event's viewer 0, then what each needs of: key   \
     * of its own audience's member 0, its name ---- */                                            \
    X(PG_EACH_MEMBER, PG_EACH("a.groups, ''", "''", ""))                                           \
    X(PG_EACH_OWN_VIEWER, PG_EACH("a.groups, viewer", "''", PG_EACH_VIEWER))                       \
    X(PG_EACH_OWN_NAME,                                                                            \
      PG_EACH("a.groups, v.viewer", "p.name", PG_EACH_VIEWER PG_EACH_PROFILE("$4")))               \
    X(PG_EACH_SESSION_VIEWER, PG_EACH("own.groups, viewer", "''", PG_EACH_VIEWER PG_EACH_OWN))     \
    X(PG_EACH_SESSION_NAME,                                                                        \
      PG_EACH("own.groups, v.viewer", "p.name", PG_EACH_VIEWER PG_EACH_OWN PG_EACH_PROFILE("$5"))) \
    X(PG_EACH_VIEWING, "SELECT key, start_ms, end_ms FROM viewing "                                \
                       "WHERE key BETWEEN $1::bigint AND $2::bigint ORDER BY key, start_ms")       \
    X(PG_MEMBER_AFTER, "SELECT 1 FROM attendance WHERE key BETWEEN $1::bigint AND $2::bigint "     \
                       "LIMIT 1")                                                                  \
    X(PG_GROUP_SET_GET, "SELECT groups::text FROM group_set WHERE event_id = $1::bigint "          \
                        "AND set_no = $2::bigint")                                                 \
    X(PG_VIEWER_FIND, "SELECT key & 4294967295 FROM viewer WHERE " PG_KEYS_OF(                     \
                          "key", "$1::bigint") " AND viewer = $2 LIMIT 1")                         \
    X(PG_VIEWER_AT, "SELECT viewer FROM viewer WHERE key = $1")                                    \
    X(PG_VIEWINGS,                                                                                 \
      "WITH member AS MATERIALIZED ("                                                              \
      " SELECT session, key, start_ms, end_ms, expiry_ms, country"                                 \
      " FROM audience JOIN attendance ON key = (audience.id::bigint << 32) + $2::bigint"           \
      " WHERE event_id = $1::bigint AND session = ''"                                              \
      " UNION ALL"                                                                                 \
      " SELECT session, key, start_ms, end_ms, expiry_ms, country"                                 \
      " FROM audience JOIN attendance ON " PG_KEYS_OF(                                             \
          "key",                                                                                   \
          "audience.id") " WHERE event_id = "                                                      \
                         "$1::bigint AND session <> '' AND viewer_no = $2::bigint) "               \
                         "SELECT session, start_ms, end_ms, expiry_ms, country FROM member "       \
                         "UNION ALL "                                                              \
                         "SELECT session, viewing.start_ms, viewing.end_ms, expiry_ms, country "   \
                         "FROM member JOIN viewing USING (key) ORDER BY 2, 1 LIMIT $3::bigint")    \
    /* ---- profiles ---- */                                                                       \
    X(PG_PROFILES_PUT,                                                                             \
      "INSERT INTO profile (event, viewer, name, groups) "                                         \
      "SELECT DISTINCT ON (event, viewer) event, viewer, name, groups::jsonb "                     \
      "FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY "               \
      "AS n (event, viewer, name, groups, no) ORDER BY event, viewer, no DESC "                    \
      "ON CONFLICT (event, viewer) DO UPDATE SET name = excluded.name, groups = excluded.groups")  \
    X(PG_PROFILES_GET,                                                                             \
      "SELECT no, groups::text FROM unnest($1::text[], $2::text[]) WITH ORDINALITY "               \
      "AS asked (event, viewer, no) JOIN profile USING (event, viewer) ORDER BY no")               \
    X(PG_PROFILE_GET, "SELECT event, viewer, name, groups::text FROM profile "                     \
                      "WHERE event = $1 AND viewer = $2")                                          \
    X(PG_PROFILES_OF, "SELECT event, viewer, name, groups::text FROM profile "                     \
                      "WHERE event = $1 AND viewer > $2 ORDER BY viewer LIMIT $3::bigint")         \
    X(PG_PROFILES_ALL, "SELECT event, viewer, name, groups::text FROM profile "                    \
                       "WHERE (event, viewer) > ($1, $2) ORDER BY event, viewer LIMIT $3::bigint") \
    X(PG_PROFILES_COUNT, "SELECT count(*) FROM profile WHERE event = $1")                          \
    X(PG_PROFILES_COUNT_ALL, "SELECT count(*) FROM profile")                                       \
    /* ---- directory ---- */                                                                      \
    X(PG_DIRECTORY_PUT,                                                                            \
      "INSERT INTO directory (event, session, title, start_ms) "                                   \
      "SELECT DISTINCT ON (event, session) event, session, title, start_ms "                       \
      "FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY "             \
      "AS n (event, session, title, start_ms, no) ORDER BY event, session, no DESC "               \
      "ON CONFLICT (event, session) DO UPDATE SET title = excluded.title, "                        \
      "start_ms = excluded.start_ms")                                                              \
    X(PG_DIRECTORY_GET, "SELECT event, session, title, start_ms FROM directory "                   \
                        "WHERE event = $1 AND session = $2")                                       \
    X(PG_DIRECTORY_SESSIONS,                                                                       \
      "SELECT event, session, title, start_ms FROM directory "                                     \
      "WHERE event = $1 AND session > $2 ORDER BY session LIMIT $3::bigint")                       \
    X(PG_DIRECTORY_EVENTS,                                                                         \
      "SELECT known.name, '', coalesce(title, ''), coalesce(start_ms, 0) FROM ("                   \
      " (SELECT name FROM event WHERE name > $1 ORDER BY 1 LIMIT $2::bigint)"                      \
      " UNION (SELECT DISTINCT event FROM directory WHERE event > $1 ORDER BY 1 LIMIT $2::bigint)" \
      " ORDER BY 1 LIMIT $2::bigint) AS known "                                                    \
      "LEFT JOIN directory ON event = known.name AND session = '' ORDER BY known.name")            \
    X(PG_DIRECTORY_DELETE, "DELETE FROM directory WHERE event = $1 AND session = $2 RETURNING 1")  \
    /* ---- API keys: changed and counted in one statement ---- */                                 \
    X(PG_KEY_PUT,                                                                                  \
      "WITH counted AS (" PG_KEYS_CHANGED " SELECT 'keys_version', 1 ON CONFLICT (name) DO "       \
      "UPDATE SET value = meta.value + 1) "                                                        \
      "INSERT INTO api_key (id, hash, roles, event, name, created_ms) "                            \
      "VALUES ($1, $2, $3::bigint, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET "                    \
      "hash = excluded.hash, roles = excluded.roles, event = excluded.event, "                     \
      "name = excluded.name, created_ms = excluded.created_ms")                                    \
    X(PG_KEY_DELETE,                                                                               \
      "WITH gone AS (DELETE FROM api_key WHERE id = $1 RETURNING id) " PG_KEYS_CHANGED             \
      " SELECT 'keys_version', 1 FROM gone ON CONFLICT (name) DO "                                 \
      "UPDATE SET value = meta.value + 1 RETURNING 1")                                             \
    X(PG_KEYS, "SELECT id, hash, roles, event, name, created_ms FROM api_key WHERE id > $1 "       \
               "ORDER BY id LIMIT $2::bigint")                                                     \
    X(PG_KEYS_VERSION, "SELECT value FROM meta WHERE name = 'keys_version'")                       \
    /* ---- retention: $2 rows at most ---- */                                                     \
    X(PG_DETACHED, "SELECT id FROM event WHERE name IS NULL LIMIT 1")                              \
    X(PG_DROP_VIEWINGS,                                                                            \
      PG_DROP("viewing", "audience JOIN viewing ON " PG_KEYS_OF(                                   \
                             "key", "audience.id") " WHERE event_id = $1::bigint"))                \
    X(PG_DROP_MEMBERS,                                                                             \
      PG_DROP("attendance", "audience JOIN attendance ON " PG_KEYS_OF(                             \
                                "key", "audience.id") " WHERE event_id = $1::bigint"))             \
    X(PG_DROP_ERASED, PG_DROP("erased", "audience JOIN erased ON " PG_KEYS_OF(                     \
                                            "key", "audience.id") " WHERE event_id = $1::bigint")) \
    X(PG_DROP_FRAMES, PG_DROP("frame", "audience JOIN frame ON audience_id = audience.id "         \
                                       "WHERE event_id = $1::bigint"))                             \
    X(PG_DROP_VIEWERS, PG_DROP("viewer", "viewer WHERE " PG_KEYS_OF("key", "$1::bigint")))         \
    X(PG_DROP_GROUPS, PG_DROP("group_set", "group_set WHERE event_id = $1::bigint"))               \
    X(PG_DROP_AUDIENCES, PG_DROP("audience", "audience WHERE event_id = $1::bigint"))              \
    X(PG_DROP_EVENT, PG_DROP("event", "event WHERE id = $1::bigint"))                              \
    X(PG_OLD_VIEWINGS, "SELECT key, start_ms, end_ms FROM viewing "                                \
                       "WHERE (key, start_ms) > ($1::bigint, $2::bigint) "                         \
                       "ORDER BY key, start_ms LIMIT $3::bigint")                                  \
    X(PG_DROP_OLD_VIEWINGS,                                                                        \
      "WITH gone AS (DELETE FROM viewing USING unnest($1::bigint[], $2::bigint[]) AS old (k, at)"  \
      " WHERE key = old.k AND start_ms = old.at RETURNING key, end_ms - start_ms AS ms), "         \
      "sums AS (SELECT key >> 32 AS id, count(*) AS viewings, sum(ms)::bigint AS ms "              \
      "FROM gone GROUP BY 1) "                                                                     \
      "UPDATE audience SET gone_viewings = gone_viewings + sums.viewings, "                        \
      "gone_ms = gone_ms + sums.ms FROM sums WHERE audience.id = sums.id")                         \
    X(PG_DROP_OLD_FRAMES, PG_DROP("frame", "audience JOIN frame ON audience_id = audience.id "     \
                                           "WHERE start_ms < $1::bigint AND end_ms < $1::bigint")) \
    X(PG_IDLE_EVENTS,                                                                              \
      "SELECT name FROM event, LATERAL (SELECT max(as_of_ms) AS newest_ms, max(seq) AS seq"        \
      " FROM audience WHERE event_id = event.id) AS newest "                                       \
      "WHERE live = 0 AND name IS NOT NULL AND newest_ms < $1::bigint"                             \
      " AND seq <= coalesce((SELECT value FROM meta WHERE name = 'covered_seq'), 0)"               \
      " AND NOT EXISTS (SELECT 1 FROM directory WHERE directory.event = event.name AND start_ms "  \
      ">= $1::bigint)"                                                                             \
      " AND NOT EXISTS (SELECT 1 FROM directory WHERE directory.event = event.name"                \
      " AND directory.start_ms >= $1::bigint)"                                                     \
      " AND ($2::bigint = 0 OR EXISTS (SELECT 1 FROM viewer WHERE " PG_KEYS_OF(                    \
          "key",                                                                                   \
          "event.id") ")"                                                                          \
                      " OR EXISTS (SELECT 1 FROM profile WHERE profile.event = event.name)) "      \
                      "ORDER BY newest_ms, name LIMIT $3::bigint")

#define PG_KEYS_CHANGED "INSERT INTO meta (name, value)"

/* At most $2 rows, found by where they are: no search again. */
#define PG_DROP(table, from)                                                                       \
    "DELETE FROM " table " WHERE ctid = ANY (ARRAY(SELECT " table ".ctid FROM " from               \
    " LIMIT $2::bigint))"

/* Members with all that records_members_each may want; erased ones are passed over. */
#define PG_EACH(groups_and_viewer, name, joins)                                                    \
    "SELECT a.key, a.country, a.start_ms, a.end_ms, a.expiry_ms, " groups_and_viewer ", " name     \
    " FROM attendance AS a " joins "WHERE a.key BETWEEN $1::bigint AND $2::bigint "                \
    "AND a.start_ms > 0 ORDER BY a.key LIMIT 4096" /* POSTGRES_PAGE_ROWS */
#define PG_EACH_VIEWER "JOIN viewer AS v ON v.key = $3::bigint + a.viewer_no "
#define PG_EACH_OWN    "JOIN attendance AS own ON own.key = $4::bigint + a.viewer_no "
#define PG_EACH_PROFILE(event)                                                                     \
    "LEFT JOIN profile AS p ON p.event = " event " AND p.viewer = v.viewer "

/* All keys of one event's viewers or one audience's members. */
#define PG_KEYS_OF(key, id)                                                                        \
    key " BETWEEN " id "::bigint << 32 AND (" id "::bigint << 32) + 4294967295"

/* As postgres_load.c reads them. */
#define PG_MEMBER_COLUMNS                                                                          \
    "key, viewer_no, groups, lease_groups, country, profile_due_ms, start_ms, end_ms, "            \
    "expiry_ms, counted_frame_ms"

/* As postgres_read_audience (postgres_read.c) takes them. */
#define PG_AUDIENCE_COLUMNS                                                                        \
    "audience.id, event.name, session, seq, as_of_ms, attended, logins, total_ms, peak_count, "    \
    "peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups::text, "                \
    "frame_countries::text, live, members"

enum postgres_statement {
#define PG_ENUM(name, text) name,
    POSTGRES_STATEMENTS(PG_ENUM)
#undef PG_ENUM
        POSTGRES_STATEMENTS_COUNT
};

#endif
