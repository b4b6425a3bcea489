#!/bin/sh
# Measures what attacks cost the proxy, and a well-behaved client beside them: a Markdown table on standard output.
# FLOODS_SECONDS: how long each attack is measured (5). FLOODS_PROGRAM: the program to attack, built here if it is not set.
set -eu
cd "$(dirname "$0")/.."

scripts/descriptors.sh >&2
if [ -z "${FLOODS_PROGRAM:-}" ]; then
    "${CARGO:-cargo}" build --quiet --locked --release >&2
    FLOODS_PROGRAM=$PWD/target/release/flyte-authz-proxy
fi
export FLOODS_PROGRAM
# Every connection of both sides is a file.
ulimit -n 8192 2>/dev/null || true
"${CARGO:-cargo}" test --quiet --locked --features demo --test it floods:: -- --ignored --nocapture | grep '^|'
