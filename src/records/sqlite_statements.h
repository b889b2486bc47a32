/* sqlite_statements.h -- every SQL statement of the SQLite backend, prepared once per link.
 *
 * Parameters are numbered, so that binding reads like the statement.  The schema is
 * sql/sqlite/. */
#ifndef NOVABEAT_RECORDS_SQLITE_STATEMENTS_H
#define NOVABEAT_RECORDS_SQLITE_STATEMENTS_H

#define SQLITE_STATEMENTS(X)                                                                       \
    /* ---- transactions: IMMEDIATE, so that a second writer waits here and nowhere else ---- */   \
    X(SQL_BEGIN_WRITE, "BEGIN IMMEDIATE")                                                          \
    X(SQL_BEGIN_READ, "BEGIN")                                                                     \
    X(SQL_COMMIT, "COMMIT")                                                                        \
    /* ---- commit: what is inserted may be there already (the same commit made twice) ---- */     \
    X(SQL_COVERED_PUT, "INSERT INTO meta (name, value) VALUES ('covered_seq', ?1) "                \
                       "ON CONFLICT (name) DO UPDATE SET value = ?1")                              \
    X(SQL_COVERED_GET, "SELECT value FROM meta WHERE name = 'covered_seq'")                        \
    X(SQL_EVENT_FIND, "SELECT id FROM event WHERE name = ?1")                                      \
    X(SQL_EVENT_PUT, "INSERT INTO event (name, live) VALUES (?1, 1) RETURNING id")                 \
    X(SQL_EVENT_LIVE, "UPDATE event SET live = ?2 WHERE id = ?1 AND live <> ?2")                   \
    X(SQL_AUDIENCE_FIND, "SELECT id FROM audience WHERE event_id = ?1 AND session = ?2")           \
    X(SQL_AUDIENCE_PUT,                                                                            \
      "INSERT INTO audience (event_id, session, seq, as_of_ms, attended, logins, total_ms, "       \
      "peak_count, peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups, "        \
      "frame_countries) VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}') RETURNING id")   \
    X(SQL_AUDIENCE_UPDATE,                                                                         \
      "UPDATE audience SET seq = ?2, as_of_ms = ?3, attended = ?4, logins = ?5, total_ms = ?6, "   \
      "peak_count = ?7, peak_ms = ?8, frame_start_ms = ?9, frame_length_ms = ?10, "                \
      "frame_viewers = ?11, frame_groups = ?12, frame_countries = ?13, members = ?14 WHERE id = "  \
      "?1")                                                                                        \
    X(SQL_GROUP_SET_PUT, "INSERT INTO group_set (event_id, set_no, groups) VALUES (?1, ?2, ?3) "   \
                         "ON CONFLICT (event_id, set_no) DO UPDATE SET groups = ?3")               \
    X(SQL_VIEWERS_PUT, "INSERT OR REPLACE INTO viewer (key, viewer) SELECT viewer_key, viewer "    \
                       "FROM changed_member WHERE viewer IS NOT NULL")                             \
    X(SQL_MEMBERS_PUT, "INSERT OR REPLACE INTO attendance (" SQL_MEMBER_COLUMNS ") "               \
                       "SELECT " SQL_MEMBER_COLUMNS " FROM changed_member")                        \
    X(SQL_VIEWING_PUT, "INSERT OR REPLACE INTO viewing (key, start_ms, end_ms) "                   \
                       "VALUES (?1, ?2, ?3)")                                                      \
    X(SQL_FRAME_PUT,                                                                               \
      "INSERT OR REPLACE INTO frame (audience_id, start_ms, end_ms, viewers, groups, countries) "  \
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                                           \
    /* ---- erasure: ?1 event; ?2 viewer numbers as a JSON array ---- */                           \
    X(SQL_ERASE_FIND,                                                                              \
      "SELECT audience.id, session, attendance.key FROM audience CROSS JOIN json_each(?2) AS no "  \
      "CROSS JOIN attendance ON attendance.key = (audience.id << 32) + no.value "                  \
      "WHERE event_id = ?1 AND session = '' "                                                      \
      "UNION ALL "                                                                                 \
      "SELECT audience.id, session, key FROM audience CROSS JOIN attendance ON " SQL_KEYS_OF(      \
          "audience.id") " WHERE event_id = ?1 AND session <> ''"                                  \
                         " AND viewer_no IN (SELECT value FROM json_each(?2)) ORDER BY 1, 3")      \
    X(SQL_ERASE_VIEWINGS, "DELETE FROM viewing WHERE key = ?1 RETURNING end_ms - start_ms")        \
    X(SQL_ERASE_MEMBER,                                                                            \
      "UPDATE attendance SET groups = 0, lease_groups = 0, country = 'ZZ', profile_due_ms = 0, "   \
      "start_ms = 0, end_ms = 0, expiry_ms = 0, counted_frame_ms = -1 WHERE key = ?1")             \
    X(SQL_ERASE_SUMS,                                                                              \
      "UPDATE audience SET logins = logins - ?2, total_ms = total_ms - ?3 WHERE id = ?1")          \
    X(SQL_VIEWER_AT, "SELECT viewer FROM viewer WHERE key = ?1")                                   \
    X(SQL_ERASE_VIEWER, "DELETE FROM viewer WHERE key = ?1")                                       \
    X(SQL_ERASE_PROFILE, "DELETE FROM profile WHERE event = ?1 AND viewer = ?2")                   \
    /* ---- purges ---- */                                                                         \
    X(SQL_DETACH, "UPDATE event SET name = NULL, live = 0 WHERE id = ?1")                          \
    X(SQL_PURGE_PROFILES, "DELETE FROM profile WHERE event = ?1")                                  \
    X(SQL_PURGE_DIRECTORY, "DELETE FROM directory WHERE event = ?1")                               \
    X(SQL_KEEP_EVENT, "INSERT INTO event (name, live) VALUES (?1, 0) RETURNING id")                \
    X(SQL_KEEP_AUDIENCES,                                                                          \
      "INSERT INTO audience (event_id, session, seq, as_of_ms, members, attended, logins, "        \
      "total_ms,"                                                                                  \
      " peak_count, peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups,"        \
      " frame_countries, gone_attended, gone_viewings, gone_ms) "                                  \
      "SELECT ?2, session, seq, as_of_ms, 0, attended, logins, total_ms,"                          \
      " peak_count, peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups,"        \
      " frame_countries, attended, logins, total_ms FROM audience WHERE event_id = ?1 ORDER BY "   \
      "id")                                                                                        \
    X(SQL_KEEP_GROUPS, "INSERT INTO group_set (event_id, set_no, groups) "                         \
                       "SELECT ?2, set_no, groups FROM group_set WHERE event_id = ?1")             \
    X(SQL_KEEP_FRAMES,                                                                             \
      "UPDATE frame SET audience_id = (SELECT new.id FROM audience AS old JOIN audience AS new"    \
      " ON new.event_id = ?2 AND new.session = old.session WHERE old.id = frame.audience_id) "     \
      "WHERE audience_id IN (SELECT id FROM audience WHERE event_id = ?1)")                        \
    /* ---- loading an event ---- */                                                               \
    X(SQL_EVENTS_LIVE, "SELECT name FROM event WHERE live ORDER BY name")                          \
    X(SQL_GROUP_SETS, "SELECT set_no, groups FROM group_set WHERE event_id = ?1 ORDER BY set_no")  \
    X(SQL_AUDIENCES, "SELECT " SQL_AUDIENCE_COLUMNS " FROM audience "                              \
                     "JOIN event ON event.id = audience.event_id "                                 \
                     "WHERE event_id = ?1 ORDER BY session")                                       \
    X(SQL_MEMBERS,                                                                                 \
      "SELECT " SQL_MEMBER_COLUMNS " FROM attendance WHERE " SQL_KEYS_OF("?1") " ORDER BY key")    \
    X(SQL_VIEWERS, "SELECT key, viewer FROM viewer WHERE " SQL_KEYS_OF("?1") " ORDER BY key")      \
    /* ---- reading for the API ---- */                                                            \
    X(SQL_EVENTS_EACH, "SELECT name FROM event WHERE name > ?1 ORDER BY name LIMIT ?2")            \
    X(SQL_AUDIENCE_ONE, "SELECT " SQL_AUDIENCE_COLUMNS " FROM audience "                           \
                        "JOIN event ON event.id = audience.event_id "                              \
                        "WHERE event_id = ?1 AND session = ?2")                                    \
    X(SQL_FRAMES, "SELECT start_ms, end_ms, viewers, groups, countries FROM frame "                \
                  "WHERE audience_id = ?1 AND start_ms >= ?2 AND start_ms <= ?3 "                  \
                  "AND end_ms <= ?3 ORDER BY start_ms LIMIT ?4")                                   \
    /* ---- members: ?1 to ?2 keys, ?3 event, ?4 its own audience, ?5 its name ---- */             \
    X(SQL_EACH_MEMBER, SQL_EACH("a.groups, ''", "''", ""))                                         \
    X(SQL_EACH_OWN_VIEWER, SQL_EACH("a.groups, viewer", "''", SQL_EACH_VIEWER))                    \
    X(SQL_EACH_OWN_NAME,                                                                           \
      SQL_EACH("a.groups, v.viewer", "p.name", SQL_EACH_VIEWER SQL_EACH_PROFILE))                  \
    X(SQL_EACH_SESSION_VIEWER, SQL_EACH("own.groups, viewer", "''", SQL_EACH_VIEWER SQL_EACH_OWN)) \
    X(SQL_EACH_SESSION_NAME,                                                                       \
      SQL_EACH("own.groups, v.viewer", "p.name", SQL_EACH_VIEWER SQL_EACH_OWN SQL_EACH_PROFILE))   \
    X(SQL_EACH_VIEWING, "SELECT key, start_ms, end_ms FROM viewing WHERE key BETWEEN ?1 AND ?2 "   \
                        "ORDER BY key, start_ms")                                                  \
    X(SQL_MEMBER_AFTER, "SELECT 1 FROM attendance WHERE key BETWEEN ?1 AND ?2 LIMIT 1")            \
    X(SQL_GROUP_SET_GET, "SELECT groups FROM group_set WHERE event_id = ?1 AND set_no = ?2")       \
    X(SQL_VIEWER_FIND, "SELECT viewer_no FROM viewer WHERE " SQL_KEYS_OF("?1") " AND viewer = ?2") \
    X(SQL_VIEWINGS,                                                                                \
      "WITH member AS MATERIALIZED ("                                                              \
      " SELECT session, key, start_ms, end_ms, expiry_ms, country"                                 \
      " FROM audience JOIN attendance ON key = (audience.id << 32) + ?2"                           \
      " WHERE event_id = ?1 AND session = ''"                                                      \
      " UNION ALL"                                                                                 \
      " SELECT session, key, start_ms, end_ms, expiry_ms, country"                                 \
      " FROM audience JOIN attendance ON " SQL_KEYS_OF(                                            \
          "audience.id") " WHERE event_id = ?1 AND session <> '' AND viewer_no = ?2) "             \
                         "SELECT session, start_ms, end_ms, expiry_ms, country FROM member "       \
                         "UNION ALL "                                                              \
                         "SELECT session, viewing.start_ms, viewing.end_ms, expiry_ms, country "   \
                         "FROM member CROSS JOIN viewing USING (key) "                             \
                         "ORDER BY 2, 1 LIMIT ?3")                                                 \
    /* ---- profiles ---- */                                                                       \
    X(SQL_PROFILE_PUT, "INSERT OR REPLACE INTO profile (event, viewer, name, groups) "             \
                       "VALUES (?1, ?2, ?3, ?4)")                                                  \
    X(SQL_PROFILE_GET, "SELECT event, viewer, name, groups FROM profile "                          \
                       "WHERE event = ?1 AND viewer = ?2")                                         \
    X(SQL_PROFILES_OF, "SELECT event, viewer, name, groups FROM profile "                          \
                       "WHERE event = ?1 AND viewer > ?2 ORDER BY viewer LIMIT ?3")                \
    X(SQL_PROFILES_ALL, "SELECT event, viewer, name, groups FROM profile "                         \
                        "WHERE (event, viewer) > (?1, ?2) ORDER BY event, viewer LIMIT ?3")        \
    X(SQL_PROFILES_COUNT, "SELECT count(*) FROM profile WHERE event = ?1")                         \
    X(SQL_PROFILES_COUNT_ALL, "SELECT count(*) FROM profile")                                      \
    /* ---- directory ---- */                                                                      \
    X(SQL_DIRECTORY_PUT, "INSERT OR REPLACE INTO directory (event, session, title, start_ms) "     \
                         "VALUES (?1, ?2, ?3, ?4)")                                                \
    X(SQL_DIRECTORY_GET, "SELECT event, session, title, start_ms FROM directory "                  \
                         "WHERE event = ?1 AND session = ?2")                                      \
    X(SQL_DIRECTORY_SESSIONS, "SELECT event, session, title, start_ms FROM directory "             \
                              "WHERE event = ?1 AND session > ?2 ORDER BY session LIMIT ?3")       \
    X(SQL_DIRECTORY_EVENTS,                                                                        \
      "SELECT known.name, '', coalesce(title, ''), coalesce(start_ms, 0) FROM ("                   \
      " SELECT name FROM event WHERE name > ?1"                                                    \
      " UNION SELECT event FROM directory WHERE event > ?1 ORDER BY 1 LIMIT ?2) AS known "         \
      "LEFT JOIN directory ON event = known.name AND session = '' ORDER BY known.name")            \
    X(SQL_DIRECTORY_DELETE, "DELETE FROM directory WHERE event = ?1 AND session = ?2")             \
    /* ---- API keys ---- */                                                                       \
    X(SQL_KEY_PUT, "INSERT OR REPLACE INTO api_key (id, hash, roles, event, name, created_ms) "    \
                   "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")                                              \
    X(SQL_KEY_DELETE, "DELETE FROM api_key WHERE id = ?1")                                         \
    X(SQL_KEYS, "SELECT id, hash, roles, event, name, created_ms FROM api_key ORDER BY id")        \
    X(SQL_KEYS_CHANGED, "INSERT INTO meta (name, value) VALUES ('keys_version', 1) "               \
                        "ON CONFLICT (name) DO UPDATE SET value = value + 1")                      \
    X(SQL_KEYS_VERSION, "SELECT value FROM meta WHERE name = 'keys_version'")                      \
    /* ---- retention: ?2 rows at most ---- */                                                     \
    X(SQL_DETACHED, "SELECT id FROM event WHERE name IS NULL LIMIT 1")                             \
    X(SQL_DROP_VIEWINGS, "DELETE FROM viewing WHERE (key, start_ms) IN (SELECT key, start_ms "     \
                         "FROM audience CROSS JOIN viewing ON " SQL_KEYS_OF(                       \
                             "audience.id") " WHERE event_id = ?1 LIMIT ?2)")                      \
    X(SQL_DROP_MEMBERS,                                                                            \
      "DELETE FROM attendance WHERE key IN (SELECT key FROM audience CROSS JOIN attendance "       \
      "ON " SQL_KEYS_OF("audience.id") " WHERE event_id = ?1 LIMIT ?2)")                           \
    X(SQL_DROP_FRAMES,                                                                             \
      "DELETE FROM frame WHERE (audience_id, start_ms) IN (SELECT audience_id, start_ms "          \
      "FROM audience CROSS JOIN frame ON audience_id = audience.id WHERE event_id = ?1 LIMIT ?2)") \
    X(SQL_DROP_VIEWERS, "DELETE FROM viewer WHERE key IN ("                                        \
                        "SELECT key FROM viewer WHERE " SQL_KEYS_OF("?1") " LIMIT ?2)")            \
    X(SQL_DROP_GROUPS, "DELETE FROM group_set WHERE (event_id, set_no) IN ("                       \
                       "SELECT event_id, set_no FROM group_set WHERE event_id = ?1 LIMIT ?2)")     \
    X(SQL_DROP_AUDIENCES, "DELETE FROM audience WHERE id IN ("                                     \
                          "SELECT id FROM audience WHERE event_id = ?1 LIMIT ?2)")                 \
    X(SQL_DROP_EVENT, "DELETE FROM event WHERE id = ?1 AND ?2 > 0")                                \
    X(SQL_OLD_VIEWINGS, "SELECT key, start_ms, end_ms FROM viewing "                               \
                        "WHERE (key, start_ms) > (?1, ?2) ORDER BY key, start_ms LIMIT ?3")        \
    X(SQL_DROP_VIEWING, "DELETE FROM viewing WHERE key = ?1 AND start_ms = ?2")                    \
    X(SQL_GONE_VIEWINGS, "UPDATE audience SET gone_viewings = gone_viewings + ?2, "                \
                         "gone_ms = gone_ms + ?3 WHERE id = ?1")                                   \
    X(SQL_DROP_OLD_FRAMES,                                                                         \
      "DELETE FROM frame WHERE (audience_id, start_ms) IN (SELECT audience_id, start_ms "          \
      "FROM audience CROSS JOIN frame ON audience_id = audience.id "                               \
      "WHERE start_ms < ?1 AND end_ms < ?1 LIMIT ?2)")                                             \
    X(SQL_IDLE_EVENTS,                                                                             \
      "SELECT name FROM event JOIN (SELECT event_id, max(as_of_ms) AS newest_ms, max(seq) AS seq"  \
      " FROM audience GROUP BY event_id) ON event_id = event.id "                                  \
      "WHERE live = 0 AND name IS NOT NULL AND newest_ms < ?1"                                     \
      " AND seq <= coalesce((SELECT value FROM meta WHERE name = 'covered_seq'), 0)"               \
      " AND NOT EXISTS (SELECT 1 FROM directory WHERE directory.event = event.name AND start_ms "  \
      ">= ?1)"                                                                                     \
      " AND (NOT ?2 OR EXISTS (SELECT 1 FROM viewer WHERE " SQL_KEYS_OF(                           \
          "event.id") ")"                                                                          \
                      " OR EXISTS (SELECT 1 FROM profile WHERE profile.event = event.name)) "      \
                      "ORDER BY newest_ms, name LIMIT ?3")

/* Members with all that records_members_each may want; erased ones are passed over. */
#define SQL_EACH(groups_and_viewer, name, joins)                                                   \
    "SELECT a.key, a.country, a.start_ms, a.end_ms, a.expiry_ms, " groups_and_viewer ", " name     \
    " FROM attendance AS a " joins "WHERE a.key BETWEEN ?1 AND ?2 AND a.start_ms > 0 "             \
    "ORDER BY a.key"
#define SQL_EACH_VIEWER  "CROSS JOIN viewer AS v ON v.key = (?3 << 32) + a.viewer_no "
#define SQL_EACH_OWN     "CROSS JOIN attendance AS own ON own.key = (?4 << 32) + a.viewer_no "
#define SQL_EACH_PROFILE "LEFT JOIN profile AS p ON p.event = ?5 AND p.viewer = v.viewer "

/* All keys of one event's viewers or one audience's members. */
#define SQL_KEYS_OF(id) "key BETWEEN " id " << 32 AND (" id " << 32) + 0xffffffff"

/* As bound by changed_member (sqlite_changed.c) and read by sqlite_load.c. */
#define SQL_MEMBER_COLUMNS                                                                         \
    "key, viewer_no, groups, lease_groups, country, profile_due_ms, start_ms, end_ms, "            \
    "expiry_ms, counted_frame_ms"

/* As sqlite_read_audience (sqlite_read.c) takes them. */
#define SQL_AUDIENCE_COLUMNS                                                                       \
    "audience.id, event.name, session, seq, as_of_ms, attended, logins, total_ms, peak_count, "    \
    "peak_ms, frame_start_ms, frame_length_ms, frame_viewers, frame_groups, frame_countries, "     \
    "NOT live, members"

enum sqlite_statement {
#define SQL_ENUM(name, text) name,
    SQLITE_STATEMENTS(SQL_ENUM)
#undef SQL_ENUM
        SQLITE_STATEMENTS_COUNT
};

#endif
