/* sim_ask.h -- asks the server for figures while heartbeats go on.
 *
 * Model: a list of questions, sent over a few connections of the client.  A question is asked again
 * when the server does not answer it well, and when its answer is older than asked for (a server
 * may answer many readers from one computation a second: `timestamp` says of when it is).
 *
 * Threads: one owner.  Memory: the asker owns the answers until the next sim_ask_start. */
#ifndef NOVABEAT_CLI_SIM_ASK_H
#define NOVABEAT_CLI_SIM_ASK_H

#include "cli/sim_client.h"
#include "cli/sim_member.h"
#include "cli/sim_world.h"

#include <jansson.h>

#define SIM_ASK_CONNECTIONS 4

enum sim_question_kind {
    SIM_ASK_CLOCK, /* the count of a session that nobody has ever asked for; viewer tells it apart
                    */
    SIM_ASK_ACTIVE,
    SIM_ASK_LIVE,
    SIM_ASK_ATTENDED,
    SIM_ASK_PEAK,
    SIM_ASK_OVERVIEW, /* audience 0 */
    SIM_ASK_VIEWER,   /* audience 0 */
    SIM_ASK_FRAMES,   /* by sim_ask_add_frames */
};

struct sim_question {
    enum sim_question_kind kind;
    uint32_t audience; /* 0: the event, else the session */
    uint32_t viewer;   /* SIM_ASK_VIEWER */
    int64_t from_ms;   /* SIM_ASK_FRAMES: the start of the first one */
    uint32_t frames;   /* SIM_ASK_FRAMES: so many are meant, */
    size_t shown_min;  /* and an answer with fewer than so many is asked for again */
    /* The answer. */
    json_t *body;        /* NULL: none */
    int status;          /* the last one; 0: no answer */
    struct sim_range at; /* ms since the run's start: when it was true */
    /* Private. */
    uint32_t tries;
    int64_t due_us;
    bool done;
};

struct sim_asker {
    struct sim_client *client;
    const struct sim_world *world;
    uint32_t first_connection;
    int64_t start_us; /* of the run */
    /* The server's clock minus the client's, both in ms; known after sim_ask_clock. */
    bool offset_known;
    struct sim_range offset_ms;
    struct sim_question *questions;
    size_t questions_count, questions_max, open_count;
    size_t asked[SIM_ASK_CONNECTIONS]; /* by connection: the question */
    int64_t fresh_ms, deadline_us;
};

void sim_ask_init(struct sim_asker *asker, struct sim_client *client, const struct sim_world *world,
                  uint32_t first_connection, int64_t start_us);
void sim_ask_fini(struct sim_asker *asker);

/* Forgets the old questions and takes new ones: add them, then start.  Answers must be of fresh_ms
 * or later; after patience_us what is not answered stays so. */
void sim_ask_clear(struct sim_asker *asker);
void sim_ask_add(struct sim_asker *asker, enum sim_question_kind kind, uint32_t audience,
                 uint32_t viewer);
void sim_ask_add_frames(struct sim_asker *asker, uint32_t audience, int64_t from_ms,
                        uint32_t frames, size_t shown_min);
void sim_ask_start(struct sim_asker *asker, int64_t fresh_ms, int64_t patience_us);

/* Sends what can be sent.  True when no question is open. */
bool sim_ask_step(struct sim_asker *asker);
/* An answer of one of the asker's connections. */
void sim_ask_answer(struct sim_asker *asker, const struct sim_answer *answer);

/* Learns the offset of the clocks from the answers to SIM_ASK_CLOCK: since nobody asked before,
 * they were computed when asked.  False: there was none with a timestamp. */
bool sim_ask_clock(struct sim_asker *asker);
/* The overview's part for one audience; NULL: it has none.  Lent with the overview. */
const json_t *sim_ask_overview_part(const json_t *overview, uint32_t audience);
/* A range of the client's time as the server tells it. */
struct sim_range sim_ask_server_ms(const struct sim_asker *asker, struct sim_range at);

#endif
