#!/bin/sh
# broker.sh FOLDER: fetches Apache Kafka (once, from Maven Central) and runs one broker in the foreground, with its data in
# FOLDER and its address in FOLDER/address. PORT and CONTROLLER_PORT say where it listens (9092, 9093).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
port=${PORT:-9092} controller=${CONTROLLER_PORT:-9093}
home=$here/../../build/kafka
mkdir -p "$folder" "$home"
if [ ! -e "$home/ready" ]; then
    mvn -q -B -f "$here/pom.xml" "-DbuildDirectory=$home/target" dependency:copy-dependencies -DincludeScope=runtime \
        "-DoutputDirectory=$home/jars"
    touch "$home/ready"
fi
cat >"$folder/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
controller.listener.names=CONTROLLER
log.dirs=$folder/log
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
run() {
    exec java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp "$home/jars/*" "$@"
}
[ -d "$folder/log" ] || (run kafka.tools.StorageTool format -t bW9vbndlaXJicm9rZXIwMQ -c "$folder/server.properties" >/dev/null)
echo "127.0.0.1:$port" >"$folder/address"
run kafka.Kafka "$folder/server.properties"
