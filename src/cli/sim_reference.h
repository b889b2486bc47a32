/* sim_reference.h -- what the server's figures must be, as ranges.
 *
 * Fed with each heartbeat and what became of it, it bounds every figure of every audience: a figure
 * of the server outside of its range is wrong, and a range of one value is known to the last digit.
 * Audience 0 is the event's own; audience k is of session k.
 *
 * The peak: the server's maximum lies between the largest number of viewers that were certainly
 * alive at one moment and the largest number that may have been, over all moments (alive only grows
 * at a heartbeat, so the maximum over moments is the maximum at heartbeats; DESIGN, semantics 5).
 *
 * Cost: a heartbeat is O(audiences of its viewer); a figure is a scan of the audience's members,
 * the peak sorts its stretches.  Memory: about 250 bytes per viewer and audience; it aborts when
 * memory is out (a tool may).  Threads: one owner.  Units: ms of the client's clock. */
#ifndef NOVABEAT_CLI_SIM_REFERENCE_H
#define NOVABEAT_CLI_SIM_REFERENCE_H

#include "cli/sim_frames.h"
#include "cli/sim_member.h"

#include <stddef.h>

struct sim_reference;

struct sim_reference *sim_reference_new(const struct sim_windows *windows, uint32_t viewers,
                                        uint32_t sessions);
void sim_reference_free(struct sim_reference *reference);

/* Others than the viewers: up to `count` of them may be alive at any moment of `within`, and none
 * at any other.  They have no part in figures but active and peak. */
void sim_reference_others(struct sim_reference *reference, uint32_t audience, int64_t count,
                          struct sim_stretch within);
/* Heartbeats are counted in frames too: borrows both until it is freed.  offset_ms: the server's
 * clock minus the client's. */
void sim_reference_frames(struct sim_reference *reference, struct sim_frames *frames,
                          const uint8_t *country_of, struct sim_range offset_ms);

/* A heartbeat of viewer < viewers in session (1 … sessions; 0: none), received within `at`. */
void sim_reference_beat(struct sim_reference *reference, uint32_t viewer, uint32_t session,
                        enum sim_beat_kind kind, struct sim_range at, enum sim_outcome outcome);

/* Alive at some moment within `at`, a moment not older than a window. */
struct sim_range sim_reference_active(const struct sim_reference *reference, uint32_t audience,
                                      struct sim_range at);
/* The same by class (a country): class_of(viewer) < classes; ranges[classes] is filled. */
void sim_reference_active_by(const struct sim_reference *reference, uint32_t audience,
                             struct sim_range at, const uint8_t *class_of, uint32_t classes,
                             struct sim_range *ranges);

struct sim_range sim_reference_attended(const struct sim_reference *reference, uint32_t audience);
/* Viewings started. */
struct sim_range sim_reference_logins(const struct sim_reference *reference, uint32_t audience);
/* Sum of end - start over all viewings; false when some viewings are unclear. */
bool sim_reference_viewing_ms(const struct sim_reference *reference, uint32_t audience,
                              struct sim_range *total);

/* The peak and when it was reached.  at.hi is INT64_MAX when the count is not certain. */
struct sim_peak {
    struct sim_range count, at;
};
struct sim_peak sim_reference_peak(const struct sim_reference *reference, uint32_t audience);

/* One viewer's viewings in one audience, oldest first: at most `max` into spans; *count is how many
 * were started (a range).  False when they are unclear: then only *count says something. */
bool sim_reference_viewings(const struct sim_reference *reference, uint32_t viewer,
                            uint32_t audience, struct sim_span *spans, size_t max,
                            struct sim_range *count);

#endif
