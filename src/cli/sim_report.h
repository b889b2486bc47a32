/* sim_report.h -- what a simulation tells people: progress, latencies, the table of figures; or one
 * JSON object for machines.
 *
 * Latencies are counted in buckets that are at most 1/64 wide of their value, so that quantiles of
 * any number of heartbeats cost the same memory; the maximum is exact.  Units: microseconds. */
#ifndef NOVABEAT_CLI_SIM_REPORT_H
#define NOVABEAT_CLI_SIM_REPORT_H

#include "cli/sim_compare.h"

#define SIM_LATENCY_BUCKETS 2048 /* up to 2^37 us, 38 hours */

struct sim_latency {
    uint64_t buckets[SIM_LATENCY_BUCKETS];
    uint64_t count;
    int64_t max_us;
};

void sim_latency_add(struct sim_latency *latency, int64_t us);
/* The smallest value that at least permille/1000 of all do not exceed, to 1/64; 0: there is none.
 */
int64_t sim_latency_quantile(const struct sim_latency *latency, uint32_t permille);

struct sim_totals {
    uint64_t sent;            /* requests that left, retries included */
    uint64_t acknowledged;    /* 200 */
    uint64_t busy;            /* 503 and other 5xx, 429: tried again */
    uint64_t lost;            /* sent, and no answer */
    uint64_t unsent;          /* could not connect or send */
    uint64_t refused;         /* another 4xx: not tried again */
    uint64_t skipped;         /* not sent, since the page's last beat was still without an answer */
    int first_refused;        /* its status */
    int64_t told_interval_ms; /* the last intervalMs; 0: none */
    struct sim_latency latency;  /* of acknowledged ones: answered - sent */
    struct sim_latency lateness; /* of all first sendings: sent - planned */
};

struct sim_progress {
    int64_t now_ms, duration_ms;
    struct sim_range alive;
    uint32_t connections;
    const struct sim_totals *totals;
    bool last; /* ends the line */
};
/* To stderr: overwrites its line on a terminal, else writes one every five seconds. */
void sim_report_progress(const struct sim_progress *progress);

/* Totals and table to stdout; the last line says "all N figures agree" or "K of N figures differ".
 */
void sim_report_text(const struct sim_totals *totals, int64_t elapsed_ms,
                     const struct sim_figures *figures);
void sim_report_json(const struct sim_world *world, const struct sim_totals *totals,
                     int64_t elapsed_ms, const struct sim_figures *figures);

#endif
