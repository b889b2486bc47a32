-- heartbeat.lua -- one heartbeat, visible or hidden, of one viewer in one audience: all of DESIGN,
-- semantics 1 to 5, in one atomic call.  docs/REDIS.md has the keys.
--
-- KEYS  1 Heartbeat  2 ViewingSessionStart  3 ViewingSessionEnd  4 AttendedUsers
--       5 Statistics#<frame>  6 Peak  7 Figures  8 Live  9 Labels  10 Closed
-- ARGV  1 viewer  2 "h": hidden, else ""  3 <frame> of KEYS[5]  4 label: "HK", "HK\ngroup\n..."
--       5 now in ms, for tests; absent: TIME
-- Gives the time at which it counted; or, when it counted nothing and changed nothing,
--       {"NEW"}                 the audience is not open: see open.lua
--       {"FRAME", start, now}   KEYS[5] is not the frame of now: call again with this one
--       {"LABELS"} {"VIEWERS"} {"BACKLOG"}   a bound is reached
--
-- Called again with the same time it changes nothing: times only move forward, and everything that
-- is counted is counted when a time passes a border.
local alive_ms, hidden_ms, gap_ms, frame_ms = @alive_ms@, @hidden_ms@, @gap_ms@, @frame_ms@
local keep_ms = @keep_ms@
local viewers_max, backlog_max = @viewers_max@, @backlog_max@
local STEPS, LABELS_MAX = 2048, 2048 * 1024

local call, floor = redis.call, math.floor
local viewer, text = ARGV[1], ARGV[4]

-- Adds `by` to the counts of a label's country and groups in a hash of counts.
local function count(key, label, by)
    call('HINCRBY', key, 'country:' .. label:sub(1, 2), by)
    for group in label:sub(3):gmatch('[^\n]+') do
        call('HINCRBY', key, 'group:' .. group, by)
    end
end

local figures = call('HMGET', KEYS[7], 'time', 'frameStart', 'frameEnd', 'totalMs', 'counted',
    'renew')
if not figures[1] then
    return {'NEW'}
end

-- The audience's time never goes back, whatever the clock does.
local now = tonumber(ARGV[5])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
now = math.max(now, tonumber(figures[1]))

-- 4: which frame is it?  When the length has changed, a frame that is being counted goes on to its
-- end, and the next one begins there: frames never overlap.
local frame_start, frame_end = tonumber(figures[2]) or 0, tonumber(figures[3]) or 0
local new_frame = now >= frame_end
if new_frame then
    local aligned = now - now % frame_ms
    frame_start, frame_end = math.max(aligned, frame_end), aligned + frame_ms
end
if frame_start ~= tonumber(ARGV[3]) then
    return {'FRAME', frame_start, now}
end

-- What is known of the viewer: two scores, with the label of its latest heartbeat in their
-- fractions.
local lease, ended = tonumber(call('ZSCORE', KEYS[1], viewer)), nil
local old_label, left
if lease then
    ended = tonumber(call('ZSCORE', KEYS[3], viewer))
    local low, high = lease % 1 * STEPS, ended % 1 * STEPS
    lease, ended = floor(lease), floor(ended)
    left = high % 2 == 1
    old_label = low + floor(high / 2) * STEPS
end
local opens = not lease or now - ended > gap_ms

-- All bounds, before anything changes.
local label = tonumber(call('ZSCORE', KEYS[9], text))
local new_label = not label
if new_label then
    label = call('ZCARD', KEYS[9])
    if label >= LABELS_MAX then
        return {'LABELS'}
    end
end
if not lease and call('ZCARD', KEYS[1]) >= viewers_max then
    return {'VIEWERS'}
end
if lease and opens and call('LLEN', KEYS[10]) >= backlog_max then
    return {'BACKLOG'}
end
if new_label then
    call('ZADD', KEYS[9], label, text)
end

-- 1: alive.  One range from now - alive_ms on finds all who are.
local leased = now
if ARGV[2] == 'h' then
    leased = now + hidden_ms - alive_ms
end
call('ZADD', KEYS[1], leased + label % STEPS / STEPS, viewer)

-- Live counts: whose lease is not before `counted` is counted, under its label.
local was_counted = lease and lease >= (tonumber(figures[5]) or 0)
if not was_counted or label ~= old_label then
    if was_counted then
        count(KEYS[8], call('ZRANGEBYSCORE', KEYS[9], old_label, old_label)[1], -1)
    end
    count(KEYS[8], text, 1)
end

-- 2: attendance.
if not lease then
    call('SADD', KEYS[4], viewer)
end

-- 3: the viewing goes on, or a new one starts; the one before waits for the record store.
local total_ms = tonumber(figures[4]) or 0
if opens then
    if lease then
        local row = call('ZSCORE', KEYS[2], viewer) .. ' ' .. ended .. ' ' .. viewer
        if call('RPUSH', KEYS[10], row) == 1 then
            call('PEXPIRE', KEYS[10], keep_ms)
        end
    end
    call('ZADD', KEYS[2], now, viewer)
    call('HINCRBY', KEYS[7], 'logins', 1)
else
    total_ms = total_ms + now - ended
end
call('ZADD', KEYS[3], now + floor(label / STEPS) * 2 / STEPS, viewer)
call('HSET', KEYS[7], 'time', now, 'totalMs', total_ms)

-- 4: the first heartbeat in the frame.  Every heartbeat moves the end to its time, so one before
-- this frame says it; a leave may have moved it too, and has said so.
if not lease or ended < frame_start or left then
    if new_frame then
        call('HSET', KEYS[7], 'frameStart', frame_start, 'frameEnd', frame_end,
            'frame:' .. frame_start, frame_end)
    end
    if call('HINCRBY', KEYS[5], 'viewerCount', 1) == 1 then
        call('PEXPIRE', KEYS[5], keep_ms)
    end
    count(KEYS[5], text, 1)
end

-- 5: the peak.  Alive grows only here: when a heartbeat is of somebody who was not alive.
if not lease or lease < now - alive_ms then
    local alive = call('ZCOUNT', KEYS[1], now - alive_ms, '+inf')
    if alive > (tonumber(call('HGET', KEYS[6], 'count')) or 0) then
        call('HSET', KEYS[6], 'count', alive, 'time', now)
    end
end

-- All keys go some time after the last heartbeat; the time is renewed now and then.
if now >= (tonumber(figures[6]) or 0) then
    for i, key in ipairs(KEYS) do
        if i ~= 5 then
            call('PEXPIRE', key, keep_ms)
        end
    end
    call('HSET', KEYS[7], 'renew', now + floor(keep_ms / 8))
end
return now
