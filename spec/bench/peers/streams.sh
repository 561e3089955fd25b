#!/bin/sh
# streams.sh: fetches Kafka Streams (Maven Central) and compiles Route.java into build/peers/streams; prints that folder.
set -eu
cd "$(dirname "$0")/../../.."
sh scripts/install.sh java >&2
folder=$(pwd)/build/peers/streams
if [ ! -e "$folder/ready" ] || [ spec/bench/peers/streams/Route.java -nt "$folder/ready" ]; then
    mkdir -p "$folder/classes"
    mvn -q -B -f spec/bench/peers/streams/pom.xml "-DbuildDirectory=$folder/target" dependency:copy-dependencies \
        -DincludeScope=runtime "-DoutputDirectory=$folder/jars" >&2
    javac -cp "$folder/jars/*" -d "$folder/classes" spec/bench/peers/streams/Route.java >&2
    touch "$folder/ready"
fi
echo "$folder"
