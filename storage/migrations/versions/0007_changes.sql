-- While a change is on its way the hold covers both sets of terms; afterwards it is settled to one of these.
ALTER TABLE margin_holds
    ADD COLUMN changed_unit BIGINT CHECK (changed_unit >= 0),
    ADD COLUMN kept_unit    BIGINT CHECK (kept_unit >= 0),
    ADD CHECK ((changed_unit IS NULL) = (kept_unit IS NULL));
COMMENT ON COLUMN margin_holds.changed_unit IS 'unit margin if the exchange takes the change';
COMMENT ON COLUMN margin_holds.kept_unit IS 'unit margin if it refuses it';
