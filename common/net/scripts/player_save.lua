-- Save the state of a player, if the caller owns it and nothing newer is stored.
-- KEYS  1 gs:player:{product/uid}
-- ARGV  1 run_id   2 owner   3 place   4 route_ver   5 save_ver   6 number of the last input in it   7 blob
-- Gives {'ok' | 'stale' | 'not_owner', owner, place, route_ver, save_ver, change} as stored now;
-- changes something only with 'ok'. A record that is behind the caller's route_ver has been lost
-- by Redis: who remembers a later one puts it back.

local stored = redis.call('HMGET', KEYS[1], 'owner', 'place', 'route_ver', 'save_ver', 'change', 'blob')
local owner, place, change = stored[1] or '', stored[2] or '', stored[5] or ''
local route, save = tonumber(stored[3]) or 0, tonumber(stored[4]) or 0
local caller_route, caller_save = tonumber(ARGV[4]), tonumber(ARGV[5])

local function answer(status) return {status, owner, place, route, save, change} end

if route > caller_route or (route == caller_route and owner ~= ARGV[2]) then return answer('not_owner') end
if route == caller_route then
  if caller_save == save and stored[6] == ARGV[7] then return answer('ok') end
  if caller_save <= save then return answer('stale') end
else
  owner, place, route, change = ARGV[2], ARGV[3], caller_route, ''
end
save = caller_save
redis.call('HSET', KEYS[1], 'owner', owner, 'place', place, 'route_ver', route, 'change', change,
  'save_ver', save, 'input', ARGV[6], 'blob', ARGV[7])
return answer('ok')
