"""Prints messages and enums of the descriptors in the form of the catalogue, to be pasted there.

Usage: shapes.py DESCRIPTORS MESSAGE...
"""

import pathlib
import sys

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

SCALARS = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


def load(path: pathlib.Path) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file:
        pool.Add(file)
    return pool


def type_of(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"enum {field.enum_type.full_name}"
    if field.message_type is not None:
        return field.message_type.full_name
    return SCALARS[field.type]


def field_line(field: FieldDescriptor) -> str:
    entry = field.message_type if field.message_type is not None and field.message_type.GetOptions().map_entry else None
    if entry is not None:
        words = ["map", type_of(entry.fields_by_name["key"]), type_of(entry.fields_by_name["value"])]
    elif field.is_repeated:
        words = ["repeated", type_of(field)]
    else:
        words = [type_of(field)]
    oneof = field.containing_oneof
    if oneof is not None and not (len(oneof.fields) == 1 and oneof.name == f"_{field.name}"):
        words += ["in", oneof.name]
    return f"    {field.name}: {field.number} {' '.join(words)}"


def main(path: str, names: list[str]) -> None:
    pool = load(pathlib.Path(path))
    messages = [pool.FindMessageTypeByName(name) for name in sorted(set(names))]
    enums = {}
    print("messages:")
    for message in messages:
        print(f"  {message.full_name}:" + ("" if message.fields else " {}"))
        for field in sorted(message.fields, key=lambda field: field.number):
            print(field_line(field))
            if field.enum_type is not None:
                enums[field.enum_type.full_name] = field.enum_type
    print("\nenums:")
    for name, enum in sorted(enums.items()):
        print(f"  {name}:")
        for value in enum.values:
            print(f"    {value.name}: {value.number}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
