-- Reads some Redis Streams: of each consumer group the first entry that it has not been given. Writes nothing.
--
-- KEYS  the streams
-- ARGV  of each stream: 1 to count, where Redis does not know it, how many entries a group has not been given; else 0; then the group of the
--   first stream after which to go on, '' for all
-- Returns {now, in ms, cut, row, row, ...}: once a call has read enough bytes or counted enough, what is left is not answered for: ask again,
--   where `cut` is 1 for the rest of the last row's groups. The first group always is. A row is nil when the key is no stream, else {
--     newest   the id of the last entry; '' when there is none
--     then five for each group:
--     name
--     head     the id of the first entry that it has not been given; '' when it has been given all
--     depth    how many those are; -1 when it is not known; -1 - n when there are n at least
--     pending  how many entries it was given and has not acknowledged
--     idle     for how long the oldest of these has been so, since it was last given to a consumer, ms; '' when there is none
--   }
--
-- No command reads an entry's id alone: entries are fetched, but only here. One may have 512 MB, and nothing says before how many it has:
-- so few are fetched at once, whatever those before them had.

local enoughFetched, enoughCounted, enoughGroups, maxPage = 1048576, 5000, 1000, 8
-- What a field costs beside its text.
local fieldBytes = 16
local fetched, counted, groups = 0, 0, 0
local time = redis.call('TIME')

local function read(command, ...)
  local entries = redis.call(command, ...)
  for _, entry in ipairs(entries) do
    for _, text in ipairs(entry[2] or {}) do fetched = fetched + #text + fieldBytes end
  end
  return entries
end

local function isEnough()
  return fetched >= enoughFetched or counted >= enoughCounted or groups >= enoughGroups
end

local function named(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- How many entries there are from the head on.
local function count(stream, head)
  local entries, from, page = 1, '(' .. head, 1
  while not isEnough() do
    local found = read('XRANGE', stream, from, '+', 'COUNT', page)
    entries, counted = entries + #found, counted + #found
    if #found < page then return entries end
    from, page = '(' .. found[#found][1], math.min(2 * page, maxPage)
  end
  return -1 - entries
end

local function readerOf(stream, mayCount)
  local length, first = redis.call('XLEN', stream), nil
  local heads, depths = {}, {}
  local reader = {}
  function reader.headAfter(last)
    if heads[last] == nil then
      local found = read('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
      heads[last] = found and found[1] or ''
    end
    return heads[last]
  end
  function reader.depthFrom(head, lag)
    -- What was trimmed unread is still in the lag of Redis before 7.4.
    if type(lag) == 'number' then return math.min(lag, length) end
    first = first or read('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
    -- There is no other entry.
    if head == first then return length end
    if not mayCount then return -1 end
    depths[head] = depths[head] or count(stream, head)
    return depths[head]
  end
  return reader
end

local function addGroup(row, stream, group, reader)
  local head, depth = '', 0
  if group.lag ~= 0 then
    head = reader.headAfter(group['last-delivered-id'])
    if head ~= '' then depth = reader.depthFrom(head, group.lag) end
  end
  local idle = ''
  if group.pending > 0 then
    local oldest = redis.call('XPENDING', stream, group.name, '-', '+', 1)[1]
    idle = oldest and oldest[3] or ''
  end
  for _, value in ipairs({group.name, head, depth, group.pending, idle}) do row[#row + 1] = value end
end

-- Groups come in the order of their names. One that has gone since is gone on after from the first.
local function placeAfter(found, after)
  for i = 1, #found do
    if named(found[i]).name == after then return i + 1 end
  end
  return 1
end

-- The row, and whether groups are left.
local function streamRow(stream, mayCount, after)
  if redis.call('TYPE', stream).ok ~= 'stream' then return false, false end
  local newest = read('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local row, reader = {newest and newest[1] or ''}, readerOf(stream, mayCount)
  local found = redis.call('XINFO', 'GROUPS', stream)
  local from = after == '' and 1 or placeAfter(found, after)
  for i = from, #found do
    if i > from and isEnough() then return row, true end
    addGroup(row, stream, named(found[i]), reader)
    groups = groups + 1
  end
  return row, false
end

local reply = {tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), 0}
for i = 1, #KEYS do
  if i > 1 and isEnough() then break end
  local row, isCut = streamRow(KEYS[i], ARGV[i] == '1', i == 1 and ARGV[#KEYS + 1] or '')
  reply[i + 2] = row
  if isCut then
    reply[2] = 1
    break
  end
end
return reply
