-- Fragment for read-lists.lua. A task in a list is a pickle without a time. A queue with priorities is a sorted set by them: each member
-- begins with when it was pushed, in µs, as 8 bytes, big-endian. So the first one of each priority is the oldest of it.

local maxPriorities, maxMemberBytes = 100, 1048576

local function look() return nil end

function readSorted(key)
  local count, first, after, bytes = redis.call('ZCARD', key), nil, '-inf', 0
  for priorities = 1, maxPriorities do
    local member, score = unpack(redis.call('ZRANGEBYSCORE', key, after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
    if not member then return count, first, true, bytes, priorities end
    bytes, after = bytes + #member, '(' .. score
    if #member < 8 then return count, nil, true, bytes, priorities end
    local pushed = struct.unpack('>I8', member)
    first = math.min(first or pushed, pushed)
    if bytes > maxMemberBytes or priorities == maxPriorities then
      return count, first, redis.call('ZCOUNT', key, after, '+inf') == 0, bytes, priorities
    end
  end
end
