-- The day roll (storage/books/day_roll.py) brings the figures of the day to the next. It looks for trades by time; they
-- are written in about that order, so an index of ranges finds them and costs a booking nothing.
CREATE INDEX trades_by_time ON trades USING brin (traded_at_ns) WITH (pages_per_range = 16);
COMMENT ON COLUMN margin_ledger.realized_pnl IS 'of the day: a loss counts at once, a profit once the day roll has made it cash';
COMMENT ON COLUMN positions.buy_quantity IS 'bought in the day, and what was carried into it long';
COMMENT ON COLUMN positions.sell_quantity IS 'sold in the day, and what was carried into it short';
COMMENT ON COLUMN positions.buy_value IS 'of buy_quantity; what was carried at its cost';
COMMENT ON COLUMN positions.sell_value IS 'of sell_quantity; what was carried at its cost';
COMMENT ON COLUMN positions.realized_pnl IS 'of the day';
COMMENT ON COLUMN ledger_postings.movement IS 'what happened, once: deposit:<id>, trade:<exchange>:<exec_id>, undone:<exchange>:<exec_id>, realized:<day>:<user_id>:<ledger version>';
