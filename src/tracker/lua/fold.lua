-- Folds one queue's part of a batch of events into its state, and publishes the queue's name when something changed.
-- With no events it only drops ghosts and lets old memory go.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of departures
-- ARGV  1 now, ms ('' = Redis's own time)   2 event window, ms      3 longest wait, ms
--       4 batch id ('' = none)              5 the batch's fingerprint
--       6 channel                           7 queue's name
--       then four for each event: kind (E enqueued, D dequeued, R removed), member, at in ms ('' = now),
--       available at in ms ('' = at)
-- Returns {accepted, duplicates, early, lost}
-- Errors  SOURCE: the queue belongs to a job system; BATCH: the batch id was used for another batch
--
-- Reads everything that the batch touches, folds in memory, writes what changed: the number of commands does not
-- depend on the number of events. recent.lua is loaded in front of it.

local waitingKey, stateKey, recentKey = KEYS[1], KEYS[2], KEYS[3]
local window, maxWait = tonumber(ARGV[2]), tonumber(ARGV[3])
local batchId, fingerprint, channel, queue = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local firstEvent, perEvent = 8, 4
local eventCount = (#ARGV - firstEvent + 1) / perEvent
local chunk = 1000 -- below the number of arguments that Lua's unpack can take
-- More than a batch can add, so that ghosts never gather; a sweep, which is an empty batch, does more at once.
local ghostsAtOnce = eventCount == 0 and 1000 or 100 + eventCount

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local source = redis.call('HGET', stateKey, 'source')
if source and source ~= 'events' then
  if eventCount == 0 then return {0, 0, 0, 0} end
  return redis.error_reply('SOURCE ' .. source)
end
if not source and eventCount == 0 then return {0, 0, 0, 0} end

-- Departures are remembered in two hashes that take turns, one event window each, so that forgetting is dropping a whole
-- hash, never a scan. A hash says until when its newest entry can have been heard, as a time, so that it keeps its sense
-- when the window is set to another length. It is let go when even that entry is too old; a clock set back lets nothing go.
local generation = math.floor(now / window)
local turnEnds = (generation + 1) * window
local current, previous = KEYS[4 + generation % 2], KEYS[5 - generation % 2]
local function letGo(key)
  local heardUntil = tonumber(redis.call('HGET', key, 'heardUntil') or nil)
  if heardUntil and heardUntil + window <= now then
    redis.call('UNLINK', key)
    return nil
  end
  return heardUntil
end
local currentUntil = letGo(current)
letGo(previous)
local function remember(fieldsAndValues)
  for from = 1, #fieldsAndValues, chunk do
    redis.call('HSET', current, unpack(fieldsAndValues, from, math.min(from + chunk - 1, #fieldsAndValues)))
  end
  if not currentUntil or currentUntil < turnEnds then
    currentUntil = turnEnds
    redis.call('HSET', current, 'heardUntil', string.format('%.0f', turnEnds))
    redis.call('PEXPIRE', current, 3 * window)
  end
end

if batchId ~= '' then
  local field = 'batch:' .. batchId
  local answer = redis.call('HGET', current, field) or redis.call('HGET', previous, field)
  if answer then
    local heard, a, d, e, print = string.match(answer, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
    if tonumber(heard) + window > now then
      if print ~= fingerprint then return redis.error_reply('BATCH ' .. batchId) end
      return {tonumber(a), tonumber(d), tonumber(e), 0}
    end
  end
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
  local older = redis.call('HMGET', previous, unpack(members, from, to))
  local newer = redis.call('HMGET', current, unpack(members, from, to))
  for i = from, to do
    local member, at = members[i], i - from + 1
    local score = tonumber(scores[at] or nil)
    since[member], wasSince[member] = score, score
    if older[at] then learnDeparture(member, older[at]) end
    if newer[at] then learnDeparture(member, newer[at]) end
  end
end

-- 2. Fold.
local accepted, duplicates, early, lost = 0, 0, 0, 0
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
    end
  end
  if isNew then accepted = accepted + 1 else duplicates = duplicates + 1 end
end

-- 3. Write what changed.
local toAdd, toRemove, toRemember = {}, {}, {}
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
  toRemember[#toRemember + 1] = string.format('%.0f %d %d %d %s', now, accepted, duplicates, early, fingerprint)
end

for from = 1, #toAdd, chunk do
  redis.call('ZADD', waitingKey, unpack(toAdd, from, math.min(from + chunk - 1, #toAdd)))
end
for from = 1, #toRemove, chunk do
  redis.call('ZREM', waitingKey, unpack(toRemove, from, math.min(from + chunk - 1, #toRemove)))
end
if #toRemember > 0 then remember(toRemember) end

recent.write()

if not source then redis.call('HSET', stateKey, 'source', 'events') end
local totals = {enqueued = enqueued, dequeued = dequeued, removed = removed, lost = lost}
for name, by in pairs(totals) do
  if by ~= 0 then redis.call('HINCRBY', stateKey, name, by) end
end

if accepted > 0 or lost ~= 0 or not source then redis.call('PUBLISH', channel, queue) end
return {accepted, duplicates, early, lost}
