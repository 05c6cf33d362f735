-- Change fields of a profile, within its limits.
-- KEYS  1 gs:profile:{product/uid}
-- ARGV  1 run_id   2 most fields   3 most bytes, names and values   4 name, '' = as it is
--       5 … field, packed value ('' = remove the field)
-- Gives {'ok' | 'fields' | 'bytes', name before or ''}; changes something only with 'ok'.
-- `name` holds the unique name and `name/former` the one before it, which a repeated call has to
-- release; they count for neither limit.

local stored = redis.call('HGETALL', KEYS[1])
local after = {}
for i = 1, #stored, 2 do after[stored[i]] = stored[i + 1] end
local name, former = after['name'] or '', after['name/former'] or ''
after['name'], after['name/former'] = nil, nil
for i = 5, #ARGV, 2 do after[ARGV[i]] = ARGV[i + 1] ~= '' and ARGV[i + 1] or nil end

local fields, bytes = 0, 0
for field, value in pairs(after) do
  fields, bytes = fields + 1, bytes + #field + #value
end
if fields > tonumber(ARGV[2]) then return {'fields', name} end
if bytes > tonumber(ARGV[3]) then return {'bytes', name} end

for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
if ARGV[4] == '' then return {'ok', name} end
if ARGV[4] == name then return {'ok', former} end
redis.call('HSET', KEYS[1], 'name', ARGV[4], 'name/former', name)
return {'ok', name}
