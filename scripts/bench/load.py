"""Calls: single ones with curl, whose answers are checked, and many with h2load."""

import dataclasses
import json
import re
import subprocess
import time
import urllib.request

import peers
from common import (
    CONNECTIONS,
    LIST_REST,
    LIST_RPC,
    LOAD_CORE,
    PROGRAMS,
    REST_GET,
    REST_POST,
    RPC,
    STREAMS,
    WORK,
    Wrong,
)


@dataclasses.dataclass(frozen=True)
class Workload:
    """One kind of request: gRPC over HTTP/2 or REST over HTTP/1.1."""

    name: str
    grpc: bool
    path: str
    # The file that is sent, if any.
    body: str | None = None


GRPC = Workload("gRPC 1 KiB", True, RPC, "allowed.bin")
GRPC_LARGE = Workload("gRPC 100 KiB", True, RPC, "large.bin")
GRPC_HUGE = Workload("gRPC 1 MiB", True, RPC, "huge.bin")
GRPC_LIST = Workload("gRPC list", True, LIST_RPC, "empty.bin")
GET = Workload("REST GET", False, REST_GET % "ml")
POST = Workload("REST POST", False, REST_POST, "allowed.json")
REST_LIST = Workload("REST list", False, LIST_REST)

GRPC_REFUSED = Workload("gRPC refused", True, RPC, "refused.bin")
GET_REFUSED = Workload("GET refused", False, REST_GET % "fraud")
POST_REFUSED = Workload("POST refused", False, REST_POST, "refused.json")


# What is written while calls are made. Not beside the proxy's files: it watches their directory, and would look up at each line.
SCRATCH = WORK / "load"


class Load:
    """Makes calls to the peer that is running."""

    def __init__(self, ports):
        self.ports = ports
        SCRATCH.mkdir(exist_ok=True)
        self.token = (WORK / "token").read_text()

    def answered(self):
        """How many requests have reached the upstream so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/count", timeout=5) as answer:
            return int(answer.read())

    def url(self, peer, workload):
        if peer.command:
            return f"https://localhost:{self.ports['proxy']}{workload.path}"
        port = self.ports["grpc" if workload.grpc else "http"]
        return f"http://127.0.0.1:{port}{workload.path}"

    def headers(self, workload):
        yield f"authorization: Bearer {self.token}"
        if workload.grpc:
            yield from ("content-type: application/grpc", "te: trailers", "user-agent: grpc-python/1.66.0 grpc-c/43.0.0")
        else:
            yield "accept: application/json"
            if workload.body:
                yield "content-type: application/json"

    # --- Single calls ---

    def call(self, peer, workload):
        """One call with curl: the head of the answer with its trailers, and the body."""
        command = ["curl", "-sS", "--max-time", "5", "--cacert", WORK / "ca.pem", "-D", SCRATCH / "head"]
        for header in self.headers(workload):
            command += ["-H", header]
        if workload.body:
            command += ["--data-binary", f"@{WORK / workload.body}"]
        protocol = ("--http2" if peer.command else "--http2-prior-knowledge") if workload.grpc else "--http1.1"
        (SCRATCH / "head").write_text("")
        command += [protocol, self.url(peer, workload)]
        run = subprocess.run(command, check=False, capture_output=True, timeout=10)
        return (SCRATCH / "head").read_text().lower(), run.stdout

    def ready(self, peer, running):
        """Waits until an allowed call succeeds: key sets may be read after the first connection is accepted."""
        deadline = time.monotonic() + 20
        while "grpc-status: 0" not in (answer := self.call(peer, GRPC))[0]:
            if time.monotonic() > deadline:
                raise Wrong(f"{peer.name} does not become ready: {answer} {running.tail()}")
            time.sleep(0.05)

    def check(self, peer):
        """Makes an allowed and, of peers that judge, a refused call of each kind."""
        posts = peer.posts
        before = self.answered()
        allowed = [self.call(peer, workload)[0] for workload in (GRPC, GET, *([POST] if posts else []))]
        if (
            "grpc-status: 0" not in allowed[0]
            or any(" 200" not in answer for answer in allowed)
            or self.answered() != before + len(allowed)
        ):
            raise Wrong(f"{peer.name}: an allowed call is not answered by the upstream: {allowed}")
        if not peer.judges:
            return
        refused = [
            self.call(peer, workload)[0] for workload in (GRPC_REFUSED, GET_REFUSED, *([POST_REFUSED] if posts else []))
        ]
        if (
            "grpc-status: 7" not in refused[0]
            or any(" 403" not in answer for answer in refused[1:])
            or self.answered() != before + len(allowed)
        ):
            raise Wrong(f"{peer.name}: a call that is not allowed is not refused: {refused}")

    def check_lists(self, peer):
        """Lists the projects: all of them, or every other one from a peer that filters."""
        for workload in (GRPC_LIST, REST_LIST):
            _, answer = self.call(peer, workload)
            seen = (len(set(re.findall(rb"own-\d{4}", answer))), len(set(re.findall(rb"other-\d{4}", answer))))
            if seen != (500, 0 if peer.filters else 500):
                raise Wrong(f"{peer.name}: of the projects {seen} are listed")

    # --- Many calls ---

    def many(self, peer, workload, requests, connections=CONNECTIONS, rate=None, streams=STREAMS):
        """Runs h2load; seconds that it took and each request's time in microseconds, in ascending order."""
        log = SCRATCH / "h2load.log"
        log.unlink(missing_ok=True)
        command = ["taskset", "-c", LOAD_CORE, "h2load", "-c", connections, "-n", requests, f"--log-file={log}"]
        if rate:
            command += [f"--rps={rate / connections:g}"]
        for header in self.headers(workload):
            command += ["-H", header]
        if workload.body:
            command += ["-d", WORK / workload.body]
        command += ["-m", streams] if workload.grpc else ["--h1"]
        command += [self.url(peer, workload)]
        before = self.answered()
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=180)
        finished = re.search(r"finished in ([\d.]+)(m?s)", run.stdout)
        if f"{requests} succeeded, 0 failed" not in run.stdout or self.answered() != before + requests or not finished:
            raise Wrong(f"{peer.name}, {workload.name}: not every request was answered: {run.stdout}{run.stderr}")
        seconds = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
        return seconds, sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())

    def client(self, *arguments):
        """Runs examples/bench_client against the peer and returns what it says."""
        mode, *rest = (str(argument) for argument in arguments)
        address = f"127.0.0.1:{self.ports['proxy']}"
        command = ["taskset", "-c", LOAD_CORE, PROGRAMS / "examples" / "bench_client", mode, address, WORK / "ca.pem"]
        run = subprocess.run([str(part) for part in [*command, *rest]], capture_output=True, text=True, timeout=180)
        if run.returncode:
            raise Wrong(f"bench_client {mode}: {run.stderr}")
        return json.loads(run.stdout)

    def upstream(self):
        """How the upstream is started."""
        addresses = [f"127.0.0.1:{self.ports[name]}" for name in ("grpc", "http")]
        return [PROGRAMS / "examples" / "bench_upstream", *addresses]


def part(times, share):
    """The time below which a share of the requests stays."""
    return times[min(int(len(times) * share), len(times) - 1)]


def fits(peer, workload):
    """Whether a peer can do such calls."""
    if workload in (GRPC_LIST, REST_LIST):
        return peer.lists
    if workload == POST:
        return peer.posts
    size = (WORK / workload.body).stat().st_size if workload.body else 0
    return peer.name == peers.DIRECT or size < peer.longest * 1024 + 1024
