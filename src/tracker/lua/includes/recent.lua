-- For the scripts that count: the slots that throughput and wait times are counted in, which
-- snapshot.lua reads, and those of ten seconds from which the history is written (history/step-store.ts). Counts in memory, by
-- the second, and writes once; every slot is a whole number of seconds long.

-- @include totals.lua
-- @include served.lua

local function createRecent(recentKey, now)
  local recent = {}
  local counted = {}                       -- start of a second, ms -> what was counted in it
  local slotsPerWindow = 20
  local windowSeconds = {60, 300, 900}
  local historySeconds = 200               -- slots of ten seconds
  local logGamma = math.log(1.04)          -- buckets grow by 4 %: see wait-time.ts, which reads them

  local allWaits, bounds, place            -- jobs by the bounds of totals.lua, once there are any
  local served, oldestServed = 0, math.huge -- dequeued jobs whose enqueue is known

  -- enqueued, dequeued: jobs.  waits, sum, max: of the waits, ms.  buckets: how many waits, by bucket.
  local function createCounts()
    return {enqueued = 0, dequeued = 0, waits = 0, sum = 0, max = 0, buckets = {}}
  end

  local lastSecond, lastCounts
  local function countsAt(at)
    local second = at - at % 1000
    if second ~= lastSecond then
      if not counted[second] then counted[second] = createCounts() end
      lastSecond, lastCounts = second, counted[second]
    end
    return lastCounts
  end

  -- jobs: how many, 1 when nil; as below.
  function recent.countEnqueue(at, jobs)
    local counts = countsAt(at)
    counts.enqueued = counts.enqueued + (jobs or 1)
  end

  -- waitedSince: nil when that is not known.
  function recent.countDequeue(at, waitedSince, jobs)
    local counts = countsAt(at)
    counts.dequeued = counts.dequeued + (jobs or 1)
    if waitedSince then recent.countWait(at, waitedSince, jobs) end
  end

  -- Of a dequeue that was counted before.
  function recent.countWait(at, waitedSince, jobs)
    local counts = countsAt(at)
    local wait, bucket = at - waitedSince, 0
    jobs = jobs or 1
    served, oldestServed = served + jobs, math.min(oldestServed, waitedSince, at)
    if wait > 0 then bucket = 1 + math.max(0, math.ceil(math.log(wait) / logGamma - 1e-9)) else wait = 0 end
    counts.waits, counts.sum = counts.waits + jobs, counts.sum + jobs * wait
    if wait > counts.max then counts.max = wait end
    counts.buckets[bucket] = (counts.buckets[bucket] or 0) + jobs
    -- Waits of one batch are mostly alike, so the last one's place is where to look first.
    if not bounds then allWaits, bounds, place = {}, waitBounds(), 1 end
    while wait > bounds[place] do place = place + 1 end
    while wait <= bounds[place - 1] do place = place - 1 end
    allWaits[place] = (allWaits[place] or 0) + jobs
  end

  -- Adds all waits, whenever they ended, to what grows of the totals.
  function recent.addWaits(totals)
    if not bounds then return end
    local waited = 0
    for _, counts in pairs(counted) do waited = waited + counts.sum end
    totals.waited = math.floor(waited)
    for at, count in pairs(allWaits) do
      totals['wait:' .. (at < #bounds and bounds[at] or 'inf')] = count
    end
  end

  -- The field `served` of the state with the jobs that were dequeued; nil when there are none whose enqueue is known.
  function recent.served(before)
    return served > 0 and withServed(before, now, served, math.max(0, math.floor(oldestServed))) or nil
  end

  local function sumOf(one, other)
    local sum = createCounts()
    for _, counts in ipairs({one, other}) do
      sum.enqueued, sum.dequeued = sum.enqueued + counts.enqueued, sum.dequeued + counts.dequeued
      sum.waits, sum.sum, sum.max = sum.waits + counts.waits, sum.sum + counts.sum, math.max(sum.max, counts.max)
      for bucket, count in pairs(counts.buckets) do sum.buckets[bucket] = (sum.buckets[bucket] or 0) + count end
    end
    return sum
  end

  -- What was counted, by slots of a window; what is older than the window is left out.
  local function bySlot(slotMs)
    local slots, oldest = {}, math.floor(now / slotMs) - slotsPerWindow
    for second, counts in pairs(counted) do
      local slot = math.floor(second / slotMs)
      if slot >= oldest then slots[slot] = slots[slot] and sumOf(slots[slot], counts) or counts end
    end
    return slots
  end

  -- A slot's value with more counted in it. kept: its value until now, if any; it may be that of an older slot.
  local function withRates(kept, slot, counts)
    local keptSlot, e, d = string.match(kept or '', '^(%d+) (%d+) (%d+)$')
    if tonumber(keptSlot) ~= slot then e, d = 0, 0 end
    return string.format('%.0f %d %d', slot, counts.enqueued + e, counts.dequeued + d)
  end

  local function withWaits(kept, slot, counts)
    local flat, buckets = {slot, counts.waits, counts.sum, counts.max}, counts.buckets
    kept = kept and cmsgpack.unpack(kept)
    if kept and kept[1] == slot then
      flat = {slot, counts.waits + kept[2], counts.sum + kept[3], math.max(counts.max, kept[4])}
      buckets = {}
      for i = 5, #kept, 2 do buckets[kept[i]] = kept[i + 1] end
      for bucket, count in pairs(counts.buckets) do buckets[bucket] = (buckets[bucket] or 0) + count end
    end
    for bucket, count in pairs(buckets) do
      flat[#flat + 1] = bucket
      flat[#flat + 1] = count
    end
    return cmsgpack.pack(flat)
  end

  -- Returns whether there was anything to write.
  function recent.write()
    local fields, changes = {}, {}
    local function change(kind, seconds, slot, with, counts)
      fields[#fields + 1] = kind .. seconds .. ':' .. slot % (slotsPerWindow + 1)
      changes[#changes + 1] = {with = with, slot = slot, counts = counts}
    end
    local function changeSlot(seconds, slot, counts)
      if counts.enqueued + counts.dequeued > 0 then change('r', seconds, slot, withRates, counts) end
      if counts.waits > 0 then change('w', seconds, slot, withWaits, counts) end
    end
    local received
    for _, counts in pairs(counted) do received = received and sumOf(received, counts) or counts end
    if not received then return false end
    for _, seconds in ipairs(windowSeconds) do
      for slot, counts in pairs(bySlot(seconds * 1000 / slotsPerWindow)) do changeSlot(seconds, slot, counts) end
    end
    -- By when it is received: a step that is over is complete, and every event is in one, however late it came.
    changeSlot(historySeconds, math.floor(now / (historySeconds * 1000 / slotsPerWindow)), received)
    local fieldsAndValues = {}
    for i, kept in ipairs(redis.call('HMGET', recentKey, unpack(fields))) do
      local one = changes[i]
      fieldsAndValues[2 * i - 1], fieldsAndValues[2 * i] = fields[i], one.with(kept, one.slot, one.counts)
    end
    redis.call('HSET', recentKey, unpack(fieldsAndValues))
    redis.call('PEXPIRE', recentKey, (windowSeconds[#windowSeconds] + 60) * 1000)
    return true
  end

  return recent
end
