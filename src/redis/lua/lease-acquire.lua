-- Takes a lease that nobody has, or takes it anew for the owner who has it, and counts its fencing token up.
--
-- KEYS  1 who has the lease  2 counter of fencing tokens
-- ARGV  1 owner, unique to this attempt to have it  2 how long it lasts unless it is renewed, ms
-- Returns {the fencing token, 0}, or {0, ms until whoever has it must have renewed it (-1: no end is known)}

local holder = redis.call('GET', KEYS[1])
-- Ours already: the answer to an earlier try was lost.
if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {redis.call('INCR', KEYS[2]), 0}
