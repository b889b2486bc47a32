/* output.h -- what a socket did not take yet.
 *
 * Inside http/ only.  A connection's output is memory that a peer makes us hold, so it is bounded
 * twice: by output_bytes_max for each connection, and by WORKER_OUTPUT_BYTES_MAX for all of a
 * worker (which counts what was allocated).
 * Memory: one allocation per output; freed when all of it was sent.  Threads: the worker's. */
#ifndef NOVABEAT_HTTP_OUTPUT_H
#define NOVABEAT_HTTP_OUTPUT_H

#include <errno.h>

#include "http/connection.h"

/* A send or recv that has to be tried again, in errno's terms. */
static inline bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static inline size_t output_pending(const struct connection *connection)
{
    return connection->output == NULL ? 0 : connection->output->size - connection->output->sent;
}

/* Room for `bytes` more (> 0).  False when a bound forbids it or memory is out; what was pending is
 * then untouched. */
bool output_reserve(struct connection *connection, size_t bytes) WARN_UNUSED;
/* Copies, into the room that was reserved. */
void output_put(struct connection *connection, struct slice bytes);
void output_free(struct connection *connection);

#endif
