/* waiting.c -- heartbeats that wait for an event or a profile. */
#include "live/waiting.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

uint64_t waiting_hash(const struct waiting_table *table, struct slice event, struct slice viewer)
{
    uint64_t hash = hash_bytes(&table->hash_key, event);
    if (viewer.len > 0) {
        struct hash_key key = {table->hash_key.k0 ^ hash, table->hash_key.k1};
        hash = hash_bytes(&key, viewer);
    }
    return hash;
}

static uint32_t bucket_of(const struct waiting_table *table, struct slice event,
                          struct slice viewer)
{
    return (uint32_t)waiting_hash(table, event, viewer) & (WAITING_BUCKETS - 1);
}

struct waiting *waiting_find(struct waiting_table *table, struct slice event, struct slice viewer)
{
    struct waiting *at = table->buckets[bucket_of(table, event, viewer)];
    while (at != NULL &&
           !(slice_equal(waiting_event(at), event) && slice_equal(waiting_viewer(at), viewer))) {
        at = at->bucket_next;
    }
    return at;
}

static void list_append(struct waiting_table *table, struct waiting *waiting,
                        enum waiting_list list)
{
    waiting->list = list;
    waiting->newer = NULL;
    waiting->older = table->lists[list].newest;
    if (waiting->older != NULL) {
        waiting->older->newer = waiting;
    } else {
        table->lists[list].oldest = waiting;
    }
    table->lists[list].newest = waiting;
}

static void list_remove(struct waiting_table *table, struct waiting *waiting)
{
    if (waiting->older != NULL) {
        waiting->older->newer = waiting->newer;
    } else {
        table->lists[waiting->list].oldest = waiting->newer;
    }
    if (waiting->newer != NULL) {
        waiting->newer->older = waiting->older;
    } else {
        table->lists[waiting->list].newest = waiting->older;
    }
}

struct waiting *waiting_add(struct waiting_table *table, struct slice event, struct slice viewer,
                            int64_t now_ms)
{
    if (table->count >= WAITING_MAX) {
        return NULL;
    }
    struct waiting *waiting = memory_zalloc(sizeof *waiting);
    waiting->is_event = viewer.len == 0;
    waiting->event_len = (uint8_t)event.len;
    waiting->viewer_len = (uint8_t)viewer.len;
    memcpy(waiting->event, event.ptr, event.len);
    if (viewer.len > 0) {
        memcpy(waiting->viewer, viewer.ptr, viewer.len);
    }
    waiting->bucket = bucket_of(table, event, viewer);
    waiting->bucket_next = table->buckets[waiting->bucket];
    table->buckets[waiting->bucket] = waiting;
    waiting->since_ms = now_ms;
    list_append(table, waiting, waiting->is_event ? WAITING_EVENTS : WAITING_PROFILES);
    table->count++;
    return waiting;
}

void waiting_push(struct waiting_table *table, struct waiting *waiting, struct live_beat *beat)
{
    ASSERT(waiting->list != WAITING_LATE);
    beat->next = NULL;
    if (waiting->last != NULL) {
        waiting->last->next = beat;
    } else {
        waiting->first = beat;
    }
    waiting->last = beat;
    table->beats++;
}

struct live_beat *waiting_take(struct waiting_table *table, struct waiting *waiting)
{
    struct live_beat *first = waiting->first;
    for (struct live_beat *beat = first; beat != NULL; beat = beat->next) {
        table->beats--;
    }
    waiting->first = waiting->last = NULL;
    return first;
}

void waiting_late(struct waiting_table *table, struct waiting *waiting)
{
    ASSERT(waiting->first == NULL && waiting->list != WAITING_LATE);
    list_remove(table, waiting);
    list_append(table, waiting, WAITING_LATE);
}

void waiting_override(struct waiting *waiting, struct slice groups)
{
    ASSERT(!waiting->is_event);
    free(waiting->put_groups);
    waiting->put = true;
    waiting->again = false;
    waiting->put_groups = NULL;
    waiting->put_groups_len = groups.len;
    if (groups.len > 0) {
        waiting->put_groups = memory_alloc(groups.len);
        memcpy(waiting->put_groups, groups.ptr, groups.len);
    }
}

void waiting_settle(struct waiting *waiting)
{
    if (!waiting->put) {
        return;
    }
    free(waiting->groups);
    waiting->err = ERR_NONE;
    waiting->found = true;
    waiting->groups = waiting->put_groups;
    waiting->groups_len = waiting->put_groups_len;
    waiting->put = false;
    waiting->put_groups = NULL;
}

void waiting_stale(struct waiting *waiting)
{
    ASSERT(!waiting->is_event);
    free(waiting->put_groups);
    waiting->put = false;
    waiting->put_groups = NULL;
    waiting->again = true;
}

void waiting_forget(struct waiting *waiting)
{
    free(waiting->groups);
    waiting->groups = NULL;
    waiting->groups_len = 0;
    waiting->found = false;
    waiting->err = ERR_NONE;
    waiting->again = false;
}

void waiting_remove(struct waiting_table *table, struct waiting *waiting)
{
    ASSERT(waiting->first == NULL && table->count > 0);
    struct waiting **link = &table->buckets[waiting->bucket];
    while (*link != waiting) {
        link = &(*link)->bucket_next;
    }
    *link = waiting->bucket_next;
    list_remove(table, waiting);
    table->count--;
    free(waiting->groups);
    free(waiting->put_groups);
    free(waiting);
}

/* ---- to the loader ---- */

void waiting_queue_init(struct waiting_queue *queue)
{
    *queue = (struct waiting_queue){0};
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
}

void waiting_queue_put(struct waiting_queue *queue, struct waiting *waiting)
{
    struct waiting **first = waiting->is_event ? &queue->events_first : &queue->profiles_first;
    struct waiting **last = waiting->is_event ? &queue->events_last : &queue->profiles_last;
    waiting->queue_next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (*last != NULL) {
        (*last)->queue_next = waiting;
    } else {
        *first = waiting;
    }
    *last = waiting;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void waiting_queue_stop(struct waiting_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->stop = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

/* Cuts the first `count` entries off a list. */
static struct waiting *cut(struct waiting **first, struct waiting **last, size_t count)
{
    struct waiting *taken = *first;
    struct waiting *end = taken;
    while (--count > 0 && end->queue_next != NULL) {
        end = end->queue_next;
    }
    *first = end->queue_next;
    if (*first == NULL) {
        *last = NULL;
    }
    end->queue_next = NULL;
    return taken;
}

struct waiting *waiting_queue_take(struct waiting_queue *queue, size_t profiles_max)
{
    struct waiting *taken = NULL;
    pthread_mutex_lock(&queue->lock);
    while (queue->events_first == NULL && queue->profiles_first == NULL && !queue->stop) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    if (queue->stop) {
        taken = NULL;
    } else if (queue->events_first != NULL) {
        taken = cut(&queue->events_first, &queue->events_last, 1);
    } else if (queue->profiles_first != NULL) {
        taken = cut(&queue->profiles_first, &queue->profiles_last, profiles_max);
    }
    pthread_mutex_unlock(&queue->lock);
    return taken;
}
