#!/bin/sh
# Runs unit tests of the engines in miri, an interpreter that notices undefined behaviour: also in the crates they use, which have
# `unsafe` code that the program has not. Arguments take the place of the list of modules. Installs the toolchain if it is missing.
#
# Left out is what miri cannot run, or not in minutes: cryptography, which is C (credentials, and all that compiles a policy, whose
# version is a digest), what compiles the built-in catalogue (look-ups, targets, URLs, filters), and tests that compile many regular
# expressions, make twenty thousand names, or read keys of a mebibyte or ten thousand
# settings. The rest takes about a quarter of an hour on two cores.
set -eu
cd "$(dirname "$0")/.."

toolchain=${FUZZ_TOOLCHAIN:-nightly-2026-05-15}
if ! rustup run "$toolchain" cargo miri --version >/dev/null 2>&1; then
    rustup toolchain install "$toolchain" --profile minimal --component miri --component rust-src
fi
if [ $# = 0 ]; then
    set -- document:: extract::edit:: extract::execution:: extract::json:: extract::protobuf:: extract::search:: \
        model:: policy::instant:: policy::pattern:: protocol:: \
        --skip it_takes_its_share_of_consecutive_names --skip a_pattern_cannot_slip_out --skip templates_are_solved \
        --skip a_search_takes_time_by_the_length --skip no_more_settings_are_collected
fi
# Random cases are few, and the file of those that failed once is not looked for.
export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4
RUSTUP_TOOLCHAIN=$toolchain exec cargo miri test --locked --lib --no-default-features --target-dir target/miri -- "$@"
