/* changes.c -- the arrays of a collection and their text. */
#include "core/changes.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

/* Text lies in blocks that never move, so slices stay good while more is added. */
#define TEXT_BLOCK_BYTES (64 * 1024)

struct changes_text {
    struct changes_text *next; /* the block before */
    size_t used, max;
    char bytes[];
};

void changes_init(struct changes *changes)
{
    *changes = (struct changes){0};
}

void changes_reset(struct changes *changes)
{
    changes->changes_count = changes->members_count = changes->viewings_count = 0;
    changes->frames_count = changes->groups_count = 0;
    changes->erasures_count = changes->purges_count = changes->erased_count = 0;
    changes->covered_seq = 0;
    while (changes->text != NULL && changes->text->next != NULL) {
        struct changes_text *block = changes->text;
        changes->text = block->next;
        free(block);
    }
    if (changes->text != NULL) {
        changes->text->used = 0;
    }
}

void changes_fini(struct changes *changes)
{
    changes_reset(changes);
    free(changes->text);
    free(changes->changes);
    free(changes->members);
    free(changes->viewings);
    free(changes->frames);
    free(changes->groups);
    free(changes->erasures);
    free(changes->purges);
    free(changes->erased);
    changes_init(changes);
}

static void *add(void **array, size_t *count, size_t *max, size_t size)
{
    if (*count == *max) {
        *max = *max == 0 ? 64 : *max * 2;
        *array = memory_resize(*array, *max * size);
    }
    char *element = (char *)*array + (*count)++ * size;
    memset(element, 0, size);
    return element;
}

#define ADD(changes, name)                                                                         \
    add((void **)&(changes)->name, &(changes)->name##_count, &(changes)->name##_max,               \
        sizeof *(changes)->name)

static struct change *last(struct changes *changes)
{
    ASSERT(changes->changes_count > 0);
    return &changes->changes[changes->changes_count - 1];
}

struct change *changes_add(struct changes *changes)
{
    struct change *change = ADD(changes, changes);
    change->members_first = changes->members_count;
    change->viewings_first = changes->viewings_count;
    change->frames_first = changes->frames_count;
    change->groups_first = changes->groups_count;
    return change;
}

struct member_row *changes_add_member(struct changes *changes)
{
    last(changes)->members_count++;
    return ADD(changes, members);
}

struct viewing_row *changes_add_viewing(struct changes *changes)
{
    last(changes)->viewings_count++;
    return ADD(changes, viewings);
}

struct frame_row *changes_add_frame(struct changes *changes)
{
    last(changes)->frames_count++;
    return ADD(changes, frames);
}

struct groups_row *changes_add_groups(struct changes *changes)
{
    last(changes)->groups_count++;
    return ADD(changes, groups);
}

struct erasure_row *changes_add_erasure(struct changes *changes)
{
    return ADD(changes, erasures);
}

struct purge_row *changes_add_purge(struct changes *changes)
{
    return ADD(changes, purges);
}

struct erased_row *changes_add_erased(struct changes *changes)
{
    return ADD(changes, erased);
}

struct slice changes_copy(struct changes *changes, struct slice text)
{
    if (text.len == 0) {
        return SLICE_EMPTY;
    }
    struct changes_text *block = changes->text;
    if (block == NULL || block->max - block->used < text.len) {
        size_t max = text.len > TEXT_BLOCK_BYTES ? text.len : TEXT_BLOCK_BYTES;
        block = memory_alloc(sizeof *block + max);
        *block = (struct changes_text){.next = changes->text, .max = max};
        changes->text = block;
    }
    char *copied = block->bytes + block->used;
    memcpy(copied, text.ptr, text.len);
    block->used += text.len;
    return slice_of(copied, text.len);
}
