/* redis_scripts.h -- the scripts in src/live/scripts and the keys that they work on.
 *
 * Model: one audience has the keys of REDIS_KEY_LIST, all under one hash tag, so that one call of a
 * script is atomic and stays on one node of a cluster.  An audience that is split over K tags has
 * them K times, each with its share of the viewers.  Each script takes the same keys always, in the
 * order of redis_script_keys; what else it takes and gives stands at the head of its file.
 *
 * Settings stand in the scripts' text, not in each call: other settings, another SHA.
 *
 * Pure; any thread.  Source: DESIGN, section 3, Redis; docs/REDIS.md. */
#ifndef NOVABEAT_LIVE_REDIS_SCRIPTS_H
#define NOVABEAT_LIVE_REDIS_SCRIPTS_H

#include "base/limits.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* X(name, what follows the tag, in an event's audience and in a session's) */
#define REDIS_KEY_LIST(X)                                                                          \
    X(REDIS_KEY_HEARTBEAT, "#Event#Heartbeat", "#Session#Heartbeat")                               \
    X(REDIS_KEY_START, "#Event#ViewingSessionStart", "#Session#ViewingSessionStart")               \
    X(REDIS_KEY_END, "#Event#ViewingSessionEnd", "#Session#ViewingSessionEnd")                     \
    X(REDIS_KEY_ATTENDED, "#EventAttendedUsers", "#SessionAttendedUsers")                          \
    X(REDIS_KEY_STATISTICS, "#Event#Statistics#", "#Session#Statistics#") /* and the frame */      \
    X(REDIS_KEY_PEAK, "#Event#Peak", "#Session#Peak")                                              \
    X(REDIS_KEY_FIGURES, "#Event#Figures", "#Session#Figures")                                     \
    X(REDIS_KEY_LIVE, "#Event#Live", "#Session#Live")                                              \
    X(REDIS_KEY_LABELS, "#Event#Labels", "#Session#Labels")                                        \
    X(REDIS_KEY_CLOSED, "#Event#Closed", "#Session#Closed")

enum redis_key {
#define REDIS_KEY_ENUM(name, event, session) name,
    REDIS_KEY_LIST(REDIS_KEY_ENUM)
#undef REDIS_KEY_ENUM
        REDIS_KEYS
};

/* The longest key: tag, suffix, frame. */
#define REDIS_KEY_BYTES_MAX (EVENT_ID_BYTES_MAX + SESSION_ID_BYTES_MAX + 80)
/* So many tags one audience may be split over. */
#define REDIS_SHARDS_MAX 64

/* One audience, or one of the K parts of one that is split. */
struct redis_audience {
    struct slice event, session; /* session empty: the event's own */
    uint32_t shard, shards;      /* shards 1: not split; 0: the whole of a split one, which has only
                                    a peak */
};

/* Which of the K parts a viewer is in: CRC32C(viewer) mod K. */
uint32_t redis_shard(struct slice viewer, uint32_t shards);

/* Writes the key, NUL-terminated, and gives its length.  frame_ms: the frame's start, for
 * REDIS_KEY_STATISTICS only. */
size_t redis_key_text(char out[REDIS_KEY_BYTES_MAX], const struct redis_audience *audience,
                      enum redis_key key, int64_t frame_ms);

/* X(name, file, number of keys, keys…) */
#define REDIS_SCRIPT_LIST(X)                                                                       \
    X(REDIS_SCRIPT_HEARTBEAT, "heartbeat", 10, REDIS_KEY_HEARTBEAT, REDIS_KEY_START,               \
      REDIS_KEY_END, REDIS_KEY_ATTENDED, REDIS_KEY_STATISTICS, REDIS_KEY_PEAK, REDIS_KEY_FIGURES,  \
      REDIS_KEY_LIVE, REDIS_KEY_LABELS, REDIS_KEY_CLOSED)                                          \
    X(REDIS_SCRIPT_LEAVE, "leave", 3, REDIS_KEY_HEARTBEAT, REDIS_KEY_END, REDIS_KEY_FIGURES)       \
    X(REDIS_SCRIPT_FIGURES, "figures", 4, REDIS_KEY_HEARTBEAT, REDIS_KEY_ATTENDED, REDIS_KEY_PEAK, \
      REDIS_KEY_FIGURES)                                                                           \
    X(REDIS_SCRIPT_LIVE, "live", 5, REDIS_KEY_HEARTBEAT, REDIS_KEY_END, REDIS_KEY_FIGURES,         \
      REDIS_KEY_LIVE, REDIS_KEY_LABELS)                                                            \
    X(REDIS_SCRIPT_VIEWER, "viewer", 5, REDIS_KEY_HEARTBEAT, REDIS_KEY_START, REDIS_KEY_END,       \
      REDIS_KEY_FIGURES, REDIS_KEY_LABELS)                                                         \
    X(REDIS_SCRIPT_SWEEP, "sweep", 8, REDIS_KEY_HEARTBEAT, REDIS_KEY_START, REDIS_KEY_END,         \
      REDIS_KEY_ATTENDED, REDIS_KEY_PEAK, REDIS_KEY_FIGURES, REDIS_KEY_LABELS, REDIS_KEY_CLOSED)   \
    X(REDIS_SCRIPT_SWEPT, "swept", 2, REDIS_KEY_FIGURES, REDIS_KEY_CLOSED)                         \
    X(REDIS_SCRIPT_PEAK, "peak", 1, REDIS_KEY_PEAK)                                                \
    X(REDIS_SCRIPT_ERASE, "erase", 8, REDIS_KEY_HEARTBEAT, REDIS_KEY_START, REDIS_KEY_END,         \
      REDIS_KEY_ATTENDED, REDIS_KEY_FIGURES, REDIS_KEY_LIVE, REDIS_KEY_LABELS, REDIS_KEY_CLOSED)   \
    X(REDIS_SCRIPT_OPEN, "open", 9, REDIS_KEY_HEARTBEAT, REDIS_KEY_START, REDIS_KEY_END,           \
      REDIS_KEY_ATTENDED, REDIS_KEY_PEAK, REDIS_KEY_FIGURES, REDIS_KEY_LIVE, REDIS_KEY_LABELS,     \
      REDIS_KEY_CLOSED)

enum redis_script {
#define REDIS_SCRIPT_ENUM(name, file, count, ...) name,
    REDIS_SCRIPT_LIST(REDIS_SCRIPT_ENUM)
#undef REDIS_SCRIPT_ENUM
        REDIS_SCRIPTS
};

struct redis_script_keys {
    uint32_t count;
    enum redis_key keys[REDIS_KEYS];
};
const struct redis_script_keys *redis_script_keys(enum redis_script script);

/* What the scripts' @names@ stand for; all nodes of one Redis must agree. */
struct redis_script_settings {
    int64_t alive_ms, hidden_ms, leaving_ms, gap_ms, frame_ms; /* as struct engine_windows */
    int64_t keep_ms; /* keys go so long after the last heartbeat, an eighth sooner at most */
    int64_t viewers_max, backlog_max; /* of one audience, or of each of its K parts */
};

/* The script's text with the settings in it, for SCRIPT LOAD.  The caller frees it. */
char *redis_script_text(enum redis_script script, const struct redis_script_settings *settings);

/* Made by the build; {NULL, NULL} ends it. */
struct redis_script_file {
    const char *name, *text;
};
extern const struct redis_script_file redis_script_files[];

#endif
