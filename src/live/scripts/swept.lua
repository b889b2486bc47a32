-- swept.lua -- the record store has a page of sweep.lua, and its transaction is committed.
--
-- Called again, or by a node that is late, it changes nothing.
--
-- KEYS  1 Figures  2 Closed
-- ARGV  1 next time  2 next closed, both of the page  3 the last closed viewing on it, as it was
--       given, or ""  4 ... starts of the frames on it
-- Gives 1.
local call = redis.call
local figures = call('HMGET', KEYS[1], 'time', 'swept', 'closedBase')
if not figures[1] then
    return 1
end
local next_time, next_closed = tonumber(ARGV[1]), tonumber(ARGV[2])
if next_time > (tonumber(figures[2]) or 0) then
    -- The time, too: a replica that took over may have lost it, and heartbeats may not be before.
    call('HSET', KEYS[1], 'swept', next_time, 'time', math.max(next_time, tonumber(figures[1])))
end
local stored = next_closed - (tonumber(figures[3]) or 0)
-- After a failover other viewings may stand in these places: then they stay, and are stored again.
if stored > 0 and call('LINDEX', KEYS[2], stored - 1) == ARGV[3] then
    call('LTRIM', KEYS[2], stored, -1)
    call('HSET', KEYS[1], 'closedBase', next_closed)
end
for i = 4, #ARGV do
    call('HDEL', KEYS[1], 'frame:' .. ARGV[i])
end
return 1
