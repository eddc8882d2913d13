-- The risk desk. A row that is not ACTIVE stops orders; a row once lifted stays as the last word about its key.
CREATE TYPE trading_scope AS ENUM ('all', 'segment', 'instrument', 'user');
CREATE TYPE trading_state AS ENUM ('ACTIVE', 'REDUCING', 'HALTED');
CREATE TYPE trading_cause AS ENUM ('DESK', 'LIMITS', 'CIRCUIT');

CREATE TABLE trading_states (
    key            VARCHAR(60) NOT NULL,
    cause          trading_cause NOT NULL,
    scope          trading_scope NOT NULL,
    scope_id       VARCHAR(30) NOT NULL,
    state          trading_state NOT NULL,
    reason         TEXT NOT NULL,
    actor          VARCHAR(60) NOT NULL,
    since_ns       BIGINT NOT NULL,
    reopens_at_ns  BIGINT,
    PRIMARY KEY (key, cause)
);
COMMENT ON COLUMN trading_states.key IS 'all, segment:NSE:CASH, instrument:NSE:TCS, user:<user_id>';
COMMENT ON COLUMN trading_states.scope_id IS 'as people know it: NSE:CASH, NSE:TCS, a client id; empty for all';
COMMENT ON COLUMN trading_states.reopens_at_ns IS 'of a market-wide halt; NULL: not known, or not today';
CREATE INDEX trading_states_in_force ON trading_states (key) WHERE state <> 'ACTIVE';

-- In force for a user: the latest row of his own not after the day, else the latest of the house (user_id NULL).
CREATE TABLE risk_limits (
    user_id         BIGINT REFERENCES users,
    effective_from  DATE NOT NULL,
    exposure_limit  BIGINT NOT NULL CHECK (exposure_limit >= 0),
    position_limit  INT NOT NULL CHECK (position_limit >= 0),
    order_value_limit BIGINT NOT NULL CHECK (order_value_limit >= 0),
    UNIQUE NULLS NOT DISTINCT (user_id, effective_from)
);

-- The exchange's daily list of underlyings whose derivatives may only be reduced.
CREATE TABLE derivative_bans (
    trade_date  DATE NOT NULL,
    underlying  VARCHAR(30) NOT NULL,
    PRIMARY KEY (trade_date, underlying)
);

-- Each stage of the market-wide circuit breaker fires once a day.
CREATE TABLE market_halts (
    trade_date      DATE NOT NULL,
    move_percent    INT NOT NULL,
    index_id        VARCHAR(30) NOT NULL,
    index_value     BIGINT NOT NULL,
    begins_at_ns    BIGINT NOT NULL,
    auction_at_ns   BIGINT,
    reopens_at_ns   BIGINT,
    PRIMARY KEY (trade_date, move_percent)
);

-- Orders that the house places for a client. The purpose is said once; its key is nobody's to guess, so no client
-- can take it beforehand, nor pass an order of his own for the house's.
CREATE TABLE house_orders (
    purpose        VARCHAR(160) PRIMARY KEY,
    user_id        BIGINT NOT NULL REFERENCES users,
    key            UUID NOT NULL DEFAULT gen_random_uuid(),
    actor          VARCHAR(60) NOT NULL,
    created_at_ns  BIGINT NOT NULL,
    UNIQUE (user_id, key)
);
COMMENT ON COLUMN house_orders.purpose IS 'what the order is for: square-off:2026-11-24:CASH:<user>:NSE:TCS|MIS:1';

-- A withdrawal that its workflow did not ask for: told to it from then on until the margin is given back.
ALTER TABLE exchange_outbox ADD COLUMN workflow_due_at_ns BIGINT;
CREATE INDEX exchange_outbox_workflow_due ON exchange_outbox (workflow_due_at_ns)
    WHERE workflow_due_at_ns IS NOT NULL;
