/* sim_lasting.h -- the figures that outlive a run, and the file that carries them to a later one.
 *
 * Attendance, viewings started, peak, frames, and the viewings of some viewers are the same after
 * the run (until somebody else comes to the event), after a kill and after a restart: `novabeat
 * simulate --plan-state FILE` writes what they must be, `novabeat simulate --verify FILE` asks
 * again.
 *
 * The file is JSON; a range is [least, most], times are ms since the epoch by the server's clock:
 *     {"format":2,"event":"E","seed":"7","run":1637661623070,"viewers":100,"sessions":2,
 *      "audiences":[{"attended":[100,100],"logins":[104,104],"peak":[97,97],"peakAt":[…,…],
 *                    "viewingMs":[…,…] or null}, …],
 *      "sample":[{"viewer":17,"audiences":[{"audience":0,"count":[1,1],
 *                 "viewings":[[startLeast,startMost,endLeast,endMost], …] or null}, …]}, …],
 *      "frames":{…}}                                                         see sim_frames.h
 * The seed is a text, since it has 64 bits.
 * Memory: sim_lasting_fini frees; it aborts when memory is out. */
#ifndef NOVABEAT_CLI_SIM_LASTING_H
#define NOVABEAT_CLI_SIM_LASTING_H

#include "base/err.h"
#include "cli/sim_ask.h"
#include "cli/sim_base.h"
#include "cli/sim_reference.h"

/* The engine's viewings of one viewer in one audience; more are not compared. */
#define SIM_VIEWINGS_MAX 16

struct sim_lasting_audience {
    struct sim_range attended, logins;
    struct sim_peak peak; /* `at` by the server's clock */
    bool viewing_known;
    struct sim_range viewing_ms;
};

struct sim_lasting_viewing {
    uint32_t audience;
    struct sim_range count;
    bool known;                              /* the spans below say something */
    struct sim_span spans[SIM_VIEWINGS_MAX]; /* by the server's clock; count.lo of them */
};

/* A viewer of the sample; only audiences where the viewer is or may be. */
struct sim_lasting_viewer {
    uint32_t viewer;
    struct sim_lasting_viewing *viewings;
    size_t viewings_count;
};

struct sim_lasting {
    uint32_t audiences_count;
    struct sim_lasting_audience *audiences;
    struct sim_lasting_viewer *sample;
    size_t sample_count;
    struct sim_frames frames;
};

/* What they must be now, that of the time before included; sample_max viewers are drawn by the
 * seed. Takes the frames, and leaves none there. */
void sim_lasting_make(struct sim_lasting *lasting, const struct sim_reference *reference,
                      const struct sim_base *base, struct sim_frames *frames,
                      const struct sim_asker *asker, size_t sample_max);
/* Asks for all of it but the frames. */
void sim_lasting_ask(const struct sim_lasting *lasting, struct sim_asker *asker);
void sim_lasting_fini(struct sim_lasting *lasting);

enum err sim_lasting_save(const struct sim_lasting *lasting, const struct sim_world *world,
                          const char *path) WARN_UNUSED;
/* Fills world but for its host; *event is malloced.  ERR_IO, ERR_INVALID with why. */
enum err sim_lasting_load(struct sim_lasting *lasting, struct sim_world *world, char **event,
                          const char *path, char *why, size_t why_bytes) WARN_UNUSED;

#endif
