-- Acquires a free lease, or acquires it again for its owner, with a fencing token larger than all before.
--
-- KEYS  1 owner of the lease  2 newest fencing token
-- ARGV  1 owner, unique to this attempt  2 how long the lease lasts unless it is renewed, ms
--       3 a fencing token that is known to be in use elsewhere (0 = none): the new one is larger
-- Returns {the fencing token, 0}, or {0, ms until its holder must have renewed it}

-- @include includes/now.lua

-- A key of another type is no lease, and a lease always expires: what is neither would keep everyone from the work for ever.
local function read(key)
  local found = redis.pcall('GET', key)
  return type(found) == 'string' and found or nil
end

local holder, expiresInMs = read(KEYS[1]), redis.call('PTTL', KEYS[1])
-- Ours already: the answer to an earlier try was lost.
if holder and holder ~= ARGV[1] and expiresInMs >= 0 then return {0, expiresInMs} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
-- A plain counter would restart when its node has lost it, and queues on other nodes would refuse its tokens for ever.
local now = nowMs('')
local fence = math.max((tonumber(read(KEYS[2])) or 0) + 1, tonumber(ARGV[3]) + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', fence))
return {fence, 0}
