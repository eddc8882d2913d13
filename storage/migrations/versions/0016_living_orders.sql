-- A day's list and a wind-down look for every order that is not final, however long ago it was placed. The status
-- is in an index of its own already, so no update that was heap-only becomes another.
CREATE INDEX orders_live ON orders (user_id, order_id DESC)
    WHERE status IN ('PENDING_VALIDATION', 'PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING', 'PARTIALLY_FILLED');

-- Intraday positions that the market could not take back in time: closed at the next moment at which it can. Of one
-- class at most one is open, so whoever watches beside another raises no second alert.
CREATE TABLE missed_square_offs (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange       VARCHAR(4) NOT NULL,
    session_class  VARCHAR(30) NOT NULL,
    day            DATE NOT NULL,
    before_ns      BIGINT NOT NULL,
    closed_at_ns   BIGINT
);
COMMENT ON COLUMN missed_square_offs.day IS 'the market''s day whose square-off it was';
COMMENT ON COLUMN missed_square_offs.before_ns IS 'what was open then is to be closed, what was opened later is not';
CREATE UNIQUE INDEX missed_square_offs_open ON missed_square_offs (exchange, session_class)
    WHERE closed_at_ns IS NULL;
