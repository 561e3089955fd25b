#!/bin/sh
# benthos.sh FOLDER: builds the core of Redpanda Connect with its pure and io components into FOLDER/benthos.
set -eu
folder=$1
[ -x "$folder/benthos" ] && exit 0
command -v go >/dev/null || sh "$(dirname "$0")/../../../scripts/install.sh" go
mkdir -p "$folder/benthos-src"
cd "$folder/benthos-src"
cat >main.go <<'GO'
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() { service.RunCLI(context.Background()) }
GO
[ -f go.mod ] || go mod init peer >/dev/null 2>&1
# the checksum database may be out of reach where only a module proxy is
fetch() { go get github.com/redpanda-data/benthos/v4@v4.48.0 && go mod tidy; }
fetch >/dev/null 2>&1 || GOSUMDB=off fetch >/dev/null 2>&1
GOSUMDB=off go build -o "$folder/benthos" .
