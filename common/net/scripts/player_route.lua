-- Change who owns a player, with its state or without: the commit of a move between maps.
-- KEYS  1 gs:player:{product/uid}
-- ARGV  1 run_id   2 id of this change   3 owner and 4 route_ver as the caller knows them
--       5 owner, '' = nobody, and 6 place from now on
--       7 save_ver, 0 = leave the state as it is   8 number of the last input in it   9 blob
-- Gives {'ok' | 'stale' | 'not_owner', owner, place, route_ver, save_ver, change} as stored now;
-- changes something only with a new 'ok'. The change stored last is known by its id and not made
-- twice. A record that is behind the caller's route_ver has been lost by Redis, as in player_save.

local stored = redis.call('HMGET', KEYS[1], 'owner', 'place', 'route_ver', 'save_ver', 'change')
local owner, place, change = stored[1] or '', stored[2] or '', stored[5] or ''
local route, save = tonumber(stored[3]) or 0, tonumber(stored[4]) or 0
local caller_route, caller_save = tonumber(ARGV[4]), tonumber(ARGV[7])

local function answer(status) return {status, owner, place, route, save, change} end

if change == ARGV[2] then return answer('ok') end
if route > caller_route or (route == caller_route and owner ~= ARGV[3]) then return answer('not_owner') end
if caller_save > 0 then
  if route == caller_route and caller_save <= save then return answer('stale') end
  save = caller_save
  redis.call('HSET', KEYS[1], 'save_ver', save, 'input', ARGV[8], 'blob', ARGV[9])
end
owner, place, route, change = ARGV[5], ARGV[6], caller_route + 1, ARGV[2]
redis.call('HSET', KEYS[1], 'owner', owner, 'place', place, 'route_ver', route, 'change', change)
return answer('ok')
