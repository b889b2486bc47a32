/* load.c -- a load generator: a fixed number of requests over keep-alive connections, one epoll
 * loop, and the CPU time that the server used for them.
 *
 *     load --port 8080 [--host 127.0.0.1] [--connections 1000] [--requests 1000000] [--method POST]
 *          [--path /] [--body TEXT] [--header "Name: value"]… [--pid PID] [--pipeline 1]
 *          [--rate 0] [--tokens FILE]
 *
 * "%d" in path, body or header becomes the connection's number, the same for its whole life: a
 * viewer.  Each connection has `pipeline` requests under way at any moment (a closed loop).  With
 * --rate N, N requests a second are begun, the connections in turn, whatever the answers do (an
 * open loop: latency counts from when a request was due).  With --pid, the server's user and system
 * time (/proc/PID/stat, all threads) is read before and after. The last line is for scripts:
 * key=value.  Line i of --tokens is what connection i shows as "Authorization: Bearer ...".  Exit 1
 * when an answer was not 2xx or a connection broke.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES   4096
#define ANSWER_BYTES 16384
#define HEADERS_MAX  16

static struct {
    const char *host, *method, *path, *body;
    FILE *tokens; /* a line per connection */
    const char *headers[HEADERS_MAX];
    unsigned headers_count;
    unsigned port, connections, pipeline;
    uint64_t requests, rate;
    long pid;
} options = {.host = "127.0.0.1",
             .method = "GET",
             .path = "/",
             .connections = 1000,
             .pipeline = 1,
             .requests = 1000000};

struct peer {
    int fd;
    unsigned under_way;
    size_t request_bytes, have; /* have: bytes of an incomplete answer */
    uint64_t sent_ns;           /* or due */
    unsigned owed;              /* --rate: due, but the one before is not answered yet */
    uint64_t owed_ns;           /* the first of them */
    char *request;              /* `pipeline` times */
    char *answer;
};

static int epoll_fd;
static uint64_t started, finished, bad;
static uint32_t latency_us[1 << 20]; /* a histogram; the last bucket takes the rest */

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- the server's CPU time ---- */

static uint64_t server_ticks(void)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", options.pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        die(path);
    }
    size_t len = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[len] = '\0';
    char *after_name = strrchr(text, ')');
    if (after_name == NULL || sscanf(after_name,
                                     ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
                                     "%lu %lu",
                                     &user, &system) != 2) {
        die("cannot read /proc/PID/stat");
    }
    return user + system;
}

/* ---- requests ---- */

/* Appends text with "%d" replaced. */
static size_t put(char *out, size_t at, const char *text, unsigned number)
{
    for (; *text != '\0' && at + 16 < TEXT_BYTES; text++) {
        if (text[0] == '%' && text[1] == 'd') {
            at += (size_t)sprintf(out + at, "%u", number);
            text++;
        } else {
            out[at++] = *text;
        }
    }
    out[at] = '\0';
    return at;
}

static void peer_prepare(struct peer *peer, unsigned number)
{
    char body[TEXT_BYTES] = "", text[TEXT_BYTES];
    size_t body_len = options.body == NULL ? 0 : put(body, 0, options.body, number);
    size_t len = put(text, 0, options.method, number);
    len = put(text, len, " ", number);
    len = put(text, len, options.path, number);
    len = put(text, len, " HTTP/1.1\r\nHost: localhost\r\n", number);
    for (unsigned i = 0; i < options.headers_count; i++) {
        len = put(text, len, options.headers[i], number);
        len = put(text, len, "\r\n", number);
    }
    char token[TEXT_BYTES];
    if (options.tokens != NULL && fgets(token, sizeof token, options.tokens) != NULL) {
        token[strcspn(token, "\n")] = '\0';
        len = put(text, len, "Authorization: Bearer ", number);
        len = put(text, len, token, number);
        len = put(text, len, "\r\n", number);
    }
    if (options.body != NULL) {
        char length[64];
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_len);
        len = put(text, len, length, number);
    }
    len = put(text, len, "\r\n", number);
    if (len + body_len >= TEXT_BYTES - 32) {
        fprintf(stderr, "load: the request is too long\n");
        exit(2);
    }
    memcpy(text + len, body, body_len);
    peer->request_bytes = len + body_len;
    peer->request = malloc(peer->request_bytes * options.pipeline);
    peer->answer = malloc(ANSWER_BYTES);
    if (peer->request == NULL || peer->answer == NULL) {
        die("memory");
    }
    for (unsigned i = 0; i < options.pipeline; i++) {
        memcpy(peer->request + i * peer->request_bytes, text, peer->request_bytes);
    }
}

static void peer_send(struct peer *peer, unsigned count)
{
    if (count > options.requests - started) {
        count = (unsigned)(options.requests - started);
    }
    if (count == 0) {
        return;
    }
    size_t bytes = count * peer->request_bytes;
    peer->sent_ns = now_ns();
    /* A socket buffer holds far more than a request: a short write would be a broken set-up. */
    if (send(peer->fd, peer->request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) {
        die("send");
    }
    peer->under_way += count;
    started += count;
}

static void peer_dial(struct peer *peer, unsigned number)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int on = 1;
    if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1) {
        errno = EINVAL;
        die(options.host);
    }
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || connect(peer->fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        die("connect");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
        die("epoll_ctl");
    }
    peer_prepare(peer, number);
}

/* --rate: begins what is due by now; gives the ms until the next one is. */
static int send_due(struct peer *peers, uint64_t begin_ns)
{
    static uint64_t due; /* how many were */
    uint64_t now = now_ns();
    while (due < options.requests) {
        uint64_t due_ns = begin_ns + due * 1000000000u / options.rate;
        if (due_ns > now) {
            return (int)((due_ns - now) / 1000000) + 1; /* sleeps rather than spins */
        }
        struct peer *peer = &peers[due++ % options.connections];
        if (peer->under_way > 0) {
            peer->owed_ns = peer->owed++ == 0 ? due_ns : peer->owed_ns;
        } else {
            peer_send(peer, 1);
            peer->sent_ns = due_ns;
        }
    }
    return 10000;
}

/* ---- answers ---- */

/* The length of the first whole answer, 0 when it is incomplete. */
static size_t answer_bytes(const char *text, size_t len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end + 4 - text), body = 0;
    const char *length = memmem(text, head, "Content-Length: ", 16);
    if (length != NULL) {
        body = strtoul(length + 16, NULL, 10);
    }
    return head + body <= len ? head + body : 0;
}

static void peer_receive(struct peer *peer)
{
    ssize_t got =
        recv(peer->fd, peer->answer + peer->have, ANSWER_BYTES - peer->have, MSG_DONTWAIT);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        fprintf(stderr, "load: the server closed a connection\n");
        exit(1);
    }
    peer->have += (size_t)got;
    size_t at = 0, bytes;
    unsigned answers = 0;
    while ((bytes = answer_bytes(peer->answer + at, peer->have - at)) > 0) {
        if (peer->answer[at + 9] != '2') {
            if (bad++ == 0) {
                fprintf(stderr, "load: %.*s\n", (int)bytes, peer->answer + at);
            }
        }
        at += bytes;
        answers++;
    }
    peer->have -= at;
    memmove(peer->answer, peer->answer + at, peer->have);
    if (answers > 0) {
        uint64_t us = (now_ns() - peer->sent_ns) / 1000;
        size_t buckets = sizeof latency_us / sizeof latency_us[0];
        latency_us[us < buckets ? us : buckets - 1] += answers;
        finished += answers;
        peer->under_way -= answers;
        if (options.rate == 0) {
            peer_send(peer, options.pipeline - peer->under_way);
        } else if (peer->owed > 0) {
            peer->owed--;
            peer_send(peer, 1);
            peer->sent_ns = peer->owed_ns; /* later ones of the same peer count from here too */
        }
    }
}

static uint32_t percentile(double share)
{
    uint64_t wanted = (uint64_t)((double)finished * share), seen = 0;
    uint32_t us = 0;
    for (; us < sizeof latency_us / sizeof latency_us[0]; us++) {
        seen += latency_us[us];
        if (seen >= wanted && seen > 0) {
            break;
        }
    }
    return us;
}

/* ---- options ---- */

static void usage(void)
{
    fprintf(stderr,
            "usage: load --port N [--host A] [--connections N] [--requests N] [--method M]\n"
            "            [--path P] [--body TEXT] [--header LINE]... [--pid PID] "
            "[--pipeline N]\n"
            "            [--rate N] [--tokens FILE]\n");
    exit(2);
}

static void options_read(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL) {
            usage();
        } else if (strcmp(name, "--port") == 0) {
            options.port = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--host") == 0) {
            options.host = value;
        } else if (strcmp(name, "--connections") == 0) {
            options.connections = (unsigned)strtoul(value, NULL, 10);
        } else if (strcmp(name, "--requests") == 0) {
            options.requests = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--method") == 0) {
            options.method = value;
        } else if (strcmp(name, "--path") == 0) {
            options.path = value;
        } else if (strcmp(name, "--body") == 0) {
            options.body = value;
        } else if (strcmp(name, "--header") == 0 && options.headers_count < HEADERS_MAX) {
            options.headers[options.headers_count++] = value;
        } else if (strcmp(name, "--pid") == 0) {
            options.pid = strtol(value, NULL, 10);
        } else if (strcmp(name, "--tokens") == 0) {
            options.tokens = fopen(value, "r");
            if (options.tokens == NULL) {
                die(value);
            }
        } else if (strcmp(name, "--rate") == 0) {
            options.rate = strtoull(value, NULL, 10);
        } else if (strcmp(name, "--pipeline") == 0) {
            options.pipeline = (unsigned)strtoul(value, NULL, 10);
        } else {
            usage();
        }
    }
    if (options.port == 0 || options.connections == 0 || options.pipeline == 0 ||
        options.requests == 0) {
        usage();
    }
}

static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    options_read(argc, argv);
    descriptors_raise();
    struct peer *peers = calloc(options.connections, sizeof *peers);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (peers == NULL || epoll_fd < 0) {
        die("set-up");
    }
    for (unsigned i = 0; i < options.connections; i++) {
        peer_dial(&peers[i], i);
    }
    uint64_t ticks = options.pid > 0 ? server_ticks() : 0;
    uint64_t begin_ns = now_ns();
    for (unsigned i = 0; i < options.connections && options.rate == 0; i++) {
        peer_send(&peers[i], options.pipeline);
    }
    while (finished < options.requests) {
        struct epoll_event ready[256];
        int wait_ms = options.rate == 0 ? 10000 : send_due(peers, begin_ns);
        int count = epoll_wait(epoll_fd, ready, 256, wait_ms);
        if (count == 0 && wait_ms >= 10000) {
            fprintf(stderr, "load: no answer for 10 s\n");
            return 1;
        }
        for (int i = 0; i < count; i++) {
            peer_receive(ready[i].data.ptr);
        }
    }
    double seconds = (double)(now_ns() - begin_ns) / 1e9;
    double cpu_us = 0;
    if (options.pid > 0) {
        cpu_us = (double)(server_ticks() - ticks) * 1e6 / (double)sysconf(_SC_CLK_TCK);
    }
    printf("requests=%llu bad=%llu seconds=%.2f rate=%.0f server_cpu_us=%.2f p50_us=%u p99_us=%u "
           "max_us=%u\n",
           (unsigned long long)finished, (unsigned long long)bad, seconds,
           (double)finished / seconds, cpu_us / (double)finished, percentile(0.5), percentile(0.99),
           percentile(1.0));
    return bad > 0;
}
