-- Move a device's positions up, and let go of what all devices have.
-- KEYS  1 db_slots:{product/uid}   2 db_smeta:{product/uid}   3 db_dead:{product/uid}
-- ARGV  1 run_id   2 device   3 seq, '' = none   4 bseq, '' = none   5 newest bseq given   6 now ms
--       7 ms away after which a device does not count   8 devices remembered   9 dead letters kept
--       10 ms an unused mailbox lives
-- Gives {'ok', bseq before, bseq now, mids, notes}, or {'seq' | 'bseq'} and changes nothing where a
-- number was never given. O(log(slots) + slots let go), where some expired also + slots acked.

-- include mailbox

local JUMP = 1048576
local slots, meta, dead = KEYS[1], KEYS[2], KEYS[3]
local name, seq, bseq, now = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local fields, known = read_meta(meta)

if bseq and bseq > tonumber(ARGV[5]) then return {'bseq'} end
if seq then
  local newest = tonumber(fields['seq']) or now
  -- Redis restarted and may have forgotten numbers it gave; the next one jumps over all of them.
  if fields['seq'] and fields['run_id'] ~= ARGV[1] then
    newest = newest + JUMP + math.max(now - (fields['at'] or now), 0)
  end
  if seq > newest then return {'seq'} end
end

local n, gone = redis.call('LLEN', slots), nothing_gone()
local device = known[name] or newcomer(slots, n, fields, now)
local before, bbefore = device.acked, device.backed
known[name] = device
device.seen = math.max(device.seen, now)
if bseq and bseq > device.backed then
  device.backed = bseq
  if device.bfrom == 0 then device.bfrom = bseq end
end
if seq and seq > before then
  if n > 0 and (tonumber(fields['soonest']) or now) <= now then
    local from, to = above(slots, n, before), above(slots, n, seq)
    for _, text in ipairs(to > from and redis.call('LRANGE', slots, from, to - 1) or {}) do
      local _, mid, expires = read_slot(text)
      -- It was over at the login already, so this device never got it.
      if expires <= device.since then gone.notes[#gone.notes + 1] = {mid, 'expired', name} end
    end
  end
  device.acked, device.given = seq, math.max(device.given, seq)
  device.head, device.loads = 0, 0
end
forget(meta, known, name, tonumber(ARGV[8]))
write_device(meta, name, device, unpack(beginning(fields, ARGV[1], now)))
if device.acked > before then
  trim_to_floor(slots, meta, dead, fields, known, now - tonumber(ARGV[7]), now, tonumber(ARGV[9]), gone)
  write_gone(meta, fields, gone)
end
refresh(meta, tonumber(ARGV[10]), slots)
return {'ok', bbefore, device.backed, gone.mids, gone.notes}
