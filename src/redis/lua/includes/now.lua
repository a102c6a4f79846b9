-- The time in whole ms: the given one, or that of this Redis when it is ''.

local function nowMs(given)
  local ms = tonumber(given)
  if ms then return ms end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
