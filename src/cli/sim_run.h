/* sim_run.h -- plays a plan against a server: sends each heartbeat when it is due, as a page would,
 * tells the reference what became of it, and asks for figures at the checkpoints.
 *
 * A viewer's heartbeats go over one connection, one at a time, so that their order is certain.  A
 * beat without a 200 is tried again (Retry-After, else backoff with jitter) until the viewer's page
 * has something else to say; a leave is a beacon and is not.  While a page waits for an answer its
 * timer does not run: the planned beats of that time are skipped.
 *
 * Threads: one owner. */
#ifndef NOVABEAT_CLI_SIM_RUN_H
#define NOVABEAT_CLI_SIM_RUN_H

#include "cli/sim_base.h"
#include "cli/sim_plan.h"
#include "cli/sim_report.h"

struct sim_run;

struct sim_run_options {
    struct sim_world world;
    struct sim_plan_config plan; /* interval_ms 0: what the server tells */
    int64_t frame_ms;
    struct sim_target target;
    uint32_t connections; /* for heartbeats; as many viewers share one as it takes */
    size_t sample;        /* viewers whose viewings are compared */
    bool quiet;           /* no progress */
};

/* Makes the client.  ERR_IO with why. */
enum err sim_run_new(const struct sim_run_options *options, struct sim_run **run, char *why,
                     size_t why_bytes) WARN_UNUSED;
void sim_run_free(struct sim_run *run);

/* Asks the server for its clock, its interval and what the event has had, and makes the plan.
 * ERR_IO: the server cannot be asked; ERR_INVALID: no plan can be made; with why. */
enum err sim_run_begin(struct sim_run *run, char *why, size_t why_bytes) WARN_UNUSED;

/* After sim_run_begin: */
const struct sim_plan *sim_run_plan(const struct sim_run *run);
const struct sim_base *sim_run_base(const struct sim_run *run);
/* What pages do; sim_run_totals has what the server told. */
int64_t sim_run_interval_ms(const struct sim_run *run);
const struct sim_totals *sim_run_totals(const struct sim_run *run);
struct sim_figures *sim_run_figures(struct sim_run *run);
int64_t sim_run_elapsed_ms(const struct sim_run *run);

/* Plays it all and compares, once, after sim_run_begin.  Figures that differ are no error. */
void sim_run_play(struct sim_run *run);
/* How many frames were over and compared. */
uint32_t sim_run_frames(const struct sim_run *run);
/* What lasts, after sim_run_play: lent until sim_run_free. */
const struct sim_lasting *sim_run_lasting(const struct sim_run *run);

#endif
