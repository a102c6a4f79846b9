-- Reads some of asynq's queues: how many tasks wait, and since when the oldest does. Writes nothing.
--
-- KEYS  of each queue its list of pending tasks, `asynq:{NAME}:pending`; all its other keys begin like it
-- Returns {now, in ms, row, row, ...} with six for each queue:
--     depth      how many tasks wait; -1 when a key of the queue is of another type: then nothing else of it is known
--     since      when the oldest of those whose time is known became claimable, ms; '' when there is none
--     untimed    1 when a task that is served before that one has lost its time, else 0
--     scheduled  how many are not due yet, retries among them
--     active     how many a worker has
--     paused     0 or 1
--
-- A server that shuts down puts its tasks back at the end that is served next, without the time since when they wait. Tasks that are
-- due wait, though no server has moved them to the list.

local maxAheadMs = tonumber(ARGV[1])
local looked = 16       -- how many tasks are looked at for one that has its time
local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local nowSeconds = time[1]

-- ns: more digits than a number holds.
local function msOf(text)
  local digits = text and string.match(text, '^(%d+)%d%d%d%d%d%d$')
  return digits and tonumber(digits)
end

-- A time that lies too far ahead is as none, unless there is no other.
local function oldestPending(base, length)
  local ahead
  for i = 1, math.min(looked, length) do
    local id = redis.call('LINDEX', base .. 'pending', -i)
    local since = id and msOf(redis.call('HGET', base .. 't:' .. id, 'pending_since'))
    if since and since <= nowMs + maxAheadMs then return since, i > 1 end
    ahead = ahead or since
  end
  return ahead, length > 0
end

local function rowOf(base)
  local pending = redis.call('LLEN', base .. 'pending')
  local since, isUntimed = oldestPending(base, pending)
  local due, scheduled = 0, 0
  for _, set in ipairs({base .. 'scheduled', base .. 'retry'}) do
    local first = redis.call('ZRANGEBYSCORE', set, '-inf', nowSeconds, 'WITHSCORES', 'LIMIT', 0, 1)
    if first[2] then
      due = due + redis.call('ZCOUNT', set, '-inf', nowSeconds)
      local at = tonumber(first[2]) * 1000
      since = math.min(since or at, at)
    end
    scheduled = scheduled + redis.call('ZCARD', set)
  end
  return {
    pending + due, since and string.format('%.0f', since) or '', isUntimed and 1 or 0, scheduled - due,
    redis.call('LLEN', base .. 'active'), redis.call('EXISTS', base .. 'paused')
  }
end

local reply = {nowMs}
for _, key in ipairs(KEYS) do
  local isRead, row = pcall(rowOf, string.sub(key, 1, -#'pending' - 1))
  if not isRead then
    local message = type(row) == 'table' and row.err or row
    if not string.find(message, 'WRONGTYPE') then error(row) end
    row = {-1, '', 0, 0, 0, 0}
  end
  for i = 1, 6 do reply[#reply + 1] = row[i] end
end
return reply
