-- Reads some queues of Bull 3 or 4: how many jobs wait, and since when the oldest does. Writes nothing.
--
-- KEYS  of each queue its list of waiting jobs, `<prefix>:<queue>:wait`; all its other keys begin like it
-- ARGV  how far a job's time may lie ahead, in ms: one that lies further ahead says nothing
-- Returns {now, in ms, row, row, ...} with eight for each queue:
--     kind       0 there is none; 1 of Bull; 2 of BullMQ, whose keys begin alike; 3 a key is of another type
--     depth      how many jobs wait
--     since      when the oldest job that was looked at became claimable, ms; '' when there is none whose time is known
--     isBound    1 when an older one may be there, or when that job may have been claimable before, else 0
--     untimed    a job that waits for another try, was put back, or whose time is too far ahead: nothing says since when; '' when there
--                is none
--     scheduled  how many are not due yet
--     active     how many a worker has
--     paused     0 or 1
--
-- A list is served from its right end. With priorities, the jobs that have one are at that end, by priority, and in each in the order in
-- which they came; LIFO jobs are before them. All of a short list are looked at, of a long one those that are the first of their
-- priority, and some at both ends.

local maxAheadMs = tonumber(ARGV[1])
local all, ends, maxPriorities, maxOptsBytes = 100, 3, 20, 16384
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- When the job became claimable, and whether that is for sure; nil when nothing says it.
local function sinceOf(fields)
  local created, delay, opts = tonumber(fields[1] or nil), tonumber(fields[2] or nil) or 0, fields[3] or ''
  if not created or created <= 0 or created > nowMs + maxAheadMs or fields[4] then return nil end
  -- A job that was promoted has no delay any more, but its options have. That may have been before it was due.
  if delay == 0 and string.find(opts, '"delay":[1-9]') then
    if #opts > maxOptsBytes then return nil end
    local isJson, decoded = pcall(cjson.decode, opts)
    delay = isJson and type(decoded) == 'table' and tonumber(decoded.delay) or 0
  end
  if delay > 0 then return math.min(created + delay, nowMs), false end
  return created, true
end

local function lookerAt(base)
  local found = {isBound = false, untimed = ''}
  local seen, newest = {}, nil
  -- isInOrder: whether it stands behind the one before, which must not be younger.
  function found.look(id, isInOrder, priority)
    if not id or seen[id] then return end
    seen[id] = true
    local fields = redis.call('HMGET', base .. id, 'timestamp', 'delay', 'opts', 'processedOn', 'priority')
    local since, isSure = sinceOf(fields)
    if priority and tonumber(fields[5] or nil) ~= priority then found.isBound = true end
    if not since then
      found.isBound, found.untimed = true, found.untimed == '' and id or found.untimed
      return
    end
    if not isSure then found.isBound = true end
    if isInOrder then
      if newest and since < newest then found.isBound = true end
      newest = math.max(newest or since, since)
    end
    found.since = math.min(found.since or since, since)
  end
  return found
end

local function lookAtList(found, base, list, length)
  if length <= all then
    local ids = redis.call('LRANGE', list, 0, -1)
    for i = #ids, 1, -1 do found.look(ids[i], false) end
    return
  end
  local before, priority, classes = 0, nil, 0
  while true do
    local next = redis.call('ZRANGEBYSCORE', base .. 'priority', priority and '(' .. priority or '-inf', '+inf',
      'WITHSCORES', 'LIMIT', 0, 1)
    if not next[2] then break end
    priority, classes = next[2], classes + 1
    if classes > maxPriorities then
      found.isBound = true
      break
    end
    found.look(redis.call('LINDEX', list, -1 - before), false, tonumber(priority))
    before = redis.call('ZCOUNT', base .. 'priority', '-inf', priority)
  end
  for i = 1, ends do found.look(redis.call('LINDEX', list, -before - i), true) end
  for i = ends, 1, -1 do found.look(redis.call('LINDEX', list, i - 1), true) end
end

local function rowOf(base)
  local function exists(...)
    local keys = {}
    for i, name in ipairs({...}) do keys[i] = base .. name end
    return redis.call('EXISTS', unpack(keys)) > 0
  end
  -- Of a queue that is paused Bull 4 has a `meta`, too, with nothing but that.
  local isBullsMeta = redis.call('HLEN', base .. 'meta') == 1 and redis.call('HEXISTS', base .. 'meta', 'paused') == 1
  if exists('events') or exists('meta') and not isBullsMeta then return {2, 0, '', 0, '', 0, 0, 0} end
  if not exists('id', 'wait', 'paused', 'delayed', 'active') then return {0, 0, '', 0, '', 0, 0, 0} end
  local found, depth = lookerAt(base), 0
  for _, name in ipairs({'wait', 'paused'}) do
    local length = redis.call('LLEN', base .. name)
    if length > 0 then lookAtList(found, base, base .. name, length) end
    depth = depth + length
  end
  -- The lower twelve bits are a counter.
  local dueUntil = string.format('%.0f', (nowMs + 1) * 4096 - 1)
  local first = redis.call('ZRANGEBYSCORE', base .. 'delayed', '-inf', dueUntil, 'WITHSCORES', 'LIMIT', 0, 1)
  local due = 0
  if first[2] then
    local at = math.floor(tonumber(first[2]) / 4096)
    found.since = math.min(found.since or at, at)
    due = redis.call('ZCOUNT', base .. 'delayed', '-inf', dueUntil)
  end
  return {
    1, depth + due, found.since and string.format('%.0f', found.since) or '', found.isBound and 1 or 0, found.untimed,
    redis.call('ZCARD', base .. 'delayed') - due, redis.call('LLEN', base .. 'active'), exists('meta-paused') and 1 or 0
  }
end

local reply = {nowMs}
for _, key in ipairs(KEYS) do
  local isRead, row = pcall(rowOf, string.sub(key, 1, -#'wait' - 1))
  if not isRead then
    local message = type(row) == 'table' and row.err or row
    if not string.find(message, 'WRONGTYPE') then error(row) end
    row = {3, 0, '', 0, '', 0, 0, 0}
  end
  for i = 1, 8 do reply[#reply + 1] = row[i] end
end
return reply
