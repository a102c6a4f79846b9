-- Begins a round of evaluation: returns the time, and from then on refuses processes that evaluated before.
--
-- KEYS  1 state  2 active  3 resolved  4... outboxes, one for each webhook
-- ARGV  1 fencing token  2 when the last round that was finished began, ms ('' = none was)  3 for how long all is kept, ms
--       4 how old a notification may be, ms  5 names of all receivers, as JSON  6 now, ms ('' = Redis's own time)
--       then the name of each outbox's receiver
-- Returns a map
--   newerFence  the newer token that is stored; then there is nothing else
--   now         ms
--   dropped     how many notifications were dropped since they were too old
--   setAside    the keys that were renamed
--
-- A key that holds another type than it should is renamed, so that nothing is lost and evaluation goes on.

-- @include ../../redis/lua/includes/now.lua

local firstOutbox, firstReceiver = 4, 7
local types = { 'hash', 'hash', 'list' }
local setAside = {}
for i, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= (types[i] or 'stream') then
    redis.call('RENAME', key, key .. ':set-aside')
    setAside[#setAside + 1] = key
  end
end

local newest = tonumber(redis.call('HGET', KEYS[1], 'fence') or 0)
if tonumber(ARGV[1]) < newest then return {map = {newerFence = newest}} end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'receivers', ARGV[5])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'decidedAt', ARGV[2]) end

local now = nowMs('')
local dropped = 0
for i = firstOutbox, #KEYS do
  -- The ids are by Redis's own time.
  local old = redis.call('XTRIM', KEYS[i], 'MINID', string.format('%.0f', now - ARGV[4]))
  if old > 0 then
    redis.call('HINCRBY', KEYS[1], 'dropped:' .. ARGV[firstReceiver + i - firstOutbox], old)
    dropped = dropped + old
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
return {map = {now = nowMs(ARGV[6]), dropped = dropped, setAside = setAside}}
