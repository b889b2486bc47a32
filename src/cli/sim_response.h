/* sim_response.h -- reads one HTTP/1.1 answer from the bytes of a connection.
 *
 * Only what Novabeat's server sends: a status line, headers, and a body of Content-Length bytes.
 * Bytes that follow the answer are wrong, since nothing else was asked for.
 * Pure; slices borrow from the bytes.  Cost: O(bytes of the head) per call.  Source: RFC 9112. */
#ifndef NOVABEAT_CLI_SIM_RESPONSE_H
#define NOVABEAT_CLI_SIM_RESPONSE_H

#include "base/slice.h"

#include <stdint.h>

struct sim_response {
    int status;
    int retry_after_s; /* -1: not given, or not a number of seconds */
    bool close;
    struct slice body;
};

enum sim_response_outcome { SIM_RESPONSE_WHOLE, SIM_RESPONSE_PART, SIM_RESPONSE_WRONG };

enum sim_response_outcome sim_response_parse(struct slice bytes, struct sim_response *response);

/* The intervalMs in the body of a heartbeat's answer; 0: none. */
int64_t sim_response_interval_ms(struct slice body);

#endif
