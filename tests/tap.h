/* tap.h -- runs a group of cmocka tests and prints TAP, which tests/run.py counts.
 *
 *     int main(void) { const struct CMUnitTest tests[] = {cmocka_unit_test(test_x)}; return
 * tap_run(tests); }
 *
 * Seeds: a random test takes its seed from NOVABEAT_SEED or the clock, and prints it. */
#ifndef NOVABEAT_TESTS_TAP_H
#define NOVABEAT_TESTS_TAP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define tap_run(tests)                                                                             \
    (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, NULL, NULL))

static inline uint64_t tap_seed(void)
{
    const char *text = getenv("NOVABEAT_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10)
                                 : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    printf("# NOVABEAT_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* splitmix64 (Steele, Lea, Flood 2014): the tests' random numbers. */
static inline uint64_t tap_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
