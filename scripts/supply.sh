#!/usr/bin/env bash
# Looks at what the program is made of: licences, banned and doubled crates and where crates come from (deny.toml), then known
# vulnerabilities. Those are listed in a database that has to be fetched: where it cannot be, that part is SKIPPED, and said so.
# Every finding is a failure. SUPPLY_DATABASE names a copy of the database, for machines without a network.
set -euo pipefail
cd "$(dirname "$0")/.."

deny=0.20.2
audit=0.22.2

have() { # PROGRAM VERSION
    "target/tools/bin/$1" --version 2>/dev/null | grep -q " $2\$"
}
have cargo-deny "$deny" || cargo install --quiet --locked --root target/tools --version "$deny" cargo-deny
have cargo-audit "$audit" || cargo install --quiet --locked --root target/tools --version "$audit" cargo-audit

status=0
target/tools/bin/cargo-deny --all-features check licenses bans sources || status=1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# What went wrong when it was only that the database could not be had.
unreachable='failed to fetch advisory database|error fetching advisory database|couldn.t fetch advisory database|failed to open advisory database|git operation failed'
vulnerabilities() { # NAME COMMAND...
    local name=$1
    shift
    if timeout 120 "$@" >"$log" 2>&1; then
        cat "$log"
        echo "$name: ok"
    elif grep -qiE "$unreachable" "$log"; then
        echo "$name: SKIPPED: the advisory database is not reachable"
    else
        cat "$log"
        echo "$name: FAILED"
        status=1
    fi
}
if [ -n "${SUPPLY_DATABASE:-}" ]; then
    vulnerabilities 'cargo audit' target/tools/bin/cargo-audit audit --no-fetch --db "$SUPPLY_DATABASE" --deny warnings
else
    vulnerabilities 'cargo deny, advisories' target/tools/bin/cargo-deny --all-features check advisories
    vulnerabilities 'cargo audit' target/tools/bin/cargo-audit audit --deny warnings
fi
exit "$status"
