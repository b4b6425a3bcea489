"""What `scripts/dist.sh` makes: static binaries that run, a bill of materials that is complete, checksums that hold."""

import json
import platform
import re
import struct

import pytest
from manifests import ROOT, run

DIST = ROOT / "target/dist"
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
MACHINES = {"amd64": 62, "arm64": 183}
BUILT = [path for path in sorted(DIST.glob(f"flyte-authz-proxy-{VERSION}-linux-*"))]


def header(path):
    """The machine of an ELF file and whether it asks for a program interpreter, which a static one does not."""
    data = path.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", "64 bit, little endian"
    (machine,) = struct.unpack_from("<H", data, 18)
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    types = [struct.unpack_from("<I", data, offset + index * size)[0] for index in range(count)]
    return machine, 3 in types


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name)
def test_a_binary_is_static_and_for_its_machine(path):
    machine, interpreted = header(path)
    assert machine == MACHINES[path.name.rsplit("-")[-1]]
    assert not interpreted
    assert header(ROOT / "target/debug/flyte-authz-proxy")[1], "the one for development is not"


def test_the_binary_for_this_machine_runs():
    own = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    (path,) = [path for path in BUILT if path.name.endswith(own)]
    assert run(path, "--version").stdout == f"flyte-authz-proxy {VERSION}\n"
    tested = run(path, "test", ROOT / "policies")
    assert tested.returncode == 0, tested.stdout
    assert "demo" not in run(path, "--help").stdout, "the demonstration is not in what is released"


def test_the_bill_of_materials_names_what_is_linked_with_versions_and_licences():
    bill = json.loads((DIST / f"flyte-authz-proxy-{VERSION}.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["version"] == VERSION
    listed = {(component["name"], component["version"]): component for component in bill["components"]}
    tree = run("cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}")
    needed = {tuple(re.match(r"(\S+) v(\S+)", line).groups()) for line in tree.stdout.splitlines()}
    needed = {(name, version) for name, version in needed if name != "flyte-authz-proxy"}
    assert len(needed) > 100 and not needed - set(listed)
    for name in ("rustls", "aws-lc-rs", "hyper", "tokio"):
        (component,) = [listed[key] for key in listed if key[0] == name]
        assert component["purl"].startswith(f"pkg:cargo/{name}@") and component["licenses"]


def test_the_checksums_hold():
    checked = run("sha256sum", "--check", "SHA256SUMS", cwd=DIST)
    assert checked.returncode == 0, checked.stderr
    names = {line.split()[1] for line in (DIST / "SHA256SUMS").read_text().splitlines()}
    assert names >= {path.name for path in BUILT}
