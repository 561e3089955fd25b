#!/bin/sh
# install.sh GROUP...: installs the packages of some groups of scripts/dependencies.txt, those that are missing.
# Quiet, and does nothing where nothing is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
missing=
for group in "$@"; do
    for package in $(sed -n "s/^$group //p" "$here/dependencies.txt"); do
        case " $missing " in *" $package "*) continue ;; esac
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "install.sh: this is not Debian (there is no apt-get); install what stands for:$missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "install.sh: these packages are missing and only root can install them:$missing" >&2
    echo "install.sh: run this once as root:  apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing:$missing" >&2
# shellcheck disable=SC2086  # a list of packages
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "install.sh: the packages could not be installed; what apt-get said is above" >&2
    exit 1
fi
