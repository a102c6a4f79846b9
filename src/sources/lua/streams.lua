-- Reads some Redis Streams: of each consumer group the first entry that it has not been given. Writes nothing.
--
-- KEYS  the streams
-- ARGV  of each stream: 1 to count, where Redis does not know it, how many entries a group has not been given; else 0
-- Returns {now, in ms, row, row, ...}: once a call has read enough bytes or counted enough, the streams that are left are not
--   answered for: ask again. The first always is. A row is nil when the key is no stream, else {
--     newest   the id of the last entry; '' when there is none
--     then five for each group:
--     name
--     head     the id of the first entry that it has not been given; '' when it has been given all
--     depth    how many those are; -1 when it is not known; -n when they were counted up to n > 1
--     pending  how many entries it was given and has not acknowledged
--     idle     for how long the oldest of these has been so, since it was last given to a consumer, ms; '' when there is none
--   }
--
-- No command reads an entry's id alone: entries are fetched, but only here.

local enoughFetched, enoughCounted, page, maxGroups = 1048576, 5000, 100, 1000
local fetched, counted = 0, 0
local time = redis.call('TIME')

local function read(command, ...)
  local entries = redis.call(command, ...)
  for _, entry in ipairs(entries) do
    for _, text in ipairs(entry[2] or {}) do fetched = fetched + #text end
  end
  return entries
end

local function named(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- How many entries there are from the head on.
local function count(stream, head)
  local entries, from = 0, head
  while true do
    if counted >= enoughCounted or fetched >= enoughFetched then return entries > 1 and -entries or -1 end
    local found = read('XRANGE', stream, from, '+', 'COUNT', page)
    entries, counted = entries + #found, counted + #found
    if #found < page then return entries end
    from = '(' .. found[#found][1]
  end
end

local function depthOf(stream, group, head, length, first, mayCount)
  -- What was trimmed unread is still in the lag of Redis before 7.4.
  if type(group.lag) == 'number' then return math.min(group.lag, length) end
  -- There is no other entry.
  if head == first then return length end
  return mayCount and count(stream, head) or -1
end

local function groupRow(row, stream, group, length, firstOf, mayCount)
  local head, depth = '', 0
  if group.lag ~= 0 then
    local last = group['last-delivered-id']
    local found = read('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
    if found then head, depth = found[1], depthOf(stream, group, found[1], length, firstOf(), mayCount) end
  end
  local idle = ''
  if group.pending > 0 then
    local oldest = redis.call('XPENDING', stream, group.name, '-', '+', 1)[1]
    idle = oldest and oldest[3] or ''
  end
  for _, value in ipairs({group.name, head, depth, group.pending, idle}) do row[#row + 1] = value end
end

local function streamRow(stream, mayCount)
  if redis.call('TYPE', stream).ok ~= 'stream' then return false end
  local length = redis.call('XLEN', stream)
  local newest = read('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  local row = {newest and newest[1] or ''}
  local first
  local function firstOf()
    first = first or read('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
    return first
  end
  for i, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if i > maxGroups then break end
    groupRow(row, stream, named(group), length, firstOf, mayCount)
  end
  return row
end

local reply = {tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)}
for i = 1, #KEYS do
  if i > 1 and (fetched >= enoughFetched or counted >= enoughCounted) then break end
  reply[i + 1] = streamRow(KEYS[i], ARGV[i] == '1')
end
return reply
