/* sim_life.h -- the life of one simulated viewer: drawn at random, certain by construction.
 *
 * See sim_plan.h for the rules.  Pure but for the memory of the beats; one owner. */
#ifndef NOVABEAT_CLI_SIM_LIFE_H
#define NOVABEAT_CLI_SIM_LIFE_H

#include "cli/sim_plan.h"

/* What all lives of a plan share.  Times in ms since the start. */
struct sim_timeline {
    struct sim_windows windows;
    int64_t interval_ms;
    int64_t duration_ms;
    int64_t margin_ms;
    uint32_t sessions;
    bool hidden; /* the hidden window is long enough for a beat every other interval */
    struct sim_stretch joins[SIM_JOINS]; /* arrivals, switches, late arrivals and returns */
    struct sim_stretch checkpoints[SIM_CHECKPOINTS];
};

struct sim_life {
    struct sim_beat *beats;
    size_t count, max;
    bool hidden, switched, left, stopped, returned, second_tab;
};

/* Draws a certain life of a viewer into life, replacing what was there.  False: no certain one was
 * found in many draws, and it is the plain life of one who comes and stays. */
bool sim_life_draw(struct sim_life *life, const struct sim_timeline *timeline, uint32_t viewer,
                   uint64_t *random);

/* Whether a life keeps the rules. */
bool sim_life_certain(const struct sim_life *life, const struct sim_timeline *timeline);

void sim_life_fini(struct sim_life *life);

#endif
