-- Takes points from a client's token buckets: from each of them, or from none. A bucket is a GCRA in its form as a leaky bucket
-- (ITU-T I.371): it refills continuously, from empty to full in one window. core/token-bucket.ts is the same in TypeScript.
--
-- KEYS  1 the client's buckets: "<points used> <at, us>" for each, separated by blanks. It expires when all of them are full
-- ARGV  1 'all': take everything or nothing; 'rest': take what is there, if it is less than what is asked for
--       2 points that were taken in advance and are put back into the first bucket
--       3 points to take in advance out of the first bucket, if the others are taken and half of it is left then; none otherwise
--       then for each bucket: points to take, points in a full bucket, window in ms
-- Returns a map
--   isTaken  1 when the points were taken, else 0
--   advance  points that were taken in advance
--   used     for each bucket the points that are used now, as text

local roundingError = 1e-6
local time = redis.call('TIME')
local nowUs = time[1] * 1000000 + time[2]

-- A key of another type is none of ours, and must not keep the client out: it is written over.
local text = redis.pcall('GET', KEYS[1])
local stored = {}
for number in string.gmatch(type(text) == 'string' and text or '', '%S+') do
  stored[#stored + 1] = tonumber(number) or 0
end

local putBack, advance = tonumber(ARGV[2]), tonumber(ARGV[3])
local buckets, fits, asked = {}, true, 0
for i = 1, (#ARGV - 3) / 3 do
  local points, max, windowMs = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
  local used, atUs = stored[2 * i - 1] or 0, stored[2 * i] or nowUs
  -- A clock that steps back neither refills nor drains: the bucket goes on from the new time.
  used = math.max(0, used - math.max(0, nowUs - atUs) * max / windowMs / 1000)
  if i == 1 then used = math.max(0, used - putBack) end
  if ARGV[1] == 'rest' then points = math.min(points, math.max(0, math.floor(max - used + roundingError))) end
  if points > 0 and used + points > max + roundingError then fits = false end
  asked = asked + points
  if i == 1 and used + points + advance > max / 2 then advance = 0 end
  buckets[i] = { used = used, points = points, msPerPoint = windowMs / max }
end

local isTaken = fits and asked > 0
if not isTaken then advance = 0 end
local usedNow, state, fullInMs = {}, {}, 0
for i, bucket in ipairs(buckets) do
  local used = bucket.used + (isTaken and bucket.points or 0) + (i == 1 and advance or 0)
  usedNow[i] = string.format('%.17g', used)
  state[i] = string.format('%.17g %.17g', used, nowUs)
  fullInMs = math.max(fullInMs, used * bucket.msPerPoint)
end
if isTaken or putBack > 0 then redis.call('SET', KEYS[1], table.concat(state, ' '), 'PX', math.ceil(fullInMs) + 1) end
return {map = {isTaken = fits and 1 or 0, advance = advance, used = usedNow}}
