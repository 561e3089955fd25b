#!/bin/sh
# run.sh: starts a Kafka broker, feeds payments into a topic, runs the fraud rules of flow.lua on them, kills the router with
# kill -9 in the middle, starts it again, and shows what came out: everything, once. Ends with all that it started.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
echo "1. setting up, and building"
sh scripts/install.sh build test
sh scripts/build.sh release
moonweir=$(pwd)/build/release/moonweir
work=$(pwd)/build/kafka-fraud
rm -rf "$work"
mkdir -p "$work"
cd "$work"
broker='' router=''
stop() {
    for pid in $router $broker; do kill "$pid" 2>/dev/null || true; done
    wait
}
trap stop EXIT
PORT=${PORT:-19092} CONTROLLER_PORT=${CONTROLLER_PORT:-19093}
export PORT CONTROLLER_PORT

echo "2. starting a Kafka broker at 127.0.0.1:$PORT (the first time it is fetched from Maven Central)"
sh "$here/broker.sh" "$work/broker" >broker.log 2>&1 &
broker=$!
tries=0
until kcat -b "127.0.0.1:$PORT" -L -m 1 >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 240 ] || ! kill -0 $broker 2>/dev/null; then
        echo "the broker did not start:" >&2
        cat broker.log >&2
        exit 1
    fi
    sleep 0.5
done

echo "3. 20,000 payments into the topic 'payments', a few of a card that is used everywhere"
awk 'BEGIN {
    srand(7)
    for (i = 1; i <= 20000; i++) {
        card = i % 100 == 0 ? "c0" : "c" int(1 + rand() * 2000)
        printf "%s:{\"id\":%d,\"card\":\"%s\",\"amount\":%.2f,\"merchant\":\"m%d\",\"time\":%.3f}\n", card, i, card, rand() * 200, rand() * 50, 1700000000 + i / 100
    }
}' >payments
kcat -b "127.0.0.1:$PORT" -P -t payments -X partitioner=murmur2_random -K: -l payments

start() {
    KAFKA=127.0.0.1:$PORT "$moonweir" run "$here/flow.lua" --state state --no-supervisor 2>>router.log &
    router=$!
}
count() { kcat -b "127.0.0.1:$PORT" -C -t "$1" -e -q -f '%s\n' 2>/dev/null | tee "$1" | wc -l; }
echo "4. running flow.lua, which decides them; kill -9 after a moment, and once more"
start
sleep 1
kill -9 $router
wait $router 2>/dev/null || true
start
tries=0
until [ $(($(count payments.accepted) + $(count payments.review))) -ge 20000 ]; do
    tries=$((tries + 1))
    if [ $tries -gt 120 ]; then
        echo "not all payments were decided:" >&2
        cat router.log >&2
        exit 1
    fi
    sleep 0.5
done
printf '\n   accepted %6d   %s\n' "$(wc -l <payments.accepted)" "$(head -n 1 payments.accepted)"
printf '   review   %6d   %s\n\n' "$(wc -l <payments.review)" "$(head -n 1 payments.review)"
cat payments.accepted payments.review | grep -o '"id":[0-9]*' | sort | uniq -c |
    awk '{ n += $1 == 1; more += $1 > 1 } END { printf "   %d payments came out once, %d more than once\n", n, more; exit more > 0 || n != 20000 }'
