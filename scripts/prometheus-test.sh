#!/bin/sh
# Alerts and dashboard with a real Prometheus that scrapes the running proxy. Arguments go to the test program.
set -eu
cd "$(dirname "$0")/.."

if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    PATH="$PWD/target/prometheus/usr/bin:$PATH"
fi
if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "prometheus-test.sh: no prometheus and promtool; install Prometheus" >&2
        exit 1
    fi
    # Debian's package, unpacked only: installed, it would start a service.
    mkdir -p target/prometheus
    (
        cd target/prometheus
        fetch() { apt-get -q -o APT::Sandbox::User=root download prometheus; }
        fetch || { apt-get update -q && fetch; }
        dpkg-deb --extract prometheus_*.deb .
        rm prometheus_*.deb
    )
fi
promtool check rules deploy/prometheus/alerts.yaml
promtool test rules deploy/prometheus/alerts.test.yaml
scripts/descriptors.sh
exec cargo test --quiet --locked --features demo --test it prometheus:: -- --ignored "$@"
