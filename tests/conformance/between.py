"""The proxy as the Connect conformance runner sees it: `server` is a server under test, which is the proxy in front of one of
the suite's own servers; `client` is a client under test, which is one of the suite's own clients behind the proxy.

The runner talks to both over standard input and output, in messages with their length before them; what is needed of
those messages is read and written here (`server_compat.proto`, `client_compat.proto`).
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import proxy

# What the runner says of the server, and the limit that its tests of message sizes count on.
LIMITS = {"body_timeout": "10s"}


def fields(message):
    """The fields of a protobuf message: number and value, which is a number or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            at += value
            value = message[at - value : at]
        elif tag & 7:
            raise ValueError(f"wire type {tag & 7} is in none of these messages")
        yield tag >> 3, value


def field(number, value):
    """One field of a protobuf message."""

    def varint(value):
        return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def receive(stream):
    """The next message of the runner; none at its end."""
    length = stream.read(4)
    return stream.read(int.from_bytes(length, "big")) if len(length) == 4 else None


def framed(message):
    return len(message).to_bytes(4, "big") + message


def listener(folder, certificate, key):
    """A TLS listener with this certificate."""
    (folder / "tls.crt").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    return {"tls": {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}}


def server(folder, suite_server):
    """Starts the suite's server as the runner wants it, in plain text, and the proxy in front of it."""
    runner = os.getppid()
    asked = receive(sys.stdin.buffer)
    wanted = dict(fields(asked))
    use_tls, limit = wanted.get(4), wanted.get(6, 0)
    certificate = b""
    special = {}
    if use_tls:
        credentials = dict(fields(wanted[7]))
        certificate = credentials[1]
        special = listener(folder, certificate, credentials[2])
    plain = b"".join(field(number, value) for number, value in fields(asked) if number not in (4, 7))
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(proxy.program([proxy.TOOLS / suite_server], framed(plain)))
        told = dict(fields(receive(behind.stdout)))
        url = f"http://{told[1].decode()}:{told[2]}"
        limits = LIMITS | {"decompressed_bytes": limit, "body_bytes": limit}
        running = stack.enter_context(proxy.running(folder, {"suite": special}, url, url, limits=limits))
        answer = field(1, "127.0.0.1") + field(2, running.ports["suite"])
        sys.stdout.buffer.write(framed(answer + (field(3, certificate) if certificate else b"")))
        sys.stdout.buffer.flush()
        # The runner ends it, or has ended itself.
        while os.getppid() == runner and running.process.poll() is None:
            time.sleep(0.2)


def client(folder, suite_client):
    """Hands each request of the runner to the suite's client, with the address of a proxy in front of the runner's server."""
    with contextlib.ExitStack() as stack:
        authority = proxy.Authority(folder)
        leaf = authority.leaf("suite", "ec", ["localhost", "127.0.0.1"])
        # The runner reads what it prints.
        behind = stack.enter_context(subprocess.Popen([proxy.TOOLS / suite_client, "-p", "4"], stdin=subprocess.PIPE))
        proxies = {}
        while (request := receive(sys.stdin.buffer)) is not None:
            wanted = dict(fields(request))
            # Their other server asks for no labels, and resets streams in its own way, which is to be seen.
            shim = "(grpc server impl)" not in wanted[1].decode()
            server = (wanted[6].decode(), wanted[7], wanted.get(8, b""), shim)
            if server not in proxies:
                proxies[server] = start(stack, folder / str(len(proxies)), server, leaf)
            told = [(number, value) for number, value in fields(request) if number not in (6, 7, 8)]
            told = [pair for pair in told if pair[0] != 15 or not label(pair[1])]
            told += [(6, "127.0.0.1"), (7, proxies[server]), (15, baggage(request))]
            if server[2]:
                told.append((8, authority.root.read_bytes()))
            behind.stdin.write(framed(b"".join(field(number, value) for number, value in told)))
            behind.stdin.flush()
        behind.stdin.close()
        behind.wait()


def start(stack, folder, server, leaf):
    """Starts a proxy in front of a server of the runner, and between the two what labels calls; gives the proxy's port."""
    folder.mkdir()
    host, port, certificate, labelled = server
    url = f"http://{host}:{port}"
    if labelled:
        command = [proxy.TOOLS / "label", f"{host}:{port}"]
        if certificate:
            (folder / "server.pem").write_bytes(certificate)
            command.append(folder / "server.pem")
        shim = stack.enter_context(proxy.program(command))
        url = f"http://127.0.0.1:{int(shim.stdout.readline())}"
    special = {"tls": leaf} if certificate else {}
    return stack.enter_context(proxy.running(folder, {"suite": special}, url, url)).ports["suite"]


def label(header):
    """Name and value of a header by which the runner tells its server which test a call belongs to; otherwise nothing."""
    name, value = (dict(fields(header)).get(number, b"").decode() for number in (1, 2))
    return (name, value) if name == "x-test-case-name" or name.startswith("x-expect-") else None


def baggage(request):
    """A header with all of those, in a form that travels."""
    labels = dict(filter(None, (label(value) for number, value in fields(request) if number == 15)))
    # Requests arrive decompressed.
    labels |= {"x-expect-compression": "1"} if "x-expect-compression" in labels else {}
    text = base64.urlsafe_b64encode(json.dumps(labels).encode()).decode().rstrip("=")
    return field(1, "baggage") + field(2, f"conformance={text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("program", help="of the suite")
    arguments = parser.parse_args()
    # The runner ends it so, and what it has started is to end as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        role = server if arguments.role == "server" else client
        role(pathlib.Path(folder), arguments.program)


if __name__ == "__main__":
    main()
