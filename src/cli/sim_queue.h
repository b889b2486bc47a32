/* sim_queue.h -- the heartbeats that wait for a connection, and the connections that wait for time.
 *
 * Model: a first-in-first-out line of heartbeats (indexes into the plan) per connection.  The front
 * one is waiting, or under way, or failed and waiting for the moment of its retry; those behind it
 * wait for it, so that the heartbeats of a viewer keep their order.
 *
 * Cost: O(1), a retry O(log connections); sim_queue_has_like O(line).  Memory: 12 bytes per waiting
 * heartbeat, 40 per connection; it aborts when memory is out.  Threads: one owner. */
#ifndef NOVABEAT_CLI_SIM_QUEUE_H
#define NOVABEAT_CLI_SIM_QUEUE_H

#include "cli/sim_plan.h"

struct sim_queue;

struct sim_queue *sim_queue_new(uint32_t connections);
void sim_queue_free(struct sim_queue *queue);

void sim_queue_push(struct sim_queue *queue, uint32_t connection, uint32_t beat);
/* The front one, if it may be sent now. */
bool sim_queue_front(const struct sim_queue *queue, uint32_t connection, uint32_t *beat);
/* It is sent, which is a try. */
void sim_queue_sending(struct sim_queue *queue, uint32_t connection);
/* The one that is under way. */
bool sim_queue_under_way(const struct sim_queue *queue, uint32_t connection, uint32_t *beat);
/* How often the front one was sent. */
uint32_t sim_queue_tries(const struct sim_queue *queue, uint32_t connection);
/* The one under way is done with; or may be sent again at due_us. */
void sim_queue_pop(struct sim_queue *queue, uint32_t connection);
void sim_queue_retry(struct sim_queue *queue, uint32_t connection, int64_t due_us);

/* A connection whose front one may be sent again now; call until there is none. */
bool sim_queue_retry_due(struct sim_queue *queue, int64_t now_us, uint32_t *connection);
/* When the next one may; INT64_MAX: none waits. */
int64_t sim_queue_retry_next(const struct sim_queue *queue);

/* Whether a beat of the same viewer, tab, session and kind is in the line, with no other beat of
 * that tab behind it. */
bool sim_queue_has_like(const struct sim_queue *queue, uint32_t connection,
                        const struct sim_beat *beats, const struct sim_beat *beat);
bool sim_queue_empty(const struct sim_queue *queue);

#endif
