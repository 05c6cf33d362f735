-- Keep a body, unless one is there under its mid.
-- KEYS  1 db_buckets:<mid >> 10>
-- ARGV  1 run_id   2 mid   3 value   4 ms it is needed
-- Gives '' where it is the one kept, else the one that was there before.

local there = ''
if redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3]) == 0 then
  there = redis.call('HGET', KEYS[1], ARGV[2])
  if there == ARGV[3] then there = '' end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return there
