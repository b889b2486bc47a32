/* log.h -- one line per happening, to stderr.
 *
 * "2026-11-24T02:52:47.123Z level area: text".  Any thread; a line is written in one write(2).
 * A failure is logged once, where it is first known.  LOG_EVERY limits a repeating line to one per
 * interval and says how many were left out, if any were. */
#ifndef NOVABEAT_BASE_LOG_H
#define NOVABEAT_BASE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below this level are dropped; LOG_INFO at first.  Set before threads start. */
void log_level_set(enum log_level level);

void log_line(enum log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct log_limit {
    _Atomic int64_t next_ms; /* monotonic; relaxed: a line more or less does no harm */
    _Atomic uint64_t dropped;
};

/* True when a line may be written now (at most one per interval_ms); *dropped gets the number left
 * out since the last.  */
int log_limit_pass(struct log_limit *limit, int64_t interval_ms, uint64_t *dropped);

#define LOG_EVERY(interval_ms, level, area, format, ...)                                           \
    do {                                                                                           \
        static struct log_limit log_limit_;                                                        \
        uint64_t log_dropped_;                                                                     \
        if (!log_limit_pass(&log_limit_, (interval_ms), &log_dropped_)) {                          \
            /* left out */                                                                         \
        } else if (log_dropped_ == 0) {                                                            \
            log_line(level, area, format, __VA_ARGS__);                                            \
        } else {                                                                                   \
            log_line(level, area, format " (%llu like it left out)", __VA_ARGS__,                  \
                     (unsigned long long)log_dropped_);                                            \
        }                                                                                          \
    } while (0)

#endif
