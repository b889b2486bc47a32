-- viewer.lua -- one viewer in one audience: its latest viewing.
--
-- KEYS  1 Heartbeat  2 ViewingSessionStart  3 ViewingSessionEnd  4 Figures  5 Labels
-- ARGV  1 viewer  2 now in ms, for tests; absent: TIME
-- Gives {now, start, end, lease's end, label}; {now}: never came.  Earlier viewings are in Closed
-- until the record store has them: read Closed first, then the store.
local alive_ms = @alive_ms@
local STEPS = 2048

local call, floor = redis.call, math.floor
local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
now = math.max(now, tonumber(call('HGET', KEYS[4], 'time')) or 0)
local lease = tonumber(call('ZSCORE', KEYS[1], ARGV[1]))
if not lease then
    return {now}
end
local ended = tonumber(call('ZSCORE', KEYS[3], ARGV[1]))
local label = lease % 1 * STEPS + floor(ended % 1 * STEPS / 2) * STEPS
return {now, tonumber(call('ZSCORE', KEYS[2], ARGV[1])), floor(ended), floor(lease) + alive_ms,
    call('ZRANGEBYSCORE', KEYS[5], label, label)[1]}
