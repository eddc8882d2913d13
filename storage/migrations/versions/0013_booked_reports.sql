-- A report is booked by whoever first needs the books of its account, in whatever process; that its order's workflow
-- knows of it is another matter.
ALTER TABLE exchange_inbox ADD COLUMN user_id BIGINT, ADD COLUMN booked_at_ns BIGINT;
UPDATE exchange_inbox i SET booked_at_ns = consumed_at_ns,
    user_id = (SELECT user_id FROM orders o WHERE o.order_id = i.order_id);
COMMENT ON COLUMN exchange_inbox.user_id IS 'whose order it is of; NULL: of no order of ours';
COMMENT ON COLUMN exchange_inbox.booked_at_ns IS 'set in the transaction that brings the books up to the report';
COMMENT ON COLUMN exchange_inbox.consumed_at_ns IS 'set once the order''s workflow durably knows the report';
CREATE INDEX exchange_inbox_unbooked ON exchange_inbox (user_id, seq) WHERE booked_at_ns IS NULL AND broken IS NULL;

-- What was withdrawn before it left is answered by nobody but the booking, which gives its hold back.
CREATE INDEX exchange_outbox_withdrawn ON exchange_outbox (user_id)
    WHERE withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL;
UPDATE exchange_outbox SET answered_at_ns = withdrawn_at_ns
    WHERE withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL AND kind = 'NEW'
      AND NOT EXISTS (SELECT FROM margin_holds h WHERE h.order_id = exchange_outbox.order_id AND state = 'BLOCKED');

-- The change that the exchange has not answered: only its own answer settles the hold.
ALTER TABLE margin_holds ADD COLUMN change_id VARCHAR(24);
UPDATE margin_holds h SET change_id = (
    SELECT cl_ord_id FROM exchange_outbox x WHERE x.order_id = h.order_id AND kind = 'REPLACE' AND answered_at_ns IS NULL
    ORDER BY seq DESC LIMIT 1) WHERE changed_unit IS NOT NULL;
ALTER TABLE margin_holds ADD CHECK ((change_id IS NULL) = (changed_unit IS NULL));
COMMENT ON COLUMN margin_holds.change_id IS 'ClOrdID of the change that is not answered in the books: until then the hold covers both sets of terms';

-- The exchange's word stands, also where it goes beyond what our record of the order can explain.
DO $$
DECLARE name TEXT;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'orders'::regclass AND contype = 'c'
                AND pg_get_constraintdef(oid) ~ 'filled_quantity' LOOP
        EXECUTE format('ALTER TABLE orders DROP CONSTRAINT %I', name);
    END LOOP;
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'holdings'::regclass AND contype = 'c'
                AND pg_get_constraintdef(oid) ~ 'taken_back_quantity' LOOP
        EXECUTE format('ALTER TABLE holdings DROP CONSTRAINT %I', name);
    END LOOP;
END $$;
ALTER TABLE orders ADD CHECK (filled_quantity >= 0);
ALTER TABLE holdings
    ADD COLUMN oversold_quantity INT NOT NULL DEFAULT 0 CHECK (oversold_quantity >= 0),
    ADD CHECK (taken_back_quantity >= 0),
    ADD CHECK (quantity >= -taken_back_quantity - oversold_quantity),
    ADD CHECK (blocked_quantity BETWEEN 0 AND quantity + taken_back_quantity + oversold_quantity);
COMMENT ON COLUMN holdings.oversold_quantity IS 'by how much the exchange has sold beyond what was promised: quantity may fall so far below nothing';

-- Trades that are of no order of ours: the house's own until a person has given them to an account.
CREATE TABLE error_trades (
    exchange           VARCHAR(4) NOT NULL,
    exec_id            VARCHAR(40) NOT NULL,
    cl_ord_id          VARCHAR(60) NOT NULL,
    exchange_order_id  VARCHAR(30) NOT NULL,
    symbol             VARCHAR(25) NOT NULL,
    transaction_type   side NOT NULL,
    quantity           INT NOT NULL CHECK (quantity > 0),
    price              BIGINT NOT NULL CHECK (price > 0),
    traded_at_ns       BIGINT NOT NULL,
    booked_at_ns       BIGINT NOT NULL,
    PRIMARY KEY (exchange, exec_id)
);
COMMENT ON TABLE error_trades IS 'trades of no order of ours, posted to error:<exchange>';
