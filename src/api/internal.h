/* internal.h -- what the files of api/ share.
 *
 * Model: a struct call is one request on the stack of the handler.  It may end in three ways:
 *   - call_json, call_problem, …: answered at once.
 *   - call_submit with a state of its own in the exchange (heartbeat.c, batch.c).
 *   - question_ask: one live_query, and a function that writes its answer as JSON.
 *
 * Memory: what routing and queries decode lies in the worker's scratch until the handler returns;
 * what must stay until live/ has answered is kept in the exchange's `user` bytes (call_keep).  They
 * and the request are gone once the answer is given: the next request may use their place.
 * Threads: all on the exchange's worker. */
#ifndef NOVABEAT_API_INTERNAL_H
#define NOVABEAT_API_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "base/buffer.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "http/list.h"
#include "http/router.h"
#include "identity/api_key.h"
#include "identity/token.h"
#include "records/records.h"

#define ENDPOINTS_MAX 64
#define ROWS_MAX      1000 /* of one answer: larger ones come in pages */
/* Times up to here are exact in every JSON reader. */
#define TIME_MS_MAX ((uint64_t)1 << 53)
/* Who reads figures comes again soon; the heartbeats' interval is for viewers. */
#define READ_AGAIN SLICE_LIT("Retry-After: 1\r\n")

/* What a path and a query decode to, and one text of a body. */
#define SCRATCH_BYTES (REQUEST_HEAD_BYTES_MAX + HEARTBEAT_BODY_BYTES_MAX)
/* A profile's body: each character of its name and groups may be written as \uXXXX. */
#define PROFILE_BODY_BYTES_MAX                                                                     \
    (6 * (NAME_BYTES_MAX + GROUPS_PER_VIEWER_MAX * GROUP_ID_BYTES_MAX) + 2048)
/* An event with a thousand sessions. */
#define DIRECTORY_BODY_BYTES_MAX (1u << 20)
#define ANSWER_BYTES_MAX         ((size_t)64 << 20)

struct api_worker {
    /* the worker's */
    struct api *api;
    struct live_port *port;
    struct buffer answer;           /* reused: the text of the answer that is being built */
    uint32_t in_flight;             /* requests that live/ has */
    uint64_t batch_bytes;           /* that batches under way take */
    uint32_t imports;               /* of profiles, under way */
    struct rate *rate;              /* of each viewer's heartbeats */
    struct shared_question *shared; /* under way (shared.h); so many */
    uint32_t shared_count;
    struct list reports; /* under way (report.c); so many */
    uint32_t reports_count;
    bool handed_on; /* some of them in this turn */
    bool stopping;  /* answer 503, and touch live/ only for what it still has */
    char scratch[SCRATCH_BYTES];
    /* written by the worker, read by any */
    alignas(64) _Atomic(struct http_worker *) http; /* NULL until it runs */
    _Atomic bool stopped;                           /* live/ will not be touched again */
    _Atomic uint64_t lines_refused;                 /* of batches; relaxed: a counter */
    _Atomic uint64_t rate_refused;                  /* heartbeats; likewise */
};

struct endpoint;
struct shared_answers;
struct shared_question;

/* All API keys, sorted. */
struct api_keys {
    struct api_key *keys;
    uint32_t count, max;
};

struct api {
    struct api_config config;
    struct router *router;
    struct route routes[ENDPOINTS_MAX];
    struct api_worker *workers;
    char acknowledgement[48]; /* {"intervalMs":30000} */
    char retry_after[40];     /* the header line of a refused heartbeat */
    _Atomic(const struct http_server *) server;
    _Atomic bool stopping;
    struct shared_answers *shared;
    struct hash_key rate_key;
    pthread_mutex_t keys_load_lock; /* held while they are read from the store and exchanged */
    pthread_rwlock_t keys_lock;
    struct api_keys keys; /* under it */
};

struct call {
    struct http_exchange *exchange;
    struct api_worker *worker;
    struct slice event, session, viewer; /* from the path, valid; empty where it has none */
    struct slice key_id;                 /* likewise, unchecked */
    struct slice key_event; /* the API key that was shown is for this event alone; empty: for all */
    char key_event_room[EVENT_ID_BYTES_MAX];
    struct scratch scratch;
};

/* ---- api.c ---- */

/* False: answered (live/ has no room for it). */
bool call_submit(struct call *call, struct live_request *request) WARN_UNUSED;
/* Outside of a request, such as from `done` or stream_ready: false when the worker is stopping or
 * live/ has no room.  Nothing is answered. */
bool worker_submit(struct api_worker *worker, struct live_request *request) WARN_UNUSED;
/* First of all in each `done`: the request is ours again. */
void worker_returned(struct api_worker *worker);

/* First in the `user` bytes of an exchange whose answer is a stream (http.h). */
struct stream {
    void (*ready)(struct http_exchange *exchange);
};

/* ---- auth.c: who may do what ---- */

/* What follows "Bearer " in the Authorization header; empty: nothing. */
struct slice bearer_of(const struct http_request *request);

/* Whose heartbeat this is, by the token in the header or, where there is none, in the body; good
 * for the event of the path.  False: answered 401 or 403. */
bool auth_viewer(struct call *call, struct slice body_token,
                 struct token_claims *claims) WARN_UNUSED;

/* May the caller do what needs this role (0: open to all)?  False: answered 401 or 403. */
bool auth_allowed(struct call *call, unsigned role) WARN_UNUSED;
/* The same before the body is read, whatever the event; nothing is answered. */
bool auth_has_role(struct api *api, const struct http_request *request, unsigned role) WARN_UNUSED;

struct question;
/* The go_on of an erasure or a purge: once that is done, the verified tokens of the viewer, or all
 * of them, are forgotten too, on a reader's thread (there may be a million). */
bool auth_forget(struct question *question);

/* ---- answer.c: the ways to answer ---- */

void respond_json(struct http_exchange *exchange, struct slice body); /* 200 */
void respond_json_status(struct http_exchange *exchange, int status, struct slice body);
/* 200 with what is in the worker's buffer, or a problem when the buffer is FULL. */
void respond_answer(struct http_exchange *exchange);
void call_problem(struct call *call, int status, const char *field, const char *detail);
/* The problem that a status other than LIVE_OK is. */
void respond_live_problem(struct http_exchange *exchange, enum live_status status,
                          struct slice retry_after);
const char *live_status_text(enum live_status status);

/* {"eventId":"E" and, where a session is meant, ,"sessionId":"S" */
void put_audience(struct buffer *out, struct slice event, struct slice session);
/* {"eventId":"E","count":42,"timestamp":now without the brace that closes it. */
void put_count(struct buffer *out, const struct live_query *query, uint64_t count);
/* ,"at":1637661623070, or null when there was no peak. */
void put_peak_time(struct buffer *out, const struct figures *figures);
/* ["a","b"] from a packed list. */
void put_groups(struct buffer *out, struct slice packed);

/* ---- question.c: endpoints that are one query ---- */

struct problem {
    int status;
    const char *field, *detail; /* static texts; field NULL: none */
};

struct question {
    struct live_query query;
    /* Writes the answer to a query whose status is LIVE_OK.  NULL: there is none (204). */
    void (*write)(struct buffer *out, const struct question *question);
    /* May be NULL.  Called when live/ has given the query back, whatever its status: true when it
     * asked on (question_again), so that it is not yet the time to answer. */
    bool (*go_on)(struct question *question);
    /* May be NULL.  What a status other than LIVE_OK means here; false: what it means everywhere.
     */
    bool (*explain)(const struct question *question, struct problem *problem);
    void *arena;                    /* freed after the answer; may be NULL */
    void (*fini)(void *arena);      /* instead of free; may be NULL */
    int status;                     /* of a good answer; 0: 200; 204: without a body */
    char event[EVENT_ID_BYTES_MAX]; /* these two hold ids that had to be decoded */
    char other[VIEWER_ID_BYTES_MAX];
};
static_assert(CORS_ROOM_BYTES <= HTTP_HEADERS_ROOM, "lines stay until their own answer");
static_assert(sizeof(struct question) <= HTTP_USER_BYTES, "a question fits its exchange");
static_assert(SESSION_ID_BYTES_MAX <= VIEWER_ID_BYTES_MAX, "a path has a session or a viewer");

/* A query with the ids of the path. */
struct question *question_new(struct call *call, enum live_query_kind kind,
                              void (*write)(struct buffer *out, const struct question *question));
void question_ask(struct call *call, struct question *question);
/* From go_on: the same ids and `arg`, with another query; what the last one found is gone.  False:
 * there is no room in live/, and the question's status says so. */
bool question_again(struct question *question, enum live_query_kind kind, live_work_fn *work);

/* The exchange that a state in its `user` bytes belongs to. */
static inline struct http_exchange *exchange_of(void *state)
{
    return (struct http_exchange *)(void *)((char *)state - offsetof(struct http_exchange, user));
}

/* Bytes that lie in the worker's scratch are copied to `room`; others stay as long as the request
 * anyhow. */
struct slice call_keep(const struct call *call, struct slice text, char *room);

/* ---- fields.c: what is asked of ids, parameters and members ---- */

#define EVENT_RULE   "must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -"
#define SESSION_RULE EVENT_RULE
#define ELSEWHERE    "profiles come from the platform's own database"
#define VIEWER_RULE  "must be 1 to 128 bytes of UTF-8 without control characters"

struct parameter {
    const char *name;
    bool given;
    struct slice value;
};
/* Finds the wanted parameters of the query; others are ignored; of repeated ones the last counts.
 * False: answered 400. */
bool call_parameters(struct call *call, struct parameter *wanted, size_t count) WARN_UNUSED;
/* The number that a parameter gives; *number is left alone when it is not given.  False: answered
 * 400, with the rule. */
bool parameter_number(struct call *call, const struct parameter *parameter, uint64_t lowest,
                      uint64_t highest, const char *rule, uint64_t *number) WARN_UNUSED;

/* The parameters of every list: ?limit, of ROWS_MAX at most, and ?cursor, which the list itself
 * reads and refuses by call_bad_cursor.  False: answered 400. */
bool page_parameters(struct call *call, uint32_t *limit, struct parameter *cursor) WARN_UNUSED;
void call_bad_cursor(struct call *call);

/* The groups of a JSON array, packed.  NULL, or what the array "must be". */
const char *groups_read(const struct json_value *array, char out[GROUPS_PACKED_BYTES_MAX],
                        size_t *len);

/* ---- session.c ---- */

enum session_outcome {
    SESSION_NONE, /* the pattern is not there, or nothing follows it */
    SESSION_FOUND,
    SESSION_INVALID, /* what follows is no session's id */
};

/* The session that a viewer at this path or address watches: what follows the first occurrence of
 * the pattern, up to '/', '?', '#' or the end, percent-decoded.  *session is a slice of the text,
 * or of `room` where it had to be decoded. */
enum session_outcome session_find(struct slice text, struct slice pattern,
                                  char room[SESSION_ID_BYTES_MAX], struct slice *session);

/* ---- the endpoints ---- */

void heartbeat_post(struct call *call);
void batch_post(struct call *call);
void figures_active(struct call *call);
void figures_attended(struct call *call);
void figures_peak(struct call *call);
void figures_logins(struct call *call);
void figures_profiles(struct call *call);
void figures_ever(struct call *call);
void viewing_stats_get(struct call *call);
void concurrent_get(struct call *call);
void report_post(struct call *call);
void report_drop_all(struct api_worker *worker); /* frees those that the server has dropped */
void statistics_get(struct call *call);
void statistics_live(struct call *call);
void overview_get(struct call *call);
void viewers_get(struct call *call);
void viewers_put(struct call *call);
void viewers_delete(struct call *call);
void profiles_list(struct call *call);
void profiles_import(struct call *call);
/* An `explain`: that there are none of ours to put, import or list. */
bool profiles_explain(const struct question *question, struct problem *problem);
void events_list(struct call *call);
void events_delete(struct call *call);
void directory_get(struct call *call);
void directory_put(struct call *call);
void sessions_list(struct call *call);
void sessions_delete(struct call *call);
void keys_post(struct call *call);
void keys_list(struct call *call);
void keys_delete(struct call *call);
void openapi_get(struct call *call);
void health_alive(struct call *call);
void health_ready(struct call *call);
void health_metrics(struct call *call);

#endif
