/* sim_compare.h -- the server's figures beside what they must be.
 *
 * Each comparison becomes one figure of a list, with its verdict.  A figure whose range has one
 * value agrees to the last digit or differs; one whose range is wider (the client stalled, the
 * server was away, others' leases run) can only be said to lie within it.  Times always have a
 * range, and so have frames where heartbeats came near their boundaries.
 *
 * Memory: the list owns its figures; it aborts when memory is out.  Threads: one owner. */
#ifndef NOVABEAT_CLI_SIM_COMPARE_H
#define NOVABEAT_CLI_SIM_COMPARE_H

#include "cli/sim_ask.h"
#include "cli/sim_lasting.h"

enum sim_verdict {
    SIM_AGREES,
    SIM_WITHIN, /* a count that could not be known exactly, and lies between its bounds */
    SIM_DIFFERS,
    SIM_MISSING, /* no answer, or one without this figure */
};

struct sim_figure {
    char label[112];
    struct sim_range expected;
    int64_t server; /* when not MISSING */
    enum sim_verdict verdict;
    bool is_range; /* times, and frames: known to lie between: AGREES when it does */
    bool detail;   /* one of many of its kind: worth a line only when it does not agree */
};

struct sim_figures {
    struct sim_figure *figures;
    size_t count, max;
};

void sim_figures_fini(struct sim_figures *figures);
/* How many have the verdict. */
size_t sim_figures_count(const struct sim_figures *figures, enum sim_verdict verdict);

/* What is compared now and gone later: questions of kinds ACTIVE, LIVE and OVERVIEW's active.
 * `when` goes before each label.  country_of NULL: countries are not known to the server. */
void sim_compare_now(struct sim_figures *figures, const struct sim_asker *asker,
                     const struct sim_reference *reference, const struct sim_base *base,
                     const uint8_t *country_of, const char *when);

/* Asks for the frames that are over at now_ms by the server's clock; how many there are. */
uint32_t sim_compare_ask_frames(struct sim_asker *asker, const struct sim_frames *frames,
                                int64_t now_ms);

/* What lasts: questions of kinds ATTENDED, PEAK, OVERVIEW, VIEWER and FRAMES. */
void sim_compare_lasting(struct sim_figures *figures, const struct sim_asker *asker,
                         const struct sim_lasting *lasting);

#endif
