-- Reads what is still readable of a queue that snapshot.lua could not read: a key has another type, or is not what was written.
--
-- KEYS  1 waiting  2 state
-- ARGV  1 now, ms ('' = Redis's own time)
-- Returns a map: now, ms; source, missing where it is not known; isPaused and hasJobs, 0 or 1

-- @include ../../redis/lua/includes/now.lua

local now = nowMs(ARGV[1])

local state = redis.pcall('HMGET', KEYS[2], 'source', 'paused', 'jobs', 'since', 'depth')
if state.err then state = {} end
local function isAtLeast(value, min) return (tonumber(value or '') or -1) >= min end
-- An error where the key has another type.
local waiting = redis.pcall('ZCARD', KEYS[1])
local hasJobs = (type(waiting) == 'number' and waiting > 0)
  or isAtLeast(state[3], 1) or isAtLeast(state[4], 0) or isAtLeast(state[5], 1)
return {map = {now = now, source = state[1] or nil, isPaused = state[2] == '1' and 1 or 0, hasJobs = hasJobs and 1 or 0}}
