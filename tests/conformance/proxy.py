"""Starts the proxy with a configuration of the tests' own, and makes certificates for it."""

import contextlib
import json
import pathlib
import select
import subprocess
import time

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / "target/debug/flyte-authz-proxy"
TOOLS = ROOT / "target/tools/conformance"
START_SECONDS = 60
END_SECONDS = 15
FAILED = "the proxy itself failed"

# Whoever comes is let in: the suites have no tokens, and are about protocols.
ANYONE = {"principal": {"subject": "conformance"}}


class Proxy:
    """A running proxy; `ports` by the names of its listeners."""

    def __init__(self, process, ports):
        self.process = process
        self.ports = ports


@contextlib.contextmanager
def running(folder, listeners, grpc, http, **more):
    """Runs the proxy in front of two URLs. `listeners`: what is special about each, by name."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text("version: 1\nrules: []\n")
    config = {
        "version": 1,
        "listeners": [
            {"name": name, "address": "127.0.0.1:0", "identity": ANYONE} | special
            for name, special in listeners.items()
        ],
        "admin": {"address": "127.0.0.1:0"},
        "upstream": {"grpc": grpc, "http": http},
        "issuers": [],
        "policy": {"path": "policy.yaml"},
        "catalog": {"overlays": [str(HERE / "overlay.yaml")]},
        "audit": {"output": str(folder / "audit.jsonl")},
        "shutdown": {"delay": "0s", "drain": "1s"},
        "workers": 1,
    } | more
    # JSON is YAML.
    (folder / "config.yaml").write_text(json.dumps(config))
    log = folder / "log.jsonl"
    command = [PROGRAM, "serve", "--config", folder / "config.yaml"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield Proxy(process, listening(process, log, set(listeners)))
        finally:
            ended(process)
            unharmed(process, log, folder / "audit.jsonl")


def unharmed(process, log, audit):
    """Whatever a suite does to it, the proxy must neither panic nor find a fault in itself."""
    if process.returncode or "panicked" in log.read_text() or '"internal"' in audit.read_text():
        raise SystemExit(f"{FAILED}; its log:\n{log.read_text()}")


def listening(process, log, names):
    """Waits until every listener does, and gives their ports."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = [
            json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")
        ]
        said = [line.get("fields", line) for line in lines]
        ports = {
            line["listener"]: int(line["address"].rpartition(":")[2])
            for line in said
            if line.get("message") == "listening"
        }
        if set(ports) == names:
            return ports
        time.sleep(0.02)
    raise SystemExit(f"the proxy did not start; its log:\n{log.read_text()}")


@contextlib.contextmanager
def program(command, first=None):
    """Runs a program that prints something once it serves and stays until its standard input ends or it is told to end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            if first is not None:
                process.stdin.write(first)
                process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            if not ready:
                raise SystemExit(f"{command[0]} printed nothing within {START_SECONDS} s")
            yield process
        finally:
            ended(process)


def ended(process):
    """Ends a program and waits for it."""
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


class Authority:
    """A root, an intermediate and what they sign, made by openssl in a folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = self.folder / "root.pem"
        self._make("root", "ec", None, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign")
        self._make(
            "between", "ec", "root", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign"
        )

    def leaf(self, name, kind, names):
        """The listener setting for a certificate (`ec` or `rsa`) with these names, its chain complete but for the root."""
        alternatives = ",".join(f"IP:{one}" if one[0].isdigit() else f"DNS:{one}" for one in names)
        extensions = f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName={alternatives}"
        own = self._make(name, kind, "between", extensions)
        own.write_text(own.read_text() + (self.folder / "between.pem").read_text())
        return {"certificate": str(own), "key": str(own.with_suffix(".key"))}

    def _make(self, name, kind, signer, extensions):
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, described = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        described.write_text(extensions + "\n")
        parameters = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl(
            "req", "-new", "-nodes", "-newkey", *parameters, "-subj", f"/CN={name}", "-keyout", key, "-out", request
        )
        signing = (
            ["-signkey", key]
            if signer is None
            else ["-CA", self.folder / f"{signer}.pem", "-CAkey", self.folder / f"{signer}.key", "-CAcreateserial"]
        )
        openssl("x509", "-req", "-in", request, "-days", "2", "-extfile", described, "-out", certificate, *signing)
        return certificate


def openssl(*arguments):
    """Runs openssl, which is silent when all is well."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"openssl {arguments[0]} failed:\n{done.stderr}")
