-- Writes changed alerts, each together with the notification of it, and publishes each of them.
--
-- KEYS  1 state  2 active  3 resolved  4... outboxes, one for each webhook
-- ARGV  1 fencing token  2 channel  3 how many resolved alerts are kept
--       4 how many notifications an outbox holds: of more, the oldest are dropped, and counted
--       then the name of each outbox's receiver
--       then four for each alert: 'keep', 'resolve' or 'end'; id; the alert as JSON; the notification as JSON ('' = none)
-- Returns how many notifications were dropped; or the newer token that is stored, negated, and then nothing was written
--
-- 'end': the alert was PENDING, and leaves no trace.

local stateKey, activeKey, resolvedKey, firstOutbox = KEYS[1], KEYS[2], KEYS[3], 4
local channel, maxResolved, maxNotifications = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local firstReceiver, outboxes, perAlert = 5, #KEYS - firstOutbox + 1, 4

local newest = tonumber(redis.call('HGET', stateKey, 'fence') or 0)
if tonumber(ARGV[1]) < newest then return -newest end

local dropped = 0
local function notify(id, notification)
  for i = 0, outboxes - 1 do
    local outbox = KEYS[firstOutbox + i]
    local over = redis.call('XLEN', outbox) + 1 - maxNotifications
    redis.call('XADD', outbox, 'MAXLEN', maxNotifications, '*', 'alert', id, 'body', notification)
    if over > 0 then
      redis.call('HINCRBY', stateKey, 'dropped:' .. ARGV[firstReceiver + i], over)
      dropped = dropped + over
    end
  end
end

for first = firstReceiver + outboxes, #ARGV, perAlert do
  local what, id, alert, notification = ARGV[first], ARGV[first + 1], ARGV[first + 2], ARGV[first + 3]
  local before = redis.call('HGET', activeKey, id) or '\n'
  -- Acknowledgements are written by any process, so the line that is there is newer than what the leader knows.
  local record = (before:match('^%b{}\n') or '\n') .. alert
  if what == 'keep' then
    redis.call('HSET', activeKey, id, record)
  else
    redis.call('HDEL', activeKey, id)
    if what == 'resolve' then
      redis.call('LPUSH', resolvedKey, record)
      redis.call('LTRIM', resolvedKey, 0, maxResolved - 1)
    end
  end
  if notification ~= '' then notify(id, notification) end
  redis.call('PUBLISH', channel, record)
end
return dropped
