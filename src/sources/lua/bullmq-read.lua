-- Reads what is new in the event streams of some queues, and on request how each queue stands at that very moment. Writes
-- nothing, and looks at a bounded number of entries and jobs.
--
-- KEYS  of each queue its stream, `<prefix>:<queue>:events`; all its other keys begin like it
-- ARGV  1 max entries of one queue   2 max entries of all   3 max jobs in a page   4 how far a job's time may lie ahead, ms
--       then six for each queue: cursor ('' = from the beginning); how many entries the stream had ever had at the cursor
--       ('' = unknown); 1 to count its jobs else 0; a job to look for ('' = none); the list or set to read a page of, or 'all'
--       for all of them at once if they hold at most a page together ('' = none); index of the page's first job
-- Returns a map: now, ms; and queues, a list with a map for each queue
--   exists       0 when its meta key has gone, or is that of Bull 4, else 1
--   cursor       the entry that was read last
--   more         1 when the end of the stream was not reached, else 0: then there are neither counts nor page
--   missedUntil  entries from before this time, in ms, were trimmed or deleted unread; missing when none was
--   added        how many entries the stream had ever had at the new cursor; missing when it is unknown: Redis before 7.0 does
--                not count them
--   maxEvents    how many entries BullMQ keeps at least
--   events       a list with four for each event: time in ms; kind (W waiting, P promoted, S scheduled, T taken, R removed,
--                p paused, r resumed, c cleaned); job; and for S when it is due, ms, for others ''
--   skew         the time that the newest job's producer wrote into it, less the time of its event, ms; missing when no job was
--                added
--   claimable, delayed, paused   how many jobs, and 0 or 1; missing when they were not asked for
--   there        some jobs that are there
--   isGone       1 when the job that was looked for is not there, else 0
--   page         a list with three for each job: its id; since when it is claimable, or when it is due, ms; and S scheduled,
--                E estimated by the producer's clock, L claimable since then at the latest
--   looked       how many jobs the page looked at; -1 when 'all' are more than a page

local perQueue, left, pageSize, maxAheadMs = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local firstArg, perKey, defaultMaxEvents = 5, 6, 10000
local kinds = {
  waiting = 'W', delayed = 'S', active = 'T', removed = 'R', failed = 'R', paused = 'p', resumed = 'r', cleaned = 'c'
}

local maxOptsBytes = 16384
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Of a queue that is paused Bull 4 has a `meta`, too, with nothing but that; it has no stream.
local function isBulls(base)
  return redis.call('HLEN', base .. 'meta') == 1 and redis.call('HEXISTS', base .. 'meta', 'paused') == 1
    and redis.call('EXISTS', base .. 'events') == 0
end

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
-- `add(..., { timestamp })` sets another time than the producer's own, and stays in the options.
local function readSkew(base, entries, from)
  for i = #entries, from, -1 do
    local event, job
    local fields = entries[i][2]
    for f = 1, #fields, 2 do
      if fields[f] == 'event' then event = fields[f + 1] elseif fields[f] == 'jobId' then job = fields[f + 1] end
    end
    if event == 'added' and job then
      local fields = redis.call('HMGET', base .. job, 'timestamp', 'opts')
      local time = tonumber(fields[1] or nil)
      if not time or string.find(fields[2] or '', '"timestamp"', 1, true) then return nil end
      return string.format('%.0f', time - tonumber(string.match(entries[i][1], '^%d+')))
    end
  end
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
  return {
    claimable = claimable, delayed = redis.call('ZCARD', base .. 'delayed'),
    paused = redis.call('HEXISTS', base .. 'meta', 'paused'), there = there
  }
end

-- What is known of a job that can be claimed: since when at the earliest or latest, and which of the two.
local function sinceOf(base, job)
  local fields = redis.call('HMGET', base .. job, 'timestamp', 'delay', 'opts', 'processedOn', 'atm', 'ats')
  local created, delay, opts = tonumber(fields[1] or nil), tonumber(fields[2] or nil) or 0, fields[3] or ''
  if not created or created <= 0 then return now, 'L' end
  -- It was taken before and put back (a retry, a stalled job), or it waited for its children: nothing shows until when.
  local wasTaken = fields[4] or (tonumber(fields[5] or nil) or 0) > 0 or (tonumber(fields[6] or nil) or 0) > 0
  if wasTaken or redis.call('EXISTS', base .. job .. ':processed') == 1 then return now, 'L' end
  -- A promotion sets the delay of the job to 0, but not that of its options. It may have come before the job was due.
  if delay == 0 and string.find(opts, '"delay":[1-9]') then
    if #opts > maxOptsBytes then return now, 'L' end
    local isJson, decoded = pcall(cjson.decode, opts)
    delay = isJson and type(decoded) == 'table' and tonumber(decoded.delay) or 0
  end
  if delay > 0 then return math.min(created + delay, now), 'L' end
  -- A time that lies too far ahead says nothing.
  if created > now + maxAheadMs then return now, 'L' end
  return created, 'E'
end

local function readPart(page, base, part, from, to)
  if part == 'delayed' then
    local jobs = redis.call('ZRANGE', base .. part, from, to, 'REV', 'WITHSCORES')
    for i = 1, #jobs, 2 do
      page[#page + 1] = jobs[i]
      -- The lower twelve bits are a counter.
      page[#page + 1] = string.format('%.0f', math.floor(tonumber(jobs[i + 1]) / 4096))
      page[#page + 1] = 'S'
    end
    return #jobs / 2
  end
  local jobs
  if part == 'prioritized' then
    jobs = redis.call('ZRANGE', base .. part, from, to, 'REV')
  else
    jobs = redis.call('LRANGE', base .. part, from, to)
  end
  for _, job in ipairs(jobs) do
    if isJob(job) then
      local since, sureness = sinceOf(base, job)
      page[#page + 1] = job
      page[#page + 1] = string.format('%.0f', since)
      page[#page + 1] = sureness
    end
  end
  return #jobs
end

-- Lists from their newest job on and sets from their last one on: what leaves them in between leaves at the other end.
local function readPage(base, part, index)
  local page = {}
  if part ~= 'all' then return page, readPart(page, base, part, index, index + pageSize - 1) end
  local jobs = redis.call('LLEN', base .. 'wait') + redis.call('LLEN', base .. 'paused')
    + redis.call('ZCARD', base .. 'prioritized') + redis.call('ZCARD', base .. 'delayed')
  if jobs > pageSize then return page, -1 end
  for _, each in ipairs({'wait', 'paused', 'prioritized', 'delayed'}) do readPart(page, base, each, 0, pageSize - 1) end
  return page, jobs
end

-- How many entries a stream has, how many it has ever had (nil before Redis 7.0), and the id of its newest one, trimmed or not.
local function infoOf(stream)
  if redis.call('EXISTS', stream) == 0 then return 0, 0, '0-0' end
  local info, found = redis.call('XINFO', 'STREAM', stream), {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  return found['length'], found['entries-added'], found['last-generated-id']
end

-- Whether entries were trimmed unread, how many the stream had ever had at the new cursor, and that cursor.
local function gapOf(stream, cursor, addedBefore, entries, maxEvents, more)
  local first, last = entries[1] and entries[1][1], entries[#entries] and entries[#entries][1]
  if first and first == cursor and (addedBefore or more) then
    return false, addedBefore and addedBefore + #entries - 1, last
  end
  local length, added, lastGenerated = infoOf(stream)
  local addedHere = added and (more and added - (length - #entries) or added)
  if cursor == '' then
    -- Seen for the first time: what was trimmed before is missing in what is counted of late.
    return added and added > length or not added and length >= maxEvents, addedHere, last or '0-0'
  elseif first == cursor or lastGenerated == cursor then
    return false, addedHere, last or cursor
  elseif added and addedBefore then
    return added - length ~= addedBefore, addedHere, last or '0-0'
  end
  -- At 0-0 the stream was empty or missing: there is no entry to find again.
  return cursor ~= '0-0', addedHere, last or '0-0'
end

local answers = {}
for key = 1, #KEYS do
  local arg = firstArg + (key - 1) * perKey
  local stream, cursor = KEYS[key], ARGV[arg]
  local base = string.sub(stream, 1, -7)
  local answer = {
    exists = 1, cursor = cursor, more = 0, maxEvents = defaultMaxEvents, events = {}, there = {}, isGone = 0, page = {}, looked = 0
  }
  answers[key] = {map = answer}
  if left <= 0 then
    answer.more, answer.added = 1, ARGV[arg + 1] ~= '' and ARGV[arg + 1] or nil
  elseif redis.call('EXISTS', base .. 'meta') == 0 or isBulls(base) then
    answer.exists = 0
  else
    local maxEvents = tonumber(redis.call('HGET', base .. 'meta', 'opts.maxLenEvents') or nil) or defaultMaxEvents
    local entries = redis.call('XRANGE', stream, cursor == '' and '-' or cursor, '+', 'COUNT', perQueue)
    left = left - #entries
    local first = entries[1] and entries[1][1]
    local more = #entries == perQueue
    local isGap, added, to = gapOf(stream, cursor, tonumber(ARGV[arg + 1]), entries, maxEvents, more)
    if isGap then answer.missedUntil = first and string.match(first, '^%d+') or string.format('%.0f', now) end
    if not more then
      if ARGV[arg + 2] == '1' then
        for name, value in pairs(count(base)) do answer[name] = value end
      end
      if ARGV[arg + 4] ~= '' then answer.page, answer.looked = readPage(base, ARGV[arg + 4], tonumber(ARGV[arg + 5])) end
    end
    local job = ARGV[arg + 3]
    if job ~= '' and redis.call('EXISTS', base .. job) == 0 then answer.isGone = 1 end
    local new = first == cursor and 2 or 1
    answer.cursor, answer.more, answer.maxEvents = to, more and 1 or 0, maxEvents
    answer.added = added and string.format('%.0f', added)
    answer.events, answer.skew = readEvents(entries, new), readSkew(base, entries, new)
  end
end
return {map = {now = now, queues = answers}}
