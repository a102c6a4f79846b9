-- Takes the turn to sweep, or renews it
--
-- KEYS  1 the turn
-- ARGV  1 who takes it   2 for how long, ms
-- Returns 'OK', or nil while another process has it

-- One that never expires is none of ours, and nothing would be swept any more.
if redis.call('PTTL', KEYS[1]) >= 0 then
  local isOurs = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('GET', KEYS[1]) == ARGV[1]
  if not isOurs then return false end
end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
