-- Counts jobs that came to and left a queue of which a job system was asked, once; publishes the queue's name when there were any.
--
-- KEYS  1 state   2 recent
-- ARGV  1 now, ms ('' = Redis's own time)   2 source   3 fencing token of the reader ('' = is not compared)
--       4 channel   5 queue's name
--       6 cursor: greater than that of the count before ('' = jobs are not counted, or some were missed)
--       7 since, 8 until how long ago it was counted, ms
--       9 how many came ('' = the source does not report it)   10 1 when more may have come and left, else 0
--      then of jobs that left three: how long ago, ms; for how long they had waited, ms ('' = not known); how many these are
-- Returns 1 when something was counted, else 0
--
-- Fields of the state: countCursor; countsSince and countsUntil, ms; hasRates, 1 when jobs that come are counted; recentAt, when
-- `recent` was written last, ms; uncountedAt, when jobs may have come and left uncounted last, ms. They are missing while
-- nothing is counted.

-- @include ../../redis/lua/includes/now.lua
-- @include includes/recent.lua

local stateKey, recentKey, cursor = KEYS[1], KEYS[2], tonumber(ARGV[6])
local firstJob, countedFor = 11, 900000

local now = nowMs(ARGV[1])
local state = redis.call('HMGET', stateKey, 'source', 'fence', 'countCursor', 'countsSince', 'recentAt')
local fence = tonumber(ARGV[3])
if state[1] ~= ARGV[2] or (fence and state[2] and fence < tonumber(state[2])) then return 0 end
if not cursor then
  redis.call('HDEL', stateKey, 'countCursor', 'countsSince', 'countsUntil', 'hasRates', 'recentAt', 'uncountedAt')
  return 0
end
if cursor <= tonumber(state[3] or 0) then return 0 end

local since, recentAt = now - tonumber(ARGV[7]), tonumber(state[5] or 0)
-- Redis has evicted what was counted.
if recentAt + countedFor > now and redis.call('EXISTS', recentKey) == 0 then since, recentAt = now, 0 end
-- Readings are off by a little: the time moves only when counting began anew.
local known = tonumber(state[4] or nil)
if known and since < known + 1000 then since = known end

local recent = createRecent(recentKey, now)
local untilMs = math.floor(now - tonumber(ARGV[8]))
local enqueued = tonumber(ARGV[9]) or 0
if enqueued > 0 then recent.countEnqueue(untilMs, enqueued) end
for i = firstJob, #ARGV, 3 do
  local at, wait = math.floor(now - tonumber(ARGV[i])), tonumber(ARGV[i + 1])
  recent.countDequeue(at, wait and at - math.max(0, math.floor(wait)), tonumber(ARGV[i + 2]))
end
local isCounted = recent.write()
if isCounted then recentAt = now end
redis.call('HSET', stateKey, 'countCursor', ARGV[6], 'countsSince', string.format('%.0f', since),
  'countsUntil', string.format('%.0f', untilMs), 'hasRates', ARGV[9] ~= '' and '1' or '0', 'recentAt', string.format('%.0f', recentAt))
if ARGV[10] == '1' then redis.call('HSET', stateKey, 'uncountedAt', string.format('%.0f', untilMs)) end
if isCounted then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return isCounted and 1 or 0
