/* model_redis_run.h -- one random run of the engine and of the Redis scripts side by side, with a
 * record store that is filled by sweeps.
 *
 * What goes into both; comparing them is the test's.  All choices come from the cast's seed. */
#ifndef NOVABEAT_TESTS_MODEL_REDIS_RUN_H
#define NOVABEAT_TESTS_MODEL_REDIS_RUN_H

#include "model/model_cast.h"
#include "model/model_engine.h"
#include "model/model_redis.h"

#define AUDIENCES_MAX (1 + CAST_SESSIONS_MAX)
#define EVENTS_MAX    2
#define SHARDS_MAX    3
#define KEEP_MS       604800000
#define LABEL_MAX     (2 + GROUPS_PER_VIEWER_MAX * (GROUP_ID_BYTES_MAX + 1))

/* What a record store knows of one viewer in one audience, from sweeps. */
struct stored_viewer {
    int64_t start_ms, end_ms, expiry_ms;
    int64_t counted_frame_ms; /* -1: the newest frame has not counted it */
    char label[LABEL_MAX + 1];
    struct model_viewing *viewings; /* earlier ones */
    size_t viewings_count;
};

struct stored_audience {
    struct stored_viewer *viewers; /* by number in the cast */
    struct model_viewing *frames;  /* of all shards: some are there twice */
    size_t frames_count;
    uint64_t peak_count; /* split: the largest sum at the end of a step */
    int64_t peak_ms;
    int64_t sums[SHARDS_MAX][8]; /* as the newest sweep of each part gave them */
};

struct redis_run {
    struct cast cast;
    struct redis_server redis;
    struct engine *engine;
    struct engine_windows windows;
    uint32_t shards;
    uint32_t labels; /* that nobody has, so that the run's have numbers of more than 11 bits */
    uint64_t erase_one_of; /* the fewer viewers there are, the rarer: they do not come back */
    int64_t now_ms;
    uint64_t seq, heartbeats, repeats, refused_frames, sweeps, died, erased, lost;
    struct stored_audience stored[EVENTS_MAX][AUDIENCES_MAX];
};

/* Audience 0 is the event's own. */
struct slice run_event(const struct redis_run *run, size_t event);
struct redis_audience run_audience(const struct redis_run *run, size_t event, size_t audience,
                                   uint32_t shard);
struct slice run_viewer(const struct redis_run *run, size_t viewer);
size_t run_viewer_number(const struct redis_run *run, struct slice viewer);

/* The scripts with the windows of now. */
void run_load(struct redis_run *run);
/* A random heartbeat into both; into Redis more than once at times. */
void run_heartbeat(struct redis_run *run);
/* Sweeps the audience into the store; dies: it may end at any point. */
void run_sweep(struct redis_run *run, size_t event, size_t audience, bool dies);
/* A viewer is erased in the engine, in Redis and in the store. */
void run_erase(struct redis_run *run);
/* A new audience is opened. */
void run_open(struct redis_run *run, const struct redis_audience *audience);
/* All is stored, Redis loses the audience, and it comes back from the store. */
void run_lose(struct redis_run *run, size_t event, size_t audience);

/* An entry of Closed; gives the viewer's number. */
size_t run_read_closed(const struct redis_run *run, struct slice row,
                       struct model_viewing *viewing);
/* Asserts that it is the same where the start is. */
bool stored_has(const struct stored_viewer *viewer, struct model_viewing viewing);
void stored_add(struct stored_viewer *viewer, struct model_viewing viewing);

/* Parts of replies, of the types that they must have. */
const redisReply *redis_element(const redisReply *reply, size_t at, int type);
int64_t redis_integer(const redisReply *reply, size_t at);
struct slice redis_text(const redisReply *reply, size_t at);
struct redis_number {
    char text[24];
};
struct slice redis_number(struct redis_number *number, int64_t value);

#endif
