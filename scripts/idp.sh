#!/bin/sh
# Runs the proxy with a real Keycloak, which is installed under target/idp. Arguments go to pytest. Where Keycloak cannot
# be had, it says so and is done: only a test that fails is a failure.
set -eu
cd "$(dirname "$0")/.."

version=26.4.7
sha256=dd9834c023460be856f731423d86228c23b5d002194a2064642bec0cc6573eaa
keycloak=target/idp/keycloak-$version

skip() {
    echo "idp.sh: SKIPPED, nothing was tested with Keycloak $version: $1"
    exit 0
}

# The major version of the Java that Keycloak would take, 0 if there is none; it needs 17.
java_version() {
    "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | grep . || echo 0
}

# Installs the first of these packages that exists.
install() {
    for package in "$@"; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            apt-get install -q -y --no-install-recommends "$package" >/dev/null && return 0
        fi
    done
    return 1
}

missing=
[ "$(java_version)" -ge 17 ] || missing=java
[ -d "$keycloak" ] || command -v mvn >/dev/null || missing="$missing maven"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        skip "install a Java runtime (17 or newer) and Maven"
    fi
    echo "idp.sh: installing $missing"
    apt-get update -q >/dev/null || skip "apt-get update failed"
    case $missing in
    *java*) install openjdk-17-jre-headless openjdk-21-jre-headless openjdk-25-jre-headless || skip "no Java runtime" ;;
    esac
    case $missing in
    *maven*) install maven || skip "no Maven" ;;
    esac
    [ "$(java_version)" -ge 17 ] || skip "Java is too old; see JAVA_HOME"
fi
if [ ! -d "$keycloak" ]; then
    archive=keycloak-quarkus-dist-$version.zip
    unpacked=$(mktemp -d "${TMPDIR:-/tmp}/keycloak.XXXXXX")
    trap 'rm -rf "$unpacked"' EXIT
    timeout 900 mvn -q -B dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" \
        -DoutputDirectory="$unpacked" </dev/null || skip "Maven could not fetch it"
    echo "$sha256  $unpacked/$archive" | sha256sum --check --quiet
    python3 -m zipfile -e "$unpacked/$archive" "$unpacked"
    mkdir -p target/idp
    # Moved when whole: a run that is broken off leaves nothing that looks complete.
    mv "$unpacked/keycloak-$version" "$keycloak"
    rm -rf "$unpacked"
    trap - EXIT
fi

scripts/venv.sh tests/e2e/requirements.txt
scripts/descriptors.sh
cargo build --quiet --locked --features demo
# Nothing is written beside the tests.
export PYTHONDONTWRITEBYTECODE=1
exec target/venv/bin/python -m pytest -p no:cacheprovider tests/idp --keycloak "$PWD/$keycloak" "$@"
