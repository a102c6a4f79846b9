-- Takes down what one queue's own log says behind a cursor, exactly once, and one step of a repair; publishes the queue's name
-- when something changed. A repair brings `waiting` in line with the real lists: it adds the jobs that are present, page by
-- page, and then sweeps away those that were not seen.
--
-- KEYS  1 waiting  2 state  3 recent  4 set of the jobs that the running repair has seen
-- ARGV  1 now, ms ('' = Redis's own time)
--       2 source   3 fencing token ('' = is not compared)
--       4 cursor from ('' = none is stored)   5 cursor to
--       6 the job system's clock when it was read, ms   7 how long ago that was, ms   8 how far that may be off, ms
--       9 for how long this is fresh, ms
--      10 paused, 0 or 1 ('' = as before)
--      11 repair's token ('' = no repair)   12 accuracy until the repair has ended ('' = it was begun before)
--      13 where to sweep from ('' = no sweep)
--      14 channel   15 queue's name
--      16 how many events   17 how many expected jobs
--      18 a producer's clock less the job system's, ms ('' = as before)
--      19 until when events may be missing, ms by the job system's clock ('' = none is)
--      then for each event four: its kind (W waits, P promoted, S scheduled, T taken, R removed); job; at, ms; and available at,
--        ms ('' = none). Both times are by the job system's clock
--      then for each expected job one: the job
--      then for each job present three: job; since when, ms by the job system's clock ('' = unknown); and S when it is scheduled until
--        then, E when that is estimated, L when it may have been claimable for longer
-- Returns a map
--   newerFence    the token that is stored, when it is newer: then nothing else is returned, and nothing was written
--   applied       1, or 0 when another cursor is stored, or another reader's repair is running: then nothing was written
--   cursor        as stored now; missing where there is none
--   isRepairing   1 while any repair has not ended, else 0
--   and when it was applied:
--   jobs          how many are in `waiting`
--   head          the first of them; missing when there is none
--   lacksExpected 1 when an expected job is not in `waiting`, or jobs were missed and no repair runs, else 0
--   sweepFrom     where the next sweep goes on; missing when none has to
--
-- A score in `waiting` that is no whole number marks a time that was not seen: half a ms before it, it is estimated; a fifth of
-- a ms before it, the job may have been claimable for longer.
--
-- Fields of the state, beside the totals
--   source, fence, cursor, accuracy, paused
--   offset        Redis's time less the job system's, ms
--   skew          as ARGV 18
--   measuredAt, freshUntil, missedUntil   ms, by Redis's clock
--   repair, repairAt   token of the running repair, and when its last step came, ms
--   jobs, seen    how many members `waiting` and the set of the running repair must have: of fewer, Redis has evicted the key
--   atLeast       how many jobs of `waiting` may have been claimable for longer than their score
--   isIncomplete  1 from when jobs were missed until a repair begins
--   countedAt, countsLostAt   when `recent` was written last, and missed last, ms

-- @include ../../redis/lua/includes/now.lua
-- @include includes/recent.lua

local waitingKey, stateKey, recentKey, seenKey = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local source, fence, fromCursor, toCursor = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local sourceNow, readAgo, uncertainty = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local token, accuracy, sweepFrom = ARGV[11], ARGV[12], ARGV[13]
local eventCount, expectedCount = tonumber(ARGV[16]), tonumber(ARGV[17])
local firstEvent, perEvent, perPresent, sweepCount = 20, 4, 3, 500
local seenTtl, standstill, atLeastBelow = 600000, 3000, 0.4

local now = nowMs(ARGV[1])

local state = redis.call('HMGET', stateKey, 'source', 'fence', 'cursor', 'offset', 'repair', 'accuracy', 'paused',
  'freshUntil', 'repairAt', 'jobs', 'seen', 'isIncomplete', 'countedAt', 'countsLostAt', 'atLeast', 'served')
if fence and fence < tonumber(state[2] or fence) then return {map = {newerFence = state[2]}} end
if state[1] and not state[3] and fromCursor == '' then
  -- It was known in another way until now.
  redis.call('UNLINK', waitingKey, stateKey, recentKey)
  state = {}
end
local cursor, repair = state[3] or '', state[5] or ''
-- Another reader's repair goes on undisturbed, unless it has come to a standstill.
local isOthers = token ~= repair and (accuracy == '' or (repair ~= '' and now < tonumber(state[9]) + standstill))
if cursor ~= fromCursor or (token ~= '' and isOthers) then
  return {map = {applied = 0, cursor = cursor ~= '' and cursor or nil, isRepairing = repair ~= '' and 1 or 0}}
end

-- What is on its way only ever makes the offset too large, so a smaller one is better. A larger one counts when it is clearly
-- off. In between it stays, so that the difference between two events is exact.
local measured = now - readAgo - sourceNow
local offset = tonumber(state[4] or nil)
if not offset or measured < offset - uncertainty - 10 or measured > offset + uncertainty + 250 then
  offset = math.floor(measured)
end
local function here(ms) return math.min(ms + offset, now) end

local changed = eventCount > 0
local atLeast = tonumber(state[15] or 0)
local function isAtLeast(score) return score and math.ceil(score) - score > 0 and math.ceil(score) - score < atLeastBelow end
local function forgetBound(score) if isAtLeast(score) then atLeast = atLeast - 1 end end
-- A key that Redis has evicted: without the jobs nothing is known until the next repair has ended; without the set of seen jobs the
-- running one would sweep jobs away that are there.
local isIncomplete = state[12] == '1'
if state[10] and redis.call('ZCARD', waitingKey) ~= tonumber(state[10]) then isIncomplete, atLeast = true, 0 end
if repair ~= '' and state[11] and redis.call('SCARD', seenKey) ~= tonumber(state[11]) then isIncomplete, repair, sweepFrom = true, '', '' end
local countedAt, countsLostAt, countedFor = tonumber(state[13] or 0), state[14] or '0', 900000
if countedAt + countedFor > now and redis.call('EXISTS', recentKey) == 0 then
  countedAt, countsLostAt, changed = 0, string.format('%.0f', now), true
end
if accuracy ~= '' then
  repair, isIncomplete = token, false
  redis.call('UNLINK', seenKey)
end
local seen = {}

local recent = createRecent(recentKey, now)
local enqueued, dequeued, removed = 0, 0, 0
for event = 0, eventCount - 1 do
  local first = firstEvent + event * perEvent
  local kind, job, at = ARGV[first], ARGV[first + 1], here(tonumber(ARGV[first + 2]))
  local known = tonumber(redis.call('ZSCORE', waitingKey, job) or nil)
  if kind == 'T' or kind == 'R' then
    if known then redis.call('ZREM', waitingKey, job) end
    forgetBound(known)
    if kind == 'T' then
      -- Of one that may have been claimable for longer it is not known how long it had waited.
      recent.countDequeue(at, known and not isAtLeast(known) and math.ceil(known))
      dequeued = dequeued + 1
    else
      removed = removed + 1
    end
  else
    local since = at
    if kind == 'S' then since = math.max(0, tonumber(ARGV[first + 3]) + offset) end
    -- It is due by the clock of its producer, and its worker may look later: it was claimable since it was due.
    if kind == 'P' and known then since = math.min(known, at) end
    if not isAtLeast(since) then forgetBound(known) end
    redis.call('ZADD', waitingKey, string.format('%.1f', since), job)
    if not known then
      recent.countEnqueue(at)
      enqueued = enqueued + 1
    end
    seen[#seen + 1] = job
  end
end
if recent.write() then countedAt = now end
local totals = {enqueued = enqueued, dequeued = dequeued, removed = removed}
recent.addWaits(totals)
writeTotals(stateKey, totals)
local served = recent.served(state[16])
if served then redis.call('HSET', stateKey, 'served', served) end

for i = firstEvent + eventCount * perEvent + expectedCount, #ARGV, perPresent do
  local job, since, kind = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local known = tonumber(redis.call('ZSCORE', waitingKey, job) or nil)
  local score
  if kind == 'S' then
    if not known then score = math.max(0, since + offset) end
  elseif not known or known > now then
    score = math.max(1, math.floor(since and here(since) or now)) - (kind == 'L' and 0.2 or 0.5)
  end
  if score then
    if kind == 'L' then atLeast = atLeast + 1 end
    redis.call('ZADD', waitingKey, string.format('%.1f', score), job)
    changed = true
  end
  seen[#seen + 1] = job
end

local nextSweep
if repair ~= '' then
  for from = 1, #seen, 1000 do
    redis.call('SADD', seenKey, unpack(seen, from, math.min(from + 999, #seen)))
  end
  if sweepFrom ~= '' then
    local page = redis.call('ZSCAN', waitingKey, sweepFrom, 'COUNT', sweepCount)
    local jobs, gone = {}, {}
    for i = 1, #page[2], 2 do jobs[#jobs + 1] = page[2][i] end
    if #jobs > 0 then
      for i, isSeen in ipairs(redis.call('SMISMEMBER', seenKey, unpack(jobs))) do
        if isSeen == 0 then
          gone[#gone + 1] = jobs[i]
          forgetBound(tonumber(page[2][2 * i]))
        end
      end
    end
    if #gone > 0 then
      redis.call('ZREM', waitingKey, unpack(gone))
      changed = true
    end
    if page[1] == '0' then repair = '' else nextSweep = page[1] end
  end
  if repair == '' then redis.call('UNLINK', seenKey) else redis.call('PEXPIRE', seenKey, seenTtl) end
end

if repair == '' then
  accuracy = isIncomplete and 'UNKNOWN' or 'EXACT'
elseif accuracy == '' then
  accuracy = state[6] or 'UNKNOWN'
end
local paused = ARGV[10] ~= '' and ARGV[10] or state[7] or '0'
local wasFresh = state[8] and now <= tonumber(state[8])
if not wasFresh or accuracy ~= state[6] or paused ~= state[7] then changed = true end

local jobCount = redis.call('ZCARD', waitingKey)
redis.call('HSET', stateKey, 'jobs', jobCount, 'seen', repair ~= '' and redis.call('SCARD', seenKey) or 0,
  'atLeast', atLeast, 'isIncomplete', isIncomplete and '1' or '0', 'countedAt', string.format('%.0f', countedAt), 'countsLostAt', countsLostAt)
redis.call('HSET', stateKey, 'source', source, 'cursor', toCursor, 'offset', string.format('%.0f', offset),
  'repair', repair, 'accuracy', accuracy, 'paused', paused, 'measuredAt', string.format('%.0f', now - readAgo),
  'freshUntil', string.format('%.0f', now + tonumber(ARGV[9])))
if token ~= '' then redis.call('HSET', stateKey, 'repairAt', string.format('%.0f', now)) end
if fence then redis.call('HSET', stateKey, 'fence', ARGV[3]) end
if ARGV[18] ~= '' then redis.call('HSET', stateKey, 'skew', ARGV[18]) end
if ARGV[19] ~= '' then redis.call('HSET', stateKey, 'missedUntil', string.format('%.0f', here(tonumber(ARGV[19])))) end
if changed then redis.call('PUBLISH', ARGV[14], ARGV[15]) end

local lacks = isIncomplete and repair == '' and 1 or 0
local firstExpected = firstEvent + eventCount * perEvent
for i = firstExpected, firstExpected + expectedCount - 1 do
  if not redis.call('ZSCORE', waitingKey, ARGV[i]) then lacks = 1 end
end
local head = redis.call('ZRANGE', waitingKey, 0, 0)[1]
return {map = {
  applied = 1, cursor = toCursor, isRepairing = repair ~= '' and 1 or 0,
  jobs = jobCount, head = head, lacksExpected = lacks, sweepFrom = nextSweep
}}
