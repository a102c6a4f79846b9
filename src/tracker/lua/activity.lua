-- Reads how active one queue is. Writes nothing.
--
-- KEYS  1 waiting  2 state  3 recent
-- ARGV  1 now, ms ('' = Redis's own time)
-- Returns {now, known since, active at}, in ms
--   known since: when the first event came; 0 when that is not known, and of a queue of a job system.
--   active at: now while the queue has jobs, and for a quarter of an hour after jobs came or went; else when the last event
--   came; 0 when that is not known

-- @include ../../redis/lua/includes/now.lua

local now = nowMs(ARGV[1])

local knownAt, eventAt, since, depth = unpack(redis.call('HMGET', KEYS[2], 'knownAt', 'eventAt', 'since', 'depth'))
-- Of a queue that its job system is asked about, the last observation is all there is.
local hasJobs = tonumber(since or -1) >= 0 or tonumber(depth or 0) > 0
local activeAt = tonumber(eventAt or 0)
if hasJobs or redis.call('EXISTS', KEYS[1], KEYS[3]) > 0 then activeAt = now end
return {now, tonumber(knownAt or 0), activeAt}
