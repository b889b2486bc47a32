/* accept.h -- new connections, and what happens when there is no descriptor for them.
 *
 * Inside http/ only.  Each worker has a listening socket of its own on the same port
 * (SO_REUSEPORT): the kernel deals connections out by a hash, which spreads long-lived ones evenly.
 * One shared socket with EPOLLEXCLUSIVE would give an idle server's first worker nearly all of
 * them, and they stay for hours.  The price is that the kernel also lets another process of ours
 * listen there unnoticed, so start first probes the port without the option (server.c). Threads:
 * the worker's. */
#ifndef NOVABEAT_HTTP_ACCEPT_H
#define NOVABEAT_HTTP_ACCEPT_H

#include "http/worker.h"

/* The listening socket is readable. */
void accept_ready(struct http_worker *worker);
/* Goes on accepting when a pause is over. */
void accept_resume(struct http_worker *worker);
/* Closes the listening socket and the reserve.  Twice is fine. */
void accept_close(struct http_worker *worker);
/* The same, but takes what is already in the queue: the peers there think they are connected. */
void accept_finish(struct http_worker *worker);
/* Opens the reserve descriptor, if it is not there. */
void accept_reserve(struct http_worker *worker);

#endif
