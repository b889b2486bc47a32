-- leave.lua -- a heartbeat marked `leaving`: shortens the lease, never lengthens it, moves the end
-- of a viewing that is within its gap, and counts in nothing else (DESIGN, semantics 1).
--
-- KEYS  1 Heartbeat  2 ViewingSessionEnd  3 Figures
-- ARGV  1 viewer  2 now in ms, for tests; absent: TIME
-- Gives the time, also for a viewer who was never here: that changes nothing.
local alive_ms, leaving_ms, gap_ms, frame_ms = @alive_ms@, @leaving_ms@, @gap_ms@, @frame_ms@
local STEPS = 2048

local call, floor = redis.call, math.floor
local viewer = ARGV[1]
local figures = call('HMGET', KEYS[3], 'time', 'frameStart', 'frameEnd', 'counted')

local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
now = math.max(now, tonumber(figures[1]) or 0)

local lease = tonumber(call('ZSCORE', KEYS[1], viewer))
if not lease then
    return now
end
local ended = tonumber(call('ZSCORE', KEYS[2], viewer))
local low, high = lease % 1, ended % 1 * STEPS
lease, ended = floor(lease), floor(ended)

-- Not to before `counted`, or the live counts would lose sight of it.  (It is not, unless the
-- alive window has just been made longer by more than the leaving window.)
local shortened = math.max(now + leaving_ms - alive_ms, tonumber(figures[4]) or 0)
if lease > shortened then
    call('ZADD', KEYS[1], shortened + low, viewer)
end

if now - ended <= gap_ms then
    -- The end no longer says when the last heartbeat was.  If that was in an earlier frame, the
    -- end's lowest bit says that this frame has not counted the viewer.
    local frame_start, frame_end = tonumber(figures[2]) or 0, tonumber(figures[3]) or 0
    if now >= frame_end then
        frame_start = math.max(now - now % frame_ms, frame_end)
    end
    if ended < frame_start and high % 2 == 0 then
        high = high + 1
    end
    call('ZADD', KEYS[2], now + high / STEPS, viewer)
    call('HINCRBY', KEYS[3], 'totalMs', now - ended)
    call('HSET', KEYS[3], 'time', now)
end
return now
