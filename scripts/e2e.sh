#!/bin/sh
# Runs real clients against the proxy in front of the stand-in control plane. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."

scripts/venv.sh tests/e2e/requirements.txt
# The identity provider: its packages are those of the lock file, and Node.js comes with the Python packages.
if ! cmp -s tests/e2e/idp/package-lock.json target/oidc-provider/installed-package-lock.json; then
    mkdir -p target/oidc-provider
    cp tests/e2e/idp/package.json tests/e2e/idp/package-lock.json tests/e2e/idp/.npmrc target/oidc-provider
    PATH="$PWD/target/venv/bin:$PATH" npm ci --prefix target/oidc-provider --omit=dev --loglevel=error
    cp tests/e2e/idp/package-lock.json target/oidc-provider/installed-package-lock.json
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
