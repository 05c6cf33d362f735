-- Remove bans that have ended, unless they were changed meanwhile.
-- KEYS  1 db_bans:{product}
-- ARGV  1 run_id   2 … uid, until ms as it was seen
-- Gives how many went.

local went = 0
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    went = went + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return went
