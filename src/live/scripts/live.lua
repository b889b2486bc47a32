-- live.lua -- alive now by group and country.
--
-- The hash Live has the counts of all whose lease is not before `counted`.  This moves `counted` to
-- now: who is passed is not alive any more and is taken out.  The work is that of the leases that
-- have ended since the last call, never that of all who are alive.
--
-- KEYS  1 Heartbeat  2 ViewingSessionEnd  3 Figures  4 Live  5 Labels
-- ARGV  1 so many leases at most, about  2 now in ms, for tests; absent: TIME
-- Gives {now, active, {field, count, ...}}, fields "group:<id>" and "country:<code>", some of them
-- 0; or {now} when there is more to take out: call again.
local alive_ms = @alive_ms@
local STEPS = 2048

local call, floor = redis.call, math.floor
local leases_max = tonumber(ARGV[1])
local figures = call('HMGET', KEYS[3], 'time', 'counted')
if not figures[1] then
    return {tonumber(ARGV[2]) or 0, 0, {}} -- nobody was ever here: leave no key behind
end
local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
now = math.max(now, tonumber(figures[1]))

-- Adds `by` for each viewer of {viewer, score, ...}.
local function count_all(viewers, by)
    local many_labels = call('ZCARD', KEYS[5]) > STEPS
    local per_label, per_field = {}, {}
    for i = 1, #viewers, 2 do
        local label = tonumber(viewers[i + 1]) % 1 * STEPS
        if many_labels then
            local high = tonumber(call('ZSCORE', KEYS[2], viewers[i])) % 1 * STEPS
            label = label + floor(high / 2) * STEPS
        end
        per_label[label] = (per_label[label] or 0) + by
    end
    for label, viewers_count in pairs(per_label) do
        local text = call('ZRANGEBYSCORE', KEYS[5], label, label)[1]
        local country = 'country:' .. text:sub(1, 2)
        per_field[country] = (per_field[country] or 0) + viewers_count
        for group in text:sub(3):gmatch('[^\n]+') do
            group = 'group:' .. group
            per_field[group] = (per_field[group] or 0) + viewers_count
        end
    end
    for field, viewers_count in pairs(per_field) do
        call('HINCRBY', KEYS[4], field, viewers_count)
    end
end

local from, to = tonumber(figures[2]) or 0, now - alive_ms
local reached = to
if to > from then
    local ended = call('ZRANGEBYSCORE', KEYS[1], from, '(' .. to, 'WITHSCORES', 'LIMIT', 0,
        leases_max)
    if #ended == 2 * leases_max then
        -- Up to the end of that ms, so that `counted` says exactly who is out.
        reached = floor(tonumber(ended[#ended])) + 1
        ended = call('ZRANGEBYSCORE', KEYS[1], from, '(' .. reached, 'WITHSCORES')
    end
    count_all(ended, -1)
elseif to < from then
    -- The alive window was made longer: leases that were over are not.
    count_all(call('ZRANGEBYSCORE', KEYS[1], to, '(' .. from, 'WITHSCORES'), 1)
end
-- The time is kept: no later heartbeat may be before what was said here.
call('HSET', KEYS[3], 'counted', reached, 'time', now)
if reached < to then
    return {now}
end
return {now, call('ZCOUNT', KEYS[1], to, '+inf'), call('HGETALL', KEYS[4])}
