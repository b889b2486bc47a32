/* options.c -- from settings to what the folders below take. */
#include "cli/options.h"

struct engine_config settings_engine_config(const struct settings *settings)
{
    return (struct engine_config){
        .windows = {.alive_ms = settings->alive_window_ms,
                    .hidden_ms = settings->hidden_window_ms,
                    .leaving_ms = settings->leaving_window_ms,
                    .gap_ms = settings->viewing_gap_ms,
                    .frame_ms = settings->frame_ms},
        .profile_ttl_ms = settings->profile_ttl_ms,
        .event_idle_ms = settings->event_idle_ms,
        .events_max = (uint32_t)settings->events_max,
        .sessions_max = (uint32_t)settings->sessions_max,
        .viewers_max = (uint32_t)settings->viewers_max,
        .all_audiences_max = (uint32_t)settings->all_sessions_max,
        .all_viewers_max = (uint32_t)settings->all_viewers_max,
        .backlog_max = (uint32_t)settings->backlog_max,
    };
}

struct store_options settings_store_options(const struct settings *settings)
{
    return (struct store_options){
        .data = settings->data,
        .records = settings->records,
        .engine = settings_engine_config(settings),
        .journal_segment_bytes = settings->journal_segment_bytes,
        .journal_max_bytes = settings->journal_max_bytes,
    };
}
