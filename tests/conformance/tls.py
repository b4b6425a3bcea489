"""Checks what the TLS listeners accept and refuse, from outside, and prints each check with its result."""

import socket
import ssl
import subprocess
import time

import hello
import proxy
from hello import TLS10, TLS11, TLS12, TLS13, ask, extension, records

ECDSA = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
}
RSA = {
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
}
THIRTEEN = {0x1301: "AES_128_GCM_SHA256", 0x1302: "AES_256_GCM_SHA384", 0x1303: "CHACHA20_POLY1305_SHA256"}
GROUPS = {0x001D: "X25519", 0x0017: "P-256", 0x0018: "P-384", 0x11EC: "X25519MLKEM768"}
RESUMED = 100
PREFACE = "2s"
CHECKS = []


def check(title, excepted=None):
    """Registers a check: a function of the surroundings that gives what it found, and raises AssertionError if that is wrong.
    `excepted` says why it is known to be; then it has to."""

    def register(function):
        CHECKS.append((title, function, excepted))
        return function

    return register


class Surroundings:
    """The ports of the listeners, the authority that signed their certificates, and their log."""

    def __init__(self, ports, authority):
        self.ports = ports
        self.authority = authority

    def context(self, version=None, protocols=("http/1.1",)):
        context = ssl.create_default_context(cafile=self.authority.root)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def connect(self, context, listener="ecdsa", name="localhost", session=None):
        plain = socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=hello.SECONDS)
        context.check_hostname = context.check_hostname and name is not None
        return context.wrap_socket(plain, server_hostname=name, session=session)

    def request(self, connection):
        """One request over HTTP/1.1, which is refused: the status."""
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        answer = b""
        while more := connection.recv(4096):
            answer += more
        return int(answer.split()[1])

    def openssl(self, *arguments, typed=(), listener="ecdsa"):
        """What `openssl s_client` prints when these lines are typed, with time between them."""
        command = [
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{self.ports[listener]}",
            "-CAfile",
            self.authority.root,
            *arguments,
        ]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as client:
            for line in typed:
                time.sleep(0.5)
                client.stdin.write(line)
                client.stdin.flush()
            time.sleep(0.5)
            return client.communicate(timeout=hello.SECONDS)[0].decode(errors="replace")


def same(found, expected):
    """Two sets are one; gives its names."""
    assert found == set(expected), f"accepts {sorted(map(hex, found))}, expected {sorted(map(hex, expected))}"
    return ", ".join(expected[number] for number in sorted(found))


def refused(answer, *alerts):
    assert answer.alert in alerts, f"answered with {answer}, expected {' or '.join(alerts)}"
    return answer.alert


@check("SSL 2.0 is refused")
def _(at):
    old = b"\1\0\2\0\3\0\0\0\x10\1\0\x80" + bytes(16)
    return refused(
        ask(at.ports["ecdsa"], (0x8000 | len(old)).to_bytes(2, "big") + old),
        "closed",
        "decode_error",
        "protocol_version",
        "unexpected_message",
    )


for number, name in ((0x0300, "SSL 3.0"), (TLS10, "TLS 1.0"), (TLS11, "TLS 1.1")):

    @check(f"{name} is refused")
    def _(at, number=number):
        return refused(
            ask(at.ports["ecdsa"], records(hello.hello([*ECDSA, 0xC009, 0xC00A, 0x002F], number))), "protocol_version"
        )


for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):

    @check(f"{name} is accepted")
    def _(at, version=version, name=name):
        with at.connect(at.context(version)) as connection:
            assert connection.version() == name
            assert at.request(connection) == 404
            return connection.cipher()[0]


@check("minimum_version 1.3 refuses TLS 1.2")
def _(at):
    with at.connect(at.context(), "newest") as connection:
        assert connection.version() == "TLSv1.3"
    return refused(ask(at.ports["newest"], records(hello.hello(ECDSA))), "protocol_version")


def suites(port, versions=()):
    """Which of all numbers there are is a cipher suite that is accepted. Signals that are no suites are left out."""
    offered = [number for number in range(0x10000) if number not in (0x00FF, 0x5600)]
    return hello.accepted(lambda some: ask(port, records(hello.hello(some, versions=versions))).suite, offered)


@check("cipher suites of TLS 1.2, ECDSA, of all 65536")
def _(at):
    return same(suites(at.ports["ecdsa"]), ECDSA)


@check("cipher suites of TLS 1.2, RSA, of all 65536")
def _(at):
    return same(suites(at.ports["rsa"]), RSA)


@check("cipher suites of TLS 1.3, of all 65536")
def _(at):
    return same(suites(at.ports["ecdsa"], [TLS13]), THIRTEEN)


@check("groups for key exchange, of all 65536")
def _(at):
    def chosen(some):
        answer = ask(at.ports["ecdsa"], records(hello.hello(THIRTEEN, groups=some, versions=[TLS13])))
        assert answer.alert is not None or answer.random == hello.HELLO_RETRY
        return int.from_bytes(answer.extensions[51], "big") if 51 in answer.extensions else None

    return same(hello.accepted(chosen), GROUPS)


@check("signatures with SHA-1 or MD5 only are refused")
def _(at):
    weak = [0x0101, 0x0201, 0x0202, 0x0203]
    for listener, offered in (("ecdsa", ECDSA), ("rsa", RSA)):
        refused(ask(at.ports[listener], records(hello.hello(offered, signatures=weak))), "handshake_failure")
    # In TLS 1.3 it is noticed after the ServerHello, and said under encryption.
    message = hello.hello(THIRTEEN, versions=[TLS13], signatures=weak, share=True)
    refused(ask(at.ports["rsa"], records(message), b""), "closed")
    return "handshake_failure"


@check("compression is not used")
def _(at):
    answer = ask(at.ports["ecdsa"], records(hello.hello(ECDSA, compression=b"\1\0")))
    assert answer.compression == 0, answer
    return "null chosen; only deflate: " + refused(
        ask(at.ports["ecdsa"], records(hello.hello(ECDSA, compression=b"\1"))), "illegal_parameter", "handshake_failure"
    )


@check("renegotiation by the client is refused")
def _(at):
    answer = ask(at.ports["ecdsa"], records(hello.hello([*ECDSA, 0x00FF])))
    assert 0xFF01 in answer.extensions, "RFC 5746 is not supported"
    printed = at.openssl("-tls1_2", "-msg", typed=(b"R\n",))
    assert "RENEGOTIATING" in printed, printed
    # The client waits for an answer until the connection is closed, for it sends nothing else.
    assert "ServerHello" not in printed[printed.index("RENEGOTIATING") :], printed
    return "no second handshake; RFC 5746 is announced"


for version, name in ((ssl.TLSVersion.TLSv1_2, "TLS 1.2"), (ssl.TLSVersion.TLSv1_3, "TLS 1.3")):

    @check(f"sessions are resumed, {name}")
    def _(at, version=version):
        context, session, resumed = at.context(version), None, 0
        for _ in range(RESUMED + 1):
            with at.connect(context, session=session) as connection:
                resumed += connection.session_reused
                at.request(connection)
                session = connection.session
        assert resumed >= RESUMED * 0.95, f"{resumed} of {RESUMED}"
        return f"{resumed} of {RESUMED}"


@check("a ticket of one listener is worth nothing at another")
def _(at):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = at.context(version)
        with at.connect(context) as connection:
            at.request(connection)
            session = connection.session
        with at.connect(context, "rsa", session=session) as connection:
            assert not connection.session_reused
            assert at.request(connection) == 404
    return "full handshake"


@check("0-RTT is not offered")
def _(at):
    ticket, early = at.authority.folder / "ticket", at.authority.folder / "early"
    early.write_bytes(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n")
    printed = at.openssl(
        "-tls1_3",
        "-sess_out",
        ticket,
        typed=(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",),
    )
    assert "Max Early Data: 0" in printed, printed
    printed = at.openssl("-tls1_3", "-sess_in", ticket, "-early_data", early)
    assert "Early data was not sent" in printed or "Early data was rejected" in printed, printed
    # A client that sends it all the same is not listened to.
    answer = ask(at.ports["ecdsa"], records(hello.hello(THIRTEEN, versions=[TLS13], more=extension(42))))
    assert 42 not in answer.extensions, answer
    return "max_early_data 0"


@check("ALPN: h2 before http/1.1, and only those")
def _(at):
    for offered, chosen in (
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        ([], None),
    ):
        with at.connect(at.context(protocols=offered)) as connection:
            assert connection.selected_alpn_protocol() == chosen, f"{offered}: {connection.selected_alpn_protocol()}"
    for unknown in (b"spdy/3", b"h3", b"h2c", b"http/1.0"):
        offer = extension(16, hello.sized(2, hello.sized(1, unknown)))
        refused(ask(at.ports["ecdsa"], records(hello.hello(ECDSA, more=offer))), "no_application_protocol")
    return "others: no_application_protocol"


@check("ALPN: what was negotiated has to be spoken")
def _(at):
    with at.connect(at.context(protocols=["h2"])) as connection:
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(1) == b""
    return "closed"


@check("the chain is complete: the root alone is enough")
def _(at):
    for listener in ("ecdsa", "rsa"):
        with at.connect(at.context(), listener) as connection:
            assert ("DNS", "localhost") in connection.getpeercert()["subjectAltName"]
    printed = at.openssl("-showcerts", "-verify_return_error")
    assert printed.count("BEGIN CERTIFICATE") == 2 and "Verify return code: 0" in printed, printed
    return "leaf and intermediate, no root"


@check("SNI: the certificate by name, otherwise the default one")
def _(at):
    context = at.context()
    context.check_hostname = False
    for name, shown in (
        ("other.example", "other.example"),
        ("OTHER.example", "other.example"),
        ("localhost", "localhost"),
        ("unknown.example", "localhost"),
        (None, "localhost"),
    ):
        with at.connect(context, "names", name) as connection:
            names = [value for _, value in connection.getpeercert()["subjectAltName"]]
            assert shown in names, f"{name}: {names}"
    return "unknown and none: the default"


@check("SNI that is no name does no harm")
def _(at):
    found = set()
    for name in (b"", b"127.0.0.1", b"\xff" * 8, b"a" * 255, b"x\0y", b"..", b"a.example."):
        answer = ask(at.ports["ecdsa"], records(hello.hello(ECDSA, more=hello.server_name(name))))
        assert answer.suite in ECDSA or answer.alert in ("illegal_parameter", "decode_error"), f"{name}: {answer}"
        found.add(answer.alert or "accepted")
    return ", ".join(sorted(found))


@check("heartbeat is not spoken")
def _(at):
    message = records(hello.hello(ECDSA, more=extension(15, b"\1")))
    answer = ask(at.ports["ecdsa"], message)
    assert 15 not in answer.extensions, "it is announced"
    # Heartbleed: sixteen thousand bytes are asked for, none sent.
    return refused(
        ask(at.ports["ecdsa"], message, records(b"\1\x40\0", kind=24)),
        "unexpected_message",
        "decode_error",
        "closed",
        "ConnectionResetError",
    )


@check("a downgrade to TLS 1.2 leaves its mark (RFC 8446, 4.1.3)")
def _(at):
    assert ask(at.ports["ecdsa"], records(hello.hello(ECDSA))).random.endswith(b"DOWNGRD\1")
    return "DOWNGRD 01"


@check(
    "a fallback that says so is refused (RFC 7507)",
    excepted="rustls ignores TLS_FALLBACK_SCSV: clients of TLS 1.3 look for the mark, and below TLS 1.2 nothing is accepted",
)
def _(at):
    return refused(ask(at.ports["ecdsa"], records(hello.hello([*ECDSA, 0x5600]))), "inappropriate_fallback")


@check("extended master secret (RFC 7627)")
def _(at):
    assert 23 in ask(at.ports["ecdsa"], records(hello.hello(ECDSA, more=extension(23)))).extensions
    return "announced"


@check("ChangeCipherSpec before its time is refused (CVE-2014-0224)")
def _(at):
    return refused(ask(at.ports["ecdsa"], records(hello.hello(ECDSA)), records(b"\1", kind=20)), "unexpected_message")


@check("a ClientHello of a version to come means TLS 1.2")
def _(at):
    for version in (0x0304, 0x0305, 0x03FF):
        assert ask(at.ports["ecdsa"], records(hello.hello(ECDSA, version))).version == TLS12
    return "TLS 1.2"


@check("unknown suites, groups, versions and extensions are passed over (RFC 8701)")
def _(at):
    grease = 0x6A6A
    message = hello.hello(
        [grease, *THIRTEEN],
        groups=[grease, hello.X25519],
        signatures=[grease, *hello.SIGNATURES],
        versions=[grease, TLS13],
        more=extension(grease, b"\0"),
    )
    answer = ask(at.ports["ecdsa"], records(message))
    assert answer.version == TLS13 and answer.suite in THIRTEEN, answer
    return str(answer)


@check("a ClientHello in small pieces is accepted")
def _(at):
    message = hello.hello(ECDSA)
    assert ask(at.ports["ecdsa"], records(message), step=1).suite in ECDSA
    assert ask(at.ports["ecdsa"], records(message, 16)).suite in ECDSA
    return "bytes of TCP, records of 16"


@check("plain HTTP and garbage on a TLS port get no HTTP")
def _(at):
    for sent in (
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\xff" * 512,
        records(b"\0" * 64),
    ):
        assert ask(at.ports["ecdsa"], sent).alert is not None
    return "alert or closed"


@check("empty and oversized records are refused")
def _(at):
    oversized = b"\x16\3\1" + (0x4801).to_bytes(2, "big") + b"\1" * 0x4801
    found = refused(
        ask(at.ports["ecdsa"], oversized),
        "closed",
        "decode_error",
        "alert 22",
        "ConnectionResetError",
        "BrokenPipeError",
    )
    refused(
        ask(at.ports["ecdsa"], b"\x16\3\1\0\0" * 64),
        "closed",
        "decode_error",
        "unexpected_message",
        "ConnectionResetError",
    )
    return found


@check("after all this it serves")
def _(at):
    for listener in ("ecdsa", "rsa", "names", "newest"):
        with at.connect(at.context(), listener) as connection:
            assert at.request(connection) == 404
    return "404, as it should"


def run(folder):
    """Runs every check; gives how many passed, how many are excepted, and what is wrong."""
    authority = proxy.Authority(folder / "authority")
    own = ["localhost", "127.0.0.1"]
    leaf, other = authority.leaf("ecdsa", "ec", own), authority.leaf("other", "ec", ["other.example"])
    listeners = {
        "ecdsa": {"tls": leaf},
        "rsa": {"tls": authority.leaf("rsa", "rsa", own)},
        "names": {"tls": leaf | {"certificates": [other]}},
        "newest": {"tls": leaf | {"minimum_version": "1.3"}},
    }
    wrong, excepted = [], 0
    # No check gets as far as the control plane.
    nowhere = "http://127.0.0.1:9"
    with proxy.running(folder, listeners, nowhere, nowhere, limits={"preface": PREFACE}) as running:
        surroundings = Surroundings(running.ports, authority)
        for title, function, reason in CHECKS:
            try:
                result, fails = function(surroundings), False
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                result, fails = f"{type(error).__name__}: {error}", True
            if fails and reason:
                excepted += 1
                print(f"  {title:<76} except. {reason}", flush=True)
                continue
            if reason:
                result, fails = f"passes, though it is excepted: {result}", True
            print(f"  {title:<76} {'WRONG' if fails else 'ok':<7} {result}", flush=True)
            if fails:
                wrong.append(f"{title}: {result}")
    return len(CHECKS) - len(wrong) - excepted, excepted, wrong
