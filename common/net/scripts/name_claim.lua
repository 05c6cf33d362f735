-- Claim a unique name; it is settled once the profile carries it.
-- KEYS  1 gs:name:{product}   2 gs:claim:{product}
-- ARGV  1 run_id   2 name   3 uid   4 now ms   5 holder and 6 claim to take over from, '' = none
-- Gives {'ok'}, or {'taken', holder, claim ms or ''} and changes nothing.

local name, uid = ARGV[2], ARGV[3]
local holder = redis.call('HGET', KEYS[1], name)
local claim = redis.call('HGET', KEYS[2], name) or ''
local orphan = holder == ARGV[5] and claim == ARGV[6]
if holder and holder ~= uid and not orphan then return {'taken', holder, claim} end
redis.call('HSET', KEYS[1], name, uid)
redis.call('HSET', KEYS[2], name, ARGV[4])
return {'ok'}
