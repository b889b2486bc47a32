/* clock.h -- the only file that reads clocks.
 *
 * Two kinds of time that do not mix: monotonic (for waiting, int64_t mono_ms or mono_us) and the
 * engine's (for facts, int64_t ms since the epoch).  The engine's clock is the wall clock read at
 * start, carried on by the monotonic clock and drawn towards the wall clock by at most 1 %, so that
 * a step of the wall clock neither freezes nor jumps the counting. Source: DESIGN, semantics.
 * Threads: clock_mono_* any; a struct clock belongs to one. */
#ifndef NOVABEAT_BASE_CLOCK_H
#define NOVABEAT_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* The wall clock, us since the epoch: for logs, tokens, and as the second hand of clock_step. */
int64_t clock_wall_us(void);

struct clock {
    int64_t mono_us; /* at the newest step */
    int64_t now_us;  /* the engine's time then */
};

/* Starts at the wall clock, or at floor_ms if the wall clock is before that (it was set back since
 * the journal was written: time never goes back). */
void clock_init(struct clock *clock, int64_t mono_us, int64_t wall_us, int64_t floor_ms);

/* The engine's time in ms.  mono_us never decreases; so neither does the answer.  Pure. */
int64_t clock_step(struct clock *clock, int64_t mono_us, int64_t wall_us);

/* clock_step with both clocks read. */
int64_t clock_now_ms(struct clock *clock);

#endif
