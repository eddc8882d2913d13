-- Orders are claimed by turn, not by place: whoever has many waiting takes one turn each tenth of a second, so that
-- nobody waits behind another's backlog (storage/journals/order_queue.py).
ALTER TABLE order_intake ADD COLUMN turn_ns BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN order_intake.turn_ns IS 'when it was acknowledged, or later by a turn than the user''s last that waits';
DROP INDEX order_intake_unstarted;
CREATE INDEX order_intake_turns ON order_intake (turn_ns, seq) WHERE started_at_ns IS NULL;
-- Orders that a worker has in hand: few, whatever waits before them or is armed behind them.
CREATE INDEX orders_in_hand ON orders (owner) WHERE status = 'PENDING_VALIDATION' AND owner IS NOT NULL;

-- A sale of shares that were bought on the same day gives back what they bind: the clearing house nets the two. What
-- is of a day before stays as it was booked.
ALTER TABLE holdings
    ADD COLUMN bought_on DATE,
    ADD COLUMN bought_quantity INT NOT NULL DEFAULT 0 CHECK (bought_quantity >= 0),
    ADD COLUMN bought_margin BIGINT NOT NULL DEFAULT 0 CHECK (bought_margin >= 0);
COMMENT ON COLUMN holdings.bought_on IS 'last day on which shares were bought';
COMMENT ON COLUMN holdings.bought_quantity IS 'bought on that day and not sold on it';
COMMENT ON COLUMN holdings.bought_margin IS 'used margin of these';
