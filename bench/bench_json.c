/* bench_json.c -- what reading a heartbeat's body and a trace line costs.
 *
 * Prints the median of 21 rounds, in ns per text.  Run it on a quiet machine. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 21
#define TEXTS  200000

static const struct json_field heartbeat_fields[] = {
    JSON_FIELD("path", JSON_IS_STRING, JSON_OPTIONAL),
    JSON_FIELD("hidden", JSON_IS_BOOL, JSON_OPTIONAL),
    JSON_FIELD("leaving", JSON_IS_BOOL, JSON_OPTIONAL),
    JSON_FIELD("viewerId", JSON_IS_STRING, JSON_OPTIONAL),
    JSON_FIELD("token", JSON_IS_STRING, JSON_OPTIONAL),
};

static const struct json_field trace_fields[] = {
    JSON_FIELD("ts", JSON_IS_NUMBER, JSON_REQUIRED),
    JSON_FIELD("event", JSON_IS_STRING, JSON_REQUIRED),
    JSON_FIELD("session", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
    JSON_FIELD("country", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    JSON_FIELD("hidden", JSON_IS_BOOL, JSON_OPTIONAL),
    JSON_FIELD("leaving", JSON_IS_BOOL, JSON_OPTIONAL),
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure(const char *name, struct slice text, const struct json_field *fields,
                    size_t count)
{
    double rounds[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (int i = 0; i < TEXTS; i++) {
            struct json_value values[8];
            struct json_fault fault;
            __asm__ volatile("" : "+r"(text.ptr)); /* nothing is known from the last time */
            if (json_object_read(text, fields, count, values, &fault) != JSON_OK) {
                abort();
            }
            __asm__ volatile("" : : "r"(values) : "memory");
        }
        rounds[round] = (now_ns() - start) / TEXTS;
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    printf("%-34s %4zu bytes %7.1f ns  (best %.1f)\n", name, text.len, rounds[ROUNDS / 2],
           rounds[0]);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

int main(void)
{
    measure("heartbeat",
            SLICE_LIT("{\"path\":\"/events/E/sessions/S\",\"hidden\":false,\"viewerId\":\"v1\"}"),
            heartbeat_fields, COUNT(heartbeat_fields));
    measure("heartbeat, longer ids",
            SLICE_LIT("{\"path\":\"/events/summit-2026/sessions/keynote-1\",\"hidden\":false,"
                      "\"viewerId\":\"3f2b8c1e-7a4d-4e9b-9c55-0f1d2e3a4b5c\"}"),
            heartbeat_fields, COUNT(heartbeat_fields));
    measure("trace line",
            SLICE_LIT("{\"ts\":1637661623070,\"event\":\"summit-2026\",\"session\":\"keynote-1\","
                      "\"viewer\":\"viewer-000012345\",\"country\":\"HK\","
                      "\"groups\":[\"partner\",\"staff\"]}"),
            trace_fields, COUNT(trace_fields));
    measure("trace line with spaces",
            SLICE_LIT("{\"ts\": 1637661623070, \"event\": \"summit-2026\", \"session\": "
                      "\"keynote-1\", \"viewer\": \"viewer-000012345\", \"country\": \"HK\"}"),
            trace_fields, COUNT(trace_fields));
    return 0;
}
