-- fill: move a hold's margin from blocked to used. Keyed by fill: a repeat changes nothing.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 fill id  2 generation in which the ledger booked it  3 open quantity  4 close quantity
--       5 change of used margin  6 realised profit
-- Result  1 applied, 0 void (rebuilt since: the view already holds it) or a repeat
-- Invariant  only sums are changed, so fills of several orders commute
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then return 0 end
if redis.call('HSETNX', KEYS[3], 'fill:' .. ARGV[1], 1) == 0 then return 0 end
local hold = redis.call('HMGET', KEYS[3], 'side', 'position', 'nets', 'unit')
local side, position, open, close = hold[1], hold[2], tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('HINCRBY', KEYS[1], 'blocked', -open * tonumber(hold[4]))
redis.call('HINCRBY', KEYS[1], 'used', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'realized_pnl', ARGV[6])
redis.call('HINCRBY', KEYS[2], position .. '|' .. side, -close)
if hold[3] == '1' then
    redis.call('HINCRBY', KEYS[2], position, side == 'BUY' and open + close or -(open + close))
end
redis.call('HINCRBY', KEYS[3], 'open', -open)
redis.call('HINCRBY', KEYS[3], 'close', -close)
return 1
