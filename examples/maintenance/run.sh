#!/bin/sh
# run.sh [SERIES.csv]: predictive maintenance on a series (timestamp,value: one machine, as fast as it can be read), or, without one, on
# this machine's own load for half a minute, in which it is made to work hard once. Prints the actions that were taken.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
series=${1:-}
[ -z "$series" ] || series=$(cd "$(dirname "$series")" && pwd)/$(basename "$series")
sh "$root/scripts/install.sh" build
sh "$root/scripts/build.sh" release
moonweir=$root/build/release/moonweir
work=$root/build/maintenance
rm -rf "$work"
mkdir -p "$work"
cd "$work"

"$moonweir" run "$here/handler.lua" --shards 1 --state handler --no-supervisor >actions.ndjson 2>handler.log &
handler=$!
trap 'kill $handler 2>/dev/null || true' EXIT
tries=0
until grep -q 'is ready' handler.log; do
    tries=$((tries + 1))
    [ $tries -le 100 ] || { cat handler.log >&2; exit 1; }
    sleep 0.1
done
ACTIONS=$(grep -o 'http://[0-9.]*:[0-9]*/actions' handler.log | head -n 1)
export ACTIONS

from_series() { # its rows as events
    awk -F, 'NR > 1 { printf "{\"machine\":\"m1\",\"at\":\"%sZ\",\"value\":%s}\n", substr($1, 1, 10) "T" substr($1, 12, 8), $2 }' "$series"
}

from_here() { # jiffies that were worked each 20 ms; five of the router's minutes are one of those
    n=0 last=0
    while [ $n -lt 1500 ]; do
        if [ $n = 1300 ]; then
            (timeout 3 sh -c 'while :; do :; done' &)
            (timeout 3 sh -c 'while :; do :; done' &)
        fi
        read -r _ user nice system _ </proc/stat
        now=$((user + nice + system))
        [ $n = 0 ] || printf '{"machine":"here","at":%d,"value":%d}\n' $((1700000000 + n * 300)) $((now - last))
        last=$now n=$((n + 1))
        sleep 0.02
    done
}

if [ -n "$series" ]; then from_series; else from_here; fi |
    "$moonweir" run "$here/flow.lua" --shards 1 --state state --no-supervisor --quiet 2>router.log || { cat router.log >&2; exit 1; }
echo "actions:"
sed 's/^/   /' actions.ndjson
tail -n 1 router.log
