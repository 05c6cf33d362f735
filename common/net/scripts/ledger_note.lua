-- Note what happened to a message, or count it; a ledger that is gone stays so.
-- KEYS  1 db_ledger:<mid>
-- ARGV  1 run_id   2 field to add to, '' = none   3 how much   4 … field, value (the first one stands)
-- Gives 1, or 0 without a ledger.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] ~= '' then redis.call('HINCRBY', KEYS[1], ARGV[2], ARGV[3]) end
for i = 4, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
