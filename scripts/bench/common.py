"""Where things are, which calls are made, and how much is measured."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "bench"
# Where the programs were built; a development build does to try the benchmark itself.
PROGRAMS = ROOT / "target" / os.environ.get("BENCH_PROGRAMS", "release")
DESCRIPTORS = ROOT / "target" / "descriptors" / "flyteidl-1.16.8.binpb"

RPC = "/flyteidl.service.AdminService/CreateExecution"
REST_GET = "/api/v1/executions/%s/development?limit=10"
REST_POST = "/api/v1/executions"
# Answered with 1000 projects; the proxy leaves out every other one.
LIST_RPC, LIST_REST = "/flyteidl.service.AdminService/ListProjects", "/api/v1/projects"

# The measured proxy has the first core for itself; load generator and upstream share the second.
PROXY_CORE, LOAD_CORE = "0", "1"
CONNECTIONS, STREAMS = 8, 16
OPEN_LOOP_RATE = 2_000


class Wrong(Exception):
    """An answer that is not as it should be: nothing measured counts."""


class Amount:
    """How much is measured: in earnest, or so little that it only shows that everything works."""

    def __init__(self, quick):
        self.saturated = 1_000 if quick else 20_000
        self.large = 100 if quick else 2_000
        self.huge = 64 if quick else 256
        self.lists = 50 if quick else 1_500
        self.warm_up = 200 if quick else 2_000
        self.open_seconds = 1 if quick else 3
        self.handshakes = 50 if quick else 800
        self.connections = (1, 50) if quick else (1, 100, 1000)
        self.rules = (10, 1000) if quick else (10, 1_000, 100_000)
        self.most_rules = 2_000 if quick else 100_000
        self.issuers = (1, 10) if quick else (1, 10, 100)
        self.tokens = (1, 10) if quick else (1, 100, 1000)
        self.reload_seconds = 3 if quick else 6


def write(name, text):
    """Writes a file into the working directory and returns its path."""
    path = WORK / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
