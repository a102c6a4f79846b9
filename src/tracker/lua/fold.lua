-- Folds one queue's part of a batch of events into its state, and publishes the queue's name when something changed.
-- With no events it only drops ghosts and lets old memory go.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of tombstones
-- ARGV  1 now, ms ('' = Redis's own time)   2 event window, ms      3 longest wait, ms
--       4 batch id ('' = none)              5 the batch's fingerprint
--       6 channel                           7 queue's name          8 '1' to leave a queue alone that is not known,
--         '2' to also leave out events of jobs that are not known, since those would have to be remembered
--       9 writer ('' = none)               10 what the writer was answered last ('' = nothing): see tombstones.lua
--      11 the events' kinds, a letter each (E enqueued, D dequeued, R removed)
--      12 their members, as a JSON list
--      13 when they happened, ms, as a JSON list (0 = now; '' = all of them now)
--      14 when they are available, ms, as a JSON list (0 = when they happened; '' = all of them)
--      15 the latest that it can be unless the clock was set, ms ('' = not known): then jobs wait for longer by the difference
-- Returns a map, which leaves out what is 0: a shorter reply takes both sides less time
--   accepted, duplicates, early   how many events. A batch that was folded before has those of then
--   expired       enqueues whose job had been claimable for longer than the longest wait
--   lost          ghosts dropped
--   taken         jobs that waited or were scheduled until they were removed
--   isKnown       1 when the queue was known before, else 0
--   isIncomplete  1 when writes turned out to be lost that the writer had been answered, or a key of the queue is gone, else 0
--   idleSince     when the last event came, ms, at the latest: only when there are no events here and the queue has no jobs
--   now           ms; missing when nothing was folded: the queue is a job system's, or not known and left alone
--   forgets, count   the writer's new answer; missing when nothing was folded, or for no writer
-- Errors  SOURCE: the queue belongs to a job system; BATCH: the batch id was used for another batch
--
-- Reads everything that the batch touches, folds in memory, writes what changed: the number of commands does not
-- depend on the number of events.

-- @include ../../redis/lua/includes/now.lua
-- @include includes/tombstones.lua
-- @include includes/recent.lua

local waitingKey, stateKey, recentKey = KEYS[1], KEYS[2], KEYS[3]
local window, maxWait = tonumber(ARGV[2]), tonumber(ARGV[3])
local batchId, fingerprint, channel, queue = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local onlyKnown, onlyKnownJobs, writer, answered = ARGV[8] ~= '0', ARGV[8] == '2', ARGV[9], ARGV[10]
local kinds = ARGV[11]
local eventCount = #kinds
local chunk = 1000 -- below the number of arguments that Lua's unpack can take
-- More than a batch can add, so that ghosts never gather; a sweep, which is an empty batch, does more at once.
local ghostsAtOnce = eventCount == 0 and 1000 or 100 + eventCount

local now = nowMs(ARGV[1])

local latest = tonumber(ARGV[15])
if latest and now > latest then maxWait = maxWait + now - latest end

-- The time of the last event is written at most once in this many ms.
local eventAtPrecision = 60000
local state = readState(stateKey, 'eventAt', 'served')
local source, eventAt = state[1], tonumber(state[8] or nil)
local nothing = {map = {isKnown = source and 1 or nil}}
if source and source ~= 'events' then
  if eventCount == 0 then return nothing end
  return redis.error_reply('SOURCE ' .. source)
end

-- 1. Read all that the events touch. What is kept of a member here is at its position in `members`.
local memberOf, atOf, availableOf = {}, {}, {}
if eventCount > 0 then memberOf = cjson.decode(ARGV[12]) end
if ARGV[13] ~= '' then atOf = cjson.decode(ARGV[13]) end
if ARGV[14] ~= '' then availableOf = cjson.decode(ARGV[14]) end
local members, positionOf, positions = {}, {}, {} -- positions: of each event's member
for event = 1, eventCount do
  local member = memberOf[event]
  local position = positionOf[member]
  if not position then
    position = #members + 1
    members[position] = member
    positionOf[member] = position
  end
  positions[event] = position
end

local memory = readMemory(state, {KEYS[4], KEYS[5]}, writer, batchId, members)
local isLost = hasLostWrites(memory, answered, now, window) or isKeyMissing(state, KEYS, now, window)
if not source and not isLost and (eventCount == 0 or onlyKnown) then return nothing end

local first -- the batch as it came first
for i = 1, batchId ~= '' and 2 or 0 do
  local received, a, d, e, print, by, expired = string.match(memory.kept[i][4] or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+) ?(%d*)$')
  if received and tonumber(received) + window > now then
    if print ~= fingerprint then return redis.error_reply('BATCH was used') end
    -- An earlier version did not write how many were expired.
    first = {accepted = tonumber(a), duplicates = tonumber(d), early = tonumber(e), by = by, expired = tonumber(expired) or 0}
  end
end

evictExpired(memory, now, window)
local toRemember, countedAt = {}, nil
-- A process that answers a batch must have counted since it was folded, or it would not notice when it is lost.
if writer ~= '' and (isLost or not first or first.by ~= writer) then toRemember = {countWrite(memory, answered)} end

local function finish(accepted, duplicates, early, lost, taken, expired, isNews)
  if #toRemember > 0 then remember(memory, now, window, toRemember) end
  writeState(memory, KEYS, countedAt, isLost and now or nil)
  if isNews or isLost then redis.call('PUBLISH', channel, queue) end
  local idleSince
  if eventCount == 0 and redis.call('EXISTS', waitingKey) == 0 then idleSince = eventAt + eventAtPrecision end
  local function unlessZero(number) return number ~= 0 and number or nil end
  local hasWriter = writer ~= ''
  return {map = {
    accepted = unlessZero(accepted), duplicates = unlessZero(duplicates), early = unlessZero(early),
    expired = unlessZero(expired), lost = unlessZero(lost), taken = unlessZero(taken),
    isKnown = source and 1 or nil, isIncomplete = isLost and 1 or nil, idleSince = idleSince,
    now = now, forgets = hasWriter and memory.forgets or nil, count = hasWriter and memory.count or nil
  }}
end

if first then return finish(first.accepted, first.duplicates, first.early, 0, 0, first.expired, false) end

local since, wasSince = {}, {}   -- claimable since, of those in the waiting set now and before; false of others
-- Of a tombstone: its kind (one more: L lost), false when there is none; when it was; since when the job
-- had waited, false when that is not known; and whether it is to be written.
local departedAs, departedAt, departedSince, isTouched = {}, {}, {}, {}
local receivedAt = {}

local function readTombstone(position, value)
  local kind, received, ago, sinceAgo = cmsgpack.unpack(value)
  if received + window <= now or (departedAs[position] and receivedAt[position] > received) then return end
  departedAs[position], departedAt[position], receivedAt[position] = kind, received - ago, received
  departedSince[position] = sinceAgo and received - sinceAgo or false
end

for from = 1, #members, chunk do
  local to = math.min(from + chunk - 1, #members)
  local scores = redis.call('ZMSCORE', waitingKey, unpack(members, from, to))
  for i = from, to do
    local score = scores[i - from + 1]
    score = score and tonumber(score)
    since[i], wasSince[i] = score, score
    departedAs[i], departedSince[i], isTouched[i] = false, false, false
  end
  for hash = 1, 2 do
    -- The first ones came with the memory, behind four other fields.
    local values, before = memory.kept[hash], 4
    if from > 1 then values, before = redis.call('HMGET', memory.hashes[hash], unpack(members, from, to)), 0 end
    for i = from, to do
      local value = values[before + i - from + 1]
      if value then readTombstone(i, value) end
    end
  end
end

-- 2. Fold.
local accepted, duplicates, early, lost, taken, expired = 0, 0, 0, 0, 0, 0
local enqueued, dequeued, removed, unlost, unremoved = 0, 0, 0, 0, 0
local recent = createRecent(recentKey, now)
local countEnqueue, countDequeue, countWait = recent.countEnqueue, recent.countDequeue, recent.countWait

local function depart(position, kind, at, waitedSince)
  departedAs[position], departedAt[position], departedSince[position] = kind, at, waitedSince
  isTouched[position] = true
  since[position] = false
end

local ghosts = redis.call('ZRANGE', waitingKey, '-inf', '(' .. (now - maxWait), 'BYSCORE', 'LIMIT', 0, ghostsAtOnce, 'WITHSCORES')
for i = 1, #ghosts, 2 do
  local member, score = ghosts[i], tonumber(ghosts[i + 1])
  local position = positionOf[member] or #members + 1
  members[position], wasSince[position] = member, score
  depart(position, 'L', now, score)
  lost = lost + 1
end

local enqueue, dequeue = string.byte('ED', 1, 2)
for event = 1, eventCount do
  local position = positions[event]
  local kind, at = string.byte(kinds, event), atOf[event]
  if not at or at == 0 or at > now then at = now end
  local departed = departedAs[position]
  local isNew = true
  if kind == enqueue then
    local claimable = availableOf[event]
    if not claimable or claimable == 0 then claimable = at end
    if since[position] or departedSince[position] then
      isNew = false
    elseif departed then
      departedSince[position] = claimable
      isTouched[position] = true
      if departed == 'D' then countWait(departedAt[position], claimable) end
    elseif claimable < now - maxWait then
      depart(position, 'L', now, claimable)
      lost, expired = lost + 1, expired + 1
    else
      since[position] = claimable
    end
    if isNew then
      enqueued = enqueued + 1
      countEnqueue(at)
    end
  elseif departed == 'D' or (departed == 'R' and kind ~= dequeue) then
    isNew = false
  elseif onlyKnownJobs and not since[position] and not departed then
    isNew = nil
  else
    -- A dequeue says more than a removal, and both say more than that we lost the job: so the order does not matter.
    local waitedSince = since[position]
    if departed then
      waitedSince = departedSince[position]
      if departed == 'L' then
        lost, unlost = lost - 1, unlost + 1
      else
        removed, unremoved = removed - 1, unremoved + 1
      end
    end
    if kind == dequeue then
      depart(position, 'D', at, waitedSince)
      dequeued = dequeued + 1
      countDequeue(at, waitedSince)
      if not waitedSince then early = early + 1 end
    else
      depart(position, 'R', at, waitedSince)
      removed = removed + 1
      if not departed and waitedSince and waitedSince >= now - maxWait then taken = taken + 1 end
    end
  end
  if isNew then accepted = accepted + 1 elseif isNew == false then duplicates = duplicates + 1 end
end

-- 3. Write what changed.
local toAdd, toRemove = {}, {}
for position, member in ipairs(members) do
  local score = since[position]
  if not score then
    if wasSince[position] then toRemove[#toRemove + 1] = member end
  elseif not wasSince[position] then
    toAdd[#toAdd + 1] = score
    toAdd[#toAdd + 1] = member
  end
  if isTouched[position] then
    local waitedSince = departedSince[position]
    toRemember[#toRemember + 1] = member
    toRemember[#toRemember + 1] = cmsgpack.pack(departedAs[position], now, now - departedAt[position],
      waitedSince and now - waitedSince)
  end
end
-- A batch of which events were left out is not done: it will come again.
if batchId ~= '' and accepted + duplicates == eventCount then
  toRemember[#toRemember + 1] = 'batch:' .. batchId
  toRemember[#toRemember + 1] = string.format('%.0f %d %d %d %s %s %d', now, accepted, duplicates, early, fingerprint, writer, expired)
end

-- First what is still to be read: if a key has another type, nothing has been written yet.
if recent.write() then countedAt = now end
for from = 1, #toAdd, chunk do
  redis.call('ZADD', waitingKey, unpack(toAdd, from, math.min(from + chunk - 1, #toAdd)))
end
for from = 1, #toRemove, chunk do
  redis.call('ZREM', waitingKey, unpack(toRemove, from, math.min(from + chunk - 1, #toRemove)))
end

if not source then redis.call('HSET', stateKey, 'knownAt', string.format('%.0f', now)) end
-- A queue that an earlier version recorded has no such time: it counts from the first sweep.
if not eventAt or (eventCount > 0 and now >= eventAt + eventAtPrecision) then
  eventAt = now
  redis.call('HSET', stateKey, 'eventAt', string.format('%.0f', now))
end

local totals = {enqueued = enqueued, dequeued = dequeued, removed = removed, lost = lost}
if unlost + unremoved > 0 then totals.unlost, totals.unremoved = unlost, unremoved end
recent.addWaits(totals)
writeTotals(stateKey, totals)
local served = recent.served(state[9])
if served then redis.call('HSET', stateKey, 'served', served) end

return finish(accepted, duplicates, early, lost, taken, expired, accepted > 0 or lost ~= 0 or not source)
