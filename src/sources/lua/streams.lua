-- Reads some Redis Streams: of each consumer group the first entry that it has not been given. Writes nothing.
--
-- KEYS  the streams
-- ARGV  of each stream: 1 to count, where Redis does not know it, how many entries a group has not been given; else 0; then the group of the
--   first stream after which to go on, as `cut` has it, '' for all
-- Returns {now, in ms, cut, row, row, ...}: once a call has read enough bytes or counted enough, what is left is not answered for: ask again,
--   where `cut` is the last group's name in hex, behind a "=", when groups of the last row's stream are left, else '': a name may be empty,
--   and need not be UTF-8. The first group always is. A row is nil when the key is no stream, else {
--     last     the id that was given last, also when its entry has been deleted; 0-0 when there has been none
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

local function addFetched(entry)
  for _, text in ipairs(entry[2] or {}) do fetched = fetched + #text + fieldBytes end
end

local function read(command, ...)
  local entries = redis.call(command, ...)
  for _, entry in ipairs(entries) do addFetched(entry) end
  return entries
end

-- '' where there is no entry.
local function idOf(entry)
  if not entry then return '' end
  addFetched(entry)
  return entry[1]
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

local function readerOf(stream, length, first, mayCount)
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
    -- A lag of 0 is what Redis was given by a wrong ENTRIESREAD.
    if type(lag) == 'number' and lag > 0 then return math.min(lag, length) end
    -- There is no other entry.
    if head == first then return length end
    if not mayCount then return -1 end
    depths[head] = depths[head] or count(stream, head)
    return depths[head]
  end
  return reader
end

local function addGroup(row, stream, group, newest, reader)
  local head, depth = '', 0
  if group['last-delivered-id'] ~= newest then
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

-- In the order of their bytes, in which groups come. Lua's own comparison is by the locale of that Redis.
local function isBefore(name, other)
  for i = 1, math.min(#name, #other) do
    local byte, otherByte = string.byte(name, i), string.byte(other, i)
    if byte ~= otherByte then return byte < otherByte end
  end
  return #name < #other
end

-- The place of the first group behind that one, which may have gone since.
local function placeAfter(found, after)
  for i = 1, #found do
    if isBefore(after, named(found[i]).name) then return i end
  end
  return #found + 1
end

local function hexOf(name)
  return (string.gsub(name, '.', function(char) return string.format('%02x', string.byte(char)) end))
end

local function nameOf(hex)
  return (string.gsub(hex, '%x%x', function(byte) return string.char(tonumber(byte, 16)) end))
end

-- The row, and the name of its last group when others are left.
local function streamRow(stream, mayCount, after)
  if redis.call('TYPE', stream).ok ~= 'stream' then return false, nil end
  local info = named(redis.call('XINFO', 'STREAM', stream))
  local first, newest = idOf(info['first-entry']), idOf(info['last-entry'])
  local row, reader = {info['last-generated-id']}, readerOf(stream, info.length, first, mayCount)
  local found = redis.call('XINFO', 'GROUPS', stream)
  local from = after == '' and 1 or placeAfter(found, nameOf(string.sub(after, 2)))
  for i = from, #found do
    if i > from and isEnough() then return row, named(found[i - 1]).name end
    addGroup(row, stream, named(found[i]), newest, reader)
    groups = groups + 1
  end
  return row, nil
end

local reply = {tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), ''}
for i = 1, #KEYS do
  if i > 1 and isEnough() then break end
  local row, last = streamRow(KEYS[i], ARGV[i] == '1', i == 1 and ARGV[#KEYS + 1] or '')
  reply[i + 2] = row
  if last then
    reply[2] = '=' .. hexOf(last)
    break
  end
end
return reply
