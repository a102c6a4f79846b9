-- Fragment for read-lists.lua: when a message of Dramatiq was sent, and not before when it was to be worked. The list holds its id.

local maxJson = 65536

local function look(id, list)
  local message = redis.call('HGET', list .. '.msgs', id)
  if not message or #message > maxJson then return nil end
  local isJson, read = pcall(cjson.decode, message)
  if not isJson or type(read) ~= 'table' then return nil end
  local function textOf(value) return type(value) == 'number' and string.format('%.0f', value) or nil end
  return textOf(read.message_timestamp), type(read.options) == 'table' and textOf(read.options.eta) or nil
end
