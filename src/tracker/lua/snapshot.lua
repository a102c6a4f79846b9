-- Reads one queue as it is now. Writes nothing. Costs O(log n) in the number of waiting jobs.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of tombstones
-- ARGV  1 now, ms ('' = Redis's own time)   2 longest wait, ms
--       3 '1' to count the waiting          4 '1' to count the scheduled      5 '1' to count the lost
--       6 windows, in seconds and separated by commas, to give the throughput of   7 the same for wait times
--       8 '1' to read the totals
--       9 event window, ms
--      10 times that may have been stored while the clock of this Redis was off from now, ms, as a JSON list of [from, to];
--         '' = the clock is not looked at
--      11 for how long what is remembered may be wrong, ms, since the clock was set forward within the event window; 0: it was not
--      12 writer  13 what it was answered last: see memory.lua; neither when no writer asks
-- Returns {now} when the queue is not known, else
--   {now, source, since, depth, scheduled, changes at, accuracy, paused, measured at, stale, throughputs, wait times, counted,
--   skew, lost, hasLost, totals}
--   since: ms, -1 when no job waits.  depth, scheduled: -1 where not asked for, or the source does not report it.  changes at: ms, -1 when only an event
--   can change this.  paused, stale: 0 or 1.  throughputs: for each window asked, the enqueued and the dequeued in it, as
--   decimals.  wait times: for each window asked, an array {count, sum, max, bucket, count, bucket, count, ...} in ms.
--   '' and {} where events of the window were missed.  counted: 0 when that is so of all windows, and for queues that a job
--   system is asked about, of which both are empty; else 1.
--   skew: a producer's clock less the job system's, ms; '' where it is not known.  lost: -1 where it is not known, or not
--   asked for.  hasLost: 1 when writes were lost that the writer had been answered, or a key of the queue: then the answer is as if
--   the mark, which the caller has to set, were set already, and the queue is known, else 0.  totals: '' where there are none, or not asked for,
--   else one text, which is less for both sides than a list: enqueued, dequeued, removed, unremoved, lost, unlost, waited, and the
--   waits by their bounds (see totals.lua)

-- @include ../../redis/lua/includes/now.lua
-- @include includes/memory.lua

local waitingKey, stateKey, recentKey = KEYS[1], KEYS[2], KEYS[3]
local maxWait = tonumber(ARGV[2])
local slotsPerWindow, shortestWindow, longestWindow = 20, 60, 900

local now = nowMs(ARGV[1])

local state = readState(stateKey, 'doubt', 'countsLostAt')
local source, lostAt = state[1], state[8]
local lost, hasLost = -1, 0
local window, writer, answered = tonumber(ARGV[9]), ARGV[12], ARGV[13]

local function isAnswerLost()
  if not writer then return false end
  local count, at = string.match(answered, '^(%d+ %d+) (%d+)$')
  local hashes = {KEYS[4], KEYS[5]}
  -- Mostly the answer is found as it was written, and nothing has come since.
  if redis.call('HGET', hashes[1 + math.floor(tonumber(at) / window) % 2], 'writer:' .. writer) == count then return false end
  return hasLostWrites(readMemory(state, hashes, writer, '', {}), answered, now, window)
end

if not source or source == 'events' then
  if isKeyMissing(state, KEYS, now, window) or isAnswerLost() then source, lostAt, hasLost = 'events', now, 1 end
end
if not source then return {now} end

local wrongTimes = ARGV[10] ~= '' and ARGV[10] ~= '[]' and cjson.decode(ARGV[10]) or {}
-- Whether something was stored later than it is now: then the clock was set back, whichever process saw that.
local redisNow = now
local function isLater(storedAt)
  return ARGV[10] ~= '' and storedAt > redisNow + 1000
end

if source ~= 'events' and not redis.call('HGET', stateKey, 'cursor') then
  local fields = redis.call('HMGET', stateKey, 'since', 'depth', 'scheduled', 'accuracy', 'paused', 'measuredAt', 'freshUntil')
  local freshUntil = tonumber(fields[7])
  local stale = now > freshUntil
  local accuracy, measuredAt = fields[4], tonumber(fields[6])
  -- Before the clock was set back. What was read before it was set forward is stale.
  if isLater(measuredAt) then accuracy = 'UNKNOWN' end
  return {
    now, source, tonumber(fields[1]), tonumber(fields[2]) or -1, tonumber(fields[3]) or -1,
    stale and -1 or freshUntil + 1, accuracy, tonumber(fields[5]),
    stale and measuredAt or now, stale and 1 or 0, {}, {}, 0, '', lost, hasLost, ''
  }
end

local accuracy, paused, freshUntil, stale, readAt, skew = 'EXACT', 0, nil, false, now, ''
local isCounted, missedUntil, atLeast = source == 'events', -1, 0
local countsEnd
local incompleteUntil = isCounted and lostAt and tonumber(lostAt) + maxWait + 1
if isCounted then
  if incompleteUntil and incompleteUntil > now then accuracy = 'INCOMPLETE' end
else
  -- A queue whose job system's log is followed: counted like events, and stale when the log is not read any more.
  local fields = redis.call('HMGET', stateKey, 'accuracy', 'paused', 'measuredAt', 'freshUntil', 'skew', 'missedUntil', 'atLeast')
  missedUntil = tonumber(fields[6] or nil) or missedUntil
  atLeast = tonumber(fields[7] or nil) or atLeast
  accuracy, paused, freshUntil, skew = fields[1], tonumber(fields[2]), tonumber(fields[4]), fields[5] or ''
  stale = now > freshUntil
  if stale then now = math.min(now, tonumber(fields[3])) end
  -- What follow.lua finds with the next reading: the jobs are gone, or what was counted.
  if state[4] and redis.call('ZCARD', waitingKey) ~= tonumber(state[4]) then accuracy = 'UNKNOWN' end
  local countsLostAt = tonumber(state[9] or 0)
  if tonumber(state[7] or 0) + countedFor > now and redis.call('EXISTS', recentKey) == 0 then countsLostAt = now end
  if countsLostAt + countedFor > now then
    countsEnd = countsLostAt + countedFor + 1
    if accuracy == 'EXACT' or accuracy == 'ESTIMATED' then accuracy = 'INCOMPLETE' end
  end
end

-- What is older than the longest wait is a ghost: not there, whether it has been swept away yet or not. What really waits in
-- a job system is none, however old.
local oldest = isCounted and string.format('%.0f', now - maxWait) or '-inf'
local later = '(' .. string.format('%.0f', now)
local head = redis.call('ZRANGE', waitingKey, oldest, string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local due = redis.call('ZRANGE', waitingKey, later, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local since = tonumber(head[2]) or -1
-- Half a ms before a whole one marks a time that was estimated: see follow.lua.
if since ~= math.floor(since) then
  since = math.ceil(since)
  if accuracy == 'EXACT' then accuracy = 'ESTIMATED' end
end
-- A job that may have been claimable for longer than its score may be the oldest, wherever it is.
if atLeast > 0 and (accuracy == 'EXACT' or accuracy == 'ESTIMATED') then accuracy = 'LOWER_BOUND' end
local storedAt = tonumber(state[7] or 0)
if isLater(storedAt) then wrongTimes[#wrongTimes + 1] = {0, storedAt} end
local settlesIn = isCounted and tonumber(ARGV[11]) or 0
if settlesIn > 0 and accuracy == 'EXACT' then accuracy = 'ESTIMATED' end
for _, range in ipairs(wrongTimes) do
  local from, to = range[1], range[2]
  -- Of the head, or of a job that seems to be due later though it may wait. When the clock was set back, what was stored since cannot be
  -- distinguished from what was stored before, until it is as late as it was.
  local isHead = since >= from and since <= to
  local isOther = to > now and redis.call('ZCOUNT', waitingKey, math.max(from, now + 1), to) > 0
  if isHead or isOther then accuracy = 'UNKNOWN' end
end
local changesAt = math.ceil(tonumber(due[2]) or -1)
local function mayChangeAt(at)
  if changesAt < 0 or at < changesAt then changesAt = at end
end
if freshUntil then mayChangeAt(freshUntil + 1) end
if countsEnd then mayChangeAt(countsEnd) end
if settlesIn > 0 then mayChangeAt(now + settlesIn) end
if stale then changesAt = -1 end
if isCounted and since >= 0 then mayChangeAt(since + maxWait + 1) end
if accuracy == 'INCOMPLETE' and isCounted then mayChangeAt(incompleteUntil) end

local depth = ARGV[3] == '1' and redis.call('ZCOUNT', waitingKey, oldest, string.format('%.0f', now)) or -1
local scheduled = ARGV[4] == '1' and redis.call('ZCOUNT', waitingKey, later, '+inf') or -1
if isCounted and ARGV[5] == '1' then lost = tonumber(redis.call('HGET', stateKey, 'lost') or 0) + redis.call('ZCOUNT', waitingKey, '-inf', '(' .. oldest) end

local function slots(kind, seconds)
  local fields = {}
  for i = 0, slotsPerWindow do fields[i + 1] = kind .. seconds .. ':' .. i end
  return redis.call('HMGET', recentKey, unpack(fields))
end

-- What was counted in a window in which events were missed is too little.
local function isCountedSince(seconds) return missedUntil <= now - tonumber(seconds) * 1000 end

local throughputs = {}
for seconds in string.gmatch(ARGV[6], '%d+') do
  local slotMs = tonumber(seconds) * 1000 / slotsPerWindow
  local newest = math.floor(now / slotMs)
  local enqueued, dequeued = 0, 0
  for _, value in ipairs(slots('r', seconds)) do
    local slot, e, d = string.match(value or '', '^(%d+) (%d+) (%d+)$')
    slot = tonumber(slot)
    if slot and slot >= newest - slotsPerWindow and slot <= newest then
      -- The window ends now, so it began within the oldest slot: that one counts by the share that lies in the window.
      local share = slot == newest - slotsPerWindow and 1 - (now % slotMs) / slotMs or 1
      enqueued, dequeued = enqueued + share * tonumber(e), dequeued + share * tonumber(d)
    end
  end
  local isWhole = isCountedSince(seconds)
  throughputs[#throughputs + 1] = isWhole and string.format('%.6f', enqueued) or ''
  throughputs[#throughputs + 1] = isWhole and string.format('%.6f', dequeued) or ''
end

local waitTimes = {}
for seconds in string.gmatch(ARGV[7], '%d+') do
  local newest = math.floor(now / (tonumber(seconds) * 1000 / slotsPerWindow))
  local count, sum, max, buckets = 0, 0, 0, {}
  for _, packed in ipairs(slots('w', seconds)) do
    local slot = packed and cmsgpack.unpack(packed)
    if slot and slot[1] >= newest - slotsPerWindow and slot[1] <= newest then
      count, sum, max = count + slot[2], sum + slot[3], math.max(max, slot[4])
      for i = 5, #slot, 2 do buckets[slot[i]] = (buckets[slot[i]] or 0) + slot[i + 1] end
    end
  end
  local flat = {count, sum, max}
  for bucket, times in pairs(buckets) do
    flat[#flat + 1] = bucket
    flat[#flat + 1] = times
  end
  waitTimes[#waitTimes + 1] = isCountedSince(seconds) and flat or {}
end

local totals = ''
if ARGV[8] == '1' and isCountedSince(longestWindow) then
  local values = redis.call('HMGET', stateKey, 'enqueued', 'dequeued', 'removed', 'unremoved', 'lost', 'unlost', 'waited',
    'wait:10', 'wait:50', 'wait:100', 'wait:250', 'wait:500', 'wait:1000', 'wait:2500', 'wait:5000', 'wait:10000', 'wait:30000',
    'wait:60000', 'wait:300000', 'wait:900000', 'wait:3600000', 'wait:10800000', 'wait:43200000', 'wait:inf')
  for i = 1, #values do values[i] = values[i] or '0' end
  totals = table.concat(values, ' ')
end

return {
  readAt, source, since, depth, scheduled, changesAt, accuracy, paused, now, stale and 1 or 0, throughputs, waitTimes,
  isCountedSince(shortestWindow) and 1 or 0, skew,
  lost, hasLost, totals
}
