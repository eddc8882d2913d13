-- What clients ask of one order under way. Beside the orders, so that a flood of requests never locks one.
CREATE TABLE change_requests (
    order_id   BIGINT PRIMARY KEY,
    requests   INT NOT NULL CHECK (requests > 0),
    second     BIGINT NOT NULL,
    in_second  INT NOT NULL
) WITH (fillfactor = 50);
COMMENT ON COLUMN change_requests.requests IS 'that its workflow was asked for; numbers the next one (ClOrdID <order_id>-<n>)';
COMMENT ON COLUMN change_requests.in_second IS 'of these, in the second (since the epoch, UTC) of the last one';

-- Orders of earlier versions go on after the numbers that their workflows have given.
INSERT INTO change_requests
SELECT order_id, max(split_part(cl_ord_id, '-', 2)::int), 0, 0 FROM exchange_outbox
WHERE kind <> 'NEW' AND cl_ord_id ~ '^[0-9]+-[0-9]+$' GROUP BY order_id;

-- A change that was put right before the order left has no row of its own in the outbox.
ALTER TABLE exchange_outbox ADD COLUMN revisions TEXT[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN exchange_outbox.revisions IS 'ClOrdIDs of the changes that were made to this row before it left';
