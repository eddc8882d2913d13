-- remargin: replace the margin of an account's derivatives by what the ledger has reckoned. Absolute, so a repeat changes nothing.
-- KEYS  1 account
-- ARGV  1 generation of the ledger  2 version  3 blocked by the portfolio  4 used by it
--       5 must be covered (1|0): refuse an increase that available does not cover
-- Result  {outcome RESIZED|INSUFFICIENT|VOID, available before}
-- Invariant  available never falls below zero by what must be covered; an earlier version never replaces a later
local account = redis.call('HMGET', KEYS[1], 'generation', 'cash', 'realized_pnl', 'blocked', 'used',
    'portfolio_blocked', 'portfolio_used', 'portfolio_version')
if account[1] ~= ARGV[1] or tonumber(ARGV[2]) < tonumber(account[8]) then return {'VOID', 0} end
local available = account[2] + math.min(account[3], 0) - account[4] - account[5]
local more_blocked, more_used = ARGV[3] - account[6], ARGV[4] - account[7]
local more = more_blocked + more_used
if ARGV[5] == '1' and more > 0 and more > math.max(available, 0) then return {'INSUFFICIENT', available} end
redis.call('HINCRBY', KEYS[1], 'blocked', more_blocked)
redis.call('HINCRBY', KEYS[1], 'used', more_used)
redis.call('HSET', KEYS[1], 'portfolio_blocked', ARGV[3], 'portfolio_used', ARGV[4], 'portfolio_version', ARGV[2])
return {'RESIZED', available}
