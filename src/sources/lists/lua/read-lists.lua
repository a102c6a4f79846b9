-- Reads some lists of jobs: how long each is, and where the elements that are known from an earlier reading are now. Writes nothing, and
-- returns digests, no elements. The text of a system's own fragment stands before this, with
--   look(element, list)  what the job itself says, as text or nil: since when it is claimable; not before when; 1 when it was put back
-- and, where the system needs them, the functions
--   identity(element)    text that is another one when the same element is pushed again
--   readSorted(key)      of a queue whose key is a sorted set: how many jobs it has; when the oldest one was pushed, as a number or nil;
--                        whether none can be older; how many bytes it fetched, and by how many commands
--
-- KEYS  the lists; then the sorted sets; then keys that pause a queue where they exist
-- ARGV  1 now, ms ('' = Redis's own time)   2 the end at which jobs are pushed, left or right
--       3 how many lists   4 how many sorted sets   5 ms in one unit of their scores
--       6 what the fragment gets as `argument`   7 how many lists one queue has
--       8 what stands before a member in a key that exists while that job runs ('' = jobs that run are in no sorted set)
--       then of each list one: "<length> <digest of the newest> <digest of the head> <all known digests>" as of the earlier reading, with
--         "-" for a digest that is not to be compared
-- Returns a map
--   now     ms
--   lists   a map for each list. Once a call has read enough bytes or elements, the lists of the queues that are left are not answered
--           for: ask again. The first queue's always are
--     length     -1 when the key is no list
--     sorted     then, of a sorted set that is a queue: what readSorted() returned, '' for nil
--     isSame     1 when the length and both ends are as they were: then nothing else is returned of the list; else 0
--     newest     digests of the newest elements, from the newest on
--     newPlace   of the known element that is nearest to the newest: how many elements are newer; missing when none was found
--     newKnown   its digest
--     isWhole    1 when all elements were compared with the known ones, else 0
--     oldest     digests of the oldest elements, from the head on
--     oldPlace, oldKnown   of the known element that is nearest to the head: how many elements are before it, and its digest
--     samples    digests of the elements with 32, 64, 128, ... 4096 others before them
--     looks      of the oldest elements three each: what look() returned, '' for nil
--   sets    of each sorted set four: how many scores are up to now, without the jobs that run, -1 when the key is no sorted set; how
--           many are later; the smallest score of a job that does not run ('' = none, or none was found); how many run
--   pauses  of each key 1 when it exists, else 0

local now = tonumber(ARGV[1])
local isLeft, listCount, setCount, scoreMs = ARGV[2] == 'left', tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local perQueue, inProgress, firstArg, digestSize = tonumber(ARGV[7]), ARGV[8], 9, 12
local windowSize, newestSize, lookSize = 16, 4, 3
local maxPlaces, minPlaces, maxBytes, partBytes = 5000, 8, 4194304, 65536
local enoughFetched, windowBytes = 4194304, 262144
local maxRunning, enoughIdle = 1000, 50
-- In bytes that take as long to read as one element more, and as one command for it.
local elementCost, commandCost = 500, 1600
if identity then maxPlaces = 1000 end
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local fetched = 0

-- Of a pcall: what it returned, or nil where a key is of another type. What else is refused must not be taken for an empty key.
local function unlessWrongType(isRead, ...)
  if isRead then return ... end
  local problem = ...
  local message = type(problem) == 'table' and problem.err or problem
  if not string.find(message, 'WRONGTYPE') then error(problem) end
  return nil
end

-- Of the whole element, or of both ends of a large one: a digest that two elements share is not used.
local function digestOf(element)
  if identity then
    element, fetched = unlessWrongType(pcall(identity, element)) or element, fetched + commandCost
  end
  local size = #element
  if size > 512 then element = string.sub(element, 1, 256) .. string.sub(element, -256) end
  return string.sub(redis.sha1hex(size .. ':' .. element), 1, digestSize)
end

local function elementAt(list, place, isFromLeft)
  return redis.call('LINDEX', list, isFromLeft and place or -1 - place)
end

-- Calls visit(element, place) from one end on, until it returns true. Returns how many it has visited.
local function walk(list, length, isFromLeft, visit)
  local place, bytes, step = 0, 0, 1
  while place < length and place < maxPlaces and (place < minPlaces or bytes < maxBytes) do
    local last = math.min(length, maxPlaces, place + step) - 1
    local part
    if isFromLeft then
      part = redis.call('LRANGE', list, place, last)
    else
      part = redis.call('LRANGE', list, -1 - last, -1 - place)
    end
    for i = 1, #part do
      local element = part[isFromLeft and i or #part + 1 - i]
      bytes, fetched = bytes + #element, fetched + #element + elementCost
      local isDone = visit(element, place)
      place = place + 1
      if isDone then return place end
    end
    step = math.max(1, math.min(256, math.floor(partBytes * place / math.max(1, bytes))))
  end
  return place
end

local function sortedOf(key)
  if not readSorted then return nil end
  local count, since, isAll, bytes, commands = unlessWrongType(pcall(readSorted, key))
  fetched = fetched + (bytes or 0) + (commands or 0) * commandCost
  return count and {count, since and string.format('%.0f', since) or '', isAll and 1 or 0}
end

local function rowOf(list, before)
  local length = unlessWrongType(pcall(redis.call, 'LLEN', list))
  if not length then return {map = {length = -1, sorted = sortedOf(list)}} end
  if length == 0 then return {map = {length = 0}} end
  local lengthBefore, newestBefore, headBefore, digests = string.match(before, '^(%d+) (%S+) (%S+) (%S*)$')
  if length == tonumber(lengthBefore) and newestBefore ~= '-' and headBefore ~= '-' then
    local newest, head = elementAt(list, 0, isLeft), elementAt(list, 0, not isLeft)
    fetched = fetched + #newest + #head
    if digestOf(newest) == newestBefore and digestOf(head) == headBefore then return {map = {length = length, isSame = 1}} end
  end
  local known = {}
  for at = 1, #digests, digestSize do known[string.sub(digests, at, at + digestSize - 1)] = true end

  local newest, newPlace, newKnown = {}, nil, nil
  local visited = walk(list, length, isLeft, function(element, place)
    local digest = digestOf(element)
    if place < newestSize then newest[#newest + 1] = digest end
    if not newPlace and known[digest] then newPlace, newKnown = place, digest end
    return (newPlace or digests == '') and place + 1 >= newestSize
  end)

  local oldest, looks, oldPlace, oldKnown = {}, {}, nil, nil
  -- A job that was put at the head is newer than the ones behind it: then those are looked at, too.
  local bytes, areLater, lastSince, isOlder = 0, true, nil, false
  local isHopeless = digests == '' or (not newPlace and visited == length)
  walk(list, length, not isLeft, function(element, place)
    local digest = digestOf(element)
    bytes = bytes + #element
    if place < windowSize and (place == 0 or bytes <= windowBytes) then
      oldest[#oldest + 1] = digest
      if place < lookSize or areLater or isOlder then
        local since, due, isPutBack = unlessWrongType(pcall(look, element, list))
        if not due then areLater = false end
        isOlder = since and lastSince and since < lastSince
        lastSince = since
        for _, text in ipairs({since or '', due or '', isPutBack or ''}) do looks[#looks + 1] = text end
      end
    end
    if not oldPlace and known[digest] then oldPlace, oldKnown = place, digest end
    return (oldPlace or isHopeless) and (place + 1 >= windowSize or bytes > windowBytes)
  end)

  local samples = {}
  if bytes <= windowBytes then
    local place = 2 * windowSize
    while place <= 4096 and place < length do
      samples[#samples + 1] = digestOf(elementAt(list, place, not isLeft))
      place = 2 * place
    end
  end
  return {map = {
    length = length, isSame = 0, newest = table.concat(newest), newPlace = newPlace, newKnown = newKnown,
    isWhole = not newPlace and visited == length and 1 or 0,
    oldest = table.concat(oldest), oldPlace = oldPlace, oldKnown = oldKnown, samples = table.concat(samples), looks = looks
  }}
end

local lists = {}
for i = 1, listCount do
  if i > 1 and (i - 1) % perQueue == 0 and fetched >= enoughFetched then break end
  lists[i] = rowOf(KEYS[i], ARGV[firstArg + i - 1])
end

-- The smallest score of a job that does not run, and how many run: workers take the jobs in this order, so these are among the first.
local function firstIdle(set, due)
  local first, running, idle, place = nil, 0, 0, 0
  while place < math.min(due, maxRunning) and idle < enoughIdle do
    local page = redis.call('ZRANGE', set, place, math.min(due, place + enoughIdle) - 1, 'WITHSCORES')
    for at = 1, #page, 2 do
      if redis.call('EXISTS', inProgress .. page[at]) == 1 then
        running, idle = running + 1, 0
      else
        first, idle = first or page[at + 1], idle + 1
      end
    end
    place = place + enoughIdle
  end
  return first, running
end

local sets = {}
local newestScore = string.format('%.17g', now / scoreMs)
for i = listCount + 1, listCount + setCount do
  local due = unlessWrongType(pcall(redis.call, 'ZCOUNT', KEYS[i], '-inf', newestScore))
  if due then
    local later, first, running = redis.call('ZCARD', KEYS[i]) - due, redis.call('ZRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2], 0
    if inProgress ~= '' and due > 0 then first, running = firstIdle(KEYS[i], due) end
    for _, value in ipairs({due - running, later, first or '', running}) do sets[#sets + 1] = value end
  else
    for _, value in ipairs({-1, 0, '', 0}) do sets[#sets + 1] = value end
  end
end

local pauses = {}
for i = listCount + setCount + 1, #KEYS do pauses[#pauses + 1] = redis.call('EXISTS', KEYS[i]) end
return {map = {now = now, lists = lists, sets = sets, pauses = pauses}}
