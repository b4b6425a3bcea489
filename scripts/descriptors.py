"""Writes the descriptors of the installed flyteidl package, with all they depend on, as a FileDescriptorSet.

Usage: descriptors.py OUTPUT
"""

import importlib
import os
import pathlib
import sys

import flyteidl
from google.protobuf import descriptor_pb2, descriptor_pool

PACKAGES = ("admin", "core", "event", "service")


def load_modules() -> list[str]:
    """Imports every generated module, which registers its file, and returns the names of the files."""
    root = pathlib.Path(flyteidl.__file__).parent
    names = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*_pb2.py")):
            module = ".".join(("flyteidl", *path.relative_to(root).with_suffix("").parts))
            names.append(importlib.import_module(module).DESCRIPTOR.name)
    return names


def write_set(names: list[str], output: pathlib.Path) -> None:
    """Writes the files in order of name, each after what it imports, in the very bytes the generator wrote."""
    pool = descriptor_pool.Default()
    done: set[str] = set()
    encoded = bytearray()

    def add(name: str) -> None:
        if name in done:
            return
        done.add(name)
        file = pool.FindFileByName(name)
        for dependency in sorted(dependency.name for dependency in file.dependencies):
            add(dependency)
        # One file at a time: options with extensions this process does not know survive as they are.
        encoded.extend(b"\x0a" + varint(len(file.serialized_pb)) + file.serialized_pb)

    for name in sorted(names):
        add(name)
    descriptor_pb2.FileDescriptorSet.FromString(bytes(encoded))
    partial = output.with_suffix(".partial")
    partial.write_bytes(encoded)
    os.replace(partial, output)


def varint(number: int) -> bytes:
    """The number in base 128, least significant group first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


if __name__ == "__main__":
    write_set(load_modules(), pathlib.Path(sys.argv[1]))
