-- Reads what is new in the event streams of some queues, and on request how each queue stands at that very moment. Writes
-- nothing, and looks at a bounded number of entries and jobs.
--
-- KEYS  of each queue its stream, `<prefix>:<queue>:events`; all its other keys begin like it
-- ARGV  1 most entries of one queue   2 most entries of all   3 most jobs in a page
--       then five for each queue: cursor ('' = from the beginning), 1 to count its jobs else 0, a job to look for ('' = none),
--       list or set of jobs to read a page of ('' = none), index of its first job
-- Returns {now in ms, one array for each queue}, of each queue
--   {exists, gap, cursor, more, events, counts, some jobs that are there, job is gone, page, jobs looked at, skew}
--   exists: 0 when its meta key has gone.  gap: 1 when the entry at the cursor has gone, and maybe others behind it.
--   more: 1 when the end of the stream was not reached; then there are neither counts nor page.
--   events: four each: time in ms, kind (W waiting, P promoted, S scheduled, T taken, R removed, p paused, r resumed,
--   c cleaned), job, and for S when it is due in ms.
--   skew: what the producer of the newest job said the time was, less what it was here, in ms; '' when no job was added.
--   counts: {claimable, delayed, paused}.  page: of each job its id, since when or until when in ms ('' = unknown).

local perQueue, left, pageSize = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local firstArg, perKey = 4, 5
local kinds = {
  waiting = 'W', delayed = 'S', active = 'T', removed = 'R', failed = 'R', paused = 'p', resumed = 'r', cleaned = 'c'
}

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Older versions put a marker among the jobs, whose id begins like this.
local function isJob(id) return id and string.sub(id, 1, 2) ~= '0:' end

local function readEvents(entries, from)
  local events = {}
  for i = from, #entries do
    local id, fields = entries[i][1], entries[i][2]
    local event, job, prev, delay
    for f = 1, #fields, 2 do
      local name = fields[f]
      if name == 'event' then event = fields[f + 1]
      elseif name == 'jobId' then job = fields[f + 1]
      elseif name == 'prev' then prev = fields[f + 1]
      elseif name == 'delay' then delay = fields[f + 1] end
    end
    local kind = kinds[event]
    if kind == 'W' and prev == 'delayed' then kind = 'P' end
    if kind and (job or string.lower(kind) == kind) then
      events[#events + 1] = string.match(id, '^%d+')
      events[#events + 1] = kind
      events[#events + 1] = job or ''
      events[#events + 1] = kind == 'S' and delay or ''
    end
  end
  return events
end

-- The producer writes its own time into the job, and the stream has ours. Only the newest: one look a queue is enough.
local function readSkew(base, entries, from)
  for i = #entries, from, -1 do
    local event, job
    local fields = entries[i][2]
    for f = 1, #fields, 2 do
      if fields[f] == 'event' then event = fields[f + 1] elseif fields[f] == 'jobId' then job = fields[f + 1] end
    end
    if event == 'added' and job then
      local said = tonumber(redis.call('HGET', base .. job, 'timestamp') or nil)
      return said and string.format('%.0f', said - tonumber(string.match(entries[i][1], '^%d+'))) or ''
    end
  end
  return ''
end

local function count(base)
  local there, markers = {}, 0
  for _, list in ipairs({'wait', 'paused'}) do
    local newest, oldest = redis.call('LINDEX', base .. list, 0), redis.call('LINDEX', base .. list, -1)
    if isJob(newest) then there[#there + 1] = newest elseif newest then markers = markers + 1 end
    if isJob(oldest) then there[#there + 1] = oldest
    elseif oldest and oldest ~= newest then markers = markers + 1 end
  end
  for _, set in ipairs({'prioritized', 'delayed'}) do
    there[#there + 1] = redis.call('ZRANGE', base .. set, 0, 0)[1]
    there[#there + 1] = redis.call('ZRANGE', base .. set, -1, -1)[1]
  end
  local claimable = redis.call('LLEN', base .. 'wait') + redis.call('LLEN', base .. 'paused')
    + redis.call('ZCARD', base .. 'prioritized') - markers
  return {claimable, redis.call('ZCARD', base .. 'delayed'), redis.call('HEXISTS', base .. 'meta', 'paused')}, there
end

-- Lists from their newest job on and sets from their last one on: what leaves them in between leaves at the other end.
local function readPage(base, part, index)
  local page, looked = {}, 0
  if part == 'delayed' then
    local jobs = redis.call('ZRANGE', base .. part, index, index + pageSize - 1, 'REV', 'WITHSCORES')
    for i = 1, #jobs, 2 do
      page[#page + 1] = jobs[i]
      -- The lower twelve bits are a counter.
      page[#page + 1] = string.format('%.0f', math.floor(tonumber(jobs[i + 1]) / 4096))
    end
    return page, #jobs / 2
  end
  local jobs
  if part == 'prioritized' then
    jobs = redis.call('ZRANGE', base .. part, index, index + pageSize - 1, 'REV')
  else
    jobs = redis.call('LRANGE', base .. part, index, index + pageSize - 1)
  end
  for _, job in ipairs(jobs) do
    if isJob(job) then
      local told = redis.call('HMGET', base .. job, 'timestamp', 'delay', 'processedOn')
      local since = tonumber(told[1] or nil)
      if since then since = math.max(since + (tonumber(told[2] or nil) or 0), tonumber(told[3] or nil) or 0) end
      page[#page + 1] = job
      page[#page + 1] = since and string.format('%.0f', since) or ''
    end
  end
  return page, #jobs
end

local answers = {}
for key = 1, #KEYS do
  local arg = firstArg + (key - 1) * perKey
  local stream, cursor = KEYS[key], ARGV[arg]
  local base = string.sub(stream, 1, -7)
  if left <= 0 then
    answers[key] = {1, 0, cursor, 1, {}, {}, {}, 0, {}, 0, ''}
  elseif redis.call('EXISTS', base .. 'meta') == 0 then
    answers[key] = {0, 0, cursor, 0, {}, {}, {}, 0, {}, 0, ''}
  else
    local entries = redis.call('XRANGE', stream, cursor == '' and '-' or cursor, '+', 'COUNT', perQueue)
    left = left - #entries
    local first = entries[1] and entries[1][1]
    -- At 0-0 the stream was empty or missing: there is no entry to find again.
    local gap = cursor ~= '' and cursor ~= '0-0' and first ~= cursor
    local more = #entries == perQueue
    local to = first and entries[#entries][1] or '0-0'
    local counts, there, page, looked = {}, {}, {}, 0
    if not more then
      if ARGV[arg + 1] == '1' then counts, there = count(base) end
      if ARGV[arg + 3] ~= '' then page, looked = readPage(base, ARGV[arg + 3], tonumber(ARGV[arg + 4])) end
    end
    local job = ARGV[arg + 2]
    local isGone = job ~= '' and redis.call('EXISTS', base .. job) == 0
    local new = first == cursor and 2 or 1
    answers[key] = {
      1, gap and 1 or 0, to, more and 1 or 0, readEvents(entries, new),
      counts, there, isGone and 1 or 0, page, looked, readSkew(base, entries, new)
    }
  end
end
return {now, answers}
