-- Takes down what a job system said of one queue, and publishes the queue's name when that is news.
--
-- KEYS  1 state
-- ARGV  1 now, ms ('' = Redis's own time)   2 source   3 age of the head, ms ('' = no job waits)
--       4 how far the age may be off, ms    5 how long ago it was read, ms
--       6 depth  7 scheduled ('' in both: the source does not report it; depth -n: it counted up to n > 1 jobs)  8 accuracy
--       9 paused, 0 or 1   10 for how long this is fresh, ms
--       11 channel  12 queue's name         13 fencing token of the reader ('' = is not compared)
--       14 what the next reader needs ('' = as before)
--       15 jobs that are delivered and not acknowledged ('' = the source does not report it)   16 for how long the oldest of these has
--       been so, ms ('' = not known)
--       17 jobs that were overtaken ('' = the source does not report it)   18 age of the oldest of the others, ms ('' = there is none)
-- Returns 1 when it was news, else 0; when the stored token is newer, less that token, and nothing was changed

-- @include ../../redis/lua/includes/now.lua

local stateKey = KEYS[1]
local source, accuracy, channel, queue = ARGV[2], ARGV[8], ARGV[11], ARGV[12]
local age, uncertainty, readAgo = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local depth, scheduled, paused, freshFor = ARGV[6], ARGV[7], ARGV[9], tonumber(ARGV[10])

local fence = tonumber(ARGV[13])
local stored = fence and tonumber(redis.call('HGET', stateKey, 'fence') or nil)
if stored and fence < stored then return -stored end

local now = nowMs(ARGV[1])

local before = redis.call('HMGET', stateKey, 'source', 'since', 'depth', 'scheduled', 'accuracy', 'paused', 'freshUntil', 'measuredAt',
  'inFlight', 'overtaken')
-- Several processes may read the same job system: what was read earlier does not undo what was read later.
local measuredAt = tonumber(before[8] or nil)
if before[1] == source and measuredAt and measuredAt <= now and measuredAt > now - readAgo then return 0 end
-- Every reading is off by a little. While it can be the same time, it is: a head that stays must not seem to move.
-- A job system may report an age for an invalid time. Below 0 it would look as if no job waited.
local function sinceOf(ageThen, known)
  local at = math.max(0, math.floor(now - readAgo - ageThen))
  if known and known >= 0 and math.abs(known - at) <= uncertainty + 2 then at = known end
  return string.format('%.0f', at)
end
local since = age and sinceOf(age, tonumber(before[2] or nil)) or '-1'
local inFlight, idle = ARGV[15], tonumber(ARGV[16])
if idle then inFlight = inFlight .. ' ' .. sinceOf(idle, tonumber(string.match(before[9] or '', ' (%d+)$'))) end
local overtaken, inOrderAge = ARGV[17], tonumber(ARGV[18])
if inOrderAge then overtaken = overtaken .. ' ' .. sinceOf(inOrderAge, tonumber(string.match(before[10] or '', ' (%d+)$'))) end
-- It mostly stays the same, and each field that is written costs time.
local isOvertakenNews = (before[10] or '') ~= overtaken

local wasFresh = before[7] and now <= tonumber(before[7])
local isNews = not wasFresh or before[1] ~= source or before[2] ~= since or before[3] ~= depth
  or before[4] ~= scheduled or before[5] ~= accuracy or before[6] ~= paused
  or (before[9] or '') ~= inFlight or isOvertakenNews

redis.call('HSET', stateKey,
  'source', source, 'since', since, 'depth', depth, 'scheduled', scheduled, 'accuracy', accuracy, 'paused', paused,
  'inFlight', inFlight, 'measuredAt', string.format('%.0f', now - readAgo), 'freshUntil', string.format('%.0f', now + freshFor))
if isOvertakenNews then redis.call('HSET', stateKey, 'overtaken', overtaken) end
if fence then redis.call('HSET', stateKey, 'fence', ARGV[13]) end
if ARGV[14] ~= '' then redis.call('HSET', stateKey, 'notes', ARGV[14]) end
if isNews then redis.call('PUBLISH', channel, queue) end
return isNews and 1 or 0
