-- load: replace the view of one account by the ledger's state, unless a newer one is already there.
-- KEYS  1 account  2 positions (net per position key, reserved closing quantity per key and side)
-- ARGV  1 generation  2 cash  3 realized_pnl  4 blocked  5 used  6 blocked by the portfolio  7 used by it  8 its version
--       9 number of positions, then per position: key, net; then per hold: hold key, side, position, nets (1|0),
--       unit, open, close
-- Result  1 loaded, 0 a view of this or a newer generation stands
-- Invariant  afterwards blocked = sum(open * unit) of the loaded holds + blocked by the portfolio, as in the ledger
local standing = redis.call('HGET', KEYS[1], 'generation')
if standing and tonumber(standing) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'cash', ARGV[2], 'realized_pnl', ARGV[3],
    'blocked', ARGV[4], 'used', ARGV[5],
    'portfolio_blocked', ARGV[6], 'portfolio_used', ARGV[7], 'portfolio_version', ARGV[8])
local at = 10
for _ = 1, tonumber(ARGV[9]) do
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
    at = at + 2
end
local available = ARGV[2] + math.min(ARGV[3], 0) - ARGV[4] - ARGV[5]
while ARGV[at] do
    local hold, side, position, nets, unit, open, close = unpack(ARGV, at, at + 6)
    redis.call('DEL', hold)
    redis.call('HSET', hold, 'outcome', 'BLOCKED', 'side', side, 'position', position, 'nets', nets,
        'unit', unit, 'open', open, 'close', close, 'blocked_open', open, 'blocked_close', close,
        'blocked_unit', unit, 'available', available, 'generation', ARGV[1])
    redis.call('HINCRBY', KEYS[2], position .. '|' .. side, close)
    at = at + 7
end
return 1
