#!/bin/sh
# quickstart.sh: from a bare Debian 12 to a running router: installs what is missing, builds, and runs examples/machine on
# this machine's own logs and telemetry. Edit examples/machine/flow.lua and run it again: the second time it takes seconds.
#   --keep    leave the router running in the foreground at the end (Ctrl-C ends it)
set -eu
cd "$(dirname "$0")/.."
keep=
[ "${1:-}" = --keep ] && keep=1

echo "1. setting up"
sh scripts/install.sh build try
echo "2. building"
sh scripts/build.sh release
moonweir=$(pwd)/build/release/moonweir
example=$(pwd)/examples/machine
work=$(pwd)/build/quickstart
rm -rf "$work"
mkdir -p "$work"
cd "$work"

echo "3. testing the rules, with no outside world"
"$moonweir" test "$example/flow.lua" | sed 's/^/   /'

echo "4. running them on this machine's logs and telemetry"
LISTEN=${LISTEN:-127.0.0.1:0} "$moonweir" run "$example/flow.lua" --admin 127.0.0.1:0 --state state 2>router.log &
router=$!
trap 'kill $router 2>/dev/null || true' EXIT
tries=0
until grep -q 'is ready' router.log; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $router 2>/dev/null; then
        echo "the router did not start:" >&2
        cat router.log >&2
        exit 1
    fi
    sleep 0.1
done
telemetry=$(grep -o 'http://[0-9.]*:[0-9]*/telemetry' router.log | head -n 1)
admin=$(sed -n 's/.*"where":"admin".*\(http:\/\/[0-9.:]*\)".*/\1/p' router.log | head -n 1)
printf '   rules: %s\n   telemetry is posted to %s and answered:\n\n' "$example/flow.lua" "$telemetry"
printf '   %-9s %8s %8s %8s %6s   %s\n' time cpu memory disk load "the router's answer"
for _ in 1 2 3 4 5 6; do
    reading=$(sh "$example/sample.sh")
    answer=$(printf '%s' "$reading" | curl -sS --max-time 5 --data-binary @- "$telemetry")
    printf '%s\n%s\n' "$reading" "$answer" | jq -rs '[.[0].time, .[0].cpu.busy_percent, .[0].memory.used_percent, .[0].disk.used_percent, .[0].load,
        .[1].decision + (if .[1].reason then " (" + .[1].reason + ")" else "" end)] | @tsv' |
        awk -F '\t' '{ printf "   %-9s %7.1f%% %7.1f%% %7.1f%% %6.2f   %s\n", $1, $2, $3, $4, $5, $6 }'
done

printf '\n   package logs, read through the file source and routed by a field of what the rule made of them:\n\n'
for file in out/packages-*.ndjson; do
    [ -e "$file" ] || continue
    action=${file#out/packages-}
    count=$(wc -l <"$file")
    bar=$(awk -v n="$count" 'BEGIN { w = n > 400 ? 40 : n / 10 + 1; for (i = 0; i < w; i++) printf "#" }')
    printf '   %-9s %6d  %s\n' "${action%.ndjson}" "$count" "$bar"
    tail -n 2 "$file" | sed 's/^/             /'
done
printf '\n   what the router counted (%s/metrics):\n\n' "$admin"
curl -sS "$admin/metrics" | sed -n 's/^moonweir_\(source\|rule\|sink\)_\(events\|filtered\|failed\)_total{[a-z]*="\([^"]*\)"} \([0-9]*\)$/\1 \3 \2 \4/p' |
    awk '{ k = $1 " " $2; if (!(k in seen)) { order[++n] = k; seen[k] = 1 } v[k] = v[k] sprintf("%s %d  ", $3, $4) } END { for (i = 1; i <= n; i++) printf "   %-22s %s\n", order[i], v[order[i]] }'

if [ -n "$keep" ]; then
    printf '\nThe router goes on; post to %s yourself. Ctrl-C ends it.\n' "$telemetry"
    trap 'kill $router' INT
    wait $router
    exit 0
fi
kill $router
wait $router
trap - EXIT
printf '\n5. it drained and ended; its summary: %s\n' "$(tail -n 1 router.log)"
printf 'What was delivered is in %s/out. Now edit %s and run this again.\n' "$work" "$example/flow.lua"
