-- erase.lua -- forgets a viewer in one audience.  Peak and frames stay: they name nobody.
--
-- The sums lose all of the viewer's viewings: the latest one, those in Closed, and those that only
-- the record store has, which the caller reads and tells.  An entry of Closed may be in the store
-- already, so they are told apart by their starts; and so that none moves from Closed to the store
-- unseen, the caller says which `closedBase` it read before it read the store.
--
-- KEYS  1 Heartbeat  2 ViewingSessionStart  3 ViewingSessionEnd  4 AttendedUsers  5 Figures  6 Live
--       7 Labels  8 Closed
-- ARGV  1 viewer  2 closedBase ("0" when there is none)  3 "start end start end ...": the viewer's
--       viewings in the store, without the latest one
-- Gives 1: forgotten; 0: never came (or forgotten by a call whose answer was lost);
--       {"AGAIN", closedBase}: read the store again
local STEPS = 2048

local call, floor = redis.call, math.floor
local viewer = ARGV[1]
local figures = call('HMGET', KEYS[5], 'counted', 'closedBase', 'totalMs', 'logins')
local base = tonumber(figures[2]) or 0
if base ~= tonumber(ARGV[2]) then
    return {'AGAIN', base}
end
local lease = tonumber(call('ZSCORE', KEYS[1], viewer))
if not lease then
    return 0
end
local started = tonumber(call('ZSCORE', KEYS[2], viewer))
local ended = tonumber(call('ZSCORE', KEYS[3], viewer))

-- All its viewings, each once: start to end.
local viewings = {[started] = floor(ended)}
for from, to in ARGV[3]:gmatch('(%d+) (%d+)') do
    if tonumber(from) ~= started then
        viewings[tonumber(from)] = tonumber(to)
    end
end
for at = 0, call('LLEN', KEYS[8]) - 1, 1000 do
    for i, row in ipairs(call('LRANGE', KEYS[8], at, at + 999)) do
        local from, to, whose = row:match('^(%d+) (%d+) (.*)$')
        if whose == viewer then
            viewings[tonumber(from)] = tonumber(to)
            call('LSET', KEYS[8], at + i - 1, '') -- entries have numbers: the place stays
        end
    end
end
local count, total_ms = 0, 0
for from, to in pairs(viewings) do
    count = count + 1
    total_ms = total_ms + to - from
end

-- Live counts, if it is counted there.
if lease >= (tonumber(figures[1]) or 0) then
    local number = lease % 1 * STEPS + floor(ended % 1 * STEPS / 2) * STEPS
    local label = call('ZRANGEBYSCORE', KEYS[7], number, number)[1]
    call('HINCRBY', KEYS[6], 'country:' .. label:sub(1, 2), -1)
    for group in label:sub(3):gmatch('[^\n]+') do
        call('HINCRBY', KEYS[6], 'group:' .. group, -1)
    end
end
for i = 1, 3 do
    call('ZREM', KEYS[i], viewer)
end
call('SREM', KEYS[4], viewer)
-- A set that is empty now is gone with its expiry: the next heartbeat renews all.
call('HSET', KEYS[5], 'totalMs', tonumber(figures[3] or 0) - total_ms, 'logins',
    tonumber(figures[4]) - count, 'renew', 0)
return 1
