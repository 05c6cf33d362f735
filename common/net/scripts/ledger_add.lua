-- Write who got a message; the first call writes what is common to all.
-- KEYS  1 db_ledger:<mid>
-- ARGV  1 run_id   2 ms it is kept   3 number of fields of the head   4 … its fields and values, then
--       uid, seq …
-- Gives 1.

local rows = 4 + 2 * tonumber(ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 4, rows - 1))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if #ARGV >= rows then redis.call('HSET', KEYS[1], unpack(ARGV, rows)) end
return 1
