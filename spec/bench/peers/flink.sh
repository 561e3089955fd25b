#!/bin/sh
# flink.sh FOLDER: gets Flink from Maven Central and compiles W3 (spec/bench/peers/flink) into FOLDER/flink.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1/flink
[ -f "$folder/classes/W3.class" ] && exit 0
command -v mvn >/dev/null && command -v javac >/dev/null || sh "$here/../../../scripts/install.sh" java
mkdir -p "$folder/classes"
mvn -q -B -f "$here/flink/pom.xml" -DbuildDirectory="$folder/target" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$folder/jars"
javac -cp "$folder/jars/*" -d "$folder/classes" "$here/flink/W3.java"
