-- Marks one queue as INCOMPLETE when Redis has lost writes that a writer had been answered, or a key of the queue, and publishes
-- the queue's name.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of tombstones
-- ARGV  1 now, ms ('' = Redis's own time)   2 event window, ms   3 writer   4 what it was answered last: see tombstones.lua
--       5 channel   6 queue's name   7 '1' to raise it in any case, if the queue is known
--       '2' to raise it also if the queue is not known, unless it was forgotten; '3' to raise it if the queue is known and was
--       never forgotten
-- Returns a map
--   isKnown       1 when the queue is known now, and known from events, else 0
--   now, forgets, count   the writer's new answer; missing when the queue was not marked

-- @include ../../redis/lua/includes/now.lua
-- @include includes/tombstones.lua

local window, writer, answered = tonumber(ARGV[2]), ARGV[3], ARGV[4]

local now = nowMs(ARGV[1])

local state = readState(KEYS[2])
local source = state[1]
if source and source ~= 'events' then return {map = {isKnown = 0}} end
local memory = readMemory(state, {KEYS[4], KEYS[5]}, writer, '', {})
local isLost = hasLostWrites(memory, answered, now, window) or isKeyMissing(state, KEYS, now, window)
  or (ARGV[7] == '1' and source) or (ARGV[7] == '2' and not source and memory.forgets == 0)
  or (ARGV[7] == '3' and source and memory.forgets == 0)
if not isLost then return {map = {isKnown = source and 1 or 0}} end

evictExpired(memory, now, window)
remember(memory, now, window, {countWrite(memory, answered)})
writeState(memory, KEYS, nil, now)
redis.call('PUBLISH', ARGV[5], ARGV[6])
return {map = {isKnown = 1, now = now, forgets = memory.forgets, count = memory.count}}
