#!/bin/sh
# Installs what the tests of docs/ingress.md run: HAProxy and NGINX. Nothing is done when they are there.
set -eu

missing=
for tool in haproxy nginx; do
    # Debian has them where only root looks.
    PATH="$PATH:/usr/sbin:/sbin" command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "balancers.sh: the tests behind load balancers are skipped without$missing; install them" >&2
    exit 0
fi
echo "balancers.sh: installing$missing"
apt-get update -q >/dev/null
# Only the programs are wanted: RUNLEVEL keeps the packages from starting services.
# shellcheck disable=SC2086
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
