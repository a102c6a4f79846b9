-- Folds one queue's part of a batch of events into its state, and publishes the queue's name when something changed.
-- With no events it only drops ghosts and lets old memory go.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of departures
-- ARGV  1 now, ms ('' = Redis's own time)   2 event window, ms      3 longest wait, ms
--       4 batch id ('' = none)              5 the batch's fingerprint
--       6 channel                           7 queue's name          8 '1' to leave a queue alone that is not known
--       9 writer ('' = none)               10 what the writer was answered last ('' = nothing): see memory.lua
--       then four for each event: kind (E enqueued, D dequeued, R removed), member, at in ms ('' = now),
--       available at in ms ('' = at)
-- Returns {accepted, duplicates, early, lost, taken, doubted, now, forgets, count}; the last three are the writer's new answer
--   lost: ghosts dropped.  taken: jobs that waited or were scheduled until they were removed.  doubted: 1 when writes turned
--   out to be lost that the writer had been answered, else 0
-- Errors  SOURCE: the queue belongs to a job system; BATCH: the batch id was used for another batch
--
-- Reads everything that the batch touches, folds in memory, writes what changed: the number of commands does not
-- depend on the number of events. memory.lua and recent.lua are loaded in front of it.

local waitingKey, stateKey, recentKey = KEYS[1], KEYS[2], KEYS[3]
local window, maxWait = tonumber(ARGV[2]), tonumber(ARGV[3])
local batchId, fingerprint, channel, queue = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local onlyKnown, writer, answered = ARGV[8] == '1', ARGV[9], ARGV[10]
local firstEvent, perEvent = 11, 4
local eventCount = (#ARGV - firstEvent + 1) / perEvent
local chunk = 1000 -- below the number of arguments that Lua's unpack can take
-- More than a batch can add, so that ghosts never gather; a sweep, which is an empty batch, does more at once.
local ghostsAtOnce = eventCount == 0 and 1000 or 100 + eventCount

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local nothing = {0, 0, 0, 0, 0, 0}
local state = redis.call('HMGET', stateKey, 'source', 'forgets', 'letGo')
local source = state[1]
if source and source ~= 'events' then
  if eventCount == 0 then return nothing end
  return redis.error_reply('SOURCE ' .. source)
end

-- 1. Read all that the events touch.
local members, position = {}, {}
for event = 0, eventCount - 1 do
  local member = ARGV[firstEvent + event * perEvent + 1]
  if not position[member] then
    members[#members + 1] = member
    position[member] = #members
  end
end

local memory = readMemory(state, {KEYS[4], KEYS[5]}, writer, batchId, members)
local isLost = isLacking(memory, answered, now, window)
if not source and not isLost and (eventCount == 0 or onlyKnown) then return nothing end

local first -- the batch as it came first
for i = 1, batchId ~= '' and 2 or 0 do
  local heard, a, d, e, print, by = string.match(memory.kept[i][4] or '', '^(%d+) (%d+) (%d+) (%d+) (%S+) (%S+)$')
  if heard and tonumber(heard) + window > now then
    if print ~= fingerprint then return redis.error_reply('BATCH was used') end
    first = {accepted = tonumber(a), duplicates = tonumber(d), early = tonumber(e), by = by}
  end
end

letOldGo(memory, now, window)
local toRemember = {}
-- Whoever is answered of a batch must have counted since it was folded, or he would not notice when it is lost.
if writer ~= '' and (isLost or not first or first.by ~= writer) then toRemember = {countWrite(memory, answered)} end

local function finish(accepted, duplicates, early, lost, taken, isNews)
  if #toRemember > 0 then remember(memory, now, window, toRemember) end
  writeState(memory, stateKey, isLost and now or nil)
  if isNews or isLost then redis.call('PUBLISH', channel, queue) end
  return {accepted, duplicates, early, lost, taken, isLost and 1 or 0, now, memory.forgets, memory.count}
end

if first then return finish(first.accepted, first.duplicates, first.early, 0, 0, false) end

local since, wasSince = {}, {}           -- member -> claimable since, of those in the waiting set now and before
local departures, touched = {}, {}       -- member -> {kind, at, since}, and those to be written

local function learnDeparture(member, value)
  local kind, heard, ago, waitedSince = string.match(value, '^(%a)(%d+) (%-?%d+) (.*)$')
  heard = tonumber(heard)
  local known = departures[member]
  if heard + window <= now or (known and known.heard > heard) then return end
  local sinceAgo = tonumber(waitedSince)
  departures[member] = {kind = kind, heard = heard, at = heard - tonumber(ago), since = sinceAgo and heard - sinceAgo}
end

for from = 1, #members, chunk do
  local to = math.min(from + chunk - 1, #members)
  local scores = redis.call('ZMSCORE', waitingKey, unpack(members, from, to))
  for i = from, to do
    local score = tonumber(scores[i - from + 1] or nil)
    since[members[i]], wasSince[members[i]] = score, score
  end
  for hash = 1, 2 do
    -- The first ones came with the memory, behind four other fields.
    local values, before = memory.kept[hash], 4
    if from > 1 then values, before = redis.call('HMGET', memory.hashes[hash], unpack(members, from, to)), 0 end
    for i = from, to do
      local value = values[before + i - from + 1]
      if value then learnDeparture(members[i], value) end
    end
  end
end

-- 2. Fold.
local accepted, duplicates, early, lost, taken = 0, 0, 0, 0, 0
local enqueued, dequeued, removed = 0, 0, 0
local recent = createRecent(recentKey, now)
local countRate, countWait = recent.countRate, recent.countWait

local function depart(member, kind, at, waitedSince)
  departures[member] = {kind = kind, at = at, since = waitedSince}
  touched[member] = true
  since[member] = nil
end

local ghosts = redis.call('ZRANGE', waitingKey, '-inf', '(' .. (now - maxWait), 'BYSCORE', 'LIMIT', 0, ghostsAtOnce, 'WITHSCORES')
for i = 1, #ghosts, 2 do
  local member, score = ghosts[i], tonumber(ghosts[i + 1])
  wasSince[member] = score
  depart(member, 'L', now, score)
  lost = lost + 1
end

for event = 0, eventCount - 1 do
  local first = firstEvent + event * perEvent
  local kind, member = ARGV[first], ARGV[first + 1]
  local at = math.min(tonumber(ARGV[first + 2]) or now, now)
  local departure = departures[member]
  local isNew = true
  if kind == 'E' then
    local claimable = tonumber(ARGV[first + 3]) or at
    if since[member] or (departure and departure.since) then
      isNew = false
    elseif departure then
      departure.since = claimable
      touched[member] = true
      if departure.kind == 'D' then countWait(departure.at, claimable) end
    elseif claimable < now - maxWait then
      depart(member, 'L', now, claimable)
      lost = lost + 1
    else
      since[member] = claimable
    end
    if isNew then
      enqueued = enqueued + 1
      countRate(at, recent.enqueued)
    end
  elseif departure and (departure.kind == 'D' or (departure.kind == kind)) then
    isNew = false
  else
    -- A dequeue says more than a removal, and both say more than that we lost the job: so the order does not matter.
    local waitedSince = since[member]
    if departure then
      waitedSince = departure.since
      if departure.kind == 'L' then lost = lost - 1 end
      if departure.kind == 'R' then removed = removed - 1 end
    end
    depart(member, kind, at, waitedSince)
    if kind == 'D' then
      dequeued = dequeued + 1
      countRate(at, recent.dequeued)
      if waitedSince then countWait(at, waitedSince) else early = early + 1 end
    else
      removed = removed + 1
      if not departure and waitedSince and waitedSince >= now - maxWait then taken = taken + 1 end
    end
  end
  if isNew then accepted = accepted + 1 else duplicates = duplicates + 1 end
end

-- 3. Write what changed.
local toAdd, toRemove = {}, {}
for member, score in pairs(since) do
  if not wasSince[member] then
    toAdd[#toAdd + 1] = string.format('%.0f', score)
    toAdd[#toAdd + 1] = member
  end
end
for member in pairs(wasSince) do
  if not since[member] then toRemove[#toRemove + 1] = member end
end
for member in pairs(touched) do
  local departure = departures[member]
  local waited = departure.since and string.format('%.0f', now - departure.since) or '-'
  toRemember[#toRemember + 1] = member
  toRemember[#toRemember + 1] = string.format('%s%.0f %.0f %s', departure.kind, now, now - departure.at, waited)
end
if batchId ~= '' then
  toRemember[#toRemember + 1] = 'batch:' .. batchId
  toRemember[#toRemember + 1] = string.format('%.0f %d %d %d %s %s', now, accepted, duplicates, early, fingerprint, writer)
end

-- First what is still to be read: should somebody have put another type in its place, nothing has been written yet.
recent.write()
for from = 1, #toAdd, chunk do
  redis.call('ZADD', waitingKey, unpack(toAdd, from, math.min(from + chunk - 1, #toAdd)))
end
for from = 1, #toRemove, chunk do
  redis.call('ZREM', waitingKey, unpack(toRemove, from, math.min(from + chunk - 1, #toRemove)))
end

local totals = {enqueued = enqueued, dequeued = dequeued, removed = removed, lost = lost}
for name, by in pairs(totals) do
  if by ~= 0 then redis.call('HINCRBY', stateKey, name, by) end
end

return finish(accepted, duplicates, early, lost, taken, accepted > 0 or lost ~= 0 or not source)
