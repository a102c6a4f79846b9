-- For the scripts that count: what has been counted of a queue since it became known, as numbers in its state,
-- which snapshot.lua reads.
--
--   enqueued, dequeued, removed, lost: lost and removed are less again when one turns out to have been dequeued
--   unlost, unremoved: how often that was, so that the sums only ever grow
--   wait:<ms>: dequeued jobs that had waited at most so long, and longer than the bound before; wait:inf: all longer ones
--   waited: how long all of them had waited, ms

-- In ms, between two that every wait lies between. Each is a series of every queue in Prometheus: few, and they reach hours.
-- core/snapshot.ts and snapshot.lua have them, too.
local function waitBounds()
  return {
    [0] = -1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 900000, 3600000, 10800000, 43200000, math.huge
  }
end

-- totals: by how much each grows.
local function writeTotals(stateKey, totals)
  for name, by in pairs(totals) do
    if by ~= 0 then redis.call('HINCRBY', stateKey, name, by) end
  end
end
