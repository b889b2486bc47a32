/* sim_world.h -- the names of a simulation: event, sessions, viewers.
 *
 * A seed may be played again in the same event: its viewers are then others, by the run's number.
 * Everything follows from the settings and the seed, so that a later run (--verify) finds the same.
 * Pure; any thread. */
#ifndef NOVABEAT_CLI_SIM_WORLD_H
#define NOVABEAT_CLI_SIM_WORLD_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_ID_BYTES 48

struct sim_world {
    const char *event;
    const char *host; /* for the Host header */
    uint64_t seed;
    uint64_t run; /* a number that no other run has: ms since the epoch */
    uint32_t viewers, sessions;
};

static inline void sim_viewer_id(char id[SIM_ID_BYTES], const struct sim_world *world,
                                 uint32_t viewer)
{
    snprintf(id, SIM_ID_BYTES, "sim-%" PRIx64 "-%" PRIx64 "-%" PRIu32, world->seed, world->run,
             viewer);
}

/* Of session 1 … sessions. */
static inline void sim_session_id(char id[SIM_ID_BYTES], uint32_t session)
{
    snprintf(id, SIM_ID_BYTES, "s%" PRIu32, session);
}

#endif
