-- For the scripts that remember something for one event window: tombstones, batches, and how much each
-- writer has written. A writer is a server process, known by a random id.
--
-- Whether Redis has lost what it had acknowledged (a failover, a restart from an older file) is found by counting: each fold
-- counts up `writer:<id>`, '<forgets> <count>', and answers it; the writer sends the highest one that it was answered with
-- what it asks next, as '<forgets> <count> <at, ms>'. Redis's past only ever loses its end, so a smaller count means lost
-- writes. None are lost, though, where the count can be gone for another reason:
--   - its writer got the answer one event window ago, or earlier;
--   - a process with a shorter window has dropped it: `letGo` of the state is the time before which anything may have been dropped;
--   - the queue was forgotten on purpose since: `forgets` counts that and outlives the queue, in `forgotten`; each count of a
--     writer is one of the queue since it was last forgotten.

-- Redis may also evict a key, and an operator delete one. So the state says which keys must be there, and each of them requires the state:
--   jobs: how many members `waiting` has.
--   tombstones:0, tombstones:1: `heardUntil` of each hash of tombstones; 0: there is none.
--   countedAt: when `recent` was written last, ms; 0: there is none.
-- All of them are written by whatever script changes what they speak of. A state of version 1 has none of them until it is
-- written again, and then nothing is missed.
-- Fields keep the names that version 1 gave them: `letGo` is evictedBefore here, `heardUntil` newestAt, and `doubt` lostAt.

-- What is kept of every recorded queue, with more fields behind it.
local function readState(stateKey, ...)
  return redis.call('HMGET', stateKey, 'source', 'forgets', 'letGo', 'jobs', 'tombstones:0', 'tombstones:1', 'countedAt', ...)
end

local countedFor = 900000 -- the longest window that is counted, ms; `recent` lives a minute longer

-- Whether a key is gone that must be there.  state: of readState.  keys: waiting, state, recent and the hashes of tombstones.
local function isKeyMissing(state, keys, now, window)
  if not state[1] then
    if redis.call('EXISTS', keys[1], keys[3]) > 0 then return true end
    for i = 4, 5 do
      -- What forget.lua leaves are two fields; of a job system's queue this is a set.
      local isLeft = redis.call('TYPE', keys[i]).ok == 'hash'
      if isLeft and (redis.call('HLEN', keys[i]) ~= 2 or redis.call('HEXISTS', keys[i], 'forgotten') == 0) then return true end
    end
    return false
  end
  if state[4] and redis.call('ZCARD', keys[1]) ~= tonumber(state[4]) then return true end
  local expected = {}
  for i = 1, 2 do
    if tonumber(state[4 + i] or 0) + window > now then expected[#expected + 1] = keys[3 + i] end
  end
  if tonumber(state[7] or 0) + countedFor > now then expected[#expected + 1] = keys[3] end
  return #expected > 0 and redis.call('EXISTS', unpack(expected)) < #expected
end

-- Of a queue that is no job system's.  state: of readState.  hashes: the two hashes of
-- tombstones, the even one first.  writer, batchId: '' for none.  members: of which tombstones are wanted, and got in `kept`
-- of the memory, for each hash behind four other fields: only of the first 1000.
local function readMemory(state, hashes, writer, batchId, members)
  local memory = {
    source = state[1], forgets = tonumber(state[2] or 0), evictedBefore = tonumber(state[3] or 0), state = state,
    hashes = hashes, newestAt = {}, kept = {}, writerField = 'writer:' .. writer, count = 0
  }
  local countedSince, counted = 0, 0 -- the writer's latest count, and the `forgets` that it was counted in
  for i = 1, 2 do
    local kept = redis.call('HMGET', hashes[i], 'heardUntil', 'forgotten', memory.writerField, 'batch:' .. batchId,
      unpack(members, 1, math.min(#members, 1000)))
    memory.kept[i] = kept
    memory.newestAt[i] = tonumber(kept[1] or nil)
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
local function hasLostWrites(memory, answered, now, window)
  local forgets, count, at = string.match(answered, '^(%d+) (%d+) (%d+)$')
  forgets, count, at = tonumber(forgets), tonumber(count), tonumber(at)
  if not at or at + window <= now or at < memory.evictedBefore then return false end
  -- What was lost with the whole queue needs no mark if all that this writer had done to it was to forget it.
  if forgets > memory.forgets then return count > 0 or memory.source ~= false end
  return forgets == memory.forgets and count > memory.count
end

-- What follows writes.

-- Tombstones are kept in two hashes that take turns, one event window (a generation) each, so that forgetting is dropping a whole
-- hash, never a scan. A hash has the time until which its newest entry can have been received, so that it keeps its meaning
-- when the window is set to another length. It is dropped when even that entry is too old; a clock set back drops nothing.
local function evictExpired(memory, now, window)
  for i, hash in ipairs(memory.hashes) do
    local newestAt = memory.newestAt[i]
    if newestAt and newestAt + window <= now then
      redis.call('UNLINK', hash)
      memory.newestAt[i] = nil
      memory.evictedBefore = math.max(memory.evictedBefore, newestAt)
    end
  end
end

local function remember(memory, now, window, fieldsAndValues)
  local generation = math.floor(now / window)
  local i = 1 + generation % 2
  local hash, generationEnds = memory.hashes[i], (generation + 1) * window
  for from = 1, #fieldsAndValues, 1000 do
    redis.call('HSET', hash, unpack(fieldsAndValues, from, math.min(from + 999, #fieldsAndValues)))
  end
  if not memory.newestAt[i] or memory.newestAt[i] < generationEnds then
    memory.newestAt[i] = generationEnds
    redis.call('HSET', hash, 'heardUntil', string.format('%.0f', generationEnds))
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

-- Makes the queue known, writes which keys it has now, and marks it as INCOMPLETE unless lostAt is nil.
-- keys: as of isKeyMissing.  countedAt: nil when `recent` was not written.
local function writeState(memory, keys, countedAt, lostAt)
  local state, fields = memory.state, {}
  local function write(position, name, value)
    if tonumber(state[position] or nil) == value then return end
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.0f', value)
  end
  if memory.forgets > 0 then write(2, 'forgets', memory.forgets) end
  if memory.evictedBefore > 0 then write(3, 'letGo', memory.evictedBefore) end
  write(4, 'jobs', redis.call('ZCARD', keys[1]))
  write(5, 'tombstones:0', memory.newestAt[1] or 0)
  write(6, 'tombstones:1', memory.newestAt[2] or 0)
  if lostAt and not countedAt and redis.call('EXISTS', keys[3]) == 0 then countedAt = 0 end
  if countedAt then write(7, 'countedAt', countedAt) end
  if lostAt then write(0, 'doubt', lostAt) end
  if not memory.source then
    fields[#fields + 1] = 'source'
    fields[#fields + 1] = 'events'
  end
  if #fields > 0 then redis.call('HSET', keys[2], unpack(fields)) end
end
