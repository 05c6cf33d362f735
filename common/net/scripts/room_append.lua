-- Append messages to a durable room, if the caller owns it and knows its newest offset.
-- KEYS  1 room:{product/map/name}:meta   2 room:{product/map/name}:log
-- ARGV  1 run_id   2 owner   3 expected offset   4 keep items, >= 1   5 keep bytes, 0 = any
--       6 keep seconds, 0 = for good   7 seconds meta outlives the log   8 … uid, key, data, time ms
-- Gives {'ok' | 'fenced' | 'moved', offset stored now}; changes something only with 'ok'.

local FIELDS, FIRST, OVERHEAD = 4, 8, 32
local meta, log = KEYS[1], KEYS[2]
local expected, keep_items, keep_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local keep_seconds = tonumber(ARGV[6])
local stored = redis.call('HMGET', meta, 'owner', 'offset', 'bytes')
local offset, bytes = tonumber(stored[2]) or 0, tonumber(stored[3]) or 0

if not stored[1] then return {'moved', 0} end
if stored[1] ~= ARGV[2] then return {'fenced', offset} end

-- A repeat: the first `done` messages of this batch went through already.
local count, done = (#ARGV - FIRST + 1) / FIELDS, offset - expected
if done < 0 or done > count then return {'moved', offset} end
if done > 0 then
  local kept = redis.call('XRANGE', log, expected + 1, offset)
  if #kept == 0 then return {'moved', offset} end
  for _, entry in ipairs(kept) do
    local at = FIRST + (tonumber(entry[1]:match('^%d+')) - expected - 1) * FIELDS
    for field = 0, FIELDS - 1 do
      if entry[2][2 * field + 2] ~= ARGV[at + field] then return {'moved', offset} end
    end
  end
end

local function size(uid, key, data) return #uid + #key + #data + OVERHEAD end

local items = redis.call('XLEN', log)
if items == 0 then bytes = 0 end
for i = done, count - 1 do
  local at = FIRST + i * FIELDS
  local uid, key, data, time = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  offset = offset + 1
  redis.call('XADD', log, offset .. '-0', 'uid', uid, 'key', key, 'data', data, 'time', time)
  items, bytes = items + 1, bytes + size(uid, key, data)
end

local function over() return items > keep_items or (keep_bytes > 0 and bytes > keep_bytes and items > 1) end

while over() do
  local last
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', 64)) do
    if not over() then break end
    last, items = entry[1], items - 1
    bytes = bytes - size(entry[2][2], entry[2][4], entry[2][6])
  end
  redis.call('XTRIM', log, 'MINID', (tonumber(last:match('^%d+')) + 1) .. '-0')
end

redis.call('HSET', meta, 'offset', offset, 'bytes', bytes, 'run_id', ARGV[1])
if keep_seconds > 0 then
  redis.call('EXPIRE', log, keep_seconds)
  redis.call('EXPIRE', meta, keep_seconds + tonumber(ARGV[7]))
else
  redis.call('PERSIST', meta)
end
return {'ok', offset}
