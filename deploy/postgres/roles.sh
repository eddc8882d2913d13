#!/usr/bin/env bash
# The roles and databases of an empty PostgreSQL volume; the image runs this once, as its superuser.
# `hundi` owns the tables and migrates them, `hundi_app` is every process of ours, `temporal` is Temporal's server
# and reaches nothing of ours. Nobody but the superuser can make roles or databases.
set -euo pipefail
export PGPASSWORD=$POSTGRES_PASSWORD
psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v owner="$POSTGRES_OWNER_PASSWORD" -v application="$POSTGRES_APPLICATION_PASSWORD" \
    -v temporal="$POSTGRES_TEMPORAL_PASSWORD" <<'SQL'
SET log_min_error_statement = panic;
CREATE ROLE hundi LOGIN PASSWORD :'owner';
CREATE ROLE hundi_app LOGIN PASSWORD :'application';
CREATE ROLE temporal LOGIN PASSWORD :'temporal';
CREATE DATABASE hundi OWNER hundi;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE ALL ON DATABASE postgres, hundi, temporal, temporal_visibility FROM PUBLIC;
GRANT CONNECT ON DATABASE hundi TO hundi_app;
SQL
