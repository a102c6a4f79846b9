-- Fragment for read-lists.lua: since when a payload of Laravel is claimable. Horizon writes `pushedAt`, Laravel from 12.11 on `createdAt` and
-- `delay`, in s. A job that was tried before keeps them: they are too old.

local maxJson = 65536

local function look(payload)
  if #payload > maxJson then return nil end
  local isJson, read = pcall(cjson.decode, payload)
  if not isJson or type(read) ~= 'table' or (tonumber(read.attempts) or 0) > 0 then return nil end
  local since = tonumber(read.pushedAt) or tonumber(read.createdAt)
  return since and string.format('%.3f', since + (tonumber(read.delay) or 0))
end
