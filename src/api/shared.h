/* shared.h -- answers that cost a scan of the records, made once for all who ask within a second.
 *
 * Model: a question is its work, its audience and its range.  Whoever asks
 *   - gets the answer to the same question that was asked less than SHARED_MS ago, by whatever
 *     worker; else
 *   - waits for the same question if it is under way on the same worker and was asked less than
 *     SHARED_MS ago; else
 *   - waits for its successor, which is asked as soon as the one under way is done; else
 *   - has it asked, as one LIVE_READ whose work writes the text.
 * The age counts from when live/ was asked, not from when the scan was done: so an answer has all
 * that was acknowledged SHARED_MS before the request, however long the scan takes.  A thousand
 * dashboards cost one scan a second, or, where it takes longer, one at a time and worker.  Only
 * whole answers are kept; a problem goes to those who waited for it.
 *
 * When a viewer is erased or an event purged, what was asked before is neither given nor waited for
 * any more (shared_forget).
 *
 * Memory: SHARED_ANSWERS_MAX texts of SHARED_BYTES_MAX together; a question under way is one
 * allocation, and so is its one successor; who waits for it is linked through the exchange's `user`
 * bytes.  When the tables are full, the oldest answer goes, and questions are asked for one alone.
 * Threads: the table of answers is behind its mutex, which is held while its slots are looked
 * through; the rest is the worker's. */
#ifndef NOVABEAT_API_SHARED_H
#define NOVABEAT_API_SHARED_H

#include "api/internal.h"

#define SHARED_MS 1000
/* What a dashboard of 50 sessions asks, five times: each stays until it is asked for again. */
#define SHARED_ANSWERS_MAX   256
#define SHARED_BYTES_MAX     ((size_t)16 << 20)
#define SHARED_UNDER_WAY_MAX 64 /* of a worker, that others can wait for; and their successors */

#define RANGE_ABSENT INT64_MIN
struct shared_range {
    int64_t from_ms, to_ms, step_ms; /* RANGE_ABSENT where not given or not meant */
};
#define RANGE_NONE ((struct shared_range){RANGE_ABSENT, RANGE_ABSENT, RANGE_ABSENT})

struct shared_key {
    live_work_fn *work;
    struct shared_range range;
    uint8_t event_len, session_len;
    char event[EVENT_ID_BYTES_MAX], session[SESSION_ID_BYTES_MAX];
};

/* When a question was asked. */
struct shared_moment {
    int64_t asked_ms;   /* monotonic */
    uint32_t forgotten; /* how often something of its event had been forgotten */
};

/* What the work gets as query->arg.  It reads key and query, and writes text (empty at the start)
 * or sets `problem`. */
struct shared_question {
    struct live_query query; /* first */
    struct shared_key key;
    struct buffer text;     /* out: JSON */
    struct problem problem; /* out: status 0, or what is wrong with the question */
    struct api_worker *worker;
    struct shared_moment moment;
    struct http_exchange *first, *last; /* who waits */
    struct shared_question *successor;  /* NULL: nobody waits for one */
    struct shared_question *next;       /* in worker->shared; see `listed` */
    bool listed;
};

/* ?from&to, and &step where `step` says so.  False: answered 400. */
bool shared_range_read(struct call *call, bool step, struct shared_range *range) WARN_UNUSED;

/* Answers the call, now or later.  fresh: as in struct live_query. */
void shared_ask(struct call *call, live_work_fn *work, bool fresh,
                const struct shared_range *range);

/* The go_on of an erasure or a purge: what was asked of its event before this is not served after
 * it, whatever the outcome; then auth_forget. */
bool shared_forget(struct question *question);

struct shared_answers;
struct shared_answers *shared_answers_new(void);
void shared_answers_free(struct shared_answers *answers);

/* ---- the table alone, for tests ---- */

struct shared_text;
/* The text of an answer; takes one reference, given back with shared_text_free.  NULL: none that is
 * young enough. */
struct shared_text *shared_answers_find(struct shared_answers *answers,
                                        const struct shared_key *key, int64_t now_ms);
/* Copies the text, and keeps it if there is room and somebody else may still get it; the reference
 * is the caller's. */
struct shared_text *shared_answers_keep(struct shared_answers *answers,
                                        const struct shared_key *key, struct slice text,
                                        struct shared_moment moment, int64_t now_ms);
/* Now, for a question that is about to be asked. */
struct shared_moment shared_answers_moment(struct shared_answers *answers,
                                           const struct shared_key *key, int64_t now_ms);
/* Nothing of the event that was asked before this is given or kept after it. */
void shared_answers_forget(struct shared_answers *answers, struct slice event);
struct slice shared_text_slice(const struct shared_text *text);
void shared_text_free(struct shared_answers *answers, struct shared_text *text);
/* Walks the table and asserts its bounds; the bytes it holds. */
size_t shared_answers_check(struct shared_answers *answers);

#endif
