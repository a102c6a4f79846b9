-- Makes a lease last longer, or ends it, if it is still its owner's.
--
-- KEYS  1 who has the lease
-- ARGV  1 owner  2 how long it lasts from now on, ms (0 = it ends)
-- Returns 1 when it was the owner's, else 0

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
