/* ring.c -- set-up of rings; the rest is in the header. */
#include "base/ring.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

void ring_init(struct ring *ring, uint32_t slots_min)
{
    ASSERT(slots_min > 0 && slots_min <= 1u << 30);
    uint32_t slots = 1;
    while (slots < slots_min) {
        slots *= 2;
    }
    ring->slots = memory_zalloc(slots * sizeof *ring->slots);
    ring->mask = slots - 1;
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
    ring->head_seen = ring->tail_seen = 0;
}

void ring_fini(struct ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}
