-- peak.lua -- the peak of an audience that is split over K tags: the largest sum seen.
--
-- KEYS  1 Peak
-- ARGV  1 the sum of the tags' alive viewers  2 when, ms
-- Gives the largest so far.
local count, newest = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'count')) or 0
if count > newest then
    redis.call('HSET', KEYS[1], 'count', count, 'time', ARGV[2])
    newest = count
end
redis.call('PEXPIRE', KEYS[1], @keep_ms@)
return newest
