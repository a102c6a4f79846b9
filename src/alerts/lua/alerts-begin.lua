-- Begins a round of deciding: tells the time, and from then on refuses whoever decided before.
--
-- KEYS  1 state  2 active  3 resolved  4 outbox
-- ARGV  1 fencing token  2 when the last round that was finished began, ms ('' = none was)  3 for how long all is kept, ms
--       4 now, ms ('' = Redis's own time)
-- Returns now in ms, or -1 when somebody with a newer token was here

local fence = tonumber(ARGV[1])
if fence < tonumber(redis.call('HGET', KEYS[1], 'fence') or fence) then return -1 end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'decidedAt', ARGV[2]) end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
if ARGV[4] ~= '' then return tonumber(ARGV[4]) end
local time = redis.call('TIME')
return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
