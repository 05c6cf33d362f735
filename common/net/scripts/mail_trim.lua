-- Make room in a mailbox above its limits: what has expired goes first, then the oldest.
-- KEYS  1 db_slots:{product/uid}   2 db_smeta:{product/uid}
-- ARGV  1 run_id   2 now ms   3 items and 4 bytes kept at most; the newest slot always stays
-- Gives {mids, notes} of what left. O(slots) where something expired, else O(what left).

-- include mailbox

local slots, meta, now = KEYS[1], KEYS[2], tonumber(ARGV[2])
local fields, known = read_meta(meta)
local n, gone = redis.call('LLEN', slots), nothing_gone()
local bytes = tonumber(fields['bytes']) or 0

local function over()
  return n > tonumber(ARGV[3]) or (n > 1 and bytes - gone.bytes > tonumber(ARGV[4]))
end

if over() and tonumber(fields['soonest']) <= now then
  local kept, soonest = {}, math.huge
  for _, text in ipairs(redis.call('LRANGE', slots, 0, -1)) do
    local _, _, ends = read_slot(text)
    if ends <= now then
      let_go(gone, meta, fields, known, text, 'expired', now)
    else
      kept[#kept + 1] = text
      soonest = math.min(soonest, ends)
    end
  end
  if #kept > 0 and #kept < n then
    local lives = redis.call('PTTL', slots)
    redis.call('DEL', slots)
    redis.call('RPUSH', slots, unpack(kept))
    redis.call('PEXPIRE', slots, lives)
    redis.call('HSET', meta, 'soonest', soonest)
  elseif #kept == 0 then
    redis.call('DEL', slots)
  end
  n = #kept
end
while over() do
  let_go(gone, meta, fields, known, redis.call('LPOP', slots), 'trimmed', now)
  n = n - 1
end
write_gone(meta, fields, gone)
return {gone.mids, gone.notes}
