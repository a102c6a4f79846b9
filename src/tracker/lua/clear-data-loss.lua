-- Clears the mark of one queue, and publishes the queue's name.
--
-- KEYS  1 state
-- ARGV  1 now, ms ('' = Redis's own time)   2 longest wait, ms   3 channel   4 queue's name
-- Returns 1 when it was marked, else 0

-- @include ../../redis/lua/includes/now.lua

local now = nowMs(ARGV[1])

local lostAt = tonumber(redis.call('HGET', KEYS[1], 'doubt') or nil)
if not lostAt then return 0 end
redis.call('HDEL', KEYS[1], 'doubt')
redis.call('PUBLISH', ARGV[3], ARGV[4])
return lostAt + tonumber(ARGV[2]) >= now and 1 or 0
