-- A freeze stops what enlarges an order, new or changed; what only takes away leaves as a cancel does.
ALTER TABLE exchange_outbox ADD COLUMN enlarges BOOLEAN NOT NULL DEFAULT true;
COMMENT ON COLUMN exchange_outbox.enlarges IS 'of a REPLACE: it does more than take away from the order';

-- What a pending order risks is counted at the price its margin was reckoned at.
ALTER TABLE margin_holds ADD COLUMN margin_price BIGINT CHECK (margin_price > 0);
COMMENT ON COLUMN margin_holds.margin_price IS 'the dearest price at which the order may trade; NULL: the band''s end';

-- The house's hours follow the trading day that the exchange plays, which may not be the clock's.
ALTER TABLE market_phases ADD COLUMN scheduled_ns BIGINT;
COMMENT ON COLUMN market_phases.scheduled_ns IS 'the moment of the trading day that since_ns was; NULL: no hours are kept';

-- Bands that an exchange has moved in the day; every other is the master's.
CREATE TABLE price_bands (
    instrument_id  VARCHAR(30) PRIMARY KEY,
    low            BIGINT NOT NULL CHECK (low > 0),
    high           BIGINT NOT NULL CHECK (high >= low),
    since_ns       BIGINT NOT NULL
);
COMMENT ON COLUMN price_bands.since_ns IS 'a band is in force on the trade date of this instant alone';

-- Orders above the freeze quantity, sliced: the parent has the key, its slices are orders like any other.
CREATE TABLE sliced_orders (
    order_id         BIGINT PRIMARY KEY,
    user_id          BIGINT NOT NULL REFERENCES users,
    quantity         INT NOT NULL CHECK (quantity > 0),
    tag              VARCHAR(20),
    idempotency_key  UUID NOT NULL,
    created_at_ns    BIGINT NOT NULL,
    UNIQUE (user_id, idempotency_key)
);
ALTER TABLE orders ADD COLUMN parent_id BIGINT REFERENCES sliced_orders;
CREATE INDEX orders_of_parent ON orders (parent_id) WHERE parent_id IS NOT NULL;
