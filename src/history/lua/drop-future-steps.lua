-- Removes the steps of a history that begin later than now. They were written while Redis's clock was ahead. While they
-- exist, Redis accepts no step of an earlier time.
--
-- KEYS  1 stream of steps
-- ARGV  1 now, ms ('' = Redis's own time)
-- Returns the number of removed steps; when it is 1000, more may remain

-- @include ../../redis/lua/includes/now.lua

local now = nowMs(ARGV[1])

local ahead = redis.call('XREVRANGE', KEYS[1], '+', string.format('%.0f-0', now + 1), 'COUNT', 1000)
if #ahead == 0 then return 0 end
local ids = {}
for i, entry in ipairs(ahead) do ids[i] = entry[1] end
redis.call('XDEL', KEYS[1], unpack(ids))
-- A stream remembers its newest id, also when that has gone.
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if newest then redis.call('XSETID', KEYS[1], newest[1]) else redis.call('DEL', KEYS[1]) end
return #ahead
