#!/bin/sh
# Tests a part of what is in deploy/: `scripts/deploy-test.sh helm`. Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

part=$1
shift
case $part in
helm) tools="helm kubeconform decode kustomize" ;;
kustomize) tools="kustomize kubeconform" ;;
image | dist) tools= ;;
*)
    echo "usage: deploy-test.sh helm|kustomize|image|dist [PYTEST ARGUMENT]..." >&2
    exit 64
    ;;
esac
if ! command -v openssl >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "deploy-test.sh: there is no openssl, with which certificates for the tests are made; install it" >&2
        exit 1
    fi
    apt-get update -q && apt-get install -q -y --no-install-recommends openssl
fi
# shellcheck disable=SC2086 # a list of words
[ -z "$tools" ] || scripts/deploy-tools.sh $tools
scripts/venv.sh tests/deploy/requirements.txt
# The features of the other tests, so that nothing is compiled twice.
cargo build --quiet --locked --features demo
export PYTHONDONTWRITEBYTECODE=1
exec target/venv/bin/python -m pytest -p no:cacheprovider -rs "tests/deploy/test_$part.py" "$@"
