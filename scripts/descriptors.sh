#!/bin/sh
# Fetches the published descriptors of the Flyte API, against which the tests check the catalogue.
set -eu
cd "$(dirname "$0")/.."

version=1.16.8
output=target/descriptors/flyteidl-$version.binpb
if [ -s "$output" ]; then
    exit 0
fi

scripts/venv.sh scripts/descriptors.txt
mkdir -p target/descriptors
target/venv/bin/python scripts/descriptors.py "$output"
echo "wrote $output"
