-- Puts the names of recorded queues into the index, all or none, unless more queues were recorded than there may be.
--
-- KEYS  1 index
-- ARGV  1 how many recorded queues there may be   2 how many sources there are
--       then the name of each source, whose queues do not count, and the names of the queues
-- Returns a map
--   isListed  1 when all names are in the index now, else 0
--   created   how many of the names were not in the index
--   recorded  how many recorded queues there were; missing when no name is new
--   refused   when they were not listed: ten at most of the names that are new

local index, max, sourceCount = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local firstName = 3 + sourceCount
local chunk = 500 -- two arguments each, below the number that Lua's unpack can take

local new = {}
for from = firstName, #ARGV, chunk do
  local to = math.min(from + chunk - 1, #ARGV)
  for i, score in ipairs(redis.call('ZMSCORE', index, unpack(ARGV, from, to))) do
    if not score then new[#new + 1] = ARGV[from + i - 1] end
  end
end
-- Writes nothing then, so that it also runs while Redis has no memory left.
if #new == 0 then return {map = {isListed = 1, created = 0}} end

-- Without the marker: see queue-index.ts.
local recorded = redis.call('ZLEXCOUNT', index, '(', '+')
for i = 3, firstName - 1 do
  -- All names between `source/` and what follows them: the byte behind the slash is the digit 0.
  recorded = recorded - redis.call('ZLEXCOUNT', index, '[' .. ARGV[i] .. '/', '(' .. ARGV[i] .. '0')
end
if recorded + #new > max then
  return {map = {isListed = 0, created = #new, recorded = recorded, refused = {unpack(new, 1, math.min(#new, 10))}}}
end

for from = 1, #new, chunk do
  local scored = {}
  for i = from, math.min(from + chunk - 1, #new) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = new[i]
  end
  redis.call('ZADD', index, unpack(scored))
end
return {map = {isListed = 1, created = #new, recorded = recorded}}
