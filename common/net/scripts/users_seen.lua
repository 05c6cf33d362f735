-- Note users of one product: join sequence once, last seen, online time added once.
-- KEYS  1 db_users:{product}   2 db_useq:{product}   3 db_seen:{product}   4 db_online:{product}
--       5 db_batch:{product}:<digest of the batch>
-- ARGV  1 run_id   2 seconds a batch is remembered   3 … uid, seen ms, online seconds to add; some hundreds
-- Gives 1, or 0 if the batch was noted before (only what may be repeated was written).

local fresh = redis.call('SET', KEYS[5], 1, 'NX', 'EX', ARGV[2])
local uids, seen = {}, {}
for i = 3, #ARGV, 3 do
  local uid, at, online = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  uids[#uids + 1] = uid
  seen[#seen + 1], seen[#seen + 2] = at, uid
  if fresh and tonumber(online) > 0 then redis.call('HINCRBYFLOAT', KEYS[4], uid, online) end
end

local newcomers, met = {}, {}
for i, sequence in ipairs(redis.call('ZMSCORE', KEYS[1], unpack(uids))) do
  local uid = uids[i]
  if not sequence and not met[uid] then
    met[uid] = true
    newcomers[#newcomers + 1] = uid
  end
end
if #newcomers > 0 then
  local before, joined = redis.call('INCRBY', KEYS[2], #newcomers) - #newcomers, {}
  for i, uid in ipairs(newcomers) do joined[2 * i - 1], joined[2 * i] = before + i, uid end
  redis.call('ZADD', KEYS[1], unpack(joined))
end
redis.call('ZADD', KEYS[3], 'GT', unpack(seen))
return fresh and 1 or 0
