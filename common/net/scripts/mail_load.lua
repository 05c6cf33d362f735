-- Give a device what follows a position; at a login also count heads it leaves unacked.
-- KEYS  1 db_slots:{product/uid}   2 db_smeta:{product/uid}   3 db_dead:{product/uid}
-- ARGV  1 run_id   2 device   3 after seq, '' = its own position   4 most slots   5 most bytes
--       6 1 = a login, else nothing is written   7 now ms   8 ms away after which a device does not count
--       9 devices remembered   10 loads and 11 ms of a connection that give a head up
--       12 dead letters kept   13 ms an unused mailbox lives   14 bseq a device without one begins at, '' = none
-- Gives {acked, backed before, gap, more, seq to go on from, {seq, mid, …}, mid given up or '', mids, notes}.
-- O(log(slots) + slots given). Expired slots are left out.

-- include mailbox

local slots, meta, dead = KEYS[1], KEYS[2], KEYS[3]
local name, most, most_bytes = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local is_login, now = ARGV[6] == '1', tonumber(ARGV[7])
local fields, known = read_meta(meta)
local n, gone, given_up = redis.call('LLEN', slots), nothing_gone(), ''
local device = known[name] or newcomer(slots, n, fields, now)
local backed = device.backed

-- The first slot above a position that is not expired: seq, mid; nil when there is none.
local function head_above(position)
  for i = above(slots, n, position), n - 1 do
    local seq, mid, expires = read_slot(redis.call('LINDEX', slots, i))
    if expires > now then return seq, mid end
  end
end

local function count_head()
  local seq, mid = head_above(device.acked)
  if seq and seq == device.head then
    if device.seen - device.since >= tonumber(ARGV[11]) then device.loads = device.loads + 1 end
    if device.loads < tonumber(ARGV[10]) then return end
    given_up = mid
    fields['x/' .. seq] = fields['x/' .. seq] and fields['x/' .. seq] .. ' ' .. name or name
    redis.call('HSET', meta, 'x/' .. seq, fields['x/' .. seq])
    device.acked = seq
    seq = head_above(seq)
  end
  device.head, device.loads = seq or 0, 0
end

if is_login then
  if known[name] then
    count_head()
  else
    device.head = head_above(device.acked) or 0
  end
  device.since = now
  device.seen = math.max(device.seen, now)
  if backed == 0 then
    device.backed = tonumber(ARGV[14]) or 0
    device.bfrom = device.backed
  end
end

local after = tonumber(ARGV[3]) or device.acked
local cut = tonumber(fields['cut']) or 0
local found, bytes, last, more = {}, 0, after, 0
local from = above(slots, n, after)
while from < n and more == 0 do
  for _, text in ipairs(redis.call('LRANGE', slots, from, from + most)) do
    local seq, mid, expires, size = read_slot(text)
    if expires > now then
      if #found >= 2 * most or (#found > 0 and bytes + size > most_bytes) then
        more = 1
        break
      end
      found[#found + 1], found[#found + 2] = seq, mid
      bytes = bytes + size
    end
    last = seq
  end
  from = from + most + 1
end
local gap = (cut > after or given_up ~= '') and 1 or 0
if #found == 0 and more == 0 then last = math.max(last, cut) end

if is_login then
  device.given = math.max(device.given, last)
  known[name] = device
  forget(meta, known, name, tonumber(ARGV[9]))
  write_device(meta, name, device, unpack(beginning(fields, ARGV[1], now)))
  if given_up ~= '' then
    trim_to_floor(slots, meta, dead, fields, known, now - tonumber(ARGV[8]), now, tonumber(ARGV[12]), gone)
    write_gone(meta, fields, gone)
    redis.call('PEXPIRE', dead, ARGV[13])
  end
  refresh(meta, tonumber(ARGV[13]), n > 0 and slots or nil)
end
return {device.acked, backed, gap, more, last, found, given_up, gone.mids, gone.notes}
