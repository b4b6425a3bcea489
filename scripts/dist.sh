#!/bin/sh
# Builds what is released into target/dist: for each architecture named (amd64, arm64; both if none is) a static binary, then
# the bill of materials (CycloneDX) and the checksums. `dist.sh --binary-only ARCH` leaves out the latter two, for images.
# One machine builds for both: Zig is the C compiler and linker. PROFILE=dev tries it out in less time.
set -eu
cd "$(dirname "$0")/.."

materials=yes
if [ "${1:-}" = --binary-only ]; then
    materials=
    shift
fi
[ $# -gt 0 ] || set -- amd64 arm64
profile=${PROFILE:-release}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
dist=target/dist
mkdir -p "$dist"

# The target that Rust knows an architecture by.
target() {
    case $1 in
    amd64) echo x86_64-unknown-linux-musl ;;
    arm64) echo aarch64-unknown-linux-musl ;;
    *)
        echo "dist.sh: there is no build for $1; write amd64 or arm64" >&2
        exit 64
        ;;
    esac
}
for architecture in "$@"; do
    target "$architecture" >/dev/null
done

scripts/venv.sh scripts/dist.txt
PATH="$PWD/target/venv/bin:$PATH"
for architecture in "$@"; do
    target=$(target "$architecture")
    rustup target add "$target"
    cargo zigbuild --locked --profile "$profile" --target "$target"
    cp "target/$target/$([ "$profile" = dev ] && echo debug || echo "$profile")/flyte-authz-proxy" \
        "$dist/flyte-authz-proxy-$version-linux-$architecture"
done
[ -n "$materials" ] || exit 0

if ! target/tools/bin/cargo-cyclonedx cyclonedx --version 2>/dev/null | grep -q ' 0\.5\.9$'; then
    cargo install --quiet --locked --root target/tools --version 0.5.9 cargo-cyclonedx
fi
# It writes beside Cargo.toml.
target/tools/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
    --override-filename flyte-authz-proxy.cdx
mv flyte-authz-proxy.cdx.json "$dist/flyte-authz-proxy-$version.cdx.json"
(cd "$dist" && sha256sum flyte-authz-proxy-"$version"* >SHA256SUMS)
echo "wrote to $dist:"
cat "$dist/SHA256SUMS"
