/* sqlite_statements.h -- every SQL statement of the SQLite backend, prepared once per link.
 *
 * Parameters are numbered, so that binding reads like the statement.  The schema is
 * sql/sqlite/001_init.sql. */
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
    X(SQL_AUDIENCE_PUT, "INSERT INTO audience VALUES "                                             \
                        "(NULL, ?1, ?2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}') RETURNING id")   \
    X(SQL_AUDIENCE_UPDATE,                                                                         \
      "UPDATE audience SET seq = ?2, as_of_ms = ?3, attended = ?4, logins = ?5, total_ms = ?6, "   \
      "peak_count = ?7, peak_ms = ?8, frame_start_ms = ?9, frame_length_ms = ?10, "                \
      "frame_viewers = ?11, frame_groups = ?12, frame_countries = ?13 WHERE id = ?1")              \
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
    X(SQL_PROFILES_COUNT_ALL, "SELECT count(*) FROM profile")

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
    "NOT live"

enum sqlite_statement {
#define SQL_ENUM(name, text) name,
    SQLITE_STATEMENTS(SQL_ENUM)
#undef SQL_ENUM
        SQLITE_STATEMENTS_COUNT
};

#endif
