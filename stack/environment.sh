#!/usr/bin/env bash
# Makes .venv for `make run` and `make test`; does nothing when it is fresh. Argument: `run` or `test`
# (`test` adds the development tools). Every failure is one sentence.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:?run or test}
fail() { echo "hundi: $*" >&2; exit 1; }

stamp=.venv/.fresh-for-$purpose
for made in "$stamp" .venv/.fresh-for-test; do
    [ -e "$made" ] && [ "$made" -nt uv.lock ] && [ "$made" -nt pyproject.toml ] && exit 0
done

python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        # The interpreter itself, not a shim: uv makes an environment anew whose interpreter it cannot recognise.
        python=$("$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))') && break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed and none is on the PATH"

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    tools=.hundi/tools
    if ! [ -x $tools/bin/uv ]; then
        echo "hundi: fetching uv into $tools"
        "$python" -m venv $tools || fail "Python's venv module is needed to fetch uv (Debian: apt install python3-venv)"
        $tools/bin/pip install --quiet --disable-pip-version-check uv || fail "uv could not be fetched from the package index"
    fi
    uv=$tools/bin/uv
fi

# QuickFIX comes as source: its compiler is asked for before minutes are spent.
if ! ls .venv/lib/python3*/site-packages/quickfix.py >/dev/null 2>&1; then
    command -v "${CXX:-c++}" >/dev/null || fail "a C++ compiler is needed to build QuickFIX and there is no ${CXX:-c++} (Debian: apt install g++)"
    "$python" -c 'import pathlib, sysconfig; raise SystemExit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' ||
        fail "QuickFIX needs Python's headers and there is no Python.h (Debian: apt install python3-dev)"
    echo "hundi: the first time, QuickFIX is compiled: this takes some minutes"
fi

groups=--no-dev
[ "$purpose" = test ] && groups=--dev
export UV_PYTHON_DOWNLOADS=never
# Compiled once here: who started as root runs as a user that may not write beside the sources.
sync() { "$uv" sync --frozen --inexact --compile-bytecode $groups --python "$python" "$@"; }
# What an earlier environment has built is taken as it is; asking the index again could compile QuickFIX again.
sync --offline >/dev/null 2>&1 || sync &
sync=$!
trap 'kill $sync 2>/dev/null' INT TERM
seconds=0
while kill -0 $sync 2>/dev/null; do
    sleep 1
    seconds=$((seconds + 1))
    [ $((seconds % 10)) -eq 0 ] && echo "hundi: still making the environment, $seconds s"
done
wait $sync || fail "the environment could not be made: see uv's message above"
touch "$stamp"
