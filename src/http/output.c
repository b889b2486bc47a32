/* output.c -- a queue of bytes in one piece: put at the end, sent from the front. */
#include "http/output.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "http/worker.h"

/* A new allocation with what is pending at its front. */
static bool output_move(struct connection *connection, size_t capacity)
{
    struct http_worker *worker = connection->worker;
    struct output *old = connection->output;
    if (capacity > WORKER_OUTPUT_BYTES_MAX - worker->output_bytes) {
        return false;
    }
    struct output *output = malloc(sizeof *output + capacity);
    if (output == NULL) {
        return false;
    }
    output->sent = 0;
    output->size = output_pending(connection);
    output->capacity = capacity;
    if (old != NULL) {
        memcpy(output->bytes, old->bytes + old->sent, output->size);
        output_free(connection);
    }
    worker->output_bytes += capacity;
    connection->output = output;
    return true;
}

bool output_reserve(struct connection *connection, size_t bytes)
{
    struct output *output = connection->output;
    size_t pending = output_pending(connection);
    uint32_t bytes_max = connection->worker->config->output_bytes_max;
    ASSERT(bytes > 0);
    if (pending > bytes_max || bytes > bytes_max - pending) {
        return false;
    }
    if (output == NULL) {
        return output_move(connection, bytes); /* most often an answer: there comes no more */
    }
    if (bytes <= output->capacity - output->size) {
        return true;
    }
    if (pending + bytes > output->capacity) {
        /* A quarter more than is needed: pieces that come one by one are copied a few times only,
         * and a slow peer costs little more than what it leaves unread. */
        return output_move(connection, pending + bytes + (pending + bytes) / 4);
    }
    memmove(output->bytes, output->bytes + output->sent, pending);
    output->sent = 0;
    output->size = pending;
    return true;
}

void output_put(struct connection *connection, struct slice bytes)
{
    struct output *output = connection->output;
    ASSERT(output != NULL && bytes.len <= output->capacity - output->size);
    if (bytes.len > 0) {
        memcpy(output->bytes + output->size, bytes.ptr, bytes.len);
        output->size += bytes.len;
    }
}

void output_free(struct connection *connection)
{
    if (connection->output != NULL) {
        connection->worker->output_bytes -= connection->output->capacity;
        free(connection->output);
        connection->output = NULL;
    }
}
