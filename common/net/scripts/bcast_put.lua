-- Put a message into a product's broadcast log, once.
-- KEYS  1 db_bcast:{product}   2 db_bseq:{product}   3 db_bmeta:{product}
-- ARGV  1 run_id   2 mid   3 expire ms   4 size   5 now ms   6 broadcasts kept
-- Gives {bseq, number given before, {mids let go}}; a mid known gives {its bseq, -1, {}} and changes
-- nothing. O(log(kept)).

local log, counter, meta = KEYS[1], KEYS[2], KEYS[3]
local mid, now = ARGV[2], tonumber(ARGV[5])
local known_as = redis.call('ZSCORE', log, mid)
if known_as then return {tonumber(known_as), -1, {}} end

local last = tonumber(redis.call('GET', counter)) or 0
local bseq = math.max(last + 1, now)
redis.call('SET', counter, bseq)
redis.call('ZADD', log, bseq, mid)
redis.call('HSET', meta, mid, ARGV[3] .. ':' .. ARGV[4], 'run_id', ARGV[1])

local gone, n = {}, redis.call('ZCARD', log)
while n > 1 do
  local oldest = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
  local expires = tonumber((redis.call('HGET', meta, oldest[1]) or '0'):match('^%d+'))
  if expires > now and n <= tonumber(ARGV[6]) then break end
  if expires > now then redis.call('HSET', meta, 'cut', oldest[2]) end
  redis.call('ZREM', log, oldest[1])
  redis.call('HDEL', meta, oldest[1])
  gone[#gone + 1], n = oldest[1], n - 1
end
return {bseq, last, gone}
