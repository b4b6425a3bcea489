"""TLS handshakes written by hand, as far as the server's first answer: what no library would send has to be answered well, too.

Numbers are those of the TLS registries (RFC 8446, section 11).
"""

import os
import socket

SECONDS = 5
TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
X25519, P256 = 0x001D, 0x0017
SIGNATURES = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0807]
HELLO_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
ALERTS = {
    10: "unexpected_message",
    40: "handshake_failure",
    47: "illegal_parameter",
    50: "decode_error",
    70: "protocol_version",
}
ALERTS |= {86: "inappropriate_fallback", 109: "missing_extension", 120: "no_application_protocol"}


def sized(width, data):
    """Data with its length before it."""
    return len(data).to_bytes(width, "big") + data


def numbers(values):
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(number, data=b""):
    return number.to_bytes(2, "big") + sized(2, data)


def server_name(name):
    return extension(0, sized(2, b"\0" + sized(2, name)))


def hello(
    suites,
    version=TLS12,
    groups=(X25519, P256),
    signatures=SIGNATURES,
    versions=(),
    compression=b"\0",
    share=False,
    more=b"",
):
    """A ClientHello. With `versions` and without `share` it offers no key, so that TLS 1.3 answers which group it wants."""
    extensions = (
        extension(10, sized(2, numbers(groups))) + extension(13, sized(2, numbers(signatures))) + extension(11, b"\1\0")
    )
    if versions:
        key = numbers([X25519]) + sized(2, os.urandom(32)) if share else b""
        extensions += extension(43, sized(1, numbers(versions))) + extension(51, sized(2, key))
    body = (
        version.to_bytes(2, "big") + os.urandom(32) + sized(1, b"") + sized(2, numbers(suites)) + sized(1, compression)
    )
    return b"\1" + sized(3, body + sized(2, extensions + more))


def records(message, size=16384, kind=22):
    """The records of a message, each with so many bytes of it at most."""
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(bytes([kind, 3, 1]) + sized(2, part) for part in parts)


class Answer:
    """What a server said first: `alert` by its name, or of its hello `version`, `suite`, `compression`, `random`, `extensions`."""

    def __init__(self, alert=None):
        self.alert = alert
        self.version = self.suite = self.compression = None
        self.random = b""
        self.extensions = {}

    def __str__(self):
        return self.alert or f"TLS {self.version:#06x}, suite {self.suite:#06x}"


def ask(port, message, *then, step=None):
    """Sends records, in pieces of `step` bytes, and reads the answer. What is in `then` is sent afterwards, and the answer is to that."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(message), step or len(message)):
                connection.sendall(message[at : at + (step or len(message))])
            answer = read(connection)
            for more in then:
                connection.sendall(more)
                while (answer := read(connection)).alert is None:
                    pass
        except (ConnectionError, TimeoutError) as error:
            return Answer(type(error).__name__)
        return answer


def read(connection):
    """The server's next record, taken for the beginning of its handshake; further messages of it are told by `suite` None."""
    head = exactly(connection, 5)
    if len(head) < 5:
        return Answer("closed")
    data = exactly(connection, int.from_bytes(head[3:], "big"))
    if head[0] == 21:
        return Answer(ALERTS.get(data[1], f"alert {data[1]}"))
    answer = Answer()
    if head[0] != 22 or data[0] != 2:
        return answer
    answer.version = int.from_bytes(data[4:6], "big")
    answer.random = data[6:38]
    at = 39 + data[38]
    answer.suite = int.from_bytes(data[at : at + 2], "big")
    answer.compression = data[at + 2]
    at, end = at + 5, 4 + int.from_bytes(data[1:4], "big")
    while at < end:
        number, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        answer.extensions[number] = data[at + 4 : at + 4 + length]
        at += 4 + length
    if 43 in answer.extensions:
        answer.version = int.from_bytes(answer.extensions[43], "big")
    return answer


def exactly(connection, count):
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


def accepted(offer, among=range(0x10000), chunk=4096):
    """Which of these numbers are chosen when they are offered: `offer` takes some and gives the one chosen, or none."""
    found = set()
    for at in range(0, len(among), chunk):
        left = set(among[at : at + chunk])
        while left and (chosen := offer(sorted(left))) is not None:
            found.add(chosen)
            left.discard(chosen)
    return found
