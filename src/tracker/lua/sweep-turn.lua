-- Takes the turn to sweep.
--
-- KEYS  1 the turn
-- ARGV  1 who takes it   2 for how long, ms
-- Returns 'OK', or nil while another process has it

-- One that never expires is none of ours, and nothing would be swept any more.
if redis.call('PTTL', KEYS[1]) >= 0 then return false end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
