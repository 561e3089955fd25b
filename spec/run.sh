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
passed=0 failed=0
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
specs() { # BUILD FILE...: busted's own counts are added up
    build=$1
    shift
    MOONWEIR_BUILD="$MOONWEIR_ROOT/build/$build" busted --lua=luajit --output=spec/output.lua --lpath='./spec/?.lua' \
        "$@" >"$work/log" 2>&1 || true
    counts=$(sed -n 's/^counts: //p' "$work/log" | tail -n 1)
    grep -v '^counts: ' "$work/log" || true
    if [ -z "$counts" ]; then
        failed=$((failed + 1))
        echo "FAILED: busted did not finish on the $build build"
        return
    fi
    passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
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
        for file in $(find_specs spec | grep -- "$pattern"); do specs release "$file"; done
    done
    finish
fi

say style
one 'clang-format' sh -c 'find core spec plugins -name "*.[ch]" -o -name "*.cc" | xargs -r clang-format --dry-run -Werror'
one luacheck luacheck -q scripts spec examples
for file in scripts/*.sh spec/*.sh examples/*.sh; do one "sh -n $file" sh -n "$file"; done
say specs
# shellcheck disable=SC2046  # lists of files
specs release $(find_specs spec/unit spec/flow)
if [ -z "$quick" ]; then
    say faults
    # shellcheck disable=SC2046
    specs release $(find_specs spec/fault)
    say sanitizers
    # with TSan neither Kafka (it does not know the threads that librdkafka makes) nor the command that scores, which has one thread
    flows=$(find_specs spec/flow) kafka=spec/fault/kafka_once_spec.lua
    for build in asan tsan; do
        [ "$build" = asan ] || flows=$(find_specs spec/flow | grep -v /models_spec) kafka=
        one "$build build" sh scripts/build.sh "$build"
        # shellcheck disable=SC2046
        specs "$build" $flows spec/fault/reload_spec.lua spec/fault/state_spec.lua spec/fault/memory_spec.lua \
            spec/fault/exactly_once_spec.lua spec/fault/buffer_spec.lua $kafka
    done
    say fuzzers
    one 'fuzz build' sh scripts/build.sh fuzz
    for fuzzer in build/fuzz/fuzz_*; do
        [ -x "$fuzzer" ] || continue
        name=${fuzzer##*/fuzz_}
        mkdir -p "$work/corpus/$name"
        one "fuzz $name" "$fuzzer" -max_total_time="${MOONWEIR_FUZZ_SECONDS:-10}" -rss_limit_mb=1024 -timeout=10 -verbosity=0 \
            -artifact_prefix="$work/" "$work/corpus/$name" "spec/fuzz/corpus/$name"
    done
fi
finish
