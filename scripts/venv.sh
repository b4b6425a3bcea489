#!/bin/sh
# Makes target/venv and installs the pinned packages of the file that is its argument. Nothing is fetched when they are
# there already.
set -eu
cd "$(dirname "$0")/.."

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "venv.sh: python3 has no venv module; install python3-venv" >&2
        exit 1
    fi
    apt-get update -q && apt-get install -q -y python3-venv
fi
if ! target/venv/bin/python -m pip --version >/dev/null 2>&1; then
    python3 -m venv --clear target/venv
fi
installed=target/venv/$(echo "$1" | tr / -)
if ! cmp -s "$1" "$installed"; then
    target/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$1"
    cp "$1" "$installed"
fi
