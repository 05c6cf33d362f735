-- Put a message into a mailbox, once.
-- KEYS  1 db_slots:{product/uid}   2 db_smeta:{product/uid}   3 db_smid:{product/uid}
-- ARGV  1 run_id   2 mid   3 expire ms   4 size, > 0   5 now ms   6 items and 7 bytes kept at most
--       8 mids remembered   9 ms an unused mailbox lives
-- Gives {seq, number given before, 1 if mail_trim has to make room}. A mid known gives
-- {its seq, -1, 1 while its slot may be kept} and changes nothing. O(log(mids)).
-- Most of what the saver does is this: one call to Redis more is felt.

local JUMP, DAY = 1048576, 86400000
local slots, meta, mids = KEYS[1], KEYS[2], KEYS[3]
local run_id, mid, size, now = ARGV[1], ARGV[2], ARGV[4], ARGV[5]

local known_as = redis.call('ZSCORE', mids, mid)
if known_as then
  local first = redis.call('LINDEX', slots, 0)
  return {tonumber(known_as), -1, first and tonumber(first:match('^%d+')) <= tonumber(known_as) and 1 or 0}
end

local stored = redis.call('HMGET', meta, 'seq', 'run_id', 'bytes', 'soonest', 'lives', 'at')
local last, bytes, soonest, lives = tonumber(stored[1]), stored[3], stored[4], tonumber(stored[5])
local seq = (last or now - 1) + 1
-- Redis restarted, perhaps with a shorter memory: pass what it may have given since. The time in it
-- keeps two restarts from the same memory apart.
if last and stored[2] ~= run_id then seq = seq + JUMP + math.max(now - (stored[6] or now), 0) end

local n = redis.call('RPUSH', slots, seq .. ':' .. mid .. ':' .. ARGV[3] .. ':' .. size)
if n == 1 then bytes, soonest = size, ARGV[3] end
if n > 1 then
  bytes = (bytes or 0) + size
  if not soonest or tonumber(ARGV[3]) < tonumber(soonest) then soonest = ARGV[3] end
end
redis.call('ZADD', mids, seq, mid)
if seq % 16 == 0 then redis.call('ZREMRANGEBYRANK', mids, 0, -1 - ARGV[8]) end
local ends = now + ARGV[9]
if not lives or lives < ends then
  redis.call('HSET', meta, 'lives', ends + DAY)
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[9] + DAY) end
elseif n == 1 then
  redis.call('PEXPIRE', slots, ARGV[9] + DAY)
end
if stored[2] == run_id and stored[4] == soonest then
  redis.call('HSET', meta, 'seq', seq, 'at', now, 'bytes', bytes)
else
  redis.call('HSET', meta, 'seq', seq, 'at', now, 'bytes', bytes, 'soonest', soonest, 'run_id', run_id)
end
local is_over = n > tonumber(ARGV[6]) or (n > 1 and bytes > tonumber(ARGV[7]))
return {seq, last or 0, is_over and 1 or 0}
