-- 002_people.sql -- version 2: erasure, purge and retention; the directory; API keys.  Meaning of
-- every column: docs/RECORDS.md.

-- A purged event loses its name at once, and its rows bit by bit.  (A UNIQUE column takes any
-- number of NULLs.)  Views first: renaming a table reads them.
DROP VIEW attendances;
DROP VIEW viewings;
CREATE TABLE event_2 (
    id   INTEGER PRIMARY KEY,
    name TEXT UNIQUE,             -- the event's id as everybody else knows it; NULL: detached
    live INTEGER NOT NULL         -- 1: was in memory at the last commit; 0: left it when idle
) STRICT;
INSERT INTO event_2 SELECT id, name, live FROM event;
DROP TABLE event;
ALTER TABLE event_2 RENAME TO event;

-- An erased viewer's member row stays, empty, so that numbers have no holes: from now on `attended`
-- can be less than the numbers given.  What retention took away is counted, so that sums can still
-- be held against the rows.
ALTER TABLE audience ADD COLUMN members INTEGER NOT NULL DEFAULT 0;        -- numbers given so far
ALTER TABLE audience ADD COLUMN gone_attended INTEGER NOT NULL DEFAULT 0;  -- in attended, no rows
ALTER TABLE audience ADD COLUMN gone_viewings INTEGER NOT NULL DEFAULT 0;  -- in logins, no rows
ALTER TABLE audience ADD COLUMN gone_ms INTEGER NOT NULL DEFAULT 0;        -- in total_ms, no rows
UPDATE audience SET members = attended;

-- What an organiser says beforehand.  The event is its id as text, as in profile.
CREATE TABLE directory (
    event    TEXT NOT NULL,
    session  TEXT NOT NULL,            -- '' is the event itself
    title    TEXT NOT NULL,
    start_ms INTEGER NOT NULL,         -- 0: not said
    PRIMARY KEY (event, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    id         TEXT PRIMARY KEY,
    hash       BLOB NOT NULL,          -- of the secret, which is stored nowhere
    roles      INTEGER NOT NULL,       -- 1 read, 2 ingest, 4 admin
    event      TEXT NOT NULL,          -- good for this event only; '' is all
    name       TEXT NOT NULL,          -- what it is for
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- meta gets: 'keys_version': counts the changes of api_key.  'rewrite_due': the file is to be
-- written anew once (VACUUM), because pages of older versions may hold copies of deleted rows.
INSERT INTO meta (name, value) SELECT 'rewrite_due', 1 WHERE EXISTS (SELECT 1 FROM audience);

-- ---- for people: the same with names; without erased viewers and purged events ----

CREATE VIEW attendances AS
SELECT event.name AS event, audience.session AS session, viewer.viewer AS viewer,
       attendance.country AS country, coalesce(group_set.groups, '[]') AS groups,
       attendance.start_ms AS latest_start_ms, attendance.end_ms AS latest_end_ms,
       attendance.expiry_ms AS alive_until_ms
FROM event
JOIN audience ON audience.event_id = event.id
JOIN attendance ON attendance.key BETWEEN audience.id << 32 AND (audience.id << 32) + 0xffffffff
JOIN viewer ON viewer.key = (event.id << 32) + attendance.viewer_no
LEFT JOIN group_set
  ON group_set.event_id = event.id AND group_set.set_no = attendance.lease_groups
WHERE event.name IS NOT NULL AND attendance.start_ms > 0;

CREATE VIEW viewings AS
SELECT event.name AS event, audience.session AS session, viewer.viewer AS viewer,
       every.start_ms AS started_ms, every.end_ms AS ended_ms
FROM event
JOIN audience ON audience.event_id = event.id
JOIN attendance ON attendance.key BETWEEN audience.id << 32 AND (audience.id << 32) + 0xffffffff
JOIN viewer ON viewer.key = (event.id << 32) + attendance.viewer_no
JOIN (SELECT key, start_ms, end_ms FROM viewing
      UNION ALL
      SELECT key, start_ms, end_ms FROM attendance) AS every ON every.key = attendance.key
WHERE event.name IS NOT NULL AND attendance.start_ms > 0;
