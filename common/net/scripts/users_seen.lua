-- Note users of one product: join sequence once, last seen, online time added once.
-- KEYS  1 db_users:{product}   2 db_useq:{product}   3 db_seen:{product}   4 db_online:{product}
--       5 db_batch:{product}:<digest of the batch>
-- ARGV  1 run_id   2 seconds a batch is remembered   3 … uid, seen ms, online seconds to add
-- Gives 1, or 0 if the batch was noted before (only what may be repeated was written).

local fresh = redis.call('SET', KEYS[5], 1, 'NX', 'EX', ARGV[2])
for i = 3, #ARGV, 3 do
  local uid, seen, online = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if not redis.call('ZSCORE', KEYS[1], uid) then
    redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), uid)
  end
  redis.call('ZADD', KEYS[3], 'GT', seen, uid)
  if fresh and tonumber(online) > 0 then redis.call('HINCRBYFLOAT', KEYS[4], uid, online) end
end
return fresh and 1 or 0
