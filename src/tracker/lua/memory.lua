-- Loaded in front of the scripts that remember something for one event window: departures, batches, and how much each
-- writer has written. A writer is a server process, known by a random id.
--
-- Whether Redis has lost what it had acknowledged (a failover, a restart from an older file) is told by counting: each fold
-- counts up `writer:<id>`, '<forgets> <count>', and answers it; the writer sends the highest one that it was answered with
-- what it asks next, as '<forgets> <count> <at, ms>'. Redis's past only ever loses its end, so a smaller count means lost
-- writes. None are lost, though, where the count can be gone for another reason:
--   - its writer got the answer one event window ago, or earlier;
--   - whoever has a shorter window has let it go: `letGo` of the state is the time before which anything may have been;
--   - the queue was forgotten on purpose since: `forgets` counts that and outlives the queue, in `forgotten`; each count of a
--     writer is one of the queue since it was last forgotten.

-- Of a queue that is no job system's.  state: what HMGET says of source, forgets and letGo.  hashes: the two hashes of
-- departures, the even one first.  writer, batchId: '' for none.  members: of which departures are wanted, and got in `kept`
-- of the memory, for each hash behind four other fields: only of the first 1000.
local function readMemory(state, hashes, writer, batchId, members)
  local memory = {
    source = state[1], forgets = tonumber(state[2] or 0), letGo = tonumber(state[3] or 0), state = state,
    hashes = hashes, heardUntil = {}, kept = {}, writerField = 'writer:' .. writer, count = 0
  }
  local countedSince, counted = 0, 0 -- the writer's latest count, and the `forgets` that it was counted in
  for i = 1, 2 do
    local kept = redis.call('HMGET', hashes[i], 'heardUntil', 'forgotten', memory.writerField, 'batch:' .. batchId,
      unpack(members, 1, math.min(#members, 1000)))
    memory.kept[i] = kept
    memory.heardUntil[i] = tonumber(kept[1] or nil)
    if kept[2] then memory.forgets = math.max(memory.forgets, tonumber(kept[2])) end
    if kept[3] then
      local forgets, count = string.match(kept[3], '^(%d+) (%d+)$')
      forgets, count = tonumber(forgets), tonumber(count)
      if forgets > countedSince or (forgets == countedSince and count > counted) then
        countedSince, counted = forgets, count
      end
    end
  end
  if countedSince == memory.forgets then memory.count = counted end
  return memory
end

-- Whether writes were lost that this writer was answered.
local function isLacking(memory, answered, now, window)
  local forgets, count, at = string.match(answered, '^(%d+) (%d+) (%d+)$')
  forgets, count, at = tonumber(forgets), tonumber(count), tonumber(at)
  if not at or at + window <= now or at < memory.letGo then return false end
  -- What was lost with the whole queue needs no doubt if all that this writer had done to it was to forget it.
  if forgets > memory.forgets then return count > 0 or memory.source ~= false end
  return forgets == memory.forgets and count > memory.count
end

-- What follows writes.

-- Departures are remembered in two hashes that take turns, one event window each, so that forgetting is dropping a whole
-- hash, never a scan. A hash says until when its newest entry can have been heard, as a time, so that it keeps its sense
-- when the window is set to another length. It is let go when even that entry is too old; a clock set back lets nothing go.
local function letOldGo(memory, now, window)
  for i, hash in ipairs(memory.hashes) do
    local heardUntil = memory.heardUntil[i]
    if heardUntil and heardUntil + window <= now then
      redis.call('UNLINK', hash)
      memory.heardUntil[i] = nil
      memory.letGo = math.max(memory.letGo, heardUntil)
    end
  end
end

local function remember(memory, now, window, fieldsAndValues)
  local generation = math.floor(now / window)
  local i = 1 + generation % 2
  local hash, turnEnds = memory.hashes[i], (generation + 1) * window
  for from = 1, #fieldsAndValues, 1000 do
    redis.call('HSET', hash, unpack(fieldsAndValues, from, math.min(from + 999, #fieldsAndValues)))
  end
  if not memory.heardUntil[i] or memory.heardUntil[i] < turnEnds then
    memory.heardUntil[i] = turnEnds
    redis.call('HSET', hash, 'heardUntil', string.format('%.0f', turnEnds))
    -- A sweep lets it go long before. Two of the longest windows that can be set, whatever other processes are set to.
    redis.call('PEXPIRE', hash, 2 * 86400000)
  end
end

-- Counts one more write of this writer, to be remembered. Never less than what it was answered, so that a loss is noticed
-- once, also by whom it was on its way already.
local function countWrite(memory, answered)
  local forgets, count = string.match(answered, '^(%d+) (%d+) ')
  forgets = tonumber(forgets)
  if forgets and forgets > memory.forgets then memory.forgets, memory.count = forgets, 0 end
  if forgets == memory.forgets then memory.count = math.max(memory.count, tonumber(count)) end
  memory.count = memory.count + 1
  return memory.writerField, string.format('%.0f %.0f', memory.forgets, memory.count)
end

-- Makes the queue known, and raises a doubt of it unless doubtAt is nil.
local function writeState(memory, stateKey, doubtAt)
  local forgets, letGo = tonumber(memory.state[2] or 0), tonumber(memory.state[3] or 0)
  if memory.source and not doubtAt and memory.forgets == forgets and memory.letGo == letGo then return end
  local fields = {'source', 'events'}
  local function write(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.0f', value)
  end
  if memory.forgets ~= forgets then write('forgets', memory.forgets) end
  if memory.letGo ~= letGo then write('letGo', memory.letGo) end
  if doubtAt then write('doubt', doubtAt) end
  redis.call('HSET', stateKey, unpack(fields))
end
