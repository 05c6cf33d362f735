-- Put a name back that another user has taken over meanwhile.
-- KEYS  1 gs:profile:{product/uid}
-- ARGV  1 run_id   2 name it must have   3 name to give it, '' = none
-- Gives 1, or 0 and changes nothing if it has another name.

if redis.call('HGET', KEYS[1], 'name') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'name')
else
  redis.call('HSET', KEYS[1], 'name', ARGV[3])
end
return 1
