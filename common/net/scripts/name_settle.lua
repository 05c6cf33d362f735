-- End a claim: the user keeps one name and lets go of another.
-- KEYS  1 gs:name:{product}   2 gs:claim:{product}
-- ARGV  1 run_id   2 uid   3 name to keep, '' = none   4 name to release, '' = none
-- Gives 1, or 0 and changes nothing if the name to keep belongs to somebody else by now.

local uid, keep, release = ARGV[2], ARGV[3], ARGV[4]
if keep ~= '' then
  if redis.call('HGET', KEYS[1], keep) ~= uid then return 0 end
  redis.call('HDEL', KEYS[2], keep)
end
if release ~= '' and release ~= keep and redis.call('HGET', KEYS[1], release) == uid then
  redis.call('HDEL', KEYS[1], release)
  redis.call('HDEL', KEYS[2], release)
end
return 1
