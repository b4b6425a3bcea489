#!/bin/sh
# Restarts two proxies behind HAProxy in turn, under load, and counts every request. HAProxy is installed if it is missing
# and that can be done.
set -eu
cd "$(dirname "$0")/.."

if ! command -v haproxy >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "upgrade.sh: install haproxy" >&2
        exit 1
    fi
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends haproxy
fi
scripts/descriptors.sh
exec "${CARGO:-cargo}" test --locked --features demo --test it upgrade:: -- --ignored --nocapture
