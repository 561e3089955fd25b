#!/bin/sh
# build.sh [PRESET]: configures and builds (release where nothing is said); prints only what is wrong.
set -eu
cd "$(dirname "$0")/.."
preset=${1:-release}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    exit 1
fi
