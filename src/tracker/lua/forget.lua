-- Removes all keys of one queue, and publishes its name.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of departures
-- ARGV  1 channel  2 queue's name  3 only if it belongs to this source ('' = to any)
--       4 fencing token of who says that it has gone ('' = is not compared)
-- Returns 1 when the queue was known, 0 when not, -1 when it belongs to another source and was left alone,
--         -2 when somebody with a newer token was here, and it was left alone

local source, newest = unpack(redis.call('HMGET', KEYS[2], 'source', 'fence'))
if source and ARGV[3] ~= '' and source ~= ARGV[3] then return -1 end
local fence = tonumber(ARGV[4])
if fence and fence < tonumber(newest or fence) then return -2 end
redis.call('UNLINK', unpack(KEYS))
if not source then return 0 end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
