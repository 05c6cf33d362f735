-- Give the broadcasts that follow a position; expired ones are left out.
-- KEYS  1 db_bcast:{product}   2 db_bmeta:{product}
-- ARGV  1 run_id   2 after bseq   3 most broadcasts   4 most bytes   5 now ms   6 1 = one must be given
--       even if it alone is too large
-- Gives {gap, more, bseq to go on from, {bseq, mid, …}}. O(log(kept) + broadcasts given).

local log, meta, after = KEYS[1], KEYS[2], tonumber(ARGV[2])
local most, most_bytes, now = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cut = tonumber(redis.call('HGET', meta, 'cut')) or 0
local found, bytes, last, more, offset = {}, 0, after, 0, 0
while more == 0 do
  local page = redis.call('ZRANGEBYSCORE', log, '(' .. ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', offset, most + 1)
  for i = 1, #page, 2 do
    local expires, size = (redis.call('HGET', meta, page[i]) or '0:0'):match('^(%d+):(%d+)$')
    if tonumber(expires) > now then
      local is_free = #found == 0 and ARGV[6] == '1'
      if #found >= 2 * most or (not is_free and bytes + size > most_bytes) then
        more = 1
        break
      end
      found[#found + 1], found[#found + 2] = tonumber(page[i + 1]), page[i]
      bytes = bytes + size
    end
    last = tonumber(page[i + 1])
  end
  if #page < 2 * (most + 1) then break end
  offset = offset + most + 1
end
if #found == 0 and more == 0 then last = math.max(last, cut) end
return {cut > after and 1 or 0, more, last, found}
