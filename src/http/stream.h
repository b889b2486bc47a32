/* stream.h -- an answer in pieces: what the rest of http/ needs of it.
 *
 * Inside http/ only; the contract for those above is in http.h.  Threads: the worker's. */
#ifndef NOVABEAT_HTTP_STREAM_H
#define NOVABEAT_HTTP_STREAM_H

#include "http/connection.h"

/* Some of the pending bytes were sent, perhaps all (then there is no output any more). */
void stream_flushed(struct connection *connection);
/* The peer is gone, or its time is over. */
void stream_lost(struct connection *connection);
/* Calls the handler's stream_ready, if it is still to be called. */
void stream_tell(struct connection *connection);

#endif
