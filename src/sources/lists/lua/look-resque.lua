-- Fragment for read-lists.lua: when a job of Resque was enqueued. ActiveJob writes it into its arguments, Judoscale beside them.

local maxJson = 65536

local function look(payload)
  if #payload > maxJson then return nil end
  local isJson, read = pcall(cjson.decode, payload)
  if not isJson or type(read) ~= 'table' then return nil end
  local first = type(read.args) == 'table' and read.args[1]
  local since = type(first) == 'table' and first.job_class and first.enqueued_at or read.timestamp
  if type(since) == 'number' then return string.format('%.17g', since) end
  return type(since) == 'string' and since or nil
end
