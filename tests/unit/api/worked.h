/* worked.h -- fake.h with a real record store: the work of a question runs on it, as on live/'s
 * threads. */
#ifndef NOVABEAT_TESTS_API_WORKED_H
#define NOVABEAT_TESTS_API_WORKED_H

#include "fake.h"

#include "unit/records/store.h"

static struct store worked;

static int worked_start(void **state)
{
    store_open(&worked);
    return fake_start(state);
}

static int worked_stop(void **state)
{
    fake_stop(state);
    store_close(&worked);
    return 0;
}

static inline enum live_status worked_status(enum err err)
{
    switch (err) {
    case ERR_NONE:
        return LIVE_OK;
    case ERR_NOT_FOUND:
        return LIVE_NOT_FOUND;
    case ERR_INVALID:
        return LIVE_REFUSED;
    default:
        return LIVE_RECORDS_AWAY;
    }
}

/* Runs the work of the READ or WRITE that was submitted, without giving it back. */
static inline struct live_query *worked_run(enum live_query_kind kind)
{
    struct live_query *query = fake_query(kind);
    query->status = worked_status(query->work(worked.link, query));
    query->now_ms = 7;
    return query;
}

/* live/ gives back what was submitted; it may lead to a further question. */
static inline void worked_give_back(void)
{
    assert_non_null(fake.submitted);
    fake.handler.wake(fake.worker);
}

static inline void worked_do(enum live_query_kind kind)
{
    worked_run(kind);
    worked_give_back();
}

#define worked_test(tests)                                                                         \
    (cmocka_set_message_output(CM_OUTPUT_TAP),                                                     \
     cmocka_run_group_tests(tests, worked_start, worked_stop))

#endif
