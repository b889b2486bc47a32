/* A whole simulation against a small server in a thread of this process: an honest one must agree,
 * a troubled one (503, lost answers) must still agree within the bounds, and each kind of lie must
 * be found.  The server is naive: a row per viewer and audience, DESIGN's semantics word for word.
 */
#include "tap.h"

#include "cli/sim_response.h"
#include "cli/sim_run.h"

#include "base/slice.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define VIEWERS       150
#define SESSIONS      3
#define FDS_MAX       4096 /* all runs share the process's descriptors */
#define REQUEST_BYTES 2048
#define FRAME_MS      700
#define FRAMES_MAX    64

enum lie {
    LIE_NONE,
    LIE_TROUBLE,      /* not a lie: refuses, loses answers, loses requests */
    LIE_ACTIVE,       /* leases are a third too long */
    LIE_LEAVE,        /* a leave is ignored */
    LIE_PEAK,         /* the peak counts everybody who attended */
    LIE_SECOND_LOGIN, /* a viewer who returns after the gap is in the same viewing */
    LIE_COUNTRY,      /* the last country is forgotten */
    LIE_STARTED,      /* the viewings start a second early */
    LIE_FRAME,        /* a hidden heartbeat counts in no frame */
    LIE_END,
};

struct row {
    bool joined;
    int64_t expiry, starts[8], ends[8];
    int viewings;
    int frame; /* the latest one, from 1 */
};

struct server {
    struct sim_windows windows;
    enum lie lie;
    int listener, epoll_fd;
    uint16_t port;
    pthread_t thread;
    _Atomic bool stop;
    uint64_t random;
    struct row rows[VIEWERS][SESSIONS + 1];
    char country[VIEWERS][3];
    int64_t peak[SESSIONS + 1], peak_at[SESSIONS + 1];
    int64_t first_frame;
    int64_t frames[FRAMES_MAX][SESSIONS + 1][SIM_COUNTRIES];
    size_t len[FDS_MAX];
    char in[FDS_MAX][REQUEST_BYTES];
};

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- counting ---- */

static int64_t active(const struct server *server, int audience, int64_t now)
{
    int64_t alive = 0;
    for (int i = 0; i < VIEWERS; i++) {
        const struct row *row = &server->rows[i][audience];
        alive += row->joined && now <= row->expiry;
    }
    return alive;
}

static int64_t attended(const struct server *server, int audience)
{
    int64_t count = 0;
    for (int i = 0; i < VIEWERS; i++) {
        count += server->rows[i][audience].joined;
    }
    return count;
}

static int country_of(const char *country)
{
    uint8_t i = 0;
    while (strcmp(sim_plan_country(i), country) != 0) {
        i++;
    }
    return i;
}

static void beat(struct server *server, int viewer, int audience, bool hidden, bool leaving,
                 int64_t now)
{
    struct row *row = &server->rows[viewer][audience];
    const struct sim_windows *windows = &server->windows;
    int last = row->viewings - 1;
    if (leaving) {
        if (row->joined && server->lie != LIE_LEAVE && now + windows->leaving_ms < row->expiry) {
            row->expiry = now + windows->leaving_ms;
        }
        if (row->joined && now - row->ends[last] <= windows->gap_ms) {
            row->ends[last] = now;
        }
        return;
    }
    row->expiry = now + (hidden ? windows->hidden_ms : windows->alive_ms);
    row->expiry += server->lie == LIE_ACTIVE ? windows->alive_ms / 3 : 0;
    bool same = row->joined &&
                (now - row->ends[last] <= windows->gap_ms || server->lie == LIE_SECOND_LOGIN);
    if (!same) {
        last = row->viewings++;
        row->starts[last] = now - (server->lie == LIE_STARTED ? 1000 : 0);
    }
    row->ends[last] = now;
    row->joined = true;
    int frame = (int)(now / FRAME_MS - server->first_frame) + 1;
    bool counted = !hidden || server->lie != LIE_FRAME;
    if (frame <= FRAMES_MAX && row->frame != frame && counted) {
        row->frame = frame;
        server->frames[frame - 1][audience][country_of(server->country[viewer])]++;
    }
    int64_t alive =
        server->lie == LIE_PEAK ? attended(server, audience) : active(server, audience, now);
    if (alive > server->peak[audience]) {
        server->peak[audience] = alive;
        server->peak_at[audience] = now;
    }
}

/* ---- answers ---- */

static json_t *audience_overview(const struct server *server, int audience, int64_t now)
{
    int64_t logins = 0, total = 0;
    for (int i = 0; i < VIEWERS; i++) {
        const struct row *row = &server->rows[i][audience];
        logins += row->viewings;
        for (int k = 0; k < row->viewings; k++) {
            total += row->ends[k] - row->starts[k];
        }
    }
    return json_pack("{s:I,s:I,s:I,s:I,s:{s:I,s:I},s:I}", "timestamp", (json_int_t)now, "active",
                     (json_int_t)active(server, audience, now), "attended",
                     (json_int_t)attended(server, audience), "logins", (json_int_t)logins,
                     "maxConcurrent", "count", (json_int_t)server->peak[audience], "at",
                     (json_int_t)server->peak_at[audience], "totalViewingMs", (json_int_t)total);
}

static json_t *overview(const struct server *server, int64_t now)
{
    json_t *root = audience_overview(server, 0, now), *sessions = json_array();
    for (int i = 1; i <= SESSIONS; i++) {
        json_t *part = audience_overview(server, i, now);
        json_object_set_new(part, "sessionId", json_sprintf("s%d", i));
        json_array_append_new(sessions, part);
    }
    json_object_set_new(root, "sessions", sessions);
    return root;
}

static json_t *live(const struct server *server, int audience, int64_t now)
{
    json_t *countries = json_object();
    for (int i = 0; i < VIEWERS; i++) {
        const struct row *row = &server->rows[i][audience];
        const char *country = server->country[i];
        if (row->joined && now <= row->expiry &&
            !(server->lie == LIE_COUNTRY && strcmp(country, "HK") == 0)) {
            json_int_t count = json_integer_value(json_object_get(countries, country));
            json_object_set_new(countries, country, json_integer(count + 1));
        }
    }
    return json_pack("{s:I,s:I,s:{},s:o}", "viewerCount", (json_int_t)active(server, audience, now),
                     "timestamp", (json_int_t)now, "countByUserGroup", "countByViewingCountry",
                     countries);
}

/* Those that are over; one in which nobody was is left out. */
static json_t *statistics(const struct server *server, int audience, int64_t now)
{
    json_t *frames = json_array();
    for (int i = 0; i < FRAMES_MAX; i++) {
        int64_t start = (server->first_frame + i) * FRAME_MS, count = 0;
        json_t *countries = json_object();
        for (uint8_t k = 0; k < SIM_COUNTRIES; k++) {
            int64_t here = server->frames[i][audience][k];
            count += here;
            if (here > 0) {
                json_object_set_new(countries, sim_plan_country(k), json_integer(here));
            }
        }
        json_t *frame = json_pack("{s:I,s:I,s:I,s:o}", "viewerCount", (json_int_t)count,
                                  "timestamp", (json_int_t)(start + FRAME_MS), "frameStart",
                                  (json_int_t)start, "countByViewingCountry", countries);
        if (start + FRAME_MS <= now && count > 0) {
            json_array_append(frames, frame);
        }
        json_decref(frame);
    }
    return json_pack("{s:o}", "statistics", frames);
}

static json_t *viewer(const struct server *server, int number)
{
    json_t *viewings = json_array();
    for (int audience = 0; audience <= SESSIONS; audience++) {
        const struct row *row = &server->rows[number][audience];
        for (int k = 0; k < row->viewings; k++) {
            json_t *viewing = json_pack("{s:I,s:I}", "startedMs", (json_int_t)row->starts[k],
                                        "endedMs", (json_int_t)row->ends[k]);
            if (audience > 0) {
                json_object_set_new(viewing, "sessionId", json_sprintf("s%d", audience));
            }
            json_array_append_new(viewings, viewing);
        }
    }
    return json_pack("{s:o}", "viewings", viewings);
}

/* The session number after "/sessions/s", or 0. */
static int session_of(const char *text)
{
    const char *at = strstr(text, "/sessions/s");
    return at == NULL ? 0 : atoi(at + strlen("/sessions/s"));
}

static int viewer_of(const char *text)
{
    const char *at = strstr(text, "sim-");
    return at == NULL ? -1 : atoi(strchr(strchr(at + 4, '-') + 1, '-') + 1);
}

static json_t *get(const struct server *server, const char *line)
{
    int64_t now = wall_ms();
    int audience = session_of(line);
    int64_t count, at = 0;
    if (strstr(line, "/statistics/live") != NULL) {
        return live(server, audience, now);
    }
    if (strstr(line, "/statistics?") != NULL) {
        return statistics(server, audience, now);
    }
    if (strstr(line, "/overview") != NULL) {
        return overview(server, now);
    }
    if (strstr(line, "active-count") != NULL) {
        count = active(server, audience, now);
    } else if (strstr(line, "total-attended-count") != NULL) {
        count = attended(server, audience);
    } else if (strstr(line, "max-concurrent-count") != NULL) {
        count = server->peak[audience];
        at = server->peak_at[audience];
    } else {
        return viewer(server, viewer_of(strstr(line, "/viewers/")));
    }
    return json_pack("{s:I,s:I,s:I}", "count", (json_int_t)count, "at", (json_int_t)at, "timestamp",
                     (json_int_t)now);
}

static void post(struct server *server, const char *request, const char *body)
{
    int64_t now = wall_ms();
    int number = viewer_of(body), session = session_of(body);
    if (number >= VIEWERS) {
        return; /* one who never was */
    }
    bool hidden = strstr(body, "\"hidden\":true") != NULL;
    bool leaving = strstr(body, "\"leaving\":true") != NULL;
    memcpy(server->country[number], strstr(request, "CF-IPCountry: ") + 14, 2);
    beat(server, number, 0, hidden, leaving, now);
    if (session > 0) {
        beat(server, number, session, hidden, leaving, now);
    }
}

/* ---- bytes ---- */

static bool respond(int fd, const char *head, const char *body)
{
    char text[65536];
    int len =
        snprintf(text, sizeof(text), "%sContent-Length: %zu\r\n\r\n%s", head, strlen(body), body);
    return send(fd, text, (size_t)len, MSG_NOSIGNAL) == len;
}

/* A whole request; false closes the connection. */
static bool handle(struct server *server, int fd, const char *request, const char *body)
{
    if (strncmp(request, "GET ", 4) == 0) {
        char line[512];
        snprintf(line, sizeof(line), "%.*s", (int)strcspn(request, "\r"), request);
        json_t *json = get(server, line);
        char *text = json_dumps(json, JSON_COMPACT);
        bool well = respond(fd, "HTTP/1.1 200 OK\r\n", text);
        free(text);
        json_decref(json);
        return well;
    }
    uint64_t dice = server->lie == LIE_TROUBLE ? sim_random_below(&server->random, 100) : 100;
    if (dice < 2) {
        return false; /* lost before it counts */
    }
    if (dice < 4) {
        return respond(fd, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n", "");
    }
    post(server, request, body);
    return dice >= 6 /* else lost after it counts */
           && respond(fd, "HTTP/1.1 200 OK\r\n", "{\"intervalMs\":200}");
}

static bool receive(struct server *server, int fd)
{
    char *in = server->in[fd];
    ssize_t got = recv(fd, in + server->len[fd], REQUEST_BYTES - 1 - server->len[fd], 0);
    if (got <= 0) {
        return false;
    }
    server->len[fd] += (size_t)got;
    in[server->len[fd]] = '\0';
    const char *end = strstr(in, "\r\n\r\n");
    if (end == NULL) {
        return true;
    }
    const char *length = strstr(in, "Content-Length: ");
    size_t body = length == NULL ? 0 : (size_t)atoi(length + 16);
    if (server->len[fd] < (size_t)(end + 4 - in) + body) {
        return true;
    }
    server->len[fd] = 0;
    return handle(server, fd, in, end + 4);
}

static void *serve(void *argument)
{
    struct server *server = argument;
    while (!atomic_load(&server->stop)) {
        struct epoll_event ready[64];
        int count = epoll_wait(server->epoll_fd, ready, 64, 20);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == server->listener) {
                fd = accept(server->listener, NULL, NULL);
                if (fd >= 0 && fd < FDS_MAX) {
                    struct epoll_event watched = {.events = EPOLLIN, .data.fd = fd};
                    server->len[fd] = 0;
                    epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &watched);
                }
            } else if (!receive(server, fd)) {
                close(fd);
            }
        }
    }
    return NULL;
}

/* NULL when the system does not let it. */
static struct server *server_start(const struct sim_windows *windows, enum lie lie)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    server->windows = *windows;
    server->lie = lie;
    server->random = 11;
    server->first_frame = wall_ms() / FRAME_MS;
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    server->epoll_fd = epoll_create1(0);
    if (bind(server->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(server->listener, 512) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &len) != 0) {
        return NULL;
    }
    server->port = ntohs(address.sin_port);
    struct epoll_event watched = {.events = EPOLLIN, .data.fd = server->listener};
    epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listener, &watched);
    return pthread_create(&server->thread, NULL, serve, server) == 0 ? server : NULL;
}

/* Open connections end with the client. */
static void server_stop(struct server *server)
{
    atomic_store(&server->stop, true);
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->epoll_fd);
    free(server);
}

/* ---- the runs ---- */

static const struct sim_windows windows = {
    .alive_ms = 600, .hidden_ms = 900, .leaving_ms = 300, .gap_ms = 950, .drift_permille = 10};

struct outcome {
    size_t agree, within, wrong;
    uint64_t acknowledged, troubles;
    uint32_t frames;
};

/* One run.  No assertions here: several run at once, in threads. */
struct simulation {
    enum lie lie;
    uint32_t connections;
    bool played;
    struct outcome outcome;
};

static void outcome_read(struct simulation *simulation, struct sim_run *run)
{
    const struct sim_figures *figures = sim_run_figures(run);
    const struct sim_totals *totals = sim_run_totals(run);
    struct outcome outcome = {
        .agree = sim_figures_count(figures, SIM_AGREES),
        .within = sim_figures_count(figures, SIM_WITHIN),
        .wrong = sim_figures_count(figures, SIM_DIFFERS) + sim_figures_count(figures, SIM_MISSING),
        .acknowledged = totals->acknowledged,
        .frames = sim_run_frames(run),
        .troubles = totals->busy + totals->lost,
    };
    char first[200] = "";
    for (size_t i = 0; i < figures->count && first[0] == '\0'; i++) {
        const struct sim_figure *figure = &figures->figures[i];
        if (figure->verdict == SIM_DIFFERS || figure->verdict == SIM_MISSING) {
            snprintf(first, sizeof(first), "; %s: %lld to %lld, server %lld", figure->label,
                     (long long)figure->expected.lo, (long long)figure->expected.hi,
                     (long long)figure->server);
        }
    }
    printf("# lie %d: %zu agree, %zu within, %zu wrong; %llu beats, %llu troubles%s\n",
           (int)simulation->lie, outcome.agree, outcome.within, outcome.wrong,
           (unsigned long long)outcome.acknowledged, (unsigned long long)outcome.troubles, first);
    simulation->outcome = outcome;
}

static void *simulate(void *argument)
{
    struct simulation *simulation = argument;
    struct server *server = server_start(&windows, simulation->lie);
    struct sim_run_options options = {
        .world = {"E", "127.0.0.1", 4711, 1, VIEWERS, SESSIONS},
        .plan = {windows, 0, 3000, VIEWERS, SESSIONS, 4711},
        .frame_ms = FRAME_MS,
        .connections = simulation->connections,
        .sample = 30,
        .quiet = true,
    };
    if (server == NULL) {
        return NULL;
    }
    char url[64], why[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server->port);
    struct sim_run *run = NULL;
    if (sim_target_parse(url, &options.target) == ERR_NONE &&
        sim_run_new(&options, &run, why, sizeof(why)) == ERR_NONE &&
        sim_run_begin(run, why, sizeof(why)) == ERR_NONE) {
        sim_run_play(run);
        simulation->played = true;
        outcome_read(simulation, run);
    }
    sim_run_free(run);
    server_stop(server);
    return NULL;
}

static void test_honest_server_agrees(void **state)
{
    (void)state;
    struct simulation simulation = {.lie = LIE_NONE, .connections = VIEWERS};
    simulate(&simulation);
    assert_true(simulation.played);
    assert_int_equal(simulation.outcome.wrong, 0);
    assert_true(simulation.outcome.agree > 300);
    assert_true(simulation.outcome.frames >= 3);
    assert_true(simulation.outcome.acknowledged > 5 * VIEWERS);
}

static void test_troubled_server_is_within(void **state)
{
    (void)state;
    struct simulation simulation = {.lie = LIE_TROUBLE, .connections = 20}; /* and shared ones */
    simulate(&simulation);
    assert_true(simulation.played);
    assert_int_equal(simulation.outcome.wrong, 0);
    assert_true(simulation.outcome.troubles > 10);
}

/* All at once: they mostly wait. */
static void test_lies_are_found(void **state)
{
    (void)state;
    assert_true(sim_client_connections_max() > 14 * VIEWERS); /* both ends of seven runs */
    struct simulation simulations[LIE_END];
    pthread_t threads[LIE_END];
    for (enum lie lie = LIE_ACTIVE; lie < LIE_END; lie++) {
        simulations[lie] = (struct simulation){.lie = lie, .connections = VIEWERS};
        assert_int_equal(pthread_create(&threads[lie], NULL, simulate, &simulations[lie]), 0);
    }
    for (enum lie lie = LIE_ACTIVE; lie < LIE_END; lie++) {
        pthread_join(threads[lie], NULL);
    }
    for (enum lie lie = LIE_ACTIVE; lie < LIE_END; lie++) {
        assert_true(simulations[lie].played);
        assert_true(simulations[lie].outcome.wrong > 0);
    }
}

/* ---- parts ---- */

static void test_response_parser(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sim_response_outcome outcome;
        int status, retry_after_s;
        size_t body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", SIM_RESPONSE_WHOLE, 200, -1, 2},
        {"HTTP/1.1 204 No Content\r\n\r\n", SIM_RESPONSE_WHOLE, 204, -1, 0},
        {"HTTP/1.1 503 No\r\nretry-after: 7 \r\nCONTENT-LENGTH:0\r\n\r\n", SIM_RESPONSE_WHOLE, 503,
         7, 0},
        {"HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", SIM_RESPONSE_WHOLE,
         503, -1, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}x", SIM_RESPONSE_WRONG, 0, 0, 0},
        {"HTTP/1.1 200 OK\r\n\r\n", SIM_RESPONSE_WRONG, 0, 0, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", SIM_RESPONSE_WRONG,
         0, 0, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", SIM_RESPONSE_WRONG, 0, 0, 0},
        {"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", SIM_RESPONSE_WRONG, 0, 0, 0},
        {"SSH-2.0-server\r\n\r\n", SIM_RESPONSE_WRONG, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_response response;
        struct slice text = slice_str(cases[i].text);
        assert_int_equal(sim_response_parse(text, &response), cases[i].outcome);
        if (cases[i].outcome != SIM_RESPONSE_WHOLE) {
            continue;
        }
        assert_int_equal(response.status, cases[i].status);
        assert_int_equal(response.retry_after_s, cases[i].retry_after_s);
        assert_int_equal(response.body.len, cases[i].body);
        for (size_t len = 0; len < text.len; len++) { /* every part asks for more */
            assert_int_equal(sim_response_parse(slice_of(text.ptr, len), &response),
                             SIM_RESPONSE_PART);
        }
    }
}

static void test_targets(void **state)
{
    (void)state;
    struct sim_target target;
    assert_int_equal(sim_target_parse("http://[::1]:81/", &target), ERR_NONE);
    assert_string_equal(target.host, "[::1]:81");
    assert_string_equal(target.name, "::1");
    assert_string_equal(target.port, "81");
    assert_int_equal(sim_target_parse("http://live.example", &target), ERR_NONE);
    assert_string_equal(target.port, "80");
    static const char *const wrong[] = {
        "",          "127.0.0.1:1", "https://a",   "http://",        "http://:80",
        "http://a:", "http://a/b",  "http://[::1", "http://a:123456"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(sim_target_parse(wrong[i], &target), ERR_INVALID);
    }
}

static void test_latency_quantiles(void **state)
{
    (void)state;
    static struct sim_latency latency;
    for (int64_t us = 1; us <= 100000; us++) {
        sim_latency_add(&latency, us);
    }
    sim_latency_add(&latency, 7654321);
    static const struct {
        uint32_t permille;
        int64_t us;
    } cases[] = {{1, 101}, {500, 50001}, {990, 99001}, {999, 99901}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t us = sim_latency_quantile(&latency, cases[i].permille);
        assert_true(us >= cases[i].us && us <= cases[i].us + cases[i].us / 64 + 1);
    }
    assert_int_equal(sim_latency_quantile(&latency, 1000), 7654321);
    assert_int_equal(latency.max_us, 7654321);
}

static void frames_beat(struct sim_frames *frames, struct sim_frame_mark *mark, int64_t lo,
                        int64_t hi, bool acknowledged)
{
    sim_frames_beat(frames, 1, mark, 2, (struct sim_range){lo, hi}, acknowledged);
}

static void expect_frame(const struct sim_frames *frames, uint32_t number, int64_t lo, int64_t hi)
{
    const struct sim_frame *frame = sim_frames_get(frames, 1, number);
    assert_int_equal(frame->viewers.lo, lo);
    assert_int_equal(frame->viewers.hi, hi);
    assert_int_equal(frame->countries[2].lo, lo);
    assert_int_equal(frame->countries[2].hi, hi);
    assert_int_equal(sim_frames_get(frames, 0, number)->viewers.hi, 0);
}

static void test_frames_count_once(void **state)
{
    (void)state;
    struct sim_frames frames;
    struct sim_frame_mark ada = {0, 0}, bob = {0, 0};
    sim_frames_init(&frames, 1000, 4500, 3000, 1, true);
    assert_int_equal(frames.first_ms, 5000);
    assert_int_equal(frames.frames_count, 5);
    frames_beat(&frames, &ada, 4000, 4999, true); /* before the first */
    frames_beat(&frames, &ada, 4990, 5010, true); /* perhaps in the first */
    expect_frame(&frames, 0, 0, 1);
    frames_beat(&frames, &ada, 5500, 5500, false); /* and no more certain */
    expect_frame(&frames, 0, 0, 1);
    frames_beat(&frames, &ada, 5900, 5999, true); /* now it is */
    frames_beat(&frames, &ada, 5999, 5999, true);
    expect_frame(&frames, 0, 1, 1);
    frames_beat(&frames, &bob, 5000, 5000, true);
    expect_frame(&frames, 0, 2, 2);
    frames_beat(&frames, &bob, 5999, 6000, true); /* perhaps in the second */
    frames_beat(&frames, &bob, 5999, 6000, true);
    expect_frame(&frames, 0, 2, 2);
    expect_frame(&frames, 1, 0, 1);
    frames_beat(&frames, &bob, 8100, 10100, false); /* lost for two seconds */
    expect_frame(&frames, 2, 0, 0);
    expect_frame(&frames, 3, 0, 1);
    expect_frame(&frames, 4, 0, 1);
    frames_beat(&frames, &bob, 10100, 10200, true); /* after the last */
    expect_frame(&frames, 4, 0, 1);
    assert_int_equal(sim_frames_over(&frames, 4000), 0);
    assert_int_equal(sim_frames_over(&frames, 5999), 0);
    assert_int_equal(sim_frames_over(&frames, 6000), 1);
    assert_int_equal(sim_frames_over(&frames, 99999), 5);
    sim_frames_fini(&frames);
}

static void test_base_peak(void **state)
{
    (void)state;
    static const struct {
        int64_t before, lo, hi;            /* of the time before, and of the run */
        int64_t count_lo, count_hi, at_lo; /* expected */
    } cases[] = {
        {0, 5, 5, 5, 5, 70}, /* a new event */
        {5, 5, 5, 5, 5, 9},  /* reached again: the first time stays */
        {9, 5, 7, 9, 9, 9},  /* never reached */
        {4, 5, 7, 5, 7, 70}, /* exceeded for certain */
        {6, 5, 7, 6, 7, 9},  /* perhaps */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_base_audience before = {.peak = cases[i].before, .peak_at = 9};
        struct sim_peak run = {{cases[i].lo, cases[i].hi}, {70, 80}};
        struct sim_peak peak = sim_base_peak(&before, run);
        assert_int_equal(peak.count.lo, cases[i].count_lo);
        assert_int_equal(peak.count.hi, cases[i].count_hi);
        assert_int_equal(peak.at.lo, cases[i].at_lo);
        assert_true(peak.at.lo == 9 || peak.at.hi == 80);
    }
}

/* Others' leases: all of them may be alive until they must have ended. */
static void test_others(void **state)
{
    (void)state;
    struct sim_reference *reference = sim_reference_new(&windows, 2, 1);
    sim_reference_others(reference, 1, 3, (struct sim_stretch){0, 500});
    sim_reference_beat(reference, 0, 1, SIM_VISIBLE, (struct sim_range){100, 110}, SIM_COUNTED);
    sim_reference_beat(reference, 1, 1, SIM_VISIBLE, (struct sim_range){501, 502}, SIM_COUNTED);
    struct sim_range active = sim_reference_active(reference, 1, (struct sim_range){495, 500});
    assert_true(active.lo == 1 && active.hi == 4);
    active = sim_reference_active(reference, 1, (struct sim_range){503, 504});
    assert_true(active.lo == 2 && active.hi == 2);
    active = sim_reference_active(reference, 0, (struct sim_range){200, 200});
    assert_true(active.lo == 1 && active.hi == 1);
    struct sim_peak peak = sim_reference_peak(reference, 1);
    assert_true(peak.count.lo == 2 && peak.count.hi == 4);
    assert_true(sim_reference_attended(reference, 1).hi == 2);
    sim_reference_free(reference);
}

static void test_lasting_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/novabeat-sim-XXXXXX", path[64], why[256], *event;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/state", folder);
    struct sim_world world = {"E", "h", UINT64_MAX - 1, 17, 2, 1}, read_world = {.host = "h"};
    struct sim_base_audience before[2] = {{.attended = 5, .logins = 7}, {.peak = 3, .peak_at = 9}};
    struct sim_base base = {.audiences = before, .audiences_count = 2};
    const uint8_t country_of[2] = {0, 3};
    struct sim_frames frames;
    sim_frames_init(&frames, 1000, 1000001, 5000, 1, true); /* the first one begins at 1,001,000 */

    struct sim_reference *reference = sim_reference_new(&windows, 2, 1);
    struct sim_asker asker = {.world = &world, .offset_ms = {1000000, 1000007}};
    sim_reference_frames(reference, &frames, country_of, asker.offset_ms);
    sim_reference_beat(reference, 0, 1, SIM_VISIBLE, (struct sim_range){10, 20}, SIM_COUNTED);
    sim_reference_beat(reference, 0, 1, SIM_VISIBLE, (struct sim_range){5000, 5020}, SIM_COUNTED);
    sim_reference_beat(reference, 1, 0, SIM_VISIBLE, (struct sim_range){30, 35}, SIM_UNCERTAIN);
    struct sim_lasting made, loaded;
    uint32_t frames_count = frames.frames_count;
    sim_lasting_make(&made, reference, &base, &frames, &asker, 5);
    assert_int_equal(sim_lasting_save(&made, &world, path), ERR_NONE);
    assert_int_equal(sim_lasting_load(&loaded, &read_world, &event, path, why, sizeof(why)),
                     ERR_NONE);
    assert_string_equal(event, "E");
    assert_true(read_world.seed == world.seed && read_world.viewers == 2);
    assert_true(read_world.run == world.run);
    assert_int_equal(loaded.audiences_count, 2);
    assert_int_equal(loaded.audiences[0].attended.lo, 6);
    assert_int_equal(loaded.audiences[0].attended.hi, 7);
    assert_int_equal(loaded.audiences[0].logins.lo, 9);
    assert_int_equal(loaded.audiences[1].peak.count.hi, 3);
    assert_int_equal(loaded.audiences[1].peak.at.lo, 9);
    assert_int_equal(loaded.frames.first_ms, 1001000);
    assert_int_equal(loaded.frames.frames_count, frames_count);
    assert_memory_equal(loaded.frames.frames, made.frames.frames,
                        2 * frames_count * sizeof(struct sim_frame));
    assert_int_equal(loaded.audiences[1].logins.lo, 2);
    assert_int_equal(loaded.sample_count, 2);
    assert_int_equal(loaded.sample[0].viewings_count, 2);
    assert_int_equal(loaded.sample[0].viewings[1].spans[1].start.lo, 1005000);
    assert_int_equal(loaded.sample[0].viewings[1].spans[1].start.hi, 1005027);
    assert_memory_equal(&made.audiences[1], &loaded.audiences[1], sizeof(*made.audiences));
    assert_false(loaded.audiences[0].viewing_known);
    sim_lasting_fini(&loaded);
    free(event);
    FILE *file = fopen(path, "w");
    fputs("{\"format\":2,\"event\":\"E\",\"seed\":\"1\",\"sessions\":3,\"audiences\":[]}", file);
    fclose(file);
    assert_int_equal(sim_lasting_load(&loaded, &read_world, &event, path, why, sizeof(why)),
                     ERR_INVALID);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sim_lasting_load(&loaded, &read_world, &event, path, why, sizeof(why)),
                     ERR_IO);
    assert_int_equal(rmdir(folder), 0);
    sim_lasting_fini(&made);
    sim_reference_free(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_response_parser),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_latency_quantiles),
        cmocka_unit_test(test_frames_count_once),
        cmocka_unit_test(test_base_peak),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_lasting_file),
        cmocka_unit_test(test_honest_server_agrees),
        cmocka_unit_test(test_troubled_server_is_within),
        cmocka_unit_test(test_lies_are_found),
    };
    return tap_run(tests);
}
