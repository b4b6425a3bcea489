#!/bin/sh
# Compares the proxy with no proxy, a bare pass-through, HAProxy, nginx and Envoy. Arguments go to scripts/bench:
# `--quick` shows that everything works, `--only PATTERN` measures some peers; BENCH_ROUNDS says how often (3).
set -eu
cd "$(dirname "$0")/.."

missing=
for pair in h2load:nghttp2-client haproxy:haproxy nginx:nginx curl:curl taskset:util-linux python3:python3; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "bench.sh: install$missing" >&2
        exit 1
    fi
    apt-get update -q && apt-get install -q -y --no-install-recommends $missing
fi
scripts/descriptors.sh
scripts/venv.sh benches/requirements.txt
# `dev` builds faster and shows no more than that everything works.
profile=${BENCH_PROFILE:-release}
BENCH_PROGRAMS=$([ "$profile" = dev ] && echo debug || echo "$profile")
export BENCH_PROGRAMS
cargo build --locked --profile "$profile" --bin flyte-authz-proxy --example pass_through --example bench_upstream \
    --example bench_client --example verify_token
cargo run --quiet --locked --features demo --example bench_setup target/bench target/descriptors/flyteidl-1.16.8.binpb
exec target/venv/bin/python scripts/bench "$@"
