"""Compares the proxy with a bare pass-through on the same stack, HAProxy and Envoy. See benches/README.md.

Called by scripts/bench.sh, which installs and builds what is needed.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import string
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "bench"
RELEASE = ROOT / "target" / "release"
DESCRIPTORS = ROOT / "target" / "descriptors" / "flyteidl-1.16.8.binpb"

RPC = "/flyteidl.service.AdminService/CreateExecution"
REST = "/api/v1/executions/%s/development?limit=10"
# Answered with 1000 projects; the proxy leaves out every other one.
LIST_RPC, LIST_REST = "/flyteidl.service.AdminService/ListProjects", "/api/v1/projects"
# The measured proxy has the first core for itself; load generator and upstream share the second.
PROXY_CORE, LOAD_CORE = "0", "1"
CONNECTIONS, STREAMS = 8, 16
# Requests of one measurement, and of the warm-up before.
SATURATED, WARM_UP, LISTS = 20_000, 2_000, 2_000
OPEN_LOOP_RATE, OPEN_LOOP_SECONDS = 2_000, 3


class Wrong(Exception):
    """An answer that is not as it should be: nothing measured counts."""


# --- What is compared ---


class Peer:
    """Something that stands between the load generator and the upstream."""

    def __init__(self, name, command, judges=False, filters=False):
        self.name, self.command, self.judges, self.filters = name, command, judges, filters
        # What judges without filtering refuses to list.
        self.lists = filters or not judges


def peers(ports):
    """Writes the configuration of every peer and tells how each is started."""
    floor = [RELEASE / "examples" / "pass_through", f"127.0.0.1:{ports['proxy']}", WORK / "tls.crt", WORK / "tls.key"]
    floor += [f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['http']}"]
    yield Peer("floor", floor)
    for rules in (10, 1000):
        serve = [RELEASE / "flyte-authz-proxy", "serve", "--config", proxy(ports, rules)]
        yield Peer(f"flyte-authz-proxy, {rules} rules", serve, judges=True, filters=True)
    serve = [RELEASE / "flyte-authz-proxy", "serve", "--config", proxy(ports, 10, cached_tokens=0)]
    yield Peer("flyte-authz-proxy, 10 rules, every token fresh", serve, judges=True, filters=True)
    if shutil.which("haproxy"):
        template = string.Template((ROOT / "benches" / "haproxy.cfg").read_text())
        write("haproxy.cfg", template.substitute(ports, directory=WORK))
        yield Peer("HAProxy, no judgement", ["haproxy", "-db", "-f", WORK / "haproxy.cfg"])
    binary = ROOT / "target" / "venv" / "bin" / "envoy"
    if binary.exists():
        run = [envoy_binary(binary), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "-c"]
        write("envoy-bare.json", json.dumps(envoy(ports, [])))
        yield Peer("Envoy, no judgement", [*run, WORK / "envoy-bare.json"])
        write("envoy-judging.json", json.dumps(envoy(ports, envoy_judgement(10))))
        yield Peer("Envoy, 10 rules", [*run, WORK / "envoy-judging.json"], judges=True)
        write("envoy-fresh.json", json.dumps(envoy(ports, envoy_judgement(10, cached_tokens=0))))
        yield Peer("Envoy, 10 rules, every token fresh", [*run, WORK / "envoy-fresh.json"], judges=True)


def write(name, text):
    (WORK / name).write_text(text)
    return WORK / name


def teams(rules):
    """As many teams as there are rules; the caller's is in the middle."""
    names = [f"team-{number:04}" for number in range(rules)]
    names[rules // 2] = "ml"
    return names


def proxy(ports, rules, cached_tokens=10_000):
    """The proxy's configuration with a policy of so many rules. Without cached tokens each is verified anew."""
    policy = "version: 1\nrules:\n" + "".join(
        f"  - name: {team}\n    subjects: [{{ groups: [{team}-team] }}]\n"
        f"    allow:\n      - {{ projects: [{team}], domains: [development, staging], role: contributor }}\n"
        + ('      - { projects: ["own-*"], domains: ["*"], role: viewer }\n' if team == "ml" else "")
        for team in teams(rules)
    )
    write(f"policy-{rules}.yaml", policy)
    return write(
        f"config-{rules}-{cached_tokens}.yaml",
        f"""version: 1
listeners:
  - name: public
    address: 127.0.0.1:{ports["proxy"]}
    tls: {{ certificate: tls.crt, key: tls.key }}
admin: {{ address: "127.0.0.1:{ports["admin"]}" }}
upstream: {{ grpc: "http://127.0.0.1:{ports["grpc"]}", http: "http://127.0.0.1:{ports["http"]}" }}
issuers:
  - issuer: https://idp.example.com
    audiences: [flyte]
    jwks: {{ file: jwks.json }}
credentials: {{ cache_entries: {cached_tokens} }}
policy: {{ path: policy-{rules}.yaml }}
audit: {{ output: /dev/null }}
log: {{ level: warn }}
workers: 1
""",
    )


def envoy_binary(entry_point):
    """The program itself: the entry point of the package is a Python script that starts it."""
    python = entry_point.with_name("python")
    find = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')"
    return subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip()


def envoy(ports, filters):
    """Envoy's configuration: TLS in, gRPC and REST apart, HTTP/2 and HTTP/1.1 in plain text out."""

    def typed(kind, **settings):
        return {"@type": f"type.googleapis.com/envoy.{kind}", **settings}

    def cluster(name, options):
        protocol = typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config=options)
        address = {"socket_address": {"address": "127.0.0.1", "port_value": ports[name]}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
            # The default, 1024 requests in flight, is enough; said here because it would show as errors.
            "circuit_breakers": {"thresholds": [{"max_requests": 4096, "max_pending_requests": 4096}]},
        }

    routes = [
        {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "grpc"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "http"}},
    ]
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        codec_type="AUTO",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[*filters, router],
    )
    certificate = {
        "certificate_chain": {"filename": str(WORK / "tls.crt")},
        "private_key": {"filename": str(WORK / "tls.key")},
    }
    tls = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]},
    )
    chain = {
        "transport_socket": {"name": "tls", "typed_config": tls},
        "filters": [{"name": "http", "typed_config": manager}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": ports["proxy"]}}
    return {
        "static_resources": {
            "listeners": [{"address": address, "filter_chains": [chain]}],
            "clusters": [cluster("grpc", {"http2_protocol_options": {}}), cluster("http", {"http_protocol_options": {}})],
        }
    }


def envoy_judgement(rules, cached_tokens=1000):
    """What comes nearest to the proxy's job: token from a cache, two fields of the message, a rule for every team."""
    prefix = "type.googleapis.com/envoy.extensions.filters.http."
    provider = {
        "issuer": "https://idp.example.com",
        "audiences": ["flyte"],
        "local_jwks": {"filename": str(WORK / "jwks.json")},
        "forward": True,
        "payload_in_metadata": "token",
    }
    if cached_tokens:
        provider["jwt_cache_config"] = {"jwt_cache_size": cached_tokens, "jwt_max_token_size": 8192}
    jwt = {
        "@type": prefix + "jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    fields = {"project": {}, "domain": {}}
    extraction = {
        "@type": prefix + "grpc_field_extraction.v3.GrpcFieldExtractionConfig",
        "descriptor_set": {"filename": str(DESCRIPTORS)},
        "extractions_by_method": {RPC[1:].replace("/", "."): {"request_field_extractions": fields}},
    }

    def holds(filter_name, path, exact):
        value = {"list_match": {"one_of": {"string_match": {"exact": exact}}}}
        return {"metadata": {"filter": filter_name, "path": [{"key": key} for key in path], "value": value}}

    extracted = "envoy.filters.http.grpc_field_extraction"

    def rule(team):
        domains = ["development", "staging"]
        grpc = [
            holds(extracted, ["project"], team),
            {"or_rules": {"rules": [holds(extracted, ["domain"], domain) for domain in domains]}},
        ]
        rest = [{"url_path": {"path": {"prefix": f"/api/v1/executions/{team}/{domain}"}}} for domain in domains]
        return {
            "permissions": [{"and_rules": {"rules": grpc}}, *rest],
            "principals": [holds("envoy.filters.http.jwt_authn", ["token", "groups"], f"{team}-team")],
        }

    policies = {f"rule-{number:04}": rule(team) for number, team in enumerate(teams(rules))}
    rbac = {"@type": prefix + "rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": policies}}
    return [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
        {"name": extracted, "typed_config": extraction},
        {"name": "envoy.filters.http.rbac", "typed_config": rbac},
    ]


# --- Processes ---


class Running:
    """A process of ours on one core, ended at the end of the block and never left behind."""

    def __init__(self, command, core, log):
        self.command, self.core, self.log = [str(part) for part in command], core, WORK / log

    def __enter__(self):
        with self.log.open("w") as log:
            pinned = ["taskset", "-c", self.core, *self.command]
            self.process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        # Not asked to drain: nothing is in flight, and HAProxy and Envoy would take their time.
        self.process.kill()
        self.process.wait()

    def wait_for(self, port):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Wrong(f"{self.command[0]} does not listen: {self.log.read_text()[-2000:]}")

    def cpu_seconds(self):
        """User and system time of all its threads: exact where the kernel counts it, else in ticks of 10 ms."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        exact = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
        if exact:
            return exact / 1e9
        fields = (tasks.parent / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def free_ports(*names):
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


# --- Measurements ---


class Bench:
    def __init__(self, ports):
        self.ports = ports
        self.token = (WORK / "token").read_text()

    def answered(self):
        """How many requests have reached the upstream so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/count", timeout=5) as answer:
            return int(answer.read())

    def url(self, path):
        return f"https://localhost:{self.ports['proxy']}{path}"

    def headers(self, grpc):
        yield f"authorization: Bearer {self.token}"
        if grpc:
            yield from ("content-type: application/grpc", "te: trailers", "user-agent: grpc-python/1.66.0 grpc-c/43.0.0")
        else:
            yield "accept: application/json"

    def call(self, grpc, project, body):
        """One call with curl: the head and the trailers of the answer."""
        command = ["curl", "-sS", "--max-time", "5", "--cacert", WORK / "ca.pem", "-D", "-", "-o", "/dev/null"]
        for header in self.headers(grpc):
            command += ["-H", header]
        if grpc:
            command += ["--http2", "--data-binary", f"@{WORK / body}", self.url(RPC)]
        else:
            command += ["--http1.1", self.url(REST % project)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout.lower()

    def check(self, peer):
        """Makes an allowed and, of peers that judge, a refused call of each kind."""
        before = self.answered()
        answers = [self.call(True, "ml", "allowed.bin"), self.call(False, "ml", None)]
        if "grpc-status: 0" not in answers[0] or " 200" not in answers[1] or self.answered() != before + 2:
            raise Wrong(f"{peer.name}: an allowed call is not answered by the upstream: {answers}")
        if not peer.judges:
            return
        answers = [self.call(True, "fraud", "refused.bin"), self.call(False, "fraud", None)]
        if "grpc-status: 7" not in answers[0] or " 403" not in answers[1] or self.answered() != before + 2:
            raise Wrong(f"{peer.name}: a call that is not allowed is not refused: {answers}")

    def check_lists(self, peer):
        """Lists the projects: all of them, or every other one from a peer that filters."""
        for grpc in (True, False):
            command = ["curl", "-sS", "--max-time", "5", "--cacert", WORK / "ca.pem"]
            for header in self.headers(grpc):
                command += ["-H", header]
            if grpc:
                write("empty.bin", "\0" * 5)
                command += ["--http2", "--data-binary", f"@{WORK / 'empty.bin'}", self.url(LIST_RPC)]
            else:
                command += ["--http1.1", self.url(LIST_REST)]
            answer = subprocess.run(command, check=False, capture_output=True, timeout=10).stdout
            seen = (len(set(re.findall(rb"own-\d{4}", answer))), len(set(re.findall(rb"other-\d{4}", answer))))
            if seen != (500, 0 if peer.filters else 500):
                raise Wrong(f"{peer.name}: of the projects {seen} are listed")

    def load(self, grpc, requests, rate=None, lists=False):
        """Runs h2load; seconds that it took and, in an open loop, each request's time in microseconds."""
        log = WORK / "h2load.log"
        log.unlink(missing_ok=True)
        command = ["taskset", "-c", LOAD_CORE, "h2load", "-c", CONNECTIONS, "-n", requests, f"--log-file={log}"]
        if rate:
            command += [f"--rps={rate // CONNECTIONS}"]
        for header in self.headers(grpc):
            command += ["-H", header]
        if grpc:
            rpc, body = (LIST_RPC, "empty.bin") if lists else (RPC, "allowed.bin")
            command += ["-m", STREAMS, "-d", WORK / body, self.url(rpc)]
        else:
            command += ["--h1", self.url(LIST_REST if lists else REST % "ml")]
        before = self.answered()
        started = time.monotonic()
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)
        seconds = time.monotonic() - started
        finished = re.search(r"finished in ([\d.]+)(m?s)", run.stdout)
        if f"{requests} succeeded, 0 failed" not in run.stdout or self.answered() != before + requests or not finished:
            raise Wrong(f"not every request was answered by the upstream: {run.stdout}{run.stderr}")
        seconds = float(finished[1]) / (1000 if finished[2] == "ms" else 1)
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return seconds, times

    def measure(self, peer):
        """One round of one peer: figure by name."""
        with Running(peer.command, PROXY_CORE, "peer.log") as running:
            running.wait_for(self.ports["proxy"])
            self.ready(peer)
            self.check(peer)
            figures = {}
            for kind, grpc in (("gRPC", True), ("REST", False)):
                self.load(grpc, WARM_UP)
                before = running.cpu_seconds()
                seconds, times = self.load(grpc, SATURATED)
                cpu = running.cpu_seconds() - before
                figures[f"{kind} CPU"] = cpu * 1e6 / SATURATED
                figures[f"{kind} rate"] = SATURATED / seconds
            if peer.lists:
                self.check_lists(peer)
                for kind, grpc in (("gRPC", True), ("REST", False)):
                    self.load(grpc, LISTS // 10, lists=True)
                    before = running.cpu_seconds()
                    self.load(grpc, LISTS, lists=True)
                    figures[f"{kind} list"] = (running.cpu_seconds() - before) * 1e6 / LISTS
            before = running.cpu_seconds()
            requests = OPEN_LOOP_RATE * OPEN_LOOP_SECONDS
            _, times = self.load(True, requests, OPEN_LOOP_RATE)
            figures["open CPU"] = (running.cpu_seconds() - before) * 1e6 / requests
            figures["p50"], figures["p99"] = (times[int(len(times) * part)] for part in (0.5, 0.99))
            figures["memory"] = running.resident_mib()
            self.check(peer)
            return figures

    def ready(self, peer):
        """Waits until an allowed call succeeds: key sets may be read after the first connection is accepted."""
        deadline = time.monotonic() + 10
        while "grpc-status: 0" not in (answer := self.call(True, "ml", "allowed.bin")):
            if time.monotonic() > deadline:
                raise Wrong(f"{peer.name} does not become ready: {answer} {(WORK / 'peer.log').read_text()[-2000:]}")
            time.sleep(0.1)


def verification():
    """What reading and verifying one token costs by itself: microseconds by algorithm."""
    command = ["taskset", "-c", PROXY_CORE, RELEASE / "examples" / "verify_token", WORK / "jwks.json"]
    command += [WORK / name for name in ("token", "es256", "eddsa")]
    run = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, timeout=60)
    measured = json.loads(run.stdout)
    return {"RS256": measured["token"] / 1000, "ES256": measured["es256"] / 1000, "EdDSA": measured["eddsa"] / 1000}


# --- Results ---

COLUMNS = [
    ("gRPC CPU", "gRPC µs CPU", 1),
    ("gRPC rate", "gRPC /s", 0),
    ("REST CPU", "REST µs CPU", 1),
    ("REST rate", "REST /s", 0),
    ("gRPC list", "gRPC list µs CPU", 0),
    ("REST list", "REST list µs CPU", 0),
    ("open CPU", "open µs CPU", 1),
    ("p50", "p50 µs", 0),
    ("p99", "p99 µs", 0),
    ("memory", "RSS MiB", 0),
]


def table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(rounds):
    """Medians, and the median of each round's ratio to a base, as Markdown."""
    names = list(rounds[0])

    def median(name, key, digits, base=None):
        if any(key not in rounds[0][peer] for peer in (name, base or name)):
            return "–"
        values = (one[name][key] / (one[base][key] if base else 1) for one in rounds)
        return f"{statistics.median(values):.{digits}f}"

    medians = [[name, *(median(name, key, digits) for key, _, digits in COLUMNS)] for name in names]
    print(table(["medians", *(title for _, title, _ in COLUMNS)], medians))
    ratio_keys = [(key, title) for key, title, _ in COLUMNS if "rate" not in key and key != "memory"]
    for base in ("floor", "Envoy, 10 rules"):
        if base not in names:
            continue
        rows = [[name, *(median(name, key, 2, base) for key, _ in ratio_keys)] for name in names]
        print("\n" + table([f"÷ {base}", *(title for _, title in ratio_keys)], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS", "5")))
    parser.add_argument("--only", help="only peers whose name matches this regular expression")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed, one for the proxy and one for the load")
    # So that the processes started are ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ports = free_ports("proxy", "admin", "grpc", "http")
    chosen = [peer for peer in peers(ports) if not arguments.only or re.search(arguments.only, peer.name)]
    upstream = [RELEASE / "examples" / "bench_upstream", f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['http']}"]
    rounds, alone = [], []
    try:
        with Running(upstream, LOAD_CORE, "upstream.log") as running:
            running.wait_for(ports["http"])
            bench = Bench(ports)
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
                rounds.append({peer.name: bench.measure(peer) for peer in chosen})
                alone.append(verification())
    except Wrong as wrong:
        sys.exit(f"bench: {wrong}")
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, {platform.machine()}, {len(rounds)} rounds\n")
    report(rounds)
    rows = [[name, f"{statistics.median(one[name] for one in alone):.1f}"] for name in alone[0]]
    print("\n" + table(["verifying a token, by itself", "µs"], rows))
    (WORK / "results.json").write_text(json.dumps(rounds, indent=1))


if __name__ == "__main__":
    main()
