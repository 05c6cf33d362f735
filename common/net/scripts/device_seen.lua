-- Note that a device is there, and how far it was written to; a device not known stays so.
-- KEYS  1 db_smeta:{product/uid}
-- ARGV  1 run_id   2 device   3 seen ms   4 highest seq written, '' = none   5 bseq it begins at, '' = none
--       (taken only where it has none yet, or still stands before it where it began)
--       6 ms an unused mailbox lives
-- Gives 1, or 0 for a device not known.

-- include mailbox

local _, known = read_meta(KEYS[1])
local device = known[ARGV[2]]
if not device then return 0 end
device.seen = math.max(device.seen, tonumber(ARGV[3]))
device.given = math.max(device.given, tonumber(ARGV[4]) or 0)
if device.backed == 0 or device.backed == device.bfrom then
  device.backed = math.max(device.backed, tonumber(ARGV[5]) or 0)
  device.bfrom = device.backed
end
write_device(KEYS[1], ARGV[2], device)
refresh(KEYS[1], tonumber(ARGV[6]))
return 1
