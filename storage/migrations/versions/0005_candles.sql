-- Ticks at rest: one-minute candles. Prices are integer paise, a minute is its first nanosecond (UTC).

-- The volumes are the feed's running totals at the candle's two ends, so that parts of one minute join.
CREATE TABLE candles (
    instrument_id   VARCHAR(30) NOT NULL,
    minute_ns       BIGINT NOT NULL CHECK (minute_ns % 60000000000 = 0),
    open            BIGINT NOT NULL,
    high            BIGINT NOT NULL,
    low             BIGINT NOT NULL,
    close           BIGINT NOT NULL,
    opening_volume  BIGINT NOT NULL,
    closing_volume  BIGINT NOT NULL CHECK (closing_volume >= opening_volume),
    PRIMARY KEY (instrument_id, minute_ns),
    CHECK (low <= least(open, close) AND high >= greatest(open, close))
);
