/* memory.c -- allocation that does not fail. */
#include "base/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#define MAPPING_BYTES_MIN (128 * 1024)
#define GROW_FIRST        8

void memory_init(void)
{
    /* Fixed, or glibc raises it after the first large free and later arrays are copied as they grow
     * and leave holes. */
    mallopt(M_MMAP_THRESHOLD, MAPPING_BYTES_MIN);
    mallopt(M_ARENA_MAX, 2);
}

static void *checked(void *ptr, size_t bytes)
{
    if (ptr == NULL && bytes > 0) {
        fprintf(stderr, "novabeat: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return ptr;
}

void *memory_alloc(size_t bytes)
{
    return checked(malloc(bytes), bytes);
}

void *memory_zalloc(size_t bytes)
{
    return checked(calloc(1, bytes), bytes);
}

void *memory_resize(void *ptr, size_t bytes)
{
    return checked(realloc(ptr, bytes), bytes);
}

void *memory_grow(void *array, uint32_t *max, uint32_t needed, size_t size)
{
    if (needed <= *max) {
        return array;
    }
    uint64_t grown = *max == 0 ? GROW_FIRST : *max;
    while (grown < needed) {
        grown *= 2;
    }
    if (grown > UINT32_MAX) {
        grown = UINT32_MAX;
    }
    *max = (uint32_t)grown;
    return memory_resize(array, (size_t)grown * size);
}
