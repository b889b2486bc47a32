-- sweep.lua -- the next page of what the record store does not have yet of one audience.
--
-- Any node may ask, at any time; nothing is taken out before swept.lua says that it is stored.  So
-- what a node that died had read is found again by the next one.
--
-- KEYS  1 Heartbeat  2 ViewingSessionStart  3 ViewingSessionEnd  4 AttendedUsers  5 Peak
--       6 Figures  7 Labels  8 Closed
-- ARGV  1 the asking node's name  2 for how long it claims the audience, ms
--       3 from (time)  4 from (number of a closed viewing): "": from where swept.lua was last told,
--         else what the page before gave
--       5 so many rows at most, about  6 now in ms, for tests; absent: TIME
-- Gives {now, more, next time, next closed,
--        {active, attended, logins, total ms, peak, its time, frameStart, frameEnd},
--        {start, end, ...}                          frames that are over: read Statistics#<start>
--        {"start end viewer", ...}                  viewings that are over
--        {viewer, start, end, lease's end, 1: the newest frame has counted it (else 0),
--         label number, ...}                        members
--        {label number, label, ...}}                those labels
-- more = 1: there is another page.  {"BUSY", now}: another node has claimed it.
--
-- A viewing that is over is never on a later page than the row that shows the one after it.
local alive_ms = @alive_ms@
local STEPS = 2048

local call, floor = redis.call, math.floor
local node, claim_ms, rows_max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local all = call('HGETALL', KEYS[6])
local figures = {}
for i = 1, #all, 2 do
    figures[all[i]] = all[i + 1]
end
if not figures.time then
    return {tonumber(ARGV[6]) or 0, 0, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0}, {}, {}, {}, {}}
end
local now = tonumber(ARGV[6])
if not now then
    local time = call('TIME')
    now = time[1] * 1000 + floor(time[2] / 1000)
end
now = math.max(now, tonumber(figures.time))
if figures.sweeper and figures.sweeper ~= node and now < tonumber(figures.sweeperUntil) then
    return {'BUSY', now}
end
-- The time is kept: a frame that is said to be over gets no heartbeat any more.
call('HSET', KEYS[6], 'time', now, 'sweeper', node, 'sweeperUntil', now + claim_ms)

local frames = {}
for field, frame_end in pairs(figures) do
    if field:sub(1, 6) == 'frame:' and tonumber(frame_end) <= now then
        frames[#frames + 1] = tonumber(field:sub(7))
        frames[#frames + 1] = tonumber(frame_end)
    end
end

local base = tonumber(figures.closedBase) or 0
local closed_from = math.max(tonumber(ARGV[4]) or 0, base)
local closed = call('LRANGE', KEYS[8], closed_from - base, closed_from - base + rows_max - 1)
local from = tonumber(ARGV[3]) or tonumber(figures.swept) or 0

-- Every heartbeat and every leave that changes a row moves the end: the ends are the log.
local members, labels, known = {}, {}, {}
local more, next_time = 1, from
local frame_start = tonumber(figures.frameStart) or 0
if #closed < rows_max then
    local ends = call('ZRANGEBYSCORE', KEYS[3], from, '+inf', 'WITHSCORES', 'LIMIT', 0, rows_max)
    more = 0
    next_time = now -- this ms is not over: its heartbeats are looked at again
    if #ends == 2 * rows_max then
        local last = floor(tonumber(ends[#ends]))
        if last < now then
            more = 1
            next_time = last + 1
        end
        ends = call('ZRANGEBYSCORE', KEYS[3], from, '(' .. last + 1, 'WITHSCORES')
    end
    for i = 1, #ends, 2 do
        local viewer, ended = ends[i], tonumber(ends[i + 1])
        local lease = tonumber(call('ZSCORE', KEYS[1], viewer))
        local high = ended % 1 * STEPS
        local label = lease % 1 * STEPS + floor(high / 2) * STEPS
        local at = #members
        members[at + 1] = viewer
        members[at + 2] = tonumber(call('ZSCORE', KEYS[2], viewer))
        members[at + 3] = floor(ended)
        members[at + 4] = floor(lease) + alive_ms
        members[at + 5] = ended >= frame_start and high % 2 == 0 and 1 or 0
        members[at + 6] = label
        if not known[label] then
            known[label] = true
            labels[#labels + 1] = label
            labels[#labels + 1] = call('ZRANGEBYSCORE', KEYS[7], label, label)[1]
        end
    end
end

local peak = call('HMGET', KEYS[5], 'count', 'time')
return {now, more, next_time, closed_from + #closed,
    {call('ZCOUNT', KEYS[1], now - alive_ms, '+inf'), call('SCARD', KEYS[4]),
        tonumber(figures.logins) or 0, tonumber(figures.totalMs) or 0, tonumber(peak[1]) or 0,
        tonumber(peak[2]) or 0, frame_start, tonumber(figures.frameEnd) or 0},
    frames, closed, members, labels}
