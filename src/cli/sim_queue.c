#include "cli/sim_queue.h"

#include "base/assert.h"

#include <stdlib.h>

#define NONE UINT32_MAX

enum front { FRONT_WAITS, FRONT_UNDER_WAY, FRONT_RETRIES };

struct line {
    uint32_t head, tail; /* nodes; NONE: empty */
    uint32_t tries;      /* of the head */
    enum front front;
    int64_t retry_us;
};

struct node {
    uint32_t beat;
    uint32_t next; /* also links the free ones */
};

struct sim_queue {
    struct line *lines;
    struct node *nodes;
    uint32_t nodes_count, nodes_max, free_nodes;
    uint64_t waiting; /* beats in all lines */
    /* A binary heap of connections by retry_us. */
    uint32_t *heap;
    uint32_t heap_count;
};

struct sim_queue *sim_queue_new(uint32_t connections)
{
    struct sim_queue *queue = calloc(1, sizeof(*queue));
    ASSERT(queue != NULL);
    queue->lines = malloc(connections * sizeof(*queue->lines));
    queue->heap = malloc(connections * sizeof(*queue->heap));
    ASSERT(queue->lines != NULL && queue->heap != NULL);
    queue->free_nodes = NONE;
    for (uint32_t i = 0; i < connections; i++) {
        queue->lines[i] = (struct line){.head = NONE, .tail = NONE};
    }
    return queue;
}

void sim_queue_free(struct sim_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    free(queue->lines);
    free(queue->nodes);
    free(queue->heap);
    free(queue);
}

static uint32_t node_take(struct sim_queue *queue)
{
    if (queue->free_nodes != NONE) {
        uint32_t node = queue->free_nodes;
        queue->free_nodes = queue->nodes[node].next;
        return node;
    }
    if (queue->nodes_count == queue->nodes_max) {
        queue->nodes_max = queue->nodes_max == 0 ? 1024 : queue->nodes_max * 2;
        queue->nodes = realloc(queue->nodes, queue->nodes_max * sizeof(*queue->nodes));
        ASSERT(queue->nodes != NULL);
    }
    return queue->nodes_count++;
}

void sim_queue_push(struct sim_queue *queue, uint32_t connection, uint32_t beat)
{
    struct line *line = &queue->lines[connection];
    uint32_t node = node_take(queue);
    queue->nodes[node] = (struct node){beat, NONE};
    queue->waiting++;
    if (line->head == NONE) {
        line->head = line->tail = node;
        line->tries = 0;
        line->front = FRONT_WAITS;
        return;
    }
    queue->nodes[line->tail].next = node;
    line->tail = node;
}

bool sim_queue_front(const struct sim_queue *queue, uint32_t connection, uint32_t *beat)
{
    const struct line *line = &queue->lines[connection];
    if (line->head == NONE || line->front != FRONT_WAITS) {
        return false;
    }
    *beat = queue->nodes[line->head].beat;
    return true;
}

void sim_queue_sending(struct sim_queue *queue, uint32_t connection)
{
    struct line *line = &queue->lines[connection];
    ASSERT(line->head != NONE && line->front == FRONT_WAITS);
    line->front = FRONT_UNDER_WAY;
    line->tries++;
}

bool sim_queue_under_way(const struct sim_queue *queue, uint32_t connection, uint32_t *beat)
{
    const struct line *line = &queue->lines[connection];
    if (line->head == NONE || line->front != FRONT_UNDER_WAY) {
        return false;
    }
    *beat = queue->nodes[line->head].beat;
    return true;
}

uint32_t sim_queue_tries(const struct sim_queue *queue, uint32_t connection)
{
    return queue->lines[connection].tries;
}

void sim_queue_pop(struct sim_queue *queue, uint32_t connection)
{
    struct line *line = &queue->lines[connection];
    ASSERT(line->head != NONE && line->front == FRONT_UNDER_WAY);
    uint32_t node = line->head;
    line->head = queue->nodes[node].next;
    line->tail = line->head == NONE ? NONE : line->tail;
    line->tries = 0;
    line->front = FRONT_WAITS;
    queue->nodes[node].next = queue->free_nodes;
    queue->free_nodes = node;
    queue->waiting--;
}

/* ---- retries ---- */

static int64_t heap_due(const struct sim_queue *queue, uint32_t i)
{
    return queue->lines[queue->heap[i]].retry_us;
}

static void heap_swap(struct sim_queue *queue, uint32_t i, uint32_t k)
{
    uint32_t kept = queue->heap[i];
    queue->heap[i] = queue->heap[k];
    queue->heap[k] = kept;
}

void sim_queue_retry(struct sim_queue *queue, uint32_t connection, int64_t due_us)
{
    struct line *line = &queue->lines[connection];
    ASSERT(line->head != NONE && line->front == FRONT_UNDER_WAY);
    line->front = FRONT_RETRIES; /* so a connection is in the heap once at most */
    line->retry_us = due_us;
    uint32_t i = queue->heap_count++;
    queue->heap[i] = connection;
    while (i > 0 && heap_due(queue, i) < heap_due(queue, (i - 1) / 2)) {
        heap_swap(queue, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

bool sim_queue_retry_due(struct sim_queue *queue, int64_t now_us, uint32_t *connection)
{
    if (queue->heap_count == 0 || heap_due(queue, 0) > now_us) {
        return false;
    }
    *connection = queue->heap[0];
    queue->lines[*connection].front = FRONT_WAITS;
    queue->heap[0] = queue->heap[--queue->heap_count];
    for (uint32_t i = 0;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < queue->heap_count && heap_due(queue, child) < heap_due(queue, least)) {
                least = child;
            }
        }
        if (least == i) {
            return true;
        }
        heap_swap(queue, i, least);
        i = least;
    }
}

int64_t sim_queue_retry_next(const struct sim_queue *queue)
{
    return queue->heap_count == 0 ? INT64_MAX : heap_due(queue, 0);
}

bool sim_queue_has_like(const struct sim_queue *queue, uint32_t connection,
                        const struct sim_beat *beats, const struct sim_beat *beat)
{
    bool like = false;
    for (uint32_t i = queue->lines[connection].head; i != NONE; i = queue->nodes[i].next) {
        const struct sim_beat *other = &beats[queue->nodes[i].beat];
        if (other->viewer == beat->viewer && other->tab == beat->tab) {
            like = other->session == beat->session && other->kind == beat->kind;
        }
    }
    return like;
}

bool sim_queue_empty(const struct sim_queue *queue)
{
    return queue->waiting == 0;
}
