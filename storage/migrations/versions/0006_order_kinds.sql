-- How far an unpriced order may trade from the last price, in basis points; NULL: as the house has it.
ALTER TABLE orders ADD COLUMN market_protection INT CHECK (market_protection BETWEEN 1 AND 10000);

-- An armed order leaves in any of these phases, the first that comes: one that was missed must not hold it back.
ALTER TABLE exchange_outbox ALTER COLUMN release_phase TYPE TEXT[]
    USING CASE WHEN release_phase IS NULL THEN NULL ELSE ARRAY[release_phase] END;
ALTER TABLE exchange_outbox RENAME COLUMN release_phase TO release_phases;
COMMENT ON COLUMN exchange_outbox.release_phases IS 'market phases that release an armed order; NULL: send at once';

-- Changes asked of an order; the exchange counts them too (25 an order).
ALTER TABLE orders ADD COLUMN changes INT NOT NULL DEFAULT 0;
