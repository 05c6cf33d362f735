-- Drop those of a bucket's bodies that had a single receiver.
-- KEYS  1 db_buckets:<mid >> 10>
-- ARGV  1 run_id   2 … mids
-- Gives how many went.

local went = 0
for i = 2, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value and value:sub(1, 1) == '1' then went = went + redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return went
