-- Removes all that is known of one queue, and publishes its name. Of a queue that is not a job system's, it stays remembered for
-- a while that it was forgotten on purpose: see tombstones.lua.
--
-- KEYS  1 waiting  2 state  3 recent  4, 5 the two hashes of tombstones
-- ARGV  1 channel  2 queue's name  3 only if it belongs to this source ('' = to any)
--       4 fencing token of who says that it has gone ('' = is not compared)
--       5 now, ms ('' = Redis's own time)   6 event window, ms   7 what this process was answered last, as a writer
--       8 only if it is a recorded queue with no jobs and no event after this time, ms ('' = in any case): all that was
--         answered of it is older than the event window then, so nothing stays remembered
-- Returns a map
--   newerFence  the token that is stored, when it is newer: then nothing else is returned, and the queue was left alone
--   isLeft      1 when the queue was left alone: it belongs to another source, or is not idle; else 0
--   wasKnown    1 when the queue was known, and is not any more; else 0
--   now, forgets   ms, and how often the queue has been forgotten; missing where that is not counted

-- @include ../../redis/lua/includes/now.lua
-- @include includes/tombstones.lua

local now, window = nowMs(ARGV[5]), tonumber(ARGV[6])

-- Forgetting is how a queue is repaired whose keys are not what was written: what cannot be read of it is left out.
local isReadable, state = pcall(readState, KEYS[2], 'fence', 'eventAt')
if not isReadable then state = {} end
local source, newest = state[1], tonumber(state[8] or nil)
local leave = {map = {isLeft = 1, wasKnown = 0}}
local idleSince = tonumber(ARGV[8])
if idleSince then
  local eventAt = tonumber(state[9] or nil)
  if source ~= 'events' or not eventAt or eventAt > idleSince or redis.call('EXISTS', KEYS[1]) == 1 then return leave end
end
if source and ARGV[3] ~= '' and source ~= ARGV[3] then return leave end
local fence = tonumber(ARGV[4])
if fence and fence < (newest or fence) then return {map = {newerFence = newest}} end

local forgets
if ARGV[3] == '' and not idleSince and (not source or source == 'events') then
  local hashes = {KEYS[4], KEYS[5]}
  local hasMemory, memory = pcall(readMemory, state, hashes, '', '', {})
  if not hasMemory then memory = {hashes = hashes, forgets = tonumber(state[2] or 0) or 0, count = 0} end
  redis.call('UNLINK', unpack(KEYS))
  -- Never back behind what this process was answered: it would take that for a loss.
  countWrite(memory, ARGV[7])
  forgets = memory.forgets + 1
  memory.newestAt = {}
  remember(memory, now, window, {'forgotten', string.format('%.0f', forgets)})
else
  redis.call('UNLINK', unpack(KEYS))
end
local wasKnown = source or not isReadable
if wasKnown then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return {map = {isLeft = 0, wasKnown = wasKnown and 1 or 0, now = forgets and now, forgets = forgets}}
