-- The exchange announces its phases anew at every logon; what is here would speak for no class.
DELETE FROM market_phases;
ALTER TABLE market_phases
    ADD COLUMN session_class VARCHAR(20) NOT NULL,
    DROP CONSTRAINT market_phases_pkey,
    ADD PRIMARY KEY (exchange, segment, session_class);

-- The instrument's class on the present day, set by the seed; '' has no phase, so nothing is released for it.
ALTER TABLE instruments ADD COLUMN session_class VARCHAR(20) NOT NULL DEFAULT '';
