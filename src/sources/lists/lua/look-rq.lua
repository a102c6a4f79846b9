-- Fragment for read-lists.lua: when a job of RQ was enqueued last. The list holds its id, also when it is tried again: so its id and
-- this time are what distinguishes it.

local function look(id) return redis.call('HGET', 'rq:job:' .. id, 'enqueued_at') or nil end

function identity(id) return id .. ' ' .. (look(id) or '') end
