#!/bin/sh
# run.sh [NAME...]: measures, each figure beside a limit or a peer in the same run, and prints ratios.
#   NAME     only these of: files peers http latency rules footprint reload containment replay windows redis kafka delivery scoring
#   EVENTS=N how many events the file benchmarks use (2000000)   ROUNDS=N how often each is run (5)
set -eu
cd "$(dirname "$0")/../.."
sh scripts/install.sh build bench test
sh scripts/build.sh release
MOONWEIR_ROOT=$(pwd)
export MOONWEIR_ROOT
folder=${BENCH_DIR:-}
if [ -z "$folder" ]; then
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    if [ "${free:-0}" -gt 4000000 ]; then folder=/dev/shm/moonweir-bench; else folder=${TMPDIR:-/tmp}/moonweir-bench; fi
fi
mkdir -p "$folder"
trap 'rm -rf "$folder"' EXIT
export BENCH_DIR="$folder"
for source in limit http_limit; do
    cc -O2 -o "$folder/$source" "spec/bench/$source.c" -luv -lhttp_parser
done
[ $# -gt 0 ] || set -- files rules latency footprint http reload containment replay windows redis kafka delivery scoring peers
for name in "$@"; do
    LUA_PATH="./spec/?.lua;./spec/bench/?.lua;;" luajit "spec/bench/$name.lua"
done
