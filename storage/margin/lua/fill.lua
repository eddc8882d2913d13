-- fill: move a hold's margin from blocked to used. The hold is set to what is left of it, the sums are keyed by fill: a
-- repeat changes nothing, and so does a repeat of several steps in their order.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 fill id  2 generation in which the ledger booked it  3 unit margin  4 open quantity  5 close quantity
--       left of the hold  6 change of used margin  7 realised profit  8 side BUY|SELL  9 position key  10 nets (1|0)
--       11 quantity filled; more than the hold had where the exchange went beyond it
-- Result  1 applied, 0 void (rebuilt since: the view already holds it) or a repeat
-- Invariant  blocked follows the hold, so fills of several orders commute
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then return 0 end
local side, position = ARGV[8], ARGV[9]
local hold = redis.call('HMGET', KEYS[3], 'unit', 'open', 'close')
if hold[1] then
    redis.call('HSET', KEYS[3], 'unit', ARGV[3], 'open', ARGV[4], 'close', ARGV[5])
    redis.call('HINCRBY', KEYS[1], 'blocked', tonumber(ARGV[3]) * tonumber(ARGV[4]) - tonumber(hold[1]) * tonumber(hold[2]))
    redis.call('HINCRBY', KEYS[2], position .. '|' .. side, tonumber(ARGV[5]) - tonumber(hold[3]))
end
if redis.call('HSETNX', KEYS[3], 'fill:' .. ARGV[1], 1) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'used', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'realized_pnl', ARGV[7])
if ARGV[10] == '1' then redis.call('HINCRBY', KEYS[2], position, side == 'BUY' and ARGV[11] or -ARGV[11]) end
return 1
