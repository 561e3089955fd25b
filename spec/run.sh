#!/bin/sh
# run.sh [--quick] [PATTERN...]: sets up, builds, and runs all tests: style, unit and flow specs, faults, sanitizers, fuzzers.
#   --quick    style and specs only, without sanitizers, fuzzers and the long fault tests
#   PATTERN    only specs whose file name holds it, on the release build
# The last line is the totals, alone: "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
MOONWEIR_ROOT=$(pwd)
export MOONWEIR_ROOT
quick= patterns=
for argument in "$@"; do
    case $argument in
    --quick) quick=1 ;;
    --*) echo "run.sh: there is no option '$argument' (there is --quick)" >&2; exit 2 ;;
    *) patterns="$patterns $argument" ;;
    esac
done
passed=0 failed=0 jobs=2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '== %s\n' "$*"; }
one() { # NAME COMMAND...: a check that passes or fails as a whole
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n' "$name"
        tail -n 60 "$work/log"
    fi
}
specs() { # BUILD:FILE...: two files at a time, the longest first; busted's own counts are added up
    printf '%s\n' "$@" | awk '
        BEGIN { split("memory_spec models_spec redis_spec detectors_spec exactly_once_spec kafka_once_spec state_spec", long, " ") }
        { first = 9; for (i in long) if (index($0, "/" long[i])) first = i; print first, $0 }' | sort -s -n -k1,1 | cut -d' ' -f2 |
        xargs -P "$jobs" -n 1 sh spec/busted.sh "$work"
    for spec in "$@"; do
        log="$work/$(echo "$spec" | tr / _)"
        counts=$(sed -n 's/^counts: //p' "$log" | tail -n 1)
        grep -v '^counts: ' "$log" || true
        if [ -z "$counts" ]; then
            failed=$((failed + 1))
            echo "FAILED: busted did not finish: $spec"
            continue
        fi
        passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
    done
}
on() { # BUILD FILE...: the files as specs wants them
    build=$1
    shift
    for file in "$@"; do echo "$build:$file"; done
}
find_specs() { find "$@" -name '*_spec.lua' | sort; }
finish() {
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]
    exit
}

say setting up
sh scripts/install.sh build test
say building
sh scripts/build.sh release

if [ -n "$patterns" ]; then
    for pattern in $patterns; do
        # shellcheck disable=SC2046  # lists of files
        specs $(on release $(find_specs spec | grep -- "$pattern"))
    done
    finish
fi

say style
one 'clang-format' sh -c 'find core spec plugins -name "*.[ch]" -o -name "*.cc" | xargs -r clang-format --dry-run -Werror'
one luacheck luacheck -q scripts spec examples
for file in scripts/*.sh spec/*.sh examples/*.sh; do one "sh -n $file" sh -n "$file"; done
say specs
# shellcheck disable=SC2046  # lists of files
specs $(on release $(find_specs spec/unit spec/flow))
if [ -z "$quick" ]; then
    say faults
    # shellcheck disable=SC2046  # one at a time: they are about time, and some take all there is
    jobs=1
    specs $(on release $(find_specs spec/fault))
    jobs=2
    say sanitizers
    # with TSan neither Kafka (it does not know the threads that librdkafka makes) nor the command that scores, which has one thread
    flows=$(find_specs spec/flow)
    faults=
    for name in reload state memory exactly_once buffer; do faults="$faults spec/fault/${name}_spec.lua"; done
    for build in asan tsan; do one "$build build" sh scripts/build.sh "$build"; done
    # shellcheck disable=SC2046,SC2086
    specs $(on asan $flows $faults spec/fault/kafka_once_spec.lua; on tsan $(echo "$flows" | grep -v /models_spec) $faults)
    say fuzzers
    one 'fuzz build' sh scripts/build.sh fuzz
    fuzzers=$(find build/fuzz -name 'fuzz_*' -type f -perm -u+x | sort)
    # shellcheck disable=SC2016
    echo "$fuzzers" | xargs -P 2 -n 1 sh -c '
        name=${2##*/fuzz_}
        mkdir -p "$1/corpus/$name"
        "$2" -max_total_time="${MOONWEIR_FUZZ_SECONDS:-10}" -rss_limit_mb=1024 -timeout=10 -verbosity=0 -artifact_prefix="$1/" \
            "$1/corpus/$name" "spec/fuzz/corpus/$name" >"$1/fuzz-$name" 2>&1 && touch "$1/fuzzed-$name"' fuzz "$work" || true
    for fuzzer in $fuzzers; do
        name=${fuzzer##*/fuzz_}
        one "fuzz $name" sh -c "cat '$work/fuzz-$name'; test -e '$work/fuzzed-$name'"
    done
fi
finish
