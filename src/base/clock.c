/* clock.c -- the only file that reads clocks. */
#include "base/clock.h"

#include "base/assert.h"

#include <time.h>

#define SLEW_DIVISOR 100 /* 1 % */

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

void clock_init(struct clock *clock, int64_t mono_us, int64_t wall_us, int64_t floor_ms)
{
    clock->mono_us = mono_us;
    clock->now_us = wall_us < floor_ms * 1000 ? floor_ms * 1000 : wall_us;
}

int64_t clock_step(struct clock *clock, int64_t mono_us, int64_t wall_us)
{
    int64_t elapsed_us = mono_us - clock->mono_us;
    ASSERT(elapsed_us >= 0);
    if (elapsed_us == 0) {
        return clock->now_us / 1000;
    }
    int64_t now_us = clock->now_us + elapsed_us;
    int64_t pull_us = wall_us - now_us;
    int64_t pull_us_max = elapsed_us / SLEW_DIVISOR;
    if (pull_us > pull_us_max) {
        pull_us = pull_us_max;
    } else if (pull_us < -pull_us_max) {
        pull_us = -pull_us_max;
    }
    clock->mono_us = mono_us;
    clock->now_us = now_us + pull_us;
    return clock->now_us / 1000;
}

int64_t clock_now_ms(struct clock *clock)
{
    return clock_step(clock, clock_mono_us(), clock_wall_us());
}
