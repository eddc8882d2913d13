-- release: give back what is left of an order's hold. A repeat finds nothing left.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 generation in which the ledger released it
-- Result  paise freed; 0 when void (rebuilt since) or repeated
-- Invariant  a hold is released at most once
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
local hold = redis.call('HMGET', KEYS[3], 'open', 'close', 'unit', 'side', 'position')
if not hold[1] then return 0 end
local freed = tonumber(hold[1]) * tonumber(hold[3])
redis.call('HINCRBY', KEYS[1], 'blocked', -freed)
redis.call('HINCRBY', KEYS[2], hold[5] .. '|' .. hold[4], -tonumber(hold[2]))
redis.call('HSET', KEYS[3], 'open', 0, 'close', 0)
return freed
