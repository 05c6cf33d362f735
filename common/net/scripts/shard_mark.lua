-- Hold an id shard for a while and move its bound ahead.
-- KEYS  1 db_shard:<n>
-- ARGV  1 run_id   2 owner "host/ident"   3 owner and 4 bound that were seen there by who decided where
--       to begin; '' = no mark, or ours already   5 bound wanted   6 lease in ms
-- Gives {'ok'}, or {'held', owner, ms its lease still runs} and changes nothing. What stands there gives
-- way only while it is exactly as it was seen (a bound that moved since means ids beyond our beginning),
-- and if its lease ended or it is of this host (whose flock we have).
-- The bound never moves back. Time is the server's, so hosts need not agree on it.

local stored = redis.call('HMGET', KEYS[1], 'owner', 'bound', 'lease')
local owner, bound, lease = stored[1] or '', tonumber(stored[2]) or 0, tonumber(stored[3]) or 0
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if owner ~= ARGV[2] then
  local as_seen = owner == ARGV[3] and (owner == '' or bound == tonumber(ARGV[4]))
  local same_host = owner:match('^[^/]*') == ARGV[2]:match('^[^/]*')
  if not as_seen or (lease > now and not same_host) then
    return {'held', owner, math.max(lease - now, 0)}
  end
end
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'bound', math.max(bound, tonumber(ARGV[5])),
  'lease', now + tonumber(ARGV[6]))
return {'ok'}
