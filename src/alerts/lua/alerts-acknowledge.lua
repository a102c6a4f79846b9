-- Acknowledges an alert that has not ended, unless it was acknowledged before; publishes it.
--
-- KEYS  1 active
-- ARGV  1 id  2 who, as JSON  3 channel
-- Returns the record as it is now, or nil when there is no such alert

-- @include ../../redis/lua/includes/now.lua

local record = redis.call('HGET', KEYS[1], ARGV[1])
local known, alert = (record or ''):match('^([^\n]*)\n(.*)$')
if not known then return false end
if known ~= '' then return record end
local now = nowMs('')
record = string.format('{"by":%s,"atMs":%.0f}', ARGV[2], now) .. '\n' .. alert
redis.call('HSET', KEYS[1], ARGV[1], record)
redis.call('PUBLISH', ARGV[3], record)
return record
