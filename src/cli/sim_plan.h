/* sim_plan.h -- who will send which heartbeat when, from a seed.
 *
 * A plan is a list of heartbeats in order of time, and a few checkpoints.  Viewers arrive, switch
 * sessions, open a second tab, go to hidden tabs and come back, leave with and without a word, and
 * return; yet every figure at every checkpoint is certain, as long as each heartbeat is received
 * within margin_ms after its planned time.  What makes it so:
 *
 *   1. A viewer joins an audience (or returns to it after its lease ended) only within one of three
 *      short join windows.
 *   2. No lease ends, and none may end, within a join window or a checkpoint.
 *      So within a join window every audience only grows, between two of them it only shrinks, and
 *      the largest count, at the end of some join window, is certain.
 *   3. No heartbeat comes so near the end of a lease or of the viewing gap that it could have
 *      been on the other side of it.
 *
 * Every viewer's life is drawn at random and then tried against these rules with ranges
 * (sim_member.h); one that breaks them is drawn again.  The time line, with D the duration:
 *
 *   arrivals | checkpoint | switches |  …  checkpoint  …  | late arrivals, returns | checkpoint | …
 * D 0        15 %                        the middle         70 % last
 *
 * After D nothing is sent any more; the last checkpoint begins there.
 * Memory: 12 bytes per heartbeat, twice that while making it.  Pure but for memory. */
#ifndef NOVABEAT_CLI_SIM_PLAN_H
#define NOVABEAT_CLI_SIM_PLAN_H

#include "base/err.h"
#include "cli/sim_member.h"

#include <stddef.h>

#define SIM_CHECKPOINTS       4
#define SIM_JOINS             3
#define SIM_COUNTRIES         12
#define SIM_PLAN_BEATS_MAX    100000000u
#define SIM_PLAN_SESSIONS_MAX 1000u

struct sim_plan_config {
    struct sim_windows windows;
    int64_t interval_ms;
    int64_t duration_ms;
    uint32_t viewers;
    uint32_t sessions;
    uint64_t seed;
};

struct sim_beat {
    uint32_t at_ms; /* since the start of the run */
    uint32_t viewer;
    uint16_t session; /* 1 … sessions; 0: the page shows none */
    uint8_t kind;     /* enum sim_beat_kind */
    uint8_t tab;
};

struct sim_plan {
    struct sim_beat *beats; /* by time; those of one moment and viewer in the order to send them */
    size_t beats_count;
    struct sim_stretch joins[SIM_JOINS]; /* planned times; margin_ms more when received */
    /* Ask within these.  No count changes in them, nor may it for half a margin before and after:
     * room for what is not known of the clocks' difference. */
    struct sim_stretch checkpoints[SIM_CHECKPOINTS];
    int64_t margin_ms;
    uint8_t *country_of; /* by viewer: index of sim_plan_country */
    /* What the lives are made of, for the report. */
    uint32_t hidden, switches, leaves, stops, returns, second_tabs, plain;
};

/* ERR_INVALID, with a reason in why: the settings leave no room for certainty, or the plan would be
 * too large. */
enum err sim_plan_make(const struct sim_plan_config *config, struct sim_plan *plan, char *why,
                       size_t why_bytes) WARN_UNUSED;
void sim_plan_fini(struct sim_plan *plan);

/* Whether the alive window leaves room for certainty after one interval. */
bool sim_plan_interval_fits(const struct sim_windows *windows, int64_t interval_ms);

/* "DE", … */
const char *sim_plan_country(uint8_t index);

/* The server's clock is read once a turn of its loop: a heartbeat may get a time this much before
 * it was sent. */
#define SIM_EARLY_MS 10

/* splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t sim_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A number of 0 … below - 1; 0 < below < 2^32. */
static inline uint64_t sim_random_below(uint64_t *state, uint64_t below)
{
    return ((sim_random(state) >> 32) * below) >> 32;
}

#endif
