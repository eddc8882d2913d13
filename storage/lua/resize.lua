-- resize: give a live hold new terms, after or ahead of a change of its order. Keyed by step: a repeat changes nothing.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 step id  2 generation of the ledger  3 unit margin  4 open quantity  5 close quantity
--       6 must be covered (1|0): refuse what available does not cover
-- Result  {outcome RESIZED|INSUFFICIENT|VOID, available before}
-- Invariant  available never falls below zero by a resize that must be covered; what is refused leaves no trace
local account = redis.call('HMGET', KEYS[1], 'generation', 'cash', 'realized_pnl', 'blocked', 'used')
if account[1] ~= ARGV[2] then return {'VOID', 0} end
local hold = redis.call('HMGET', KEYS[3], 'open', 'close', 'unit', 'side', 'position', 'step:' .. ARGV[1])
if not hold[1] then return {'VOID', 0} end
local available = account[2] + math.min(account[3], 0) - account[4] - account[5]
if hold[6] then return {'RESIZED', available} end
local more = tonumber(ARGV[3]) * tonumber(ARGV[4]) - tonumber(hold[3]) * tonumber(hold[1])
if ARGV[6] == '1' and more > 0 and more > math.max(available, 0) then return {'INSUFFICIENT', available} end
redis.call('HSET', KEYS[3], 'unit', ARGV[3], 'open', ARGV[4], 'close', ARGV[5], 'step:' .. ARGV[1], 1)
redis.call('HINCRBY', KEYS[1], 'blocked', more)
redis.call('HINCRBY', KEYS[2], hold[5] .. '|' .. hold[4], tonumber(ARGV[5]) - tonumber(hold[2]))
return {'RESIZED', available}
