-- Lists the jobs of one queue that have waited longest. Writes nothing. Costs O(log n) in the number of waiting jobs, and one
-- step for each that is listed.
--
-- KEYS  1 waiting  2 state
-- ARGV  1 now, ms ('' = Redis's own time)   2 longest wait, ms   3 how many at most, 1 or more
-- Returns a map
--   now         ms
--   isFollowed  1 when members are the job system's own ids, 0 when they are `<attempt>:<jobId>`
--   jobs        a list of member, since, member, since, ..., oldest first; since: ms. Empty when the queue is not known
-- Errors  SOURCE: only the job system knows the queue's jobs

-- @include ../../redis/lua/includes/now.lua

local now = nowMs(ARGV[1])

local source, cursor, measuredAt, freshUntil = unpack(redis.call('HMGET', KEYS[2], 'source', 'cursor', 'measuredAt', 'freshUntil'))
local isFollowed = source and source ~= 'events'
if isFollowed and not cursor then return redis.error_reply('SOURCE ' .. source) end
-- As in snapshot.lua: a stale queue is shown as of its last reading, and no job of a job system is a ghost.
if isFollowed and now > tonumber(freshUntil) then now = math.min(now, tonumber(measuredAt)) end
local oldest = isFollowed and '-inf' or string.format('%.0f', now - tonumber(ARGV[2]))

local listed = {}
local jobs = redis.call('ZRANGE', KEYS[1], oldest, string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
for i = 1, #jobs, 2 do
  listed[#listed + 1] = jobs[i]
  listed[#listed + 1] = math.ceil(tonumber(jobs[i + 1]))
end
return {map = {now = now, isFollowed = isFollowed and 1 or 0, jobs = listed}}
