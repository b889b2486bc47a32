/* live.h -- heartbeats in, figures out, from any I/O thread; behind it the memory engine or, later,
 * Redis.
 *
 * Model: each I/O thread owns a port.  It submits requests and gets each back exactly once, through
 * `done`, on its own thread, from live_port_drain; `wake` (given with the port, called by other
 * threads) asks it to drain soon.  Heartbeats of one viewer from one port are counted in their
 * order; a query sees all heartbeats that were acknowledged when it was submitted, and maybe more.
 *
 * A request belongs to the caller but must not be touched between submit and done; the slices in it
 * must stay as long.  One in flight per connection, so `requests_max` of a port is the connections
 * it can have.
 *
 * The memory engine (memory.c): one thread owns all audiences.  It gathers what the ports
 * submitted, looks it up, appends it to the journal in one write, applies it, and hands it back;
 * what was journaled comes back to the I/O thread when the journal is as safe as `durability` says.
 * Profiles and events that are not in memory are fetched by the loader thread meanwhile; the
 * records thread stores what changed; reader threads answer what only the records know. Nothing
 * that blocks runs on the engine's thread or an I/O thread. */
#ifndef NOVABEAT_LIVE_LIVE_H
#define NOVABEAT_LIVE_LIVE_H

#include "base/err.h"
#include "core/engine.h"
#include "records/records.h"

enum live_durability {
    LIVE_SYNC,     /* acknowledged after fdatasync: survives a power cut */
    LIVE_INTERVAL, /* after write(2), fdatasync once a second: a power cut may cost a second */
    LIVE_OS,       /* after write(2): survives a killed process, not a power cut */
};

struct live_options {
    const char *data;            /* folder: journal/, records.db, lock */
    const char *records;         /* "sqlite" */
    struct engine_config engine; /* hash_key is filled in */
    enum live_durability durability;
    int64_t sync_gather_ms; /* under load a batch is gathered for so long; 0 to 50 */
    uint64_t journal_segment_bytes, journal_max_bytes;
    int64_t records_flush_ms;    /* new viewings and frames are stored this often */
    int64_t records_interval_ms; /* and viewings that go on this often */
    int64_t profile_timeout_ms;  /* a heartbeat waits so long for its viewer's profile */
    int64_t event_timeout_ms;    /* and so long for its event; 0: 10 s */
    int64_t stop_timeout_ms;     /* storing at stop may take so long; 0: a minute */
    bool reject_unknown_viewers;
    bool declared_events; /* accept only events that the record store or its directory knows */
    struct records_profile_source profiles; /* query NULL: the store's own table */
    /* What is older goes, in ms; 0: never.  live.h: enum live_query_kind, LIVE_PURGE. */
    int64_t retain_events_ms, retain_viewers_ms, retain_viewings_ms, retain_frames_ms;
    int64_t retain_interval_ms; /* how often it is looked for; 0: a minute */
    uint32_t ports;
    uint32_t requests_max; /* in flight per port */
};

struct live;
struct live_port;

/* Opens the data folder, recovers, starts the threads.  Logs what it does.  why: what went wrong.
 */
enum err live_start(const struct live_options *options, struct live **live, char *why,
                    size_t why_bytes) WARN_UNUSED;

/* Any thread, also a signal's handler: live_start gives up soon, with ERR_STOPPED.  For good. */
void live_start_cancel(void);

/* Port `index` (0 … ports - 1) belongs to the calling thread from now on. */
struct live_port *live_port_open(struct live *live, uint32_t index, void (*wake)(void *ctx),
                                 void *ctx);

/* Stores everything and stops.  No request may be in flight.  ERR_DATABASE: the record store did
 * not take everything within stop_timeout; the journal has it, and the next start goes on from
 * there.  ERR_SYNC: the journal's last sync failed. */
enum err live_stop(struct live *live) WARN_UNUSED;

/* ---- requests ---- */

#define LIVE_STATUS_LIST(X)                                                                        \
    X(LIVE_OK, "counted, or answered")                                                             \
    X(LIVE_UNKNOWN_VIEWER, "the viewer has no profile and unknown viewers are refused")            \
    X(LIVE_UNKNOWN_EVENT, "the event is not known and only declared ones are accepted")            \
    X(LIVE_EVENTS_FULL, "events-max is reached")                                                   \
    X(LIVE_SESSIONS_FULL, "sessions-max is reached for the event, or all-sessions-max")            \
    X(LIVE_VIEWERS_FULL, "viewers-max is reached for the event, or all-viewers-max")               \
    X(LIVE_GROUPS_FULL, "the event has too many different sets of groups")                         \
    X(LIVE_BUSY, "a queue is full; come again")                                                    \
    X(LIVE_NO_SPACE, "the journal's disk is full")                                                 \
    X(LIVE_RECORDS_AWAY, "the record store does not answer")                                       \
    X(LIVE_ERASING, "the viewer or the event is being erased; come again")                         \
    X(LIVE_REFUSED, "the record store refused it")                                                 \
    X(LIVE_NOT_FOUND, "there is no such thing")

enum live_status {
#define LIVE_STATUS_ENUM(name, text) name,
    LIVE_STATUS_LIST(LIVE_STATUS_ENUM)
#undef LIVE_STATUS_ENUM
};

enum live_kind {
    LIVE_HEARTBEATS, /* struct live_heartbeats */
    LIVE_QUERY,      /* struct live_query */
};

struct live_request {
    enum live_kind kind;
    void (*done)(struct live_request *request);
    /* live's own */
    struct live_port *port;
    struct live_request *next;
    uint64_t seq; /* to be durable before done */
};

/* One heartbeat on its way. */
struct live_beat {
    struct heartbeat heartbeat; /* in */
    enum live_status status;    /* out */
    /* live's own */
    struct live_heartbeats *request;
    struct live_beat *next;
    char *groups; /* loaded for it; freed by live */
};

/* One heartbeat, or a batch of them from a back end. */
struct live_heartbeats {
    struct live_request request;
    struct live_beat *beats;
    uint32_t count;
    /* live's own */
    uint32_t taken, finished;
};

#define LIVE_QUERY_LIST(X)                                                                         \
    X(LIVE_FIGURES, "event, session: figures[0]")                                                  \
    X(LIVE_OVERVIEW, "event: figures[0] the event's, then each session's")                         \
    X(LIVE_COUNTS, "event, session: active, counts: alive now by group and country")               \
    X(LIVE_FRAMES, "event, session, from_ms, to_ms, limit: frames that are over, oldest first")    \
    X(LIVE_VIEWER, "event, viewer: viewings (newest state), profile, alive; NOT_FOUND")            \
    X(LIVE_EVENTS, "after, limit: events in order of id")                                          \
    X(LIVE_PROFILE_PUT, "event, viewer, name, groups: stored, and in force at once")               \
    X(LIVE_PROFILE_GET, "event, viewer: name, groups; NOT_FOUND")                                  \
    X(LIVE_ERASE,                                                                                  \
      "event, viewer: forgotten everywhere, once answered; NOT_FOUND: not known at all")           \
    X(LIVE_PURGE, "event: forgotten everywhere, with its directory and profiles")                  \
    X(LIVE_READ, "work, on a thread that may block, with a link that reads; fresh")                \
    X(LIVE_WRITE, "work, on the only thread that writes, in the order of asking; ERASING while "   \
                  "event is purged")

enum live_query_kind {
#define LIVE_QUERY_ENUM(name, text) name,
    LIVE_QUERY_LIST(LIVE_QUERY_ENUM)
#undef LIVE_QUERY_ENUM
};

struct live_count {
    bool is_group;
    struct slice key;
    uint32_t count;
};

struct live_query;
/* The work of LIVE_READ and LIVE_WRITE.  May block; must not keep the link.  What it says becomes
 * the status: ERR_NONE LIVE_OK, ERR_NOT_FOUND LIVE_NOT_FOUND, ERR_INVALID LIVE_REFUSED, others
 * LIVE_RECORDS_AWAY.  It may run again from the start only after it failed with ERR_BUSY. */
struct records_link;
typedef enum err live_work_fn(struct records_link *link, struct live_query *query);

struct live_viewing {
    struct slice session;
    int64_t start_ms, end_ms;
};

/* Zeroed, then filled; live_query_fini frees what the answer took (also when it was never
 * submitted). */
struct live_query {
    struct live_request request;
    enum live_query_kind kind;
    struct slice event, session, viewer; /* in */
    struct slice after;                  /* in: cursor */
    struct slice name, groups;           /* PROFILE_PUT in; PROFILE_GET, VIEWER out */
    int64_t from_ms, to_ms;              /* in */
    uint32_t limit;                      /* in: rows at most, a million; 0: 1000 */
    live_work_fn *work;                  /* in: READ, WRITE */
    void *arg;                           /* in: the work's own */
    bool fresh; /* in, READ: not before everything that was counted by now is stored: a full pass */
    bool long_read;          /* in, READ: it may take seconds; such reads leave others a thread */
    bool profiles_changed;   /* out of WRITE's work: look profiles of `event` up again */
    enum live_status status; /* out */
    int64_t now_ms;          /* out: the engine's time of the answer */
    uint64_t active;         /* out */
    bool alive, has_profile, attended; /* out */
    country_t country;                 /* out: VIEWER, of the latest heartbeat */
    bool more;                         /* out: the limit cut the rows */
    struct figures *figures;
    struct live_count *counts;
    struct frame_row *frames;
    struct live_viewing *viewings;
    struct slice *events;
    uint32_t rows, rows_max; /* of the one array that the kind fills */
    /* live's own */
    struct changes *text; /* holds the text of the answer */
    int64_t viewer_no;    /* VIEWER: what the engine knows it by; -1: it does not */
    uint64_t part;        /* the stored parts that a read must wait for */
    int64_t asked_ms;     /* monotonic: when it went on to a thread that may block */
};
void live_query_fini(struct live_query *query);

/* False when the port has requests_max in flight: answer 503. */
bool live_submit(struct live_port *port, struct live_request *request) WARN_UNUSED;
/* Once per turn of the I/O loop: lets the engine know that there is something. */
void live_port_flush(struct live_port *port);
/* Calls `done` for every request that is finished and as safe as promised. */
void live_port_drain(struct live_port *port);

/* ---- counters ---- */

#define LIVE_COUNTER_LIST(X)                                                                       \
    X(heartbeats_counted, "heartbeats counted")                                                    \
    X(heartbeats_refused, "heartbeats refused: unknown viewer or event, or a bound")               \
    X(heartbeats_unavailable, "heartbeats answered 503")                                           \
    X(batches, "batches applied; heartbeats by batches is the mean batch")                         \
    X(syncs, "fdatasync calls on the journal")                                                     \
    X(profiles_loaded, "profiles looked up in the record store")                                   \
    X(profiles_late, "heartbeats counted without their viewer's profile: it came too late or not") \
    X(profiles_failed, "profile look-ups that failed: the heartbeats counted without groups")      \
    X(events_loaded, "events that came back to memory")                                            \
    X(viewers_erased, "viewers erased")                                                            \
    X(events_purged, "events purged, by request or by retention")                                  \
    X(rows_retired, "rows deleted because of their age or their event")                            \
    X(commits, "transactions on the record store")                                                 \
    X(commits_failed, "transactions that failed and were tried again")                             \
    X(rows_stored, "rows written to the record store")                                             \
    X(queries, "questions answered")

#define LIVE_GAUGE_LIST(X)                                                                         \
    X(events, "events in memory")                                                                  \
    X(audiences, "audiences in memory")                                                            \
    X(viewers, "viewers in memory")                                                                \
    X(members, "viewers in audiences in memory")                                                   \
    X(backlog, "ended viewings and frames that wait for the record store")                         \
    X(waiting, "heartbeats that wait for a profile or an event")                                   \
    X(journal_bytes, "bytes in the journal's segments")                                            \
    X(journal_seq, "sequence number of the newest journal record")                                 \
    X(durable_seq, "sequence number of the newest journal record known to be on the disk")         \
    X(covered_seq, "sequence number up to which the record store has everything")

struct live_counters {
#define LIVE_COUNTER_FIELD(name, text) uint64_t name;
    LIVE_COUNTER_LIST(LIVE_COUNTER_FIELD)
    LIVE_GAUGE_LIST(LIVE_COUNTER_FIELD)
#undef LIVE_COUNTER_FIELD
};
/* Any thread; figures of the last second or so. */
void live_counters(struct live *live, struct live_counters *counters);
/* Can heartbeats be acknowledged now?  False while the journal's disk is full. */
bool live_ready(struct live *live);

#endif
