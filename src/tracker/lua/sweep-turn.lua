-- Takes the turn to sweep.
--
-- KEYS  1 the turn
-- ARGV  1 who takes it   2 for how long, ms
-- Returns 'OK', or nil while another process has it

return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX')
