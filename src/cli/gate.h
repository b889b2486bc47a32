/* gate.h -- what serve needs to know who is who: token keys, API keys, countries, origins.
 *
 * Opened before HTTP starts, looked after by the main thread (gate_tick, gate_reload), closed after
 * HTTP has stopped.  Threads: the main one. */
#ifndef NOVABEAT_CLI_GATE_H
#define NOVABEAT_CLI_GATE_H

#include "api/api.h"
#include "cli/settings.h"

struct gate {
    struct tokens *tokens;         /* NULL under --auth none */
    struct country_db *country_db; /* NULL: none */
    struct cors *cors;             /* NULL: none */
    struct records_link *link;     /* NULL under --auth none */
    uint64_t keys_version;         /* of the keys that api has */
};

/* After the data folder exists (live_start).  False: said why, and nothing stays open. */
bool gate_open(struct gate *gate, const struct settings *settings);
void gate_close(struct gate *gate);

/* Reads the API keys into api; at the very first start makes one with role admin and prints it.
 * False: said why. */
bool gate_keys(struct gate *gate, struct api *api);

/* Once a second: reads again what has changed. */
void gate_tick(struct gate *gate, struct api *api);
/* On SIGHUP: the same, and token keys also when nothing has changed. */
void gate_reload(struct gate *gate, struct api *api);

#endif
