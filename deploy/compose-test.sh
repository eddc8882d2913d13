#!/usr/bin/env bash
# `make compose-test`: all of docker-compose.yml from nothing, orders placed through it, a gateway killed under it,
# everything taken away again. Project, ports and secrets are its own, so a stack that runs is not touched.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "compose-test: $*"; }
fail() { echo "compose-test: $*" >&2; exit 1; }
docker compose version >/dev/null 2>&1 || fail "Docker with its compose plugin is needed"

environment=$(mktemp)
deploy/secrets.sh >"$environment"
printf '%s\n' HUNDI_API_PORT=18000 HUNDI_STREAM_PORT=18001 TEMPORAL_UI_PORT=18233 >>"$environment"
compose() { docker compose --project-name hundi-test --env-file "$environment" "$@"; }
tear_down() {
    ended=$?
    [ $ended -eq 0 ] || compose ps --all
    [ $ended -eq 0 ] || compose logs --tail 15
    say "taking everything away"
    compose --profile demo down --volumes --timeout 20 >/dev/null 2>&1 || true
    rm -f "$environment"
    exit $ended
}
trap tear_down EXIT

books() { # What PostgreSQL says to one question.
    compose exec -T postgres sh -c 'PGPASSWORD=$POSTGRES_PASSWORD psql --username postgres --dbname hundi -Atc "$0"' "$1"
}

say "building the image and starting every service, with new secrets"
compose up --build --detach --wait --wait-timeout 600
say "demo accounts, for this stack alone"
compose run --rm --no-deps seed seed --demo-accounts
say "orders of each kind"
compose run --rm demo

say "what the books hold"
expected="CANCELLED 1 EXECUTED 2 REJECTED 1"
found=$(books "SELECT string_agg(status || ' ' || n, ' ' ORDER BY status) FROM (SELECT status::text, count(*) AS n FROM orders GROUP BY 1) s")
[ "$found" = "$expected" ] || fail "the books hold '$found', expected '$expected'"
say "the stories, as support looks them up"
for _ in $(seq 30); do
    stories=$(compose run --rm --no-deps namespace "temporal workflow count --query 'WorkflowType=\"OrderWorkflow\"'")
    case $stories in *"Total: 4"*) break ;; *) sleep 1 ;; esac
done
case $stories in *"Total: 4"*) ;; *) fail "Temporal says '$stories', expected four stories" ;; esac

say "the gateway is killed, and trading goes on"
compose kill --signal KILL gateway
compose up --detach --wait --wait-timeout 120 gateway
compose run --rm demo >/dev/null
found=$(books "SELECT count(*) FROM orders WHERE status = 'EXECUTED'")
[ "$found" = 4 ] || fail "the books hold $found executed orders, expected 4"
say "all of it as it should be"
