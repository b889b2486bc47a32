/* sim_base.h -- what the server says before a run begins: its clock, its interval, and what the
 * event has had already.
 *
 * Nobody else's heartbeats may come during a run, but the event need not be new: what it has had is
 * read once, and everything expected is that much higher.  Leases of others that still run then end
 * at unknown moments, at the latest a hidden window later.  Until then `others` of them, from none
 * to all, are alive; figures that depend on it become ranges.  With none alive all stays exact.
 *
 * Times are ms since the run's start.  Memory: sim_base_fini frees; it aborts when memory is out.
 * Threads: one owner. */
#ifndef NOVABEAT_CLI_SIM_BASE_H
#define NOVABEAT_CLI_SIM_BASE_H

#include "cli/sim_ask.h"
#include "cli/sim_plan.h"
#include "cli/sim_reference.h"

struct sim_base_audience {
    int64_t attended, logins, viewing_ms;
    int64_t peak, peak_at; /* by the server's clock; 0: there was none */
    int64_t active;
    /* Of those: by the simulation's countries, in others, and how many groups they are in. */
    int64_t countries[SIM_COUNTRIES], elsewhere, groups;
};

struct sim_base {
    struct sim_base_audience *audiences; /* 0: the event's own; k: of session k */
    uint32_t audiences_count;
    struct sim_range at; /* when it was read */
    int64_t until_ms;    /* no lease that ran then lasts longer */
};

/* Learns the offset of the clocks.  ERR_IO with why: the server cannot be asked. */
enum err sim_base_clock(struct sim_asker *asker, char *why, size_t why_bytes) WARN_UNUSED;

/* The interval that the server tells, asked by a leave of a viewer who was never there: it counts
 * in nothing.  0: it tells none. */
int64_t sim_base_interval_ms(struct sim_asker *asker);

/* Reads what the event has had; the clock must be known.  ERR_IO with why. */
enum err sim_base_read(struct sim_base *base, struct sim_asker *asker,
                       const struct sim_windows *windows, char *why, size_t why_bytes) WARN_UNUSED;
void sim_base_fini(struct sim_base *base);

/* The run starts that much later than was thought. */
void sim_base_shift(struct sim_base *base, int64_t passed_ms);

/* Those of others who may be alive at a moment of `at`: none to all of what is returned; NULL: none
 * can be. */
const struct sim_base_audience *sim_base_others(const struct sim_base *base, uint32_t audience,
                                                struct sim_range at);

/* The whole peak, from that of the time before and that of the run (`at` by the server's clock). */
struct sim_peak sim_base_peak(const struct sim_base_audience *before, struct sim_peak run);

#endif
