-- Whoever changes a user's holdings or positions holds his ledger row and writes it: its version orders the
-- states of all three. In a trigger, so that no writer can forget it; before the row, so that it costs no write.
ALTER TABLE margin_ledger ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
COMMENT ON COLUMN margin_ledger.version IS 'of the user''s portfolio: grows with every change of ledger, holdings, positions';
CREATE FUNCTION next_portfolio_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER margin_ledger_version BEFORE UPDATE ON margin_ledger
    FOR EACH ROW EXECUTE FUNCTION next_portfolio_version();
