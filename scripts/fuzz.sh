#!/usr/bin/env bash
# Fuzzing (docs/testing.md):
#   fuzz.sh smoke                   every target for FUZZ_SECONDS (10) each, as many at once as there are processors
#   fuzz.sh run TARGET...           each for FUZZ_SECONDS (1200)
#   fuzz.sh repeat TARGET FILE      one input, with what fails
#   fuzz.sh minimise TARGET FILE    the same input made shorter, for FUZZ_SECONDS (60) at most
#   fuzz.sh list                    the targets
# Installs what it lacks: the toolchain, cargo-fuzz into target/tools, a C++ compiler for libFuzzer. Inputs that are found are kept
# in target/fuzz/corpus, those that fail in target/fuzz/failed.
set -euo pipefail
cd "$(dirname "$0")/.."

toolchain=${FUZZ_TOOLCHAIN:-nightly-2026-05-15}
cargo_fuzz=0.13.1
targets=$(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')

fail() {
    echo "fuzz.sh: $*" >&2
    exit 64
}

is_target() {
    grep -qx -- "$1" <<<"$targets" || fail "there is no target $1; write one of" $targets
}

install_tools() {
    if ! command -v c++ >/dev/null; then
        apt-get update -q && apt-get install -q -y g++
    fi
    if ! rustup run "$toolchain" rustc --version >/dev/null 2>&1; then
        rustup toolchain install "$toolchain" --profile minimal
    fi
    if ! target/tools/bin/cargo-fuzz --version 2>/dev/null | grep -q " $cargo_fuzz\$"; then
        cargo install --quiet --locked --root target/tools --version "$cargo_fuzz" cargo-fuzz
    fi
    scripts/descriptors.sh
}

# Without a sanitizer: the program's own code has no `unsafe`, which the compiler checks, and what an address sanitizer would
# find in the crates it uses costs every run half of its speed. Checks of arithmetic and debug assertions are on.
build() {
    install_tools
    # With one unit of code generation, cargo-fuzz's own choice, the program alone compiles for minutes.
    RUSTUP_TOOLCHAIN=$toolchain target/tools/bin/cargo-fuzz build --sanitizer none --codegen-units 16 \
        --target-dir target/fuzz "$@"
}

binary() {
    echo "target/fuzz/$(rustup run "$toolchain" rustc -vV | sed -n 's/^host: //p')/release/$1"
}

# Runs one target for so many seconds; says what came of it in a line, and of a failure how to repeat it.
fuzz() {
    local target=$1 seconds=$2 log=target/fuzz/logs/$1.log dictionary=fuzz/dictionaries/$1.dict status=0
    mkdir -p "target/fuzz/corpus/$target" target/fuzz/failed target/fuzz/logs
    local options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1)
    [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
    "$(binary "$target")" "${options[@]}" -artifact_prefix="target/fuzz/failed/$target-" \
        "target/fuzz/corpus/$target" "fuzz/corpus/$target" >"$log" 2>&1 || status=$?
    local runs per_second coverage
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    per_second=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/cov \1 ft \2/p' "$log" | tail -n 1)
    printf '%-16s %6s s %12s runs %8s/s  %s  %s\n' "$target" "$seconds" "${runs:-?}" "${per_second:-?}" "$coverage" \
        "$([ "$status" = 0 ] && echo passed || echo FAILED)"
    if [ "$status" != 0 ]; then
        local input
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        grep -m 1 -A 3 'panicked at\|ERROR: libFuzzer' "$log" || tail -n 5 "$log"
        echo "  repeat it: scripts/fuzz.sh repeat $target ${input:-FILE}   (the whole log: $log)"
    fi
    return "$status"
}

command=${1:-}
shift || true
case $command in
list) echo "$targets" ;;
smoke)
    build
    export FUZZ_TOOLCHAIN=$toolchain
    xargs -P "$(nproc)" -n 1 "$0" one "${FUZZ_SECONDS:-10}" <<<"$targets"
    ;;
one) fuzz "$2" "$1" ;;
run)
    [ $# -gt 0 ] || fail "write which target: one of" $targets
    for target in "$@"; do is_target "$target"; done
    build
    for target in "$@"; do fuzz "$target" "${FUZZ_SECONDS:-1200}"; done
    ;;
repeat | minimise)
    [ $# = 2 ] && [ -f "$2" ] || fail "write $command TARGET FILE"
    is_target "$1"
    build "$1"
    if [ "$command" = repeat ]; then
        RUST_BACKTRACE=1 "$(binary "$1")" -timeout=10 "$2"
    else
        "$(binary "$1")" -minimize_crash=1 -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 \
            -artifact_prefix="target/fuzz/failed/$1-minimised-" "$2"
    fi
    ;;
*) fail "write smoke, run TARGET..., repeat TARGET FILE, minimise TARGET FILE or list" ;;
esac
