-- Writes down what became of alerts, each together with the word that tells of it; publishes each of them.
--
-- KEYS  1 state  2 active  3 resolved  4 outbox
-- ARGV  1 fencing token  2 channel  3 how many resolved ones are kept
--       4 how many words the outbox holds: of more, the oldest are dropped, and counted
--       then four for each alert: 'keep', 'resolve' or 'end'; id; the alert as JSON; the word as JSON ('' = none)
-- Returns 1, or -1 when somebody with a newer token was here, and nothing was written
--
-- 'end': it was PENDING, and leaves no trace.

local stateKey, activeKey, resolvedKey, outboxKey = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local channel, mostResolved, mostWords = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local firstAlert, perAlert = 5, 4

local fence = tonumber(ARGV[1])
if fence < tonumber(redis.call('HGET', stateKey, 'fence') or fence) then return -1 end

for first = firstAlert, #ARGV, perAlert do
  local what, id, alert, word = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
  local before = redis.call('HGET', activeKey, id) or '\n'
  -- Whoever acknowledged it did so behind the back of whoever decides.
  local record = before:match('^[^\n]*\n') .. alert
  if what == 'keep' then
    redis.call('HSET', activeKey, id, record)
  else
    redis.call('HDEL', activeKey, id)
    if what == 'resolve' then
      redis.call('LPUSH', resolvedKey, record)
      redis.call('LTRIM', resolvedKey, 0, mostResolved - 1)
    end
  end
  if word ~= '' then
    local over = redis.call('XLEN', outboxKey) + 1 - mostWords
    redis.call('XADD', outboxKey, 'MAXLEN', mostWords, '*', 'alert', id, 'body', word)
    if over > 0 then redis.call('HINCRBY', stateKey, 'dropped:webhook', over) end
  end
  redis.call('PUBLISH', channel, record)
end
return 1
