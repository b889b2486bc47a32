/* memory.h -- allocation that does not fail, and arrays that grow.
 *
 * Out of memory ends the process with a word: an engine that cannot hold its viewers cannot count
 * them, and all that was acknowledged is in the journal.  Bounds belong to the callers.
 * Large arrays are their own mappings, so growing moves pages instead of copying, and memory never
 * touched costs nothing (memory_init sets that up). */
#ifndef NOVABEAT_BASE_MEMORY_H
#define NOVABEAT_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Once at start, before threads. */
void memory_init(void);

void *memory_alloc(size_t bytes);  /* uninitialized */
void *memory_zalloc(size_t bytes); /* zeroed */
void *memory_resize(void *ptr, size_t bytes);

/* For an array of *max elements of `size` bytes that must hold `needed`: the array to use from now
 * on; *max is doubled until it does.  New elements are uninitialized. */
void *memory_grow(void *array, uint32_t *max, uint32_t needed, size_t size);

#endif
