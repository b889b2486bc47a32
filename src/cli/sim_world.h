/* sim_world.h -- the names of a simulation: event, sessions, viewers.
 *
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
    uint32_t viewers, sessions;
};

static inline void sim_viewer_id(char id[SIM_ID_BYTES], const struct sim_world *world,
                                 uint32_t viewer)
{
    snprintf(id, SIM_ID_BYTES, "sim-%" PRIx64 "-%" PRIu32, world->seed, viewer);
}

/* Of session 1 … sessions. */
static inline void sim_session_id(char id[SIM_ID_BYTES], uint32_t session)
{
    snprintf(id, SIM_ID_BYTES, "s%" PRIu32, session);
}

#endif
