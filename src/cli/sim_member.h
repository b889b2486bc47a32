/* sim_member.h -- what is certain about one viewer in one audience.
 *
 * A client does not know when the server received a heartbeat: only that it was between the moment
 * of sending and the moment of the answer; and of a heartbeat without an answer it does not even
 * know whether it was received.  So everything here is a range: the true value lies in [lo, hi],
 * and what is `sure` holds for every true value, what is `maybe` for at least one.
 *
 * Model: two presences, each the latest of a row of stretches.
 *   sure:  the viewer is certainly alive at every T of [from, to].
 *   maybe: the viewer is certainly not alive at any T outside of [from, to] (and earlier
 * stretches). The distance between the two is what is not known; both shrink to the truth as
 * answers get faster.
 *
 * Windows are taken longer and shorter by drift_permille (the server's clock may be drawn that much
 * towards the wall clock) and by the millisecond that rounding costs.  Whether a visible heartbeat
 * may shorten the lease that a hidden one gave is left open: sure takes the short lease, maybe the
 * long one.
 *
 * Units: ms of the caller's clock.  Pure; no memory; any thread.
 * Heartbeats of one viewer must be given in the order in which the server got them (the client has
 * never two of them under way).  Source: DESIGN, semantics 1 to 3. */
#ifndef NOVABEAT_CLI_SIM_MEMBER_H
#define NOVABEAT_CLI_SIM_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

struct sim_range {
    int64_t lo, hi;
};

struct sim_windows {
    int64_t alive_ms, hidden_ms, leaving_ms, gap_ms;
    int64_t drift_permille;
};

enum sim_beat_kind { SIM_VISIBLE, SIM_HIDDEN, SIM_LEAVING };

/* COUNTED: acknowledged.  UNCERTAIN: sent, and no answer (or one that says that it failed). */
enum sim_outcome { SIM_COUNTED, SIM_UNCERTAIN };

/* A stretch of presence, both ends included; from > to: none. */
struct sim_stretch {
    int64_t from, to;
};

struct sim_span {
    struct sim_range start, end; /* of one viewing */
};

struct sim_member {
    bool sure_joined, maybe_joined;
    bool unclear; /* which viewings there are is not known; only their number is bounded */
    struct sim_stretch sure, maybe;
    struct sim_stretch sure_before, maybe_before; /* the stretches before these */
    struct sim_range viewings;                    /* how many were started */
    struct sim_span latest;                       /* the latest viewing */
};

/* What one heartbeat brought to an end: the older stretches and viewing that the member forgets. */
struct sim_member_step {
    bool sure_closed, maybe_closed, viewing_closed;
    struct sim_stretch sure, maybe;
    struct sim_span viewing;
};

#define SIM_NO_STRETCH ((struct sim_stretch){0, -1})

void sim_member_init(struct sim_member *member);

/* One heartbeat that the server received, if it did, within `at`. */
struct sim_member_step sim_member_beat(struct sim_member *member, const struct sim_windows *windows,
                                       enum sim_beat_kind kind, struct sim_range at,
                                       enum sim_outcome outcome);

/* Alive at some unknown moment within `at`: {1,1}, {0,0}, or {0,1} when it is not certain.  Good
 * for moments back to the stretch before the present one. */
struct sim_range sim_member_alive(const struct sim_member *member, struct sim_range at);

/* A window at its shortest and longest. */
struct sim_range sim_window_range(const struct sim_windows *windows, int64_t window_ms);

#endif
