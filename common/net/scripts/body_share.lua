-- Say that a body has many receivers, so none of them takes it along.
-- KEYS  1 db_buckets:<mid >> 10>
-- ARGV  1 run_id   2 mid
-- Gives 1, or 0 where there is no such body.

local value = redis.call('HGET', KEYS[1], ARGV[2])
if not value then return 0 end
if value:sub(1, 1) == '1' then redis.call('HSET', KEYS[1], ARGV[2], 'n' .. value:sub(2)) end
return 1
