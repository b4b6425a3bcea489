#!/bin/sh
# Runs real clients against the proxy in front of the stand-in control plane. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

scripts/venv.sh tests/e2e/requirements.txt
scripts/descriptors.sh
cargo build --quiet --locked --features demo
# Nothing is written beside the tests.
export PYTHONDONTWRITEBYTECODE=1
exec target/venv/bin/python -m pytest -p no:cacheprovider tests/e2e "$@"
