#!/bin/sh
# bytewax.sh FOLDER: installs Bytewax into a virtual environment in FOLDER/bytewax.
set -eu
folder=$1
[ -x "$folder/bytewax/bin/python" ] && exit 0
command -v python3 >/dev/null || sh "$(dirname "$0")/../../../scripts/install.sh" python
python3 -m venv "$folder/bytewax"
"$folder/bytewax/bin/pip" install -q bytewax==0.21.1
