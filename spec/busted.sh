#!/bin/sh
# busted.sh FOLDER BUILD:FILE: runs a file of specs on a build; what it says is in FOLDER, by the argument's name.
set -eu
cd "$(dirname "$0")/.."
MOONWEIR_ROOT=$(pwd)
MOONWEIR_BUILD="$MOONWEIR_ROOT/build/${2%%:*}"
export MOONWEIR_ROOT MOONWEIR_BUILD
busted --lua=luajit --output=spec/output.lua --lpath='./spec/?.lua' "${2#*:}" >"$1/$(echo "$2" | tr / _)" 2>&1 || true
