-- What the reconciliation compares with the outside: reports against their booking, the exchange's trade file
-- against the trades.
ALTER TABLE exchange_inbox ADD COLUMN alerted_at_ns BIGINT;
COMMENT ON COLUMN exchange_inbox.alerted_at_ns IS 'the risk desk was told, once, that the report is not booked';

CREATE TABLE trade_file_comparisons (
    exchange        VARCHAR(4) NOT NULL,
    trade_date      DATE NOT NULL,
    closed_ns       BIGINT NOT NULL,
    compared_at_ns  BIGINT NOT NULL,
    filed           INT NOT NULL,
    booked          INT NOT NULL,
    different       INT NOT NULL,
    PRIMARY KEY (exchange, trade_date)
);
COMMENT ON COLUMN trade_file_comparisons.closed_ns IS 'when the exchange had announced the close that was compared after';
COMMENT ON COLUMN trade_file_comparisons.filed IS 'legs in the exchange''s file; booked: in our trades; different: not alike';

CREATE INDEX trades_undone ON trades (exchange, undone_by) WHERE undone_by IS NOT NULL;
