-- A day's list and a wind-down look for every order that is not final, however long ago it was placed. The status
-- is in an index of its own already, so no update that was heap-only becomes another.
CREATE INDEX orders_live ON orders (user_id, order_id DESC)
    WHERE status IN ('PENDING_VALIDATION', 'PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING', 'PARTIALLY_FILLED');
