-- Renames the index when it holds another type than it should, so that nothing is lost and a new one can be made.
--
-- KEYS  1 index   2 what it is renamed to
-- Returns 1 when it was renamed, else 0: another process has done so

local found = redis.call('TYPE', KEYS[1]).ok
if found == 'none' or found == 'zset' then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
