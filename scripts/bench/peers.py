"""What is compared, and how each is started."""

import dataclasses
import json
import shutil
import string

import envoy
from common import PROGRAMS, ROOT, WORK, write


@dataclasses.dataclass
class Peer:
    """Something between the load generator and the upstream. Without a command, nothing is."""

    name: str
    command: list
    # Whether it refuses what is not allowed.
    judges: bool = False
    # Whether it leaves out of lists what the caller may not see. What judges without that refuses to list.
    filters: bool = False
    # The longest gRPC message that it can judge, in KiB.
    longest: int = 1024
    # Whether it can judge the body of a REST call.
    posts: bool = True

    @property
    def lists(self):
        return self.filters or not self.judges


DIRECT, FLOOR = "direct, no proxy", "floor"
OURS, ENVOY = "flyte-authz-proxy, 10 rules", "Envoy, 10 rules"
OURS_MANY, ENVOY_MANY = "flyte-authz-proxy, 1000 rules", "Envoy, 1000 rules"
OURS_FRESH, ENVOY_FRESH = "flyte-authz-proxy, every token fresh", "Envoy, every token fresh"
OURS_SILENT = "flyte-authz-proxy, no audit record"
HAPROXY = "HAProxy, no judgement"


def peers(ports):
    """Writes the configuration of every peer and tells how each is started."""
    yield Peer(DIRECT, [])
    yield Peer(FLOOR, floor(ports))
    for name, settings in (
        (OURS, {}),
        (OURS_MANY, {"rules": 1000}),
        (OURS_FRESH, {"cached_tokens": 0}),
        (OURS_SILENT, {"recorded": 0}),
    ):
        yield Peer(name, proxy(ports, **settings), judges=True, filters=True)
    yield from haproxies(ports)
    if shutil.which("nginx"):
        template = string.Template((ROOT / "benches" / "nginx.conf").read_text())
        written = write("nginx.conf", template.safe_substitute(ports, directory=WORK))
        yield Peer("nginx, no judgement", ["nginx", "-p", WORK, "-c", written, "-e", WORK / "nginx.log"])
    yield from envoys(ports)


def floor(ports):
    command = [PROGRAMS / "examples" / "pass_through", f"127.0.0.1:{ports['proxy']}", WORK / "tls.crt"]
    return [*command, WORK / "tls.key", f"127.0.0.1:{ports['grpc']}", f"127.0.0.1:{ports['http']}"]


def haproxies(ports):
    if not shutil.which("haproxy"):
        return
    template = string.Template((ROOT / "benches" / "haproxy.cfg").read_text())
    write("haproxy.cfg", template.substitute(ports, directory=WORK))
    yield Peer(HAPROXY, ["haproxy", "-db", "-f", WORK / "haproxy.cfg"])
    domains = ("development", "staging")
    lines = (f"{team}-team:{team}:{domain} allowed\n" for team in teams(10) for domain in domains)
    write("haproxy.map", "".join(lines))
    template = string.Template((ROOT / "benches" / "haproxy-judging.cfg").read_text())
    write("haproxy-judging.cfg", template.substitute(ports, directory=WORK))
    command = ["haproxy", "-db", "-f", WORK / "haproxy-judging.cfg"]
    yield Peer("HAProxy, 10 rules, every token fresh", command, judges=True, longest=16)


def envoys(ports):
    entry_point = ROOT / "target" / "venv" / "bin" / "envoy"
    if not entry_point.exists():
        return
    run = [envoy.binary(entry_point), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error", "-c"]
    write("envoy-bare.json", json.dumps(envoy.configuration(ports, [])))
    yield Peer("Envoy, no judgement", [*run, WORK / "envoy-bare.json"])
    for name, rules, cached_tokens in ((ENVOY, 10, 1000), (ENVOY_MANY, 1000, 1000), (ENVOY_FRESH, 10, 0)):
        filters = envoy.judgement(teams(rules), cached_tokens)
        written = write(f"envoy-{rules}-{cached_tokens}.json", json.dumps(envoy.configuration(ports, filters)))
        yield Peer(name, [*run, written], judges=True, posts=False)


def teams(rules):
    """As many teams as there are rules; the caller's is in the middle."""
    names = [f"team-{number:04}" for number in range(rules)]
    names[rules // 2] = "ml"
    return names


def policy_directory(rules):
    return f"policy-{rules}"


def policy(rules):
    """Writes the policy with a rule for every team, ten thousand in a file, and returns its directory."""
    texts = [
        f"  - name: {team}\n    subjects: [{{ groups: [{team}-team] }}]\n"
        f"    allow:\n      - {{ projects: [{team}], domains: [development, staging], role: contributor }}\n"
        + ('      - { projects: ["own-*"], domains: ["*"], role: viewer }\n' if team == "ml" else "")
        for team in teams(rules)
    ]
    directory = policy_directory(rules)
    for start in range(0, rules, 10_000):
        write(f"{directory}/rules-{start}.yaml", "version: 1\nrules:\n" + "".join(texts[start : start + 10_000]))
    return directory


def proxy(ports, rules=10, cached_tokens=10_000, recorded=1, issuers=1):
    """How the proxy is started with such a policy. Without cached tokens each is verified anew."""
    others = (f"https://idp-{number}.example.com" for number in range(issuers - 1))
    listed = "".join(
        f"  - {{ issuer: {issuer}, audiences: [flyte], jwks: {{ file: jwks.json }} }}\n"
        for issuer in [*others, "https://idp.example.com"]
    )
    written = write(
        f"config-{rules}-{cached_tokens}-{recorded}-{issuers}.yaml",
        f"""version: 1
listeners:
  - name: public
    address: 127.0.0.1:{ports["proxy"]}
    tls: {{ certificate: tls.crt, key: tls.key }}
admin: {{ address: "127.0.0.1:{ports["admin"]}" }}
upstream: {{ grpc: "http://127.0.0.1:{ports["grpc"]}", http: "http://127.0.0.1:{ports["http"]}" }}
issuers:
{listed}credentials: {{ cache_entries: {cached_tokens} }}
policy: {{ path: {policy(rules)}, poll: 1s }}
audit: {{ output: /dev/null, sample_allowed: {recorded} }}
log: {{ level: warn }}
workers: 1
""",
    )
    return [PROGRAMS / "flyte-authz-proxy", "serve", "--config", written]
