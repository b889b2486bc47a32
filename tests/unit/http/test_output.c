/* test_output.c -- the queue of unsent bytes against a plain array, and its two bounds. */
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#include "http/output.h"
#include "http/worker.h"

#define BYTES_MAX 5000u

static struct http_worker *worker;
static struct http_config config;
static struct connection connection;

static int set_up(void **state)
{
    (void)state;
    worker = aligned_alloc(64, sizeof *worker);
    assert_non_null(worker);
    memset(worker, 0, sizeof *worker);
    memset(&connection, 0, sizeof connection);
    config.output_bytes_max = BYTES_MAX;
    worker->config = &config;
    connection.worker = worker;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    output_free(&connection);
    assert_int_equal(worker->output_bytes, 0);
    free(worker);
    return 0;
}

static void take(size_t bytes)
{
    connection.output->sent += bytes; /* as the socket does */
    if (connection.output->sent == connection.output->size) {
        output_free(&connection);
    }
}

static void test_as_a_plain_array(void **state)
{
    (void)state;
    static char model[BYTES_MAX], bytes[BYTES_MAX + 100];
    size_t pending = 0;
    unsigned refused = 0;
    uint64_t seed = tap_seed();
    for (int i = 0; i < 200000; i++) {
        if (tap_random(&seed) % 2 == 0) {
            size_t most = tap_random(&seed) % 50 == 0 ? sizeof bytes : 300;
            size_t more = 1 + (size_t)(tap_random(&seed) % most);
            memset(bytes, (int)tap_random(&seed), more);
            bool fits = output_reserve(&connection, more);
            assert_int_equal(fits, more <= BYTES_MAX - pending);
            refused += !fits;
            if (fits) {
                size_t first = (size_t)(tap_random(&seed) % (more + 1));
                output_put(&connection, slice_of(bytes, first));
                output_put(&connection, slice_of(bytes + first, more - first));
                memcpy(model + pending, bytes, more);
                pending += more;
            }
        } else if (pending > 0) {
            size_t less = 1 + (size_t)(tap_random(&seed) % pending);
            take(less);
            pending -= less;
            memmove(model, model + less, pending);
        }
        const struct output *output = connection.output;
        assert_int_equal(output_pending(&connection), pending);
        assert_int_equal(output == NULL, pending == 0);
        if (output != NULL) {
            assert_memory_equal(output->bytes + output->sent, model, pending);
            assert_true(output->capacity <= BYTES_MAX + BYTES_MAX / 4);
        }
        assert_int_equal(worker->output_bytes, output == NULL ? 0 : output->capacity);
    }
    assert_true(refused > 0);
}

static void test_bound_of_the_worker(void **state)
{
    (void)state;
    assert_true(output_reserve(&connection, 100));
    output_put(&connection, SLICE_LIT("kept"));
    worker->output_bytes += WORKER_OUTPUT_BYTES_MAX - 200; /* of others */
    assert_true(output_reserve(&connection, 96));          /* there is room */
    assert_false(output_reserve(&connection, 97));
    assert_memory_equal(connection.output->bytes, "kept", 4);
    worker->output_bytes -= WORKER_OUTPUT_BYTES_MAX - 200;
    assert_true(output_reserve(&connection, 97));
    assert_memory_equal(connection.output->bytes, "kept", 4);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_as_a_plain_array), TEST(test_bound_of_the_worker)};
    return tap_run(tests);
}
