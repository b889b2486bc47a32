-- 001_init.sql -- the record store's schema, version 1.  Meaning of every column: docs/RECORDS.md.
-- All times are milliseconds since the epoch.

-- Facts about the store as a whole.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,  -- 'covered_seq': the journal records up to this one are stored
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,    -- the event's id as everybody else knows it
    live INTEGER NOT NULL         -- 1: was in memory at the last commit; 0: left it when idle
) STRICT;

-- What is counted is counted per audience: the event's own, or one session's.
CREATE TABLE audience (
    id              INTEGER PRIMARY KEY,
    event_id        INTEGER NOT NULL REFERENCES event (id),
    session         TEXT NOT NULL,     -- '' is the event itself
    seq             INTEGER NOT NULL,  -- the journal record after which this row holds
    as_of_ms        INTEGER NOT NULL,  -- the engine's time then
    attended        INTEGER NOT NULL,  -- viewers ever
    logins          INTEGER NOT NULL,  -- viewings ever started
    total_ms        INTEGER NOT NULL,  -- sum of the lengths of all viewings
    peak_count      INTEGER NOT NULL,  -- most viewers alive at once
    peak_ms         INTEGER NOT NULL,  -- and when
    frame_start_ms  INTEGER NOT NULL,  -- the frame that is being counted
    frame_length_ms INTEGER NOT NULL,
    frame_viewers   INTEGER NOT NULL,  -- viewers counted in it so far
    frame_groups    TEXT NOT NULL,     -- {"group": viewers, ...}
    frame_countries TEXT NOT NULL,     -- {"HK": viewers, ...}
    UNIQUE (event_id, session)
) STRICT;

-- The different sets of groups that the viewers of an event are in.  Set 0 is the empty one and
-- has no row.
CREATE TABLE group_set (
    event_id INTEGER NOT NULL REFERENCES event (id),
    set_no   INTEGER NOT NULL,
    groups   TEXT NOT NULL,            -- ["group", ...]
    PRIMARY KEY (event_id, set_no)
) STRICT, WITHOUT ROWID;

-- Who is who in an event.  Written once per viewer, and the only table (besides profile) that says
-- a viewer's id: to forget a viewer is to delete a row here.
CREATE TABLE viewer (
    key       INTEGER PRIMARY KEY,     -- event_id * 2^32 + viewer_no
    viewer    TEXT NOT NULL,           -- the viewer's id
    event_id  INTEGER REFERENCES event (id) AS (key >> 32) VIRTUAL,
    viewer_no INTEGER AS (key & 0xffffffff) VIRTUAL
) STRICT;

-- One row per viewer and audience, with the latest viewing.  These rows are rewritten about once a
-- minute while the viewer watches: so they are short, and one integer is their key.
CREATE TABLE attendance (
    key              INTEGER PRIMARY KEY,  -- audience_id * 2^32 + member_no
    viewer_no        INTEGER NOT NULL,  -- which viewer of the event; its own audience: member_no
    groups           INTEGER NOT NULL,  -- group_set of the viewer's profile; event's audience only
    lease_groups     INTEGER NOT NULL,  -- group_set of the latest heartbeat
    country          TEXT NOT NULL,     -- of the latest heartbeat; 'ZZ': not known
    profile_due_ms   INTEGER NOT NULL,  -- when to refresh the profile; 0: was never loaded
    start_ms         INTEGER NOT NULL,  -- the latest viewing
    end_ms           INTEGER NOT NULL,
    expiry_ms        INTEGER NOT NULL,  -- alive until here
    counted_frame_ms INTEGER NOT NULL,  -- start of the newest frame that counted the viewer; -1
    audience_id      INTEGER REFERENCES audience (id) AS (key >> 32) VIRTUAL,
    member_no        INTEGER AS (key & 0xffffffff) VIRTUAL  -- order of arrival, from 0
) STRICT;

-- Viewings that are over because the viewer began another one.
CREATE TABLE viewing (
    key         INTEGER NOT NULL REFERENCES attendance (key),
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    audience_id INTEGER AS (key >> 32) VIRTUAL,
    member_no   INTEGER AS (key & 0xffffffff) VIRTUAL,
    PRIMARY KEY (key, start_ms)
) STRICT, WITHOUT ROWID;

-- Five minutes of statistics of one audience; a frame is here when it is over.
CREATE TABLE frame (
    audience_id INTEGER NOT NULL REFERENCES audience (id),
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    viewers     INTEGER NOT NULL,
    groups      TEXT NOT NULL,         -- {"group": viewers, ...}
    countries   TEXT NOT NULL,         -- {"HK": viewers, ...}
    PRIMARY KEY (audience_id, start_ms)
) STRICT, WITHOUT ROWID;

-- What is known about a viewer beforehand.  Here `event` is the event's name: there are profiles
-- of events that nobody has visited yet.
CREATE TABLE profile (
    event  TEXT NOT NULL,
    viewer TEXT NOT NULL,
    name   TEXT NOT NULL,
    groups TEXT NOT NULL,              -- ["group", ...]
    PRIMARY KEY (event, viewer)
) STRICT, WITHOUT ROWID;

-- ---- for people: the same with names ----

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
  ON group_set.event_id = event.id AND group_set.set_no = attendance.lease_groups;

CREATE VIEW viewings AS
SELECT event.name AS event, audience.session AS session, viewer.viewer AS viewer,
       every.start_ms AS started_ms, every.end_ms AS ended_ms
FROM event
JOIN audience ON audience.event_id = event.id
JOIN attendance ON attendance.key BETWEEN audience.id << 32 AND (audience.id << 32) + 0xffffffff
JOIN viewer ON viewer.key = (event.id << 32) + attendance.viewer_no
JOIN (SELECT key, start_ms, end_ms FROM viewing
      UNION ALL
      SELECT key, start_ms, end_ms FROM attendance) AS every ON every.key = attendance.key;
