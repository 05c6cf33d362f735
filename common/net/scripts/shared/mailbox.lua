-- Shared by the scripts of a mailbox: slots, devices, and how a slot leaves.
--
-- slot      `seq:mid:expire_ms:size`; a mid stays text, Lua would not print all its digits
-- device    field p/<device> `acked:backed:from:bfrom`, positions of seq and bseq: acked, and the
--           ones it began at; backed 0 = not known yet
--           field s/<device> `seen:since:given:head:loads`: last seen and last login in ms, highest
--           seq given, the head it was given and did not ack, over how many connections
-- given up  field x/<seq>: the devices that gave this slot up, joined by spaces
-- gone      what left: mids (without dead letters), notes (mid, reason, devices that never had it),
--           their bytes, how many were dropped alive, and the newest of them (`cut`)

local function read_slot(text)
  local seq, mid, expires, size = text:match('^(%d+):(%d+):(%d+):(%d+)$')
  return tonumber(seq), mid, tonumber(expires), tonumber(size)
end

-- Index of the first of n slots above a position; n when there is none. At most 2 + log2(n) LINDEX.
local function above(slots, n, position)
  if n == 0 or read_slot(redis.call('LINDEX', slots, 0)) > position then return 0 end
  if read_slot(redis.call('LINDEX', slots, -1)) <= position then return n end
  local low, high = 0, n - 1
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if read_slot(redis.call('LINDEX', slots, middle)) > position then high = middle else low = middle end
  end
  return high
end

local function read_meta(meta)
  local flat, fields, known = redis.call('HGETALL', meta), {}, {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  for field, text in pairs(fields) do
    if field:sub(1, 2) == 'p/' then
      local acked, backed, from, bfrom = text:match('^(%d+):(%d+):(%d+):(%d+)$')
      local name = field:sub(3)
      local seen, since, given, head, loads = fields['s/' .. name]:match('^(%d+):(%d+):(%d+):(%d+):(%d+)$')
      known[name] = {
        acked = tonumber(acked), backed = tonumber(backed), from = tonumber(from), bfrom = tonumber(bfrom),
        seen = tonumber(seen), since = tonumber(since), given = tonumber(given),
        head = tonumber(head), loads = tonumber(loads),
      }
    end
  end
  return fields, known
end

-- `...`: other fields to write along.
local function write_device(meta, name, device, ...)
  redis.call('HSET', meta,
    'p/' .. name, table.concat({device.acked, device.backed, device.from, device.bfrom}, ':'),
    's/' .. name, table.concat({device.seen, device.since, device.given, device.head, device.loads}, ':'), ...)
end

-- A device not known yet: it begins at the oldest slot kept.
local function newcomer(slots, n, fields, now)
  local position = tonumber(fields['seq']) or now
  if n > 0 then position = read_slot(redis.call('LINDEX', slots, 0)) - 1 end
  return {acked = position, backed = 0, from = position, bfrom = 0,
    seen = now, since = now, given = position, head = 0, loads = 0}
end

-- Fields that begin a mailbox that is not there yet (or no more): its next number is above all positions.
local function beginning(fields, run_id, now)
  if fields['seq'] then return {} end
  return {'seq', now, 'run_id', run_id, 'at', now}
end

-- Forget the device longest away until at most `most` are remembered; `kept` stays.
local function forget(meta, known, kept, most)
  local count = 0
  for _ in pairs(known) do count = count + 1 end
  while count > most do
    local oldest
    for name, device in pairs(known) do
      if name ~= kept and (not oldest or device.seen < known[oldest].seen
        or (device.seen == known[oldest].seen and name < oldest)) then oldest = name end
    end
    if not oldest then return end
    redis.call('HDEL', meta, 'p/' .. oldest, 's/' .. oldest, 't/' .. oldest, 'e/' .. oldest)
    known[oldest] = nil
    count = count - 1
  end
end

local function nothing_gone() return {mids = {}, notes = {}, bytes = 0, dropped = 0, cut = 0} end

-- Account for one slot that leaves the list.
local function let_go(gone, meta, fields, known, text, reason, now)
  local seq, mid, expires, size = read_slot(text)
  gone.bytes = gone.bytes + size
  gone.mids[#gone.mids + 1] = mid
  if expires <= now then
    reason = 'expired'
  else
    gone.cut = math.max(gone.cut, seq)
    if reason == 'trimmed' then gone.dropped = gone.dropped + 1 end
  end
  local without, bare = {}, not next(known)
  for name, device in pairs(known) do
    if device.acked < seq then without[#without + 1] = name end
  end
  if bare or #without > 0 then
    table.sort(without)
    gone.notes[#gone.notes + 1] = {mid, reason, table.concat(without, ' ')}
  end
  if fields['x/' .. seq] then redis.call('HDEL', meta, 'x/' .. seq) end
end

-- Whether nobody acked a slot and somebody gave it up.
local function is_dead(fields, known, seq)
  local quitters = fields['x/' .. seq]
  if not quitters then return false end
  for name, device in pairs(known) do
    local quit = (' ' .. quitters .. ' '):find(' ' .. name .. ' ', 1, true)
    if device.acked >= seq and device.from < seq and not quit then return false end
  end
  return true
end

-- Let go of what all devices seen since `lately` are past.
local function trim_to_floor(slots, meta, dead, fields, known, lately, now, dead_items, gone)
  local floor
  for _, device in pairs(known) do
    if device.seen >= lately then floor = math.min(floor or device.acked, device.acked) end
  end
  if not floor then return end
  local count = above(slots, redis.call('LLEN', slots), floor)
  if count == 0 then return end
  for _, text in ipairs(redis.call('LRANGE', slots, 0, count - 1)) do
    local is_given_up = is_dead(fields, known, read_slot(text))
    let_go(gone, meta, fields, known, text, 'away', now)
    if is_given_up then
      gone.mids[#gone.mids] = nil
      redis.call('RPUSH', dead, text .. ':unacked:' .. now)
      redis.call('LTRIM', dead, -dead_items, -1)
    end
  end
  redis.call('LTRIM', slots, count, -1)
end

local function write_gone(meta, fields, gone)
  if gone.bytes == 0 then return end
  redis.call('HSET', meta, 'bytes', math.max((tonumber(fields['bytes']) or 0) - gone.bytes, 0),
    'cut', math.max(tonumber(fields['cut']) or 0, gone.cut))
  if gone.dropped > 0 then redis.call('HINCRBY', meta, 'dropped', gone.dropped) end
end

-- Keep the keys for `lasts` ms more; at most once a day, each write would double the log otherwise.
local function refresh(meta, lasts, ...)
  if redis.call('PTTL', meta) >= lasts then return end
  for _, key in ipairs({meta, ...}) do redis.call('PEXPIRE', key, lasts + 86400000) end
end
