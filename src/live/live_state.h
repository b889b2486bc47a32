/* live_state.h -- private to live: the memory engine's threads and what each may touch.
 *
 * Who may touch what (ARCHITECTURE.md has the table): the bands of the structs below say it. */
#ifndef NOVABEAT_LIVE_LIVE_STATE_H
#define NOVABEAT_LIVE_LIVE_STATE_H

#include "base/clock.h"
#include "base/ring.h"
#include "journal/entry.h"
#include "journal/journal.h"
#include "live/erasures.h"
#include "live/live.h"
#include "live/store.h"
#include "live/waiting.h"
#include "records/records.h"

#include <pthread.h>
#include <stdatomic.h>

/* Heartbeats of one turn of the engine's thread: one journal record, usually. */
#define TURN_BEATS_MAX 1024
/* Rows of one part, so of one transaction. */
#define PART_ROWS_MAX 16384
#define READERS       3
#define LONG_READERS  (READERS - 1) /* at most: short questions are answered meanwhile */
#define READS_MAX     4096          /* questions waiting for a reader */
#define WRITES_MAX    4096          /* profiles and other things waiting to be written */
#define LOOKUPS_MAX   256           /* profiles in one query */
#define PUTS_A_ROUND  64            /* profiles in one transaction, and between two parts */
#define READ_WAIT_MS  5000          /* a question waits so long for the record store; then 503 */

struct live_port {
    /* constant once `open` */
    struct live *live;
    void (*wake)(void *ctx);
    void *ctx;
    _Atomic bool open; /* release-stored when the fields above are set */
    /* owned by the I/O thread */
    uint32_t in_flight;
    bool submitted; /* since the last flush */
    bool asked;     /* one of them is a query */
    /* between the I/O thread and the engine */
    struct ring inbox;     /* I/O thread puts, engine takes: struct live_heartbeats */
    struct ring questions; /* likewise: struct live_query; they do not wait for the gathering */
    struct ring acks; /* engine puts, I/O thread takes: struct live_heartbeats, in order of seq */
    /* any thread, under the lock: answers to queries */
    pthread_mutex_t answers_lock;
    struct live_request *answers_first, *answers_last;
};

/* What the engine's thread is doing, as far as who submits must know.
 *
 * "I put something, then looked whether it sleeps" against "it said it sleeps, then looked whether
 * something is there" must not both miss.  So both sides do a read-modify-write of engine_wait
 * between their two steps: one of the two comes second, reads what the first wrote, and with it
 * sees all that the first did before. */
enum engine_wait {
    ENGINE_AWAKE,     /* will look again without being woken */
    ENGINE_GATHERING, /* sleeps for at most sync_gather: only a query or a message wakes it */
    ENGINE_ASLEEP,    /* anything wakes it */
};

/* From other threads to the engine's. */
enum message_kind {
    MESSAGE_LOADED,    /* waiting: an event or a profile was looked up */
    MESSAGE_WROTE,     /* query: a profile was put, or profiles of its event have changed */
    MESSAGE_ERASED,    /* query: of an erasure; its profile is gone */
    MESSAGE_RETIRE,    /* query: likewise; by its age, nobody asked */
    MESSAGE_COMMITTED, /* the part was stored */
};

struct message {
    struct message *next;
    enum message_kind kind;
    struct waiting *waiting;
    struct live_query *query;
};

/* A queue of queries for threads that may block; those with long_read stand in a row of their own,
 * which only LONG_READERS threads serve at a time. */
struct work_row {
    struct live_request *first, *last;
};
struct work {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct work_row row, long_row;
    uint32_t count; /* of both */
    uint32_t long_running;
    bool stop;
};

struct live {
    /* constant after start */
    struct live_options options;
    struct live_port *ports;
    int wake_fd;        /* eventfd of the engine's thread */
    struct store store; /* engine and journal are the ones below */
    struct journal *journal;
    pthread_t engine_thread, sync_thread, loader_thread, records_thread, reader_threads[READERS];

    /* owned by the engine's thread (by live_start before it runs, by live_stop after) */
    struct engine *engine;
    struct clock clock;
    struct waiting_table waiting;
    struct live_beat *ready_first, *ready_last; /* beats whose wait is over */
    struct message *puts_first, *puts_last;     /* profiles to apply with the next record */
    struct erasures erasures;
    bool settings_due;  /* the next record begins with the settings */
    bool record_wanted; /* a record is to be written though nothing has to be journaled */
    bool handed_back;   /* ports have acks that they were not told of */
    uint64_t turn;      /* its number */
    uint64_t parts_collected;
    bool part_out;       /* the records thread has the part */
    int64_t part_out_ms; /* monotonic: since when */
    /* Passes: full ones, numbered from 1. */
    uint64_t passes_begun, passes_done;
    bool pass_full; /* the pass under way is a full one */
    int64_t pass_begin_ms;
    struct live_query *fresh_first, *fresh_last; /* reads that wait for one, oldest first */
    uint32_t fresh_count;
    int64_t fresh_ms;          /* monotonic: no pass for readers before */
    int64_t fresh_time_out_ms; /* monotonic: when to look for those that waited too long */
    bool stopping;             /* stop_engine was seen */
    bool gave_up;              /* at stop: storing took too long */
    int64_t retry_ms;          /* monotonic, no_space: when to try the journal again */
    int64_t flush_ms;          /* monotonic: when the next pass is due */
    int64_t full_ms;           /* monotonic: when the next full pass is due */
    bool full_wanted;          /* at stop, and when the journal is full: a full pass at once */
    int64_t batch_us;          /* monotonic: the newest batch */
    int64_t gauges_ms;         /* monotonic: when the gauges are due */
    int64_t time_out_ms;       /* monotonic: when to look for waits that took too long */
    char *payload;             /* of a journal record */

    /* between threads */
    _Atomic int engine_wait; /* enum engine_wait */
    _Atomic bool stop_engine;
    _Atomic int64_t stop_by_ms; /* monotonic, relaxed: when to give up storing */
    _Atomic bool no_space;      /* relaxed: a hint for readyz and metrics */
    _Atomic int64_t now_ms;     /* relaxed: the engine's time a second ago, for retention */
    pthread_mutex_t messages_lock;
    struct message *messages_first, *messages_last;
    _Atomic bool messages_there; /* relaxed: a hint; written under the lock */

    pthread_mutex_t sync_lock;
    pthread_cond_t sync_wanted;
    uint64_t sync_appended_seq; /* under the lock */
    bool sync_stop;
    _Atomic uint64_t durable_seq; /* only grows; what acks wait for */
    _Atomic uint32_t meeting;     /* see meet() */

    pthread_mutex_t part_lock;
    pthread_cond_t part_changed;
    bool part_ready, part_stop; /* under the lock */
    struct changes part;        /* whoever part_ready says: the records thread while true */
    uint64_t part_seq;          /* likewise: the journal record that its rows reach up to */
    uint64_t parts_done;        /* under the lock; readers wait for it */
    struct work writes;         /* same thread; woken by part_changed */

    struct work reads;
    struct waiting_queue lookups;

    /* counters: relaxed, each written by one thread or with atomic adds */
    struct {
#define LIVE_COUNTER_ATOMIC(name, text) _Atomic uint64_t name;
        LIVE_COUNTER_LIST(LIVE_COUNTER_ATOMIC)
        LIVE_GAUGE_LIST(LIVE_COUNTER_ATOMIC)
#undef LIVE_COUNTER_ATOMIC
    } counters;
};

#define COUNT(live, name, by)                                                                      \
    atomic_fetch_add_explicit(&(live)->counters.name, (by), memory_order_relaxed)
#define GAUGE(live, name, value)                                                                   \
    atomic_store_explicit(&(live)->counters.name, (value), memory_order_relaxed)

/* Between two steps, by the engine's thread and by the sync thread: whichever comes second sees all
 * that the other did before it came. */
static inline void meet(struct live *live)
{
    (void)atomic_fetch_add(&live->meeting, 1);
}

/* The last word of a process that can promise nothing more. */
_Noreturn void live_die(const char *why);

/* memory.c: the engine's thread.  engine_run ends when stop_engine is set and all is stored. */
void *engine_run(void *live);
void engine_post(struct live *live, struct message *message); /* any thread; takes the message */
/* A profile or an erasure is an input of the engine: it is journaled with the next record. */
void put_later(struct live *live, struct message *message);

/* memory.c, for lookups.c: the beat's last step; with the last one of its request this goes back.
 */
void beat_finish(struct live *live, struct live_beat *beat, enum live_status status, uint64_t seq);

/* passes.c: rows for the record store, and the reads that wait for them. */
void passes_run(struct live *live);
void passes_committed(struct live *live);                      /* the part is stored */
void passes_wait(struct live *live, struct live_query *query); /* goes on after a full pass */
void passes_time_out(struct live *live);
int64_t passes_idle_us(const struct live *live, int64_t now_us); /* until something is due */
uint64_t covered_seq(struct live *live);

/* erasures.c: viewers and events that are being forgotten. */
bool erasures_hold(struct live *live, struct slice event, struct slice viewer);
void erasures_ask(struct live *live, struct live_query *query);
void erasures_written(struct live *live, struct live_query *work);
/* The event was looked up; those that waited for it go on. */
void erasures_event(struct live *live, struct erasure *first, enum err err);
/* May it be journaled now?  False: its event has left memory meanwhile, so it would not be applied,
 * but a replay would; it goes another way. */
bool erasures_recordable(struct live *live, struct live_query *work);
struct entry erasures_entry(const struct live *live, const struct live_query *work);
void erasures_journaled(struct live *live, struct live_query *work); /* apply it */
void erasures_refused(struct live *live, struct live_query *work);   /* the disk is full */
bool erasures_want_turn(const struct live *live);                    /* of the journal */
void erasures_pass_done(struct live *live);
bool erasures_want_record(const struct live *live);
void erasures_run(struct live *live);
void erasures_retire(struct live *live, struct live_query *work);
void erasures_recovered(struct live *live, struct erasure *first); /* takes them */
void erasures_add(struct live *live, struct erasure *erasure);
void erasures_fini(struct live *live);

/* lookups.c: heartbeats that need an event or a profile; they wait, or come back as ready. */
void lookups_event(struct live *live, struct live_beat *beat);
void lookups_profile(struct live *live, struct live_beat *beat);
/* True: one of the same viewer waits, and this one waits behind it. */
bool lookups_follow(struct live *live, struct live_beat *beat);
/* Asks for the profile again; nobody waits. */
void lookups_refresh(struct live *live, const struct live_beat *beat, struct place *place);
/* The loader has answered.  True: the entry is a profile to be journaled and applied; then it is
 * the caller's to remove. */
bool lookups_answered(struct live *live, struct waiting *waiting);
/* A profile was put: what the loader may just have read is older. */
void lookups_put(struct live *live, struct slice event, struct slice viewer, struct slice groups);
/* Profiles of the event have changed in the store: what the loader may just have read is older, and
 * what is in memory is to be looked up again. */
void lookups_changed(struct live *live, struct slice event);
/* The viewer (empty: all of the event) was erased: nothing that was known before may come back. */
void lookups_forget(struct live *live, struct slice event, struct slice viewer);
/* Waits with those that wait for the event.  False: too many wait; or (waits) nobody does.
 * erasure NULL: only asks. */
bool lookups_event_wait(struct live *live, struct slice event, struct erasure *erasure);
bool lookups_event_waits(struct live *live, struct slice event, struct erasure *erasure);
/* The answer is in force.  The entry goes, or, when it is too old, to the loader once more. */
void lookups_applied(struct live *live, struct waiting *waiting);
void lookups_time_out(struct live *live);

/* answer.c: queries on the engine's thread, and what a reader adds. */
void answer_query(struct live *live, struct live_query *query);
void answer_pass_on(struct live *live, struct live_query *query); /* to who may block */
bool answer_write(struct live *live, struct live_query *query);   /* false: the queue is full */
void answer_read(struct records_link *link, struct live_query *query); /* link NULL: away */
enum live_status answer_status(enum err err); /* of what a query's work said */
void answer_done(struct live_query *query);   /* any thread: hands it back to its port */

/* threads.c and writer.c: the others. */
void *sync_run(void *live);
void *loader_run(void *live);
void *records_run(void *live);
void *reader_run(void *live);
void sync_now(struct live *live); /* the journal, as far as it is written */
struct records_link *open_link(struct live *live, const char *who); /* NULL: noted; try again */
struct timespec at_ms(int64_t ms); /* a monotonic time as pthread_cond_timedwait takes it */
void work_init(struct work *work);
bool work_put(struct work *work, struct live_request *request, uint32_t max);
bool work_waits(struct work *work);
/* Waits for the oldest that may run now; NULL: stop, and there is none.  Then work_ended. */
struct live_query *work_take(struct work *work);
void work_ended(struct work *work, bool long_read);
/* The oldest of a row, under the lock; NULL: there is none. */
struct live_query *work_take_now(struct work *work, struct work_row *row);
/* A queue that the record store has blocked for long is answered without asking it once more for
 * each: else the last one would wait for hours. */
bool too_old(const struct live_query *query);

#endif
