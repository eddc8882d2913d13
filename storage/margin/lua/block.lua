-- block: lock margin for an order, or say why not. Keyed by order: a repeat finds what was blocked; what was not
-- covered is asked anew, for the books may have caught up since.
-- KEYS  1 account  2 positions  3 hold of this order
-- ARGV  1 side BUY|SELL  2 position key  3 nets (1|0)  4 quantity  5 unit margin (paise)  6 seconds a hold is kept
-- Result  {outcome, open quantity, close quantity, unit, available before, generation}
-- Invariant  available never falls below zero by a block; no quantity of a position is closed twice
local account = redis.call('HMGET', KEYS[1], 'generation', 'cash', 'realized_pnl', 'blocked', 'used')
if not account[1] then return {'BOOK_MISSING', 0, 0, tonumber(ARGV[5]), 0, 0} end
local first = redis.call('HMGET', KEYS[3], 'outcome', 'blocked_open', 'blocked_close', 'blocked_unit', 'available', 'generation')
-- An answer of an older generation was not in the ledger when the view was rebuilt: ask anew.
if first[1] == 'BLOCKED' and first[6] == account[1] then
    return {first[1], tonumber(first[2]), tonumber(first[3]), tonumber(first[4]), tonumber(first[5]), tonumber(first[6])}
end
local side, position, quantity, unit = ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local closing = 0
if ARGV[3] == '1' then
    local standing = redis.call('HMGET', KEYS[2], position, position .. '|' .. side)
    local net = tonumber(standing[1] or 0)
    local opposite = math.max(0, side == 'BUY' and -net or net)
    closing = math.min(quantity, math.max(0, opposite - tonumber(standing[2] or 0)))
end
local opening = quantity - closing
local available = account[2] + math.min(account[3], 0) - account[4] - account[5]
local needed = opening * unit
local covered = needed <= math.max(available, 0)
local outcome = covered and 'BLOCKED' or 'INSUFFICIENT'
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'outcome', outcome, 'side', side, 'position', position, 'nets', ARGV[3],
    'unit', unit, 'open', covered and opening or 0, 'close', covered and closing or 0,
    'blocked_open', opening, 'blocked_close', closing, 'blocked_unit', unit,
    'available', available, 'generation', account[1])
redis.call('EXPIRE', KEYS[3], ARGV[6])
if covered then
    redis.call('HINCRBY', KEYS[1], 'blocked', needed)
    redis.call('HINCRBY', KEYS[2], position .. '|' .. side, closing)
end
return {outcome, opening, closing, unit, available, tonumber(account[1])}
