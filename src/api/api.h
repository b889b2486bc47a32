/* api.h -- what Novabeat answers over HTTP: the handler between http/ and live/.
 *
 * Model: one api serves all workers of one HTTP server.  Each worker has a state of its own: its
 * port to the live engine and one buffer in which the text of answers is built.  A request is
 * matched, its ids are checked, and it is answered at once or handed to live/ and answered when
 * live/ gives it back, on the same worker.  What a request needs meanwhile is in its exchange's
 * `user` bytes, so a heartbeat allocates nothing.
 *
 * Start: live_start, api_new, http_server_start with api_handler, api_attach.
 * Stop:  http_server_drain, api_stop, wait for api_stopped, live_stop, http_server_stop, api_free.
 *        (In this order: live/ wakes the workers until it has stopped.)
 *
 * Threads: api_new, api_attach and api_free by the thread that starts and stops things; api_stop
 * and api_stopped by any one; the rest is the workers'.
 * Source: DESIGN, section 3; docs/API.md is the reference. */
#ifndef NOVABEAT_API_API_H
#define NOVABEAT_API_API_H

#include "api/cors.h"
#include "base/network.h"
#include "http/http.h"
#include "identity/country_db.h"
#include "identity/token.h"
#include "live/live.h"

struct api;

struct api_config {
    struct live *live;
    unsigned workers;    /* of the HTTP server: as many ports live/ must have */
    int64_t interval_ms; /* when a viewer is told to come again */
    struct slice session_pattern;
    const struct network *trusted_proxies; /* who may say, by header, which country a viewer has */
    size_t trusted_proxies_count;
    unsigned country_headers; /* so many of http_config.watched, from the first on, name one */
    struct tokens *tokens; /* NULL: authentication is "none": everything is open and the body names
                              the viewer */
    struct country_db *country_db; /* NULL: none */
    const struct cors *cors;       /* NULL: no page of another origin may call */
    uint32_t viewer_rate;          /* heartbeats a second of one viewer, per worker; 0: no bound */
    bool profiles_elsewhere;       /* they come from the platform's own database: none can be put */
    uint32_t batch_bytes_max;
    const char *version;
};

/* Borrows what the config points to, until api_free. */
struct api *api_new(const struct api_config *config);
void api_free(struct api *api);

struct http_handler api_handler(struct api *api);
/* For /metrics; before that the HTTP server's counters are left out. */
void api_attach(struct api *api, const struct http_server *server);

/* Reads the API keys from the record store; until the first time there are none.  Any thread; may
 * block. */
enum err auth_keys_load(struct api *api, struct records_link *link) WARN_UNUSED;

bool auth_has_keys(struct api *api);

/* From soon on every request is answered 503 and nothing more is handed to live/. */
void api_stop(struct api *api);
/* After api_stop: true when that is so on every worker, live/ has given back all of our requests,
 * and no worker will touch it again.  Ask again after a while: it also reminds the workers. */
bool api_stopped(struct api *api);

#endif
