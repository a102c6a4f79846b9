-- Reads some of Sidekiq's queues: how many jobs wait, and since when the oldest does. Writes nothing.
--
-- KEYS  1 the set of paused queues (Sidekiq Pro)   2 and on: the queues' lists
-- ARGV  1 what stands before a queue's name in the name of its list
--       2 how far a job's time may lie ahead, in ms: one that lies further ahead says nothing
-- Returns four entries a list, in order, by place and not by name: Sidekiq also runs on Redis 5, where a script returns no map.
--         The entries: its length (-1 when it is no list), the age of the oldest job that was looked at, in ms, below 0 when its
--         time lies ahead ('' when no job waits, '?' when that of the head is not known), what was looked at, 1 when the queue is
--         paused, else 0. Once a call has looked at enough bytes, the lists that are left are not answered for: ask again. The
--         first always is.
--         What was looked at: 0 all jobs; 1 some at both ends, which are in order; 2 some that are not: a plugin that throttles
--         jobs puts them back at the far end with their old time, so others may lie in between; or one whose time says nothing
--         stands before the oldest; 3 all jobs, which are not in order.
--
-- A payload can be of any size, and no command reads only a piece of a list's element. So it is fetched, but only here, and
-- no more than pieces of it are decoded.

local prefix, maxAheadMs = ARGV[1], tonumber(ARGV[2])
local pieceBytes = 65536     -- the longest JSON that is decoded at once
local tries = 8              -- how many pieces of one payload are decoded from either end
local ends = 3               -- how many jobs are looked at from either end of a list
local toleranceMs = 1000     -- so far the clocks of two producers may differ
local passes = 1000          -- how many places are looked at that only look like the member
local enoughFetched, enoughDecoded = 1048576, 262144

local time = redis.call('TIME')
local nowMs = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000

local fetched, decoded = 0, 0
local function decode(text)
  decoded = decoded + #text
  local isJson, object = pcall(cjson.decode, text)
  return isJson and type(object) == 'table' and object or nil
end

-- Where the value begins, if the quoted name at this place is a member's name. Within a string, quotes have a backslash
-- before them.
local function valueAt(json, at, quoted)
  if at > 1 and string.byte(json, at - 1) == 92 then return nil end
  local _, colon = string.find(json, '^%s*:', at + #quoted)
  return colon and colon + 1
end

-- The value of one member of the payload's own object, not of one nested in it; the second result is false when it
-- is not certain whether there is one. A place is in the payload's own object exactly when what follows it completes an
-- object that only begins there, which is just as true of what comes before it.
local function member(json, name)
  local quoted = '"' .. name .. '"'
  local isSmall = #json <= pieceBytes

  -- Sidekiq writes its own members behind the arguments: most often the last place is the right one, and little follows.
  local places = {}
  local at = string.find(json, quoted, math.max(1, #json - pieceBytes + #quoted + 2), true)
  while at do
    local value = valueAt(json, at, quoted)
    if value then places[#places + 1] = {at, value} end
    at = string.find(json, quoted, at + 1, true)
  end
  local triedFrom = #json + 1
  for i = #places, math.max(1, #places - (isSmall and 1 or tries) + 1), -1 do
    triedFrom = places[i][1]
    local rest = decode('{' .. quoted .. ':' .. string.sub(json, places[i][2]))
    if rest then return rest[name], true end
  end
  if isSmall then
    if #places == 0 then return nil, true end
    local whole = decode(json)
    if whole then return whole[name], true end
    return nil, false
  end

  local tried, passed = 0, 0
  at = string.find(json, quoted, 1, true)
  while at and at < triedFrom do
    local value = valueAt(json, at, quoted)
    if value then
      if tried >= tries or at > pieceBytes then return nil, false end
      tried = tried + 1
      if decode(string.sub(json, 1, at - 1) .. quoted .. ':0}') then
        local text = string.match(string.sub(json, value, value + 99), '^%s*([^,}%s]+)%s*[,}]')
        local found = text and decode('{"value":' .. text .. '}')
        return found and found.value, found ~= nil
      end
    else
      passed = passed + 1
      if passed >= passes then return nil, false end
    end
    at = string.find(json, quoted, at + 1, true)
  end
  return nil, true
end

-- Sidekiq wrote seconds until version 7, and writes ms since 8; what is no time of this age is none.
local function sinceMs(value)
  if type(value) == 'string' and string.find(value, '^%d[%d%.eE+]*$') then value = tonumber(value) end
  if type(value) ~= 'number' then return nil end
  if value < 1e11 then value = value * 1000 end
  return value > 0 and value < 1e14 and value or nil
end

local function sinceOf(json)
  local value, isCertain = member(json, 'enqueued_at')
  if isCertain and (value == nil or value == cjson.null) then value, isCertain = member(json, 'created_at') end
  return isCertain and sinceMs(value) or nil
end

-- The age of the oldest job that was looked at, and what was looked at.
local function oldestOf(list, length)
  local bytes, looked, isOrdered = 0, 0, true
  local isAhead, isAheadBefore = false, false
  local oldest, newest
  -- From the head on. What is large is left out: only the head must be read.
  local function look(index)
    if bytes > pieceBytes then return end
    local json = redis.call('LINDEX', list, index)
    bytes, fetched = bytes + #json, fetched + #json
    if index ~= -1 and #json > pieceBytes then return end
    local since = sinceOf(json)
    if not since then return end
    looked = looked + 1
    if newest and since < newest - toleranceMs then isOrdered = false end
    if since > nowMs + maxAheadMs then isAhead = true elseif not oldest or since < oldest then isAheadBefore = isAhead end
    oldest, newest = math.min(oldest or since, since), math.max(newest or since, since)
  end
  look(-1)
  if not oldest then return '?', 1 end
  for index = 2, math.min(ends, length) do look(-index) end
  for index = math.min(ends, length - ends), 1, -1 do look(index - 1) end
  local isAll = looked == length
  local order = isOrdered and (isAll and 0 or 1) or (isAll and 3 or 2)
  return string.format('%.3f', nowMs - oldest), isAheadBefore and 2 or order
end

local answer = {}
for i = 2, #KEYS do
  if i > 2 and (fetched >= enoughFetched or decoded >= enoughDecoded) then break end
  local length = redis.pcall('LLEN', KEYS[i])
  local age, order = '', 0
  if type(length) ~= 'number' then
    length, age = -1, '?'
  elseif length > 0 then
    age, order = oldestOf(KEYS[i], length)
  end
  answer[#answer + 1] = {length, age, order}
end

-- One question for all: most queues are not paused, and without Sidekiq Pro none is.
local names = {}
for i = 1, #answer do names[i] = string.sub(KEYS[i + 1], #prefix + 1) end
local paused = redis.pcall('SMISMEMBER', KEYS[1], unpack(names))
local rows = {}
for i = 1, #names do
  for column = 1, 3 do rows[#rows + 1] = answer[i][column] end
  rows[#rows + 1] = paused.err and 0 or paused[i]
end
return rows
