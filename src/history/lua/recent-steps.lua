-- Reads the newest steps of queues. Writes nothing. All steps of a queue are one text: a reply of many small ones takes the caller
-- several times as long.
--
-- KEYS  of each queue the stream of its steps
-- ARGV  of each queue when the first step began, ms, and how many steps, the newest ones, are wanted ('' = all)
-- Returns for each queue an error, such as WRONGTYPE, which is no error of the others; else its steps one after the other, in the
--   order of their times: when it began, ms (double); the length of the following (2 bytes); what was written, see step-record.ts,
--   cut off behind the numbers that are needed

-- Ten numbers of up to 9 bytes behind the head of a list of up to 3.
local neededBytes = 93
-- A list of two or three: its numbers stand at the end, behind a list.
local nested = { [0x92] = true, [0x93] = true }
local maxBytes = 0xffff

local reply = {}
for i, key in ipairs(KEYS) do
  local from, max = ARGV[2 * i - 1], ARGV[2 * i]
  local entries
  if max == '' then
    entries = redis.pcall('XREVRANGE', key, '+', from)
  else
    entries = redis.pcall('XREVRANGE', key, '+', from, 'COUNT', max)
  end
  if entries.err then
    reply[i] = entries
  else
    local steps, count = {}, #entries
    for j, entry in ipairs(entries) do
      local bytes = entry[2][2]
      bytes = string.sub(bytes, 1, nested[string.byte(bytes)] and maxBytes or neededBytes)
      steps[count + 1 - j] = struct.pack('>dHc0', tonumber(string.match(entry[1], '^%d+')), #bytes, bytes)
    end
    reply[i] = table.concat(steps)
  end
end
return reply
