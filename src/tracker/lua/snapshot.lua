-- Reads queues as they are at one instant. Writes nothing. Costs O(log n) in the number of waiting jobs of each.
--
-- KEYS  of each queue: waiting, state, recent, and the two hashes of tombstones
-- ARGV  1 now, ms ('' = Redis's own time)   2 longest wait, ms   3 event window, ms
--       4 '1' to count the waiting          5 '1' to count the scheduled      6 '1' to count the lost
--       7 windows, in seconds and separated by commas, to give the throughput of   8 the same for wait times
--       9 '1' to read the totals
--      10 times that may have been stored while the clock of this Redis was off from now, ms, as a JSON list of [from, to];
--         '' = the clock is not looked at
--      11 for how long what is remembered may be wrong, ms, since the clock was set forward within the event window; 0: it was not
--      12 writer   13, ... of each queue, what the writer was answered last: see tombstones.lua; '' when it does not ask
-- Returns {now, row, row, ...}, with a row for each queue: nil when the queue is not known; an error when its keys are not what
--   was written, which is no error of the other queues; else {source, accuracy, numbers, throughputs, wait times}. All numbers are one
--   text, separated by spaces, which costs both sides less than a list:
--     since          ms, -1 when no job waits
--     depth          -1 where not asked for, or the source does not report it; -n where it counted up to n > 1 jobs
--     scheduled      as depth
--     changes at     ms, -1 when only an event can change this
--     paused         0 or 1
--     measured at    ms
--     stale          0 or 1
--     counted        0 when events of all windows were missed, and for queues of a job system that does not count, of which both
--                    lists are empty; 2 when it counts those that leave, and not those that come; else 1
--     lost           -1 where it is not known, or not asked for
--     hasLost        1 when writes were lost that the writer had been answered, or a key of the queue: then the row is as if the
--                    mark, which the caller has to set, were set already, and the queue is known; else 0
--     uncounted      how long before the end of the windows jobs may have come and left uncounted last, ms; -1 when none may have
--     overtaken      how many waiting jobs were overtaken: see served.lua; -1 where that is not known
--     in order since  since when the oldest of the others has been claimable, ms; -1 when there is none
--   Behind these, separated by semicolons:
--     skew           a producer's clock less the job system's, ms; '' where it is not known
--     in flight      how many jobs are delivered and not acknowledged, and, behind a space, since when the oldest of them is, ms;
--                    '' where the source does not report it
--     totals         '' where there are none, or not asked for, else enqueued, dequeued, removed, unremoved, lost, unlost, waited, and
--                    the waits by their bounds (see totals.lua)
--   throughputs: for each window asked, the enqueued and the dequeued in it, as decimals; '' where events of the window were missed
--   wait times: for each window asked, an array {count, sum, max, bucket, count, bucket, count, ...} in ms; {} as ''

-- @include ../../redis/lua/includes/now.lua
-- @include includes/tombstones.lua
-- @include includes/served.lua

local redisNow = nowMs(ARGV[1])
local maxWait, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local slotsPerWindow, minWindow, maxWindow = 20, 60, 900
local timesThatMayBeWrong = ARGV[10] ~= '' and ARGV[10] ~= '[]' and cjson.decode(ARGV[10]) or {}
local writer = ARGV[12]

local function isAnswerLost(state, hashes, answered)
  if answered == '' then return false end
  local count, at = string.match(answered, '^(%d+ %d+) (%d+)$')
  -- Mostly the answer is found as it was written, and nothing has come since.
  if redis.call('HGET', hashes[1 + math.floor(tonumber(at) / window) % 2], 'writer:' .. writer) == count then return false end
  return hasLostWrites(readMemory(state, hashes, writer, '', {}), answered, redisNow, window)
end

-- Whether something was stored later than it is now: then the clock was set back, whichever process saw that.
local function isLater(storedAt)
  return ARGV[10] ~= '' and storedAt > redisNow + 1000
end

local slots, throughputsOf, waitTimesOf
local rowFormat = string.sub(string.rep(' %d', 13), 2) .. ';%s;%s;%s'

-- Of a queue that a job system is asked about. What it counts is as of the last count.
local function observedRow(stateKey, recentKey, source)
  local now = redisNow
  local fields = redis.call('HMGET', stateKey, 'since', 'depth', 'scheduled', 'accuracy', 'paused', 'measuredAt', 'freshUntil',
    'inFlight', 'countsSince', 'countsUntil', 'hasRates', 'uncountedAt', 'overtaken')
  local freshUntil = tonumber(fields[7])
  local stale = now > freshUntil
  local accuracy, measuredAt = fields[4], tonumber(fields[6])
  -- Before the clock was set back. What was read before it was set forward is stale.
  if isLater(measuredAt) then accuracy = 'UNKNOWN' end
  local countsSince, countsUntil = tonumber(fields[9] or nil), tonumber(fields[10] or nil)
  local throughputs, waitTimes, counted, uncounted = {}, {}, 0, -1
  if countsSince and countsUntil and not stale and not isLater(countsUntil) then
    local function isCountedSince(seconds) return countsSince <= countsUntil - tonumber(seconds) * 1000 end
    if isCountedSince(minWindow) then
      counted = fields[11] == '1' and 1 or 2
      if fields[12] then uncounted = math.max(0, countsUntil - tonumber(fields[12])) end
      throughputs = throughputsOf(recentKey, countsUntil, isCountedSince)
      waitTimes = waitTimesOf(recentKey, countsUntil, isCountedSince)
    end
  end
  local since, overtaken, inOrderSince = tonumber(fields[1]), string.match(fields[13] or '', '^(%d+) ?(%d*)$')
  overtaken, inOrderSince = tonumber(overtaken or nil) or -1, tonumber(inOrderSince or nil) or -1
  if overtaken == 0 then inOrderSince = since end
  local numbers = string.format(rowFormat,
    since, tonumber(fields[2]) or -1, tonumber(fields[3]) or -1, stale and -1 or freshUntil + 1, tonumber(fields[5]),
    stale and measuredAt or now, stale and 1 or 0, counted, -1, 0, uncounted, overtaken, inOrderSince, '', fields[8] or '', '')
  return {source, accuracy, numbers, throughputs, waitTimes}
end

function slots(recentKey, kind, seconds)
  local fields = {}
  for i = 0, slotsPerWindow do fields[i + 1] = kind .. seconds .. ':' .. i end
  return redis.call('HMGET', recentKey, unpack(fields))
end

function throughputsOf(recentKey, now, isCountedSince)
  local throughputs = {}
  for seconds in string.gmatch(ARGV[7], '%d+') do
    local slotMs = tonumber(seconds) * 1000 / slotsPerWindow
    local newest = math.floor(now / slotMs)
    local enqueued, dequeued = 0, 0
    for _, value in ipairs(slots(recentKey, 'r', seconds)) do
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
  return throughputs
end

function waitTimesOf(recentKey, now, isCountedSince)
  local waitTimes = {}
  for seconds in string.gmatch(ARGV[8], '%d+') do
    local newest = math.floor(now / (tonumber(seconds) * 1000 / slotsPerWindow))
    local count, sum, max, buckets = 0, 0, 0, {}
    for _, packed in ipairs(slots(recentKey, 'w', seconds)) do
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
  return waitTimes
end

local function totalsOf(stateKey)
  local values = redis.call('HMGET', stateKey, 'enqueued', 'dequeued', 'removed', 'unremoved', 'lost', 'unlost', 'waited',
    'wait:10', 'wait:50', 'wait:100', 'wait:250', 'wait:500', 'wait:1000', 'wait:2500', 'wait:5000', 'wait:10000', 'wait:30000',
    'wait:60000', 'wait:300000', 'wait:900000', 'wait:3600000', 'wait:10800000', 'wait:43200000', 'wait:inf')
  for i = 1, #values do values[i] = values[i] or '0' end
  return table.concat(values, ' ')
end

-- keys: of isKeyMissing.
local function rowOf(keys, answered)
  local waitingKey, stateKey, recentKey = keys[1], keys[2], keys[3]
  local state = readState(stateKey, 'doubt', 'countsLostAt', 'served', 'lost', 'cursor')
  local source, lostAt, hasLost = state[1], state[8], 0
  if not source or source == 'events' then
    if isKeyMissing(state, keys, redisNow, window) or isAnswerLost(state, {keys[4], keys[5]}, answered) then
      source, lostAt, hasLost = 'events', redisNow, 1
    end
  end
  if not source then return false end
  if source ~= 'events' and not state[12] then return observedRow(stateKey, recentKey, source) end

  local now = redisNow
  local accuracy, paused, freshUntil, stale, skew = 'EXACT', 0, nil, false, ''
  local isRecorded, missedUntil, atLeast = source == 'events', -1, 0
  local countsEnd
  local incompleteUntil = isRecorded and lostAt and tonumber(lostAt) + maxWait + 1
  if isRecorded then
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
  local oldest = isRecorded and string.format('%.0f', now - maxWait) or '-inf'
  local newest = string.format('%.0f', now)
  local later = '(' .. newest
  local head = redis.call('ZRANGE', waitingKey, oldest, newest, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  local due = redis.call('ZRANGE', waitingKey, later, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  local since = tonumber(head[2]) or -1
  -- Half a ms before a whole one marks a time that was estimated: see follow.lua.
  if since ~= math.floor(since) then
    since = math.ceil(since)
    if accuracy == 'EXACT' then accuracy = 'ESTIMATED' end
  end
  local overtaken, inOrderSince = 0, since
  local earliest = since >= 0 and servedSince(state[10], now)
  if earliest and since < earliest then
    local older = string.format('%.0f', earliest - 1)
    overtaken = redis.call('ZCOUNT', waitingKey, oldest, older)
    local inOrder = redis.call('ZRANGE', waitingKey, '(' .. older, newest, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
    inOrderSince = math.ceil(tonumber(inOrder[2]) or -1)
  end
  -- A job that may have been claimable for longer than its score may be the oldest, wherever it is.
  if atLeast > 0 and (accuracy == 'EXACT' or accuracy == 'ESTIMATED') then accuracy = 'LOWER_BOUND' end
  local settlesIn = isRecorded and tonumber(ARGV[11]) or 0
  if settlesIn > 0 and accuracy == 'EXACT' then accuracy = 'ESTIMATED' end
  -- Whether the head came then, or a job that seems to be due later though it may wait. When the clock was set back, what was stored
  -- since cannot be distinguished from what was stored before, until it is as late as it was.
  local function mayBeWrong(from, to)
    if since >= from and since <= to then return true end
    return to > now and redis.call('ZCOUNT', waitingKey, math.max(from, now + 1), to) > 0
  end
  local storedAt = tonumber(state[7] or 0)
  if isLater(storedAt) and mayBeWrong(0, storedAt) then accuracy = 'UNKNOWN' end
  for _, range in ipairs(timesThatMayBeWrong) do
    if mayBeWrong(range[1], range[2]) then accuracy = 'UNKNOWN' end
  end
  local changesAt = math.ceil(tonumber(due[2]) or -1)
  local function mayChangeAt(at)
    if changesAt < 0 or at < changesAt then changesAt = at end
  end
  if freshUntil then mayChangeAt(freshUntil + 1) end
  if countsEnd then mayChangeAt(countsEnd) end
  if settlesIn > 0 then mayChangeAt(now + settlesIn) end
  if stale then changesAt = -1 end
  if isRecorded and since >= 0 then mayChangeAt(since + maxWait + 1) end
  if accuracy == 'INCOMPLETE' and isRecorded then mayChangeAt(incompleteUntil) end

  local depth = ARGV[4] == '1' and redis.call('ZCOUNT', waitingKey, oldest, newest) or -1
  local scheduled = ARGV[5] == '1' and (due[1] and redis.call('ZCOUNT', waitingKey, later, '+inf') or 0) or -1
  local lost = -1
  if isRecorded and ARGV[6] == '1' then
    lost = tonumber(state[11] or 0) + redis.call('ZCOUNT', waitingKey, '-inf', '(' .. oldest)
  end
  -- What was counted in a window in which events were missed is too little.
  local function isCountedSince(seconds) return missedUntil <= now - tonumber(seconds) * 1000 end
  local numbers = string.format(rowFormat,
    since, depth, scheduled, changesAt, paused, now, stale and 1 or 0, isCountedSince(minWindow) and 1 or 0, lost, hasLost,
    -1, overtaken, inOrderSince, skew, '', ARGV[9] == '1' and isCountedSince(maxWindow) and totalsOf(stateKey) or '')
  return {
    source, accuracy, numbers, throughputsOf(recentKey, now, isCountedSince), waitTimesOf(recentKey, now, isCountedSince)
  }
end

local reply = {redisNow}
for i = 1, #KEYS / 5 do
  local isRead, row = pcall(rowOf, {KEYS[5 * i - 4], KEYS[5 * i - 3], KEYS[5 * i - 2], KEYS[5 * i - 1], KEYS[5 * i]}, ARGV[12 + i])
  if not isRead then
    -- Only a key of another type, and values that are not what was written, are the fault of this queue.
    local isOfQueue = type(row) == 'string' or string.find(row.err, '^WRONGTYPE')
    if not isOfQueue then error(row) end
    row = {err = row.err or 'ERR ' .. row}
  end
  reply[i + 1] = row
end
return reply
