/* sim_frames.h -- what the frames of statistics must be, as ranges.
 *
 * Each heartbeat was received in one frame, or in one of two when it came near the boundary: the
 * two clocks are not known to the last millisecond.  A viewer counts once in a frame: certainly,
 * when one of its heartbeats certainly lies in it; possibly, when one may.
 *
 * Frames are counted from the first one that only this run's heartbeats can be in, up to a number
 * of frames; what lies outside of them is not compared.  Units: ms by the server's clock.
 *
 * The form in a file (sim_lasting.h); countries are left out when the server cannot know them:
 *     {"frameMs":300000,"firstMs":…,"audiences":[[[viewers,[country, …]], …], …]}   each a range
 * Cost: O(1) a heartbeat.  Memory: 208 bytes per frame and audience; it aborts when
 * memory is out.  Threads: one owner.  Source: DESIGN, semantics 4. */
#ifndef NOVABEAT_CLI_SIM_FRAMES_H
#define NOVABEAT_CLI_SIM_FRAMES_H

#include "cli/sim_plan.h"

#include <jansson.h>

/* What one answer of the server holds. */
#define SIM_FRAMES_MAX 1000u

struct sim_frame {
    struct sim_range viewers, countries[SIM_COUNTRIES];
};

struct sim_frames {
    int64_t frame_ms, first_ms; /* the length of one; the start of the first */
    uint32_t frames_count, audiences_count;
    struct sim_frame *frames; /* of audience 0, then of 1, … */
    bool countries_known;
};

/* The latest frame that a viewer certainly and possibly counted in, in one audience; 1: the first.
 */
struct sim_frame_mark {
    uint32_t sure, maybe;
};

/* The frames of a run of duration_ms that begin at first_ms or later. */
void sim_frames_init(struct sim_frames *frames, int64_t frame_ms, int64_t first_ms,
                     int64_t duration_ms, uint32_t sessions, bool countries_known);
void sim_frames_fini(struct sim_frames *frames);

/* A heartbeat, not a leave, of a viewer with that mark (which starts as zeros) and country,
 * received within `at`.  acknowledged: it certainly was. */
void sim_frames_beat(struct sim_frames *frames, uint32_t audience, struct sim_frame_mark *mark,
                     uint8_t country, struct sim_range at, bool acknowledged);

/* How many of the frames, the earliest ones, are over at now_ms and can be compared. */
uint32_t sim_frames_over(const struct sim_frames *frames, int64_t now_ms);
const struct sim_frame *sim_frames_get(const struct sim_frames *frames, uint32_t audience,
                                       uint32_t frame);
int64_t sim_frames_start_ms(const struct sim_frames *frames, uint32_t frame);

/* To and from the file; false: it is not of that form. */
json_t *sim_frames_json(const struct sim_frames *frames);
bool sim_frames_read(struct sim_frames *frames, const json_t *json,
                     uint32_t audiences_count) WARN_UNUSED;

#endif
