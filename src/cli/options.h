/* options.h -- from settings to what the folders below take. */
#ifndef NOVABEAT_CLI_OPTIONS_H
#define NOVABEAT_CLI_OPTIONS_H

#include "cli/settings.h"
#include "live/store.h"

struct engine_config settings_engine_config(const struct settings *settings);
/* The texts borrow from the settings. */
struct store_options settings_store_options(const struct settings *settings);

#endif
