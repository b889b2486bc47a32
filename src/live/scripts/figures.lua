-- figures.lua -- the figures of one audience, in one call that changes nothing.
--
-- KEYS  1 Heartbeat  2 AttendedUsers  3 Peak  4 Figures
-- ARGV  1 now in ms, for tests; absent: TIME
-- Gives {now, active, attended, logins, total ms, peak, time of the peak}.
local alive_ms = @alive_ms@

local call = redis.call
local figures = call('HMGET', KEYS[4], 'time', 'logins', 'totalMs')
local now = tonumber(ARGV[1])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
end
now = math.max(now, tonumber(figures[1]) or 0)
local peak = call('HMGET', KEYS[3], 'count', 'time')
return {now, call('ZCOUNT', KEYS[1], now - alive_ms, '+inf'), call('SCARD', KEYS[2]),
    tonumber(figures[2]) or 0, tonumber(figures[3]) or 0, tonumber(peak[1]) or 0,
    tonumber(peak[2]) or 0}
