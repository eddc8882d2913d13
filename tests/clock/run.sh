#!/usr/bin/env bash
# Runs a command under a wall clock that stands at another moment: tests/clock/run.sh 2027-03-15T11:00+05:30 make run
set -euo pipefail
moment=${1:?a moment such as 2027-03-15T11:00+05:30}
shift
folder=$(cd "$(dirname "$0")" && pwd)
clock=${TMPDIR:-/tmp}/hundi-offset-clock-$(id -u).so
[ "$clock" -nt "$folder/offset_clock.c" ] || "${CC:-cc}" -O2 -shared -fPIC -o "$clock" "$folder/offset_clock.c" -ldl
HUNDI_CLOCK_OFFSET=$(($(date -d "$moment" +%s) - $(date +%s))) LD_PRELOAD=$clock exec "$@"
