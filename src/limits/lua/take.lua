-- Takes points from what a client has left in its window, all or none.
--
-- KEYS  1 the client's counter, which lives as long as its window
-- ARGV  1 points  2 most points in a window  3 length of a window, ms
-- Returns {1 when they were taken, points left, ms until the window ends (0: none has begun)}

local points, most, windowMs = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local fits = used + points <= most or points == 0
if fits and points > 0 then
  if used == 0 then
    redis.call('SET', KEYS[1], points, 'PX', windowMs)
  else
    redis.call('INCRBY', KEYS[1], points)
  end
  used = used + points
end
return {fits and 1 or 0, math.max(0, most - used), math.max(0, redis.call('PTTL', KEYS[1]))}
