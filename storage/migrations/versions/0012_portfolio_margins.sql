-- The margin of an account's derivatives belongs to its portfolio, not to one order or position: two figures of
-- the ledger, reckoned anew under its lock whenever the portfolio changes. They are parts of blocked and used.
CREATE SEQUENCE portfolio_versions;
ALTER TABLE margin_ledger
    ADD COLUMN portfolio_blocked BIGINT NOT NULL DEFAULT 0 CHECK (portfolio_blocked >= 0),
    ADD COLUMN portfolio_used    BIGINT NOT NULL DEFAULT 0 CHECK (portfolio_used >= 0),
    ADD COLUMN portfolio_version BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN margined_by       TEXT,
    ADD CHECK (portfolio_blocked <= blocked_margin),
    ADD CHECK (portfolio_used <= used_margin);
COMMENT ON COLUMN margin_ledger.portfolio_blocked IS 'SPAN and exposure margin of what orders at work may make of the portfolio; part of blocked_margin';
COMMENT ON COLUMN margin_ledger.portfolio_used IS 'SPAN and exposure margin of the derivatives held; part of used_margin';
COMMENT ON COLUMN margin_ledger.exposure_margin IS 'exposure margin, part of the two portfolio figures';
COMMENT ON COLUMN margin_ledger.portfolio_version IS 'of the transaction that reckoned them; never used twice, not even after a rollback';
COMMENT ON COLUMN margin_ledger.margined_by IS 'risk files they were reckoned by; NULL: to be reckoned again';
