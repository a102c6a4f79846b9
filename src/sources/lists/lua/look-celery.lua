-- Fragment for read-lists.lua: what a message of kombu says of itself. `argument` is the name of a header with the time, or ''.

local maxJson = 65536
-- In order. What instrumentation puts into every task.
local timeHeaders = {'sentry-task-enqueued-time', 'published_at', 'run_at'}
if argument ~= '' then table.insert(timeHeaders, 1, argument) end

-- The body comes first, is of any size, and holds no quote.
local function withoutBody(message)
  local _, first = string.find(message, '^{"body": ?"')
  local last = first and string.find(message, '"', first + 1, true)
  return last and string.sub(message, 1, first) .. string.sub(message, last) or message
end

local function textOf(value)
  if type(value) == 'number' then return string.format('%.17g', value) end
  return type(value) == 'string' and value ~= '' and value or nil
end

local function look(message)
  local json = #message > maxJson and withoutBody(message) or message
  if #json > maxJson then return nil end
  local isJson, read = pcall(cjson.decode, json)
  if not isJson or type(read) ~= 'table' then return nil end
  local headers = type(read.headers) == 'table' and read.headers or {}
  local properties = type(read.properties) == 'table' and read.properties or {}
  local since
  for _, name in ipairs(timeHeaders) do since = since or textOf(headers[name]) or textOf(properties[name]) end
  -- Kombu 4 marks the headers, later ones also the delivery.
  local delivery = type(properties.delivery_info) == 'table' and properties.delivery_info or {}
  local isPutBack = headers.redelivered == true or delivery.redelivered == true
  return since, textOf(headers.eta), isPutBack and '1' or nil
end
