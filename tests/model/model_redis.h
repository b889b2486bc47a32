/* model_redis.h -- a real redis-server of the test's own, and calls of Novabeat's scripts on it.
 *
 * The server listens on a UNIX socket in a new folder under TMPDIR (or /tmp), which is gone as soon
 * as the test is connected; it persists nothing and goes with the test that started it.  Whatever
 * it answers unexpectedly aborts the test and is printed.  One thread. */
#ifndef NOVABEAT_TESTS_MODEL_REDIS_H
#define NOVABEAT_TESTS_MODEL_REDIS_H

#include "live/redis_scripts.h"

#include <hiredis/hiredis.h>
#include <sys/types.h>

#define REDIS_ARGV_MAX 80

struct redis_server {
    pid_t pid;
    char folder[200], socket[220]; /* gone, but for a node of a cluster */
    redisContext *link;
    char sha[REDIS_SCRIPTS][48];
};

/* False: there is no redis-server on this machine. */
bool redis_server_start(struct redis_server *server);
/* The same, as a cluster of this one node: a call whose keys are not of one slot fails.  Takes 2 s.
 */
bool redis_server_start_cluster(struct redis_server *server);
void redis_server_stop(struct redis_server *server);

/* Loads all scripts with these settings; later calls use them. */
void redis_server_load(struct redis_server *server, const struct redis_script_settings *settings);

/* One call, as its parts: argv[0 … result - 1] of EVALSHA.  keys: room for the keys' text. */
size_t redis_call_make(const struct redis_server *server, enum redis_script script,
                       const struct redis_audience *audience, int64_t frame_ms,
                       const struct slice *args, size_t args_count,
                       char keys[REDIS_KEYS][REDIS_KEY_BYTES_MAX], char count[8],
                       struct slice argv[REDIS_ARGV_MAX]);
/* The same, called; free the reply with freeReplyObject.  Never an error reply. */
redisReply *redis_call(struct redis_server *server, enum redis_script script,
                       const struct redis_audience *audience, int64_t frame_ms,
                       const struct slice *args, size_t args_count);
/* open.lua for an audience that is new: "begin" and "done". */
void redis_open_new(struct redis_server *server, const struct redis_audience *audience);
/* Any command, by hiredis's format. */
redisReply *redis_command(struct redis_server *server, const char *format, ...);
/* The key, borrowed until the next call. */
const char *redis_key(const struct redis_audience *audience, enum redis_key key, int64_t frame_ms);

/* A number of an INFO section, or -1. */
double redis_info(struct redis_server *server, const char *field);

#endif
