-- Reads one queue as it is now. Writes nothing. Costs O(log n) in the number of waiting jobs.
--
-- KEYS  1 waiting  2 state  3 recent
-- ARGV  1 now, ms ('' = Redis's own time)   2 longest wait, ms
--       3 '1' to count the waiting          4 '1' to count the scheduled
--       5 windows, in seconds and separated by commas, to give the throughput of   6 the same for wait times
-- Returns {now} when the queue is not known, else
--   {now, source, since, depth, scheduled, changes at, accuracy, paused, measured at, stale, throughputs, wait times, counted,
--   skew}
--   since: ms, -1 when nothing waits.  depth, scheduled: 0 where not asked for.  changes at: ms, -1 when only an event
--   can change this.  paused, stale: 0 or 1.  throughputs: for each window asked, the enqueued and the dequeued in it, as
--   decimals.  wait times: for each window asked, an array {count, sum, max, bucket, count, bucket, count, ...} in ms.
--   Both are empty, and counted is 0, for queues that a job system is asked about; else counted is 1.
--   skew: a producer's clock less the job system's, ms; '' where it is not known.

local waitingKey, stateKey, recentKey = KEYS[1], KEYS[2], KEYS[3]
local maxWait = tonumber(ARGV[2])
local slotsPerWindow = 20

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local source = redis.call('HGET', stateKey, 'source')
if not source then return {now} end
local cursor = source ~= 'events' and redis.call('HGET', stateKey, 'cursor')

if source ~= 'events' and not cursor then
  local fields = redis.call('HMGET', stateKey, 'since', 'depth', 'scheduled', 'accuracy', 'paused', 'measuredAt', 'freshUntil')
  local freshUntil = tonumber(fields[7])
  local stale = now > freshUntil
  return {
    now, source, tonumber(fields[1]), tonumber(fields[2]), tonumber(fields[3]),
    stale and -1 or freshUntil + 1, fields[4], tonumber(fields[5]),
    stale and tonumber(fields[6]) or now, stale and 1 or 0, {}, {}, 0, ''
  }
end

-- A queue whose job system's log is followed: counted like events, and stale when nobody reads the log any more.
local accuracy, paused, freshUntil, stale, heardAt, skew = 'EXACT', 0, nil, false, now, ''
if cursor then
  local fields = redis.call('HMGET', stateKey, 'accuracy', 'paused', 'measuredAt', 'freshUntil', 'skew')
  accuracy, paused, freshUntil, skew = fields[1], tonumber(fields[2]), tonumber(fields[4]), fields[5] or ''
  stale = now > freshUntil
  if stale then now = math.min(now, tonumber(fields[3])) end
end

-- What is older than the longest wait is a ghost: not there, whether it has been swept away yet or not. What really waits in
-- a job system is none, however old.
local oldest = cursor and '-inf' or string.format('%.0f', now - maxWait)
local later = '(' .. string.format('%.0f', now)
local head = redis.call('ZRANGE', waitingKey, oldest, string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local due = redis.call('ZRANGE', waitingKey, later, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local since = tonumber(head[2]) or -1
-- Half a ms before a whole one marks a time that was estimated: see follow.lua.
if since ~= math.floor(since) then
  since = math.ceil(since)
  if accuracy == 'EXACT' then accuracy = 'ESTIMATED' end
end
local changesAt = math.ceil(tonumber(due[2]) or -1)
if freshUntil and (changesAt < 0 or freshUntil + 1 < changesAt) then changesAt = freshUntil + 1 end
if stale then changesAt = -1 end
if not cursor and since >= 0 and (changesAt < 0 or since + maxWait + 1 < changesAt) then changesAt = since + maxWait + 1 end

local depth = ARGV[3] == '1' and redis.call('ZCOUNT', waitingKey, oldest, string.format('%.0f', now)) or 0
local scheduled = ARGV[4] == '1' and redis.call('ZCOUNT', waitingKey, later, '+inf') or 0

local function slots(kind, seconds)
  local fields = {}
  for i = 0, slotsPerWindow do fields[i + 1] = kind .. seconds .. ':' .. i end
  return redis.call('HMGET', recentKey, unpack(fields))
end

local throughputs = {}
for seconds in string.gmatch(ARGV[5], '%d+') do
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
  throughputs[#throughputs + 1] = string.format('%.6f', enqueued)
  throughputs[#throughputs + 1] = string.format('%.6f', dequeued)
end

local waitTimes = {}
for seconds in string.gmatch(ARGV[6], '%d+') do
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
  waitTimes[#waitTimes + 1] = flat
end

return {heardAt, source, since, depth, scheduled, changesAt, accuracy, paused, now, stale and 1 or 0, throughputs, waitTimes, 1, skew}
