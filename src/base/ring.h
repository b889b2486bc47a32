/* ring.h -- a bounded queue of pointers between two threads, one that puts and one that takes.
 *
 * Threads: ring_put by the one, ring_take and ring_peek by the other; ring_empty by either.
 * Order: the head and tail are release-stored and acquire-loaded, so what was written before a put
 * is seen after the take.  Each side keeps the other's last seen counter, so a shared cache line
 * moves only when a side runs out (Lamport 1983; the cached indices of FastForward/MCRingBuffer,
 * 2009). */
#ifndef NOVABEAT_BASE_RING_H
#define NOVABEAT_BASE_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
    /* constant after ring_init */
    void **slots;
    uint32_t mask;
    /* written by the putting thread */
    alignas(64) _Atomic uint32_t tail;
    uint32_t head_seen;
    /* written by the taking thread */
    alignas(64) _Atomic uint32_t head;
    uint32_t tail_seen;
};

/* At least `slots_min` slots. */
void ring_init(struct ring *ring, uint32_t slots_min);
void ring_fini(struct ring *ring);

/* False when it is full. */
static inline bool ring_put(struct ring *ring, void *item)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed); /* our own */
    if (tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen > ring->mask) {
            return false;
        }
    }
    ring->slots[tail & ring->mask] = item;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

/* The oldest item, left in place; NULL when empty. */
static inline void *ring_peek(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* our own */
    if (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen) {
            return NULL;
        }
    }
    return ring->slots[head & ring->mask];
}

/* By the taking thread: the item `ahead` places behind the oldest, or NULL when it was not seen
 * yet; to fetch what it points to in time. */
static inline void *ring_ahead(const struct ring *ring, uint32_t ahead)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* our own */
    return ring->tail_seen - head > ahead ? ring->slots[(head + ahead) & ring->mask] : NULL;
}

static inline void *ring_take(struct ring *ring)
{
    void *item = ring_peek(ring);
    if (item != NULL) {
        uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
        atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    }
    return item;
}

static inline bool ring_empty(const struct ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire) ==
           atomic_load_explicit(&ring->tail, memory_order_acquire);
}

#endif
