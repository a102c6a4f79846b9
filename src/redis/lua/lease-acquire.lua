-- Takes a free lease, or takes it anew for its owner, with a fencing token larger than all before.
--
-- KEYS  1 who has the lease  2 newest fencing token
-- ARGV  1 owner, unique to this attempt to have it  2 how long it lasts unless it is renewed, ms
--       3 a fencing token that is known to be in use elsewhere (0 = none): the new one is larger
-- Returns {the fencing token, 0}, or {0, ms until its holder must have renewed it (-1: no end is known)}

local holder = redis.call('GET', KEYS[1])
-- Ours already: the answer to an earlier try was lost.
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
-- A plain counter would begin anew when its node has lost it, and queues on other nodes would refuse its tokens for ever.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or '0') + 1, tonumber(ARGV[3]) + 1, now)
redis.call('SET', KEYS[2], string.format('%.0f', fence))
return {fence, 0}
