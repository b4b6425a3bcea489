#!/bin/sh
# Runs real clients against the proxy in front of the stand-in control plane. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "e2e.sh: python3 has no venv module; install python3-venv" >&2
        exit 1
    fi
    apt-get update -q && apt-get install -q -y python3-venv
fi
if ! target/venv/bin/python -m pip --version >/dev/null 2>&1; then
    python3 -m venv --clear target/venv
fi
# Nothing is fetched when the pinned versions are there already.
if ! cmp -s tests/e2e/requirements.txt target/venv/e2e-requirements.txt; then
    target/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/e2e/requirements.txt
    cp tests/e2e/requirements.txt target/venv/e2e-requirements.txt
fi
# The identity provider: its packages are those of the lock file, and Node.js comes with the Python packages.
if ! cmp -s tests/e2e/idp/package-lock.json target/idp/installed-package-lock.json; then
    mkdir -p target/idp
    cp tests/e2e/idp/package.json tests/e2e/idp/package-lock.json tests/e2e/idp/.npmrc target/idp
    PATH="$PWD/target/venv/bin:$PATH" npm ci --prefix target/idp --omit=dev --loglevel=error
    cp tests/e2e/idp/package-lock.json target/idp/installed-package-lock.json
fi
# The browser; its test is skipped without.
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        { apt-get update -q && apt-get install -q -y --no-install-recommends chromium chromium-driver; } ||
            echo "e2e.sh: no chromium could be installed" >&2
    else
        echo "e2e.sh: no chromium; install chromium and chromium-driver" >&2
    fi
fi
scripts/descriptors.sh
cargo build --quiet --locked --features demo
# Nothing is written beside the tests.
export PYTHONDONTWRITEBYTECODE=1
exec target/venv/bin/python -m pytest -p no:cacheprovider -rs tests/e2e "$@"
