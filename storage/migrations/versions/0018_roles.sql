-- Two roles (docs/adr/0021): who runs this owns the tables; `hundi_app` reads and writes rows, and adds to the
-- record and the ledger without taking away. Roles are made by whoever runs the server, not here.
DO $$ BEGIN
    IF to_regrole('hundi_app') IS NULL THEN
        RAISE EXCEPTION 'the role hundi_app is missing: make it before the migration (CREATE ROLE hundi_app LOGIN)';
    END IF;
END $$;

-- Tables that later migrations add are the application's, too; a journal that only grows takes back what it must.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO hundi_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO hundi_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO hundi_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO hundi_app;
REVOKE ALL ON alembic_version FROM hundi_app;
REVOKE UPDATE, DELETE ON audit_log, ledger_postings FROM hundi_app;

-- Not even by their owner, unless he takes the trigger away first.
CREATE TRIGGER audit_log_not_truncated BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_postings_not_truncated BEFORE TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A partition is reached through its table alone, and is not truncated behind the table's back.
CREATE FUNCTION guard_partition(partition REGCLASS, of_the_record BOOLEAN) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON %s FROM hundi_app', partition);
    IF of_the_record THEN
        EXECUTE format('CREATE TRIGGER audit_log_not_truncated BEFORE TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', partition);
    END IF;
END $$;
REVOKE ALL ON FUNCTION guard_partition FROM PUBLIC;
SELECT guard_partition(inhrelid, inhparent = 'audit_log'::regclass)
    FROM pg_inherits WHERE inhparent IN ('audit_log'::regclass, 'orders'::regclass);

-- A day is closed six hours after its end: entries are stamped when something is heard or done, so only a clock
-- that is wrong, or a hand that rewrites history, comes later than that.
CREATE FUNCTION refuse_the_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is closed for the day of %', to_timestamp(NEW.occurred_at_ns / 1000000000)
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_closed_days BEFORE INSERT ON audit_log FOR EACH ROW
    WHEN (NEW.occurred_at_ns < extract(epoch FROM
        date_trunc('day', now() - interval '6 hours', 'Asia/Kolkata'))::bigint * 1000000000)
    EXECUTE FUNCTION refuse_the_past();

-- The application makes the partitions of the days to come by this, and by nothing else.
CREATE OR REPLACE FUNCTION ensure_day(day DATE) RETURNS void LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    today    DATE := (now() AT TIME ZONE 'Asia/Kolkata')::date;
    first_id BIGINT := to_char(day, 'YYMMDD')::bigint * 1000000000;
    next_id  BIGINT := to_char(day + 1, 'YYMMDD')::bigint * 1000000000;
    first_ns BIGINT := extract(epoch FROM day::timestamp AT TIME ZONE 'Asia/Kolkata')::bigint * 1000000000;
    suffix   TEXT := to_char(day, 'YYYYMMDD');
BEGIN
    IF day NOT BETWEEN today - 1 AND today + 3660 THEN
        RAISE EXCEPTION 'no partitions are made for %', day USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_day'));
    IF to_regclass('public.orders_' || suffix) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.orders FOR VALUES FROM (%s) TO (%s)',
            'orders_' || suffix, first_id, next_id);
        PERFORM public.guard_partition(('public.orders_' || suffix)::regclass, false);
    END IF;
    IF to_regclass('public.audit_log_' || suffix) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.audit_log FOR VALUES FROM (%s) TO (%s)',
            'audit_log_' || suffix, first_ns, first_ns + 86400000000000);
        PERFORM public.guard_partition(('public.audit_log_' || suffix)::regclass, true);
    END IF;
END $$;
REVOKE ALL ON FUNCTION ensure_day FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_day TO hundi_app;
