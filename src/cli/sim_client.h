/* sim_client.h -- many HTTP/1.1 connections from one thread.
 *
 * Model: a fixed number of numbered connections to one server, each idle or with one request under
 * way.  A connection is opened by its first request, kept alive, and opened again by the next
 * request after it was lost.  Answers come out of sim_client_poll, in the order of their arrival.
 *
 * Understood: status line, Content-Length, Retry-After (seconds), Connection: close.  An answer
 * with Transfer-Encoding, or above 64 MB, loses the connection.  No TLS.  Source: RFC 9112.
 *
 * Memory:  about 300 bytes per connection and the largest part-received answer; it aborts when
 *          memory is out.  Threads: one owner.
 * Time:    microseconds of the monotonic clock (sim_now_us). */
#ifndef NOVABEAT_CLI_SIM_CLIENT_H
#define NOVABEAT_CLI_SIM_CLIENT_H

#include "base/err.h"
#include "base/slice.h"

#include <stdint.h>

struct sim_client;

/* Where the server is, from "http://host[:port]". */
struct sim_target {
    char host[256]; /* as in the URL, for the Host header: host or host:port */
    char name[256]; /* to look up; without brackets */
    char port[8];
};
enum err sim_target_parse(const char *url, struct sim_target *target) WARN_UNUSED;

struct sim_client_options {
    const struct sim_target *target;
    uint32_t connections;
    int64_t answer_timeout_us; /* without an answer for so long: lost */
};

/* Looks the host up (the first address is taken).  *loopback: the address is of this machine.
 * ERR_IO with a reason in why. */
enum err sim_client_new(const struct sim_client_options *options, struct sim_client **client,
                        bool *loopback, char *why, size_t why_bytes) WARN_UNUSED;
void sim_client_free(struct sim_client *client);

/* Raises the process's soft limit of descriptors to the hard one, and says how many connections
 * that allows. */
uint32_t sim_client_connections_max(void);

bool sim_client_idle(const struct sim_client *client, uint32_t connection);
/* When the request that is under way was sent; INT64_MAX when there is none or it waits for the
 * connection to open. */
int64_t sim_client_sent_us(const struct sim_client *client, uint32_t connection);

/* Sends a whole request on an idle connection; the bytes are copied.  The outcome, whatever it is,
 * comes from a later sim_client_poll. */
void sim_client_send(struct sim_client *client, uint32_t connection, struct slice request);

struct sim_answer {
    uint32_t connection;
    int status;        /* 0: lost: refused, closed, timed out or not understood */
    int retry_after_s; /* -1: not given */
    bool sent;         /* at least a part of the request left; else the server has nothing */
    int64_t sent_us;   /* before the first byte left */
    int64_t done_us;   /* when the answer, or the loss, was seen */
    struct slice body; /* borrowed until the callback returns */
};
/* May call sim_client_send, also for the same connection. */
typedef void sim_answer_fn(void *ctx, const struct sim_answer *answer);

/* Waits for up to timeout_us and hands out what came. */
void sim_client_poll(struct sim_client *client, int64_t timeout_us, sim_answer_fn *fn, void *ctx);

/* Connections that are open now; and opened ever. */
uint32_t sim_client_open(const struct sim_client *client);
uint64_t sim_client_opened(const struct sim_client *client);

int64_t sim_now_us(void);

#endif
