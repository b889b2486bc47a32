/* serve.c -- novabeat serve: receive heartbeats and answer with figures, until told to stop.
 *
 * Start: the live engine first (it recovers what the journal holds), then HTTP.  The main thread
 * waits for signals, and each second looks whether keys or files have changed (gate.h).
 * Stop, on the first SIGTERM or SIGINT: no new connections; open requests are answered, for at most
 * drain-timeout; then the engine stores everything.  A second signal ends the process at once:
 * nothing acknowledged is lost, since the journal has it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/gate.h"
#include "cli/options.h"

/* Requests that one I/O thread reads or answers at one time; more wait unread (http.h). */
#define REQUESTS_MAX 8192u
/* What each takes in http/ and live/, and what an open connection takes in http/; rounded up. */
#define REQUEST_BYTES    (HTTP_REQUEST_BYTES + 1024)
#define CONNECTION_BYTES 256u
/* Bodies and unread answers that are larger than that, and what batches become, of one I/O thread
 * (http/worker.h, api/batch.c); then what reports gather (api/report.h). */
#define LARGE_BYTES ((uint64_t)(768 + 328) << 20)
/* A verified token that is remembered; more where it names many groups (identity/token_cache.h). */
#define TOKEN_BYTES 150u
/* An ended viewing or frame that waits for the record store. */
#define BACKLOG_BYTES 64u
/* Descriptors besides connections: journal, database and its readers, listeners, epoll, … */
#define DESCRIPTORS_OWN 128u
#define POLL_MS         5
#define START_POLL_MS   20

struct server {
    struct live *live;
    struct api *api;
    struct http_server *http;
    struct gate gate;
};

/* ---- words at the start ---- */

static void warn_of_descriptors(const struct settings *settings)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_line(LOG_WARN, "serve", "the limit of open files could not be raised: %s",
                 strerror(errno));
    }
    uint64_t needed = settings->connections_max + DESCRIPTORS_OWN + 4 * settings->io_threads;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
        log_line(LOG_WARN, "serve",
                 "connections-max = %llu needs %llu open files, and the limit is %llu (ulimit -n): "
                 "beyond it, new connections get 503",
                 (unsigned long long)settings->connections_max, (unsigned long long)needed,
                 (unsigned long long)limit.rlim_cur);
    }
}

static uint32_t requests_max(const struct settings *settings)
{
    return settings->connections_max < REQUESTS_MAX ? (uint32_t)settings->connections_max
                                                    : REQUESTS_MAX;
}

static void say_bounds(const struct settings *settings)
{
    uint64_t connections = settings->connections_max * CONNECTION_BYTES;
    uint64_t requests = settings->io_threads * requests_max(settings) * REQUEST_BYTES;
    uint64_t backlog = settings->backlog_max * BACKLOG_BYTES;
    uint64_t large = settings->io_threads * LARGE_BYTES;
    uint64_t tokens =
        settings->auth == SETTING_AUTH_JWT ? settings->token_cache_max * TOKEN_BYTES : 0;
    log_line(LOG_INFO, "serve",
             "memory at most, in MiB: connections %llu, requests under way %llu, large bodies and "
             "answers %llu, tokens remembered %llu, backlog of records %llu; %llu in all. Besides, "
             "about 100 bytes per viewer",
             (unsigned long long)connections >> 20, (unsigned long long)requests >> 20,
             (unsigned long long)large >> 20, (unsigned long long)tokens >> 20,
             (unsigned long long)backlog >> 20,
             (unsigned long long)(connections + requests + large + tokens + backlog) >> 20);
}

static void say_settings(const struct settings *settings)
{
    static const char *const durabilities[] = {
        [SETTING_DURABILITY_SYNC] = "sync",
        [SETTING_DURABILITY_INTERVAL] = "interval",
        [SETTING_DURABILITY_OS] = "os",
    };
    char alive[DURATION_TEXT_BYTES], hidden[DURATION_TEXT_BYTES], leaving[DURATION_TEXT_BYTES];
    char gap[DURATION_TEXT_BYTES], frame[DURATION_TEXT_BYTES], interval[DURATION_TEXT_BYTES];
    log_line(LOG_INFO, "serve", "novabeat %s, data in %s", NOVABEAT_VERSION, settings->data);
    char records[256];
    records_label(settings->records, records, sizeof records); /* no password in logs */
    log_line(LOG_INFO, "serve", "live %s, records %s, durability %s, I/O threads %llu",
             settings->live, records, durabilities[settings->durability],
             (unsigned long long)settings->io_threads);
    log_line(LOG_INFO, "serve",
             "windows: alive %s, hidden %s, leaving %s, viewing gap %s; frame %s, interval %s",
             duration_format(settings->alive_window_ms, alive),
             duration_format(settings->hidden_window_ms, hidden),
             duration_format(settings->leaving_window_ms, leaving),
             duration_format(settings->viewing_gap_ms, gap),
             duration_format(settings->frame_ms, frame),
             duration_format(settings->interval_ms, interval));
    if (settings->auth == SETTING_AUTH_NONE) {
        log_line(LOG_WARN, "serve",
                 "AUTH IS OFF (--auth none): whoever reaches %s can send heartbeats for anybody, "
                 "read all figures, and change and erase everything",
                 settings->listen);
    }
}

static void say_listening(const struct settings *settings, uint16_t port)
{
    bool v6 = strchr(settings->listen_host, ':') != NULL;
    log_line(LOG_INFO, "serve", "listening on %s%s%s:%u", v6 ? "[" : "", settings->listen_host,
             v6 ? "]" : "", port);
}

/* ---- settings, taken to where they belong ---- */

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct records_profile_source profile_source_of(const struct settings *settings)
{
    return (struct records_profile_source){
        .database = text_or_null(settings->profiles_database),
        .query = text_or_null(settings->profiles_query),
        .count_query = text_or_null(settings->profiles_count_query),
    };
}

static struct live_options live_options_of(const struct settings *settings)
{
    static const enum live_durability durabilities[] = {
        [SETTING_DURABILITY_SYNC] = LIVE_SYNC,
        [SETTING_DURABILITY_INTERVAL] = LIVE_INTERVAL,
        [SETTING_DURABILITY_OS] = LIVE_OS,
    };
    return (struct live_options){
        .data = settings->data,
        .records = settings->records,
        .engine = settings_engine_config(settings),
        .durability = durabilities[settings->durability],
        .sync_gather_ms = settings->sync_gather_ms,
        .journal_segment_bytes = settings->journal_segment_bytes,
        .journal_max_bytes = settings->journal_max_bytes,
        .records_flush_ms = settings->records_flush_ms,
        .records_interval_ms = settings->records_interval_ms,
        .profile_timeout_ms = settings->profile_timeout_ms,
        .reject_unknown_viewers = settings->unknown_viewer == SETTING_UNKNOWN_VIEWER_REJECT,
        .declared_events = settings->events == SETTING_EVENTS_DECLARED,
        .profiles = profile_source_of(settings),
        .retain_events_ms = settings->retain_events_ms,
        .retain_viewers_ms = settings->retain_viewers_ms,
        .retain_viewings_ms = settings->retain_viewings_ms,
        .retain_frames_ms = settings->retain_frames_ms,
        .ports = (uint32_t)settings->io_threads,
        .requests_max = requests_max(settings),
    };
}

static unsigned country_headers_of(const struct settings *settings)
{
    static_assert(COUNTRY_HEADERS_MAX <= HTTP_WATCHED_MAX, "all can be watched");
    unsigned count = 0;
    while (settings->country_headers[count] != NULL) {
        count++;
    }
    return count;
}

static struct http_config http_config_of(const struct settings *settings)
{
    struct http_config config = {
        .host = settings->listen_host,
        .port = settings->listen_port,
        .workers = (unsigned)settings->io_threads,
        .connections_max = (unsigned)settings->connections_max,
        .head_bytes_max = REQUEST_HEAD_BYTES_MAX,
        .header_timeout_ms = (uint32_t)settings->header_timeout_ms,
        .body_timeout_ms = (uint32_t)settings->body_timeout_ms,
        .idle_timeout_ms = (uint32_t)settings->idle_timeout_ms,
        .write_timeout_ms = (uint32_t)settings->write_timeout_ms,
        .buffers_max = requests_max(settings),
    };
    for (unsigned i = 0; i < country_headers_of(settings); i++) {
        config.watched[i] = settings->country_headers[i];
    }
    return config;
}

static struct api_config api_config_of(const struct settings *settings, struct live *live,
                                       const struct gate *gate)
{
    return (struct api_config){
        .live = live,
        .workers = (unsigned)settings->io_threads,
        .interval_ms = settings->interval_ms,
        .session_pattern = slice_str(settings->session_pattern),
        .trusted_proxies = settings->trusted_proxies_networks,
        .trusted_proxies_count = settings->trusted_proxies_count,
        .country_headers = country_headers_of(settings),
        .tokens = gate->tokens,
        .country_db = gate->country_db,
        .cors = gate->cors,
        .viewer_rate = (uint32_t)settings->viewer_rate,
        .profiles_elsewhere = settings->profiles_query[0] != '\0',
        .batch_bytes_max = (uint32_t)settings->batch_bytes_max,
        .version = NOVABEAT_VERSION,
    };
}

/* ---- signals ---- */

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

/* Before any thread starts: all inherit the mask, so that only wait_for_signal takes them. */
static void block_signals(void)
{
    sigset_t set;
    stop_signals(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a peer that has gone is an error of write */
}

/* Until one that stops; meanwhile looks after what may change. */
static void wait_for_signal(struct server *server)
{
    const struct timespec second = {.tv_sec = 1};
    sigset_t set;
    stop_signals(&set);
    sigaddset(&set, SIGHUP);
    for (;;) {
        int number = sigtimedwait(&set, NULL, &second);
        if (number == SIGHUP) {
            log_line(LOG_INFO, "serve", "%s: reading keys again", strsignal(number));
            gate_reload(&server->gate, server->api);
        } else if (number > 0) {
            log_line(LOG_INFO, "serve", "%s: stopping; once more stops at once", strsignal(number));
            return;
        } else {
            gate_tick(&server->gate, server->api);
        }
    }
}

/* While live_start recovers, which may take long: a signal ends it early. */
struct start_watch {
    pthread_t thread;
    bool running;
    _Atomic bool over, stopped;
};

static void *watch_start(void *ctx)
{
    struct start_watch *watch = ctx;
    const struct timespec pause = {.tv_nsec = START_POLL_MS * 1000000L};
    sigset_t set;
    stop_signals(&set);
    while (!watch->over && !watch->stopped) {
        if (sigtimedwait(&set, NULL, &pause) > 0) {
            watch->stopped = true;
            live_start_cancel();
        }
    }
    return NULL;
}

static void watch_begin(struct start_watch *watch)
{
    *watch = (struct start_watch){.over = false};
    watch->running = pthread_create(&watch->thread, NULL, watch_start, watch) == 0;
}

/* True: it was a signal that came. */
static bool watch_end(struct start_watch *watch)
{
    watch->over = true;
    if (watch->running) {
        pthread_join(watch->thread, NULL);
    }
    return watch->stopped;
}

static void stop_at_once(int number)
{
    (void)number;
    _exit(EXIT_FAILED);
}

/* From now on a signal interrupts whatever the main thread is doing. */
static void arm_second_signal(void)
{
    sigset_t set;
    stop_signals(&set);
    struct sigaction action = {.sa_handler = stop_at_once};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- start and stop ---- */

/* False: said why, and nothing is left running; *stopped: it was told to. */
static bool start(struct server *server, const struct settings *settings, bool *stopped)
{
    char why[512] = "";
    const struct live_options live_options = live_options_of(settings);
    struct start_watch watch;
    watch_begin(&watch);
    enum err err = live_start(&live_options, &server->live, why, sizeof why);
    *stopped = watch_end(&watch);
    if (*stopped) {
        log_line(LOG_INFO, "serve", "stopped while starting; the data is as it was");
        if (err == ERR_NONE && live_stop(server->live) != ERR_NONE) {
            log_line(LOG_ERROR, "serve", "the engine did not stop well");
            *stopped = false;
        }
        return false;
    }
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "cannot start on %s: %s (%s)", settings->data, why,
                 err_text(err));
        return false;
    }
    if (!gate_open(&server->gate, settings)) {
        goto no_gate;
    }
    const struct api_config api_config = api_config_of(settings, server->live, &server->gate);
    server->api = api_new(&api_config);
    if (!gate_keys(&server->gate, server->api)) {
        goto no_http;
    }
    const struct http_config http_config = http_config_of(settings);
    const struct http_handler handler = api_handler(server->api);
    err = http_server_start(&http_config, &handler, &server->http, why, sizeof why);
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "%s", why);
        goto no_http;
    }
    api_attach(server->api, server->http);
    return true;
no_http:
    api_free(server->api);
    gate_close(&server->gate);
no_gate:
    if (live_stop(server->live) != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "the engine did not stop well");
    }
    return false;
}

static void nap(void)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    nanosleep(&pause, NULL);
}

static int stop(struct server *server, const struct settings *settings)
{
    int64_t until_ms = clock_mono_ms() + settings->drain_timeout_ms;
    http_server_drain(server->http);
    while (!http_server_drained(server->http) && clock_mono_ms() < until_ms) {
        nap();
    }
    if (!http_server_drained(server->http)) {
        log_line(LOG_WARN, "serve", "drain-timeout: some connections are cut off");
    }
    api_stop(server->api);
    until_ms = clock_mono_ms() + settings->drain_timeout_ms;
    while (!api_stopped(server->api)) {
        if (clock_mono_ms() >= until_ms) {
            /* The engine holds requests that lie in the connections' memory: nothing can be taken
             * down under it. */
            log_line(LOG_ERROR, "serve",
                     "the engine does not answer; leaving as it is (what was acknowledged is in "
                     "the journal)");
            _exit(EXIT_FAILED);
        }
        nap();
    }
    enum err err = live_stop(server->live);
    http_server_stop(server->http);
    api_free(server->api);
    gate_close(&server->gate);
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "stopped, but not well: %s", err_text(err));
        return EXIT_FAILED;
    }
    log_line(LOG_INFO, "serve", "stopped; everything is stored");
    return EXIT_WELL;
}

int command_serve(const struct settings *settings, int argc, char **argv)
{
    (void)argv;
    if (argc > 0) {
        fprintf(stderr, "novabeat: serve takes no arguments besides its settings\n");
        return EXIT_USAGE;
    }
    struct server server = {0};
    block_signals();
    memory_init();
    say_settings(settings);
    warn_of_descriptors(settings);
    say_bounds(settings);
    bool stopped = false;
    if (!start(&server, settings, &stopped)) {
        return stopped ? EXIT_WELL : EXIT_FAILED;
    }
    say_listening(settings, http_server_port(server.http));
    wait_for_signal(&server);
    arm_second_signal();
    return stop(&server, settings);
}
