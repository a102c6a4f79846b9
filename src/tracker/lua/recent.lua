-- Loaded in front of the scripts that count: the slots that throughput and wait times are counted in, which snapshot.lua
-- reads. Counts in memory, and writes once.

local function createRecent(recentKey, now)
  local recent = {enqueued = 3, dequeued = 4}
  local rates, waits = {}, {}              -- what is to be added to the slots
  local slotsPerWindow = 20
  local windowSeconds = {60, 300, 900}
  local logGamma = math.log(1.04)          -- buckets grow by 4 %: see wait-time.ts, which reads them

  -- The slot of an instant in each window; nil when it is older than the window.
  local function eachSlot(at, visit)
    for _, seconds in ipairs(windowSeconds) do
      local slotMs = seconds * 1000 / slotsPerWindow
      local slot = math.floor(at / slotMs)
      if slot >= math.floor(now / slotMs) - slotsPerWindow then visit(seconds, slot) end
    end
  end

  -- index: recent.enqueued or recent.dequeued
  function recent.countRate(at, index)
    eachSlot(at, function(seconds, slot)
      local id = seconds .. ':' .. slot
      local rate = rates[id]
      if not rate then
        rate = {seconds, slot, 0, 0}
        rates[id] = rate
      end
      rate[index] = rate[index] + 1
    end)
  end

  function recent.countWait(at, waitedSince)
    local wait = math.max(0, at - waitedSince)
    local bucket = 0
    if wait > 0 then bucket = 1 + math.max(0, math.ceil(math.log(wait) / logGamma - 1e-9)) end
    eachSlot(at, function(seconds, slot)
      local id = seconds .. ':' .. slot
      local sums = waits[id]
      if not sums then
        sums = {seconds = seconds, slot = slot, count = 0, sum = 0, max = 0, buckets = {}}
        waits[id] = sums
      end
      sums.count = sums.count + 1
      sums.sum = sums.sum + wait
      sums.max = math.max(sums.max, wait)
      sums.buckets[bucket] = (sums.buckets[bucket] or 0) + 1
    end)
  end

  function recent.write()
    for _, rate in pairs(rates) do
      local field = 'r' .. rate[1] .. ':' .. rate[2] % (slotsPerWindow + 1)
      local slot, e, d = string.match(redis.call('HGET', recentKey, field) or '', '^(%d+) (%d+) (%d+)$')
      if tonumber(slot) == rate[2] then
        rate[3], rate[4] = rate[3] + tonumber(e), rate[4] + tonumber(d)
      end
      redis.call('HSET', recentKey, field, string.format('%.0f %d %d', rate[2], rate[3], rate[4]))
    end
    for _, sums in pairs(waits) do
      local field = 'w' .. sums.seconds .. ':' .. sums.slot % (slotsPerWindow + 1)
      local packed = redis.call('HGET', recentKey, field)
      local before = packed and cmsgpack.unpack(packed)
      if before and before[1] == sums.slot then
        sums.count, sums.sum, sums.max = sums.count + before[2], sums.sum + before[3], math.max(sums.max, before[4])
        for i = 5, #before, 2 do sums.buckets[before[i]] = (sums.buckets[before[i]] or 0) + before[i + 1] end
      end
      local flat = {sums.slot, sums.count, sums.sum, sums.max}
      for bucket, count in pairs(sums.buckets) do
        flat[#flat + 1] = bucket
        flat[#flat + 1] = count
      end
      redis.call('HSET', recentKey, field, cmsgpack.pack(flat))
    end
    if next(rates) or next(waits) then
      redis.call('PEXPIRE', recentKey, (windowSeconds[#windowSeconds] + 60) * 1000)
    end
  end

  return recent
end
