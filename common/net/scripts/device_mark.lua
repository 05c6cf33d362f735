-- Set a device's tags, and raise the highest login epoch that has ended.
-- KEYS  1 db_smeta:{product/uid}
-- ARGV  1 run_id   2 device   3 tags joined by spaces, '' = none, '-' = leave them
--       4 login epoch ended, '' = leave it   5 ms an unused mailbox lives
-- Gives 1.

-- include mailbox

local meta, tags, epoch = KEYS[1], 't/' .. ARGV[2], 'e/' .. ARGV[2]
if ARGV[3] == '' then
  redis.call('HDEL', meta, tags)
elseif ARGV[3] ~= '-' then
  redis.call('HSET', meta, tags, ARGV[3])
end
if ARGV[4] ~= '' and tonumber(ARGV[4]) > (tonumber(redis.call('HGET', meta, epoch)) or 0) then
  redis.call('HSET', meta, epoch, ARGV[4])
end
refresh(meta, tonumber(ARGV[5]))
return 1
