-- Take ownership of a durable room.
-- KEYS  1 room:{product/map/name}:meta   2 room:{product/map/name}:log
-- ARGV  1 run_id   2 owner "name incarnation term"   3 now, unix microseconds
--       4 known epoch, 0 = none   5 known offset   6 seconds an unused room is remembered
-- Gives {'ok', epoch, offset}, or {'fenced', stored owner} and changes nothing.

-- a < b by bytes; the server's locale decides what `<` means.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end

local function outdated(caller, stored)
  local name, incarnation, term = caller:match('^(%S+) (%S+) (%d+)$')
  local stored_name, stored_incarnation, stored_term = stored:match('^(%S+) (%S+) (%d+)$')
  if name ~= stored_name then return false end
  if incarnation ~= stored_incarnation then return before(incarnation, stored_incarnation) end
  return tonumber(term) < tonumber(stored_term)
end

local meta, log = KEYS[1], KEYS[2]
local run_id, owner, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local known_epoch, known_offset = tonumber(ARGV[4]), tonumber(ARGV[5])
local stored = redis.call('HMGET', meta, 'epoch', 'offset', 'owner', 'run_id')
local epoch, offset = tonumber(stored[1]), tonumber(stored[2])

if epoch and outdated(owner, stored[3]) then return {'fenced', stored[3]} end

if not epoch then
  redis.call('DEL', log)
  epoch, offset = known_epoch, known_offset
  if epoch == 0 then epoch, offset = now, 0 end
elseif known_epoch >= epoch then
  -- The caller was here before: its numbers were given out, none of them is given again.
  epoch, offset = known_epoch, math.max(offset, known_offset)
elseif stored[4] ~= run_id then
  -- Redis restarted, perhaps with a shorter memory, and nobody remembers newer offsets.
  epoch = math.max(epoch + 1, now)
end
redis.call('HSET', meta, 'epoch', epoch, 'offset', offset, 'owner', owner, 'run_id', run_id)
if offset == 0 then redis.call('EXPIRE', meta, ARGV[6]) end
return {'ok', epoch, offset}
