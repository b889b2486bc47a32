/* model_redis.c -- starting, stopping and calling a redis-server. */
#include "model/model_redis.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TRIES 500 /* of 10 ms */

/* The child's part of the start; does not return. */
static _Noreturn void serve(const struct redis_server *server, pid_t parent, bool cluster)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    if (getppid() != parent || null < 0 || dup2(null, STDOUT_FILENO) < 0) {
        _exit(1);
    }
    (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket,
                 "--save", "", "--appendonly", "no", "--dir", server->folder, "--logfile", "",
                 "--daemonize", "no", "--cluster-enabled", cluster ? "yes" : "no", (char *)NULL);
    _exit(errno == ENOENT ? 127 : 1);
}

static void remove_folder(const struct redis_server *server)
{
    char nodes[220];
    (void)snprintf(nodes, sizeof nodes, "%s/nodes.conf", server->folder);
    (void)unlink(nodes);
    (void)unlink(server->socket);
    if (rmdir(server->folder) != 0) {
        perror(server->folder);
    }
}

static bool start(struct redis_server *server, bool cluster)
{
    *server = (struct redis_server){0};
    const char *top = getenv("TMPDIR");
    (void)snprintf(server->folder, sizeof server->folder, "%s/novabeat-redis.XXXXXX",
                   top == NULL || strlen(top) > 60 ? "/tmp" : top);
    ASSERT(mkdtemp(server->folder) != NULL);
    (void)snprintf(server->socket, sizeof server->socket, "%s/socket", server->folder);
    pid_t parent = getpid();
    server->pid = fork();
    ASSERT(server->pid >= 0);
    if (server->pid == 0) {
        serve(server, parent, cluster);
    }
    for (int i = 0; i < START_TRIES; i++) {
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            remove_folder(server);
            ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 127);
            return false;
        }
        server->link = redisConnectUnix(server->socket);
        ASSERT(server->link != NULL);
        if (server->link->err == 0) {
            if (!cluster) { /* nothing is left behind, however the test ends */
                remove_folder(server);
            }
            return true;
        }
        redisFree(server->link);
        (void)usleep(10000);
    }
    ASSERT(!"redis-server did not start");
    return false;
}

bool redis_server_start(struct redis_server *server)
{
    return start(server, false);
}

bool redis_server_start_cluster(struct redis_server *server)
{
    if (!start(server, true)) {
        return false;
    }
    char slots[16384 * 6 + 32];
    size_t len = (size_t)sprintf(slots, "CLUSTER ADDSLOTS");
    for (int slot = 0; slot < 16384; slot++) {
        len += (size_t)sprintf(slots + len, " %d", slot);
    }
    freeReplyObject(redis_command(server, slots));
    for (int i = 0;; i++) {
        redisReply *info = redis_command(server, "CLUSTER INFO");
        bool ok = strstr(info->str, "cluster_state:ok") != NULL;
        freeReplyObject(info);
        if (ok) {
            return true;
        }
        ASSERT(i < START_TRIES);
        (void)usleep(10000);
    }
}

void redis_server_stop(struct redis_server *server)
{
    redisFree(server->link);
    (void)kill(server->pid, SIGTERM);
    (void)waitpid(server->pid, NULL, 0);
    if (access(server->folder, F_OK) == 0) {
        remove_folder(server); /* a node of a cluster writes to it */
    }
}

static redisReply *checked(struct redis_server *server, redisReply *reply)
{
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        printf("# redis: %s\n", reply == NULL ? server->link->errstr : reply->str);
        ASSERT(!"redis answered");
    }
    return reply;
}

void redis_server_load(struct redis_server *server, const struct redis_script_settings *settings)
{
    for (enum redis_script i = 0; i < REDIS_SCRIPTS; i++) {
        char *text = redis_script_text(i, settings);
        redisReply *reply = redis_command(server, "SCRIPT LOAD %s", text);
        ASSERT(reply->len < sizeof server->sha[i]);
        memcpy(server->sha[i], reply->str, reply->len + 1);
        freeReplyObject(reply);
        free(text);
    }
}

size_t redis_call_make(const struct redis_server *server, enum redis_script script,
                       const struct redis_audience *audience, int64_t frame_ms,
                       const struct slice *args, size_t args_count,
                       char keys[REDIS_KEYS][REDIS_KEY_BYTES_MAX], char count[8],
                       struct slice argv[REDIS_ARGV_MAX])
{
    const struct redis_script_keys *wanted = redis_script_keys(script);
    size_t argc = 0;
    argv[argc++] = SLICE_LIT("EVALSHA");
    argv[argc++] = slice_str(server->sha[script]);
    (void)snprintf(count, 8, "%u", wanted->count);
    argv[argc++] = slice_str(count);
    for (uint32_t i = 0; i < wanted->count; i++) {
        size_t len = redis_key_text(keys[i], audience, wanted->keys[i], frame_ms);
        argv[argc++] = slice_of(keys[i], len);
    }
    ASSERT(argc + args_count <= REDIS_ARGV_MAX);
    for (size_t i = 0; i < args_count; i++) {
        argv[argc++] = args[i];
    }
    return argc;
}

redisReply *redis_call(struct redis_server *server, enum redis_script script,
                       const struct redis_audience *audience, int64_t frame_ms,
                       const struct slice *args, size_t args_count)
{
    char keys[REDIS_KEYS][REDIS_KEY_BYTES_MAX], count[8];
    struct slice parts[REDIS_ARGV_MAX];
    const char *argv[REDIS_ARGV_MAX];
    size_t lens[REDIS_ARGV_MAX];
    size_t argc =
        redis_call_make(server, script, audience, frame_ms, args, args_count, keys, count, parts);
    for (size_t i = 0; i < argc; i++) {
        argv[i] = parts[i].len == 0 ? "" : parts[i].ptr;
        lens[i] = parts[i].len;
    }
    return checked(server, redisCommandArgv(server->link, (int)argc, argv, lens));
}

void redis_open_new(struct redis_server *server, const struct redis_audience *audience)
{
    struct slice zero = SLICE_LIT("0"), one = SLICE_LIT("1");
    struct slice begin[] = {SLICE_LIT("test"), SLICE_LIT("begin"), one, SLICE_LIT("1000")};
    freeReplyObject(redis_call(server, REDIS_SCRIPT_OPEN, audience, 0, begin, 4));
    struct slice done[] = {
        SLICE_LIT("test"), SLICE_LIT("done"), one, zero, zero, zero, zero, zero, zero};
    redisReply *reply = redis_call(server, REDIS_SCRIPT_OPEN, audience, 0, done, 9);
    ASSERT(reply->elements == 2 && strcmp(reply->element[0]->str, "OK") == 0);
    freeReplyObject(reply);
}

redisReply *redis_command(struct redis_server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(server->link, format, args);
    va_end(args);
    return checked(server, reply);
}

const char *redis_key(const struct redis_audience *audience, enum redis_key key, int64_t frame_ms)
{
    static char text[REDIS_KEY_BYTES_MAX];
    (void)redis_key_text(text, audience, key, frame_ms);
    return text;
}

double redis_info(struct redis_server *server, const char *field)
{
    redisReply *reply = redis_command(server, "INFO ALL");
    char wanted[64];
    (void)snprintf(wanted, sizeof wanted, "\n%s:", field);
    const char *at = strstr(reply->str, wanted);
    double value = at == NULL ? -1 : strtod(at + strlen(wanted), NULL);
    freeReplyObject(reply);
    return value;
}
