/* gate.c -- token keys, API keys, countries and origins of a server, and their changes. */
#include "cli/gate.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/keys.h"
#include "cli/secret.h"
#include "live/store.h"

#define WHY_BYTES 512

static bool open_tokens(struct gate *gate, const struct settings *settings)
{
    char secret[SECRET_BYTES_MAX], why[WHY_BYTES] = "";
    enum err err = secret_read(settings, true, secret, why, sizeof why);
    if (err == ERR_NONE) {
        const struct token_options options = {
            .secret = secret,
            .pem_file = settings->token_pem,
            .jwks_file = settings->token_jwks,
            .rsa_algorithm = settings->token_rsa == SETTING_TOKEN_PS256 ? TOKEN_PS256 : TOKEN_RS256,
            .issuer = settings->token_issuer,
            .audience = settings->token_audience,
            .viewer_claim = settings->token_viewer_claim,
            .event_claim = settings->token_event_claim,
            .groups_claim = settings->token_groups_claim,
            .leeway_ms = settings->token_leeway_ms,
            .bytes_max = (uint32_t)settings->token_bytes_max,
            .cache_max = (uint32_t)settings->token_cache_max,
        };
        err = tokens_new(&options, &gate->tokens, why, sizeof why);
    }
    sodium_memzero(secret, sizeof secret);
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "viewer tokens: %s", why);
        return false;
    }
    struct token_counters counters;
    tokens_counters(gate->tokens, &counters);
    log_line(LOG_INFO, "serve", "viewer tokens: %llu keys", (unsigned long long)counters.keys);
    return true;
}

static bool open_link(struct gate *gate, const struct settings *settings)
{
    char journal[STORE_PATH_BYTES], where[STORE_PATH_BYTES], why[WHY_BYTES] = "";
    store_paths(settings->data, settings->records, journal, where);
    if (records_open(where, false, &gate->link, why, sizeof why) != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "API keys: %s", why);
        return false;
    }
    return true;
}

static bool open_countries(struct gate *gate, const struct settings *settings)
{
    char text[WHY_BYTES] = "";
    if (settings->country_db[0] == '\0') {
        return true;
    }
    if (country_db_open(settings->country_db, &gate->country_db, text, sizeof text) != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "country-db: %s", text);
        return false;
    }
    country_db_describe(gate->country_db, text, sizeof text);
    log_line(LOG_INFO, "serve", "countries: %s", text);
    return true;
}

bool gate_open(struct gate *gate, const struct settings *settings)
{
    char why[WHY_BYTES] = "";
    *gate = (struct gate){0};
    bool opened = open_countries(gate, settings);
    if (opened && settings->cors_origins[0] != '\0') {
        gate->cors = cors_new(settings->cors_origins, settings->cors_max_age_ms, why, sizeof why);
        opened = gate->cors != NULL; /* the settings have been checked */
    }
    if (opened && settings->auth == SETTING_AUTH_JWT) {
        opened = open_tokens(gate, settings) && open_link(gate, settings);
    }
    if (!opened) {
        gate_close(gate);
    }
    return opened;
}

void gate_close(struct gate *gate)
{
    tokens_free(gate->tokens);
    country_db_close(gate->country_db);
    cors_free(gate->cors);
    records_close(gate->link);
    *gate = (struct gate){0};
}

/* ---- API keys ---- */

/* Not in the log, which others may keep. */
static enum err make_first_key(struct gate *gate)
{
    char text[API_KEY_TEXT_BYTES];
    enum err err = keys_create(gate->link, ROLE_ADMIN, SLICE_EMPTY,
                               SLICE_LIT("made at the first start"), text);
    if (err == ERR_NONE) {
        printf("The first API key, with role admin, shown this once; only its hash is kept:\n%s\n",
               text);
        fflush(stdout);
    }
    return err;
}

static enum err load_keys(struct gate *gate, struct api *api)
{
    /* The version first: a change in between is then seen the next time. */
    uint64_t version;
    enum err err = records_keys_version(gate->link, &version);
    if (err == ERR_NONE && version != gate->keys_version) {
        err = auth_keys_load(api, gate->link);
        if (err == ERR_NONE) {
            gate->keys_version = version;
        }
    }
    return err;
}

bool gate_keys(struct gate *gate, struct api *api)
{
    if (gate->link == NULL) {
        return true;
    }
    uint64_t version;
    enum err err = records_keys_version(gate->link, &version);
    if (err == ERR_NONE && version == 0) {
        err = make_first_key(gate);
    }
    if (err == ERR_NONE) {
        err = load_keys(gate, api);
    }
    if (err != ERR_NONE) {
        log_line(LOG_ERROR, "serve", "API keys: %s", records_why(gate->link));
    } else if (!auth_has_keys(api)) {
        log_line(LOG_WARN, "serve",
                 "there is no API key any more: nobody can read figures; make one with novabeat "
                 "keys create --role admin --data DIR");
    }
    return err == ERR_NONE;
}

/* ---- changes ---- */

void gate_tick(struct gate *gate, struct api *api)
{
    char why[WHY_BYTES] = "";
    bool changed = false;
    if (gate->tokens != NULL) {
        if (tokens_reload_changed(gate->tokens, &changed, why, sizeof why) != ERR_NONE) {
            LOG_EVERY(10000, LOG_ERROR, "serve", "viewer tokens: the keys stay as they were: %s",
                      why);
        } else if (changed) {
            log_line(LOG_INFO, "serve", "viewer tokens: the keys were read again");
        }
    }
    changed = false;
    if (gate->country_db != NULL) {
        if (country_db_reload_changed(gate->country_db, &changed, why, sizeof why) != ERR_NONE) {
            log_line(LOG_ERROR, "serve", "countries stay as they were: %s", why); /* told once */
        } else if (changed) {
            country_db_describe(gate->country_db, why, sizeof why);
            log_line(LOG_INFO, "serve", "countries: %s", why);
        }
    }
    if (gate->link != NULL && load_keys(gate, api) != ERR_NONE) {
        LOG_EVERY(10000, LOG_WARN, "serve", "API keys could not be read: %s",
                  records_why(gate->link));
    }
}

void gate_reload(struct gate *gate, struct api *api)
{
    char why[WHY_BYTES] = "";
    if (gate->tokens != NULL) {
        if (tokens_reload(gate->tokens, why, sizeof why) != ERR_NONE) {
            log_line(LOG_ERROR, "serve", "viewer tokens: the keys stay as they were: %s", why);
        } else {
            log_line(LOG_INFO, "serve", "viewer tokens: the keys were read again");
        }
    }
    gate_tick(gate, api);
}
