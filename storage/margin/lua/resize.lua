-- resize: give a live hold new terms, after or ahead of a change of its order. Absolute, so a repeat changes nothing.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 generation of the ledger  2 unit margin  3 open quantity  4 close quantity
--       5 must be covered (1|0): refuse what available does not cover
-- Result  {outcome RESIZED|INSUFFICIENT|VOID, available before}
-- Invariant  available never falls below zero by a resize that must be covered; what is refused leaves no trace
local account = redis.call('HMGET', KEYS[1], 'generation', 'cash', 'realized_pnl', 'blocked', 'used')
if account[1] ~= ARGV[1] then return {'VOID', 0} end
local hold = redis.call('HMGET', KEYS[3], 'open', 'close', 'unit', 'side', 'position')
if not hold[1] then return {'VOID', 0} end
local available = account[2] + math.min(account[3], 0) - account[4] - account[5]
local more = tonumber(ARGV[2]) * tonumber(ARGV[3]) - tonumber(hold[3]) * tonumber(hold[1])
if ARGV[5] == '1' and more > 0 and more > math.max(available, 0) then return {'INSUFFICIENT', available} end
redis.call('HSET', KEYS[3], 'unit', ARGV[2], 'open', ARGV[3], 'close', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'blocked', more)
redis.call('HINCRBY', KEYS[2], hold[5] .. '|' .. hold[4], tonumber(ARGV[4]) - tonumber(hold[2]))
return {'RESIZED', available}
