#!/usr/bin/env bash
# Prints an environment file for docker-compose.yml with new secrets: deploy/secrets.sh > .env
set -euo pipefail
for name in POSTGRES_SUPERUSER_PASSWORD POSTGRES_OWNER_PASSWORD POSTGRES_APPLICATION_PASSWORD \
    POSTGRES_TEMPORAL_PASSWORD VALKEY_PASSWORD HUNDI_JWT_SECRET HUNDI_FIX_SECRET; do
    echo "$name=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
done
