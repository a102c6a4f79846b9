-- For the scripts that count: how old the jobs are that get dequeued. A waiting job that is older than all of them has been overtaken.
--
-- Field `served` of the state: '<from> <count> <oldest> <before>', of a period: when it began, how many jobs were dequeued since whose
-- enqueue is known, and the oldest time since when one of these had been claimable, ms; and that time of the period before ('' = there
-- was none). A period lasts until a minute is over and it has three jobs, so that jobs that come out of turn by a little, a dequeue
-- that is recorded late, and a single job that came first are no proof. It is by Redis's time of arrival, and does not age: in a
-- night without jobs, an overtaken job stays one.

local minPeriod, minServed = 60000, 3

-- The field with more jobs in it.  oldest: the oldest time since when one of these had been claimable, ms.
local function withServed(served, now, count, oldest)
  local from, counted, since, before = string.match(served or '', '^(%d+) (%d+) (%d+) (%d*)$')
  from, counted = tonumber(from), tonumber(counted)
  -- What is from before the clock was set back proves nothing.
  if from and from > now then from, before = nil, '' end
  if from and from + minPeriod <= now and counted >= minServed then from, before = nil, since end
  if not from then from, counted, since = now, 0, oldest end
  return string.format('%.0f %d %.0f %s', from, counted + count, math.min(tonumber(since), oldest), before or '')
end

-- Every job that was dequeued in the last minute or longer had been claimable since then at the earliest, ms; nil when that is not known.
local function servedSince(served, now)
  local since, before = string.match(served or '', '^%d+ %d+ (%d+) (%d+)$')
  local earliest = since and math.min(tonumber(since), tonumber(before))
  return earliest and earliest <= now and earliest or nil
end
