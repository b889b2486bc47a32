/* shared.h -- answers that cost a scan of the records, made once for all who ask within a second.
 *
 * Model: a question is its work, its audience and its range.  Whoever asks
 *   - gets the answer to the same question that was finished less than SHARED_MS ago, on whatever
 *     worker; else
 *   - waits for the same question if it is under way on the same worker; else
 *   - has it asked, as one LIVE_READ whose work writes the text.
 * So a thousand dashboards cost one scan a second (and each worker one at most at a time).  An
 * answer carries its time, which may be so much older than the request.  Only whole answers are
 * kept; a problem goes to those who waited for it.
 *
 * Memory: SHARED_ANSWERS_MAX texts of SHARED_BYTES_MAX together; a question under way is one
 * allocation, and who waits for it is linked through the exchange's `user` bytes.  When the tables
 * are full, the oldest answer goes, and questions are asked for one alone.
 * Threads: the table of answers is behind its mutex, which is held for a few hundred ns; the rest
 * is the worker's. */
#ifndef NOVABEAT_API_SHARED_H
#define NOVABEAT_API_SHARED_H

#include "api/internal.h"

#define SHARED_MS            1000
#define SHARED_ANSWERS_MAX   32
#define SHARED_BYTES_MAX     ((size_t)16 << 20)
#define SHARED_UNDER_WAY_MAX 64 /* of a worker, that others can wait for */

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

/* What the work gets as query->arg.  It reads key and query, and writes text (empty at the start)
 * or sets `problem`. */
struct shared_question {
    struct live_query query; /* first */
    struct shared_key key;
    struct buffer text;     /* out: JSON */
    struct problem problem; /* out: status 0, or what is wrong with the question */
    struct api_worker *worker;
    struct http_exchange *first, *last; /* who waits */
    struct shared_question *next;       /* in worker->shared; see `listed` */
    bool listed;
};

/* ?from&to, and &step where `step` says so.  False: answered 400. */
bool shared_range_read(struct call *call, bool step, struct shared_range *range) WARN_UNUSED;

/* Answers the call, now or later.  fresh: as in struct live_query. */
void shared_ask(struct call *call, live_work_fn *work, bool fresh,
                const struct shared_range *range);

struct shared_answers;
struct shared_answers *shared_answers_new(void);
void shared_answers_free(struct shared_answers *answers);

/* ---- the table alone, for tests ---- */

struct shared_text;
/* The text of an answer; takes one reference, given back with shared_text_free.  NULL: none that is
 * young enough. */
struct shared_text *shared_answers_find(struct shared_answers *answers,
                                        const struct shared_key *key, int64_t now_ms);
/* Copies the text and keeps it if there is room; the reference is the caller's. */
struct shared_text *shared_answers_keep(struct shared_answers *answers,
                                        const struct shared_key *key, struct slice text,
                                        int64_t now_ms);
struct slice shared_text_slice(const struct shared_text *text);
void shared_text_free(struct shared_answers *answers, struct shared_text *text);
/* Walks the table and asserts its bounds; the bytes it holds. */
size_t shared_answers_check(struct shared_answers *answers);

#endif
