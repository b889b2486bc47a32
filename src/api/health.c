/* health.c -- is it alive, is it ready, and what it counts about itself.
 *
 * /metrics is Prometheus' text format 0.0.4: per metric one HELP and one TYPE line, then its
 * samples; counters end in _total, units are base units. */
#include "api/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

void health_alive(struct call *call)
{
    respond_json(call->exchange, SLICE_LIT("{\"status\":\"ok\"}"));
}

void health_ready(struct call *call)
{
    if (!live_ready(call->worker->api->config.live)) {
        http_problem_headers(call->exchange, 503, NULL, "heartbeats cannot be acknowledged now",
                             SLICE_LIT("Retry-After: 1\r\n"));
        return;
    }
    respond_json(call->exchange, SLICE_LIT("{\"status\":\"ready\"}"));
}

/* ---- /metrics ---- */

enum metric_kind { COUNTER, GAUGE };

static void put_head(struct buffer *out, const char *name, enum metric_kind kind, const char *help)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
                  kind == COUNTER ? "counter" : "gauge");
}

static void put_metric(struct buffer *out, const char *name, enum metric_kind kind,
                       const char *help, uint64_t value)
{
    put_head(out, name, kind, help);
    buffer_put(out, slice_str(name));
    buffer_put_char(out, ' ');
    buffer_put_u64(out, value);
    buffer_put_char(out, '\n');
}

static void put_live(struct buffer *out, struct live *live)
{
    struct live_counters counters;
    live_counters(live, &counters);
#define PUT_COUNTER(name, text)                                                                    \
    put_metric(out, "novabeat_" #name "_total", COUNTER, text, counters.name);
    LIVE_COUNTER_LIST(PUT_COUNTER)
#undef PUT_COUNTER
#define PUT_GAUGE(name, text) put_metric(out, "novabeat_" #name, GAUGE, text, counters.name);
    LIVE_GAUGE_LIST(PUT_GAUGE)
#undef PUT_GAUGE
}

#define HTTP_METRIC_LIST(X)                                                                        \
    X(connections_open, "connections_open", GAUGE, "connections that are open")                    \
    X(connections_total, "connections_total", COUNTER, "connections that were accepted")           \
    X(connections_refused, "connections_refused_total", COUNTER,                                   \
      "connections over connections-max, answered 503")                                            \
    X(requests_total, "requests_total", COUNTER, "requests that came in whole")                    \
    X(parse_errors, "parse_errors_total", COUNTER, "requests that were no HTTP")                   \
    X(timeouts, "timeouts_total", COUNTER, "connections closed because something took too long")   \
    X(bytes_in, "received_bytes_total", COUNTER, "bytes received")                                 \
    X(bytes_out, "sent_bytes_total", COUNTER, "bytes sent")                                        \
    X(accept_pauses, "accept_pauses_total", COUNTER,                                               \
      "times that accepting stopped because no descriptor was left")                               \
    X(buffer_waits, "buffer_waits_total", COUNTER, "times that a request waited for a buffer")

static void put_http(struct buffer *out, const struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    struct http_counters counters;
    http_server_counters(server, &counters);
#define PUT_METRIC(field, name, kind, text)                                                        \
    put_metric(out, "novabeat_http_" name, kind, text, counters.field);
    HTTP_METRIC_LIST(PUT_METRIC)
#undef PUT_METRIC
    put_head(out, "novabeat_http_responses_total", COUNTER, "answers by class of status");
    static const char sample[] = "novabeat_http_responses_total{class=\"%dxx\"} %llu\n";
    buffer_printf(out, sample, 2, (unsigned long long)counters.responses_2xx);
    buffer_printf(out, sample, 3, (unsigned long long)counters.responses_3xx);
    buffer_printf(out, sample, 4, (unsigned long long)counters.responses_4xx);
    buffer_printf(out, sample, 5, (unsigned long long)counters.responses_5xx);
}

/* The second number of statm is resident pages (proc(5)); a read that waits for no disk. */
static uint64_t resident_bytes(void)
{
    char text[128];
    unsigned long long size, resident;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    return sscanf(text, "%llu %llu", &size, &resident) == 2
               ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}

static void put_process(struct buffer *out)
{
    put_metric(out, "process_resident_memory_bytes", GAUGE, "memory that is resident, in bytes",
               resident_bytes());
    struct rusage usage;
    double seconds = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                  (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    put_head(out, "process_cpu_seconds_total", COUNTER, "user and system time, in seconds");
    buffer_printf(out, "process_cpu_seconds_total %.6f\n", seconds);
}

static void put_tokens(struct buffer *out, struct tokens *tokens)
{
    if (tokens == NULL) {
        return;
    }
    struct token_counters counters;
    tokens_counters(tokens, &counters);
    put_metric(out, "novabeat_tokens_cached_total", COUNTER,
               "viewer tokens that were known from before", counters.cached);
    put_metric(out, "novabeat_tokens_verified_total", COUNTER,
               "viewer tokens whose signature was checked and is good", counters.verified);
    put_metric(out, "novabeat_tokens_refused_total", COUNTER, "viewer tokens that were refused",
               counters.refused);
    put_metric(out, "novabeat_tokens_remembered", GAUGE, "verified viewer tokens in memory",
               counters.entries);
    put_metric(out, "novabeat_token_keys", GAUGE, "keys that viewer tokens are checked with",
               counters.keys);
}

static uint64_t rate_refused(const struct api *api)
{
    uint64_t refused = 0;
    for (unsigned i = 0; i < api->config.workers; i++) {
        refused += atomic_load_explicit(&api->workers[i].rate_refused, memory_order_relaxed);
    }
    return refused;
}

static uint64_t lines_refused(const struct api *api)
{
    uint64_t lines = 0;
    for (unsigned i = 0; i < api->config.workers; i++) {
        lines += atomic_load_explicit(&api->workers[i].lines_refused, memory_order_relaxed);
    }
    return lines;
}

void health_metrics(struct call *call)
{
    struct api *api = call->worker->api;
    struct buffer *out = &call->worker->answer;
    buffer_reset(out);
    put_head(out, "novabeat_build_info", GAUGE, "the version that runs");
    buffer_printf(out, "novabeat_build_info{version=\"%s\"} 1\n", api->config.version);
    put_live(out, api->config.live);
    put_metric(out, "novabeat_batch_lines_refused_total", COUNTER,
               "lines of batches that were refused", lines_refused(api));
    put_metric(out, "novabeat_rate_refused_total", COUNTER,
               "heartbeats over viewer-rate, answered 429", rate_refused(api));
    put_tokens(out, api->config.tokens);
    put_http(out, atomic_load_explicit(&api->server, memory_order_acquire));
    put_process(out);
    const struct http_response response = {
        .status = 200,
        .content_type = "text/plain; version=0.0.4; charset=utf-8",
        .body = buffer_slice(out),
    };
    http_respond(call->exchange, &response);
}
