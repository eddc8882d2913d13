-- Orders are claimed by turn, not by place: whoever has many waiting takes one turn each tenth of a second, so that
-- nobody waits behind another's backlog (storage/order_queue.py).
ALTER TABLE order_intake ADD COLUMN turn_ns BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN order_intake.turn_ns IS 'when it was acknowledged, or later by a turn than the user''s last that waits';
DROP INDEX order_intake_unstarted;
CREATE INDEX order_intake_turns ON order_intake (turn_ns, seq) WHERE started_at_ns IS NULL;
-- Orders that a worker has in hand: few, whatever waits before them or is armed behind them.
CREATE INDEX orders_in_hand ON orders (owner) WHERE status = 'PENDING_VALIDATION' AND owner IS NOT NULL;
