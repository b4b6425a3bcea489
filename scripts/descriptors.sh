#!/bin/sh
# Fetches the published descriptors of the Flyte API, against which the tests check the catalogue.
set -eu
cd "$(dirname "$0")/.."

version=1.16.8
output=target/descriptors/flyteidl-$version.binpb
if [ -s "$output" ]; then
    exit 0
fi

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "descriptors.sh: python3 has no venv module; install python3-venv" >&2
        exit 1
    fi
    apt-get update -q && apt-get install -q -y python3-venv
fi
if ! target/venv/bin/python -m pip --version >/dev/null 2>&1; then
    python3 -m venv --clear target/venv
fi
target/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement scripts/descriptors.txt
mkdir -p target/descriptors
target/venv/bin/python scripts/descriptors.py "$output"
echo "wrote $output"
