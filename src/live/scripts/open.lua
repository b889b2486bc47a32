-- open.lua -- an audience comes to Redis: a new one, or one that the record store has and whose keys
-- have expired or were lost.  Until it is open, heartbeats are refused ("NEW"), so nothing is ever
-- counted from zero by mistake.
--
-- Three steps: "begin"; "rows", a page at a time, none for a new audience; "done".  A node that
-- dies between them is followed, after its claim, by one that begins anew.
--
-- KEYS  1 Heartbeat  2 ViewingSessionStart  3 ViewingSessionEnd  4 AttendedUsers  5 Peak
--       6 Figures  7 Live  8 Labels  9 Closed
-- ARGV  1 the node's name, another one for each attempt  2 step  3 now in ms, for tests; "": TIME
--       begin: 4 for how long it claims the audience, ms (renewed with each page)
--       rows:  4 the same  5 ... viewer, start, end, lease's end, 1 when the audience's newest frame
--              has not counted the viewer (else 0), label; for each
--       done:  4 logins  5 total ms  6 peak  7 its time  8 frameStart  9 frameEnd
-- Gives {"OK", now}; {"OPEN", now}: it is open; {"BUSY", now}: another node is at it, or has taken
-- over.
local alive_ms, keep_ms = @alive_ms@, @keep_ms@
local STEPS, LABELS_MAX = 2048, 2048 * 1024

local call, floor = redis.call, math.floor
local node, step = ARGV[1], ARGV[2]
local figures = call('HMGET', KEYS[6], 'time', 'opening', 'openingUntil', 'counted')
local now = tonumber(ARGV[3])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
if figures[1] then
    return {'OPEN', now}
end

if step == 'begin' then
    if figures[2] and figures[2] ~= node and now < tonumber(figures[3]) then
        return {'BUSY', now}
    end
    call('DEL', unpack(KEYS)) -- what another one left half done
    call('HSET', KEYS[6], 'opening', node, 'openingUntil', now + tonumber(ARGV[4]), 'counted',
        now - alive_ms)
    call('PEXPIRE', KEYS[6], keep_ms)
    return {'OK', now}
end
if figures[2] ~= node then
    return {'BUSY', now}
end

if step == 'rows' then
    local counted = tonumber(figures[4])
    for i = 5, #ARGV, 6 do
        local viewer, ended = ARGV[i], tonumber(ARGV[i + 2])
        local lease, text = tonumber(ARGV[i + 3]) - alive_ms, ARGV[i + 5]
        local label = tonumber(call('ZSCORE', KEYS[8], text))
        if not label then
            label = math.min(call('ZCARD', KEYS[8]), LABELS_MAX - 1)
            call('ZADD', KEYS[8], label, text)
        end
        -- A page that comes again, because its answer was lost, counts nobody twice.
        if lease >= counted and not call('ZSCORE', KEYS[1], viewer) then
            call('HINCRBY', KEYS[7], 'country:' .. text:sub(1, 2), 1)
            for group in text:sub(3):gmatch('[^\n]+') do
                call('HINCRBY', KEYS[7], 'group:' .. group, 1)
            end
        end
        local high = floor(label / STEPS) * 2 + tonumber(ARGV[i + 4])
        call('ZADD', KEYS[1], lease + label % STEPS / STEPS, viewer)
        call('ZADD', KEYS[2], ARGV[i + 1], viewer)
        call('ZADD', KEYS[3], ended + high / STEPS, viewer)
        call('SADD', KEYS[4], viewer)
    end
    call('HSET', KEYS[6], 'openingUntil', now + tonumber(ARGV[4]))
elseif step == 'done' then
    -- The time goes on behind all that is stored, and all of that is swept.
    local newest = call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
    now = math.max(now, floor(tonumber(newest or 0)))
    if tonumber(ARGV[6]) > 0 then
        call('HSET', KEYS[5], 'count', ARGV[6], 'time', ARGV[7])
    end
    call('HSET', KEYS[6], 'time', now, 'logins', ARGV[4], 'totalMs', ARGV[5], 'frameStart',
        ARGV[8], 'frameEnd', ARGV[9], 'swept', now, 'renew', 0)
    call('HDEL', KEYS[6], 'opening', 'openingUntil')
    if tonumber(ARGV[9]) > now then
        call('HSET', KEYS[6], 'frame:' .. ARGV[8], ARGV[9]) -- it is not over, so not stored
    end
end
for i, key in ipairs(KEYS) do
    call('PEXPIRE', key, keep_ms)
end
return {'OK', now}
