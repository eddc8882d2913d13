-- A stop of everything or of a segment is released by two people: who has asked first stands beside the stop.
ALTER TABLE trading_states
    ADD COLUMN release_asked_by BIGINT,
    ADD COLUMN release_asker VARCHAR(60),
    ADD COLUMN release_reason TEXT,
    ADD COLUMN release_until_ns BIGINT,
    ADD CONSTRAINT trading_states_release_whole
        CHECK (num_nulls(release_asked_by, release_asker, release_reason, release_until_ns) IN (0, 4)),
    ADD CONSTRAINT trading_states_release_of_a_stop CHECK (release_asked_by IS NULL OR state <> 'ACTIVE');
COMMENT ON COLUMN trading_states.release_asked_by IS 'who wants it released (users); another one of the risk desk confirms';
COMMENT ON COLUMN trading_states.release_until_ns IS 'no confirmation counts from then on';
